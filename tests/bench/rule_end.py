"""The bench of a rule's end: how long it takes to stop what a million citizens' grants under it would let through.

    python -m tests.bench.rule_end [--grants 1000000] [--database URL]

The grants are made by the server itself, as rows; then the rule is narrowed, and ended, each acknowledged after its
commit. Prints a line for each, and what is handed out afterwards. Asserts nothing.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, text

from broker.services import rules
from broker.store import migrate
from consent.tables import grants
from tests.bench.fleet import settled, unhurried
from tests.services import postgres
from tests.world import CAF, FAMILY, MOVED, world

_MAKE: Final = text(
    """
    INSERT INTO grants (id, version, subject, recipient, event_type, schema, fields, purpose, basis,
                        granted_at, starts_at, expires_at, scope, once_for, status,
                        given_by, capacity, channel, language, text_hash, changed_at, rule)
    SELECT decode(lpad(to_hex(1764000000000 + i), 12, '0'), 'hex') || substr(sha256(int8send(i)), 1, 10), 1,
           sha256(int8send(i)), :recipient, :event_type, sha256('schema'), '["household", "new_address"]', :purpose,
           'law:CSS, art. L114-19', 1764000000000, 1764000000000, NULL, 'standing', NULL, 'active',
           'rule', 'self', 'system', 'fr', sha256('shown'), 1764000000000, :rule
      FROM generate_series(1, CAST(:many AS bigint)) AS i
    """
)


async def main(many: int, url: str) -> None:
    """Make, narrow, end, print."""
    await migrate.upgrade(url)
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), rule_delay_hours=0, database_url=url) as here:
            fields = ["new_address", "household"]
            told = {"event_type": MOVED, "purpose": FAMILY, "fields": fields, "article": "CSS, art. L114-19"}
            asked = await rules.ask(here.home, recipient=CAF, **told)  # type: ignore[arg-type]
            rule = (await rules.approve(here.home, asked.id)).id
            under = {"recipient": CAF, "event_type": MOVED, "purpose": FAMILY, "rule": rule, "many": many}
            async with here.home.store.begin() as tx:
                await unhurried(tx)
                await tx.execute(_MAKE, under)
            await settled(url)
            await here.declare(MOVED, here.moved())
            async with here.home.store.read() as tx:
                found = (
                    await tx.execute(select(func.count()).select_from(grants).where(grants.c.rule == rule))
                ).scalar()
            print(f"{found:>12,} grants under one rule", flush=True)

            began = time.perf_counter()
            await rules.narrow(here.home, rule, fields=["new_address"])
            print(f"{'narrowed, acknowledged after':>32} {(time.perf_counter() - began) * 1000:.1f} ms", flush=True)
            pulled = await here.inbox(CAF).pull(10)
            print(f"{'what waited':>32} {[one.reason.value for one in pulled.withheld]}", flush=True)

            began = time.perf_counter()
            await rules.end(here.home, rule)
            print(f"{'ended, acknowledged after':>32} {(time.perf_counter() - began) * 1000:.1f} ms", flush=True)
            await here.declare(MOVED, here.moved())
            async with here.home.store.read() as tx:
                left = (
                    select(func.count()).select_from(grants).where(grants.c.rule == rule, grants.c.status == "active")
                )
                print(f"{'rows that say active still':>32} {(await tx.execute(left)).scalar():,}", flush=True)
            pulled = await here.inbox(CAF).pull(10)
            print(f"{'handed out after the end':>32} {len(pulled.locked)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--grants", default=1_000_000, type=int)
    parser.add_argument("--database", default=None)
    chosen = parser.parse_args()
    if chosen.database:
        asyncio.run(main(chosen.grants, chosen.database))
    else:
        with postgres.running() as address:
            asyncio.run(main(chosen.grants, address))
