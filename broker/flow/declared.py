"""Declared: a stored declaration as the planner and the checks need it, with the chain of corrections it stands in.

Refuses: to verify again what was verified when it was routed; fsck does that, with the keys of that day. A row that is
not as the router wrote it (`broker.store.rows.macs`): it is as absent, and told in the log. So is one that was erased
on its citizen's word (`erased`), and nothing is told of it.
Keeps: a correction of a correction leads to the first declaration, whose recipients are the ones to be told.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select

from broker.flow.deliveries import DeliveryState
from broker.flow.erased import is_erased
from broker.flow.planner import Known
from broker.observability.tracing import stored
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, withholdings
from schemas.envelope import VerifiedDeclaration
from schemas.names import DeclarationId, Instant, PartyId, Reason, SubjectRef
from schemas.retractions import RETRACTIONS


async def known(tx: Transaction, macs: RowMacs, *conditions: ColumnElement[bool]) -> list[Known]:
    """Stored declarations that meet all conditions, newest first. Raises Corrupt `envelope.stored`."""
    rows = await tx.execute(select(declarations).where(*conditions).order_by(declarations.c.seq.desc()))
    valid, ended = macs.valid(declarations.name, rows.all()), await tx.endings()
    return [await _known(tx, row) for row in valid if not is_erased(row, ended)]


async def latest(tx: Transaction, macs: RowMacs, kin: Collection[SubjectRef], event_type: str) -> Known | None:
    """The newest declaration of one type about one citizen, a correction too; None where its row does not count: an
    older one is not what its citizen meant; nor does it where it was erased. `kin`: the citizen's references.
    """
    row = (
        await tx.execute(
            select(declarations)
            .where(declarations.c.subject.in_(kin), declarations.c.event_type == event_type)
            .order_by(declarations.c.seq.desc())
            .limit(1)
        )
    ).one_or_none()
    counts = row is not None and macs.valid(declarations.name, [row]) and not is_erased(row, await tx.endings())
    return await _known(tx, row) if row is not None and counts else None


async def recipients_of_chain(tx: Transaction, source: PartyId | None, root: DeclarationId) -> frozenset[PartyId]:
    """Who got a declaration of this chain, or is about to: everybody to whom one was planned and not withheld.

    `source`: None for a retraction, which another may send than who declared. A pause only holds back: when it ends,
    the declaration goes out, and so must its correction. And who wished for the latest declaration may have begun with
    a correction.
    """
    chain = [or_(declarations.c.declaration_id == root, declarations.c.root == root)]
    if source is not None:
        chain.append(declarations.c.source == source)
    planned = (
        select(deliveries.c.recipient)
        .join(declarations, declarations.c.seq == deliveries.c.declaration)
        .where(
            *chain,
            or_(
                deliveries.c.state != DeliveryState.WITHHELD.value,
                deliveries.c.released_at.is_not(None),
                deliveries.c.reason == Reason.PAUSED.value,
            ),
        )
    )
    held_back = (
        select(withholdings.c.recipient)
        .join(declarations, declarations.c.seq == withholdings.c.declaration)
        .where(*chain, withholdings.c.reason == Reason.PAUSED.value)
    )
    return frozenset(PartyId(row.recipient) for row in await tx.execute(planned.union(held_back)))


async def _known(tx: Transaction, row: Row[Any]) -> Known:
    root = DeclarationId(row.root) if row.root is not None else None
    source = None if row.event_type in RETRACTIONS else PartyId(row.source)
    return Known(
        seq=row.seq,
        verified=VerifiedDeclaration.stored(row.envelope),
        subject=SubjectRef(row.subject),
        received_at=Instant(row.received_at),
        routed_at=Instant(row.routed_at),
        trace=stored(row.trace, DeclarationId(row.declaration_id)),
        corrects=root,
        original_recipients=await recipients_of_chain(tx, source, root) if root is not None else None,
    )
