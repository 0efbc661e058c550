"""Holds: what waits before anybody gets it, and how its citizen stops it.

Refuses: a stop by anybody but the citizen whom it is about: another's declaration is as unknown as one that never was;
a stop after the hold.
Keeps: when a stop returns nobody gets the declaration, ever. Who stops the recall of a declaration lets that one go out
again to those who had not got it yet.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import exists, or_, select

from broker.access import acts
from broker.directory.lookup import Lookup
from broker.flow import declared, retracted
from broker.flow.arrived import Submission
from broker.flow.deliveries import citizen_lock
from broker.flow.holding import Holds, end_of
from broker.flow.planner import Planner
from broker.flow.retracted import Kind, Retraction
from broker.flow.retracting import Retracting, retraction
from broker.keys.keyring import Keyring
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, retractions, submissions, withholdings
from consent.grant import GIVEN_BY
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, Instant, PartyId, Reason, SubjectRef
from schemas.retractions import RECALLED


@dataclass(frozen=True, slots=True)
class Held:
    """A declaration that waits; `recalls`: what it takes back, if that is what it does."""

    declaration: DeclarationId
    source: PartyId
    event_type: EventType
    received_at: Instant
    until: Instant
    recalls: DeclarationId | None
    stopped: bool


class HeldDeclarations:
    """Looks at what is held, and stops it."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        retracting: Retracting,
        macs: RowMacs,
        holds: Holds,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._retracting = retracting
        self._macs = macs
        self._holds = holds
        self._clock = clock

    async def of(self, subject: SubjectRef) -> list[Held]:
        """What is held of one citizen now, stopped or not, the newest first."""
        at = self._clock()
        kinds = declarations.c.event_type.in_(sorted(self._holds))
        since = declarations.c.received_at > at - max(self._holds.values(), default=0)
        async with self._store.read() as tx:
            kin = (await self._lookup.kin(tx, [subject], at)).of(subject)
            asked = select(declarations).where(declarations.c.subject.in_(kin), kinds, since)
            rows = await tx.execute(asked.order_by(declarations.c.seq.desc()))
            there = self._macs.valid(declarations.name, rows)
            ended = await tx.endings()
        return [
            Held(
                declaration=DeclarationId(row.declaration_id),
                source=PartyId(row.source),
                event_type=EventType(row.event_type),
                received_at=Instant(row.received_at),
                until=end_of(self._holds, EventType(row.event_type), Instant(row.received_at)),
                recalls=DeclarationId(row.root) if row.event_type == RECALLED and row.root is not None else None,
                stopped=retracted.told(ended, DeclarationId(row.declaration_id)) is not None,
            )
            for row in there
            if end_of(self._holds, EventType(row.event_type), Instant(row.received_at)) > at
        ]

    async def stop(self, subject: SubjectRef, declaration: DeclarationId, *, given_by: str) -> Retraction:
        """Nobody gets it. Stopped twice, nothing changes.

        Raises Refused: `holds.unknown`, `holds.none`, `holds.over`, `retractions.cancelled`, `retractions.recalled`,
        `grant.given-by`.
        """
        if not GIVEN_BY.fullmatch(given_by):
            raise Refused("grant.given-by", "/given_by")
        async with self._store.begin() as tx:
            at = self._clock()
            held = await self._held(tx, subject, declaration, at)
            subject = held.subject
            await tx.lock_exclusive([citizen_lock(subject)])
            at = self._clock()
            before = retracted.told(await tx.endings(), declaration)
            if before is not None and before.kind is Kind.STOPPED:
                return before
            if held.event_type not in self._holds:
                raise Refused("holds.none", "/declaration", event_type=held.event_type)
            if at >= end_of(self._holds, held.event_type, held.received_at):
                raise Refused("holds.over", "/declaration")
            made = retraction(Kind.STOPPED, declaration, subject, by=given_by, at=at, notice=None)
            await self._retracting.check(tx, made)
            await self._retracting.take_back(tx, made, at)
            for one in await retracted.of(tx, self._macs, [subject]):
                if one.notice == declaration and one.stands:
                    await self._retracting.lift(tx, one, at)
            await acts.keep(tx, made)
        # Crash here: the recall is stopped; upkeep plans again what it had closed.
        await self.let_go()
        return made

    async def _held(self, tx: Transaction, subject: SubjectRef, declaration: DeclarationId, at: Instant) -> Submission:
        asked = select(submissions).where(submissions.c.declaration_id == declaration)
        rows = self._macs.valid(submissions.name, await tx.execute(asked))
        kin = await self._lookup.kin(tx, [subject], at)
        if not rows or rows[0].subject not in kin.of(subject):
            raise Refused("holds.unknown", "/declaration")
        return Submission.of(rows[0])

    async def let_go(self) -> int:
        """What a recall had closed that its citizen has stopped since is planned again, under the consents that it was
        routed under. Called after a stop, and by upkeep. Returns how many deliveries.
        """
        planned = 0
        async with self._store.read_one() as tx:
            lifted = [DeclarationId(row.declaration) for row in await tx.execute(_LET_GO)]
        for one in lifted:
            async with self._store.begin() as tx:
                there, keys = await self._lookup.subscriptions_by_id(tx), self._keyring.consent_epochs()
                for seq, subscription in await self._closed(tx, one):
                    for known in await declared.known(tx, self._macs, declarations.c.seq == seq):
                        if subscription in there:
                            await self._planner.replan(tx, known, there[subscription], keys, self._clock())
                            planned += 1
        return planned

    async def _closed(self, tx: Transaction, declaration: DeclarationId) -> list[tuple[int, bytes]]:
        """What the recall of a chain has closed: each declaration and subscription, in order."""
        chain = or_(declarations.c.declaration_id == declaration, declarations.c.root == declaration)
        why = Reason.RECALLED.value
        asked = (
            select(table.c.declaration, table.c.subscription)
            .join(declarations, declarations.c.seq == table.c.declaration)
            .where(chain, table.c.reason == why)
            for table in (deliveries, withholdings)
        )
        found = {(row.declaration, row.subscription) for one in asked for row in await tx.execute(one)}
        return sorted(found)


_LIFTED: Final = retractions.c.declaration
_CHAIN: Final = or_(declarations.c.declaration_id == _LIFTED, declarations.c.root == _LIFTED)
_CLOSED: Final = [
    exists().where(table.c.declaration == declarations.c.seq, table.c.reason == Reason.RECALLED.value, _CHAIN)
    for table in (deliveries, withholdings)
]
_LET_GO: Final = select(_LIFTED).where(
    retractions.c.kind == Kind.RECALLED.value, retractions.c.lifted_at.is_not(None), or_(*_CLOSED)
)
"""Recalls that count no more, and have closed something that is still closed for that."""
