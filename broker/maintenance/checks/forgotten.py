"""Forgotten check: nothing is taken for pruned that the gate could still open when it went."""

from collections.abc import AsyncIterator, Iterable

from broker.flow import forgotten
from broker.maintenance.checks.finding import Finding
from broker.store.engine import Transaction
from schemas.facts import FactKind, Facts


async def check(tx: Transaction, entries: Iterable[Facts]) -> AsyncIterator[Finding]:
    """What is gone was sealed to a gate key of its time, which was closed after that and then destroyed: so the ledger
    tells of a destruction after the horizon.
    """
    try:
        horizon = await forgotten.horizon(tx)
    except ValueError:
        yield Finding("forgotten.horizon", "meta/forgotten", "it is no instant")
        return
    destroyed = [entry.at for entry in entries if entry.kind is FactKind.EPOCH_DESTROYED]
    if horizon is not None and horizon > max(destroyed, default=-1):
        yield Finding("forgotten.horizon", "meta/forgotten", "no gate key was destroyed since, so nothing may be gone")
