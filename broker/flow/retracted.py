"""Retracted: which declarations were taken back, or stopped before anybody got them, as the journal of endings says.

Refuses: nothing; `broker.flow.retracting` writes.
Keeps: router, gate and planner ask the journal and no row, so that whoever writes rows can neither undo a retraction
nor make one. A row without the machine's MAC counts for nothing; it shows people what was taken back, and when.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final

from sqlalchemy import Row, select

from broker.ended import Ended, Ending
from broker.observability.observe import RowName, logger
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import retractions
from schemas.names import DeclarationId, EventType, Instant, Reason, SubjectRef, instant_of
from schemas.retractions import RETRACTIONS


class Kind(Enum):
    """How a declaration was taken back; the table holds its value."""

    CANCELLED = "cancelled"
    RECALLED = "recalled"
    STOPPED = "stopped"
    """By its citizen, while it was held: nobody got it."""

    @property
    def reason(self) -> Reason:
        """What is told of deliveries that it closes."""
        return Reason(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction:
    """What is written down of one.

    `declaration`: the first of a chain of corrections, all of which it takes back; of what was stopped, that one alone.
    `given_by`: the party that took it back, or who spoke for the citizen; `notice`: the declaration that tells those
    who got it; `lifted_at`: since when it does not count any more.
    """

    declaration: DeclarationId
    subject: SubjectRef
    kind: Kind
    given_by: str
    retracted_at: Instant
    notice: DeclarationId | None
    lifted_at: Instant | None = None

    @property
    def stands(self) -> bool:
        """Whether nothing of it goes out."""
        return self.lifted_at is None

    def row(self) -> dict[str, Any]:
        """As the table has it, without its MAC."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"kind": self.kind.value}

    def ending(self, at: Instant) -> Ending:
        """The record of it: while it stands nothing of the declaration goes out; 0 lifts that."""
        if self.stands:
            return Ending.of(retractions.name, self.declaration, at=at, actor=self.given_by, **self.row())
        return Ending.of(retractions.name, self.declaration, at=at, least=0, actor=self.given_by, **self.row())


_OF: Final = select(retractions)


def of_row(row: Row[Any]) -> Retraction:
    """The retraction of a row."""
    return Retraction(
        declaration=DeclarationId(row.declaration),
        subject=SubjectRef(row.subject),
        kind=Kind(row.kind),
        given_by=row.given_by,
        retracted_at=Instant(row.retracted_at),
        notice=None if row.notice is None else DeclarationId(row.notice),
        lifted_at=instant_of(row.lifted_at),
    )


def of_ending(ending: Ending) -> Retraction:
    """What a record of the journal tells."""
    told = ending.told
    return Retraction(
        declaration=DeclarationId.parse(told["declaration"]),
        subject=SubjectRef.parse(told["subject"]),
        kind=Kind(told["kind"]),
        given_by=told["given_by"],
        retracted_at=Instant(told["retracted_at"]),
        notice=None if told["notice"] is None else DeclarationId.parse(told["notice"]),
        lifted_at=instant_of(told["lifted_at"]),
    )


def told(ended: Ended, declaration: DeclarationId | None) -> Retraction | None:
    """The journal's last word on one declaration, lifted or not."""
    ending = None if declaration is None else ended.newest(retractions.name, declaration)
    return None if ending is None else of_ending(ending)


def standing(
    ended: Ended, event_type: EventType, declaration: DeclarationId, root: DeclarationId | None
) -> Retraction | None:
    """What takes this declaration back now: it was named itself, or the first of its chain, `root`, was. A retraction's
    own notice is in the chain of what it takes back, and goes out.
    """
    for one in (declaration, None if event_type in RETRACTIONS else root):
        found = None if one is None or not ended.ended(retractions.name, one) else told(ended, one)
        if found is not None:
            return found
    return None


async def of(tx: Transaction, macs: RowMacs, subjects: Collection[SubjectRef] | None = None) -> list[Retraction]:
    """Every retraction, or those about one citizen, the newest first; as the journal tells them where it does."""
    mine = () if subjects is None else (retractions.c.subject.in_(subjects),)
    asked = _OF.where(*mine).order_by(retractions.c.retracted_at.desc(), retractions.c.declaration)
    ended, found = await tx.endings(), []
    for row in map(of_row, macs.valid(retractions.name, await tx.execute(asked))):
        journals = told(ended, row.declaration) or row
        if journals != row:
            logger().error(
                "endings.row-contradicts",
                _ended_at=journals.lifted_at or journals.retracted_at,
                row=RowName.of(retractions.name, row.declaration),
            )
        found.append(journals)
    return found
