"""Repairs: a person's number reaches the recipient that had not found them, and the delivery is tried again afterwards.

    1 begin    a try of a delivery that was answered unknown-person or several-persons: a row, and a grant for one
               declaration, the reference; then the reference is handed in, and goes that recipient's way alone
    2 step     the recipient has applied the reference: its delivery is planned again, under the consents of today

Refuses: a fourth try; one while another is under way.
Keeps: no number is here, nor anywhere but in the sealed reference. The delivery goes out again only after the reference
was applied, so it is found then; once for each try, however many look. A try whose reference was never handed in, which
a crash can leave, is made anew under its number. A row that the broker did not write counts for nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select, update

from broker.directory.lookup import Lookup
from broker.flow.declared import known
from broker.flow.deliveries import OPEN, Delivery, DeliveryState, citizen_lock, load, record
from broker.flow.erased import erased_of
from broker.flow.planner import Planner
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, repairs
from consent.policy import Deny
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, DeliveryId, GrantId, Instant, PartyId, Reason, SubjectRef

TRIES: Final = 3
"""Of one delivery. Who does not know their number asks the administration, and a guess gets nobody far."""
PATIENCE_MS: Final = 600_000
"""How long a try is under way whose reference was not routed yet; afterwards it was never handed in."""
REPAIRABLE: Final = frozenset({Reason.UNKNOWN_PERSON, Reason.SEVERAL_PERSONS})
"""What a number may help with."""
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Try:
    """One row."""

    delivery: DeliveryId
    number: int
    reference: DeclarationId
    grant_id: GrantId
    asked_at: Instant
    tried_at: Instant | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a reference: `state` of its delivery, None where none was planned."""

    routed: bool
    state: DeliveryState | None
    reason: Reason | None


async def of_deliveries(tx: Transaction, macs: RowMacs, ids: Sequence[DeliveryId]) -> dict[DeliveryId, list[Try]]:
    """The tries of these deliveries, the first one first."""
    found: dict[DeliveryId, list[Try]] = {one: [] for one in ids}
    rows = await tx.execute(select(repairs).where(repairs.c.delivery.in_(list(ids))).order_by(repairs.c.number))
    for row in macs.valid(repairs.name, rows):
        found[DeliveryId(row.delivery)].append(_try(row))
    return found


async def under_way(tx: Transaction, macs: RowMacs, ids: Sequence[DeliveryId], at: Instant) -> set[DeliveryId]:
    """Which of these deliveries wait for a number that was given, and has not reached its recipient, or only just."""
    found = await of_deliveries(tx, macs, ids) if ids else {}
    last = [tries[-1] for tries in found.values() if tries and tries[-1].tried_at is None]
    return {one.delivery for one in last if _waits(one, await _fate(tx, one), at)}


async def repairable(
    tx: Transaction, kin: Collection[SubjectRef], of: DeclarationId, recipient: PartyId
) -> list[Delivery]:
    """The deliveries of a citizen's declaration to whom a number may help; `kin`: the citizen's references. Raises
    Refused: `tracking.unknown`, `repair.nothing`.
    """
    there = select(declarations.c.subject).where(declarations.c.declaration_id == of)
    row = (await tx.execute(there)).one_or_none()
    if row is None or row.subject not in kin:
        raise Refused("tracking.unknown", "/declaration")
    found = await load(tx, declarations.c.declaration_id == of, deliveries.c.recipient == recipient)
    waiting = [one for one in found if one.state is DeliveryState.ANSWERED and one.reason in REPAIRABLE]
    if not waiting:
        raise Refused("repair.nothing", "/to")
    return waiting


class Repairs:
    """The tries of all deliveries."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        recorder: Recorder,
        macs: RowMacs,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._recorder = recorder
        self._macs = macs
        self._clock = clock

    async def begin(
        self, tx: Transaction, waiting: Sequence[Delivery], reference: DeclarationId, grant: GrantId, at: Instant
    ) -> tuple[int, list[GrantId]]:
        """Write down a try of each of these, under their citizen's lock, before the reference is handed in. Returns the
        highest number, and the grants of tries that came to nothing.

        Raises Refused: `repair.too-many-tries`, `repair.under-way`.
        """
        most, stale = 0, []
        earlier = await of_deliveries(tx, self._macs, [one.id for one in waiting])
        for delivery in waiting:
            tries = earlier[delivery.id]
            number = tries[-1].number + 1 if tries else 1
            if tries and tries[-1].tried_at is None:
                lost = await self._close(tx, tries[-1], at)
                stale += [tries[-1].grant_id] * lost
                number -= lost
            if number > TRIES:
                raise Refused("repair.too-many-tries", "/to", most=TRIES)
            row = {
                "delivery": delivery.id,
                "number": number,
                "reference": reference,
                "grant_id": grant,
                "asked_at": at,
                "tried_at": None,
                "reason": None,
            }
            await self._write(tx, self._macs.made(repairs.name, row))
            most = max(most, number)
        mark("repairs.begun")
        # Crash here: no try, no grant, and nothing was handed in; the citizen asks again. After the commit, and before
        # the reference is handed in: the try is made anew under the same number, once PATIENCE_MS are over.
        return most, stale

    async def step(self) -> int:
        """Plan again what waits for a reference that was applied. Returns how many deliveries are on their way, or are
        withheld by the consents of today.
        """
        async with self._store.read_one() as tx:
            due = list(await tx.execute(_DUE))
        done = 0
        for row in self._macs.valid(repairs.name, due):
            done += await self._try_again(_try(row), SubjectRef(row.subject))
        return done

    async def _try_again(self, one: Try, subject: SubjectRef) -> bool:
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(subject)])
            tries = (await of_deliveries(tx, self._macs, [one.delivery]))[one.delivery]
            now = next((each for each in tries if each.number == one.number), None)
            if now is None or (now.reference, now.tried_at) != (one.reference, None):
                return False  # somebody was faster
            at = self._clock()
            found = await load(tx, deliveries.c.id == one.delivery)
            reason = await self._planned_again(tx, found[0], at) if found else None
            same = (repairs.c.delivery == one.delivery, repairs.c.number == one.number)
            told = None if reason is None else reason.value
            await tx.execute(update(repairs).where(*same).values(tried_at=at, reason=told))
            mark("repairs.tried")
            # Crash here: nothing was planned, and the try still waits; the next step plans it.
        return True

    async def _planned_again(self, tx: Transaction, delivery: Delivery, at: Instant) -> Reason | None:
        """On its way again (None), or why not. What was applied meanwhile, or is being decided, stays so."""
        if delivery.state is not DeliveryState.ANSWERED:
            return delivery.reason
        subscription = (await self._lookup.subscriptions_by_id(tx)).get(delivery.subscription)
        found = await known(tx, self._macs, declarations.c.seq == delivery.declaration)
        if subscription is None:  # its row lost its seal: nothing is planned for it
            return Reason.NOT_APPROVED
        if not found:
            if await erased_of(tx, delivery.declaration):
                return Reason.CANCELLED
            raise Corrupt("rows.unsigned", table=declarations.name)
        record(tx, self._recorder, FactKind.REPLAYED, delivery, at, reason=delivery.reason)
        keys = self._keyring.consent_epochs()
        decision = await self._planner.replan(tx, found[0], subscription, keys, at, replayed=delivery.id)
        return decision.reason if isinstance(decision, Deny) else None

    async def _close(self, tx: Transaction, one: Try, at: Instant) -> bool:
        """End a try that came to nothing; whether its reference was never handed in, so that its number is free again.

        Raises Refused `repair.under-way`.
        """
        fate = await _fate(tx, one)
        if _waits(one, fate, at):
            raise Refused("repair.under-way", "/to")
        if fate.routed:
            same = (repairs.c.delivery == one.delivery, repairs.c.number == one.number)
            reason = (fate.reason or Reason.NO_GRANT).value
            await tx.execute(update(repairs).where(*same).values(tried_at=at, reason=reason))
        return not fate.routed

    async def _write(self, tx: Transaction, row: dict[str, Any]) -> None:
        if not await tx.insert_new(repairs, row):
            same = (repairs.c.delivery == row["delivery"], repairs.c.number == row["number"])
            await tx.execute(update(repairs).where(*same).values(row))


_REFERENCE = declarations.alias("reference")
_TOLD = deliveries.alias("told")
_DUE: Final = (
    select(repairs, _TOLD.c.subject)
    .join(_REFERENCE, _REFERENCE.c.declaration_id == repairs.c.reference)
    .join(_TOLD, (_TOLD.c.declaration == _REFERENCE.c.seq) & (_TOLD.c.grant_id == repairs.c.grant_id))
    .where(repairs.c.tried_at.is_(None), _TOLD.c.state == DeliveryState.APPLIED.value)
    .order_by(repairs.c.asked_at)
    .limit(BATCH)
)


def _waits(one: Try, fate: Fate, at: Instant) -> bool:
    """Whether a try may still come to something."""
    if not fate.routed:
        return at - one.asked_at < PATIENCE_MS
    return fate.state is DeliveryState.APPLIED or fate.state in OPEN


async def _fate(tx: Transaction, one: Try) -> Fate:
    there = select(declarations.c.seq).where(declarations.c.declaration_id == one.reference)
    seq = (await tx.execute(there)).scalar()
    if seq is None:
        return Fate(routed=False, state=None, reason=None)
    found = await load(tx, deliveries.c.declaration == seq, deliveries.c.grant_id == one.grant_id)
    state, reason = (found[0].state, found[0].reason) if found else (None, None)
    return Fate(routed=True, state=state, reason=reason)


def _try(row: Row[Any]) -> Try:
    return Try(
        delivery=DeliveryId(row.delivery),
        number=row.number,
        reference=DeclarationId(row.reference),
        grant_id=GrantId(row.grant_id),
        asked_at=Instant(row.asked_at),
        tried_at=None if row.tried_at is None else Instant(row.tried_at),
        reason=None if row.reason is None else Reason(row.reason),
    )
