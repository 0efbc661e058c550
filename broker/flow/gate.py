"""Gate: release the field keys of deliveries to their recipient, if the consent stands at this moment.

Refuses: to answer before the ledger entry is committed; to open a field that the grant does not name today; a delivery
that is another's, or that was not handed out.
Keeps: for one grant, no `released` entry after its `revoked` entry; every answer has its entry, committed before it;
one delivery that cannot be opened does not close the others; nothing is released that the ledger does not call planned.
Source: docs/protocol.md, section 6; docs/architecture.md, "Transactions that matter".
"""

from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from sqlalchemy import bindparam, func, select, update

from broker.directory.lookup import Lookup
from broker.ended import Ended
from broker.flow import ended_grants, retracted, rule_reach
from broker.flow.answers import Rejection
from broker.flow.deliveries import ACTIVE, Delivery, DeliveryState, load_own, mailbox_lock, record, withhold
from broker.flow.holding import Holds, end_of
from broker.flow.mailbox import PULL_BYTES, Due, Mailbox
from broker.keys.keyring import Keyring
from broker.ledger import highwater
from broker.ledger.openings import NONE, Opened, Openings, StepReader, Steps
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import RowName, logger
from broker.people import protection
from broker.people.identity import Identity
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, gate_epochs
from broker.transparency.cosigning import Cosigning
from consent import registry
from consent.asking import one_of
from consent.grant import Grant
from consent.policy import DeclarationFacts, Subscription, SubscriptionStatus, at_release
from consent.retractions import heard_by
from consent.rules import Rule
from schemas.catalogue import Catalogue
from schemas.directory import Directory, SealingKeyEntry
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.hpke import SealingKey
from schemas.locked import manifest_of
from schemas.names import (
    INSTANT_MAX,
    DeliveryId,
    GrantId,
    Instant,
    Kid,
    LeafHash,
    PartyId,
    Reason,
    RuleId,
    uuid_text,
)
from schemas.release import LockedDelivery, Release, Statement, indices, make_release, open_locked, seal_releases
from schemas.signing import PrivateKey

MOST = 500
"""Deliveries in one release: what one lock may hold up."""


@dataclass(frozen=True, slots=True)
class Released:
    """What leaves the gate: the deliveries in order, one key release for all of them, and what was withheld and why."""

    locked: tuple[LockedDelivery, ...]
    key_release: bytes
    withheld: tuple[tuple[DeliveryId, Reason], ...]
    attempts: Mapping[DeliveryId, int]
    """How often each was handed out before this pull; of a release, which hands nothing out, nothing."""


NOTHING = Released((), b"", (), {})
"""Of a pull when nothing is due."""


@dataclass(frozen=True, slots=True)
class _Ground:
    """What one release stands on, all of it read under the lock."""

    at: Instant
    directory: Directory
    recipient: SealingKeyEntry
    signer: PrivateKey = field(repr=False)
    sector: str
    grants: Mapping[GrantId, Grant]
    consent_keys: Mapping[GrantId, bytes] = field(repr=False)
    unsound: Collection[GrantId]
    subscriptions: Mapping[bytes, Subscription]
    rules: Mapping[RuleId, Rule]
    hears: Mapping[PartyId, frozenset[str]]
    """Every area that each recipient has asked for."""
    places: rule_reach.Places
    received: Mapping[int, Instant]
    """Of what is of a type that is held, by the number of its declaration: when it came, as the machine wrote it."""
    steps: Mapping[DeliveryId, Steps]
    """What the ledger says of each."""
    released: Mapping[DeliveryId, Opened]
    """The entry of what was released before, as it is wanted now, under a lease that runs: it says so once."""
    ended: Ended
    """What the journal of endings says, over all of these."""
    gate_keys: dict[Kid, SealingKey | None] = field(default_factory=dict, repr=False)
    """Those that were asked for: the key store is asked once for each."""


@dataclass(slots=True)
class _Opened:
    """What one release comes to before it is committed, as it grows: what opens, and what stays closed and why."""

    at: Instant
    recipient: SealingKeyEntry
    locked: list[LockedDelivery] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list, repr=False)
    anew: list[DeliveryId] = field(default_factory=list)
    """Of what opens, what the ledger says in a new entry."""
    withheld: list[tuple[DeliveryId, Reason]] = field(default_factory=list)

    @property
    def ids(self) -> list[DeliveryId]:
        """Of what opens."""
        return [one.delivery_id for one in self.locked]


_UNDER: Final = select(
    deliveries.c.grant_id, deliveries.c.recipient, func.length(deliveries.c.locked).label("size")
).where(one_of(deliveries.c.id, "ids"))
_RELEASE: Final = (
    update(deliveries)
    .where(one_of(deliveries.c.id, "ids"))
    .values(state=DeliveryState.RELEASED.value, released_at=bindparam("now"))
)

_HOLD: Final = update(deliveries).where(one_of(deliveries.c.id, "ids")).values(held_until=bindparam("hold_end"))


class Gate:
    """The only holder of the gate's keys."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        identity: Identity,
        catalogue: Catalogue,
        recorder: Recorder,
        openings: Openings,
        ledgered: StepReader,
        mailbox: Mailbox,
        cosigning: Cosigning,
        macs: RowMacs,
        holds: Holds,
        party: PartyId,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._mailbox = mailbox
        self._keyring = keyring
        self._identity = identity
        self._catalogue = catalogue
        self._recorder = recorder
        self._openings = openings
        self._ledgered = ledgered
        self._cosigning = cosigning
        self._macs = macs
        self._holds = holds
        self._party = party
        self._clock = clock

    async def pull(self, recipient: PartyId, due: Sequence[Due]) -> Released:
        """Hand out with its keys what is due, under one lease: what was seen before the lock, and may be had under it.

        Either all of it happens or nothing: where the gate may not open, nothing is handed out and no attempt is spent.
        Raises as `release`, but for what the caller cannot know: what is not due any more is absent.
        """
        if not due:
            return NOTHING
        _check_count(due)
        async with self._store.begin() as tx:
            held = await self._lock(tx, recipient, [one.grant_id for one in due])
            claimed = await self._mailbox.claim(tx, recipient, due, self._clock())
            opened = await self._open(tx, recipient, claimed, held)
            ids = frozenset(opened.ids)
            handed = [one for one in claimed if one.id in ids]
            await self._mailbox.hand_out(tx, handed, opened.at, opened=True)
        return _sealed(opened, {one.id: one.attempts for one in handed})

    async def release(self, recipient: PartyId, ids: Sequence[DeliveryId]) -> Released:
        """Take the locks, check each consent, record, commit, then seal the keys to the recipient.

        Deliveries whose consent does not stand come back in `withheld` with the reason that the citizen sees too, and
        so do those that do not open: they are parked, for no repetition would help.
        Raises Refused: `gate.too-many`, `gate.repeated`, `gate.unknown-delivery`, `gate.not-handed`, `gate.ended`,
        `gate.too-large`, `directory.no-sealing-key`. Raises Corrupt and Unavailable (`cosigning.stale` among them).
        """
        _check_count(ids)
        if len(set(ids)) != len(ids):
            raise Refused("gate.repeated", "/deliveries")
        async with self._store.begin() as tx:
            theirs = [one for one in await tx.execute(_UNDER, {"ids": list(ids)}) if one.recipient == recipient]
            size = sum(row.size for row in theirs)
            if len(theirs) > 1 and size > PULL_BYTES:
                raise Refused("gate.too-large", "/deliveries", size=size, limit=PULL_BYTES)
            grants = [GrantId(row.grant_id) for row in theirs]
            held = await self._lock(tx, recipient, grants)
            opened = await self._open(tx, recipient, await self._wanted(tx, recipient, ids), held)
            await tx.execute(_RELEASE, {"ids": opened.anew, "now": opened.at})
        return _sealed(opened, {})

    async def _lock(self, tx: Transaction, recipient: PartyId, grants: Sequence[GrantId]) -> frozenset[GrantId]:
        """The lock before the look: a revocation that waits for us is seen after us, one before us is seen by us.

        The grants, which a delivery never changes, shared; then the mailbox, whose rows are read after this. Returns
        the grants.
        """
        await tx.lock_both(grants, [mailbox_lock(recipient)])
        return frozenset(grants)

    async def _open(
        self, tx: Transaction, recipient: PartyId, wanted: Sequence[Delivery], held: frozenset[GrantId]
    ) -> _Opened:
        """Check each consent, and open what stands; the others are withheld, or parked when no repetition would help.

        `wanted` was read under the lock of the mailbox, and of the grants `held`.
        """
        if not held.issuperset(one.grant_id for one in wanted):
            raise ValueError("a grant that is not locked proves nothing")
        await self._cosigning.check(tx, self._clock())  # where the settings say so, nothing opens unwitnessed
        ground = await self._ground(tx, recipient, wanted)
        opened = _Opened(ground.at, ground.recipient)
        for delivery in wanted:
            reason = self._why_not(delivery, ground)  # paused, narrowed, revoked, expired: nothing opens
            if reason is None and (waits := await self._waits(tx, delivery, ground)) is not None:
                opened.withheld.append((delivery.id, waits))
                continue
            if reason is not None:
                if reason is Reason.UNSOUND:  # it waits where it is: nobody said that it is not to be delivered
                    logger().error("consents.unsound", grant=delivery.grant_id)
                elif delivery.state is not DeliveryState.WITHHELD:
                    await withhold(tx, self._recorder, [delivery], reason, ground.at)
                opened.withheld.append((delivery.id, reason))
                continue
            try:
                locked, dek = self._unlocked(delivery, ground)
                release = self._release(tx, delivery, locked, dek, ground)
            except Refused as fault:  # faulty at its source, or changed in the mailbox: it closes no other
                if fault.code == "gate.not-as-planned":
                    logger().error("gate.not-as-planned", delivery=delivery.id, recipient=delivery.recipient)
                why = Rejection(fault.code, Reason.INVALID_ENVELOPE)
                await self._mailbox.park(tx, delivery, why, ground.at)
                opened.withheld.append((delivery.id, why.reason))
                continue
            opened.releases.append(release)
            if delivery.id not in ground.released:
                opened.anew.append(delivery.id)
            opened.locked.append(locked)
        mark("gate.recorded")
        # Crash here, and until the commit: the transaction is gone, nothing was answered, the recipient asks again.
        return opened

    async def _wanted(self, tx: Transaction, recipient: PartyId, ids: Sequence[DeliveryId]) -> list[Delivery]:
        """The recipient's deliveries, in the order asked. Another agency's is as unknown as one that never was."""
        found = await load_own(tx, recipient, ids)
        wanted = []
        for number, one in enumerate(ids):
            delivery = found.get(one)
            if delivery is None:
                raise Refused("gate.unknown-delivery", f"/deliveries/{number}")
            if delivery.state in ACTIVE and delivery.handed_at is None:
                raise Refused("gate.not-handed", f"/deliveries/{number}")
            if delivery.state not in ACTIVE | {DeliveryState.WITHHELD}:
                raise Refused("gate.ended", f"/deliveries/{number}", state=delivery.state.value)
            wanted.append(delivery)
        return wanted

    async def _ground(self, tx: Transaction, recipient: PartyId, wanted: Sequence[Delivery]) -> _Ground:
        at, ended = self._clock(), await tx.endings()
        highwater.check_signing(ended)
        directory = await self._lookup.directory(tx)
        key = directory.current_sealing_key(recipient, at)
        grants = await registry.of_pairs(tx.conn, {one.grant_id: one.subject for one in wanted})
        consent_keys = await registry.consent_keys_of(tx.conn, grants.values(), self._keyring.consent_epochs())
        steps = await self._ledgered.of(tx, wanted)
        rules = await self._lookup.rules(tx)
        return _Ground(
            at=at,
            directory=directory,
            recipient=key,
            signer=self._keyring.signer(directory, self._party, at),
            sector=await self._lookup.sector(tx, recipient),
            grants=ended_grants.obeyed(ended, grants),
            ended=ended,
            consent_keys=consent_keys,
            unsound=await registry.unsound(tx.conn, grants.values(), consent_keys),
            steps=steps,
            released=await self._released(tx, [one for one in wanted if one.under_lease(at)], steps, key.kid),
            subscriptions=await self._lookup.subscriptions_by_id(tx),
            rules=rules,
            hears=await self._lookup.hears(tx),
            places=await rule_reach.places_of(tx, self._macs, wanted, grants, rules),
            received=await self._received(tx, wanted),
        )

    def _why_not(self, delivery: Delivery, ground: _Ground) -> Reason | None:
        """Why this delivery must stay closed at this instant, or None."""
        if delivery.state is DeliveryState.WITHHELD and delivery.reason is not None:
            return delivery.reason
        taken = retracted.standing(ground.ended, delivery.event_type, delivery.declaration_id, delivery.root)
        return self._not_allowed(delivery, ground) if taken is None else taken.kind.reason

    def _not_allowed(self, delivery: Delivery, ground: _Ground) -> Reason | None:
        """Why nothing allows this delivery at this instant, or None."""
        event = self._catalogue.by_id(delivery.schema)
        grant, subscription = ground.grants.get(delivery.grant_id), ground.subscriptions.get(delivery.subscription)
        subscription = None if subscription is None else heard_by(subscription, event)
        if grant is None or delivery.grant_id in ground.unsound or not _of(grant, delivery):
            return Reason.UNSOUND  # gone, or not what its key is bound to: somebody has edited a row
        if subscription is not None and not _under(subscription, delivery):
            return Reason.UNSOUND  # approved for somebody else, or something else; None: its row lost its seal
        names = [event.names[index] for index in indices(delivery.fields, len(event.names))]
        # Asked for anew after its end, or approved anew for less: what it was planned under has ended.
        if subscription is None or not _approved(subscription, names):
            return Reason.ENDED
        told = ground.ended.newest(gate_epochs.name, delivery.gate_kid)
        if delivery.gate_ended or (told is not None and told.least > 0):
            if told is not None and not delivery.gate_ended:
                logger().error(
                    "endings.row-contradicts", _ended_at=told.at, row=RowName.of(gate_epochs.name, delivery.gate_kid)
                )
            return Reason.EPOCH_DESTROYED
        facts = DeclarationFacts(
            declaration_id=delivery.declaration_id,
            source=delivery.source,
            event_type=delivery.event_type,
            schema=delivery.schema,
            field_names=event.names,
            territories=(),
            uses_territories=event.uses_territories,
            corrects=delivery.root,
        )
        if _protected(delivery, ground):
            return Reason.REVOKED  # what a recipient hears of anybody who allows it nothing any more
        refused: Reason | None = None
        if grant.rule is not None:
            rule, by_place = ground.rules.get(grant.rule), event.uses_territories
            refused = rule_reach.why_not(rule, delivery, names, ground.places, ground.at, by_place=by_place)
        return refused or at_release(grant, facts, delivery.purpose, names, ground.at)

    async def _received(self, tx: Transaction, wanted: Sequence[Delivery]) -> dict[int, Instant]:
        held = [one.declaration for one in wanted if one.event_type in self._holds]
        if not held:
            return {}
        rows = await tx.execute(select(declarations).where(declarations.c.seq.in_(sorted(set(held)))))
        return {row.seq: Instant(row.received_at) for row in self._macs.valid(declarations.name, rows)}

    async def _waits(self, tx: Transaction, delivery: Delivery, ground: _Ground) -> Reason | None:
        """Why it waits where it is, though it is allowed: somebody has edited a row, or a setting; or None."""
        if ground.steps.get(delivery.id, NONE).plan is None:  # by the ledger it has ended, or was never planned
            logger().error("gate.not-as-told", delivery=delivery.id, recipient=delivery.recipient)
            return Reason.UNSOUND
        if delivery.event_type not in self._holds:
            return None
        received_at, until = ground.received.get(delivery.declaration), INSTANT_MAX
        if received_at is not None:
            until = end_of(self._holds, delivery.event_type, received_at)
        if until <= ground.at:
            return None
        # Its row is put right, so that it stands in nobody's way until its hold is over.
        logger().error("gate.held", delivery=delivery.id, recipient=delivery.recipient)
        await tx.execute(_HOLD, {"ids": [delivery.id], "hold_end": until})
        return Reason.NOT_YET

    async def _released(
        self, tx: Transaction, leased: Sequence[Delivery], steps: Mapping[DeliveryId, Steps], kid: Kid
    ) -> dict[DeliveryId, Opened]:
        """What was released to this key before, just as it is planned: a recipient that asks twice makes one fact."""
        before = {
            step.leaf: (one, step.entry)
            for one in leased
            if one.state is DeliveryState.RELEASED and (step := steps.get(one.id, NONE).released) is not None
        }
        opened = await self._openings.of_leaves(tx, {leaf: entry for leaf, (_, entry) in before.items()})
        found = {}
        for leaf, one in opened.items():
            delivery, _ = before[LeafHash(leaf)]
            if (one.facts.delivery, one.facts.sealed_to) == (delivery.id, kid):
                found[delivery.id] = one
        return found

    def _unlocked(self, delivery: Delivery, ground: _Ground) -> tuple[LockedDelivery, bytes]:
        """Unlock with the consent's key, open with the gate's: the declaration's DEK, 32 bytes, still in our hands."""
        consent_key = ground.consent_keys.get(delivery.grant_id)
        if delivery.gate_kid not in ground.gate_keys:
            entry = ground.directory.sealing_key(delivery.gate_kid)
            ground.gate_keys[delivery.gate_kid] = self._keyring.gate(entry)
        gate_key = ground.gate_keys[delivery.gate_kid]
        if consent_key is None or gate_key is None:  # the consent stands and the epoch lives, so both must be there
            raise Corrupt("gate.key-missing", delivery=uuid_text(delivery.id))
        locked = LockedDelivery.decode(delivery.locked)
        self._check_planned(locked, delivery)
        return locked, open_locked(locked, consent_key, gate_key)

    def _check_planned(self, locked: LockedDelivery, delivery: Delivery) -> None:
        """What is locked is what was planned: else whoever writes into a mailbox has us sign another purpose, or stops
        us with fields that the plan does not know.
        """
        for name in ("recipient", "purpose", "grant_id", "grant_version", "gate_kid"):
            if getattr(locked, name) != getattr(delivery, name):
                raise Refused("gate.not-as-planned", f"/{name}")
        if locked.delivery_id != delivery.id:
            raise Refused("gate.not-as-planned", "/delivery_id")
        if sha256(locked.payload).digest() != delivery.manifest:
            raise Refused("gate.not-as-planned", "/payload")  # else the ledger tells of another declaration
        manifest = manifest_of(locked.payload)
        said = (manifest.declaration_id, manifest.source, manifest.event_type, manifest.schema)
        told = (delivery.declaration_id, delivery.source, delivery.event_type, delivery.schema)
        if said != told:  # the declaration's row says what its manifest says
            raise Refused("gate.not-as-planned", "/payload")
        planned = indices(delivery.fields, len(self._catalogue.by_id(delivery.schema).names))
        if tuple(each.index for each in locked.fields) != planned:
            raise Refused("gate.not-as-planned", "/fields")

    def _release(
        self, tx: Transaction, delivery: Delivery, locked: LockedDelivery, dek: bytes, ground: _Ground
    ) -> Release:
        """The record, and the answer that names it; it leaves after the commit."""
        basis = ground.grants[delivery.grant_id].basis.text
        earlier = ground.released.get(delivery.id)
        at = ground.at if earlier is None else earlier.facts.at
        leaf = (
            earlier.leaf
            if earlier is not None
            else record(
                tx,
                self._recorder,
                FactKind.RELEASED,
                delivery,
                ground.at,
                basis=basis,
                sealed_to=ground.recipient.kid,
                plan=ground.steps[delivery.id].plan,
            )
        )
        pseudonym, version = self._identity.pseudonym(delivery.subject, ground.sector)
        statement = Statement.of(
            locked,
            fields=delivery.fields,
            basis=basis,
            pseudonym=pseudonym,
            pseudonym_version=version,
            released_at=at,
            ledger_entry=leaf,
        )
        return make_release(locked, dek, statement, ground.signer)


def _of(grant: Grant, delivery: Delivery) -> bool:
    """Whether a delivery under this grant can be: the grant's own citizen, and its own recipient."""
    return (grant.subject, grant.recipient) == (delivery.subject, delivery.recipient)


def _protected(delivery: Delivery, ground: _Ground) -> bool:
    """Whether its citizen is protected from its recipient. What went by a place alone is closed by the one who marks,
    under the lock of the mailbox: of places the gate knows nothing.
    """
    theirs = protection.standing(ground.ended, delivery.subject, ground.at)
    hears = ground.hears.get(delivery.recipient, frozenset())
    return theirs is not None and theirs.hides_from(delivery.recipient, hears)


def _under(subscription: Subscription, delivery: Delivery) -> bool:
    """Whether a delivery can be planned for this subscription."""
    theirs = (subscription.recipient, subscription.event_type, subscription.purpose)
    return theirs == (delivery.recipient, delivery.event_type, delivery.purpose)


def _approved(subscription: Subscription, names: Collection[str]) -> bool:
    return subscription.status is SubscriptionStatus.APPROVED and subscription.fields.issuperset(names)


def _check_count(wanted: Sized) -> None:
    if len(wanted) > MOST:
        raise Refused("gate.too-many", "/deliveries", count=len(wanted), most=MOST)


def _sealed(opened: _Opened, attempts: Mapping[DeliveryId, int]) -> Released:
    """The answer, once what it tells is committed."""
    mark("gate.committed")
    # Crash here: the ledger says released and nobody got it. That is the safe side; the recipient asks again.
    key = opened.recipient
    answer = seal_releases(opened.releases, key.suite, key.public, opened.ids)
    return Released(tuple(opened.locked), answer.encode(), tuple(opened.withheld), attempts)
