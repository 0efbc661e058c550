"""`python -m broker` is `unefois`."""

from broker.cli.app import main

if __name__ == "__main__":
    main()
