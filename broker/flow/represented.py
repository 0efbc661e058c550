"""Represented: who may act for whom, as rows and the journal of endings tell it.

Refuses: nothing; `broker.consents.representing` writes.
Keeps: a record counts only with the broker's seal; one that has ended by the journal counts as ended, whatever its row
says, so that whoever writes rows lets nobody act for another, and brings back nobody who did.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, select

from broker.ended import Ended, Ending
from broker.observability.observe import RowName, logger
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowReader
from broker.store.tables import representations
from consent.asking import one_of
from consent.representation import Measure, Representation
from schemas.names import EventType, Instant, Purpose, RepresentationId, SubjectRef, instant_of

TABLE: Final = representations.name
_OF_SUBJECTS: Final = select(representations).where(one_of(representations.c.subject, "subjects"))


async def of_subjects(tx: Transaction, rows: RowReader, subjects: Collection[SubjectRef]) -> list[Representation]:
    """Who may act, or could, for these people, the oldest first. Who decides by it holds their locks."""
    if not subjects:
        return []
    asked = _OF_SUBJECTS.order_by(representations.c.id)
    found = rows.valid(TABLE, await tx.execute(asked, {"subjects": sorted(set(subjects))}))
    ended = await tx.endings()
    return [obeyed(of_row(row), ended) for row in found]


async def row(tx: Transaction, rows: RowReader, of: RepresentationId) -> Row[Any] | None:
    """The row of one record; None where there is none that counts."""
    there = (await tx.execute(select(representations).where(representations.c.id == of))).one_or_none()
    return rows.one(TABLE, there)


async def one(tx: Transaction, rows: RowReader, of: RepresentationId) -> Representation | None:
    """One record as it counts; None where there is none that does."""
    there = await row(tx, rows, of)
    return None if there is None else obeyed(of_row(there), await tx.endings())


def obeyed(record: Representation, ended: Ended) -> Representation:
    """The record as it counts: what the journal ended has ended."""
    told = ended.newest(TABLE, record.id)
    if told is None or record.ended_at is not None:
        return record
    logger().error("endings.row-contradicts", _ended_at=told.at, row=RowName.of(TABLE, record.id))
    return replace(record, ended_at=told.at)


def of_row(row: Row[Any]) -> Representation:
    """The record of a row."""
    return Representation(
        id=RepresentationId(row.id),
        representative=SubjectRef(row.representative),
        subject=SubjectRef(row.subject),
        measure=Measure(row.measure),
        proof=row.proof,
        event_types=None if row.event_types is None else frozenset(map(EventType, json.loads(row.event_types))),
        purposes=None if row.purposes is None else frozenset(map(Purpose, json.loads(row.purposes))),
        begins_at=Instant(row.begins_at),
        ends_at=instant_of(row.ends_at),
        given_by=row.given_by,
        recorded_at=Instant(row.recorded_at),
        ended_at=instant_of(row.ended_at),
    )


def row_of(record: Representation) -> dict[str, Any]:
    """The row of a record; equal records have equal rows."""
    return {
        "id": record.id,
        "representative": record.representative,
        "subject": record.subject,
        "measure": record.measure.value,
        "proof": record.proof,
        "event_types": _list(record.event_types),
        "purposes": _list(record.purposes),
        "begins_at": record.begins_at,
        "ends_at": record.ends_at,
        "given_by": record.given_by,
        "recorded_at": record.recorded_at,
        "ended_at": record.ended_at,
    }


def _list(names: frozenset[Any] | None) -> str | None:
    return None if names is None else json.dumps(sorted(names))


def digest(record: Representation) -> bytes:
    """SHA-256 of the record's row, 32 bytes: what its entry commits to and `fsck` compares."""
    return row_digest(TABLE, row_of(record))


def ending_of(record: Representation, at: Instant) -> Ending:
    """The record of its end in the journal."""
    return Ending.of(TABLE, record.id, at=at, actor=record.given_by, ended_at=at)
