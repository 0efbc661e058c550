"""Carrying: a home whose ledger told its facts in clear goes on in a new ledger, whose entries are sealed.

    1 opened     the new ledger's first entry commits to the old one as it ended
    2 public     what is public by right is entered anew: parties, keys, rights, policies, subscriptions, epochs
    3 grants     each that lives, as it stands; its key is bound to that version
    4 deliveries each that is not over: its plan, its release, and that it was closed or rejected
    5 migrated   from here on the new ledger stands by itself

Refuses: to believe a row that is not what the old ledger says; it is named, carried nowhere, and counts for nothing.
Keeps: all of it is one transaction, so a crash leaves a home that is still to be carried. The old entries stay for this
home's own checks and are served to nobody; receipts of them verify as before.
Source: docs/protocol.md, section 8, "The first format"; ledger.md.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import delete, select, update

from broker.flow.deliveries import ACTIVE, DEAD, Delivery, DeliveryState, load, record, withhold
from broker.keys.keyring import Keyring
from broker.ledger import first_ledger
from broker.ledger.recorder import FIRST, Recorder
from broker.maintenance.checks.finding import Finding
from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.migrate import CARRY
from broker.store.tables import deliveries, meta
from consent import keyring as wrapping
from consent import registry
from consent.grant import Grant, Status
from consent.rows import digest_of
from consent.tables import consent_keys
from schemas import following
from schemas.checkpoint import Checkpoint
from schemas.entry import OPEN_FACTS
from schemas.errors import Corrupt
from schemas.facts import FactKind, Facts
from schemas.names import GrantId, Instant, PartyId, Reason, uuid_text

SINCE: Final = "0017"
"""The revision of the tables that sealed entries came with."""
_GRANTS: Final = {FactKind.GRANTED, FactKind.CHANGED, FactKind.REVOKED, FactKind.EXPIRED}
_CLOSES: Final = {Status.REVOKED: Reason.REVOKED, Status.EXPIRED: Reason.EXPIRED, Status.PAUSED: Reason.PAUSED}
_ENDS: Final = {Status.REVOKED: Reason.REVOKED, Status.EXPIRED: Reason.EXPIRED}


@dataclass(slots=True)
class Carried:
    """What went over into the new ledger, and what did not because it is not what the old one says."""

    old: Checkpoint
    public: int = 0
    grants: int = 0
    deliveries: int = 0
    findings: list[Finding] = field(default_factory=list)


async def due(tx: Transaction) -> bool:
    """Whether this home is still to be carried."""
    return (await tx.execute(select(meta.c.name).where(meta.c.name == CARRY))).scalar() is not None


class Carrying:
    """The step of `unefois migrate` that needs the keys."""

    def __init__(
        self,
        *,
        store: Store,
        keyring: Keyring,
        recorder: Recorder,
        party: PartyId,
        origin: str,
        window: Instant,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`origin`: of the old ledger; `window`: of every entry that is written here."""
        self._store = store
        self._keyring = keyring
        self._recorder = recorder
        self._party = party
        self._origin = origin
        self._window = window
        self._clock = clock
        self._entropy = entropy

    async def carry(self) -> Carried | None:
        """Carry the home; None where nothing is due. Raises Unavailable, Corrupt."""
        async with self._store.begin(patient=True) as tx:
            if not await due(tx):
                return None
            told = await first_ledger.facts(tx)
            done = Carried(await first_ledger.tree(tx, self._origin))
            self._open(tx, FactKind.LEDGER_OPENED, detail=following.commit(done.old))
            for facts in told:
                if facts.kind in OPEN_FACTS:
                    self._recorder.tell(tx, self._window, facts, FIRST)
                    done.public += 1
            waiting = [one for one in await load(tx) if _not_over(one)]
            heads = await self._grants(tx, told, {one.grant_id for one in waiting}, done)
            await self._deliveries(tx, told, waiting, heads, done)
            self._open(tx, FactKind.MIGRATED)
            await tx.execute(delete(meta).where(meta.c.name == CARRY))
            mark("carrying.done")
            # Crash here: nothing is carried, the home is still to be, and the same command does it.
        return done

    def _open(self, tx: Transaction, kind: FactKind, detail: bytes | None = None) -> None:
        self._recorder.tell(tx, self._window, Facts(self._clock(), kind, self._party, detail=detail))

    async def _grants(
        self, tx: Transaction, told: Iterable[Facts], needed: Collection[GrantId], done: Carried
    ) -> Mapping[GrantId, Grant]:
        """Those that live, and those that ended with something under way; each as the old ledger says it stands."""
        last = {facts.grant: facts for facts in told if facts.kind in _GRANTS}
        keys = {row.grant_id: row async for batch in registry.keys(tx.conn) for row in batch}
        carried: dict[GrantId, Grant] = {}
        async for batch in registry.heads(tx.conn):
            for head in batch:
                if not isinstance(head, Grant) or (head.status.over and head.id not in needed):
                    continue
                said = last.get(head.id)
                if said is None or (said.grant_version, said.detail) != (head.version, digest_of(head)):
                    wrong = "the row is not what the old ledger says; it is carried nowhere"
                    done.findings.append(Finding("carrying.grant", f"grants/{head.id.hex()}", wrong))
                    continue
                self._recorder.grant(
                    tx, FactKind.CARRIED, head, head.changed_at, reason=_ENDS.get(head.status), written=self._window
                )
                carried[head.id] = head
                if head.id in keys:
                    await self._bind(tx, head, keys[head.id].epoch, keys[head.id].wrapped, done)
        done.grants = len(carried)
        return carried

    async def _bind(self, tx: Transaction, head: Grant, epoch: int, wrapped: bytes, done: Carried) -> None:
        """The key was wrapped for the grant alone; from now on it is for this version of it."""
        epochs = self._keyring.consent_epochs()
        try:
            key = wrapping.unwrap_v1(wrapped, head.id, epoch, epochs[epoch])
        except (KeyError, Corrupt):
            wrong = "the key of a living grant does not unwrap"
            done.findings.append(Finding("carrying.key", f"consent_keys/{head.id.hex()}", wrong))
            return
        bound = wrapping.Bound(head.id, digest_of(head), epoch)
        anew = wrapping.wrap(
            wrapping.Kept(key, head.expires_at), bound, epochs[epoch], self._entropy(wrapping.NONCE_BYTES)
        )
        mine = consent_keys.c.grant_id == head.id
        await tx.execute(update(consent_keys).where(mine).values(digest=bound.digest, wrapped=anew))

    async def _deliveries(
        self,
        tx: Transaction,
        told: Iterable[Facts],
        waiting: Iterable[Delivery],
        heads: Mapping[GrantId, Grant],
        done: Carried,
    ) -> None:
        plans = {facts.delivery: facts for facts in told if facts.kind is FactKind.PLANNED}
        for one in waiting:
            if one.grant_id not in heads or not _as_planned(one, plans.get(one.id)):
                wrong = "the row is not what the old ledger says was planned; it is carried nowhere"
                done.findings.append(Finding("carrying.delivery", f"deliveries/{uuid_text(one.id)}", wrong))
                continue
            await self._delivery(tx, one, heads[one.grant_id])
            done.deliveries += 1

    async def _delivery(self, tx: Transaction, one: Delivery, grant: Grant) -> None:
        """Its way so far, at the instants at which it went it, under a tag and a blind of its own.

        What was released under a consent that does not stand was left as it was; today it is closed.
        """
        basis = grant.basis.text
        anew = replace(one, tag=self._entropy(16), plan_blind=self._entropy(32))
        mine = deliveries.c.seq == one.seq
        await tx.execute(update(deliveries).where(mine).values(tag=anew.tag, plan_blind=anew.plan_blind))
        now = self._window
        record(tx, self._recorder, FactKind.PLANNED, anew, one.planned_at, basis=basis, written=now)
        if one.released_at is not None:
            record(tx, self._recorder, FactKind.RELEASED, anew, one.released_at, basis=basis, written=now)
        if one.state in ACTIVE and grant.status in _CLOSES:
            await withhold(tx, self._recorder, [anew], _CLOSES[grant.status], self._clock())
            return
        ended = one.done_at if one.done_at is not None else one.planned_at
        if one.state is DeliveryState.WITHHELD:
            record(tx, self._recorder, FactKind.WITHHELD, anew, ended, reason=one.reason, written=now)
        elif one.state in DEAD:
            record(tx, self._recorder, FactKind.REJECTED, anew, ended, reason=one.reason, written=now)


def _not_over(one: Delivery) -> bool:
    """Whether the ledger may still have to tell of it."""
    if one.state is DeliveryState.WITHHELD:
        return one.released_at is not None or one.reason is Reason.PAUSED
    return one.state is not DeliveryState.APPLIED


def _as_planned(one: Delivery, plan: Facts | None) -> bool:
    if plan is None:
        return False
    said = (plan.recipient, plan.event_type, plan.purpose, plan.declaration)
    under = (plan.grant, plan.grant_version, plan.fields)
    row_says = (one.recipient, one.event_type, one.purpose, one.manifest)
    return said == row_says and under == (one.grant_id, one.grant_version, one.fields)
