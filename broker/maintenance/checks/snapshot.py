"""Snapshot: the transaction that one fsck looks at, and what it knows of it: which tables have no row, and the whole of
the small ones. Nothing changes in a snapshot, so nothing is asked twice.

Refuses: to keep what grows with the citizens: their tables are read anew by whoever asks.
Keeps: a table is known to be empty by one question to the database, asked first, in this same snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from sqlalchemy import Row, Table, exists, literal, select, union_all

from broker.store import access_tables, operator_tables, tables
from broker.store.engine import Transaction
from consent.tables import metadata

_SMALL: Final = frozenset(
    {
        tables.parties,
        tables.signing_keys,
        tables.sealing_keys,
        tables.publishing_rights,
        tables.signature_policies,
        tables.subscriptions,
        tables.paused_subscriptions,
        tables.rules,
        tables.purposes,
        tables.gate_epochs,
        tables.consent_epochs,
        access_tables.api_tokens,
        access_tables.topic_users,
        access_tables.client_keys,
        access_tables.client_key_sets,
        access_tables.webhooks,
        operator_tables.operators,
        operator_tables.approval_requests,
    }
)
"""What has its size from the administrations, their systems and those who work here."""
_FILLED: Final = union_all(
    *(select(literal(name).label("name")).where(exists().select_from(table)) for name, table in metadata.tables.items())
)


@dataclass(frozen=True, slots=True)
class Snapshot(Transaction):
    """A reading transaction whose empty tables are known. Made by `of`."""

    filled: frozenset[str] = frozenset()
    """The names of the tables that have a row."""
    _kept: dict[Table, Sequence[Row[Any]]] = field(default_factory=dict, repr=False)

    @classmethod
    async def of(cls, tx: Transaction) -> Self:
        """Ask which tables have rows."""
        own = {one.name: getattr(tx, one.name) for one in fields(Transaction)}
        return cls(**own, filled=frozenset((await tx.execute(_FILLED)).scalars()))

    def empty(self, table: Table) -> bool:
        """Whether it has no row."""
        return table.name not in self.filled

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        """All of a table, in any order."""
        if self.empty(table):
            return ()
        kept = self._kept.get(table)
        if kept is None:
            kept = (await self.execute(select(table))).all()
            if table in _SMALL:
                self._kept[table] = kept
        return kept
