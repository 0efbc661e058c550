"""Told: one row of the ledger, decoded and opened once for every check, with what is wrong with the row itself.

Refuses: to stop at a row that is none: it says what is wrong with it, and goes on.
Keeps: what an entry says is believed only as far as its opening opens it, under a key of the key store.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from broker.ledger.openings import NOBODY, Opened, Openings
from broker.maintenance.checks.finding import Finding
from schemas import merkle
from schemas.entry import Entry
from schemas.errors import Corrupt, Refused
from schemas.facts import Facts
from schemas.names import DeliveryId, SubjectRef

UNPLACED: Final = 2**62
"""What has no position yet comes after everything that has one, in the order of writing."""


@dataclass(frozen=True, slots=True)
class Told:
    """One row of the ledger as it was read: None where it is no entry, or where nothing opens it."""

    id: int
    leaf: bytes
    position: int | None
    entry: Entry | None
    facts: Facts | None
    wrong: tuple[Finding, ...] = ()
    """What is wrong with the row itself."""
    aside: bool = False
    """Whether the sequencer has put it aside: it is no part of the ledger."""

    @property
    def place(self) -> str:
        """The row's, in a finding."""
        return f"ledger_entries/{self.id}"

    @property
    def order(self) -> tuple[int, int]:
        """Where the rules come to it."""
        return (UNPLACED if self.position is None else self.position, self.id)


def unopened(row: Row[Any]) -> Told:
    """A row of an entry that nothing opens, with `by`: the leaf of the entry that says so, or None."""
    told = _decoded(row)
    lost = told.entry is not None and told.entry.open is None and row.by is None
    if not lost or told.wrong or told.aside:
        return told
    return _also(told, None, Finding("ledger.opening", told.place, "nothing opens this entry any more"))


def opened(row: Row[Any], openings: Openings) -> Told:
    """A row of an entry with its opening (`parts.TOLD`)."""
    told = _decoded(row)
    if told.entry is None or told.aside:
        return told
    if told.entry.open is not None:
        wrong = Finding("ledger.opening", told.place, "an opening of what is open")
        return _also(told, None, wrong)
    try:
        found = openings.open(row.leaf, told.entry, row)
    except (Corrupt, Refused) as fault:
        wrong = Finding("ledger.opening", told.place, f"what should open this entry does not: {fault.code}")
        return _also(told, None, None if told.wrong else wrong)
    return _also(told, found.facts, None if told.wrong else _differs(told.place, row, found, openings))


def of_rows(rows: Iterable[Row[Any]], openings: Openings) -> tuple[list[Told], list[Finding]]:
    """Openings with their entries in the order of writing, and a finding for each opening without one."""
    told: list[Told] = []
    wrong: list[Finding] = []
    for row in rows:
        if row.id is None:
            wrong.append(
                Finding("ledger.opening", f"ledger_openings/{row.opens.hex()}", "an opening without its entry")
            )
        else:
            told.append(opened(row, openings))
            wrong += told[-1].wrong
    return told, wrong


def tags_of(told: Iterable[Told]) -> dict[bytes, DeliveryId]:
    """The delivery of each tag, where something opens one of its entries."""
    return {
        one.entry.tag: one.facts.delivery
        for one in told
        if one.entry is not None and one.entry.tag is not None and one.facts is not None and one.facts.delivery
    }


def _decoded(row: Row[Any]) -> Told:
    place = f"ledger_entries/{row.id}"
    if row.position is not None and row.position < 0:
        aside = Finding("ledger.not-ours", place, "the broker did not write it, and has not signed it")
        return Told(row.id, row.leaf, row.position, None, None, (aside,), aside=True)
    wrong = []
    if merkle.leaf_hash(row.entry) != row.leaf:
        wrong.append(Finding("ledger.leaf", place, "the leaf hash is not that of the entry"))
    entry = None
    try:
        entry = Entry.decode(row.entry)
    except Refused as fault:
        wrong.append(Finding("ledger.entry", place, f"not an entry: {fault.code}"))
    if entry is not None and entry.tag != row.tag:
        wrong.append(Finding("ledger.tag", place, "the row's tag is not the entry's"))
    return Told(row.id, row.leaf, row.position, entry, None if entry is None else entry.open, tuple(wrong))


def _also(told: Told, facts: Facts | None, wrong: Finding | None) -> Told:
    found = told.wrong if wrong is None else (*told.wrong, wrong)
    return Told(told.id, told.leaf, told.position, told.entry, facts, found)


def _differs(place: str, row: Row[Any], found: Opened, openings: Openings) -> Finding | None:
    """What the row says beside what it opens."""
    told = found.facts
    if row.by is not None:
        return Finding("ledger.erasure", place, "its opening was erased, and lies there")
    if (row.kind, row.reason) != (told.kind.value, None if told.reason is None else told.reason.value):
        return Finding("ledger.opening", place, "the row says another kind or reason than it opens")
    if not _about(found, row.subject, openings):
        return Finding("ledger.subject", place, "the entry is about somebody else")
    return None


def _about(found: Opened, subject: bytes, openings: Openings) -> bool:
    facts = found.facts
    if subject == NOBODY:
        return facts.subject is None
    scope = facts.grant or facts.declaration or found.opening.blind
    return facts.subject == openings.commitment(SubjectRef(subject), scope)
