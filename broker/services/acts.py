"""Acts: what somebody of the broker's own did, as the ledger commits to it.

Refuses: nothing; a document that the ledger does not commit to is told by `unefois fsck`.
Keeps: it shows names of accounts, words of commands and leaves of entries, and no value of a citizen.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import select

from broker.ledger.acting import Act
from broker.setup.wiring import Home
from broker.store.operator_tables import operator_acts
from broker.store.tables import ledger_entries, ledger_openings
from consent.asking import one_of
from schemas.entry import Entry
from schemas.errors import Refused
from schemas.names import Instant, OperatorName


async def newest(
    home: Home, *, operator: OperatorName | None = None, since: Instant | None = None, limit: int = 200
) -> list[tuple[Act, tuple[str, ...]]]:
    """The newest acts, the newest first, each with the kinds of the entries that it made, as far as can be told."""
    query = select(operator_acts).order_by(operator_acts.c.at.desc(), operator_acts.c.leaf)
    if since is not None:
        query = query.where(operator_acts.c.at >= since)
    found: list[tuple[Act, tuple[str, ...]]] = []
    async with home.store.read() as tx:
        for row in (await tx.execute(query)).all():
            with suppress(ValueError, KeyError, TypeError, AttributeError, Refused):
                act = Act.decode(row.act)
                if operator in (None, act.operator):
                    found.append((act, await _kinds(tx, act.entries)))
            if len(found) >= limit:
                break
    return found


async def _kinds(tx: Any, leaves: Sequence[bytes]) -> tuple[str, ...]:
    """In the order of the leaves; an entry whose opening was erased has none."""
    if not leaves:
        return ()
    asked = (
        select(ledger_entries.c.leaf, ledger_entries.c.entry, ledger_openings.c.kind)
        .outerjoin(ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf)
        .where(one_of(ledger_entries.c.leaf, "leaves"))
    )
    kinds: dict[bytes, str] = {}
    for row in (await tx.execute(asked, {"leaves": list(leaves)})).all():
        told = Entry.decode(row.entry).open
        kind = row.kind if told is None else told.kind.value
        if kind is not None:
            kinds[bytes(row.leaf)] = kind
    return tuple(dict.fromkeys(kinds[leaf] for leaf in leaves if leaf in kinds))
