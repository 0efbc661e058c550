"""A process that has loaded the program, and forks for each line that it reads: a child is `unefois serve`, until it is
killed. So a test can kill it after each page without waiting each time until everything is loaded.

Reads a place to die at (`broker.observability.crashpoints`), or an empty line; says the child's number, and then the
child says that it runs, and where.
"""

import os
import signal
import sys

from broker.cli import app, serve
from broker.observability import crashpoints
from broker.web import app as web
from tests import compiled

LOADED = (app, serve, web)


def child(crash: str) -> None:
    """Serve, on a port that is free."""
    crashpoints._trap.__init__(crash or None)  # type: ignore[misc]
    sys.argv = ["unefois", "serve", "--listen", "127.0.0.1:0"]
    app.main()


def main() -> None:
    """Until there are no more lines."""
    compiled.share()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                child(line.strip())
            finally:
                print("ended", flush=True)
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
