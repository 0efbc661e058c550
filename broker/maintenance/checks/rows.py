"""Row checks: every row that grants power has the broker's seal, and what the machine writes at every declaration has
its MAC. One without counts for nothing: somebody lost a right, or somebody tried to take one; the other checks say
whether the ledger knows of it. A waiting entry's MAC is looked at on the walk over the ledger.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from sqlalchemy import Row

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.rows.layouts import LAYOUTS, written_key
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowVerifier
from broker.webhooks.endpoints import Status
from consent.tables import metadata
from schemas import merkle


async def check(tx: Snapshot, verifier: RowVerifier) -> AsyncIterator[Finding]:
    """Every row of every table of `layouts`. A webhook that ended has lost its seal with its end."""
    for name in LAYOUTS:
        for row in await tx.rows(metadata.tables[name]):
            if name == "webhooks" and row.status == Status.ENDED.value and row.seal is None:
                continue
            if not verifier.holds(name, row._mapping):
                place = f"{name}/{written_key(name, row._mapping)}"
                yield Finding(
                    "rows.unsigned", place, "the broker did not sign this row as it is: it counts for nothing"
                )


def check_macs(part: Part, macs: RowMacs) -> Iterator[Finding]:
    """Every submission, declaration, delivery, objection and opened entry of a part."""
    for row in part.of("objections"):
        if not macs.holds("objections", row._mapping):
            place = f"objections/{bytes(row.rule).hex()}"  # by its rule: whose it is, is nobody's business
            yield Finding("objections.mac", place, "the broker did not write this row as it is")
    yield from submitted(part.of("submissions"), macs)
    for row in part.of("declarations"):
        if not macs.holds("declarations", row._mapping):
            yield Finding("declarations.mac", f"declarations/{row.seq}", "the broker did not write this row as it is")
    yield from placed(part.of("told"), macs)
    for row in part.of("deliveries"):
        if row.mac is not None and not macs.holds("deliveries", row._mapping):  # none in a home from before
            place = f"deliveries/{bytes(row.id).hex()}"
            yield Finding("deliveries.mac", place, "the broker did not give this delivery this tag")


def placed(rows: Iterable[Row[Any]], macs: RowMacs) -> Iterator[Finding]:
    """These entries of the ledger, as far as they have their place: what an edited one says is for others to find."""
    for row in rows:
        if row.id is None or row.mac is None or not isinstance(row.position, int) or row.position < 0:
            continue  # no entry, of a home from before, or not in the ledger yet
        if merkle.leaf_hash(row.entry) == row.leaf and not macs.holds("ledger_entries", row._mapping):
            place = f"ledger_entries/{row.id}"
            yield Finding("ledger.row", place, "its window or its chain is not what the broker wrote")


def submitted(rows: Iterable[Row[Any]], macs: RowMacs) -> Iterator[Finding]:
    """These submissions."""
    for row in rows:
        if not macs.holds("submissions", row._mapping):
            place = f"submissions/{bytes(row.declaration_id).hex()}"
            yield Finding("submissions.mac", place, "the broker did not write this row as it is")
