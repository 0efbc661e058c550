"""Declaration checks: log, submissions, declarations, deliveries and ledger tell one story, byte for byte."""

from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, select

from broker.checks.finding import Finding
from broker.deliveries import DEAD, Delivery, DeliveryState, load
from broker.ports import Log
from broker.router import TOPIC
from broker.store.engine import Transaction
from broker.store.tables import (
    consumed,
    dead_letters,
    declarations,
    deliveries,
    submissions,
    subscriptions,
    withholdings,
)
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.entry import Entry, EntryKind
from schemas.envelope import SignedDeclaration, verify_declaration
from schemas.errors import Fault, Refused
from schemas.names import DeliveryId, Instant, ManifestDigest
from schemas.release import LockedDelivery, bitmap, delivery_id_of

Told = Mapping[tuple[EntryKind, bytes], int]
"""How often the ledger tells of a kind about a manifest (received, corrected) or a delivery (the others)."""


def told_by(entries: list[Entry]) -> Told:
    """Count what the ledger says."""
    counted: dict[tuple[EntryKind, bytes], int] = {}
    for entry in entries:
        about = entry.delivery if entry.delivery is not None else entry.declaration
        if about is not None:
            counted[entry.kind, bytes(about)] = counted.get((entry.kind, bytes(about)), 0) + 1
    return counted


async def check(
    tx: Transaction, log: Log, directory: Directory, catalogue: Catalogue, told: Told
) -> AsyncIterator[Finding]:
    """Every check of declarations and deliveries."""
    written = {row.envelope_digest: row for row in await tx.execute(select(submissions))}
    rows = {row.seq: row for row in await tx.execute(select(declarations))}
    for row in rows.values():
        for finding in _declaration(row, written, directory, catalogue, told):
            yield finding
    planned, unreadable = await _planned(tx)
    for seq in unreadable:
        yield Finding("deliveries.unreadable", f"deliveries/{seq}", "the row, or its declaration's, cannot be read")
    for delivery in planned:
        for finding in _delivery(delivery, rows[delivery.declaration], catalogue, told):
            yield finding
    async for finding in _orphans(tx, planned):
        yield finding
    async for finding in _log(tx, log, rows):
        yield finding
    async for finding in _dead(tx, {delivery.id: delivery for delivery in planned}):
        yield finding


async def _planned(tx: Transaction) -> tuple[list[Delivery], list[int]]:
    """Every delivery, and the numbers of those that no broker can have written: an unknown state, reason or name."""
    try:
        return await load(tx), []
    except (Refused, ValueError):
        pass
    found: list[Delivery] = []
    unreadable: list[int] = []
    for seq in (await tx.execute(select(deliveries.c.seq).order_by(deliveries.c.seq))).scalars().all():
        try:
            found += await load(tx, deliveries.c.seq == seq)
        except (Refused, ValueError):
            unreadable.append(seq)
    return found, unreadable


async def _orphans(tx: Transaction, planned: Sequence[Delivery]) -> AsyncIterator[Finding]:
    asked = {row.id for row in await tx.execute(select(subscriptions.c.id))}
    for delivery in planned:
        if delivery.subscription not in asked:
            yield Finding("deliveries.orphan", _place(delivery), "its subscription is unknown")
    for row in await tx.execute(select(withholdings)):
        if row.subscription not in asked:
            yield Finding("withholdings.orphan", f"withholdings/{row.declaration}", "its subscription is unknown")


def _declaration(
    row: Row[Any], written: Mapping[bytes, Row[Any]], directory: Directory, catalogue: Catalogue, told: Told
) -> list[Finding]:
    place = f"declarations/{row.seq}"
    found = []
    submission = written.get(sha256(row.envelope).digest())
    if submission is None or (submission.source, submission.declaration_id) != (row.source, row.declaration_id):
        found.append(Finding("declarations.not-accepted", place, "the intake never accepted these bytes"))
    elif submission.subject != row.subject or submission.received_at != row.received_at:
        found.append(Finding("declarations.differs", place, "subject or time differ from what the intake wrote down"))
    try:
        verified = verify_declaration(
            SignedDeclaration.decode(row.envelope), directory, catalogue, Instant(row.received_at)
        )
    except Refused as fault:
        return [*found, Finding("declarations.invalid", place, f"the envelope does not verify: {fault.code}")]
    manifest = verified.manifest
    kept = (
        row.source,
        row.declaration_id,
        row.event_type,
        row.schema_id,
        row.manifest_digest,
        row.corrects,
        row.gate_kid,
    )
    said = (
        manifest.source,
        manifest.declaration_id,
        manifest.event_type,
        manifest.schema,
        verified.digest,
        manifest.corrects,
        verified.signed.gate_kid,
    )
    if kept != said:
        found.append(Finding("declarations.differs", place, "the row says other than the envelope"))
    kind = EntryKind.RECEIVED if row.corrects is None else EntryKind.CORRECTED
    if told.get((kind, ManifestDigest(row.manifest_digest)), 0) != 1:
        found.append(Finding("declarations.untold", place, f"the ledger does not say {kind.value} once"))
    return found


def _place(delivery: Delivery) -> str:
    return f"deliveries/{delivery.id.hex()}"


_TOLD_BY_STATE = {
    DeliveryState.RELEASED: EntryKind.RELEASED,
    DeliveryState.APPLIED: EntryKind.APPLIED,
    DeliveryState.REJECTED: EntryKind.REJECTED,
    DeliveryState.PARKED: EntryKind.REJECTED,
    DeliveryState.WITHHELD: EntryKind.WITHHELD,
}


def _delivery(delivery: Delivery, row: Row[Any], catalogue: Catalogue, told: Told) -> list[Finding]:
    place = _place(delivery)
    found = []
    for kind in (EntryKind.PLANNED, _TOLD_BY_STATE.get(delivery.state)):
        if kind is not None and not told.get((kind, delivery.id)):
            found.append(
                Finding("deliveries.untold", place, f"{delivery.state.value}, but the ledger never says {kind.value}")
            )
    if delivery.released_at is not None and not told.get((EntryKind.RELEASED, delivery.id)):
        found.append(Finding("deliveries.untold", place, "released without an entry"))
    try:
        locked = LockedDelivery.decode(delivery.locked)
        envelope = SignedDeclaration.decode(row.envelope)
        count = len(catalogue.by_id(delivery.schema).fields)
        carried = bitmap(count, [one.index for one in locked.fields])
        same = all(one.sealed == envelope.sealed_fields[one.index] for one in locked.fields)
        same &= (locked.payload, locked.signatures) == (envelope.payload, envelope.signatures)
        same &= locked.gate_kid == envelope.gate_kid
    except (Fault, IndexError):
        return [*found, Finding("deliveries.unreadable", place, "the locked delivery cannot be read")]
    stands = (locked.delivery_id, locked.recipient, locked.purpose, locked.grant_id, locked.grant_version, carried)
    row_says = (
        delivery.id,
        delivery.recipient,
        delivery.purpose,
        delivery.grant_id,
        delivery.grant_version,
        delivery.fields,
    )
    derived = delivery_id_of(delivery.declaration_id, delivery.recipient, delivery.grant_id)
    if stands != row_says or derived != delivery.id or not same:
        found.append(
            Finding("deliveries.differs", place, "the locked delivery says other than its row or its declaration")
        )
    if delivery.subject != row.subject:
        found.append(Finding("deliveries.differs", place, "it is about another citizen than its declaration"))
    return found


async def _log(tx: Transaction, log: Log, rows: Mapping[int, Row[Any]]) -> AsyncIterator[Finding]:
    """What was read from the log became a declaration or a dead letter; nobody read further than the log goes."""
    known = {sha256(row.envelope).digest() for row in rows.values()}
    parked = {sha256(row.record).digest() for row in await tx.execute(select(dead_letters)) if row.record is not None}
    for row in await tx.execute(select(consumed).where(consumed.c.topic == TOPIC)):
        place = f"consumed/{row.topic}/{row.partition}"
        if row.next_offset > await log.end(row.topic, row.partition):
            yield Finding("log.offset", place, "read further than the log goes: the log is another one, or was cut")
            continue
        at = 0
        while at < row.next_offset:
            records = await log.read(row.topic, row.partition, at, min(500, row.next_offset - at))
            for record in records:
                if sha256(record.value).digest() not in known | parked:
                    yield Finding("log.lost", f"{place}/{record.position.offset}", "read, but without effect")
            at = records[-1].position.offset + 1 if records else row.next_offset


async def _dead(tx: Transaction, planned: Mapping[DeliveryId, Delivery]) -> AsyncIterator[Finding]:
    waiting = set()
    for row in await tx.execute(select(dead_letters)):
        if row.delivery is None:
            continue
        if DeliveryId(row.delivery) not in planned:
            yield Finding("dead-letters.orphan", f"dead_letters/{row.id}", "its delivery is unknown")
        elif row.replayed_at is None:
            waiting.add(DeliveryId(row.delivery))
    for delivery in planned.values():
        if delivery.state in DEAD and delivery.id not in waiting:
            yield Finding(
                "deliveries.lost", _place(delivery), f"{delivery.state.value}, but no dead letter waits for it"
            )
