"""Consents: what a citizen says, and everything that follows from it, in one transaction.

Refuses: a grant for fields that the type does not have, or to a party that nobody knows.
Keeps: when a revocation returns, the consent key is destroyed, its undelivered deliveries are noise, and the ledger
says so; every change of a grant is a new version with its entry, and in the journal of endings before it is committed.
Source: docs/architecture.md, "Transactions that matter"; docs/protocol.md, section 9.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import select

from broker.directory.lookup import Lookup
from broker.ended import Ended
from broker.epochs import epochs
from broker.flow import ended_grants
from broker.flow.declared import known, latest
from broker.flow.deliveries import ACTIVE, OPEN, DeliveryState, citizen_lock, in_states, load, mailbox_lock, withhold
from broker.flow.planner import Planner
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
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
from consent.grant import Grant, Scope, Status, Voice
from consent.policy import ADDRESSED, SubscriptionStatus
from consent.rows import digest_of
from schemas.catalogue import Catalogue
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import (
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
        self._clock = clock
        self._entropy = entropy

    async def give(self, wish: GrantRequest) -> Recorded:
        """A new grant with its own key. Raises Refused: `grant.*`, `purposes.*`, `consents.unknown-recipient`,
        `consents.addressed`.
        """

        async def once() -> Recorded:
            async with self._store.begin() as tx:
                return await self.give_in(tx, wish)

        return await self._not_behind(once)

    async def give_in(self, tx: Transaction, wish: GrantRequest) -> Recorded:
        """The same in the caller's transaction, which holds the citizen's lock from then on."""
        event = self._catalogue.by_type(wish.event_type)
        if wish.event_type in ADDRESSED and wish.once_for is None:
            raise Refused("consents.addressed", "/event_type", event_type=wish.event_type)
        at = self._clock()
        starts_at = wish.starts_at if wish.starts_at is not None else at
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
            expires_at=end_of(wish.basis, starts_at, wish.expires_at),
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
        grant.check_names(event.schema.id, frozenset(event.names))
        await self._lookup.party(tx, wish.recipient)
        await tx.lock_shared([epochs.LOCK])
        epoch, epoch_key = await epochs.newest_consent(tx, self._rows, self._keyring.consent_epochs())
        await tx.lock_exclusive([citizen_lock(wish.subject)])
        bound = wrapping.Bound(grant.id, digest_of(grant), epoch)
        kept = wrapping.Kept(self._entropy(32), grant.expires_at)
        wrapped = wrapping.wrap(kept, bound, epoch_key, self._entropy(12))
        await registry.add(tx.conn, grant, epoch, wrapped)
        entry = self._recorder.grant(tx, FactKind.GRANTED, grant, at)
        if wish.include_latest:
            await self._plan_latest(tx, grant, at)
        mark("consents.given")
        # Crash here: no grant, no key, no entry, and the citizen was told nothing: they say it again.
        return Recorded(grant, entry)

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

    async def object_to(self, tx: Transaction, subject: SubjectRef, rule: RuleId) -> Recorded | None:
        """End the grant that a citizen has under a rule, in the caller's transaction, which holds the citizen's lock;
        None where there is none. What is on its way stays closed, and says that the citizen objects.
        """
        for one in await registry.of_subject(tx.conn, subject):
            if one.rule == rule and not one.status.over:
                return await self._change_in(tx, one.id, FactKind.REVOKED, _leave_rule, Reason.OBJECTED)
        return None

    async def pause(self, grant_id: GrantId, voice: Voice) -> Recorded:
        """Hold everything back until `resume`. Raises Refused: `consents.unknown-grant`, `grant.*`."""
        return await self._change(grant_id, FactKind.CHANGED, lambda grant, at: grant.pause(at, voice))

    async def resume(self, grant_id: GrantId, voice: Voice) -> Recorded:
        """End a pause; what was held back goes out. Raises Refused: `consents.unknown-grant`, `grant.*`."""
        return await self._change(grant_id, FactKind.CHANGED, lambda grant, at: grant.resume(at, voice))

    async def narrow(self, grant_id: GrantId, fields: frozenset[str], voice: Voice) -> Recorded:
        """Keep only these fields; what is on its way is planned anew with them. Raises as `pause`."""
        return await self._change(grant_id, FactKind.CHANGED, lambda grant, at: grant.narrow(fields, at, voice))

    async def revoke_all(self, subject: SubjectRef, voice: Voice) -> list[Recorded]:
        """Revoke every consent of a citizen that still stands; mandates by law stay. Each is a transaction of its
        own. Raises Corrupt `registry.unsound`, after the others: one has been edited to look as if it were over.
        """
        async with self._store.read() as tx:
            there = await registry.of_subject(tx.conn, subject)
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
        """Every grant of one citizen, ended ones too, oldest first."""
        async with self._store.read() as tx:
            return await registry.of_subject(tx.conn, subject)

    async def complete(self, grant_id: GrantId) -> frozenset[GrantId]:
        """Do what the journal of endings says of this grant, and of its citizen's others, and their rows do not: all of
        them together, for what follows from one is planned under the others. Returns those that were behind.
        """
        async with self._store.begin() as tx:
            there = (await registry.current(tx.conn, [grant_id])).get(grant_id)
            if there is None:
                return frozenset()
            await tx.lock_exclusive([citizen_lock(there.subject)])
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

    async def _change(self, grant_id: GrantId, kind: FactKind, transition: Transition) -> Recorded:
        """The lock, the next version, what follows for deliveries, the entry; one transaction, acknowledged after
        it.
        """

        async def once() -> Recorded:
            async with self._store.begin() as tx:
                return await self._change_in(tx, grant_id, kind, transition)

        return await self._not_behind(once)

    async def _change_in(
        self, tx: Transaction, grant_id: GrantId, kind: FactKind, transition: Transition, why: Reason | None = None
    ) -> Recorded:
        """`why`: what is told of deliveries that it closes, where the new status does not say it."""
        head = await self._held(tx, grant_id)
        at = self._clock()
        changed = transition(head, at)
        tx.end(ended_grants.ending_of(changed))
        await registry.change(tx.conn, changed, self._keyring.consent_epochs(), self._entropy)
        entry = self._recorder.grant(tx, kind, changed, at)
        mark("consents.changed")
        # Crash here: the grant stands as before with its key, nobody was told otherwise, the citizen asks again; or, if
        # the journal of endings has it, the next start completes it.
        await self._follow(tx, head, changed, at, why)
        return Recorded(changed, entry)

    async def _held(self, tx: Transaction, grant_id: GrantId) -> Grant:
        """The grant's head under its locks, once it is what the journal of endings says: nobody changes a version that
        has ended, however its row came to be there.
        """
        there = (await registry.current(tx.conn, [grant_id])).get(grant_id)
        if there is None:
            raise Refused("consents.unknown-grant", "/grant")
        await tx.lock_exclusive([citizen_lock(there.subject)])
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
            await self._replan(
                tx, {(d.declaration, d.subscription) for d in await load(tx, under, in_states(ACTIVE))}, at
            )

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
                declarations.c.subject == grant.subject,
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
        declaration = await latest(tx, self._macs, grant.subject, grant.event_type)
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
