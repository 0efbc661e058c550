"""Command sandbox: a playground for an administration: a broker in one process, with nobody real in it.

Refuses: an address that others could reach; a folder that holds something else.
Keeps: without a folder that was named, nothing is left when it ends. What it tells to try first works as it is printed.
"""

import asyncio
import json
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.parties import full_type
from broker.cli.show import line, pairs

if TYPE_CHECKING:
    from broker.lab.sandbox.playground import Wanted
    from broker.lab.sandbox.process import Live

PARTY: Final = "urn:unefois:sandbox-agency"


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "sandbox")(sandbox)


def sandbox(
    *,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", envvar="UNEFOIS_LISTEN", help="Where it answers, on this machine alone."
        ),
    ] = "127.0.0.1:8470",
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Keep it here. Default: a folder that goes.")
    ] = None,
    party: Annotated[str, typer.Option("--party", metavar="ID", help="The administration that you play.")] = PARTY,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="An event type that it receives. Repeatable. Default: all.")
    ] = None,
    purpose: Annotated[str, typer.Option("--purpose", help="What for.")] = "local-services",
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="A field that it needs. Repeatable. Default: all.")
    ] = None,
    suite: Annotated[
        Literal["mlkem768_x25519", "x25519"], typer.Option("--suite", help="What it opens deliveries with.")
    ] = "x25519",
    faults: Annotated[
        list[str] | None, typer.Option("--fault", metavar="NAME=N", help="Switched on from the beginning. Repeatable.")
    ] = None,
    clock: Annotated[int, typer.Option("--move-clock", metavar="SECONDS", help="How far its clock is ahead.")] = 0,
) -> None:
    """An administration's playground: no service, nobody real, every fault on demand. Ctrl-C ends it.

    Example: unefois sandbox --type address.changed --field subject --field new_address --fault duplicate=1
    """
    from broker.lab.sandbox.playground import Wanted
    from broker.lab.sandbox.process import check_listen
    from schemas import catalogue
    from schemas.hpke import Suite
    from schemas.names import EventType, PartyId, Purpose
    from schemas.retractions import RETRACTIONS

    every = [one.event_type for one in catalogue.builtin().newest if one.event_type not in RETRACTIONS]
    wanted = Wanted(
        party=PartyId(party),
        types=tuple(EventType(full_type(one)) for one in types) if types else tuple(every),
        purpose=Purpose(purpose),
        fields=frozenset(fields) if fields else None,
        suite=Suite[suite.upper()],
    )
    check_listen(listen)
    asyncio.run(stay(wanted, listen, folder, faults=_counts(faults or []), clock_ms=clock * 1000))


async def stay(
    wanted: "Wanted", listen: str, folder: Path | None = None, *, faults: dict[str, int], clock_ms: int = 0
) -> None:
    """A live sandbox until it is asked to stop; its folder goes with it unless one is named. Raises as `live` does."""
    from broker.cli.serve import heed
    from broker.lab.sandbox.process import live
    from broker.observability import observe
    from broker.setup.opening import system_clock

    observe.configure("error", system_clock, sys.stderr)
    root = folder or Path(tempfile.mkdtemp(prefix="unefois-sandbox-"))
    stop = asyncio.Event()
    heed(stop)
    try:
        async with live(root, wanted, listen, stop, works=True) as made:
            made.play.mischiefs.set(faults)
            made.play.clock.move(clock_ms)
            greet(made)
            await stop.wait()
    finally:
        if folder is None:
            shutil.rmtree(root, ignore_errors=True)
    if not chosen().json:
        line(say("Terminé.", "Ended."))


def greet(made: "Live") -> None:
    """Where it is, and what to try first."""
    told = _told(made)
    if chosen().json:
        print(json.dumps(told, ensure_ascii=False), flush=True)
        return
    pairs(
        [
            (say("bac à sable", "sandbox"), told["url"]),
            (say("administration", "administration"), told["party"]),
            (say("jeton", "token"), told["token"]),
            (say("clés, jeton", "keys, token"), told["agency_file"]),
            (say("adresses", "addresses"), f"{told['url']}/v1/openapi.json  {told['url']}/sandbox/openapi.json"),
        ]
    )
    line("")
    line(say("À essayer : quelqu'un déménage ; puis vous relevez votre boîte.", "Try: somebody moves; you pull."))
    for one in told["try"]:
        line(f"  {one}")
    line("")
    line(say("Ctrl-C pour finir.", "Ctrl-C ends it."))
    sys.stdout.flush()


def _told(made: "Live") -> dict[str, Any]:
    auth = shlex.quote(f"@{made.auth_file}")
    return {
        "url": made.url,
        "party": made.play.wanted.party,
        "token": made.token,
        "agency_file": str(made.agency_file),
        "try": [
            f"""curl -s --json '{{"citizen": "alix"}}' {made.url}/sandbox/events""",
            f"""curl -s -H {auth} --json '{{"max": 10}}' {made.url}/v1/deliveries:pull""",
        ],
    }


def _counts(words: list[str]) -> dict[str, int]:
    counts = {}
    for word in words:
        name, equals, number = word.partition("=")
        if not equals or not number.isdigit():
            raise typer.BadParameter("write NAME=NUMBER", param_hint="--fault")
        counts[name] = int(number)
    return counts
