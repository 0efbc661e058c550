"""Repair checks: each try is one that the broker wrote, and none of those that the ledger tells of is gone.

Refuses: to judge whether a number was right; nobody here knows one.
Keeps: who takes a row away, so that a fourth try is the third, shows: the ledger says how often a delivery was tried
again for a person who was not found.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator

from broker.flow.repairs import REPAIRABLE, TRIES
from broker.maintenance.checks.declarations import Told
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import LOST_REPAIRS, Part
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.rows.macs import RowMacs
from broker.store.tables import repairs
from schemas.facts import FactKind


async def orphans(tx: Snapshot) -> AsyncIterator[Finding]:
    """Tries of deliveries that are not there."""
    for row in () if tx.empty(repairs) else await tx.execute(LOST_REPAIRS):
        yield Finding("repairs.orphan", f"repairs/{bytes(row.delivery).hex()}/{row.number}", "its delivery is unknown")


def check(part: Part, said: Told, macs: RowMacs) -> Iterator[Finding]:
    """Every try of a part."""
    again = Counter(one.delivery for one in said.entries if one.kind is FactKind.REPLAYED and one.reason in REPAIRABLE)
    tried: Counter[bytes] = Counter()
    for row in part.of("repairs"):
        place = f"repairs/{bytes(row.delivery).hex()}/{row.number}"
        if not macs.holds(repairs.name, row._mapping):
            yield Finding("repairs.mac", place, "the broker did not write this row as it is")
        elif not 1 <= row.number <= TRIES:
            yield Finding("repairs.mac", place, "there is no such try")
        tried[row.delivery] += row.tried_at is not None
    for row in part.of("deliveries"):
        if again[row.id] > tried[row.id]:
            told = f"the ledger says that it was tried again {again[row.id]} times, and {tried[row.id]} tries are there"
            yield Finding("repairs.missing", f"deliveries/{bytes(row.id).hex()}", told)
