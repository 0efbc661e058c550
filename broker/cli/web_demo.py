"""The demo's pages: `unefois demo --serve`: the citizens' pages, with nobody real behind them, until Ctrl-C.

Refuses: an address that others could reach.
Keeps: nothing is left when it ends.
"""

import asyncio
import sys
from pathlib import Path

from broker.cli.frame import say
from broker.cli.show import line, pairs


def serve(listen: str) -> None:
    """Answer until a signal. Raises Refused `sandbox.listen`, `serving.listen`."""
    asyncio.run(_stay(listen))


def play(pictures: Path) -> None:
    """Play the pages through, and say what was seen to be true. Raises Refused `demo.no-browser`, `demo.untrue`."""
    pictures.mkdir(parents=True, exist_ok=True)
    claims = asyncio.run(_played(pictures))
    for number, claim in enumerate(claims, 1):
        line(f"{number:>3}  {claim}")
    line(
        say(
            f"{len(claims)} affirmations, toutes vérifiées ; images dans {pictures}",
            f"{len(claims)} claims, all checked; pictures in {pictures}",
        )
    )


async def _played(pictures: Path) -> list[str]:
    from broker.lab.web_demo import script
    from broker.lab.web_demo.process import live
    from broker.observability import observe
    from broker.setup.opening import system_clock
    from schemas.errors import Refused

    observe.configure("error", system_clock, sys.stderr)
    async with live("127.0.0.1:0", asyncio.Event()) as made:
        try:
            return await script.play(made, pictures)
        except script.Untrue as untrue:
            print(untrue, file=sys.stderr)
            raise Refused("demo.untrue") from None


async def _stay(listen: str) -> None:
    from broker.cli.serve import heed
    from broker.lab.web_demo.process import live
    from broker.observability import observe
    from broker.setup.opening import system_clock

    observe.configure("error", system_clock, sys.stderr)
    stop = asyncio.Event()
    heed(stop)
    async with live(listen, stop) as made:
        pairs(
            [
                (say("pages", "pages"), f"{made.url}/espace"),
                (
                    say("pour entrer", "to come in"),
                    say(
                        "« S'identifier avec FranceConnect », puis un clic sur une personne fictive",
                        "“S'identifier avec FranceConnect”, then a click on a fictional person",
                    ),
                ),
                (say("pour finir", "to end"), "Ctrl-C"),
            ]
        )
        sys.stdout.flush()
        await stop.wait()
    line(say("Terminé.", "Ended."))
