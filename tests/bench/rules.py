"""What a rule by law costs the router: the first declaration of each citizen under it and the next ones, each as a
ratio of the same under consents that were given before, in the same run.

    python -m tests.bench.rules [CITIZENS]

Each is routed in turns, and of each the fastest turn counts.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from broker.services import rules
from tests.world import CAF, ELISE, FAMILY, MOVED, World, world

TURNS = 3


def people(count: int, turn: int) -> list[dict[str, Any]]:
    """Citizens who are in no other turn."""
    return [ELISE | {"family_name": f"Martin{'abcdefghij'[turn]}", "given_names": [_name(one)]} for one in range(count)]


def _name(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:05}")


async def routed(here: World, some: list[dict[str, Any]]) -> float:
    """Milliseconds a declaration, of the router alone."""
    for person in some:
        await here.declare(MOVED, here.moved(person), route=False)
    begun = perf_counter()
    await here.home.router.route()
    return (perf_counter() - begun) * 1000 / len(some)


async def consents(folder: Path, count: int) -> tuple[float, float]:
    """The first and the second declaration of citizens who have given a consent each."""
    first, second = [], []
    async with world(folder, rule_delay_hours=0) as here:
        for turn in range(TURNS):
            some = people(count, turn)
            for person in some:
                await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
            first.append(await routed(here, some))
            second.append(await routed(here, some))
    return min(first), min(second)


async def ruled(folder: Path, count: int) -> tuple[float, float]:
    """The same under a rule."""
    first, second = [], []
    async with world(folder, rule_delay_hours=0) as here:
        await _approved(here, recipient=CAF, purpose=FAMILY, fields=["subject", "new_address"])
        for turn in range(TURNS):
            some = people(count, turn)
            first.append(await routed(here, some))
            second.append(await routed(here, some))
    return min(first), min(second)


async def _approved(here: World, **told: Any) -> None:
    asked = await rules.ask(here.home, event_type=MOVED, article="CSS, art. L114-19", **told)
    await rules.approve(here.home, asked.id)


async def main(count: int) -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as name:
        places = [Path(name) / each for each in ("consents", "rule")]
        for place in places:
            place.mkdir()
        first, second = await consents(places[0], count)
        under, later = await ruled(places[1], count)
    print(f"first declaration   consent {first:.2f} ms   rule {under:.2f} ms   {under / first:.2f}")
    print(f"the next ones       consent {second:.2f} ms   rule {later:.2f} ms   {later / second:.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
