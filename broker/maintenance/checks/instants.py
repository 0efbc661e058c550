"""Instants check: nothing is dated after now. A clock that was wrong leaves epochs and entries of days to come."""

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import func, select

from broker.maintenance.checks.finding import Finding
from broker.store.engine import Transaction
from broker.store.tables import consent_epochs, declarations, deliveries, gate_epochs, ledger_checkpoints, meta
from broker.timekeeping import BELIEVED
from schemas.names import Instant

SLACK_MS: Final = 86_400_000
"""Machines differ by seconds, not by a day."""

_COLUMNS: Final = (
    gate_epochs.c.opened_at,
    gate_epochs.c.destroyed_at,
    consent_epochs.c.opened_at,
    consent_epochs.c.destroyed_at,
    ledger_checkpoints.c.at,
    declarations.c.received_at,
    deliveries.c.planned_at,
)

_NEWEST: Final = select(*(select(func.max(column)).scalar_subquery() for column in _COLUMNS))


async def check(tx: Transaction, now: Instant) -> AsyncIterator[Finding]:
    """The newest instant of each kind, and the one that the clock was last believed at."""
    found = (await tx.execute(_NEWEST)).one()
    for column, newest in zip(_COLUMNS, found, strict=True):
        if newest is not None and newest > now + SLACK_MS:
            yield _finding(f"{column.table.name}.{column.name}", newest - now)
    believed = (await tx.execute(select(meta.c.value).where(meta.c.name == BELIEVED))).scalar()
    if believed is not None and int(believed) > now + SLACK_MS:
        yield _finding(f"meta/{BELIEVED}", int(believed) - now)


def _finding(place: str, ahead_ms: int) -> Finding:
    return Finding(
        "instants.future", place, f"it lies {ahead_ms // 86_400_000} days after now, by this machine's clock"
    )
