"""Backlog: what waits for one administration, and since when.

Refuses: nothing.
Keeps: an administration is told about its own deliveries alone, and no citizen.
"""

from dataclasses import dataclass

from sqlalchemy import func, select

from broker.deliveries import ACTIVE, DEAD, DeliveryState, in_states
from broker.store.engine import Transaction
from broker.store.tables import dead_letters, deliveries
from schemas.names import Instant, PartyId


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries not handed out yet, handed out and not acknowledged, given up; when the oldest of the first two was
    planned.
    """

    waiting: int
    handed: int
    dead_letters: int
    oldest_at: Instant | None


async def of(tx: Transaction, recipient: PartyId) -> Backlog:
    """The backlog of one administration."""
    rows = await tx.execute(
        select(deliveries.c.state, func.count().label("total"), func.min(deliveries.c.planned_at).label("oldest"))
        .where(deliveries.c.recipient == recipient, in_states(ACTIVE))
        .group_by(deliveries.c.state)
    )
    found = {DeliveryState(row.state): row for row in rows}
    waiting = found[DeliveryState.PENDING].total if DeliveryState.PENDING in found else 0
    dead = await tx.execute(
        select(func.count())
        .select_from(dead_letters)
        .join(deliveries, deliveries.c.id == dead_letters.c.delivery)
        .where(deliveries.c.recipient == recipient, in_states(DEAD), dead_letters.c.replayed_at.is_(None))
    )
    return Backlog(
        waiting=waiting,
        handed=sum(row.total for row in found.values()) - waiting,
        dead_letters=dead.scalar_one(),
        oldest_at=min((Instant(row.oldest) for row in found.values()), default=None),
    )
