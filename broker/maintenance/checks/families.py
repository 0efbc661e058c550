"""Family checks: who may act for whom, who did, and whose confirmation a household waits for, is as the broker wrote it
and as the ledger tells it: whoever takes such a row away hides on whose word something was declared.
"""

from collections.abc import Iterable, Iterator

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from schemas.facts import FactKind, Facts
from schemas.names import Instant


def check_macs(part: Part, macs: RowMacs) -> Iterator[Finding]:
    """What was declared for another, and the places of a household. Representations have a seal: `rows.check`."""
    wrong = "the broker did not write this row as it is"
    for row in part.of("acted_for"):
        if not macs.holds("acted_for", row._mapping):
            yield Finding("acted-for.mac", f"acted_for/{bytes(row.declaration).hex()}", wrong)
    for row in part.of("households"):
        if not macs.holds("households", row._mapping):
            yield Finding("households.mac", f"households/{bytes(row.household).hex()}/{row.number}", wrong)


def check(part: Part, entries: Iterable[Facts], erased: Instant) -> Iterator[Finding]:
    """Against what the ledger says of their citizens; up to `erased` it may say no more."""
    entries = list(entries)
    yield from _representations(part, entries, erased)
    yield from _acted_for(part, entries, erased)


def _representations(part: Part, entries: Iterable[Facts], erased: Instant) -> Iterator[Finding]:
    rows, said = part.of("representations"), [(one.kind, one.detail) for one in entries]
    for row in rows:
        whole = row._mapping
        start = row_digest("representations", {**whole, "ended_at": None})
        wanted = [(FactKind.REPRESENTATION_STARTED, start, row.recorded_at)]
        if row.ended_at is not None:
            wanted.append((FactKind.REPRESENTATION_ENDED, row_digest("representations", whole), row.ended_at))
        if any((kind, detail) not in said and at > erased for kind, detail, at in wanted):
            place = f"representations/{bytes(row.id).hex()}"
            yield Finding("representations.untold", place, "the ledger does not tell of this representation as it is")
    if sum(kind is FactKind.REPRESENTATION_STARTED for kind, _ in said) > len(rows):
        wrong = "the ledger tells of a representation that is not there"
        yield Finding("representations.lost", "representations", wrong)


def _acted_for(part: Part, entries: Iterable[Facts], erased: Instant) -> Iterator[Finding]:
    told = {one.detail: one.declaration for one in entries if one.kind is FactKind.ACTED_FOR}
    there = set()
    for row in part.of("acted_for"):
        there.add(row.declaration)
        if row_digest("acted_for", row._mapping) not in told and row.at > erased:
            place = f"acted_for/{bytes(row.declaration).hex()}"
            yield Finding("acted-for.untold", place, "the ledger does not tell who made this declaration as it is here")
    by_another = set(told.values())
    for row in part.of("declarations"):
        if row.manifest_digest in by_another and row.declaration_id not in there:
            place = f"declarations/{row.seq}"
            yield Finding(
                "acted-for.lost", place, "the ledger says that another made it, and the row that says who is gone"
            )
