"""First-ledger check: the ledgers before today's ended as its first entries say, and as the key store remembers; the
entries of the first format are those of the oldest.
"""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import func, select

from broker.ledger import first_ledger as first
from broker.ledger import origins, predecessors
from broker.maintenance.checks.finding import Finding
from broker.ports import KeyStore
from broker.store.engine import Transaction
from broker.store.tables import first_ledger
from schemas import following
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.note import VerifierKey


async def facts(tx: Transaction) -> list[Facts]:
    """What the ledger of the first format said; nothing where a row of it is no entry, which `check` tells."""
    try:
        return await first.facts(tx)
    except (Refused, TypeError):
        return []


async def check(tx: Transaction, told: Sequence[Facts], log: VerifierKey, keys: KeyStore) -> AsyncIterator[Finding]:
    """`told`: what today's ledger says; `log`: its key, under the name of the first ledger."""
    named = {facts.detail for facts in told if facts.kind is FactKind.LEDGER_OPENED}
    kept = (await tx.execute(select(func.count()).select_from(first_ledger))).scalar_one()
    if kept:
        tree = await first.tree(tx, log.name)
        if following.commit(tree) not in named:
            yield Finding("first-ledger.edited", "first_ledger", "it is not a ledger that today's says it follows")
    notes = await tx.conn.run_sync(predecessors.notes_of)
    remembered = list(origins.ended(keys).values())
    if remembered and notes != remembered[::-1]:
        yield Finding("ledger.predecessor", "meta", "the ledgers before ended otherwise: the key store remembers")
    try:
        ends = {following.commit(following.signed_end(note.encode(), log)) for note in notes}
    except Refused as fault:
        yield Finding("ledger.predecessor", "meta", f"how a ledger before ended does not verify: {fault.code}")
        return
    if ends != named:
        yield Finding("ledger.predecessor", "ledger_entries", "the ledgers that it says it follows are not those kept")
