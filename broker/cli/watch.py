"""Commands for those who watch a ledger that somebody else runs: `unefois witness ...` and `unefois monitor`; and one
for its own operator: `unefois witness list`.

Refuses: nothing of its own.
Keeps: but for that one, none of them needs a home, a broker's key or its database.
"""

import asyncio
import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.audits import verifier_key
from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say, tell_fault
from broker.cli.ledger import followed, shapes
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from fastapi import FastAPI

    from broker.services.ledgers import Witnessed
    from broker.transparency.monitor import Watched

witness = typer.Typer(no_args_is_help=True, help="A witness: cosigns the checkpoints of logs that others run.")

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The witness's own folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.add_typer(witness, name="witness")
    command(app, "monitor")(monitor)


@command(witness, "init")
def init(
    folder: FolderArgument,
    name: Annotated[str, typer.Option("--name", help="The witness's name for ever: a host and path, no https://.")],
) -> None:
    """Make a witness: its key and its store. Prints the key that others check its cosignatures with.

    Example: unefois witness init ./witness --name witness.example/one
    """
    from broker.transparency.witness import create
    from schemas.signing import Algorithm, PrivateKey

    key = create(folder, name, PrivateKey.generate(Algorithm.ED25519))
    answer({"folder": str(folder), "key": key.text}, lambda: pairs([(say("clé", "key"), key.text)]))


@command(witness, "list")
def list_witnesses() -> None:
    """The witnesses of our own ledger, as the settings name them: what each has signed, and what waits.

    Example: unefois witness list
    """
    from broker.services import ledgers

    told = _told(at_home(ledgers.witnessed))

    def text() -> None:
        names = [say("témoin", "witness"), say("jusqu'à", "up to"), say("depuis", "at"), say("attend", "waits")]
        if told["witnesses"]:
            table(names, [[one[name] for name in ("name", "size", "at", "behind")] for one in told["witnesses"]])
        seen = "-" if told["witnessed"] is None else told["witnessed"]
        sizes = [(say("registre", "ledger"), told["size"]), (say("vu par témoins", "witnessed"), seen)]
        pairs([*sizes, (say("il en faut", "needed"), told["quorum"])])

    answer(told, text)


def _told(found: "Witnessed") -> dict[str, Any]:
    from broker.shapes import time_of

    seen, size = found.seen, found.size
    return {
        "size": size,
        "witnessed": found.witnessed if found.known else None,
        "quorum": found.quorum,
        "witnesses": [
            {
                "name": one.key.name,
                "url": one.url,
                "key": one.key.text,
                "size": seen[one.key.name][0] if one.key.name in seen else 0,
                "at": time_of(seen[one.key.name][1]) if one.key.name in seen else None,
                "behind": size - (seen[one.key.name][0] if one.key.name in seen else 0),
            }
            for one in found.known
        ],
    }


@command(witness, "serve")
def serve(
    folder: FolderArgument,
    logs: Annotated[list[str], typer.Option("--log", metavar="VKEY", help="A log's key, or a file with it. Repeat.")],
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where to answer.")] = "127.0.0.1:8472",
) -> None:
    """Answer POST /add-checkpoint (c2sp.org/tlog-witness) until stopped. Killed, it signs no other past afterwards.

    Example: unefois witness serve ./witness --log vkey --listen 0.0.0.0:8472
    """
    from broker.setup.opening import system_clock
    from broker.transparency.witness import Witness
    from broker.web.public.witnessing import build

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise typer.BadParameter("HOST:PORT", param_hint="--listen")
    with Witness.open(folder, tuple(map(verifier_key, logs)), system_clock) as opened:
        try:
            taken = socket.create_server((host, int(port)))
        except OSError as error:
            raise typer.BadParameter(type(error).__name__, param_hint="--listen") from None
        address = f"http://{host}:{taken.getsockname()[1]}"
        key = opened.verifier_key.text
        answer({"listen": address, "key": key}, lambda: pairs([(say("adresse", "address"), address), ("", key)]))
        sys.stdout.flush()
        _answer(build(opened), taken)


def _answer(app: "FastAPI", taken: socket.socket) -> None:
    """Until a signal asks to stop; who connects has the time and the room that a broker gives."""
    from broker.cli.serve import heed
    from broker.web.server import serve_http

    async def answering() -> None:
        stop = asyncio.Event()
        heed(stop)
        await serve_http(app, taken, stop)

    asyncio.run(answering())


def monitor(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the log is: the folder of its `checkpoint`.")],
    key: Annotated[str, typer.Option("--key", metavar="VKEY", help="The log's key, or a file with it: pin it.")],
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Keeps the last good checkpoint over restarts.")
    ] = None,
    every: Annotated[int, typer.Option("--every", min=0, help="Seconds between two looks. 0: look once and end.")] = 60,
) -> None:
    """Follow a log that somebody else runs. Exit code 1, with a sentence, at a fork, a roll-back or a broken rule.

    Example: unefois monitor https://broker.example/log --key vkey --state ./seen --every 300
    """
    import httpx2

    from broker.transparency.monitor import TIMEOUT_SECONDS, Monitor, Remote
    from schemas.errors import Refused, Unavailable

    pinned = verifier_key(key)
    with httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        try:
            watching = Monitor(Remote(url, client).read, pinned, state)
            while True:
                try:
                    _tell(watching.turn(), once=not every)
                except Unavailable as fault:
                    if not every:
                        raise
                    tell_fault(fault)
                if not every:
                    return
                time.sleep(every)
        except Refused as fault:
            if fault.code in {"monitor.url", "monitor.no-log"}:
                raise
            tell_fault(fault)
            raise typer.Exit(Exit.FINDINGS) from None


def _tell(seen: "Watched", *, once: bool) -> None:
    told: dict[str, Any] = {"origin": seen.tree.origin, "size": seen.tree.size, "fresh": seen.fresh}
    told["root"] = seen.tree.root.hex()
    if seen.follows is not None:
        (told["follows"],) = shapes([seen.follows])
    if once:
        answer(told, lambda: _in_words(told))
    elif chosen().json:
        print(json.dumps(told), flush=True)
    elif seen.fresh:
        _in_words(told)
        sys.stdout.flush()


def _in_words(told: dict[str, Any]) -> None:
    text = f"{told['origin']}, {say('entrées', 'entries')} {told['size']} (+{told['fresh']})"
    line(say(f"Tout est en ordre : {text}", f"All is well: {text}"))
    if "follows" in told:
        line(followed(told["follows"]))
