"""Playing: one simulation from its seed to its report.

Refuses: more days than a consent lasts.
Keeps: the same seed, size and days tell the same; nothing is left behind; a promise that breaks ends nothing: all of
them are told.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import Final

from broker.lab.simulation import apart, founding, judging
from broker.lab.simulation.clock import CountryClock
from broker.lab.simulation.country import Country
from broker.lab.simulation.ground import Ground
from broker.lab.simulation.report import Report
from broker.lab.simulation.running import Running
from schemas.errors import Refused

FIRST: Final = date(2027, 1, 1)
MOST_DAYS: Final = 700
MOST_PEOPLE: Final = 1_000_000
APART: Final = 2_000
"""From so many people on the state is judged in a second process, while the country lives on."""
SETTLING: Final = 60
"""Days that are waited, at most, until everything is fetched and done; nothing new happens in them."""
_BEGINS: Final = 4
"""The first day on which every rule acts."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`check_every`: the state is judged each so many days; `pace`: how much faster than in life things happen."""

    seed: str
    people: int
    days: int
    check_every: int = 30
    pace: float = 1.0

    def __post_init__(self) -> None:
        for name, value, most in (("people", self.people, MOST_PEOPLE), ("days", self.days, MOST_DAYS)):
            if not 1 <= value <= most:
                raise Refused("simulation.size", f"/{name}", most=most)


async def play(wanted: Wanted, lived: Callable[[int], None] = lambda day: None) -> Report:
    """Found the country, live its days, settle, judge. `lived` is told of each day that is over.

    Raises Refused `simulation.size`; whatever else the machine raises is a fault that the simulation has found.
    """
    with tempfile.TemporaryDirectory(prefix="unefois-country-") as folder:
        clock = CountryClock(FIRST)
        async with founding.founded(Path(folder), clock) as home:
            laws = await founding.legislate(home, clock)
            country = Country(Random(f"{wanted.seed}/country"), wanted.people, clock.today)
            ground = Ground(home, clock, country, laws, wanted.seed, day=_BEGINS, pace=wanted.pace)
            running = Running(ground, wanted.seed)
            async with apart.judge_of(home, Path(folder), apart=wanted.people >= APART) as judge:
                for day in range(1, wanted.days + 1):
                    await running.live()
                    lived(day)
                    if day % wanted.check_every == 0:
                        await judge.look()
                await running.settle(SETTLING)
                await judge.look(full=True)
                reasons: Counter[str] = Counter()
                broken = [*ground.promises.broken, *ground.promises.missing(clock())]
                broken += judging.files(running.offices, ground.promises)
                broken += await judging.ledger(home, ground.promises)
                broken += await judging.tracks(home, ground.promises, reasons)
                broken += await judge.verdicts()
    return Report(
        seed=wanted.seed,
        people=wanted.people,
        days=wanted.days,
        counts=dict(ground.counts),
        reasons=reasons,
        monthly=_by_month(ground.monthly),
        checks=judge.checks,
        broken=tuple(broken),
    )


def _by_month(counted: Counter[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """What was applied beyond what was declared was spared: never less than nothing in a month that others fetch in."""
    months = sorted({month for month, _ in counted})
    return {month: (counted[month, "declared"], max(0, counted[month, "spared"])) for month in months}
