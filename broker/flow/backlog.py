"""Backlog: what waits for one administration, and since when.

Refuses: nothing.
Keeps: an administration is told about its own deliveries alone, and no citizen.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, literal, null, select, union_all

from broker.flow.deliveries import ACTIVE, DEAD, DeliveryState, in_states
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


_MINE: Final = deliveries.c.recipient == bindparam("recipient")
_TOLD: Final = union_all(
    select(deliveries.c.state, func.count().label("total"), func.min(deliveries.c.planned_at).label("oldest"))
    .where(_MINE, in_states(ACTIVE))
    .group_by(deliveries.c.state),
    select(literal("dead"), func.count(), null())
    .select_from(dead_letters)
    .join(deliveries, deliveries.c.id == dead_letters.c.delivery)
    .where(_MINE, in_states(DEAD), dead_letters.c.replayed_at.is_(None)),
)


async def of(tx: Transaction, recipient: PartyId) -> Backlog:
    """The backlog of one administration: one statement."""
    rows = await tx.execute(_TOLD, {"recipient": recipient})
    found = {row.state: row for row in rows}
    dead = found.pop("dead").total
    waiting = found[DeliveryState.PENDING.value].total if DeliveryState.PENDING.value in found else 0
    return Backlog(
        waiting=waiting,
        handed=sum(row.total for row in found.values()) - waiting,
        dead_letters=dead,
        oldest_at=min((Instant(row.oldest) for row in found.values()), default=None),
    )
