"""The bench: what the machine does in a second, beside what its cryptography alone could do in the same run.

    python -m tests.bench.bench [--modes embedded,server,cluster] [--out bench.json]
    python -m tests.bench.bench --growth 1000,3000,10000 [--plot docs/images/growth.svg]

Prints a table for each mode and writes a list of {mode, name, unit, value, floor, ratio, aim, met}. Asserts nothing: a
figure that misses its aim says so, and that is all. `value` and `floor` of a rate are per second, so `ratio` is value /
floor; of a time, `ratio` is floor / value. Servers are started for their mode; a mode whose servers cannot be had here
says why.
"""

import argparse
import asyncio
import json
import resource
import tempfile
from dataclasses import asdict
from pathlib import Path

from broker.cli.session import collect_less
from tests.bench import fleet
from tests.bench.figures import Figure, cost, show
from tests.bench.floor import measure
from tests.bench.growth import growth, plot
from tests.bench.spine import (
    FIELDS,
    RECIPIENTS,
    allow,
    end_to_end,
    enrol,
    latency,
    ledger,
    memory,
    revocations,
    throughput,
)
from tests.services.absent import Absent
from tests.world import world

MODES = ("embedded", "server", "cluster")


async def embedded(count: int, entries: int) -> list[Figure]:
    """One process on SQLite."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as here:
            parties = await enrol(here)
            collect_less()
            await allow(here, parties, 0, count + 600)
            floor = measure(here, RECIPIENTS, len(FIELDS), 200)
            seconds = await end_to_end(here, parties, range(count))
            figures += throughput(seconds, count, floor)
            figures += await latency(here, parties, count, 300)
            figures.append(await revocations(here, parties, count + 300, 300))
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as here:
            figures += await ledger(here, entries)
    figures.append(memory())
    return figures


def measured(mode: str, count: int, entries: int) -> list[Figure]:
    """The figures of one mode; none where its servers cannot be had."""
    if mode == "embedded":
        return asyncio.run(embedded(count, entries))
    try:
        with fleet.servers(mode) as told:
            return asyncio.run(fleet.run(count, told))
    except Absent as absent:
        print(f"{mode}: {absent}")
        return []


def grown(sizes: list[int], to: Path | None) -> list[Figure]:
    """The cost after the largest of these sizes against the smallest, and its picture."""
    points = asyncio.run(growth(sizes))
    first, last = points[0], points[-1]
    if to is not None:
        to.write_text(plot(points), "utf-8")
    return [cost(f"cost after {last[0]:,} against {first[0]:,}", "x", last[1] / first[1], 1.2)]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--modes", default=",".join(MODES), help="which, comma-separated")
    parser.add_argument("--count", type=int, default=600, help="declarations of the throughput figure")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the ledger that a proof comes from")
    parser.add_argument("--growth", default="", help="sizes, comma-separated, instead of the modes; a long run")
    parser.add_argument("--plot", type=Path, default=None)
    chosen = parser.parse_args()
    collect_less()
    tables: dict[str, list[Figure]] = {}
    if chosen.growth:
        tables["growth"] = grown([int(size) for size in chosen.growth.split(",")], chosen.plot)
    for mode in () if chosen.growth else chosen.modes.split(","):
        tables[mode] = measured(mode, chosen.count, chosen.entries)
        show(mode, tables[mode])
    if chosen.growth:
        show("growth", tables["growth"])
    told = [{"mode": mode, **asdict(figure)} for mode, figures in tables.items() for figure in figures]
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    print(f"\nwritten to {chosen.out}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
