"""Planner: one declaration, one subscription, today's grants: decide, then write down what follows.

Refuses: nothing of a citizen's; a Deny is an answer, written down as such with its ledger entry.
Keeps: one place turns a decision into effects, so routing, a new grant's wish for the latest declaration, a resumed
consent and a replayed dead letter all obey the same rule; what was applied is never planned again. A consent does not
reach back: only its giver's wish, or an operator's replay, gives it a declaration that was routed before it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import delete, update

from broker.directory.kin import Kin
from broker.directory.lookup import Lookup
from broker.ended import Ended
from broker.flow import ended_grants, objected, retracted
from broker.flow.deliveries import (
    ACTIVE,
    DEAD,
    Delivery,
    DeliveryState,
    Planned,
    citizen_lock,
    load,
    mailbox_lock,
    record,
    withhold,
)
from broker.flow.holding import NO_HOLDS, Holds, held_until
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.observability.tracing import TraceId
from broker.people import protection
from broker.ports import Entropy
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import deliveries, withholdings
from broker.store.wake_signal import planned_for
from consent import registry
from consent.grant import Grant
from consent.policy import DeclarationFacts, Deny, Permit, Share, Subscription, decide
from consent.policy import standing as why_not_standing
from consent.retractions import heard_by
from consent.rows import Read, Unreadable
from consent.rules import Rule, as_ruled
from schemas.catalogue import Catalogue, EventSchema
from schemas.entry import TAG_BYTES
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Corrupt
from schemas.facts import BLIND_BYTES, FactKind
from schemas.names import DeclarationId, DeliveryId, EventType, GrantId, Instant, PartyId, Reason, RuleId, SubjectRef
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
    received_at: Instant
    routed_at: Instant
    trace: TraceId
    corrects: DeclarationId | None
    original_recipients: frozenset[PartyId] | None
    reach: Instant | None = None
    """No consent that was given later reaches it; None where the caller has chosen the consents."""


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
        provenance=manifest.provenance,
    )


def _without(
    facts: DeclarationFacts, ended: Ended, subject: SubjectRef, event: EventSchema, at: Instant
) -> DeclarationFacts:
    """Without the fields in which somebody else stands, where one of them is protected."""
    veiled = protection.veiled(ended, subject, at, event)
    if not veiled:
        return facts
    return replace(facts, field_names=tuple(name for name in facts.field_names if name not in veiled))


@dataclass(frozen=True, slots=True)
class Standing:
    """The grants and consent keys that decide for some citizens and one type, read in this transaction under a lock.

    A grant that is bound while planning takes its next version's place here. `unsound` are those that live by their row
    and whose key is bound to another, and rows that are no grant: they decide nothing. Of a citizen with several
    references each has what stands under all of them, and it is one and the same.
    """

    grants: Mapping[SubjectRef, dict[GrantId, Grant]]
    keys: dict[GrantId, bytes] = field(repr=False)
    unsound: Mapping[SubjectRef, Collection[GrantId]]
    rules: Mapping[RuleId, Rule]
    """Those by law for this type."""
    objected: objected.Objected
    """To which of the type's rules they object, or have objected."""
    ended: Ended
    """What the journal of endings says, read after the locks."""
    kin: Kin
    """Under which other references they stand."""
    epochs: EpochKeys = field(repr=False)

    def add(self, grant: Grant, key: bytes) -> None:
        """A grant that was made in this transaction, with its consent key, 32 bytes."""
        self.grants[grant.subject][grant.id] = grant
        self.keys[grant.id] = key


async def standing_of(
    tx: Transaction,
    subjects: Collection[SubjectRef],
    event_type: EventType,
    keys: EpochKeys,
    macs: RowMacs,
    *,
    lookup: Lookup,
    rules: Sequence[Rule],
    at: Instant,
    alone: bool = False,
) -> Standing:
    """Take the citizens' locks, then read: a revocation that waits for us is seen after us, one before us by us.

    `rules`: those by law for this type; `at`: when; `alone`: share the locks with nobody, for a grant may have to be
    made. A citizen is all references that are linked at this instant.

    Who changes a consent holds its citizen's lock; only planning itself, which binds a consent for one occasion, does
    not. Those are locked, too, and read again: another may have bound them, or hold them to release under them.
    """
    family = await _locked(tx, lookup, subjects, at, alone=alone)
    subjects = family.all() | set(subjects)
    there, unreadable = _parted(await registry.for_routing(tx.conn, subjects, event_type))
    if unbound := sorted(grant.id for grant in there if grant.unbound):
        await tx.lock_exclusive(unbound)
        there, unreadable = _parted(await registry.for_routing(tx.conn, subjects, event_type))
    found = await registry.consent_keys_of(tx.conn, [grant for grant in there if not grant.status.over], keys)
    broken = await registry.unsound(tx.conn, there, found)
    grants: dict[SubjectRef, dict[GrantId, Grant]] = {}
    unsound: dict[SubjectRef, set[GrantId]] = {}
    for subject in subjects:
        grants[subject] = grants.setdefault(family.first(subject), {})
        unsound[subject] = unsound.setdefault(family.first(subject), set())
    for one in unreadable:
        unsound[SubjectRef(one.subject)].add(GrantId(one.id))
        logger().error("consents.unsound", grant=GrantId(one.id), code=one.code)
    barred = await objected.barred(tx, macs, subjects, rules, family) if rules else {}
    ended = await tx.endings()
    for grant in as_ruled(rules, ended_grants.caught_up(ended, there)):
        if grant.id in broken:
            unsound[grant.subject].add(grant.id)
            logger().error("consents.unsound", grant=grant.id)
        elif grant.status.over or not objected.stands(barred, grant):
            grants[grant.subject][grant.id] = grant
    named = {rule.id: rule for rule in rules}
    return Standing(grants, found, unsound, named, barred, ended, family, keys)


async def _locked(
    tx: Transaction, lookup: Lookup, subjects: Collection[SubjectRef], at: Instant, *, alone: bool
) -> Kin:
    """Whose these references are, read under the locks of all of them: a link that ended meanwhile joins nobody."""
    family = await lookup.kin(tx, subjects, at)
    while True:
        locks = [citizen_lock(subject) for subject in family.all() | set(subjects)]
        await (tx.lock_exclusive(locks) if alone else tx.lock_shared(locks))
        if not family.groups:
            return family
        found = await lookup.kin(tx, subjects, at)
        if found.all() <= family.all():
            return found
        family = found


def _parted(found: Sequence[Read]) -> tuple[list[Grant], list[Unreadable]]:
    grants = [one for one in found if isinstance(one, Grant)]
    return grants, [one for one in found if isinstance(one, Unreadable)]


_SET_ASIDE = DEAD | {DeliveryState.AWAITING, DeliveryState.ANSWERED}


@dataclass(frozen=True, slots=True)
class _Before:
    """What was planned before, of one declaration for one subscription, and which dead delivery is replayed."""

    by_id: Mapping[DeliveryId, Delivery]
    replayed: DeliveryId | None = None

    def over(self, delivery: Delivery) -> bool:
        """Applied; dead, which is the operator's; answered, which is the person's or the recipient's: no change of a
        consent wakes it.
        """
        dead = delivery.state in _SET_ASIDE and delivery.id != self.replayed
        return dead or delivery.state is DeliveryState.APPLIED

    def stands(self, planned: Planned) -> bool:
        """Whether planning this changes nothing: it is over, or on its way just so."""
        earlier = self.by_id.get(planned.id)
        if earlier is None:
            return False
        same = (earlier.grant_version, earlier.fields) == (planned.grant_version, planned.fields)
        return self.over(earlier) or (earlier.state in ACTIVE and same)


class Planner:
    """Turns decisions into deliveries and withholdings, inside the caller's transaction."""

    def __init__(
        self,
        catalogue: Catalogue,
        lookup: Lookup,
        recorder: Recorder,
        macs: RowMacs,
        entropy: Entropy,
        *,
        holds: Holds = NO_HOLDS,
    ) -> None:
        """`holds`: how long each type is held before anybody gets it."""
        self._catalogue = catalogue
        self._lookup = lookup
        self._macs = macs
        self._recorder = recorder
        self._entropy = entropy
        self._holds = holds

    async def plan(
        self, tx: Transaction, known: Known, subscription: Subscription, standing: Standing, at: Instant
    ) -> Permit | Deny:
        """Decide for one subscription and write down what follows: deliveries, or why there is none.

        For a declaration that was not planned for this subscription before. Raises Corrupt.
        """
        return await self._plan(tx, known, subscription, standing, at=at, before=_Before({}))

    async def replan(
        self,
        tx: Transaction,
        known: Known,
        subscription: Subscription,
        keys: EpochKeys,
        at: Instant,
        *,
        newer: GrantId | None = None,
        replayed: DeliveryId | None = None,
        every: bool = False,
    ) -> Permit | Deny:
        """Plan again under today's consent. What is not permitted any more is withdrawn; what is over stays over, but
        for the dead delivery `replayed`.

        Asked are the grants that the declaration found when it was routed, those it has a delivery under, and `newer`,
        whose giver wishes for it; with `every`, which is an operator's to choose, all of today's.
        """
        await tx.flush()
        subscription = heard_by(subscription, self._catalogue.by_id(known.verified.manifest.schema))
        pair = (withholdings.c.declaration == known.seq, withholdings.c.subscription == subscription.id)
        await tx.execute(delete(withholdings).where(*pair))
        planned = (deliveries.c.declaration == known.seq, deliveries.c.subscription == subscription.id)
        event_type = known.verified.manifest.event_type
        rules = await self._lookup.rules_for(tx, event_type)
        standing = await standing_of(
            tx, [known.subject], event_type, keys, self._macs, lookup=self._lookup, rules=rules, at=at
        )
        await tx.lock_exclusive([mailbox_lock(subscription.recipient)])
        before = _Before({delivery.id: delivery for delivery in await load(tx, *planned)}, replayed)
        reached = {newer, *(delivery.grant_id for delivery in before.by_id.values())}
        grants = {
            grant.id: grant
            for grant in standing.grants[known.subject].values()
            if every or grant.granted_at <= known.routed_at or grant.id in reached
        }
        asked = replace(standing, grants={known.subject: grants})
        decision = await self._plan(tx, known, subscription, asked, at=at, before=before)
        await self._withdraw(tx, before, decision, grants, at)
        return decision

    async def hidden(
        self, tx: Transaction, known: Known, subscription: Subscription, ended: Ended, at: Instant
    ) -> bool:
        """Whether its citizen is protected from whoever has this subscription."""
        theirs = protection.standing(ended, known.subject, at)
        hears = (await self._lookup.hears(tx)).get(subscription.recipient, frozenset())
        if theirs is None:
            return False
        by_place = self._catalogue.by_id(known.verified.manifest.schema).uses_territories
        return theirs.hides(subscription, hears, known.verified.signed.slip.territories, by_place=by_place)

    async def _withdraw(
        self, tx: Transaction, before: _Before, decision: Permit | Deny, grants: Mapping[GrantId, Grant], at: Instant
    ) -> None:
        """End what the decision does not permit any more, for today's reason, also what was withheld for another."""
        permitted = {share.grant_id for share in decision.shares} if isinstance(decision, Permit) else set()
        for delivery in before.by_id.values():
            if before.over(delivery) or delivery.grant_id in permitted:
                continue
            reason = decision.reason if isinstance(decision, Deny) else Reason.NARROWED
            if isinstance(decision, Permit):
                grant = grants.get(delivery.grant_id)  # None: of a reference that is linked no more
                reason = Reason.NO_GRANT if grant is None else why_not_standing(grant, at) or reason
            if (delivery.state, delivery.reason) != (DeliveryState.WITHHELD, reason):
                await withhold(tx, self._recorder, [delivery], reason, at)

    async def _plan(
        self,
        tx: Transaction,
        known: Known,
        subscription: Subscription,
        standing: Standing,
        *,
        at: Instant,
        before: _Before,
    ) -> Permit | Deny:
        event = self._catalogue.by_id(known.verified.manifest.schema)
        facts = _without(facts_of(known.verified, event, known.corrects), standing.ended, known.subject, event, at)
        grants = standing.grants[known.subject]
        reach = known.reach
        asked = [grant for grant in grants.values() if reach is None or grant.granted_at <= reach]
        if await self.hidden(tx, known, subscription, standing.ended, at):
            asked = []  # for whom somebody is protected from, they have allowed nothing
        objects = any(
            one.stands and (one.recipient, one.purpose) == (subscription.recipient, subscription.purpose)
            for one in standing.objected.get(known.subject, {}).values()
        )
        decision = decide(
            facts,
            subscription,
            asked,
            at,
            known.original_recipients,
            objects=objects,
            rules=standing.rules,
            citizen=standing.kin.of(known.subject),
        )
        manifest = known.verified.manifest
        taken = retracted.standing(standing.ended, manifest.event_type, manifest.declaration_id, known.corrects)
        if isinstance(decision, Permit) and taken is not None:
            decision = Deny(taken.kind.reason)
        if isinstance(decision, Deny) and decision.reason is Reason.NO_GRANT and standing.unsound[known.subject]:
            decision = Deny(Reason.UNSOUND)
        if isinstance(decision, Deny):
            if not before.by_id:  # else each delivery says so itself
                self._write_withholding(tx, known, subscription, decision.reason, at)
            return decision
        for share in decision.shares:
            if grants[share.grant_id].unbound:
                grants[share.grant_id] = await self._bind_once(tx, grants[share.grant_id], known, standing, at)
            version = grants[share.grant_id].version
            whose = grants[share.grant_id].subject  # who gave it, perhaps under another name
            planned = self._lock(known, subscription, event, share=share, version=version, keys=standing.keys)
            planned = replace(planned, subject=whose)
            if not before.stands(planned):
                earlier = before.by_id.get(planned.id)
                planned = planned if earlier is None else replace(planned, tag=earlier.tag)
                basis = grants[share.grant_id].basis.text
                until = held_until(self._holds, planned.event_type, known.received_at, at)
                await self._write_delivery(tx, planned, at, basis, until, again=earlier is not None)
        return decision

    async def _bind_once(self, tx: Transaction, grant: Grant, known: Known, standing: Standing, at: Instant) -> Grant:
        """A consent for one occasion is bound to the first declaration planned under it: a new version says which."""
        bound = grant.bind_once(known.verified.manifest.declaration_id, at)
        tx.end(ended_grants.ending_of(bound))
        await registry.change(tx.conn, bound, standing.epochs, self._entropy)
        self._recorder.grant(tx, FactKind.CHANGED, bound, at)
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
            tag=self._entropy(TAG_BYTES),
            plan_blind=self._entropy(BLIND_BYTES),
            fields=bitmap(len(event.fields), indices),
            locked=locked.encode(),
            trace=known.trace,
        )

    async def _write_delivery(
        self, tx: Transaction, planned: Planned, at: Instant, basis: str, until: Instant | None, *, again: bool
    ) -> None:
        fresh = {
            "grant_version": planned.grant_version,
            "tag": planned.tag,
            "mac": self._macs.of(deliveries.name, {"id": planned.id, "tag": planned.tag}),
            "plan_blind": planned.plan_blind,
            "fields": planned.fields,
            "locked": planned.locked,
            "state": DeliveryState.PENDING.value,
            "attempts": 0,
            "available_at": at,
            "held_until": until,
            "planned_at": at,
            **dict.fromkeys(("lease_until", "done_at", "reason", "code", "until", "taken")),
        }  # handed_at and released_at stay: what was released once may still be acknowledged
        if again:
            await tx.execute(update(deliveries).where(deliveries.c.id == planned.id).values(**fresh))
        else:
            fixed = ("id", "declaration", "recipient", "subject", "subscription", "purpose", "grant_id")
            tx.add(deliveries, {**{name: getattr(planned, name) for name in fixed}, **fresh})
        mark("planner.delivery")
        # Crash here: the transaction is gone, the offset with it; the batch is read and planned again.
        record(tx, self._recorder, FactKind.PLANNED, planned, at, basis=basis)
        tx.ring(planned_for(planned.recipient))

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
        to, trace = subscription.recipient, known.trace
        tx.after(lambda: logger().info("planner.withheld", recipient=to, reason=reason, trace_id=trace))
        mark("planner.withholding")
        # Crash here: as above; nobody got anything, and the batch is planned again.
        if reason is Reason.NO_GRANT:
            return  # that somebody asks for a purpose is no fact about a citizen who never heard of it
        self._recorder.record(
            tx,
            FactKind.WITHHELD,
            at,
            about=known.subject,
            recipient=subscription.recipient,
            event_type=subscription.event_type,
            purpose=subscription.purpose,
            declaration=known.verified.digest,
            reason=reason,
        )
