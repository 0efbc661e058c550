"""Commands of a source's own machine: `unefois source ...`. They need no home of a broker.

Refuses: nothing of its own.
Keeps: nothing of its own; `connectors.source_serve` does it, as it does for `unefois-agency`.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.frame import command
from broker.cli.show import answer, line

app = typer.Typer(no_args_is_help=True, help="The source's side: keys of its own, and the signing sidecar.")


@command(app, "new-key")
def new_key(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    kind: Annotated[str, typer.Option(help="ed25519, ml_dsa_44, ecdsa_p256; to receive: mlkem768_x25519, x25519.")],
) -> None:
    """Make a private key in a file; the line for the broker's operator is printed.

    Example: unefois source new-key signing.key --kind ed25519
    """
    from connectors import key_files

    made = key_files.new(kind)
    key_files.write(file, made)
    public = key_files.public(made)
    answer({"public": public}, lambda: line(public))


@command(app, "serve")
def serve(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Sign and hand in what systems of this machine say in plain JSON; keep it while the broker is away.

    Example: unefois source serve source.yaml
    """
    import asyncio

    from connectors import source_serve

    def started(address: str) -> None:
        line(f"Running: source. {address}")
        sys.stdout.flush()

    asyncio.run(source_serve.serve(file, started))
