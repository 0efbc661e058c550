"""Tracking: how far each declaration is with each administration, in the words of a citizen and of an operator.

Refuses: to show a value; it has none.
Keeps: every subscription that was asked has its line, those that got nothing too, with the reason. What was set aside
has the number of its dead letter.
"""

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final

from sqlalchemy import func, select

from broker.directory.lookup import Lookup
from broker.flow.acting import ActedFor
from broker.flow.answers import late
from broker.flow.deliveries import ACTIVE, DEAD, Delivery, DeliveryState, Stage, load
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.tables import dead_letters, declarations, deliveries, submissions, withholdings
from consent.asking import one_of
from schemas.catalogue import Catalogue
from schemas.errors import Refused
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SchemaId,
    SubjectRef,
)
from schemas.release import indices

PAGE: Final = 20
"""Dead letters that are looked at together: each holds up to a megabyte."""


class Progress(Enum):
    """What a citizen reads: Transmise, Reçue, En cours, Traitée, Refusée; Retenue for what was not allowed; À compléter
    (HubEE's ADD_AWAITING) for what they can mend, Problème technique (SI_INTG_ERROR) for what nobody refused.
    """

    SENT = "sent"
    RECEIVED = "received"
    IN_PROGRESS = "in-progress"
    DONE = "done"
    REFUSED = "refused"
    WITHHELD = "withheld"
    TO_COMPLETE = "to-complete"
    TECHNICAL = "technical"


PROGRESS = {
    DeliveryState.PENDING: Progress.SENT,
    DeliveryState.HANDED: Progress.RECEIVED,
    DeliveryState.RELEASED: Progress.IN_PROGRESS,
    DeliveryState.APPLIED: Progress.DONE,
    DeliveryState.REJECTED: Progress.REFUSED,
    DeliveryState.PARKED: Progress.TECHNICAL,
    DeliveryState.AWAITING: Progress.IN_PROGRESS,
    DeliveryState.ANSWERED: Progress.TO_COMPLETE,
    DeliveryState.WITHHELD: Progress.WITHHELD,
}
_FAILED = frozenset({Reason.TECHNICAL, Reason.INVALID_DELIVERY, Reason.MAPPING})
"""Rejected, and yet refused by nobody."""


@dataclass(frozen=True, slots=True)
class Step:
    """One administration's line: which fields, under which grant, since when; `reason` where it got nothing."""

    recipient: PartyId
    purpose: Purpose
    progress: Progress
    fields: tuple[str, ...]
    since: Instant
    reason: Reason | None
    code: str | None
    delivery: DeliveryId | None
    grant: GrantId | None
    attempts: int
    letter: int | None = None
    """The dead letter that waits for somebody, of a delivery that was set aside."""
    until: str | None = None
    """The day by which somebody there decides."""
    late: bool = False
    """Whether that day is over."""
    taken: tuple[str, ...] | None = None
    """What was applied, where not all was."""
    held_until: Instant | None = None
    """Nobody gets it before this instant; None for what never was held, or is on its way no more."""


@dataclass(frozen=True, slots=True)
class Parked:
    """The router set a declaration aside: its dead letter, and why."""

    letter: int
    code: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Track:
    """One declaration: `routed_at` is None while it waits in the log, or was set aside."""

    declaration_id: DeclarationId
    source: PartyId
    event_type: EventType | None
    digest: ManifestDigest | None
    corrects: DeclarationId | None
    received_at: Instant
    routed_at: Instant | None
    steps: tuple[Step, ...]
    parked: Parked | None = None
    acted_for: ActedFor | None = None
    """Who made it for its subject, as what, how it was known that they may; None: nobody else, or nobody has looked."""


class Tracking:
    """Reads the progress of declarations."""

    def __init__(self, store: Store, lookup: Lookup, catalogue: Catalogue, clock: Clock) -> None:
        self._clock = clock
        self._store = store
        self._lookup = lookup
        self._catalogue = catalogue

    async def track(self, declaration_id: DeclarationId, whose: SubjectRef | None = None) -> Track:
        """Where a declaration stands with everybody. `whose`: only if it is about this citizen. Raises Refused
        `tracking.unknown`.
        """
        async with self._store.read() as tx:
            kin = None if whose is None else (await self._lookup.kin(tx, [whose], self._clock())).of(whose)
            row = (
                await tx.execute(select(declarations).where(declarations.c.declaration_id == declaration_id))
            ).first()
            if row is None:
                waiting = (
                    await tx.execute(select(submissions).where(submissions.c.declaration_id == declaration_id))
                ).first()
                if waiting is None or (kin is not None and waiting.subject not in kin):
                    raise Refused("tracking.unknown", "/id")
                received = Instant(waiting.received_at)
                return Track(declaration_id, PartyId(waiting.source), None, None, None, received, None, ())
            if kin is not None and row.subject not in kin:
                raise Refused("tracking.unknown", "/id")
            planned = await load(tx, deliveries.c.declaration == row.seq)
            held = (await tx.execute(select(withholdings).where(withholdings.c.declaration == row.seq))).all()
            letters = await _letters(tx, (one.id for one in planned if one.state in DEAD))
        steps = [self._step(one, SchemaId(row.schema_id), letters.get(one.id)) for one in planned]
        steps += [
            Step(
                recipient=PartyId(one.recipient),
                purpose=Purpose(one.purpose),
                progress=Progress.WITHHELD,
                fields=(),
                since=Instant(one.at),
                reason=Reason(one.reason),
                code=None,
                delivery=None,
                grant=None,
                attempts=0,
            )
            for one in held
        ]
        return Track(
            declaration_id=declaration_id,
            source=PartyId(row.source),
            event_type=EventType(row.event_type),
            digest=ManifestDigest(row.manifest_digest),
            corrects=DeclarationId(row.corrects) if row.corrects is not None else None,
            received_at=Instant(row.received_at),
            routed_at=Instant(row.routed_at),
            steps=tuple(sorted(steps, key=lambda step: (step.recipient, step.purpose, step.since))),
        )

    async def whose(self, tx: Transaction, declaration_id: DeclarationId) -> SubjectRef:
        """Whom a declaration is about. Raises Refused `tracking.unknown`."""
        for table in (declarations, submissions):
            asked = select(table.c.subject).where(table.c.declaration_id == declaration_id).limit(1)
            found = (await tx.execute(asked)).scalar()
            if found is not None:
                return SubjectRef(found)
        raise Refused("tracking.unknown", "/id")

    async def parked(self, declaration_id: DeclarationId) -> Parked | None:
        """Whether the router set a declaration aside that it has not routed. Letters hold the log's bytes, so all that
        were set aside since are looked through: for who asks about one that is stuck.
        """
        async with self._store.read() as tx:
            asked = select(submissions).where(submissions.c.declaration_id == declaration_id)
            mine = (await tx.execute(asked)).first()
            if mine is None:
                return None
            letters = select(dead_letters).where(
                dead_letters.c.replayed_at.is_(None),
                dead_letters.c.stage == Stage.ROUTER.value,
                dead_letters.c.at >= mine.received_at,
            )
            async with aclosing(tx.pages(letters.order_by(dead_letters.c.id), PAGE)) as pages:
                async for rows in pages:
                    for row in rows:
                        if sha256(row.record).digest() == mine.envelope_digest:
                            return Parked(row.id, row.code, Instant(row.at))
        return None

    def _step(self, delivery: Delivery, schema: SchemaId, letter: int | None) -> Step:
        names = self._catalogue.by_id(schema).names
        times = (delivery.done_at, delivery.released_at, delivery.handed_at)
        return Step(
            recipient=delivery.recipient,
            purpose=delivery.purpose,
            progress=progress_of(delivery),
            fields=tuple(names[index] for index in indices(delivery.fields, len(names))),
            since=next((time for time in times if time is not None), delivery.planned_at),
            reason=delivery.reason,
            code=delivery.code,
            delivery=delivery.id,
            grant=delivery.grant_id,
            attempts=delivery.attempts,
            letter=letter,
            until=delivery.until,
            late=late(delivery.until, self._clock()),
            taken=None if delivery.taken is None else tuple(names[at] for at in indices(delivery.taken, len(names))),
            held_until=delivery.held_until if delivery.state in ACTIVE else None,
        )


def progress_of(delivery: Delivery) -> Progress:
    """How far it is; what nobody refused is not called so."""
    if delivery.state is DeliveryState.REJECTED and delivery.reason in _FAILED:
        return Progress.TECHNICAL
    return PROGRESS[delivery.state]


async def _letters(tx: Transaction, dead: Iterable[DeliveryId]) -> dict[DeliveryId, int]:
    """The newest letter of each that nobody has replayed."""
    of = list(dead)
    if not of:
        return {}
    waiting = (one_of(dead_letters.c.delivery, "of"), dead_letters.c.replayed_at.is_(None))
    newest = select(dead_letters.c.delivery, func.max(dead_letters.c.id).label("id")).where(*waiting)
    rows = await tx.execute(newest.group_by(dead_letters.c.delivery), {"of": of})
    return {DeliveryId(row.delivery): row.id for row in rows}
