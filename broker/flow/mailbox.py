"""Mailbox: each agency's deliveries, handed out in order for each citizen, kept until they are acknowledged or parked.

Refuses: to hand out a citizen's next delivery while one before it is on its way, or what its recipient has paused; an
acknowledgement without a release.
Keeps: a leased delivery comes again when its lease has run out and its back-off has passed, whoever asks; one tried too
often is parked with its reason, never dropped; the same acknowledgement twice changes nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)

from broker.flow import answers
from broker.flow.answers import Answered, End, Later, Partly, Rejection
from broker.flow.deliveries import (
    ACTIVE,
    Delivery,
    DeliveryState,
    Stage,
    fetch,
    in_states,
    load_own,
    mailbox_lock,
    reading,
    record,
)
from broker.ledger.openings import NONE, StepReader, Steps
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import RowName, logger
from broker.store.engine import Transaction
from broker.store.tables import dead_letters, deliveries, paused_subscriptions
from consent.asking import one_of
from schemas.errors import Refused
from schemas.facts import TO_REPAIR, FactKind, until_commitment
from schemas.names import DeliveryId, GrantId, Instant, PartyId, Reason, SchemaId
from schemas.retry import doubled_ms

PULL_BYTES: Final = 8 * 1_048_576
"""What the deliveries of one pull may weigh together, as they are locked; a single one may weigh more."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a lease lasts, how often to try, how long to wait between: doubling from `first_ms` to `most_ms`.

    An agency that says nothing is waited for like one that asks to wait: 48 attempts are nine days, not 48 leases.
    """

    lease_ms: int = 60_000
    attempts: int = 48
    first_ms: int = 5_000
    most_ms: int = 6 * 3_600_000

    def wait_ms(self, attempts: int) -> int:
        """Milliseconds between the n-th attempt (from 1) and the next one."""
        return doubled_ms(self.first_ms, self.most_ms, attempts)


Names = Callable[[SchemaId], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may be handed out, and the grant that whoever hands it out locks first."""

    id: DeliveryId
    grant_id: GrantId


def _free() -> ColumnElement[bool]:
    """What may be handed out to `to` at the instant `now`: due, not under a lease, not paused, not held, and first in
    line for its citizen among what is neither paused nor held.
    """
    paused = select(paused_subscriptions.c.subscription)
    now: BindParameter[int] = bindparam("now")
    before = deliveries.alias("before")  # declared before, whenever it was planned: a resumed one comes late
    return and_(
        deliveries.c.recipient == bindparam("to"),
        in_states(ACTIVE),
        deliveries.c.available_at <= now,
        or_(deliveries.c.held_until.is_(None), deliveries.c.held_until <= now),
        deliveries.c.subscription.not_in(paused),
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now),
        ~exists().where(
            before.c.recipient == deliveries.c.recipient,
            before.c.subject == deliveries.c.subject,
            tuple_(before.c.declaration, before.c.seq) < tuple_(deliveries.c.declaration, deliveries.c.seq),
            before.c.state.in_(sorted(state.value for state in ACTIVE)),
            before.c.subscription.not_in(paused),
            or_(before.c.held_until.is_(None), before.c.held_until <= now),
        ),
    )


_MOST: Final = bindparam("most", type_=Integer)
_FREE: Final = reading(_free()).limit(_MOST)
_DUE: Final = (
    select(deliveries.c.id, deliveries.c.grant_id, func.length(deliveries.c.locked).label("size"))
    .where(_free())
    .order_by(deliveries.c.seq)
    .limit(_MOST)
)
_STILL_FREE: Final = reading(_free(), one_of(deliveries.c.id, "ids"))

_LEASED: Final = {
    "attempts": deliveries.c.attempts + 1,
    "lease_until": bindparam("lease"),
    "available_at": bindparam("due"),
    "handed_at": bindparam("now"),
}
_THESE: Final = update(deliveries).where(one_of(deliveries.c.id, "ids"))
_OPENED: Final = _THESE.values(**_LEASED, state=DeliveryState.RELEASED.value, released_at=bindparam("now"))
_ENDED: Final = _THESE.values(
    state=bindparam("ended"),
    lease_until=None,
    done_at=bindparam("now"),
    code=bindparam("why"),
    reason=bindparam("told"),
    until=bindparam("day"),
    taken=bindparam("some"),
)
_HANDED: Final = _THESE.values(
    **_LEASED,
    state=case(
        (deliveries.c.state == DeliveryState.PENDING.value, DeliveryState.HANDED.value), else_=deliveries.c.state
    ),
)


class Mailbox:
    """The queues of all agencies, inside the caller's transaction."""

    def __init__(self, recorder: Recorder, ledgered: StepReader, patience: RetryPolicy, names: Names) -> None:
        """`names`: the fields of a schema."""
        self._names = names
        self._recorder = recorder
        self._ledgered = ledgered
        self._patience = patience

    async def ready(self, tx: Transaction, recipient: PartyId, limit: int, at: Instant) -> list[Delivery]:
        """Up to `limit` deliveries that wait to be handed out, without leasing them."""
        return await _not_paused(tx, await fetch(tx, _FREE, {"to": recipient, "now": at, "most": limit}))

    async def due(self, tx: Transaction, recipient: PartyId, limit: int, at: Instant) -> list[Due]:
        """The same as far as `claim` needs to know: one question, and little comes back. At least one, and no more than
        PULL_BYTES of them: what is answered is in memory, here and there.
        """
        rows = list(await tx.execute(_DUE, {"to": recipient, "now": at, "most": limit}))
        weights = accumulate(row.size for row in rows)
        fit = sum(1 for weight in weights if weight <= PULL_BYTES)
        return [Due(DeliveryId(row.id), GrantId(row.grant_id)) for row in rows[: max(1, fit)]]

    async def claim(self, tx: Transaction, recipient: PartyId, due: Sequence[Due], at: Instant) -> list[Delivery]:
        """Those of these that may still be handed out, for a caller that holds the mailbox's lock and goes on with
        `hand_out`. What was tried too often is parked instead, and not returned.
        """
        free = await fetch(tx, _STILL_FREE, {"to": recipient, "now": at, "ids": [one.id for one in due]})
        return await self._not_worn_out(tx, await _not_paused(tx, free), at)

    async def hand_out(self, tx: Transaction, claimed: Sequence[Delivery], at: Instant, *, opened: bool) -> None:
        """Under a lease from now on; `opened`: with its keys, so that it can be acknowledged."""
        if not claimed:
            return
        lease, waits = self._patience.lease_ms, defaultdict[int, list[DeliveryId]](list)
        for delivery in claimed:  # the wait goes on from here: what is silent for a lease is not asked every lease
            waits[max(lease, self._patience.wait_ms(delivery.attempts + 1))].append(delivery.id)
        for wait, ids in waits.items():
            told = {"ids": ids, "now": at, "lease": at + lease, "due": at + wait}
            await tx.execute(_OPENED if opened else _HANDED, told)
        mark("mailbox.handed-out")
        # Crash here: nobody was answered, and the transaction is gone.

    async def lease(self, tx: Transaction, recipient: PartyId, limit: int, at: Instant) -> list[Delivery]:
        """Hand out up to `limit` deliveries without their keys, which their recipient asks for later."""
        await tx.lock_exclusive([mailbox_lock(recipient)])
        leased = await self._not_worn_out(tx, await self.ready(tx, recipient, limit, at), at)
        await self.hand_out(tx, leased, at, opened=False)
        return leased

    async def _not_worn_out(self, tx: Transaction, found: Sequence[Delivery], at: Instant) -> list[Delivery]:
        """Those that may be tried once more; the others are parked."""
        left = []
        for delivery in found:
            if delivery.attempts >= self._patience.attempts:
                code = delivery.code or "mailbox.attempts-exhausted"
                await self.park(tx, delivery, Rejection(code, Reason.PARKED), at)
            else:
                left.append(delivery)
        return left

    async def hold(self, tx: Transaction, recipient: PartyId, ids: Sequence[DeliveryId], until: Instant) -> None:
        """These, leased before, lie where their recipient finds them, and are not handed out again before `until`.

        One that ended meanwhile, or that the consent took back, stays as it is.
        """
        await tx.lock_exclusive([mailbox_lock(recipient)])
        await tx.execute(update(deliveries).where(_still(ids)).values(lease_until=until, available_at=until))
        mark("mailbox.held")
        # Crash here: the short lease runs out, and they are handed out once more.

    async def give_back(self, tx: Transaction, recipient: PartyId, ids: Sequence[DeliveryId]) -> None:
        """They could not be handed out, for no reason of theirs: due at once, and that attempt does not count."""
        await tx.lock_exclusive([mailbox_lock(recipient)])
        values = {"attempts": deliveries.c.attempts - 1, "lease_until": None, "available_at": deliveries.c.handed_at}
        await tx.execute(update(deliveries).where(_still(ids), deliveries.c.attempts > 0).values(values))
        mark("mailbox.given-back")
        # Crash here: the lease runs out by itself, and one attempt of many is spent.

    async def acknowledge(
        self, tx: Transaction, recipient: PartyId, ends: Mapping[DeliveryId, End], at: Instant
    ) -> dict[DeliveryId, Refused]:
        """Record the ends of deliveries; the same end again changes nothing, and Later nothing of what has ended.

        Returns those that cannot be, each with its Refused: `mailbox.unknown-delivery` (another agency's is as
        unknown as one that never was), `mailbox.not-released`, `mailbox.already-applied`, `mailbox.not-handed`,
        `mailbox.other-answer`, `mailbox.fields`, `mailbox.until` (`broker.flow.answers`).
        """
        await tx.lock_exclusive([mailbox_lock(recipient)])
        found = await load_own(tx, recipient, list(ends))
        steps = await self._ledgered.of(tx, _to_look_up(ends, found.values()))
        refused: dict[DeliveryId, Refused] = {}
        applied = []
        for of, end in ends.items():
            try:
                if of not in found:
                    raise Refused("mailbox.unknown-delivery", "/delivery")
                delivery = found[of]
                some = answers.taken(end, delivery, self._names)
                if answers.repeated(end, delivery, some):
                    continue
                self._check(end, delivery, steps.get(of, NONE), at)
            except Refused as fault:
                refused[of] = fault
                continue
            if end is None:
                applied.append(delivery)
            else:
                await self._end(tx, delivery, end, some, at)
        if applied:
            await self._finish(tx, applied, DeliveryState.APPLIED, at)
        for delivery in applied:
            record(tx, self._recorder, FactKind.APPLIED, delivery, at, actor=delivery.recipient)
        return refused

    def _check(self, end: End, delivery: Delivery, steps: Steps, at: Instant) -> None:
        """Raises Refused where this cannot be answered now."""
        answers.check(end, delivery, at)
        if not isinstance(end, Rejection | Later) and not steps.left:
            logger().error("mailbox.never-released", delivery=delivery.id, recipient=delivery.recipient)
            raise Refused("mailbox.not-released", "/delivery")

    async def _end(
        self,
        tx: Transaction,
        delivery: Delivery,
        end: Rejection | Later | Answered | Partly,
        some: bytes | None,
        at: Instant,
    ) -> None:
        if isinstance(end, Later):
            await self._put_off(tx, delivery, end, at)
        elif isinstance(end, Rejection):
            await self._reject(tx, delivery, end, at)
        elif isinstance(end, Partly):
            await self._partly(tx, delivery, some or b"", at)
        else:
            await self._answer(tx, delivery, end, at)

    async def _partly(self, tx: Transaction, delivery: Delivery, some: bytes, at: Instant) -> None:
        """Applied, with a note: which fields."""
        await self._finish(tx, [delivery], DeliveryState.APPLIED, at, told=Reason.PARTLY, some=some)
        less = replace(delivery, fields=some)
        record(tx, self._recorder, FactKind.APPLIED, less, at, actor=delivery.recipient, reason=Reason.PARTLY)

    async def _answer(self, tx: Transaction, delivery: Delivery, end: Answered, at: Instant) -> None:
        """For the person to repair, or for somebody there to decide. It holds up nothing that comes after it."""
        state = DeliveryState.ANSWERED if end.reason in TO_REPAIR else DeliveryState.AWAITING
        await self._finish(tx, [delivery], state, at, told=end.reason, day=end.until)
        day = None if end.until is None else until_commitment(delivery.id, end.until)
        record(
            tx, self._recorder, FactKind.ANSWERED, delivery, at, actor=delivery.recipient, reason=end.reason, detail=day
        )

    async def _reject(self, tx: Transaction, delivery: Delivery, why: Rejection, at: Instant) -> None:
        """The agency cannot take it: it waits among the dead letters."""
        await self._finish(tx, [delivery], DeliveryState.REJECTED, at, why=why.code, told=why.reason)
        self._bury(tx, delivery, why, at)
        record(tx, self._recorder, FactKind.REJECTED, delivery, at, actor=delivery.recipient, reason=why.reason)

    async def _put_off(self, tx: Transaction, delivery: Delivery, later: Later, at: Instant) -> None:
        """Take the lease back and wait, once for each lease. Tried too often, it is parked."""
        if delivery.state not in ACTIVE or delivery.lease_until is None:
            return
        if delivery.attempts >= self._patience.attempts:
            await self.park(tx, delivery, Rejection(later.code, Reason.PARKED), at)
            return
        wait = max(later.after_ms or 0, self._patience.wait_ms(delivery.attempts))
        await tx.execute(
            update(deliveries)
            .where(deliveries.c.seq == delivery.seq)
            .values(lease_until=None, available_at=at + min(wait, self._patience.most_ms), code=later.code)
        )
        mark("mailbox.later")
        # Crash here: the lease runs out by itself, and the delivery comes again, only without the reason.

    async def park(self, tx: Transaction, delivery: Delivery, why: Rejection, at: Instant) -> None:
        """Set a delivery aside with its reason; the citizen's next one goes on. The caller holds the mailbox's lock."""
        await self._finish(tx, [delivery], DeliveryState.PARKED, at, why=why.code, told=why.reason)
        self._bury(tx, delivery, why, at)
        record(tx, self._recorder, FactKind.REJECTED, delivery, at, reason=why.reason)

    async def _finish(
        self,
        tx: Transaction,
        ended: Sequence[Delivery],
        state: DeliveryState,
        at: Instant,
        *,
        why: str | None = None,
        told: Reason | None = None,
        day: str | None = None,
        some: bytes | None = None,
    ) -> None:
        values = {
            "ended": state.value,
            "now": at,
            "why": why,
            "told": None if told is None else told.value,
            "day": day,
            "some": some,
        }
        await tx.execute(_ENDED, {"ids": [delivery.id for delivery in ended], **values})
        mark("mailbox.finished")
        # Crash here: neither the state nor the ledger entry exists; the agency acknowledges again.

    def _bury(self, tx: Transaction, delivery: Delivery, why: Rejection, at: Instant) -> None:
        letter = {"stage": Stage.DELIVERY.value, "delivery": delivery.id, "reason": why.reason.value, "code": why.code}
        tx.add(dead_letters, {**letter, "attempts": delivery.attempts, "at": at})


def _to_look_up(ends: Mapping[DeliveryId, End], found: Iterable[Delivery]) -> list[Delivery]:
    """Of which the ledger has to say that they were released."""
    rest = (one for one in found if one.state is not DeliveryState.APPLIED)
    return [one for one in rest if not isinstance(ends[one.id], Rejection | Later)]


async def _not_paused(tx: Transaction, free: Sequence[Delivery]) -> list[Delivery]:
    """Those whose recipient has not paused what they are planned for, as the journal of endings knows it: a pause whose
    row is gone is a pause.
    """
    ended = await tx.endings()
    told = {one.subscription: ended.newest(paused_subscriptions.name, one.subscription) for one in free}
    paused = {subscription: pause for subscription, pause in told.items() if pause is not None and pause.least > 0}
    for subscription, pause in paused.items():
        logger().error(
            "endings.row-contradicts", _ended_at=pause.at, row=RowName.of(paused_subscriptions.name, subscription)
        )
    return [one for one in free if one.subscription not in paused]


def _still(ids: Sequence[DeliveryId]) -> ColumnElement[bool]:
    """Those of these that are on their way. By their ids alone, as in `load_own`."""
    return and_(deliveries.c.id.in_(ids), in_states(ACTIVE))
