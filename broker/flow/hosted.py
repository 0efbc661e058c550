"""Hosted: the mailbox of an agency whose connector runs beside the broker, as `connectors` expects it.

Refuses: to know more than a remote agency would: it goes through mailbox and gate like everybody.
Keeps: part of the composition, like `wiring` and `cli`: the one place where broker and connectors meet.
"""

from collections.abc import Mapping, Sequence

from broker.flow.answers import Answered, End, Later, Partly, Rejection
from broker.flow.deliveries import Delivery
from broker.flow.gate import Gate, Released
from broker.flow.mailbox import Due, Mailbox
from broker.ports import Clock
from broker.store.engine import Store
from connectors import contract
from connectors.contract import Outcome, Pulled, Ready, WithheldDelivery
from schemas.errors import Refused
from schemas.names import DeliveryId, PartyId


class HostedInbox:
    """One agency's inbox, in this process; `connectors.contract.Inbox`."""

    def __init__(self, store: Store, mailbox: Mailbox, gate: Gate, party: PartyId, clock: Clock) -> None:
        self._store = store
        self._mailbox = mailbox
        self._gate = gate
        self._party = party
        self._clock = clock

    async def pull(self, limit: int) -> Pulled:
        """What is due, with its keys, under one lease."""
        return await self.pull_due(await self.due(limit))

    async def pull_due(self, due: Sequence[Due]) -> Pulled:
        """The same for who has looked."""
        return _pulled(await self._gate.pull(self._party, due))

    async def lease(self, limit: int) -> list[Delivery]:
        """Take deliveries without opening them, as an agency does that fetches first and asks for keys later."""
        async with self._store.begin() as tx:
            return await self._mailbox.lease(tx, self._party, limit, self._clock())

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """The keys of these deliveries alone."""
        return _pulled(await self._gate.release(self._party, ids))

    async def acknowledge(self, delivery_id: DeliveryId, outcome: Outcome) -> None:
        """Durable once it returns. Raises Refused `mailbox.*`."""
        for fault in (await self.acknowledge_all({delivery_id: outcome})).values():
            raise fault

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """Every end at once, durable once it returns; those that the mailbox does not take come back with the fault."""
        ends = {delivery: end_of(outcome) for delivery, outcome in ended.items()}
        async with self._store.begin() as tx:
            return await self._mailbox.acknowledge(tx, self._party, ends, self._clock())

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """Give the lease back. Raises Refused `mailbox.*`."""
        async with self._store.begin() as tx:
            refused = await self._mailbox.acknowledge(
                tx, self._party, {delivery_id: Later(code, after_ms)}, self._clock()
            )
        for fault in refused.values():
            raise fault

    async def due(self, limit: int) -> list[Due]:
        """At most `limit` that may be handed out now, for `Gate.pull`."""
        async with self._store.read_one() as tx:
            return await self._mailbox.due(tx, self._party, limit, self._clock())

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """What waits, without leasing it."""
        async with self._store.read() as tx:
            waiting = await self._mailbox.ready(tx, self._party, limit, self._clock())
        return tuple(Ready(delivery.id, delivery.event_type) for delivery in waiting)


def end_of(outcome: Outcome) -> End:
    """What a connector says of a delivery, as the mailbox takes it."""
    match outcome:
        case contract.Applied():
            return None
        case contract.Rejected():
            return Rejection(outcome.code, outcome.reason)
        case contract.Partly():
            return Partly(tuple(outcome.fields))
        case contract.Answered():
            return Answered(outcome.reason, outcome.until)


def _pulled(released: Released) -> Pulled:
    return Pulled(
        locked=released.locked,
        key_release=released.key_release,
        withheld=tuple(WithheldDelivery(delivery, reason) for delivery, reason in released.withheld),
        attempts=released.attempts,
    )
