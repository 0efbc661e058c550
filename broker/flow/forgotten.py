"""Forgotten: a declaration whose time is over goes whole: its row, its deliveries and their repairs, withholdings and
replayed letters, its submission; and a submission of which no declaration came.

Refuses: to touch one that the gate could still open, that is on its way to somebody, for which a letter waits, or whose
chain of corrections is not over as a whole.
Keeps: an id is never taken twice. What is forgotten is older, by the time in its own id, than what the intake takes
(`arrived.too_old`), and an id that is no UUIDv7 is never forgotten. The ledger keeps every entry; `horizon` says up to
which instant it may tell of what is gone, and fsck looks that a gate key was destroyed since.
Source: RFC 9562, section 5.7; docs/operate.md, "What grows, how long it stays".
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Select, and_, delete, exists, func, insert, not_, or_, select, update

from broker.observability.crashpoints import mark
from broker.store.citizen_tables import told_already
from broker.store.engine import Transaction
from broker.store.tables import (
    acted_for,
    dead_letters,
    declarations,
    deliveries,
    gate_epochs,
    meta,
    repairs,
    submissions,
    withholdings,
)
from schemas.names import Instant

BATCH: Final = 100
"""Chains of one transaction; each has its declarations, and each of those its deliveries."""
HORIZON: Final = "forgotten"
"""The row of `meta`: the latest routing of a declaration that is gone, milliseconds."""


async def forget(tx: Transaction, before: Instant) -> int:
    """Take away a batch of chains that were over at `before`, the oldest first. Returns how many declarations went."""
    chosen = select(declarations.c.declaration_id).where(_over(declarations, before))
    roots = (await tx.execute(chosen.order_by(declarations.c.declaration_id).limit(BATCH))).scalars().all()
    chain = or_(declarations.c.declaration_id.in_(roots), declarations.c.root.in_(roots))
    columns = (declarations.c.seq, declarations.c.declaration_id, declarations.c.routed_at)
    rows = (await tx.execute(select(*columns).where(chain))).all() if roots else []
    if not rows:
        return 0
    seqs = [row.seq for row in rows]
    theirs = select(deliveries.c.id).where(deliveries.c.declaration.in_(seqs))
    await tx.execute(delete(dead_letters).where(dead_letters.c.delivery.in_(theirs)))
    await tx.execute(delete(repairs).where(repairs.c.delivery.in_(theirs)))
    await tx.execute(delete(deliveries).where(deliveries.c.declaration.in_(seqs)))
    await tx.execute(delete(withholdings).where(withholdings.c.declaration.in_(seqs)))
    await tx.execute(delete(declarations).where(declarations.c.seq.in_(seqs)))
    gone = [row.declaration_id for row in rows]
    await tx.execute(delete(acted_for).where(acted_for.c.declaration.in_(gone)))
    await tx.execute(delete(told_already).where(told_already.c.declaration.in_(gone)))
    await tx.execute(delete(submissions).where(submissions.c.declaration_id.in_(gone)))
    mark("forgotten.gone")
    # Crash here: the transaction is gone, and everything is as it was; the next pass takes it.
    await _move_horizon(tx, max(row.routed_at for row in rows))
    return len(rows)


async def forget_unrouted(tx: Transaction, before: Instant) -> int:
    """Take away a batch of submissions of which no declaration came: written down and never logged, or parked."""
    chosen = select(submissions.c.declaration_id).where(_lonely(before))
    ids = (await tx.execute(chosen.order_by(submissions.c.declaration_id).limit(BATCH))).scalars().all()
    if not ids:
        return 0
    await tx.execute(delete(acted_for).where(acted_for.c.declaration.in_(ids)))
    await tx.execute(delete(told_already).where(told_already.c.declaration.in_(ids)))
    return (await tx.execute(delete(submissions).where(submissions.c.declaration_id.in_(ids)))).rowcount


async def horizon(tx: Transaction) -> Instant | None:
    """Of a declaration that was routed at or before this, only the ledger may tell; None: nothing is forgotten yet."""
    told = (await tx.execute(select(meta.c.value).where(meta.c.name == HORIZON))).scalar()
    return None if told is None else Instant(int(told))


def due(before: Instant) -> Select[Any]:
    """How many declarations `forget` would take in the end."""
    first = declarations.alias("first")
    mine = (first.c.source == declarations.c.source, first.c.declaration_id == declarations.c.root)
    of_a_chain = exists().where(*mine, _over(first, before))
    return select(func.count()).select_from(declarations).where(or_(_over(declarations, before), of_a_chain))


def due_unrouted(before: Instant) -> Select[Any]:
    """How many submissions `forget_unrouted` would take in the end."""
    return select(func.count()).select_from(submissions).where(_lonely(before))


async def _move_horizon(tx: Transaction, routed_at: int) -> None:
    before = await horizon(tx)
    if before is None:
        await tx.execute(insert(meta), {"name": HORIZON, "value": str(routed_at)})
    elif before < routed_at:
        await tx.execute(update(meta).where(meta.c.name == HORIZON).values(value=str(routed_at)))


def _over(first: FromClause, before: Instant) -> ColumnElement[bool]:
    """The first declaration of a chain of which nothing is held; found by the index of ids, which begin with a time."""
    other = declarations.alias()
    mine = (other.c.source == first.c.source, other.c.root == first.c.declaration_id)
    held_with_it = exists().where(*mine, _held(other, before))
    return and_(_old(first.c.declaration_id, before), first.c.root.is_(None), not_(_held(first, before)), ~held_with_it)


def _held(one: FromClause, before: Instant) -> ColumnElement[bool]:
    """Why a declaration stays: too young, can still be opened, on its way, or waited for by somebody."""
    destroyed = select(gate_epochs.c.kid).where(gate_epochs.c.destroyed_at.is_not(None))
    mine = deliveries.c.declaration == one.c.seq
    under_way = exists().where(mine, deliveries.c.done_at.is_(None))
    waiting = dead_letters.c.replayed_at.is_(None)
    waited_for = exists().where(mine, dead_letters.c.delivery == deliveries.c.id, waiting)
    young = or_(one.c.routed_at > before, not_(_old(one.c.declaration_id, before)))
    return or_(young, one.c.gate_kid.not_in(destroyed), under_way, waited_for)


def _lonely(before: Instant) -> ColumnElement[bool]:
    """As long as any record waits that the router could not read, its submission is needed for the replay."""
    routed = exists().where(declarations.c.declaration_id == submissions.c.declaration_id)
    parked = exists().where(dead_letters.c.record.is_not(None), dead_letters.c.replayed_at.is_(None))
    old = _old(submissions.c.declaration_id, before)
    return and_(old, submissions.c.received_at <= before, ~routed, ~parked)


def _old(column: ColumnElement[bytes], before: Instant) -> ColumnElement[bool]:
    """By an id's own time, as `arrived.too_old` has it."""
    version = func.substr(column, 7, 1)
    end = (before + 1).to_bytes(6, "big") if before >= 0 else b""
    return and_(column < end, version >= b"\x70", version < b"\x80")
