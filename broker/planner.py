"""Planner: one declaration, one subscription, today's grants: decide, then write down what follows.

Refuses: nothing of a citizen's; a Deny is an answer, written down as such with its ledger entry.
Keeps: one place turns a decision into effects, so routing, a new grant's wish for the latest declaration, a resumed
consent and a replayed dead letter all obey the same rule; what was applied is never planned again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, update

from broker.crashpoints import mark
from broker.deliveries import Delivery, DeliveryState, Planned, load, record, withhold
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
from schemas.names import DeclarationId, DeliveryId, EventType, GrantId, Instant, PartyId, Reason, SubjectRef
from schemas.release import bitmap, lock

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


@dataclass(frozen=True, slots=True)
class Standing:
    """The grants and consent keys that decide for some citizens and one type, read in this transaction under a lock.

    A grant that is bound while planning takes its next version's place here.
    """

    grants: Mapping[SubjectRef, dict[GrantId, Grant]]
    keys: Mapping[GrantId, bytes]


async def standing_of(
    tx: Transaction, subjects: Collection[SubjectRef], event_type: EventType, keys: EpochKeys
) -> Standing:
    """Take the locks, then read: a revocation that waits for us is seen after us, one before us is seen by us."""
    there = await registry.for_routing(tx.conn, subjects, event_type)
    await tx.lock_exclusive(sorted(grant.id for grant in there if grant.unbound))  # planning may bind these
    await tx.lock_shared(sorted(grant.id for grant in there if not grant.unbound))
    grants: dict[SubjectRef, dict[GrantId, Grant]] = {subject: {} for subject in subjects}
    for grant in await registry.for_routing(tx.conn, subjects, event_type):
        grants[grant.subject][grant.id] = grant
    living = [grant.id for of_one in grants.values() for grant in of_one.values() if not grant.status.over]
    return Standing(grants, await registry.consent_keys_of(tx.conn, living, keys))


class Planner:
    """Turns decisions into deliveries and withholdings, inside the caller's transaction."""

    def __init__(self, catalogue: Catalogue, recorder: Recorder, entropy: Entropy) -> None:
        self._catalogue = catalogue
        self._recorder = recorder
        self._entropy = entropy

    async def plan(
        self, tx: Transaction, known: Known, subscription: Subscription, standing: Standing, at: Instant
    ) -> Permit | Deny:
        """Decide for one subscription and write down what follows: deliveries, or why there is none.

        For a declaration that was not planned for this subscription before. Raises Corrupt.
        """
        return await self._plan(tx, known, subscription, standing, at=at, before={})

    async def replan(
        self, tx: Transaction, known: Known, subscription: Subscription, keys: EpochKeys, at: Instant
    ) -> Permit | Deny:
        """Plan again under today's consent. What is not permitted any more is withdrawn; what is applied stays."""
        await tx.flush()
        standing = await standing_of(tx, [known.subject], known.verified.manifest.event_type, keys)
        pair = (withholdings.c.declaration == known.seq, withholdings.c.subscription == subscription.id)
        await tx.execute(delete(withholdings).where(*pair))
        planned = (deliveries.c.declaration == known.seq, deliveries.c.subscription == subscription.id)
        before = {delivery.id: delivery for delivery in await load(tx, *planned)}
        decision = await self._plan(tx, known, subscription, standing, at=at, before=before)
        permitted = {share.grant_id for share in decision.shares} if isinstance(decision, Permit) else set()
        reason = decision.reason if isinstance(decision, Deny) else Reason.NARROWED
        closed = {DeliveryState.APPLIED, DeliveryState.WITHHELD}
        gone = [d for d in before.values() if d.grant_id not in permitted and d.state not in closed]
        await withhold(tx, self._recorder, gone, reason, at)
        return decision

    async def _plan(
        self,
        tx: Transaction,
        known: Known,
        subscription: Subscription,
        standing: Standing,
        *,
        at: Instant,
        before: Mapping[DeliveryId, Delivery],
    ) -> Permit | Deny:
        event = self._catalogue.by_id(known.verified.manifest.schema)
        facts = facts_of(known.verified, event, known.corrects)
        grants = standing.grants[known.subject]
        decision = decide(facts, subscription, list(grants.values()), at, known.original_recipients)
        if isinstance(decision, Deny):
            self._write_withholding(tx, known, subscription, decision.reason, at)
            return decision
        for share in decision.shares:
            if grants[share.grant_id].unbound:
                grants[share.grant_id] = await self._bind_once(tx, grants[share.grant_id], known, at)
            version = grants[share.grant_id].version
            planned = self._lock(known, subscription, event, share=share, version=version, keys=standing.keys)
            await self._write_delivery(tx, planned, before.get(planned.id), at)
        return decision

    async def _bind_once(self, tx: Transaction, grant: Grant, known: Known, at: Instant) -> Grant:
        """A consent for one occasion is bound to the first declaration planned under it: a new version says which."""
        bound = grant.bind_once(known.verified.manifest.declaration_id, at)
        await registry.change(tx.conn, bound)
        self._recorder.grant(tx, EntryKind.CHANGED, bound, at)
        return bound

    def _lock(
        self,
        known: Known,
        subscription: Subscription,
        event: EventSchema,
        *,
        share: Share,
        version: int,
        keys: Mapping[GrantId, bytes],
    ) -> Planned:
        """The permitted sealed fields, and the declaration's sealed key locked once more with the consent's own key."""
        if share.grant_id not in keys:  # the grant stands in this very transaction, so its key must be there
            raise Corrupt("planner.consent-key-missing", grant=share.grant_id.hex())
        indices = [event.field(name).index for name in share.fields]
        locked = lock(
            known.verified,
            subscription.recipient,
            subscription.purpose,
            share.grant_id,
            version,
            field_indices=indices,
            consent_key=keys[share.grant_id],
            nonce=self._entropy(12),
        )
        return Planned(
            id=locked.delivery_id,
            declaration=known.seq,
            manifest=known.verified.digest,
            event_type=subscription.event_type,
            recipient=subscription.recipient,
            subject=known.subject,
            subscription=subscription.id,
            purpose=subscription.purpose,
            grant_id=share.grant_id,
            grant_version=version,
            fields=bitmap(len(event.fields), indices),
            locked=locked.encode(),
        )

    async def _write_delivery(self, tx: Transaction, planned: Planned, existing: Delivery | None, at: Instant) -> None:
        if existing is not None and existing.state is DeliveryState.APPLIED:
            return
        fresh = {
            "grant_version": planned.grant_version,
            "fields": planned.fields,
            "locked": planned.locked,
            "state": DeliveryState.PENDING.value,
            "attempts": 0,
            "available_at": at,
            "planned_at": at,
            **dict.fromkeys(("lease_until", "done_at", "reason", "code")),
        }  # handed_at and released_at stay: what was released once may still be acknowledged
        if existing is not None:
            await tx.execute(update(deliveries).where(deliveries.c.seq == existing.seq).values(**fresh))
        else:
            fixed = ("id", "declaration", "recipient", "subject", "subscription", "purpose", "grant_id")
            tx.add(deliveries, {**{name: getattr(planned, name) for name in fixed}, **fresh})
        mark("planner.delivery")
        # Crash here: the transaction is gone, the offset with it; the batch is read and planned again.
        record(tx, self._recorder, EntryKind.PLANNED, planned, at)

    def _write_withholding(
        self, tx: Transaction, known: Known, subscription: Subscription, reason: Reason, at: Instant
    ) -> None:
        tx.add(
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
        self._recorder.record(
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
