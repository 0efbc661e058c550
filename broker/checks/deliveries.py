"""Delivery checks: each delivery is where the ledger's last word on it leaves it, and carries what was planned last.

Refuses: to take the row's word for anything that the ledger tells.
Keeps: a delivery that was taken away, set back, or given other fields than were planned shows, even where the row and
what it holds were changed together.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from broker.checks.finding import Finding
from broker.deliveries import DEAD, Delivery, DeliveryState, load
from broker.store.engine import Transaction
from broker.store.tables import dead_letters, deliveries, subscriptions
from schemas.catalogue import Catalogue
from schemas.entry import Entry, EntryKind
from schemas.envelope import SignedDeclaration
from schemas.errors import Fault, Refused
from schemas.names import DeliveryId
from schemas.release import LockedDelivery, bitmap, delivery_id_of

_STATES = {
    EntryKind.PLANNED: {DeliveryState.PENDING, DeliveryState.HANDED},
    EntryKind.RELEASED: {DeliveryState.RELEASED},
    EntryKind.APPLIED: {DeliveryState.APPLIED},
    EntryKind.REJECTED: DEAD,
    EntryKind.WITHHELD: {DeliveryState.WITHHELD},
}
"""Where each kind of entry leaves a delivery; being handed out has no entry."""

_ENDS = {EntryKind.APPLIED, EntryKind.REJECTED, EntryKind.WITHHELD}


@dataclass(slots=True)
class _Story:
    """What the ledger says of one delivery: its last word, the last plan, the last release."""

    last: Entry
    planned: Entry | None = None
    released: Entry | None = None


async def check(tx: Transaction, entries: Iterable[Entry], catalogue: Catalogue) -> AsyncIterator[Finding]:
    """Every check of deliveries and their dead letters; `entries` in the order of the ledger."""
    told = _stories(entries)
    planned, unreadable = await _planned(tx)
    for seq in unreadable:
        yield Finding("deliveries.unreadable", f"deliveries/{seq}", "the row, or its declaration's, cannot be read")
    asked = {row.id: row for row in await tx.execute(select(subscriptions))}
    for delivery in planned:
        for finding in (*_against_the_ledger(delivery, told.pop(delivery.id, None)), *_asked(delivery, asked)):
            yield finding
    if not unreadable:
        for gone in told:
            yield Finding("deliveries.missing", f"deliveries/{gone.hex()}", "the ledger tells of it, but it is not there")
    async for finding in _contents(tx, planned, catalogue):
        yield finding
    async for finding in _dead(tx, {delivery.id: delivery for delivery in planned}):
        yield finding


def _stories(entries: Iterable[Entry]) -> dict[DeliveryId, _Story]:
    told: dict[DeliveryId, _Story] = {}
    for entry in entries:
        if entry.delivery is None or entry.kind not in _STATES:
            continue
        story = told.setdefault(entry.delivery, _Story(entry))
        story.last = entry
        if entry.kind is EntryKind.PLANNED:
            story.planned = entry
        elif entry.kind is EntryKind.RELEASED:
            story.released = entry
    return told


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


def _place(delivery: Delivery) -> str:
    return f"deliveries/{delivery.id.hex()}"


def _against_the_ledger(delivery: Delivery, story: _Story | None) -> Iterator[Finding]:
    place, state = _place(delivery), delivery.state
    if story is None or story.planned is None:
        yield Finding("deliveries.untold", place, "the ledger never says that it was planned")
        return
    last = story.last
    if state not in _STATES[last.kind]:
        yield Finding("deliveries.state", place, f"{state.value}, but the ledger's last word is {last.kind.value}")
    elif delivery.reason is not (last.reason if last.kind in _ENDS else None):
        yield Finding("deliveries.state", place, "the reason is not the one that the ledger gives")
    times = (last.at if last.kind in _ENDS else None, story.released.at if story.released is not None else None)
    if (delivery.done_at, delivery.released_at) != times:
        yield Finding("deliveries.times", place, "ended or released at another time than the ledger says, or never")
    if state in {DeliveryState.HANDED, DeliveryState.RELEASED} and delivery.handed_at is None:
        yield Finding("deliveries.times", place, f"{state.value}, but never handed out")
    plan = story.planned
    said = (plan.recipient, plan.event_type, plan.purpose, plan.declaration, plan.grant, plan.grant_version, plan.fields)
    if said != (
        delivery.recipient,
        delivery.event_type,
        delivery.purpose,
        delivery.manifest,
        delivery.grant_id,
        delivery.grant_version,
        delivery.fields,
    ):
        yield Finding("deliveries.edited", place, "it is not what the ledger says was planned last")


def _asked(delivery: Delivery, asked: Mapping[bytes, Row[Any]]) -> Iterator[Finding]:
    one = asked.get(delivery.subscription)
    mine = (delivery.recipient, delivery.event_type, delivery.purpose)
    if one is None or (one.recipient, one.event_type, one.purpose) != mine:
        yield Finding("deliveries.orphan", _place(delivery), "its subscription is unknown, or another's")


async def _contents(tx: Transaction, planned: Sequence[Delivery], catalogue: Catalogue) -> AsyncIterator[Finding]:
    """What a delivery holds is what its row and its declaration say; the key inside is the business of `locks`."""
    for delivery in planned:
        declaration = (await tx.execute(_DECLARATION.where(declarations.c.seq == delivery.declaration))).one()
        try:
            if not _same(delivery, declaration.envelope, catalogue):
                wrong = "the locked delivery says other than its row or its declaration"
                yield Finding("deliveries.differs", _place(delivery), wrong)
        except (Fault, IndexError):
            yield Finding("deliveries.unreadable", _place(delivery), "the locked delivery cannot be read")
        if delivery.subject != declaration.subject:
            yield Finding("deliveries.differs", _place(delivery), "it is about another citizen than its declaration")
