"""Mailbox: each agency's deliveries, handed out in order for each citizen, kept until they are acknowledged or parked.

Refuses: to hand out a citizen's next delivery while one before it is on its way; an acknowledgement without a release.
Keeps: a leased delivery comes again when its lease runs out; one tried too often is parked with its reason, never
dropped; the same acknowledgement twice changes nothing.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, insert, or_, update

from broker.crashpoints import mark
from broker.deliveries import ACTIVE, Delivery, DeliveryState, Stage, in_states, load, record
from broker.ledger import Recorder
from broker.store.engine import Transaction
from broker.store.tables import dead_letters, deliveries
from schemas.entry import EntryKind
from schemas.errors import Refused
from schemas.names import DeliveryId, Instant, PartyId, Reason


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a lease lasts, how often to try, and how long to wait between: doubling from `first_ms` to `most_ms`."""

    lease_ms: int = 60_000
    attempts: int = 12
    first_ms: int = 5_000
    most_ms: int = 6 * 3_600_000

    def wait_ms(self, attempts: int) -> int:
        """Milliseconds between the n-th attempt (from 1) and the next one."""
        return min(self.most_ms, self.first_ms << min(max(attempts - 1, 0), 40))


def _free(recipient: PartyId, at: Instant) -> ColumnElement[bool]:
    """What may be handed out now: due, not under a lease, and first in line for its citizen."""
    before = deliveries.alias("before")
    return and_(
        deliveries.c.recipient == recipient,
        in_states(ACTIVE),
        deliveries.c.available_at <= at,
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= at),
        ~exists().where(
            before.c.recipient == deliveries.c.recipient,
            before.c.subject == deliveries.c.subject,
            before.c.seq < deliveries.c.seq,
            before.c.state.in_(sorted(state.value for state in ACTIVE)),
        ),
    )


class Mailbox:
    """The queues of all agencies, inside the caller's transaction."""

    def __init__(self, recorder: Recorder, patience: Patience) -> None:
        self._recorder = recorder
        self._patience = patience

    async def ready(self, tx: Transaction, recipient: PartyId, limit: int, at: Instant) -> list[Delivery]:
        """Up to `limit` deliveries that wait to be handed out, without leasing them."""
        return await load(tx, _free(recipient, at), limit=limit)

    async def lease(self, tx: Transaction, recipient: PartyId, limit: int, at: Instant) -> list[Delivery]:
        """Take up to `limit` deliveries for one lease. What was tried too often is parked instead, and not returned."""
        free = await load(tx, _free(recipient, at), limit=limit)
        leased = []
        for delivery in free:
            if delivery.attempts >= self._patience.attempts:
                await self.park(tx, delivery, delivery.code or "mailbox.attempts-exhausted", at)
            else:
                leased.append(delivery)
        if leased:
            await tx.execute(
                update(deliveries)
                .where(deliveries.c.seq.in_([delivery.seq for delivery in leased]))
                .values(attempts=deliveries.c.attempts + 1, lease_until=at + self._patience.lease_ms, handed_at=at)
            )
            await tx.execute(
                update(deliveries)
                .where(
                    deliveries.c.seq.in_([delivery.seq for delivery in leased]),
                    deliveries.c.state == DeliveryState.PENDING.value,
                )
                .values(state=DeliveryState.HANDED.value)
            )
            mark("mailbox.leased")
            # Crash here: nobody was answered; the transaction is gone, or the lease runs out by itself.
        return leased

    async def acknowledge_applied(self, tx: Transaction, recipient: PartyId, of: DeliveryId, at: Instant) -> None:
        """The agency wrote it into its own system. Raises Refused: `mailbox.unknown-delivery`,
        `mailbox.not-released`.
        """
        delivery = await self._own(tx, recipient, of)
        if delivery.state is DeliveryState.APPLIED:
            return
        if delivery.released_at is None:
            raise Refused("mailbox.not-released", "/delivery")
        await self._finish(tx, delivery, DeliveryState.APPLIED, at)
        record(tx, self._recorder, EntryKind.APPLIED, delivery, at, actor=recipient)

    async def acknowledge_rejected(
        self, tx: Transaction, recipient: PartyId, of: DeliveryId, *, code: str, reason: Reason, at: Instant
    ) -> None:
        """The agency cannot take it: it waits among the dead letters.

        Raises Refused: `mailbox.unknown-delivery`, `mailbox.already-applied`, `mailbox.not-handed`.
        """
        delivery = await self._own(tx, recipient, of)
        if delivery.state is DeliveryState.REJECTED:
            return
        if delivery.state is DeliveryState.APPLIED:
            raise Refused("mailbox.already-applied", "/delivery")
        if delivery.state not in ACTIVE or delivery.handed_at is None:
            raise Refused("mailbox.not-handed", "/delivery")
        await self._finish(tx, delivery, DeliveryState.REJECTED, at, reason=reason, code=code)
        await self._bury(tx, delivery, reason, code, at)
        record(tx, self._recorder, EntryKind.REJECTED, delivery, at, actor=recipient, reason=reason)

    async def retry_later(
        self, tx: Transaction, recipient: PartyId, of: DeliveryId, *, code: str, after_ms: int | None, at: Instant
    ) -> None:
        """The agency's system is away: give the lease back and wait. Tried too often, it is parked.

        An ended delivery stays as it is. Raises Refused `mailbox.unknown-delivery`.
        """
        delivery = await self._own(tx, recipient, of)
        if delivery.state not in ACTIVE:
            return
        if delivery.attempts >= self._patience.attempts:
            await self.park(tx, delivery, code, at)
            return
        wait = max(after_ms or 0, self._patience.wait_ms(delivery.attempts))
        await tx.execute(
            update(deliveries)
            .where(deliveries.c.seq == delivery.seq)
            .values(lease_until=None, available_at=at + min(wait, self._patience.most_ms), code=code)
        )
        mark("mailbox.later")
        # Crash here: the lease runs out by itself, and the delivery comes again, only without the reason.

    async def park(self, tx: Transaction, delivery: Delivery, code: str, at: Instant) -> None:
        """Set a delivery aside with its reason; the citizen's next one goes on."""
        await self._finish(tx, delivery, DeliveryState.PARKED, at, reason=Reason.PARKED, code=code)
        await self._bury(tx, delivery, Reason.PARKED, code, at)
        record(tx, self._recorder, EntryKind.REJECTED, delivery, at, reason=Reason.PARKED)

    async def _own(self, tx: Transaction, recipient: PartyId, of: DeliveryId) -> Delivery:
        """The recipient's delivery; another agency's is as unknown as one that never was."""
        found = await load(tx, deliveries.c.id == of, deliveries.c.recipient == recipient)
        if not found:
            raise Refused("mailbox.unknown-delivery", "/delivery")
        return found[0]

    async def _finish(
        self,
        tx: Transaction,
        delivery: Delivery,
        state: DeliveryState,
        at: Instant,
        *,
        reason: Reason | None = None,
        code: str | None = None,
    ) -> None:
        ended: dict[str, Any] = {"state": state.value, "lease_until": None, "done_at": at, "code": code}
        ended["reason"] = reason.value if reason is not None else None
        await tx.execute(update(deliveries).where(deliveries.c.seq == delivery.seq).values(**ended))
        mark("mailbox.finished")
        # Crash here: neither the state nor the ledger entry exists; the agency acknowledges again.

    async def _bury(self, tx: Transaction, delivery: Delivery, reason: Reason, code: str, at: Instant) -> None:
        await tx.execute(
            insert(dead_letters).values(
                stage=Stage.DELIVERY.value,
                delivery=delivery.id,
                reason=reason.value,
                code=code,
                attempts=delivery.attempts,
                at=at,
            )
        )
