"""First-ledger check: the entries of the first format are those that the ledger that follows it has committed to."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import func, select

from broker import first_ledger as first
from broker.checks.finding import Finding
from broker.store.engine import Transaction
from broker.store.tables import first_ledger
from schemas.errors import Refused
from schemas.facts import FactKind, Facts


async def facts(tx: Transaction) -> list[Facts]:
    """What it said; nothing where a row of it is no entry, which `check` tells."""
    try:
        return await first.facts(tx)
    except (Refused, TypeError):
        return []


async def check(tx: Transaction, told: Sequence[Facts], origin: str) -> AsyncIterator[Finding]:
    """`told`: what today's ledger says, in its order; `origin`: the name of the one before."""
    opened = [facts for facts in told if facts.kind is FactKind.LEDGER_OPENED]
    kept = (await tx.execute(select(func.count()).select_from(first_ledger))).scalar_one()
    if not opened and not kept:
        return
    tree = await first.tree(tx, origin)
    if len(opened) != 1 or opened[0].detail != first.follows(tree):
        yield Finding("first-ledger.edited", "first_ledger", "it is not the ledger that this one says it follows")
