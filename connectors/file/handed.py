"""Handed over: lines that wait for the answer of the program that takes the files, and the answers that came.

    waiting ──its line of an acknowledgement──► answered ──the mailbox has heard it──► told

Refuses: nothing; what is no answer `connectors.file.acknowledged` has refused.
Keeps: what was applied stays so. An answer is on the disk before anybody is told of it, and told until it is heard.
Its tables stand in the journal, so that a line and its waiting are there together or not at all.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from connectors.contract import Applied, Outcome
from connectors.ends import columns_of, outcome_of
from schemas.names import DeliveryId, Instant

WAITING, ANSWERED, TOLD = range(3)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: until which day (`2026-12-31`) its answer is waited for, and what that is."""

    state: int
    until: str
    outcome: Outcome | None


class Handed:
    """Lines that were handed over, in an open journal. Its methods block for a few milliseconds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def of(self, delivery_id: DeliveryId) -> Line | None:
        """A delivery's line; None for one of which no answer was ever waited for."""
        query = "SELECT state, until, code, reason, more, reference FROM handed WHERE delivery_id = ?"
        row = self._connection.execute(query, (delivery_id,)).fetchone()
        if row is None:
            return None
        state, until, *answer = row
        return Line(state, until, None if state == WAITING else _outcome(*answer))

    def lines(self, name: str) -> Mapping[int, DeliveryId]:
        """The deliveries of a file by their lines in it; none of a file that is not ours."""
        query = "SELECT reference, delivery_id FROM delivery JOIN batch ON batch = number WHERE name = ?"
        rows = self._connection.execute(query, (name,))
        return {int(reference.rpartition(":")[2]): DeliveryId(one) for reference, one in rows}

    def answer(self, answers: Mapping[DeliveryId, Outcome], at: Instant) -> None:
        """Write answers down, all or none, durable on return; the same again changes nothing.

        Crash before the commit: their file is read again. After: the same, and it is found that nothing is new.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        for delivery_id, outcome in answers.items():
            code, reason, more = columns_of(outcome)
            reference = outcome.reference if isinstance(outcome, Applied) else None
            self._connection.execute(
                "UPDATE handed SET state = 1, code = ?1, reason = ?2, more = ?3, reference = ?4, at = ?5"
                " WHERE delivery_id = ?6 AND (state = 0 OR (code IS NOT NULL"
                " AND (code, reason, more) IS NOT (?1, ?2, ?3)))",
                (code, reason, more, reference, at, delivery_id),
            )
        self._connection.execute("COMMIT")

    def unheard(self, limit: int = 100) -> Mapping[DeliveryId, Outcome]:
        """Answers that the mailbox may not have heard, oldest first."""
        query = "SELECT delivery_id, code, reason, more, reference FROM handed WHERE state = 1 ORDER BY at LIMIT ?"
        return {DeliveryId(row[0]): _outcome(*row[1:]) for row in self._connection.execute(query, (limit,))}

    def heard(self, ids: Iterable[DeliveryId]) -> None:
        """The mailbox has answered. Crash before: it is told again, which changes nothing there."""
        self._connection.execute("BEGIN IMMEDIATE")
        query = "UPDATE handed SET state = 2 WHERE delivery_id = ? AND state = 1"
        self._connection.executemany(query, [(one,) for one in ids])
        self._connection.execute("COMMIT")

    def overdue(self, day: str) -> int:
        """How many lines have waited beyond their day."""
        query = (
            "SELECT count(*) FROM handed WHERE (state = 0 AND until < ?1) OR (reason = 'awaiting-human' AND more < ?1)"
        )
        return int(self._connection.execute(query, (day,)).fetchone()[0])

    def is_still(self, name: str, digest: bytes) -> bool:
        """Whether a file was the same at the look before: nobody writes into it any more. And remember this look."""
        row = self._connection.execute("SELECT digest FROM looked WHERE name = ?", (name,)).fetchone()
        if row is not None and bytes(row[0]) == digest:
            return True
        self._connection.execute("INSERT OR REPLACE INTO looked VALUES (?, ?)", (name, digest))
        return False

    def forget(self, name: str) -> None:
        """The file was read and moved aside."""
        self._connection.execute("DELETE FROM looked WHERE name = ?", (name,))


def _outcome(code: str | None, reason: str | None, more: str | None, reference: str | None) -> Outcome:
    outcome = outcome_of(code, reason, more)
    return Applied(reference) if isinstance(outcome, Applied) else outcome
