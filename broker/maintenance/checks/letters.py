"""Letter and log checks: what was read from the log became a declaration, or a letter that waits; nobody read further
than the log goes.

Refuses: nothing; the log is read batch by batch.
Keeps: memory is that of a batch, beside the digests of the records that nobody could read.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

from sqlalchemy import select

from broker.flow.arrived import made_at
from broker.flow.erased import EMPTY
from broker.flow.router import TOPIC
from broker.maintenance.checks import sizes
from broker.maintenance.checks.aside import Aside
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.marks import Changed
from broker.maintenance.checks.parts import LOST_LETTERS, SUBMITTED, Part
from broker.maintenance.checks.snapshot import Snapshot
from broker.ports import Log, Record
from broker.store.engine import Transaction
from broker.store.tables import consumed, dead_letters, declarations, submissions
from consent.asking import one_of
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.locked import manifest_of
from schemas.names import Instant

_BECAME: Final = (
    select(submissions.c.envelope_digest)
    .join(declarations, SUBMITTED)
    .where(one_of(submissions.c.envelope_digest, "digests"))
)
_WAITING: Final = dead_letters.c.record.is_not(None) & dead_letters.c.replayed_at.is_(None)


def check(nobodys: Part, entries: Iterable[Facts], erased: Instant) -> Iterator[Finding]:
    """Every letter about a record; `entries`: what the ledger says of nobody, which up to `erased` may be no more."""
    refused = {entry.detail for entry in entries if entry.kind is FactKind.REFUSED}
    for row in nobodys.of("records"):
        if sha256(row.record).digest() not in refused and row.at > erased:
            yield Finding("dead-letters.untold", f"dead_letters/{row.id}", "the ledger does not tell of this record")


async def check_log(tx: Snapshot, log: Log, erased: Instant, aside: Aside | None) -> AsyncIterator[Finding]:
    """Every partition, as far as it was read. `aside`: what of all parts is forgotten; None: nobody went through all of
    them. Raises Changed where that has to be known.
    """
    waiting: set[bytes] = set()
    if not tx.empty(dead_letters):
        for number in (await tx.execute(LOST_LETTERS)).scalars():
            yield Finding("dead-letters.orphan", f"dead_letters/{number}", "its delivery is unknown")
        records = (await tx.execute(select(dead_letters.c.record).where(_WAITING))).scalars()
        waiting = {sha256(one).digest() for one in records}
    for row in await tx.execute(select(consumed).where(consumed.c.topic == TOPIC)):
        place = f"consumed/{row.topic}/{row.partition}"
        if row.next_offset > await log.end(row.topic, row.partition):
            yield Finding("log.offset", place, "read further than the log goes: the log is another one, or was cut")
            continue
        at = await log.first(row.topic, row.partition)
        while at < row.next_offset:
            read = await log.read(row.topic, row.partition, at, min(sizes.RECORDS, row.next_offset - at))
            # what is asked for may be pruned, and the next ones come
            mine = [record for record in read if record.position.offset < row.next_offset]
            for record in await _lost(tx, mine, waiting, erased, aside):
                yield Finding("log.lost", f"{place}/{record.position.offset}", "read, but without effect")
            at = read[-1].position.offset + 1 if read else row.next_offset


async def _lost(
    tx: Transaction, records: Sequence[Record], waiting: set[bytes], erased: Instant, aside: Aside | None
) -> list[Record]:
    read = {sha256(record.value).digest(): record for record in records}
    if not read:
        return []
    became = {bytes(one) for one in (await tx.execute(_BECAME, {"digests": list(read)})).scalars()}
    left = [record for digest, record in read.items() if digest not in became and digest not in waiting]
    return [record for record in left if not await _told(tx, record.value, erased, aside)]


async def _told(tx: Transaction, record: bytes, erased: Instant, aside: Aside | None) -> bool:
    """Whether a record became a declaration whose submission says otherwise, or is forgotten, or so old that the ledger
    may tell of it no more: a log of Kafka's may keep it for longer.
    """
    try:
        payload = SignedDeclaration.decode(record).payload
        made = made_at(manifest_of(payload).declaration_id)
    except Refused:
        return False
    if made is not None and made <= erased:
        return True
    manifest = sha256(payload).digest()
    there = select(declarations.c.envelope).where(declarations.c.manifest_digest == manifest)
    held = [bytes(one) for one in (await tx.execute(there)).scalars()]
    if record in held:
        return True
    if EMPTY in held:  # what was erased is known by its submission
        same = submissions.c.envelope_digest == sha256(record).digest()
        return (await tx.execute(select(submissions.c.declaration_id).where(same))).first() is not None
    if aside is None:
        raise Changed
    return aside.is_forgotten(manifest)
