"""Steps: what the ledger says became of deliveries, whatever their rows say.

    deliveries.tag ──► ledger_entries.tag ──► planned, released, applied, closed, in the order of writing

Refuses: a step that the broker did not write, and a tag that is another delivery's: either has the broker's MAC, or
an opening that opens.
Keeps: a row of the mailbox releases nothing that the ledger does not call planned, and has nothing acknowledged that
the ledger does not call released. An entry that somebody deleted is missing here, too; of that fsck, the ledger's mark
and everybody who mirrors the ledger tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, select

from broker.flow.deliveries import Delivery
from broker.ledger.openings import Openings
from broker.observability.observe import RowName, logger
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import deliveries, ledger_entries
from consent.asking import one_of
from schemas import merkle
from schemas.entry import Entry, EntryKind, Head
from schemas.errors import Corrupt, Refused
from schemas.names import DeliveryId, LeafHash

_STANDS: Final = frozenset({EntryKind.PLANNED, EntryKind.RELEASED})


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a delivery."""

    leaf: LeafHash
    head: Head
    raw: bytes = field(repr=False)

    @property
    def entry(self) -> Entry:
        """All of it."""
        return Entry.decode(self.raw)


@dataclass(frozen=True, slots=True)
class Steps:
    """The entries of one delivery, in the order of writing."""

    all: tuple[Step, ...] = ()

    @property
    def plan(self) -> bytes | None:
        """The commitment to the plan that stands, 32 bytes; None: nothing was planned, or it has ended since."""
        return self.all[-1].head.content if self.all and self.all[-1].head.kind in _STANDS else None

    @property
    def released(self) -> Step | None:
        """The release of the plan that stands."""
        return self.all[-1] if self.all and self.all[-1].head.kind is EntryKind.RELEASED else None

    @property
    def left(self) -> bool:
        """Whether it was ever released."""
        return any(step.head.kind is EntryKind.RELEASED for step in self.all)


NONE: Final = Steps()


class StepReader:
    """Asks the ledger, inside the caller's transaction, which holds the mailbox's lock."""

    def __init__(self, macs: RowMacs, openings: Openings) -> None:
        self._macs = macs
        self._openings = openings

    async def of(self, tx: Transaction, wanted: Sequence[Delivery]) -> dict[DeliveryId, Steps]:
        """The steps of each of these; what is absent has none that count."""
        if not wanted:
            return {}
        rows: dict[bytes, list[Row[Any]]] = {}
        for row in await tx.execute(_OF_TAGS, {"tags": [one.tag for one in wanted]}):
            rows.setdefault(row.tag, []).append(row)
        return {one.id: await self._steps(tx, one, rows.get(one.tag, ())) for one in wanted}

    async def _steps(self, tx: Transaction, delivery: Delivery, rows: Sequence[Row[Any]]) -> Steps:
        own = self._macs.holds(deliveries.name, {"id": delivery.id, "tag": delivery.tag, "mac": delivery.mac})
        found = []
        for row in rows:
            step = _read(row)
            if step is None or not await self._counts(tx, row, step, delivery, own=own):
                logger().error("steps.not-ours", row=RowName.of(ledger_entries.name, row.leaf), delivery=delivery.id)
                continue
            found.append(step)
        return Steps(tuple(found))

    async def _counts(self, tx: Transaction, row: Row[Any], step: Step, delivery: Delivery, *, own: bool) -> bool:
        """Whether the broker wrote it, of this delivery; `own`: whether the tag is known to be this one's."""
        if step.head.tag != delivery.tag:
            return False
        if own and self._macs.holds(ledger_entries.name, row._mapping):
            return True
        return await self._opens(tx, step, delivery)  # of a home from before, whose rows have no MACs

    async def _opens(self, tx: Transaction, step: Step, delivery: Delivery) -> bool:
        try:
            opened = await self._openings.of_leaves(tx, {step.leaf: step.entry})
        except (Corrupt, Refused):
            return False
        return step.leaf in opened and opened[step.leaf].facts.delivery == delivery.id


def _read(row: Row[Any]) -> Step | None:
    """None where the row holds no entry, or another than its leaf's."""
    try:
        return Step(row.leaf, Head.of(row.entry), row.entry) if merkle.leaf_hash(row.entry) == row.leaf else None
    except Refused:
        return None


_OF_TAGS: Final = select(ledger_entries).where(one_of(ledger_entries.c.tag, "tags")).order_by(ledger_entries.c.id)
