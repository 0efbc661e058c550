"""Deliveries: one row of the mailbox as a type, the states it can be in, and the way out when a consent falls.

        planned ──► PENDING ──► HANDED ──► RELEASED ──► APPLIED
                       ▲           │           │
                       └───────────┴───────────┤ lease ran out, or the agency asks to try later
                                               ├──► REJECTED    the agency could not take it
                                               ├──► PARKED      tried too often
                                               ├──► AWAITING    somebody there decides until a day; may be ended later
                                               ├──► ANSWERED    for the person to repair; may be planned again
                                               └──► WITHHELD    the consent does not stand any more; what was released
                                                                before that may still be acknowledged

Refuses: nothing; the moves are made by `planner`, `mailbox`, `gate` and `consents`.
Keeps: a citizen's next delivery to an agency waits while one is ACTIVE; what is not ACTIVE never blocks. Whoever moves
a delivery holds its mailbox's lock and has read it under that lock.

Locks are taken in this order, so nobody waits in a circle: directory, trust, dead letters, epochs, citizens, grants,
mailbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, select, update

from broker.ledger.recorder import Recorder
from broker.observability import spans
from broker.observability.observe import logger
from broker.observability.tracing import TraceId, stored
from broker.store.engine import Transaction
from broker.store.tables import declarations, deliveries, gate_epochs
from consent.asking import one_of
from schemas.facts import FactKind
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    LeafHash,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SchemaId,
    SubjectRef,
)


class DeliveryState(Enum):
    """One delivery's state; the table holds its value."""

    PENDING = "pending"
    HANDED = "handed"
    RELEASED = "released"
    APPLIED = "applied"
    REJECTED = "rejected"
    PARKED = "parked"
    AWAITING = "awaiting"
    ANSWERED = "answered"
    WITHHELD = "withheld"


ACTIVE = frozenset({DeliveryState.PENDING, DeliveryState.HANDED, DeliveryState.RELEASED})
"""On its way: the citizen's next one to the same agency waits for it."""

OPEN = ACTIVE | {DeliveryState.AWAITING}
"""Not ended: what the end of its consent ends, too."""

DEAD = frozenset({DeliveryState.REJECTED, DeliveryState.PARKED})
"""These wait for an operator, who may replay them under the consent of that day."""


class Stage(Enum):
    """Where a dead letter died."""

    ROUTER = "router"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What was planned: who gets which fields (a bitmap) of which declaration, under which grant and version."""

    id: DeliveryId
    declaration: int
    manifest: ManifestDigest
    event_type: EventType
    recipient: PartyId
    subject: SubjectRef
    subscription: bytes
    purpose: Purpose
    grant_id: GrantId
    grant_version: int
    tag: bytes
    """By which anyone sees that ledger entries are of one delivery, 16 random bytes."""
    plan_blind: bytes = field(repr=False)
    """Of the ledger's commitment to this plan, 32 random bytes."""
    fields: bytes
    locked: bytes = field(repr=False)
    trace: TraceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Planned):
    """One row of the mailbox, with what its declaration's row says."""

    seq: int
    declaration_id: DeclarationId
    root: DeclarationId | None
    source: PartyId
    schema: SchemaId
    gate_kid: Kid
    gate_ended: bool
    """Whether the gate's key that it is sealed to was destroyed."""
    state: DeliveryState
    attempts: int
    held_until: Instant | None
    """Before this instant it is not in its citizen's queue."""
    planned_at: Instant
    handed_at: Instant | None
    released_at: Instant | None
    done_at: Instant | None
    lease_until: Instant | None
    reason: Reason | None
    code: str | None
    until: str | None
    """The day until which somebody at the recipient decides, as `2026-12-31`."""
    taken: bytes | None
    """Which fields it has applied, where it has not applied all: a bitmap."""
    mac: bytes | None = field(repr=False)
    """Of id and tag (`broker.store.rows.macs`); None in a home from before."""

    def under_lease(self, at: Instant) -> bool:
        """Whether its recipient has it in hand."""
        return self.lease_until is not None and self.lease_until > at


def citizen_lock(subject: SubjectRef) -> bytes:
    """Exclusive for whoever gives or changes a citizen's consents, shared for whoever plans by them."""
    return b"citizen/" + subject


def mailbox_lock(recipient: PartyId) -> bytes:
    """Exclusive for whoever moves one of an agency's deliveries."""
    return f"mailbox/{recipient}".encode()


def in_states(states: frozenset[DeliveryState]) -> ColumnElement[bool]:
    """A condition: the delivery is in one of these states."""
    return deliveries.c.state.in_(sorted(state.value for state in states))


def reading(*conditions: ColumnElement[bool]) -> Select[Any]:
    """The statement of `load`. One that is asked often is made once, with parameters, and goes to `fetch`."""
    return (
        select(
            deliveries,
            declarations.c.declaration_id,
            declarations.c.root,
            declarations.c.source,
            declarations.c.schema_id,
            declarations.c.manifest_digest,
            declarations.c.event_type,
            declarations.c.gate_kid,
            declarations.c.trace,
            gate_epochs.c.destroyed_at,
        )
        .join(declarations, declarations.c.seq == deliveries.c.declaration)
        .outerjoin(gate_epochs, gate_epochs.c.kid == declarations.c.gate_kid)
        .where(*conditions)
        .order_by(deliveries.c.seq)
    )


async def load(tx: Transaction, *conditions: ColumnElement[bool], limit: int | None = None) -> list[Delivery]:
    """Deliveries that meet all conditions, oldest first."""
    return await fetch(tx, reading(*conditions).limit(limit))


async def fetch(tx: Transaction, statement: Select[Any], told: Mapping[str, Any] | None = None) -> list[Delivery]:
    """The deliveries that a statement made by `reading` finds with these parameters."""
    return [_delivery(row) for row in await tx.execute(statement, told)]


async def load_own(tx: Transaction, recipient: PartyId, ids: Sequence[DeliveryId]) -> dict[DeliveryId, Delivery]:
    """A recipient's own among these; another agency's is as unknown as one that never was.

    Asked for by their ids alone: with the recipient in the same question, SQLite walks through all that the agency ever
    got.
    """
    found = await fetch(tx, _BY_ID, {"ids": list(ids)})
    return {delivery.id: delivery for delivery in found if delivery.recipient == recipient}


_BY_ID: Final = reading(one_of(deliveries.c.id, "ids"))


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        seq=row.seq,
        id=DeliveryId(row.id),
        declaration=row.declaration,
        declaration_id=DeclarationId(row.declaration_id),
        root=DeclarationId(row.root) if row.root is not None else None,
        source=PartyId(row.source),
        schema=SchemaId(row.schema_id),
        manifest=ManifestDigest(row.manifest_digest),
        event_type=EventType(row.event_type),
        recipient=PartyId(row.recipient),
        subject=SubjectRef(row.subject),
        subscription=row.subscription,
        purpose=Purpose(row.purpose),
        grant_id=GrantId(row.grant_id),
        grant_version=row.grant_version,
        tag=row.tag,
        plan_blind=row.plan_blind,
        fields=row.fields,
        locked=row.locked,
        gate_kid=Kid(row.gate_kid),
        gate_ended=row.destroyed_at is not None,
        trace=stored(row.trace, DeclarationId(row.declaration_id)),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        held_until=row.held_until,
        planned_at=row.planned_at,
        handed_at=row.handed_at,
        released_at=row.released_at,
        done_at=row.done_at,
        lease_until=row.lease_until,
        reason=Reason(row.reason) if row.reason is not None else None,
        code=row.code,
        until=row.until,
        taken=row.taken,
        mac=row.mac,
    )


def record(
    tx: Transaction,
    recorder: Recorder,
    kind: FactKind,
    planned: Planned,
    at: Instant,
    *,
    actor: PartyId | None = None,
    reason: Reason | None = None,
    basis: str | None = None,
    sealed_to: Kid | None = None,
    written: Instant | None = None,
    plan: bytes | None = None,
    detail: bytes | None = None,
) -> LeafHash:
    """Write a delivery's step into the ledger, in the transaction that makes it true. Returns the leaf hash.

    `basis` of a plan and a release: its grant's; `sealed_to` of a release: the recipient's key; `plan`: what a release
    has to commit to (`Steps.plan`); `detail` of an answer: what commits to its day. Once it is committed it is said in
    the log, too, and is a span: since when it was planned. Raises Refused `gate.not-as-planned`.
    """
    leaf = recorder.record(
        tx,
        kind,
        at,
        actor=actor,
        about=planned.subject,
        recipient=planned.recipient,
        event_type=planned.event_type,
        purpose=planned.purpose,
        declaration=planned.manifest,
        delivery=planned.id,
        grant=planned.grant_id,
        grant_version=planned.grant_version,
        fields=planned.fields,
        reason=reason,
        basis=basis,
        sealed_to=sealed_to,
        tag=planned.tag,
        plan_blind=planned.plan_blind,
        plan=plan,
        detail=detail,
        written=written,
    )
    tx.after(lambda: _say(kind, planned, at, reason))
    return leaf


def _say(kind: FactKind, planned: Planned, at: Instant, reason: Reason | None) -> None:
    to, trace = planned.recipient, planned.trace
    logger().info("delivery.recorded", kind=kind, delivery=planned.id, recipient=to, reason=reason, trace_id=trace)
    since = planned.planned_at if isinstance(planned, Delivery) else at
    spans.ended(f"delivery.{kind.value}", trace, since, at, delivery=planned.id, recipient=to, reason=reason)


_NO_MORE: Final = {"code": None, "until": None}


async def withhold(
    tx: Transaction, recorder: Recorder, withheld: Sequence[Delivery], reason: Reason, at: Instant
) -> None:
    """End deliveries whose consent does not stand: their keys stay closed, the citizen sees why, the line moves on."""
    if not withheld:
        return
    await tx.execute(
        update(deliveries)
        .where(deliveries.c.seq.in_([delivery.seq for delivery in withheld]))
        .values(state=DeliveryState.WITHHELD.value, lease_until=None, done_at=at, reason=reason.value, **_NO_MORE)
    )
    # Crash here: state and entries are one transaction; the cause of the withholding is in it, too.
    for delivery in withheld:
        record(tx, recorder, FactKind.WITHHELD, delivery, at, reason=reason)
