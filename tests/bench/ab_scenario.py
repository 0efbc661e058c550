"""Scenarios of `make bench-ab`: short works on a home of their own, one process for each; what each step cost, in JSON.

    python -m tests.bench.ab_scenario NAME [--count N] [--database URL]

NAME is one of SCENARIOS; URL is of an empty PostgreSQL database, without it the home lies on SQLite. Each line of the
answer is {figure, means, count, wall_ms, cpu_ms, code}: milliseconds of one operation, on the clock and of this
process's processor time; `code` is where the broker came from. A figure that this code cannot give is {figure, absent,
code}.

Refuses: to measure what is not there: what a scenario needs and does not find is said, by the name of what is missing.
Keeps: the runner (tests/bench/ab.py) asks for nothing else, so a commit with other APIs has its own copy of this, and
one from before there was any is lent the newer one. Copies whose `means` differ measure different things, and are not
compared. Imports stand in the steps, so that one may be missing without the others.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
WARM: Final = 5
"""At most so many operations go before and are not counted, so that statements are compiled and files are open."""
MISSING: Final = (ImportError, AttributeError, TypeError, NameError)
"""What Python says of a name, or of an argument, that is not there."""


@dataclass
class Call:
    """How many operations the call did, where that is known only after it."""

    count: int


@dataclass
class Costs:
    """What each figure cost, call by call, in seconds: on the clock, and of the processor."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def of(self, figure: str, count: int = 1) -> Iterator["Call"]:
        """A block is one call that does `count` operations; one that fails, or does none, is not counted."""
        call, wall, cpu = Call(count), time.perf_counter(), _processor()
        yield call
        took = (time.perf_counter() - wall, _processor() - cpu)
        if call.count:
            self.wall.setdefault(figure, []).append(took[0] / call.count)
            self.cpu.setdefault(figure, []).append(took[1] / call.count)
            self.count[figure] = self.count.get(figure, 0) + call.count

    def lines(self) -> list[dict[str, Any]]:
        """The answer: the median call on the clock, for others come between; the mean of processor time."""
        code = _code()
        told: list[dict[str, Any]] = [
            {
                "figure": figure,
                "means": MEANS[figure],
                "count": self.count[figure],
                "wall_ms": 1000 * statistics.median(self.wall[figure]),
                "cpu_ms": 1000 * statistics.fmean(self.cpu[figure]),
                "code": code,
            }
            for figure in self.wall
            if figure not in self.absent
        ]
        return told + [{"figure": figure, "absent": why, "code": code} for figure, why in self.absent.items()]


def _processor() -> float:
    """Seconds of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _code() -> str:
    import broker

    return str(Path(str(broker.__file__)).parents[1])


@asynccontextmanager
async def _living(database: str | None) -> AsyncIterator[tuple[Any, Any]]:
    """A furnished broker with the bench's five recipients."""
    from broker.cli.session import collect_less
    from tests.bench.spine import enrol
    from tests.world import world

    with tempfile.TemporaryDirectory() as folder:
        more = {}
        if database is not None:
            from broker.store import migrate

            await migrate.upgrade(database)
            more = {"database_url": database}
        async with world(Path(folder), **more) as here:
            parties = await enrol(here)
            collect_less()
            yield here, parties


async def _given(here: Any, parties: Sequence[Any], people: range, costs: Costs) -> list[Any]:
    """Every citizen allows every recipient."""
    from tests.bench.spine import FIELDS, person
    from tests.world import FAMILY, MOVED

    recorded = []
    for number in people:
        for party in parties:
            with costs.of("grant"):
                recorded.append(await here.give(party, MOVED, FAMILY, FIELDS, person=person(number)))
    return recorded


async def _declared(here: Any, people: range, costs: Costs) -> list[Any]:
    """Each citizen's declaration accepted and routed, by batches; their ids."""
    from tests.bench.spine import BATCH, person
    from tests.world import MOVED, PORTAL

    ids = []
    for first in range(people.start, people.stop, BATCH):
        batch = [person(number) for number in range(first, min(first + BATCH, people.stop))]
        envelopes = [await here.home.desk.envelope(PORTAL, MOVED, here.moved(one)) for one in batch]
        with costs.of("accept", len(batch)):
            answers = await here.home.intake.accept_all(envelopes)
        ids += [answer.declaration_id for answer in answers]
        with costs.of("route", len(batch)):
            routed = await here.home.router.route()
        if routed != len(batch):
            raise RuntimeError(f"{routed} declarations were routed instead of {len(batch)}")
    return ids


async def _delivered(here: Any, parties: Sequence[Any], costs: Costs) -> int:
    """Every mailbox emptied: pulled with its keys, opened by the agency (not counted), acknowledged."""
    from connectors.contract import Applied
    from tests.bench.spine import BATCH

    done = 0
    for party in parties:
        inbox, waiting = here.inbox(party), True
        while waiting:
            with costs.of("pull") as call:
                pulled = await inbox.pull(BATCH)
                call.count = len(pulled.locked)
            waiting = bool(pulled.locked)
            opened = await here.open(party, pulled)
            with costs.of("acknowledge", len(opened)):
                await inbox.acknowledge_all({one.delivery_id: Applied() for one in opened})
            done += len(opened)
    return done


async def _story(here: Any, parties: Sequence[Any], people: range, costs: Costs) -> tuple[list[Any], list[Any]]:
    """From consents to acknowledged deliveries, and the ledger ordered."""
    recorded = await _given(here, parties, people, costs)
    ids = await _declared(here, people, costs)
    delivered = await _delivered(here, parties, costs)
    if delivered != len(people) * len(parties):
        raise RuntimeError(f"{delivered} deliveries instead of {len(people) * len(parties)}")
    ledger = here.home.ledger
    sequence = getattr(ledger, "sequence_unfinished", ledger.sequence)  # before there were windows, there was one
    with costs.of("sequence") as call:
        call.count = await sequence()
    return recorded, ids


async def _flow(count: int, database: str | None, costs: Costs) -> None:
    async with _living(database) as (here, parties):
        await _story(here, parties, range(WARM), Costs())
        await _story(here, parties, range(WARM, WARM + count), costs)


async def _checks(count: int, database: str | None, costs: Costs) -> None:
    """A receipt of each declaration, and fsck of all that there is."""
    async with _living(database) as (here, parties):
        from broker.services import proofs

        _, ids = await _story(here, parties, range(count), Costs())
        for number, one in enumerate(ids):
            with (Costs() if number < min(WARM, count // 2) else costs).of("prove"):
                await proofs.prove(here.home, one, None, "fr")
        with costs.of("fsck", count):
            found = await here.home.fsck.check()
        if found:
            raise RuntimeError(f"fsck: {found[0]}")


async def _again(count: int, database: str | None, costs: Costs) -> None:
    """What fsck costs where nothing has changed since it was clean."""
    async with _living(database) as (here, parties):
        await _story(here, parties, range(count), Costs())
        await here.home.fsck.look(full=True)
        with costs.of("fsck-again", count):
            await here.home.fsck.look()


async def _revoke(count: int, database: str | None, costs: Costs) -> None:
    """Half of the grants have a delivery that waits and becomes noise, half have none any more."""
    async with _living(database) as (here, parties):
        from tests.world import VOICE

        recorded = await _given(here, parties[:1], range(count), Costs())
        await _declared(here, range(count // 2), Costs())
        for number, one in enumerate(recorded):
            with (Costs() if number < min(WARM, count // 2) else costs).of("revoke"):
                await here.home.consents.revoke(one.grant.id, VOICE)


async def _start(count: int, _: str | None, costs: Costs) -> None:
    """The command line until it has said something."""
    command = [sys.executable, "-m", "broker", "--help"]
    for number in range(count + 1):
        with (costs if number else Costs()).of("start"):
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


async def _floor(count: int, _: str | None, costs: Costs) -> None:
    """The cryptography and Avro of one declaration alone, every side's."""
    async with _living(None) as (here, parties):
        from tests.bench.floor import measure
        from tests.bench.spine import FIELDS

        measure(here, len(parties), len(FIELDS), 2)
        with costs.of("floor", count):
            found = measure(here, len(parties), len(FIELDS), count)
        costs.wall["floor"] = [found.total]  # without its preparations


@dataclass(frozen=True)
class Scenario:
    """What one process does, the figures that it gives, and how many declarations, grants or starts are usual."""

    run: Callable[[int, str | None, Costs], Awaitable[None]]
    figures: tuple[str, ...]
    count: int
    databases: bool = True
    """Whether it is another thing on another database."""


SCENARIOS: Final = {
    "flow": Scenario(_flow, ("grant", "accept", "route", "pull", "acknowledge", "sequence"), 100),
    "checks": Scenario(_checks, ("prove", "fsck"), 60),
    "again": Scenario(_again, ("fsck-again",), 60),
    "revoke": Scenario(_revoke, ("revoke",), 100),
    "start": Scenario(_start, ("start",), 3, databases=False),
    "floor": Scenario(_floor, ("floor",), 60, databases=False),
}
MEANS: Final = dict.fromkeys((figure for one in SCENARIOS.values() for figure in one.figures), 1)
"""What each figure measures, as a number: whoever changes it counts up, and old and new are not compared then."""


async def measured(name: str, count: int, database: str | None) -> list[dict[str, Any]]:
    """The lines of one scenario; what is missing is said of each figure that was not had."""
    chosen, costs = SCENARIOS[name], Costs()
    try:
        await chosen.run(count, database, costs)
    except MISSING as error:
        for figure in chosen.figures:
            if figure not in costs.wall:
                costs.absent[figure] = f"{type(error).__name__}: {error}"
    return costs.lines()


def main() -> None:
    """Measure, and answer on standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(SCENARIOS))
    parser.add_argument("--count", type=int, default=0, help="declarations, grants or starts; default: the usual")
    parser.add_argument("--database", default=None, help="URL of an empty PostgreSQL database")
    chosen = parser.parse_args()
    count = chosen.count or SCENARIOS[chosen.name].count
    for line in asyncio.run(measured(chosen.name, count, chosen.database)):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
