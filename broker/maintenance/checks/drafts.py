"""Draft checks: what citizens have begun, and by what the same declaration is known again, is as the broker wrote it.
No fingerprint outlives its declaration. Whatever is counted was there.

A draft that is damaged is as absent: its person begins again. A row taken away is not found here: nothing else tells
that it was there.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from sqlalchemy import Select, exists, select

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.access_tables import tallies
from broker.store.citizen_tables import citizen_drafts, told_already
from broker.store.rows.macs import RowMacs
from broker.store.tables import submissions

_PAGE: Final = 500
_THERE: Final = exists().where(submissions.c.declaration_id == told_already.c.declaration).label("there")
_FINGERPRINTS: Final[Select[Any]] = select(told_already, _THERE).order_by(told_already.c.declaration)

_UNCOUNTED: Final = select(tallies.c.key).where(tallies.c.counted < 1).order_by(tallies.c.key).limit(_PAGE)


async def check(tx: Snapshot, macs: RowMacs) -> AsyncIterator[Finding]:
    """Every row of both tables, a page at a time."""
    async with aclosing(tx.pages(select(citizen_drafts).order_by(citizen_drafts.c.id), _PAGE)) as pages:
        async for rows in pages:
            for row in rows:
                if not macs.holds(citizen_drafts.name, row._mapping):
                    place = f"citizen_drafts/{bytes(row.id).hex()}"
                    yield Finding("drafts.mac", place, "the broker did not write this row as it is: it is not read")
    async with aclosing(tx.pages(_FINGERPRINTS, _PAGE)) as pages:
        async for rows in pages:
            for row in rows:
                place = f"told_already/{bytes(row.declaration).hex()}"
                if not macs.holds(told_already.name, row._mapping):
                    yield Finding(
                        "told-already.mac", place, "the broker did not write this row as it is: it says nothing"
                    )
                elif not row.there:
                    yield Finding("told-already.orphan", place, "its declaration is not there any more")
    for row in await tx.execute(_UNCOUNTED) if not tx.empty(tallies) else ():
        yield Finding("tallies.count", f"tallies/{bytes(row.key).hex()}", "it counts nothing: nobody here wrote it so")
