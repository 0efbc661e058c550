"""Consents: what a citizen says, and everything that follows from it, in one transaction.

Refuses: a grant for fields that the type does not have, or to a party that nobody knows.
Keeps: when a revocation returns, the consent key is destroyed, its undelivered deliveries are noise, and the ledger
says so; every change of a grant is a new version with its entry, and in the journal of endings before it is committed.
Source: docs/architecture.md, "Transactions that matter"; docs/protocol.md, section 9.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sqlalchemy import and_, or_, select

from broker.access import acts
from broker.directory.lookup import Lookup
from broker.ended import Ended
from broker.epochs import epochs
from broker.flow import ended_grants, represented
from broker.flow.declared import known, latest
from broker.flow.deliveries import ACTIVE, OPEN, DeliveryState, citizen_lock, in_states, load, mailbox_lock, withhold
from broker.flow.planner import Planner
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.messages.news import News
from broker.messages.outbox import Outbox
from broker.observability.crashpoints import mark
from broker.observability.measures import REVOCATION
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowReader
from broker.store.tables import declarations, deliveries, withholdings
from consent import keyring as wrapping
from consent import registry
from consent.basis import Basis, end_of
from consent.grant import Grant, Scope, Status, Voice, check_basis
from consent.policy import ADDRESSED, SubscriptionStatus
from consent.purposes import by_id
from consent.representation import RECORDED, Representation, of_voice
from consent.rows import digest_of
from schemas.catalogue import Catalogue
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import (
    Channel,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    LeafHash,
    PartyId,
    Purpose,
    Reason,
    RuleId,
    SubjectRef,
    uuid7,
)

_MINUTE_MS: Final = 60_000
Transition = Callable[[Grant, Instant], Grant]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """What a citizen, or the law, allows: who gets which fields of which type, for what, from when to when."""

    subject: SubjectRef
    recipient: PartyId
    event_type: EventType
    purpose: Purpose
    fields: frozenset[str]
    basis: Basis
    voice: Voice
    starts_at: Instant | None = None
    expires_at: Instant | None = None
    scope: Scope = Scope.STANDING
    once_for: DeclarationId | None = None
    """Of `Scope.ONCE`: which declaration it is for, where that is known before it is handed in."""
    include_latest: bool = False
    """Whether the latest declaration of this type, made before, is delivered too."""

    def is_given_by(self, grant: Grant) -> bool:
        """Whether a grant that lives is what is wished for; a pause is the citizen's own word about it."""
        wished = (self.recipient, self.event_type, self.purpose, self.fields, self.basis, self.scope, self.expires_at)
        there = (grant.recipient, grant.event_type, grant.purpose, grant.fields, grant.basis, grant.scope)
        return wished == (*there, grant.expires_at) and grant.once_for is None and not grant.status.over


@dataclass(frozen=True, slots=True)
class Recorded:
    """One version of a grant and the ledger entry that tells of it; what a receipt is made from."""

    grant: Grant
    entry: LeafHash


class Consents:
    """Grants and their changes."""

    def __init__(
        self,
        *,
        store: Store,
        rows: RowReader,
        macs: RowMacs,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        catalogue: Catalogue,
        recorder: Recorder,
        outbox: Outbox,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._rows = rows
        self._macs = macs
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._catalogue = catalogue
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock
        self._entropy = entropy

    async def give(self, wish: GrantRequest) -> Recorded:
        """A new grant with its own key. Raises Refused: `grant.*`, `purposes.*`, `consents.unknown-recipient`,
        `consents.addressed`.
        """

        async def once() -> Recorded:
            async with self._store.begin() as tx:
                given = await self.give_in(tx, wish)
                await acts.keep(tx, given)
            return given

        return await self._not_behind(once)

    async def give_in(self, tx: Transaction, wish: GrantRequest) -> Recorded:
        """The same in the caller's transaction, which holds the citizen's lock from then on. What a representative
        allows ends with the representation. Raises Refused, too: `representations.*`.
        """
        event = self._catalogue.by_type(wish.event_type)
        if wish.event_type in ADDRESSED and wish.once_for is None:
            raise Refused("consents.addressed", "/event_type", event_type=wish.event_type)
        at = self._clock()
        starts_at = wish.starts_at if wish.starts_at is not None else at
        rests_on = await self._representation(tx, wish.voice, wish.subject, wish.event_type, wish.purpose)
        grant = Grant(
            id=GrantId(uuid7(at, self._entropy(10))),
            version=1,
            subject=wish.subject,
            recipient=wish.recipient,
            event_type=wish.event_type,
            schema=event.schema.id,
            fields=wish.fields,
            purpose=wish.purpose,
            basis=wish.basis,
            granted_at=at,
            starts_at=starts_at,
            expires_at=_with(rests_on, end_of(wish.basis, starts_at, wish.expires_at)),
            scope=wish.scope,
            once_for=wish.once_for,
            status=Status.ACTIVE,
            given_by=wish.voice.given_by,
            capacity=wish.voice.capacity,
            channel=wish.voice.channel,
            language=wish.voice.language,
            text_hash=wish.voice.text_hash,
            changed_at=at,
        )
        check_basis(by_id(wish.purpose, await self._lookup.purposes(tx)), wish.basis.kind)
        grant.check_names(event.schema.id, frozenset(event.names))
        await self._lookup.party(tx, wish.recipient)
        await tx.lock_shared([epochs.LOCK])
        epoch, epoch_key = await epochs.newest_consent(tx, self._rows, self._keyring.consent_epochs())
        await self._alone(tx, wish.subject)
        bound = wrapping.Bound(grant.id, digest_of(grant), epoch)
        kept = wrapping.Kept(self._entropy(32), grant.expires_at)
        wrapped = wrapping.wrap(kept, bound, epoch_key, self._entropy(12))
        await registry.add(tx.conn, grant, epoch, wrapped)
        entry = self._recorder.grant(tx, FactKind.GRANTED, grant, at)
        if wish.include_latest:
            await self._plan_latest(tx, grant, at)
        await self._tell(tx, grant, at)
        mark("consents.given")
        # Crash here: no grant, no key, no entry, and the citizen was told nothing: they say it again.
        return Recorded(grant, entry)

    async def _representation(
        self, tx: Transaction, voice: Voice, subject: SubjectRef, event_type: EventType, purpose: Purpose
    ) -> Representation | None:
        """What a consent rests on, where somebody gives it for another; None: where nobody does. Raises Refused
        `representations.*`.
        """
        of = of_voice(voice.given_by)
        if of is None:
            if voice.capacity in RECORDED:
                raise Refused("representations.none", "/given_by", capacity=voice.capacity.value)
            return None
        await tx.lock_shared([epochs.LOCK])  # in the order of whoever gives a consent
        kin = await self._kin(tx, subject)
        await tx.lock_exclusive([citizen_lock(one) for one in sorted(kin)])
        found = await represented.one(tx, self._rows, of)
        if found is None or found.subject not in kin or found.measure.capacity is not voice.capacity:
            raise Refused("representations.none", "/given_by", capacity=voice.capacity.value)
        try:
            found.check(event_type, self._clock(), purpose)
        except Refused as fault:
            raise fault.under("/given_by") from None
        return found

    async def leave_representation(self, grant_id: GrantId, ended: Representation) -> Recorded | None:
        """End what a representative has allowed, once the representation has ended; None where it is over, or where the
        person has had the last word since.
        """
        voice = Voice(ended.voice, ended.measure.capacity, Channel.SYSTEM, "fr", bytes(32))

        async def once() -> Recorded | None:
            async with self._store.begin() as tx:
                head = await self._held(tx, grant_id)
                if head.status.over or head.given_by != ended.voice:
                    return None
                return await self._change_in(tx, grant_id, FactKind.REVOKED, lambda grant, at: grant.revoke(at, voice))

        return await self._not_behind(once)

    async def give_unless(self, wish: GrantRequest) -> Recorded | Grant:
        """As `give`, where the citizen has no grant that is the same: that one else, and nothing is written. Two who
        send the same at once make one grant: the second sees the first one's.
        """

        async def once() -> Recorded | Grant:
            async with self._store.begin() as tx:
                await tx.lock_shared([epochs.LOCK])  # in the order of whoever gives a consent
                await self._alone(tx, wish.subject)
                for one in await self._all(tx, wish.subject):
                    if wish.is_given_by(one):
                        return one
                given = await self.give_in(tx, wish)
                await acts.keep(tx, given)
            return given

        return await self._not_behind(once)

    async def revoke(self, grant_id: GrantId, voice: Voice) -> Recorded:
        """End a consent. When this returns its key is destroyed and nothing more is released under it, for ever.

        Raises Refused: `consents.unknown-grant`, `grant.mandate`, `grant.over`.
        """
        with REVOCATION.time():
            return await self._change(grant_id, FactKind.REVOKED, lambda grant, at: grant.revoke(at, voice))

    async def end_mandate(self, grant_id: GrantId, voice: Voice) -> Recorded:
        """End a mandate by law, on an operator's word. Raises Refused: `consents.unknown-grant`, `grant.*`."""
        return await self._change(grant_id, FactKind.REVOKED, lambda grant, at: grant.end_mandate(at, voice))

    async def leave_rule(self, grant_id: GrantId) -> Recorded | None:
        """End a grant whose rule by law has ended; None where it has ended otherwise meanwhile. Raises Refused
        `consents.unknown-grant`, `grant.no-rule`.
        """
        return await _unless_over(self._change(grant_id, FactKind.REVOKED, _leave_rule))

    async def narrow_with_rule(self, grant_id: GrantId, fields: frozenset[str]) -> Recorded | None:
        """Keep only these fields, because its rule by law was narrowed; what is on its way, or was withheld by the gate
        meanwhile for having more, is planned anew. None where it has ended meanwhile. Raises Refused
        `consents.unknown-grant`, `grant.*`.
        """

        def narrow(grant: Grant, at: Instant) -> Grant:
            return grant.narrow_under_rule(fields, at)

        return await _unless_over(self._change(grant_id, FactKind.CHANGED, narrow))

    async def expire_with_rule(self, grant_id: GrantId) -> Recorded | None:
        """End a grant whose rule was given an earlier end, which has come. As `leave_rule`."""
        return await _unless_over(self._change(grant_id, FactKind.REVOKED, _leave_rule, why=Reason.EXPIRED))

    async def object_to(self, tx: Transaction, subject: SubjectRef, rule: RuleId) -> Recorded | None:
        """End the grant that a citizen has under a rule, in the caller's transaction, which holds the citizen's locks;
        None where there is none. What is on its way stays closed, and says that the citizen objects. Of several, made
        before two references were linked, the last one is returned.
        """
        ended = None
        for one in await self._all(tx, subject):
            if one.rule == rule and not one.status.over:
                ended = await self._change_in(tx, one.id, FactKind.REVOKED, _leave_rule, Reason.OBJECTED)
        return ended

    async def pause(self, grant_id: GrantId, voice: Voice, *, version: int | None = None) -> Recorded:
        """Hold everything back until `resume`. `version`: of which whoever asks has read; None: whichever it is.

        Raises Refused: `consents.unknown-grant`, `citizens.changed-meanwhile`, `grant.*`.
        """

        def pause(grant: Grant, at: Instant) -> Grant:
            return _read(grant, version).pause(at, voice)

        return await self._change(grant_id, FactKind.CHANGED, pause)

    async def resume(self, grant_id: GrantId, voice: Voice, *, version: int | None = None) -> Recorded:
        """End a pause; what was held back goes out. Raises as `pause`."""

        def resume(grant: Grant, at: Instant) -> Grant:
            return _read(grant, version).resume(at, voice)

        return await self._change(grant_id, FactKind.CHANGED, resume, voice)

    async def narrow(
        self, grant_id: GrantId, fields: frozenset[str], voice: Voice, *, version: int | None = None
    ) -> Recorded:
        """Keep only these fields; what is on its way is planned anew with them. Raises as `pause`."""

        def narrow(grant: Grant, at: Instant) -> Grant:
            return _read(grant, version).narrow(fields, at, voice)

        return await self._change(grant_id, FactKind.CHANGED, narrow)

    async def revoke_all(self, subject: SubjectRef, voice: Voice) -> list[Recorded]:
        """Revoke every consent of a citizen that still stands; mandates by law stay. Each is a transaction of its
        own. Raises Corrupt `registry.unsound`, after the others: one has been edited to look as if it were over.
        """
        async with self._store.read() as tx:
            there = await self._all(tx, subject)
            over = [grant for grant in there if grant.status.over]
            edited = await registry.unsound(tx.conn, over, {})  # over by their row alone: the last ones, for they raise
        living = [grant for grant in there if not grant.status.over]
        living += [grant for grant in over if grant.id in edited]
        ended = [await _unless_over(self.revoke(grant.id, voice)) for grant in living if not grant.by_law]
        return [recorded for recorded in ended if recorded is not None]

    async def expire_due(self) -> int:
        """Record the end of every grant whose end date has come. Returns how many."""
        async with self._store.read() as tx:
            due = await registry.due_to_expire(tx.conn, self._clock())
        expired = 0
        for grant in due:
            change = self._change(grant.id, FactKind.EXPIRED, lambda head, at: head.expire(at))
            expired += await _unless_over(change) is not None
        return expired

    async def of(self, subject: SubjectRef) -> tuple[Grant, ...]:
        """Every grant of one citizen, ended ones too, oldest first; those of linked references are among them."""
        async with self._store.read() as tx:
            return await self._all(tx, subject)

    async def _kin(self, tx: Transaction, subject: SubjectRef) -> tuple[SubjectRef, ...]:
        return (await self._lookup.kin(tx, [subject], self._clock())).of(subject)

    async def _alone(self, tx: Transaction, subject: SubjectRef) -> None:
        """The locks of a citizen, of all their references at once: what follows may be planned under any of them."""
        await tx.lock_exclusive([citizen_lock(one) for one in await self._kin(tx, subject)])

    async def _all(self, tx: Transaction, subject: SubjectRef) -> tuple[Grant, ...]:
        found = [grant for one in await self._kin(tx, subject) for grant in await registry.of_subject(tx.conn, one)]
        return tuple(sorted(found, key=lambda grant: grant.id))

    async def complete(self, grant_id: GrantId) -> frozenset[GrantId]:
        """Do what the journal of endings says of this grant, and of its citizen's others, and their rows do not: all of
        them together, for what follows from one is planned under the others. Returns those that were behind.
        """
        async with self._store.begin() as tx:
            there = (await registry.current(tx.conn, [grant_id])).get(grant_id)
            if there is None:
                return frozenset()
            await self._alone(tx, there.subject)
            await tx.lock_exclusive([grant.id for grant in await registry.of_subject(tx.conn, there.subject)])
            ended, at = await tx.endings(), self._clock()
            moved: list[tuple[Grant, Grant]] = []
            for head in await registry.of_subject(tx.conn, there.subject):
                moved += await self._lost(tx, ended, head, at)
            for old, new in moved:
                await self._follow(tx, old, new, at)
        return frozenset(new.id for _, new in moved)

    async def _not_behind(self, once: Callable[[], Awaitable[T]]) -> T:
        """Once more, after the citizen's other grants were completed, where they stood in the way."""
        try:
            return await once()
        except ended_grants.RowsBehind as behind:
            for grant_id in behind.grants:
                await self.complete(grant_id)
            return await once()

    async def _change(
        self,
        grant_id: GrantId,
        kind: FactKind,
        transition: Transition,
        opens: Voice | None = None,
        why: Reason | None = None,
    ) -> Recorded:
        """The lock, the next version, what follows for deliveries, the entry; one transaction, acknowledged after
        it. `opens`: who wants it, where it lets something out again.
        """

        async def once() -> Recorded:
            async with self._store.begin() as tx:
                head = None if opens is None else (await registry.current(tx.conn, [grant_id])).get(grant_id)
                if head is not None and opens is not None:
                    await self._representation(tx, opens, head.subject, head.event_type, head.purpose)
                changed = await self._change_in(tx, grant_id, kind, transition, why)
                await acts.keep(tx, changed)
            return changed

        return await self._not_behind(once)

    async def _change_in(
        self,
        tx: Transaction,
        grant_id: GrantId,
        kind: FactKind,
        transition: Transition,
        why: Reason | None = None,
    ) -> Recorded:
        """`why`: what is told of deliveries that it closes, where the new status does not say it."""
        head = await self._held(tx, grant_id)
        at = self._clock()
        changed = transition(head, at)
        tx.end(ended_grants.ending_of(changed))
        await registry.change(tx.conn, changed, self._keyring.consent_epochs(), self._entropy)
        entry = self._recorder.grant(tx, kind, changed, at)
        await self._tell(tx, changed, at)
        mark("consents.changed")
        # Crash here: the grant stands as before with its key, nobody was told otherwise, the citizen asks again; or, if
        # the journal of endings has it, the next start completes it.
        await self._follow(tx, head, changed, at, why)
        return Recorded(changed, entry)

    async def _tell(self, tx: Transaction, changed: Grant, at: Instant) -> None:
        """The citizen hears of it on their own channels, whoever spoke for them: once a minute, however much changed.
        What is the law's, or ends by its date, is no news of theirs.
        """
        if changed.by_law or changed.status is Status.EXPIRED:
            return
        key = b"%d" % (at // _MINUTE_MS)
        await self._outbox.tell(tx, News.CONSENT_CHANGED, changed.subject, key=key, declaration=None, at=at)

    async def _held(self, tx: Transaction, grant_id: GrantId) -> Grant:
        """The grant's head under its locks, once it is what the journal of endings says: nobody changes a version that
        has ended, however its row came to be there.
        """
        there = (await registry.current(tx.conn, [grant_id])).get(grant_id)
        if there is None:
            raise Refused("consents.unknown-grant", "/grant")
        await self._alone(tx, there.subject)
        await tx.lock_exclusive([grant_id])
        head = (await registry.current(tx.conn, [grant_id]))[grant_id]
        if head.status.over and await registry.unsound(tx.conn, [head], {}):  # its key lives: nobody has ended it
            raise Corrupt("registry.unsound", grant=grant_id.hex())
        ended, at = await tx.endings(), self._clock()
        moved = await self._lost(tx, ended, head, at)
        for old, new in moved:
            await self._follow(tx, old, new, at)
        head = moved[-1][1] if moved else head
        return ended_grants.last_word(ended, head) or head  # the same version with other words: fsck tells it

    async def _lost(self, tx: Transaction, ended: Ended, head: Grant, at: Instant) -> list[tuple[Grant, Grant]]:
        """Write the versions that the journal knows and the rows do not; what the ledger tells already is not told
        twice. Returns each with the one before it.
        """
        moved: list[tuple[Grant, Grant]] = []
        for version in ended_grants.lost(ended, head):
            await registry.change(tx.conn, version, self._keyring.consent_epochs(), self._entropy, leap=True)
            if not await self._recorder.tells_of(tx, version):
                self._recorder.grant(tx, ended_grants.entry_kind(version), version, at)
            moved.append((moved[-1][1] if moved else head, version))
        return moved

    async def _follow(self, tx: Transaction, old: Grant, new: Grant, at: Instant, why: Reason | None = None) -> None:
        """What a change means for what is on its way."""
        under = deliveries.c.grant_id == new.id
        if new.status.over or new.status is Status.PAUSED:
            await tx.lock_exclusive([mailbox_lock(new.recipient)])
            reason = {Status.REVOKED: Reason.REVOKED, Status.EXPIRED: Reason.EXPIRED, Status.PAUSED: Reason.PAUSED}
            await withhold(tx, self._recorder, await load(tx, under, in_states(OPEN)), why or reason[new.status], at)
        if old.status is Status.PAUSED and new.status is not Status.PAUSED:
            await self._replan_held_back(tx, new, at)
        elif new.fields != old.fields and new.status is Status.ACTIVE:
            # Under a rule the gate has known first, and has withheld what had more.
            cut = and_(deliveries.c.state == DeliveryState.WITHHELD.value, deliveries.c.reason == Reason.NARROWED.value)
            waiting = in_states(ACTIVE) if new.rule is None else or_(in_states(ACTIVE), cut)
            await self._replan(tx, {(d.declaration, d.subscription) for d in await load(tx, under, waiting)}, at)

    async def _replan_held_back(self, tx: Transaction, grant: Grant, at: Instant) -> None:
        """What a pause held back, before it was planned or after, is planned under the consent as it is now: it goes
        out, or is withheld for good, when the pause ended with the consent.
        """
        held = await load(
            tx,
            deliveries.c.grant_id == grant.id,
            deliveries.c.state == DeliveryState.WITHHELD.value,
            deliveries.c.reason == Reason.PAUSED.value,
        )
        pairs = {(delivery.declaration, delivery.subscription) for delivery in held}
        never_planned = await tx.execute(
            select(withholdings.c.declaration, withholdings.c.subscription)
            .join(declarations, declarations.c.seq == withholdings.c.declaration)
            .where(
                withholdings.c.recipient == grant.recipient,
                withholdings.c.purpose == grant.purpose,
                withholdings.c.reason == Reason.PAUSED.value,
                declarations.c.subject.in_(await self._kin(tx, grant.subject)),
                declarations.c.event_type == grant.event_type,
            )
        )
        pairs |= {(row.declaration, row.subscription) for row in never_planned}
        await self._replan(tx, pairs, at)

    async def _replan(self, tx: Transaction, pairs: set[tuple[int, bytes]], at: Instant) -> None:
        subscriptions = await self._lookup.subscriptions_by_id(tx)
        keys = self._keyring.consent_epochs()
        for seq, subscription in sorted(pairs):
            if subscription not in subscriptions:
                continue  # its row lost its seal: what was held back stays so
            for declaration in await known(tx, self._macs, declarations.c.seq == seq):
                await self._planner.replan(tx, declaration, subscriptions[subscription], keys, at)

    async def _plan_latest(self, tx: Transaction, grant: Grant, at: Instant) -> None:
        """The latest earlier declaration of this type, for the subscriptions that this grant opens."""
        declaration = await latest(tx, self._macs, await self._kin(tx, grant.subject), grant.event_type)
        if declaration is None:
            return
        if declaration.original_recipients is not None:  # a correction: to this recipient it is the first it hears
            originals = declaration.original_recipients | {grant.recipient}
            declaration = replace(declaration, original_recipients=originals)
        keys = self._keyring.consent_epochs()
        opened = (grant.recipient, grant.event_type, grant.purpose)
        for subscription in (await self._lookup.subscriptions_by_id(tx)).values():
            asked = (subscription.recipient, subscription.event_type, subscription.purpose)
            if asked == opened and subscription.status is SubscriptionStatus.APPROVED:
                await self._planner.replan(tx, declaration, subscription, keys, at, newer=grant.id)


def _with(rests_on: Representation | None, expires_at: Instant | None) -> Instant | None:
    """Until when a consent can stand: no longer than what it rests on."""
    ends = [end for end in (expires_at, None if rests_on is None else rests_on.ends_at) if end is not None]
    return min(ends, default=None)


def _read(grant: Grant, version: int | None) -> Grant:
    """The grant, if it is of the version that was read. Raises Refused `citizens.changed-meanwhile`."""
    if version not in (None, grant.version):
        raise Refused("citizens.changed-meanwhile", "/version", version=grant.version)
    return grant


def _leave_rule(grant: Grant, at: Instant) -> Grant:
    return grant.leave_rule(at)


async def _unless_over(change: Awaitable[Recorded]) -> Recorded | None:
    """None where somebody else has ended the grant meanwhile: what was wanted is done, and the next one's turn."""
    try:
        return await change
    except Refused as fault:
        if fault.code != "grant.over":
            raise
        return None
