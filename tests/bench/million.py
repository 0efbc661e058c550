"""Million: what one declaration costs when a million have gone before, on PostgreSQL.

    python -m tests.bench.million [--sizes 1000,10000,100000,1000000] [--plot docs/images/million.svg]

A thousand declarations go all the way. The server itself then copies what they left behind (declarations, submissions,
deliveries whose locks were pruned, withholdings, ledger entries and openings) under new ids, until there is so much;
and hundreds more go all the way. A copy of an entry stands outside the tree, so what the tree costs is told by the
bench of the ledger. Prints a line for each size. Asserts nothing.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from broker.cli.session import collect_less
from broker.settings.choices import load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store.engine import Store, Transaction
from tests.bench import fleet
from tests.bench.fleet import unhurried
from tests.bench.growth import plot
from tests.bench.spine import BATCH, allow, end_to_end, enrol
from tests.world import World, populate

MEASURED: Final = 5
"""Hundreds, of which the median is told."""

_APART: Final = 10_000_000
"""Between the numbers of two copies of one row."""
_NEW: Final = {
    ("declarations", "seq"): f"t.seq + k * {_APART}",
    ("declarations", "declaration_id"): "substr(sha256(t.declaration_id || int8send(k)), 1, 16)",
    ("declarations", "manifest_digest"): "sha256(t.manifest_digest || int8send(k))",
    ("declarations", "subject"): "sha256(t.subject || int8send(k))",
    ("submissions", "declaration_id"): "substr(sha256(t.declaration_id || int8send(k)), 1, 16)",
    ("submissions", "envelope_digest"): "sha256(t.envelope_digest || int8send(k))",
    ("submissions", "subject"): "sha256(t.subject || int8send(k))",
    ("deliveries", "seq"): f"t.seq + k * {_APART}",
    ("deliveries", "id"): "substr(sha256(t.id || int8send(k)), 1, 16)",
    ("deliveries", "declaration"): f"t.declaration + k * {_APART}",
    ("deliveries", "subject"): "sha256(t.subject || int8send(k))",
    ("deliveries", "grant_id"): "substr(sha256(t.grant_id || int8send(k)), 1, 16)",
    ("deliveries", "locked"): "''::bytea",
    ("withholdings", "declaration"): f"t.declaration + k * {_APART}",
    ("ledger_entries", "id"): f"t.id + k * {_APART}",
    ("ledger_entries", "leaf"): "sha256(t.leaf || int8send(k))",
    ("ledger_entries", "position"): f"t.position + (k + 1) * {_APART * 100}",
    ("ledger_openings", "leaf"): "sha256(t.leaf || int8send(k))",
    ("ledger_openings", "subject"): "sha256(t.subject || int8send(k))",
}
_TABLES: Final = tuple(dict.fromkeys(table for table, _ in _NEW))
_NUMBERED: Final = {"declarations": "seq", "deliveries": "seq", "ledger_entries": "id"}


async def _copied(store: Store, first: int, last: int) -> None:
    """Copies `first` to `last` of what the first thousand left behind, without keys and indexes: made anew after it."""
    async with store.begin() as tx:
        await unhurried(tx)
        made_anew = await _taken_off(tx)
        for table in _TABLES:
            named = text("SELECT column_name FROM information_schema.columns WHERE table_name = :name")
            columns = [row[0] for row in await tx.execute(named, {"name": table})]
            told = ", ".join(f'"{one}"' for one in columns)
            made = ", ".join(_NEW.get((table, one), f't."{one}"') for one in columns)
            copies = f"CROSS JOIN generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) k {_ORIGINAL[table]}"
            await tx.execute(
                text(f"INSERT INTO {table} ({told}) SELECT {made} FROM {table} t {copies}"),
                {"first": first, "last": last},
            )
        for statement in made_anew:
            await tx.execute(text(statement))
    async with store.begin() as tx:  # the numbers of what comes now are past every copy's
        for table, number in _NUMBERED.items():
            past = f"(SELECT max({number}) + 1 FROM {table})"
            await tx.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', '{number}'), {past})"))


async def _taken_off(tx: Transaction) -> list[str]:
    """Drop the constraints and the indexes of the tables, and the references to them. Returns what makes them again."""
    told = {"tables": list(_TABLES)}
    constraints = (await tx.execute(_CONSTRAINTS, told)).all()
    for one in reversed(constraints):
        await tx.execute(text(f"ALTER TABLE {one.holder} DROP CONSTRAINT {one.name}"))
    indexes = (await tx.execute(_INDEXES, told)).all()
    for one in indexes:
        await tx.execute(text(f"DROP INDEX {one.name}"))
    keys = [f"ALTER TABLE {one.holder} ADD CONSTRAINT {one.name} {one.definition}" for one in constraints]
    return [*(one.definition for one in indexes), *keys]


_CONSTRAINTS: Final = text(
    "SELECT conrelid::regclass AS holder, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition"
    " FROM pg_constraint WHERE contype IN ('p', 'u', 'f')"
    " AND (conrelid::regclass::text = ANY(:tables) OR confrelid::regclass::text = ANY(:tables))"
    " ORDER BY contype = 'f'"  # what is referred to before what refers
)
_INDEXES: Final = text(
    "SELECT quote_ident(indexname) AS name, indexdef AS definition FROM pg_indexes WHERE tablename = ANY(:tables)"
)

_ORIGINAL: Final = {
    table: f"WHERE t.{number} <= (SELECT last FROM original_numbers WHERE of = '{of}')"
    for table, number, of in (
        *((table, number, table) for table, number in _NUMBERED.items()),
        ("withholdings", "declaration", "declarations"),
    )
} | {
    "submissions": "JOIN original_ids o ON o.declaration_id = t.declaration_id",
    "ledger_openings": "JOIN original_leaves o ON o.leaf = t.leaf",
}
"""Which rows of a table are of the first thousand."""


async def _kept(store: Store) -> None:
    """What the first thousand are, once."""
    async with store.begin() as tx:
        last = " UNION ".join(
            f"SELECT '{table}' AS of, max({number}) AS last FROM {table}" for table, number in _NUMBERED.items()
        )
        await tx.execute(text(f"CREATE TABLE original_numbers AS {last}"))
        await tx.execute(text("CREATE TABLE original_ids AS SELECT declaration_id FROM submissions"))
        await tx.execute(text("CREATE TABLE original_leaves AS SELECT leaf FROM ledger_openings"))


async def grown(here: World, sizes: list[int]) -> list[tuple[int, float]]:
    """Milliseconds of one declaration to its recipients, when so many have gone before."""
    parties, store = await enrol(here), here.home.store
    people = sizes[0] + len(sizes) * MEASURED * BATCH
    await allow(here, parties, 0, people)
    for first in range(0, sizes[0], BATCH):
        await end_to_end(here, parties, range(first, first + BATCH))
    await _kept(store)
    points, done, copies = [], sizes[0], 0
    for size in sizes:
        if size > sizes[0]:
            began, wanted = time.monotonic(), size // sizes[0] - 1
            await _copied(store, copies + 1, wanted)
            copies = wanted
            print(f"  {size:,} declarations made in {time.monotonic() - began:.0f} s", flush=True)
        await fleet.settled(here.home.settings.database_url)
        took = []
        for _ in range(MEASURED):
            took.append(await end_to_end(here, parties, range(done, done + BATCH)) / BATCH)
            done += BATCH
        points.append((size, 1000 * statistics.median(took)))
        print(f"  after {size:,} declarations {points[-1][1]:.1f} ms each", flush=True)
    return points


async def run(sizes: list[int], folder: Path, told: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The points, on a home of its own."""
    settings = load(**told, home=folder / "home")
    await create_home(settings)
    async with open_home(settings) as home:
        here = World(home, home.clock, folder)  # type: ignore[arg-type]
        await populate(here)
        points = await grown(here, sizes)
        async with home.store.read() as tx:
            weight = text("SELECT pg_size_pretty(pg_database_size(current_database()))")
            print(f"  the database weighs {(await tx.execute(weight)).scalar()}")
    return points


def main(sizes: list[int], to: Path | None) -> None:
    """Grow, measure, print."""
    with fleet.servers("server") as told, tempfile.TemporaryDirectory() as folder:
        points = asyncio.run(run(sizes, Path(folder), told))
    ratio = points[-1][1] / points[0][1]
    print(f"after {points[-1][0]:,} against {points[0][0]:,}: {ratio:.2f} (aim 1.2)")
    if to is not None:
        to.write_text(plot(points), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--plot", type=Path, default=None)
    chosen = parser.parse_args()
    collect_less()
    main([int(size) for size in chosen.sizes.split(",")], chosen.plot)
