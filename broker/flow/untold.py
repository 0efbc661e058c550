"""Untold: what a webhook's administration has heard of already is news to it again.

Refuses: nothing.
Keeps: whoever sends a message decides what it tells under the same lock.
"""

from typing import Final

from sqlalchemy import func, or_, select, update

from broker.flow.deliveries import DeliveryState
from broker.store.access_tables import webhooks
from broker.store.engine import Transaction
from broker.store.tables import deliveries
from schemas.names import PartyId

LOCK: Final = b"webhooks"
"""Held exclusively by whoever changes a webhook, or decides what it is told."""


async def untell(tx: Transaction, recipient: PartyId, subscription: bytes) -> None:
    """What waits of a subscription is told by the next message to each of its recipient's webhooks.

    One whose message is on its way, and not being sent at this moment, will hear by that.
    """
    await tx.lock_exclusive([LOCK])
    waits = (deliveries.c.recipient == recipient, deliveries.c.state == DeliveryState.PENDING.value)
    query = select(func.min(deliveries.c.seq)).where(*waits, deliveries.c.subscription == subscription)
    oldest = (await tx.execute(query)).scalar_one()
    if oldest is None:
        return
    idle = or_(webhooks.c.message.is_(None), webhooks.c.lease_until.is_not(None))
    told = (webhooks.c.party == recipient, webhooks.c.told_seq >= oldest, idle)
    await tx.execute(update(webhooks).where(*told).values(told_seq=oldest - 1))
