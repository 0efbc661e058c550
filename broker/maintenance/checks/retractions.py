"""Retraction checks: what was taken back is told by the ledger, and nothing of it is on its way.

Refuses: to take the row's word; one that is gone, or says less than was decided, is the journal of endings' to tell.
Keeps: a delivery that was put back, in its row and in the ledger, after its declaration was taken back shows.
"""

from collections.abc import Iterable, Iterator

from broker.flow.deliveries import ACTIVE
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from schemas.facts import FactKind, Facts
from schemas.names import Instant
from schemas.retractions import RETRACTIONS

_ACTIVE = frozenset(state.value for state in ACTIVE)


def check(part: Part, entries: Iterable[Facts], erased: Instant) -> Iterator[Finding]:
    """Each stands, or was lifted, as an entry says; and what stands has closed what it takes back."""
    said = {(entry.kind, entry.detail) for entry in entries}
    standing: set[bytes] = set()
    for row in part.of("retractions"):
        kind = FactKind.RETRACTED if row.lifted_at is None else FactKind.RETRACTION_LIFTED
        changed_at = row.retracted_at if row.lifted_at is None else row.lifted_at
        if (kind, row_digest("retractions", row._mapping)) not in said and changed_at > erased:
            place = f"retractions/{bytes(row.declaration).hex()}"
            yield Finding("retractions.untold", place, "the ledger does not tell of this retraction as it is")
        if row.lifted_at is None:
            standing.add(row.declaration)
    taken = {
        row.seq
        for row in part.of("declarations")
        if row.declaration_id in standing or (row.root in standing and row.event_type not in RETRACTIONS)
    }
    for row in (*part.of("deliveries"), *part.of("away")):
        if row.declaration in taken and row.state in _ACTIVE:
            place = f"deliveries/{bytes(row.id).hex()}"
            yield Finding("deliveries.retracted", place, "its declaration was taken back, and it is on its way")


def check_macs(part: Part, macs: RowMacs) -> Iterator[Finding]:
    """Every retraction of a part is as the machine wrote it."""
    for row in part.of("retractions"):
        if not macs.holds("retractions", row._mapping):
            place = f"retractions/{bytes(row.declaration).hex()}"
            yield Finding("retractions.mac", place, "the broker did not write this row as it is")
