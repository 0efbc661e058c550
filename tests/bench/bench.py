"""The bench: what the machine does in a second, beside what its cryptography alone could do in the same run.

    python -m tests.bench.bench [--out bench.json] [--growth 1000,3000,10000] [--plot docs/images/growth.svg]

Prints a table and writes a list of {name, unit, value, floor, ratio, aim, met}. Asserts nothing: a figure that misses
its aim says so, and that is all. `value` and `floor` of a rate are per second, so `ratio` is value / floor; of a time,
`ratio` is floor / value.
"""

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from broker.cli.session import collect_less
from broker.directory import Party, PartyKind
from broker.parties import Enrolment
from broker.store.tables import ledger_entries
from connectors.contract import Applied
from schemas import merkle, tiles
from schemas.entry import Entry, EntryKind
from schemas.hpke import Suite
from schemas.names import LeafHash, PartyId
from tests.bench.floor import Floor, measure
from tests.world import ELISE, FAMILY, MOVED, PORTAL, VOICE, World, world

RECIPIENTS = 5
FIELDS = ("subject", "new_address", "effective_date")
BATCH = 100


@dataclass(frozen=True)
class Figure:
    """One line of the table. `aim` is None where there is none; times and sizes aim low, rates and ratios high."""

    name: str
    unit: str
    value: float
    floor: float | None
    ratio: float | None
    aim: float | None
    met: bool | None


def rate(name: str, per_second: float, floor: float, aim_ratio: float | None) -> Figure:
    """A throughput against its floor."""
    ratio = per_second / floor
    return Figure(name, "1/s", per_second, floor, ratio, aim_ratio, None if aim_ratio is None else ratio >= aim_ratio)


def cost(name: str, unit: str, value: float, aim: float | None, floor: float | None = None) -> Figure:
    """A time or a size, which should be small."""
    ratio = None if floor is None else floor / value
    return Figure(name, unit, value, floor, ratio, aim, None if aim is None else value <= aim)


def person(number: int) -> dict[str, Any]:
    """A citizen of their own for every number."""
    letters = "".join(chr(65 + number // 26**place % 26) for place in range(5))
    return ELISE | {"given_names": [letters]}


async def enrol(here: World) -> list[PartyId]:
    """The recipients of the bench, with post-quantum keys; nobody else subscribes."""
    async with here.home.store.begin() as tx:
        for other in here.subscriptions.values():
            await here.home.subscribing.end(tx, other.id, here.clock())
    parties = [PartyId(f"urn:unefois:bench{number}") for number in range(RECIPIENTS)]
    for party in parties:
        row = Party(
            id=party,
            name="Bench",
            sector="bench",
            kind=PartyKind.ADMINISTRATION,
            address="-",
            contact="-",
            retention="-",
            created_at=here.clock(),
        )
        await here.home.parties.enrol(Enrolment(row, 1, Suite.MLKEM768_X25519, ()))
        await here.subscribe(party, MOVED, FAMILY, FIELDS)
    return parties


async def allow(here: World, parties: list[PartyId], first: int, count: int) -> None:
    """Every citizen allows every recipient."""
    for number in range(first, first + count):
        for party in parties:
            await here.give(party, MOVED, FAMILY, FIELDS, person=person(number))


async def drain(here: World, party: PartyId) -> int:
    """Pull, open, verify and acknowledge until the mailbox is empty."""
    inbox, done = here.inbox(party), 0
    while (pulled := await inbox.pull(BATCH)).locked:
        opened = await here.open(party, pulled)
        await inbox.acknowledge_all({delivery.delivery_id: Applied() for delivery in opened})
        done += len(opened)
    return done


async def end_to_end(here: World, parties: list[PartyId], people: Sequence[int]) -> float:
    """Seconds from these people's records to acknowledged deliveries, the source's own work included."""
    start = time.perf_counter()
    for begin in range(0, len(people), BATCH):
        moved = [here.moved(person(number)) for number in people[begin : begin + BATCH]]
        envelopes = [await here.home.desk.envelope(PORTAL, MOVED, record) for record in moved]
        answers = await here.home.intake.accept_all(envelopes)
        if any(isinstance(answer, Exception) for answer in answers):
            raise RuntimeError("the bench's own declarations were refused")
        await here.home.router.route()
    delivered = sum([await drain(here, party) for party in parties])
    seconds = time.perf_counter() - start
    if delivered != len(people) * len(parties):
        raise RuntimeError(f"{delivered} deliveries instead of {len(people) * len(parties)}")
    await here.home.ledger.sequence()
    return seconds


async def latency(here: World, parties: list[PartyId], first: int, rounds: int) -> list[Figure]:
    """One declaration at a time on an idle machine: accepted to handed over, and the release alone."""
    handed, released = [], []
    for number in range(first, first + rounds):
        envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved(person(number)))
        start = time.perf_counter()
        await here.home.intake.accept(envelope)
        await here.home.router.route()
        (leased,) = await here.inbox(parties[0]).lease(1)
        before = time.perf_counter()
        pulled = await here.inbox(parties[0]).release([leased.id])
        end = time.perf_counter()
        handed.append(end - start)
        released.append(end - before)
        await here.inbox(parties[0]).acknowledge_all({pulled.locked[0].delivery_id: Applied()})
    for party in parties[1:]:
        await drain(here, party)
    return [
        cost("accept to handed over, idle, p50", "ms", 1000 * statistics.median(handed), 25),
        cost("release, one delivery, p99", "ms", 1000 * percentile(released, 0.99), 10),
    ]


async def revocations(here: World, parties: list[PartyId], first: int, rounds: int) -> Figure:
    """Revocations acknowledged while declarations come in, are routed and drained."""
    grants = [await here.give(parties[0], MOVED, FAMILY, FIELDS, person=person(first + n)) for n in range(rounds)]
    stop = asyncio.Event()

    async def load() -> None:
        number = first
        while not stop.is_set():
            envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved(person(number)))
            await here.home.intake.accept(envelope)
            await here.home.router.route()
            number += 1
            await asyncio.sleep(0)

    busy = asyncio.create_task(load())
    took = []
    for grant in grants:
        start = time.perf_counter()
        await here.home.consents.revoke(grant.grant.id, VOICE)
        took.append(time.perf_counter() - start)
        await asyncio.sleep(0)
    stop.set()
    await busy
    for party in parties:
        await drain(here, party)
    return cost("revocation acknowledged, under load, p99", "ms", 1000 * percentile(took, 0.99), 20)


def percentile(values: list[float], part: float) -> float:
    """The value that this part of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


async def ledger(here: World, entries: int) -> list[Figure]:
    """Sequencing in batches of 256, and a proof out of a ledger of so many entries."""
    home = here.home
    await home.ledger.sequence()
    entry = Entry(at=here.clock(), kind=EntryKind.KEY_ADDED, actor=home.party)
    encoded = [entry.encode() + n.to_bytes(4, "big") for n in range(256)]
    start = time.perf_counter()
    tiles.grow(0, encoded, {}.__getitem__)
    floor = (time.perf_counter() - start) / 256
    async with home.store.begin() as tx:
        raw = Entry(at=here.clock(), kind=EntryKind.KEY_ADDED, actor=home.party, detail=bytes(32)).encode()
        rows = ({"leaf": merkle.leaf_hash(raw), "entry": raw} for _ in range(entries))
        chunk = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == 10_000:
                await tx.execute(insert(ledger_entries), chunk)
                chunk = []
        if chunk:
            await tx.execute(insert(ledger_entries), chunk)
    start = time.perf_counter()
    ordered = await home.ledger.sequence()
    append = (time.perf_counter() - start) / ordered
    async with home.store.read() as tx:
        where = ledger_entries.c.position == 5
        leaf = LeafHash((await tx.execute(select(ledger_entries.c.leaf).where(where))).scalar_one())
    took = []
    for _ in range(50):
        start = time.perf_counter()
        await home.ledger.prove(leaf)
        took.append(time.perf_counter() - start)
    return [
        cost("ledger, ordering one entry", "us", 1e6 * append, 10, 1e6 * floor),
        cost(f"ledger, one proof out of {ordered:,} entries, p50", "ms", 1000 * statistics.median(took), 2),
    ]


def memory() -> Figure:
    """Resident memory of a process that composed a broker and waits."""
    script = (
        "import asyncio, tempfile\n"
        "from pathlib import Path\n"
        "from broker.settings import load\n"
        "from broker.wiring import create_home, open_home\n"
        "async def main():\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        settings = load(home=Path(folder) / 'home')\n"
        "        await create_home(settings)\n"
        "        async with open_home(settings) as home:\n"
        "            await home.router.route()\n"
        "            print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))\n"
        "asyncio.run(main())\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return cost("idle process, resident", "MB", int(answer.stdout) / 1024, 120)


async def growth(sizes: list[int]) -> list[tuple[int, float]]:
    """Milliseconds of one declaration when so many have gone before: the median of the last five hundreds.

    One in five is a citizen's first, with consents for every recipient; the others come from anybody who was there.
    """
    points, chance = [], random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as here:
            parties, done, citizens = await enrol(here), 0, 0
            recent: deque[float] = deque(maxlen=5)
            for size in sizes:
                while done < size:
                    await allow(here, parties, citizens, BATCH // 5)
                    newcomers = list(range(citizens, citizens + BATCH // 5))
                    citizens += BATCH // 5
                    others = [chance.randrange(citizens) for _ in range(BATCH - len(newcomers))]
                    recent.append(await end_to_end(here, parties, newcomers + others))
                    done += BATCH
                points.append((size, 1000 * statistics.median(recent) / BATCH))
                print(f"  growth: after {size:,} declarations {points[-1][1]:.1f} ms each", flush=True)
    return points


def plot(points: list[tuple[int, float]]) -> str:
    """The growth as an SVG: declarations that went before (logarithmic) against milliseconds of the next."""
    import math

    width, height, left, bottom = 640, 320, 70, 50
    low, high = math.log10(points[0][0]), math.log10(points[-1][0])
    top = max(ms for _, ms in points) * 1.25

    def x(size: int) -> float:
        return left + (width - left - 30) * (math.log10(size) - low) / max(high - low, 1e-9)

    def y(ms: float) -> float:
        return height - bottom - (height - bottom - 30) * ms / top

    line = " ".join(f"{x(size):.1f},{y(ms):.1f}" for size, ms in points)
    dots = "".join(f'<circle cx="{x(size):.1f}" cy="{y(ms):.1f}" r="4" fill="#1d4ed8"/>' for size, ms in points)
    ticks = "".join(
        f'<text x="{x(size):.1f}" y="{height - bottom + 20}" text-anchor="middle">{size:,}</text>' for size, _ in points
    )
    scale = "".join(
        f'<text x="{left - 8}" y="{y(top * part / 4) + 4:.1f}" text-anchor="end">{top * part / 4:.0f}</text>'
        f'<path d="M{left} {y(top * part / 4):.1f}H{width - 30}" stroke="#e2e8f0"/>'
        for part in range(5)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-size="12" '
        'font-family="system-ui, sans-serif" fill="#334155"><title>Cost of one declaration as the home grows</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{scale}'
        f'<polyline points="{line}" fill="none" stroke="#1d4ed8" stroke-width="2"/>{dots}{ticks}'
        f'<text x="{left}" y="18">milliseconds of one declaration to {RECIPIENTS} recipients</text>'
        f'<text x="{width - 30}" y="{height - 10}" text-anchor="end">declarations that went before</text></svg>\n'
    )


def throughput(seconds: float, count: int, floor: Floor) -> list[Figure]:
    """The main figure, and its floor part by part."""
    return [
        rate(f"1 source to {RECIPIENTS} recipients, declarations", count / seconds, 1 / floor.total, 0.45),
        cost("  floor: source", "ms", 1000 * floor.source, None),
        cost("  floor: broker", "ms", 1000 * floor.broker, None),
        cost("  floor: recipients", "ms", 1000 * floor.recipients, None),
    ]


async def run(count: int, entries: int) -> list[Figure]:
    """Every figure but the growth."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as here:
            parties = await enrol(here)
            await allow(here, parties, 0, count + 200)
            floor = measure(here, RECIPIENTS, len(FIELDS), 200)
            seconds = await end_to_end(here, parties, range(count))
            figures += throughput(seconds, count, floor)
            figures += await latency(here, parties, count, 100)
            figures.append(await revocations(here, parties, count + 100, 100))
    steps: list[Callable[[World], Awaitable[list[Figure]]]] = [lambda here: ledger(here, entries)]
    for step in steps:
        with tempfile.TemporaryDirectory() as folder:
            async with world(Path(folder)) as here:
                figures += await step(here)
    figures.append(memory())
    return figures


def show(figures: list[Figure]) -> None:
    """The table."""
    print(f"\n{'':52}{'value':>12} {'unit':5}{'floor':>10}{'ratio':>8}{'aim':>8}  met")
    for figure in figures:
        floor = "" if figure.floor is None else f"{figure.floor:,.2f}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        aim = "" if figure.aim is None else f"{figure.aim:g}"
        met = "" if figure.met is None else "yes" if figure.met else "NO"
        print(f"{figure.name:52}{figure.value:>12,.2f} {figure.unit:5}{floor:>10}{ratio:>8}{aim:>8}  {met}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--count", type=int, default=600, help="declarations of the throughput figure")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the ledger that a proof comes from")
    parser.add_argument("--growth", default="", help="sizes, comma-separated, instead of the table; a long run")
    parser.add_argument("--plot", type=Path, default=None)
    chosen = parser.parse_args()
    collect_less()
    figures: list[Figure] = []
    if not chosen.growth:
        figures += asyncio.run(run(chosen.count, chosen.entries))
    else:
        points = asyncio.run(growth([int(size) for size in chosen.growth.split(",")]))
        first, last = points[0][1], points[-1][1]
        figures.append(cost(f"cost after {points[-1][0]:,} against {points[0][0]:,}", "x", last / first, 1.2))
        if chosen.plot is not None:
            chosen.plot.write_text(plot(points), "utf-8")
    show(figures)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n", "utf-8")
    print(f"\nwritten to {chosen.out}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
