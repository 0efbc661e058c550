"""Ends: what an agency decided about each delivery, kept until the broker has heard it, and after.

Refuses: a second process (it holds the file's lock as long as it is open), and a file of another version.
Keeps: a decision is on the disk before the broker hears of it, so a crash or a broker that is away loses none; what was
applied stays applied, and is not shown to the agency again; no value of a citizen.

Whoever reads it: learns which declarations came from whom, by number. Whoever changes it: can make a delivery be shown
twice or never. Whoever deletes it: makes what is handed out again be shown again.
"""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from connectors import exclusive
from connectors.contract import Answered, Applied, Outcome, Partly, Rejected
from connectors.exclusive import Wrong
from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused, Unavailable
from schemas.facts import ANSWERS
from schemas.names import DeclarationId, DeliveryId, Instant, ManifestDigest, PartyId, Reason

_CODE: Final = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)+")
_CODE_CHARACTERS: Final = 64
REASONS: Final = frozenset({Reason.INVALID_DELIVERY, Reason.MAPPING, Reason.SYSTEM_REFUSED, Reason.TECHNICAL})
"""Why a recipient may reject."""
_ANSWER: Final = "answer"
"""In the place of a code, of what was answered and not rejected; no broker takes such a code."""
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_STEPS: Final = (
    """
CREATE TABLE ended (
  delivery_id BLOB PRIMARY KEY, source TEXT, declaration_id BLOB, manifest_digest BLOB, code TEXT, reason TEXT,
  heard INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX ended_declaration ON ended (source, declaration_id);
CREATE INDEX ended_unheard ON ended (at) WHERE heard = 0
""",
    "ALTER TABLE ended ADD COLUMN more TEXT",
)


def check_rejection(end: Rejected) -> None:
    """Is this a rejection that a broker takes? One that is not would be told again and again, and hold up the others.

    Raises Refused("ends.code").
    """
    check_code(end.code)
    if end.reason not in REASONS:
        raise Refused("ends.code", limit=_CODE_CHARACTERS)


def check_answer(end: Answered | Partly) -> None:
    """Is this an answer that a broker takes? Raises Refused("ends.answer")."""
    if isinstance(end, Partly):
        good = len(end.fields) > 0
    else:
        day = end.until is not None and _DAY.fullmatch(end.until) is not None
        good = end.reason in ANSWERS and day is (end.reason is Reason.AWAITING_HUMAN)
    if not good:
        raise Refused("ends.answer")


def check_code(code: str) -> None:
    """Is this a code that a broker takes? Raises Refused("ends.code")."""
    if not _CODE.fullmatch(code) or len(code) > _CODE_CHARACTERS:
        raise Refused("ends.code", limit=_CODE_CHARACTERS)


class Ends:
    """An open file of ends. Its methods block for a few milliseconds; call them from a thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Open or create it, and keep others out until `close`; None: in memory, for tests.

        Raises Unavailable("ends.in-use") while another process has it, "ends.disk" for a disk that is full or fails,
        Refused("ends.unreadable") for what is none.
        """
        connection = exclusive.opened(path, _STEPS)
        if connection is Wrong.IN_USE:
            raise Unavailable("ends.in-use")
        if connection is Wrong.DISK:
            raise Unavailable("ends.disk")
        if isinstance(connection, Wrong):
            raise Refused("ends.unreadable")
        return cls(connection)

    def close(self) -> None:
        """Let others in. Safe to call twice."""
        self._connection.close()

    def of(self, delivery_id: DeliveryId) -> Outcome | None:
        """How a delivery ended here, or None."""
        query = "SELECT code, reason, more FROM ended WHERE delivery_id = ?"
        row = self._connection.execute(query, (delivery_id,)).fetchone()
        return None if row is None else outcome_of(*row)

    def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """The manifest under which a declaration is known, or None: what `verify_delivery` asks, step 10."""
        row = self._connection.execute(
            "SELECT manifest_digest FROM ended WHERE source = ? AND declaration_id = ? LIMIT 1",
            (str(source), declaration_id),
        ).fetchone()
        return None if row is None else ManifestDigest(row[0])

    def decide(self, delivery: VerifiedDelivery, outcome: Outcome, at: Instant) -> None:
        """Write down an end, durable on return; the same again changes nothing.

        Crash before the commit: the delivery is shown again. After: the broker is told by whoever runs next.
        Raises Refused("ends.applied") for another end of what was applied.
        """
        known = (str(delivery.source), delivery.declaration_id, delivery.manifest_digest)
        self._write(delivery.delivery_id, known, outcome, at)

    def refuse(self, delivery_id: DeliveryId, code: str, reason: Reason, at: Instant) -> None:
        """Write down that a delivery could not be believed. Nothing that it says of itself is kept."""
        self._write(delivery_id, (None, None, None), Rejected(code, reason), at)

    def unheard(self, limit: int = 100) -> Mapping[DeliveryId, Outcome]:
        """Ends that the broker may not have heard, oldest first."""
        rows = self._connection.execute(
            "SELECT delivery_id, code, reason, more FROM ended WHERE heard = 0 ORDER BY at LIMIT ?", (limit,)
        )
        return {DeliveryId(row[0]): outcome_of(row[1], row[2], row[3]) for row in rows}

    def heard(self, ids: Iterable[DeliveryId]) -> None:
        """The broker has answered. Crash before: it is told again, which changes nothing there."""
        rows = [(each,) for each in ids]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("UPDATE ended SET heard = 1 WHERE delivery_id = ?", rows)
        self._connection.execute("COMMIT")

    def _write(
        self, delivery_id: DeliveryId, known: tuple[str | None, bytes | None, bytes | None], end: Outcome, at: Instant
    ) -> None:
        code, reason, more = columns_of(end)
        done = self._connection.execute(
            "INSERT INTO ended VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT (delivery_id) DO UPDATE SET"
            " code = excluded.code, reason = excluded.reason, more = excluded.more, heard = 0, at = excluded.at,"
            " source = coalesce(excluded.source, source),"
            " declaration_id = coalesce(excluded.declaration_id, declaration_id),"
            " manifest_digest = coalesce(excluded.manifest_digest, manifest_digest)"
            # What was applied stays so. What was rejected or answered may come again, and be applied then.
            " WHERE ended.code IS NOT NULL OR (excluded.code, excluded.reason, excluded.more)"
            " IS (ended.code, ended.reason, ended.more)",
            (delivery_id, *known, code, reason, at, more),
        )
        if done.rowcount == 0:
            raise Refused("ends.applied")


def columns_of(end: Outcome) -> tuple[str | None, str | None, str | None]:
    """An end as it is kept: code, reason, and what more it says."""
    match end:
        case Applied():
            return None, None, None
        case Partly():
            return None, Reason.PARTLY.value, " ".join(end.fields)
        case Answered():
            return _ANSWER, end.reason.value, end.until
        case Rejected():
            return end.code, end.reason.value, None


def outcome_of(code: str | None, reason: str | None, more: str | None) -> Outcome:
    """The end of which these were kept."""
    if code is None:
        return Applied() if reason is None else Partly(tuple((more or "").split(" ")))
    return Answered(Reason(reason), more) if code == _ANSWER else Rejected(code, Reason(reason))
