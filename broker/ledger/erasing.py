"""Erasing: what opens the ledger's entries goes when its time is over, or by a person's right; they stay, as noise.

Refuses: nothing; who may ask for it is decided before.
Keeps: an erasure is an open entry that commits to the list of the entries that nobody can open any more, written in the
same transaction. What a grant that lives rests on is entered anew before it goes. A period's key goes when nothing is
left under it, and with it every copy of what was.
Source: docs/protocol.md, section 8; ledger.md, R4.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, select

from broker.ledger.openings import PERIOD_MS, Openings
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy, KeyKind, KeyStore
from broker.store.engine import Transaction
from broker.store.operator_tables import operator_acts
from broker.store.tables import ledger_erased, ledger_erasures, ledger_openings
from consent import registry
from consent.asking import one_of
from schemas.entry import commit_erased
from schemas.facts import BLIND_BYTES, FactKind, Facts
from schemas.names import GrantId, Instant, LeafHash

BATCH: Final = 500
"""Openings that one entry tells of."""
_OF_GRANTS: Final = frozenset({FactKind.GRANTED, FactKind.CARRIED, FactKind.CHANGED})


def due(before: Instant) -> Select[Any]:
    """How many openings `Erasing.erase_old` would take in the end."""
    return select(func.count()).select_from(ledger_openings).where(_old(before))


class Erasing:
    """Takes openings away, inside the caller's transaction."""

    def __init__(
        self, *, keys: KeyStore, openings: Openings, recorder: Recorder, clock: Clock, entropy: Entropy
    ) -> None:
        self._keys = keys
        self._openings = openings
        self._recorder = recorder
        self._clock = clock
        self._entropy = entropy

    async def erase(self, tx: Transaction, leaves: Sequence[LeafHash], *, by_right: bool = False) -> LeafHash:
        """Destroy the openings of these entries. Returns the leaf of the entry that says so. `by_right`: one person's;
        whoever calls has taken away, in this transaction, every row that these entries tell of.
        """
        at = self._clock()
        blind = self._entropy(BLIND_BYTES)
        count = len(leaves) if by_right else None
        by = self._recorder.record(tx, FactKind.ERASED, at, detail=commit_erased(blind, leaves), count=count)
        tx.add(ledger_erasures, {"leaf": by, "blind": blind})
        for leaf in leaves:
            tx.add(ledger_erased, {"leaf": leaf, "by": by})
        await tx.execute(delete(ledger_openings).where(one_of(ledger_openings.c.leaf, "leaves")), {"leaves": leaves})
        await tx.execute(delete(operator_acts).where(one_of(operator_acts.c.leaf, "leaves")), {"leaves": leaves})
        mark("erasing.erased")
        # Crash here: the openings, the list and the entry are as before, for the transaction is gone.
        return by

    async def erase_old(self, tx: Transaction, before: Instant) -> int:
        """A batch of what is of periods that ended before an instant, the oldest first. Returns how many went."""
        oldest = select(func.min(ledger_openings.c.period)).where(_old(before))
        period: int | None = (await tx.execute(oldest)).scalar()
        self._destroy_keys(before, period)
        if period is None:
            return 0
        chosen = select(ledger_openings.c.leaf).where(ledger_openings.c.period == period)
        rows = await tx.execute(chosen.order_by(ledger_openings.c.leaf).limit(BATCH))
        leaves = [LeafHash(leaf) for leaf in rows.scalars()]
        told = [opened.facts for leaf in leaves if (opened := await self._openings.of_leaf(tx, leaf)) is not None]
        await self.erase(tx, leaves)
        await self._carry(tx, told)
        return len(leaves)

    async def _carry(self, tx: Transaction, told: Iterable[Facts]) -> None:
        """Enter anew the version that stands of each grant that lives, where its entry is among these."""
        stood = {facts.grant: facts.grant_version for facts in told if facts.kind in _OF_GRANTS and facts.grant}
        ids = [GrantId(grant) for grant in stood if grant is not None]
        await tx.lock_shared(ids)
        for grant in (await registry.readable(tx.conn, ids)).values():
            if not grant.status.over and stood[grant.id] == grant.version:
                self._recorder.grant(tx, FactKind.CARRIED, grant, grant.changed_at, written=self._clock())

    def _destroy_keys(self, before: Instant, oldest: int | None) -> None:
        """Of periods that are over, and under which nothing lies any more."""
        for name in self._keys.names(KeyKind.OPENING):
            period = int(name)
            if (period + 1) * PERIOD_MS <= before and (oldest is None or period < oldest):
                self._keys.destroy(KeyKind.OPENING, name)
                self._openings.forget(period)


def _old(before: Instant) -> ColumnElement[bool]:
    return ledger_openings.c.period < before // PERIOD_MS
