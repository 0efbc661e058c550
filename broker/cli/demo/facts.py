"""Facts: what the ledger says, read for the story's checks.

Refuses: nothing; an entry that cannot be read is a fault of the ledger and passes through.
Keeps: only reading; positions are those that the sequencer gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from broker.store.engine import Store
from broker.store.tables import ledger_entries
from schemas.entry import Entry, EntryKind
from schemas.names import LeafHash


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry of the ledger with its leaf hash."""

    leaf: LeafHash
    entry: Entry


async def facts_of(store: Store) -> list[Fact]:
    """Every entry, in the order of the log. Raises Refused `entry.*`."""
    async with store.read() as tx:
        rows = await tx.execute(select(ledger_entries.c.leaf, ledger_entries.c.entry).order_by(ledger_entries.c.id))
        return [Fact(LeafHash(row.leaf), Entry.decode(row.entry)) for row in rows]


def of_kind(facts: Sequence[Fact], kind: EntryKind) -> list[Fact]:
    """The facts of one kind, in their order."""
    return [fact for fact in facts if fact.entry.kind is kind]
