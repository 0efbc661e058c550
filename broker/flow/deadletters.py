"""Dead letters: what could not be routed or delivered, kept with its stage, reason and attempts, until somebody
replays it.

Refuses: to replay what was replayed, or what was applied meanwhile.
Keeps: a replay obeys the consent of today, not of the day of the failure; nothing is ever dropped from here. Under a
consent that was given since then only an operator replays (docs/adr/0014): an administration that waits gains nothing.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update

from broker.directory.lookup import Lookup
from broker.flow.declared import known
from broker.flow.deliveries import DeliveryState, Stage, load, record
from broker.flow.planner import Planner
from broker.flow.router import Router
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock, Position, Record
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import dead_letters, declarations, deliveries
from consent.policy import Deny
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import DeliveryId, Instant, PartyId, Reason, instant_of

LOCK = b"dead-letters"
EPOCH = Instant(0)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One of them. `delivery` for the stage `delivery`, the log's place for the stage `router`."""

    id: int
    stage: Stage
    reason: Reason
    code: str
    attempts: int
    at: Instant
    replayed_at: Instant | None
    delivery: DeliveryId | None
    recipient: str | None
    event_type: str | None
    place: str | None
    size: int | None


class DeadLetters:
    """The operator's side of what failed."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        router: Router,
        recorder: Recorder,
        macs: RowMacs,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._router = router
        self._recorder = recorder
        self._macs = macs
        self._clock = clock

    async def list(
        self,
        *,
        replayed: bool = False,
        recipient: PartyId | None = None,
        after: int = 0,
        since: Instant = EPOCH,
        limit: int = 200,
    ) -> list[DeadLetter]:
        """Those that wait, oldest first; with `replayed` the others too, and those that were applied after all.

        `recipient`: those of one administration; `after`: those with a greater number; `since`: those that died then or
        later.
        """
        applied = deliveries.c.state.is_not_distinct_from(DeliveryState.APPLIED.value)
        waiting = [] if replayed else [dead_letters.c.replayed_at.is_(None), ~applied]
        mine = [] if recipient is None else [deliveries.c.recipient == recipient]
        later = (dead_letters.c.id > after, dead_letters.c.at >= since)
        async with self._store.read() as tx:
            rows = await tx.execute(_SELECT.where(*waiting, *mine, *later).order_by(dead_letters.c.id).limit(limit))
            return [_dead_letter(row) for row in rows]

    async def show(self, number: int) -> DeadLetter:
        """One of them. Raises Refused `dead.unknown`."""
        async with self._store.read() as tx:
            return _dead_letter(await self._row(tx, number))

    async def replay(self, number: int) -> Reason | None:
        """Try again under today's consent. Returns None when it is on its way, or why it stays withheld.

        Raises Refused: `dead.unknown`, `dead.replayed`, `dead.applied`, or the code of the check that fails again.
        """
        return await self._replay(number, by=None)

    async def _replay(self, number: int, *, by: PartyId | None) -> Reason | None:
        """`by`: the administration whose it is; None: an operator."""
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            row = await self._row(tx, number)
            if row.replayed_at is not None:
                raise Refused("dead.replayed", "/id")
            at = self._clock()
            if row.stage == Stage.ROUTER.value:
                await self._replay_record(tx, row)
                reason = None
            else:
                reason = await self._replay_delivery(tx, DeliveryId(row.delivery), at, by=by)
            await tx.execute(update(dead_letters).where(dead_letters.c.id == number).values(replayed_at=at))
            mark("dead.replayed")
            # Crash here: nothing was planned and the letter still waits; the operator replays it again.
        return reason

    async def replay_own(self, recipient: PartyId, of: DeliveryId) -> Reason | None:
        """As `replay`, for an administration that tries its own again, under the consents that were there when it was
        routed. Raises Refused as `replay` does: another's is as unknown as one that never was.
        """
        mine = (dead_letters.c.delivery == of, deliveries.c.recipient == recipient)
        async with self._store.read() as tx:
            row = (await tx.execute(_SELECT.where(*mine).order_by(dead_letters.c.id.desc()).limit(1))).one_or_none()
        if row is None:
            raise Refused("dead.unknown", "/delivery")
        return await self._replay(row.id, by=recipient)

    async def _replay_record(self, tx: Transaction, row: Row[Any]) -> None:
        place = Position(row.topic, row.partition, row.offset)
        await self._router.route_again(tx, Record(place, b"-", row.record, {}, Instant(row.at)))

    async def _replay_delivery(
        self, tx: Transaction, of: DeliveryId, at: Instant, *, by: PartyId | None
    ) -> Reason | None:
        delivery = (await load(tx, deliveries.c.id == of))[0]
        if delivery.state is DeliveryState.APPLIED:
            raise Refused("dead.applied", "/id")
        record(tx, self._recorder, FactKind.REPLAYED, delivery, at, actor=by, reason=delivery.reason)
        subscription = (await self._lookup.subscriptions_by_id(tx)).get(delivery.subscription)
        if subscription is None:  # its row lost its seal, or is not there
            raise Refused("subscribing.unknown", "/subscription")
        found = await known(tx, self._macs, declarations.c.seq == delivery.declaration)
        if not found:
            raise Corrupt("rows.unsigned", table=declarations.name)
        keys = self._keyring.consent_epochs()
        decision = await self._planner.replan(
            tx, found[0], subscription, keys, at, replayed=delivery.id, every=by is None
        )
        return decision.reason if isinstance(decision, Deny) else None

    async def _row(self, tx: Transaction, number: int) -> Row[Any]:
        row = (await tx.execute(_SELECT.where(dead_letters.c.id == number))).one_or_none()
        if row is None:
            raise Refused("dead.unknown", "/id")
        return row


_SELECT = (
    select(dead_letters, deliveries.c.recipient, declarations.c.event_type)
    .outerjoin(deliveries, deliveries.c.id == dead_letters.c.delivery)
    .outerjoin(declarations, declarations.c.seq == deliveries.c.declaration)
)


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        stage=Stage(row.stage),
        reason=Reason(row.reason),
        code=row.code,
        attempts=row.attempts,
        at=Instant(row.at),
        replayed_at=instant_of(row.replayed_at),
        delivery=DeliveryId(row.delivery) if row.delivery is not None else None,
        recipient=row.recipient,
        event_type=row.event_type,
        place=f"{row.topic}/{row.partition}/{row.offset}" if row.topic is not None else None,
        size=len(row.record) if row.record is not None else None,
    )
