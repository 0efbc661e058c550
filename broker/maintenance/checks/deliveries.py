"""Delivery checks: each delivery is where the ledger's last word on it leaves it, and carries what was planned last.

Refuses: to take the row's word for anything that the ledger tells.
Keeps: a delivery that was taken away, set back, or given other fields than were planned shows, even where the row and
what it holds were changed together.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from broker.flow.deliveries import DEAD, Delivery, DeliveryState, load
from broker.flow.erased import EMPTY
from broker.maintenance.checks.declarations import Told
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.ground import Asked, Ground
from broker.maintenance.checks.parts import Part
from broker.store.engine import Transaction
from broker.store.tables import deliveries
from schemas.catalogue import Catalogue
from schemas.envelope import SignedDeclaration
from schemas.errors import Fault, Refused
from schemas.facts import FactKind, Facts, until_commitment
from schemas.names import DeliveryId, Instant, Reason, uuid_text
from schemas.release import LockedDelivery, bitmap, delivery_id_of
from schemas.retractions import RETRACTIONS

_STATES = {
    FactKind.PLANNED: {DeliveryState.PENDING, DeliveryState.HANDED},
    FactKind.RELEASED: {DeliveryState.RELEASED},
    FactKind.APPLIED: {DeliveryState.APPLIED},
    FactKind.REJECTED: DEAD,
    FactKind.WITHHELD: {DeliveryState.WITHHELD},
    FactKind.ANSWERED: {DeliveryState.ANSWERED, DeliveryState.AWAITING},
}
"""Where each kind of entry leaves a delivery; being handed out has no entry."""

_AT_ONCE = 500

_ENDS = {FactKind.APPLIED, FactKind.REJECTED, FactKind.WITHHELD, FactKind.ANSWERED}


@dataclass(slots=True)
class _Story:
    """What the ledger says of one delivery: its last word, the last plan, the last release."""

    last: Facts
    planned: Facts | None = None
    released: Facts | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The deliveries of a part, and the numbers of those that no broker can have written: an unknown state, reason or
    name.
    """

    planned: list[Delivery]
    unreadable: list[int]


async def held(tx: Transaction, part: Part) -> Held:
    """Every delivery of a part."""
    seqs = [row.seq for row in part.of("deliveries")]
    found: list[Delivery] = []
    unreadable: list[int] = []
    for at in range(0, len(seqs), _AT_ONCE):
        some = seqs[at : at + _AT_ONCE]
        try:
            found += await load(tx, deliveries.c.seq.in_(some))
            continue
        except (Refused, ValueError):
            pass
        for seq in some:
            try:
                found += await load(tx, deliveries.c.seq == seq)
            except (Refused, ValueError):
                unreadable.append(seq)
    return Held(found, unreadable)


def check(part: Part, mine: Held, said: Told, ground: Ground) -> Iterator[Finding]:
    """Every check of a part's deliveries and their dead letters."""
    told = _stories(said.entries)
    rows = {row.seq: row for row in (*part.of("declarations"), *part.of("beside"))}
    for seq in mine.unreadable:
        yield Finding("deliveries.unreadable", f"deliveries/{seq}", "the row, or its declaration's, cannot be read")
    for delivery in mine.planned:
        yield from _against_the_ledger(delivery, told.pop(delivery.id, None), said.erased)
        if said.tags.get(delivery.tag, delivery.id) != delivery.id:
            yield Finding("deliveries.tag", _place(delivery), "its tag is another delivery's")
        yield from _asked(delivery, ground.asked)
        row = rows[delivery.declaration]
        if delivery.subject != row.subject and delivery.subject not in ground.kin.get(row.subject, ()):
            yield Finding("deliveries.differs", _place(delivery), "it is about another citizen than its declaration")
        yield from _contents(delivery, row, ground.catalogue)
    if not mine.unreadable:
        for gone in (one for one, story in told.items() if story.last.declaration not in said.forgotten):
            yield Finding(
                "deliveries.missing", f"deliveries/{gone.hex()}", "the ledger tells of it, but it is not there"
            )
    emptied = {seq for seq, row in rows.items() if row.envelope == EMPTY}
    yield from _dead(part, {delivery.id: delivery for delivery in mine.planned}, emptied)


def _stories(entries: Iterable[Facts]) -> dict[DeliveryId, _Story]:
    told: dict[DeliveryId, _Story] = {}
    for entry in entries:
        if entry.delivery is None or entry.kind not in _STATES:
            continue
        story = told.setdefault(entry.delivery, _Story(entry))
        story.last = entry
        if entry.kind is FactKind.PLANNED:
            story.planned = entry
        elif entry.kind is FactKind.RELEASED:
            story.released = entry
    return told


def _place(delivery: Delivery) -> str:
    return f"deliveries/{uuid_text(delivery.id)}"


def _against_the_ledger(delivery: Delivery, story: _Story | None, erased: Instant) -> Iterator[Finding]:
    place, state = _place(delivery), delivery.state
    if (story is None or story.planned is None) and delivery.planned_at <= erased:
        return
    if story is None or story.planned is None:
        yield Finding("deliveries.untold", place, "the ledger never says that it was planned")
        return
    last = story.last
    awaits = last.kind is FactKind.ANSWERED and last.reason is Reason.AWAITING_HUMAN
    if state not in _STATES[last.kind] or awaits is not (state is DeliveryState.AWAITING):
        yield Finding("deliveries.state", place, f"{state.value}, but the ledger's last word is {last.kind.value}")
    elif delivery.reason is not (last.reason if last.kind in _ENDS else None):
        yield Finding("deliveries.state", place, "the reason is not the one that the ledger gives")
    yield from _answer(delivery, last)
    times = (
        last.at if last.kind in _ENDS else None,
        story.released.at if story.released is not None else None,
    )
    kept = (delivery.done_at, delivery.released_at)
    gone = (
        None if told is None and row is not None and row <= erased else row
        for row, told in zip(kept, times, strict=True)
    )
    if tuple(gone) != times:
        yield Finding("deliveries.times", place, "ended or released at another time than the ledger says, or never")
    if state in {DeliveryState.HANDED, DeliveryState.RELEASED} and delivery.handed_at is None:
        yield Finding("deliveries.times", place, f"{state.value}, but never handed out")
    plan = story.planned
    what = (plan.recipient, plan.event_type, plan.purpose, plan.declaration)
    under = (plan.grant, plan.grant_version, plan.fields)
    row_says = (delivery.recipient, delivery.event_type, delivery.purpose, delivery.manifest)
    if what != row_says or under != (delivery.grant_id, delivery.grant_version, delivery.fields):
        yield Finding("deliveries.edited", place, "it is not what the ledger says was planned last")


def _answer(delivery: Delivery, last: Facts) -> Iterator[Finding]:
    """The day by which somebody decides, and the fields that were taken, are those that the ledger has."""
    day = None if delivery.until is None else until_commitment(delivery.id, delivery.until)
    told = last.detail if last.kind is FactKind.ANSWERED else None
    some = last.fields if last.kind is FactKind.APPLIED and last.reason is Reason.PARTLY else None
    if (day, delivery.taken) != (told, some):
        yield Finding("deliveries.answer", _place(delivery), "the answer is not the one that the ledger gives")


def _asked(delivery: Delivery, asked: Asked) -> Iterator[Finding]:
    recipient, event_type, purpose = asked.get(delivery.subscription, (None, None, None))
    event_type = delivery.event_type if delivery.event_type in RETRACTIONS else event_type  # by what they take back
    if (recipient, event_type, purpose) != (delivery.recipient, delivery.event_type, delivery.purpose):
        yield Finding("deliveries.orphan", _place(delivery), "its subscription is unknown, or another's")


def _contents(delivery: Delivery, row: Row[Any], catalogue: Catalogue) -> Iterator[Finding]:
    """What it holds is what its row and its declaration say; whether it unlocks is the business of `locks`."""
    place = _place(delivery)
    if not delivery.locked and delivery.done_at is not None:
        return  # pruned: it has ended, and nothing in it is needed any more
    try:
        if not _agrees(delivery, SignedDeclaration.decode(row.envelope), catalogue):
            yield Finding("deliveries.differs", place, "the lock says other than its row or its declaration")
    except (Fault, IndexError):
        yield Finding("deliveries.unreadable", place, "the locked delivery cannot be read")


def _agrees(delivery: Delivery, envelope: SignedDeclaration, catalogue: Catalogue) -> bool:
    locked = LockedDelivery.decode(delivery.locked)
    carried = bitmap(len(catalogue.by_id(delivery.schema).fields), [one.index for one in locked.fields])
    row_says = (
        delivery_id_of(delivery.declaration_id, delivery.recipient, delivery.grant_id),
        delivery.recipient,
        delivery.purpose,
        delivery.grant_id,
        delivery.grant_version,
        delivery.fields,
    )
    lock_says = (locked.delivery_id, locked.recipient, locked.purpose, locked.grant_id, locked.grant_version, carried)
    source_says = (envelope.payload, envelope.signatures, envelope.gate_kid)
    return (
        row_says == lock_says
        and locked.delivery_id == delivery.id
        and source_says == (locked.payload, locked.signatures, locked.gate_kid)
        and all(one.sealed == envelope.sealed_fields[one.index] for one in locked.fields)
    )


def _dead(part: Part, planned: Mapping[DeliveryId, Delivery], emptied: Collection[int]) -> Iterator[Finding]:
    """A dead delivery has one letter that waits, and it says why, unless there is nothing to try again (`emptied`); a
    letter has its delivery.
    """
    waiting: dict[DeliveryId, Row[Any]] = {}
    for row in part.of("letters"):
        if DeliveryId(row.delivery) not in planned:
            yield Finding("dead-letters.orphan", f"dead_letters/{row.id}", "its delivery is unknown")
        elif row.replayed_at is None:
            waiting[DeliveryId(row.delivery)] = row
    for delivery in planned.values():
        if delivery.state not in DEAD or delivery.declaration in emptied:
            continue
        letter = waiting.get(delivery.id)
        reason = delivery.reason.value if delivery.reason is not None else None
        if letter is None:
            wrong = f"{delivery.state.value}, but no dead letter waits for it"
            yield Finding("deliveries.lost", _place(delivery), wrong)
        elif (letter.reason, letter.code, letter.at) != (reason, delivery.code, delivery.done_at):
            yield Finding(
                "dead-letters.differs", f"dead_letters/{letter.id}", "it tells of another end than its delivery"
            )
