"""Planner: one declaration, one subscription, today's grants: decide, then write down what follows.

Refuses: nothing of a citizen's; a Deny is an answer, written down as such with its ledger entry.
Keeps: one place turns a decision into effects, so routing, a new grant's wish for the latest declaration, a resumed
consent and a replayed dead letter all obey the same rule; what was applied is never planned again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from broker.crashpoints import mark
from broker.deliveries import DeliveryState, load, record, withhold
from broker.ledger import Recorder
from broker.ports import Entropy
from broker.store.engine import Transaction
from broker.store.tables import deliveries, withholdings
from consent import registry
from consent.grant import Grant
from consent.policy import DeclarationFacts, Deny, Permit, Share, Subscription, decide
from schemas.catalogue import Catalogue, EventSchema
from schemas.entry import EntryKind
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Corrupt
from schemas.names import DeclarationId, Instant, PartyId, Reason, SubjectRef
from schemas.release import LockedDelivery, bitmap, lock

EpochKeys = Mapping[int, bytes]
"""The consent epoch keys that are alive: epoch -> 32 bytes."""


@dataclass(frozen=True, slots=True)
class Known:
    """A declaration that has its row, numbered `seq`.

    For a correction, `corrects` is the first declaration of the chain and `original_recipients` those who got it.
    """

    seq: int
    verified: VerifiedDeclaration
    subject: SubjectRef
    corrects: DeclarationId | None
    original_recipients: frozenset[PartyId] | None


def facts_of(
    verified: VerifiedDeclaration, event: EventSchema, corrects: DeclarationId | None = None
) -> DeclarationFacts:
    """What the decision may know of a declaration: no value, no citizen."""
    manifest = verified.manifest
    return DeclarationFacts(
        declaration_id=manifest.declaration_id,
        source=manifest.source,
        event_type=manifest.event_type,
        schema=manifest.schema,
        field_names=event.names,
        territories=verified.signed.slip.territories,
        uses_territories=event.uses_territories,
        corrects=corrects,
    )


class Planner:
    """Turns decisions into deliveries and withholdings, inside the caller's transaction."""

    def __init__(self, catalogue: Catalogue, recorder: Recorder, entropy: Entropy) -> None:
        self._catalogue = catalogue
        self._recorder = recorder
        self._entropy = entropy

    async def plan(
        self,
        tx: Transaction,
        known: Known,
        subscription: Subscription,
        *,
        grants: Sequence[Grant],
        keys: EpochKeys,
        at: Instant,
    ) -> Permit | Deny:
        """Decide for one subscription and write down what follows: deliveries, or why there is none.

        `grants` are the subject's, read in this transaction under a shared lock. Raises Corrupt.
        """
        event = self._catalogue.by_id(known.verified.manifest.schema)
        facts = facts_of(known.verified, event, known.corrects)
        decision = decide(facts, subscription, grants, at, known.original_recipients)
        if isinstance(decision, Deny):
            await self._write_withholding(tx, known, subscription, decision.reason, at)
            return decision
        by_id = {grant.id: grant for grant in grants}
        for share in decision.shares:
            version = await self._bind_once(tx, by_id[share.grant_id], known, at)
            locked = await self._lock(tx, known, subscription, event=event, share=share, version=version, keys=keys)
            await self._write_delivery(tx, known, subscription, locked=locked, field_count=len(event.fields), at=at)
        return decision

    async def replan(
        self, tx: Transaction, known: Known, subscription: Subscription, keys: EpochKeys, at: Instant
    ) -> Permit | Deny:
        """Plan again under today's consent. What is not permitted any more is withdrawn; what is applied stays."""
        grants = await registry.for_routing(tx.conn, [known.subject], known.verified.manifest.event_type)
        await tx.execute(
            delete(withholdings).where(
                withholdings.c.declaration == known.seq, withholdings.c.subscription == subscription.id
            )
        )
        before = await load(tx, deliveries.c.declaration == known.seq, deliveries.c.subscription == subscription.id)
        decision = await self.plan(tx, known, subscription, grants=grants, keys=keys, at=at)
        permitted = {share.grant_id for share in decision.shares} if isinstance(decision, Permit) else set()
        reason = decision.reason if isinstance(decision, Deny) else Reason.NARROWED
        closed = {DeliveryState.APPLIED, DeliveryState.WITHHELD}
        gone = [d for d in before if d.grant_id not in permitted and d.state not in closed]
        await withhold(tx, self._recorder, gone, reason, at)
        return decision

    async def _bind_once(self, tx: Transaction, grant: Grant, known: Known, at: Instant) -> int:
        """A consent for one occasion is bound to the first declaration planned under it: a new version says which."""
        if not grant.unbound:
            return grant.version
        bound = grant.bind_once(known.verified.manifest.declaration_id, at)
        await registry.change(tx.conn, bound)
        await self._recorder.grant(tx, EntryKind.CHANGED, bound, at)
        return bound.version

    async def _lock(
        self,
        tx: Transaction,
        known: Known,
        subscription: Subscription,
        *,
        event: EventSchema,
        share: Share,
        version: int,
        keys: EpochKeys,
    ) -> LockedDelivery:
        """The permitted sealed fields, and the sealed key of the declaration locked once more with the consent's
        key.
        """
        key = await registry.consent_key(tx.conn, share.grant_id, keys)
        if key is None:  # the grant stands in this very transaction, so its key must be there
            raise Corrupt("planner.consent-key-missing", grant=share.grant_id.hex())
        return lock(
            known.verified,
            subscription.recipient,
            subscription.purpose,
            share.grant_id,
            version,
            [event.field(name).index for name in share.fields],
            key,
            self._entropy(12),
        )

    async def _write_delivery(
        self,
        tx: Transaction,
        known: Known,
        subscription: Subscription,
        *,
        locked: LockedDelivery,
        field_count: int,
        at: Instant,
    ) -> None:
        existing = (
            await tx.execute(select(deliveries.c.seq, deliveries.c.state).where(deliveries.c.id == locked.delivery_id))
        ).one_or_none()
        if existing is not None and existing.state == DeliveryState.APPLIED.value:
            return
        row = {
            "grant_version": locked.grant_version,
            "fields": bitmap(field_count, [field.index for field in locked.fields]),
            "locked": locked.encode(),
            "state": DeliveryState.PENDING.value,
            "attempts": 0,
            "available_at": at,
            "planned_at": at,
            **dict.fromkeys(("lease_until", "done_at", "reason", "code")),
        }  # handed_at and released_at stay: what was released once may still be acknowledged
        if existing is None:
            fixed = {
                "id": locked.delivery_id,
                "declaration": known.seq,
                "recipient": subscription.recipient,
                "subject": known.subject,
                "subscription": subscription.id,
                "purpose": subscription.purpose,
                "grant_id": locked.grant_id,
            }
            await tx.execute(insert(deliveries).values(**fixed, **row))
        else:
            await tx.execute(update(deliveries).where(deliveries.c.seq == existing.seq).values(**row))
        mark("planner.delivery")
        # Crash here: the transaction is gone, the offset with it; the batch is read and planned again.
        for delivery in await load(tx, deliveries.c.id == locked.delivery_id):
            await record(tx, self._recorder, EntryKind.PLANNED, delivery, at)

    async def _write_withholding(
        self, tx: Transaction, known: Known, subscription: Subscription, reason: Reason, at: Instant
    ) -> None:
        await tx.insert_new(
            withholdings,
            {
                "declaration": known.seq,
                "subscription": subscription.id,
                "recipient": subscription.recipient,
                "purpose": subscription.purpose,
                "reason": reason.value,
                "at": at,
            },
        )
        mark("planner.withholding")
        # Crash here: as above; nobody got anything, and the batch is planned again.
        await self._recorder.record(
            tx,
            EntryKind.WITHHELD,
            at,
            about=known.subject,
            recipient=subscription.recipient,
            event_type=subscription.event_type,
            purpose=subscription.purpose,
            declaration=known.verified.digest,
            reason=reason,
        )
