"""The outbox: what a source has accepted and the broker may not have yet, in one file that nobody else may read.

    waiting ──signed, handed in──► received      with the broker's signed receipt
       ├───────────────────────────► refused     with the broker's code and the place that it points to
       └──────► parked ──retry──► waiting        the broker does not let the source in, or not for this

Refuses: a second process, a file of another version, another declaration under a key that was used. What was refused,
here or by the broker, has used no key: the same or what is mended may come under it.
Keeps: what was accepted is on the disk before anybody is told so, and is signed once: what is sent again is the same
bytes. The record is there only as long as it waits, or is parked; then it is overwritten (`secure_delete`).
What has ended is forgotten after its retention, its key with it.

Whoever reads it: reads what waits, as the source's own system does. It is the source's own, on the source's machine.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from connectors import exclusive
from connectors.exclusive import Wrong
from schemas.errors import Refused, Unavailable
from schemas.names import DeclarationId, Instant

WAITING_MOST: Final = 100_000
_COLUMNS: Final = "declaration_id, key, state, draft, envelope, receipt, code, pointer, attempts, at, problem"
STEPS: Final = (
    """
CREATE TABLE item (
  declaration_id BLOB PRIMARY KEY, key TEXT NOT NULL UNIQUE, digest BLOB NOT NULL, state TEXT NOT NULL, draft BLOB,
  envelope BLOB, receipt TEXT, code TEXT, pointer TEXT, attempts INTEGER NOT NULL, next_at INTEGER NOT NULL,
  at INTEGER NOT NULL);
CREATE INDEX item_waiting ON item (next_at) WHERE state = 'waiting'
""",
    """
CREATE INDEX item_parked ON item (at) WHERE state = 'parked';
CREATE INDEX item_ended ON item (next_at) WHERE state IN ('received', 'refused')
""",
    "ALTER TABLE item ADD COLUMN problem TEXT",
)


@dataclass(frozen=True, slots=True)
class Item:
    """One declaration. `draft`: what is to be signed, JSON; `envelope`: what was signed, None before; `problem`: what
    the broker answered last, JSON, where it was no receipt.
    """

    declaration_id: DeclarationId
    key: str
    state: str
    draft: bytes | None = field(repr=False)
    envelope: bytes | None = field(repr=False)
    receipt: str | None
    code: str | None
    pointer: str | None
    attempts: int
    at: Instant
    problem: str | None


class Outbox:
    """An open outbox. Its methods block for a few milliseconds; call them from a thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create it, and keep others out until `close`.

        Raises Unavailable("outbox.in-use") while another process has it, "outbox.disk" for a disk that is full or
        fails, Refused("outbox.unreadable") for what is none.
        """
        connection = exclusive.opened(path, STEPS, "secure_delete = ON", private=True)
        if connection is Wrong.IN_USE:
            raise Unavailable("outbox.in-use")
        if connection is Wrong.DISK:
            raise Unavailable("outbox.disk")
        if isinstance(connection, Wrong):
            raise Refused("outbox.unreadable")
        return cls(connection)

    def close(self) -> None:
        """Let others in. Safe to call twice."""
        self._connection.close()

    def accept(self, declaration_id: DeclarationId, key: str, digest: bytes, draft: bytes, at: Instant) -> Item:
        """Keep a draft under the source's own key, durable on return; the same again is the item that is there.

        `digest`: SHA-256 of what was asked. Crash before the commit: nothing was accepted, and nobody was told so.
        Raises Refused("outbox.key-reused") for something else under that key; Unavailable("outbox.full"), and
        "outbox.disk" as every writing method does: then nothing was changed.
        """
        freed = "UPDATE item SET key = 'refused ' || hex(declaration_id) WHERE key = ? AND state = 'refused'"
        self._write(freed, (key,))  # no key of a source's has a space
        # Crash here: the key is free, as it would be after the next line.
        row = self._connection.execute("SELECT declaration_id, digest FROM item WHERE key = ?", (key,)).fetchone()
        if row is not None:
            if bytes(row[1]) != digest:
                raise Refused("outbox.key-reused")
            return self._item(DeclarationId(row[0]))
        if self.waiting() + self.parked() >= WAITING_MOST:
            raise Unavailable("outbox.full", limit=WAITING_MOST)
        self._write(
            "INSERT INTO item VALUES (?, ?, ?, 'waiting', ?, NULL, NULL, NULL, NULL, 0, ?, ?, NULL)",
            (declaration_id, key, digest, draft, at, at),
        )
        return self._item(declaration_id)

    def of(self, declaration_id: DeclarationId) -> Item | None:
        """What became of a declaration, or None."""
        try:
            return self._item(declaration_id)
        except KeyError:
            return None

    def keyed(self, key: str) -> Item | None:
        """What was accepted under a key of the source's, or None; what was refused stays so until the key is used."""
        row = self._connection.execute("SELECT declaration_id FROM item WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._item(DeclarationId(row[0]))

    def sign(self, declaration_id: DeclarationId, envelope: bytes) -> Item:
        """Keep what was signed. Crash before: it is signed anew, and the broker has seen neither."""
        return self._set(declaration_id, envelope=envelope)

    def unsign(self, declaration_id: DeclarationId) -> Item:
        """Sign it anew: the broker has refused these bytes for good, so it has none under this id."""
        return self._set(declaration_id, envelope=None)

    def received(self, declaration_id: DeclarationId, receipt: str, at: Instant) -> Item:
        """The broker has it. Crash before: the same bytes are sent again, and give the same receipt."""
        ended = {"next_at": at, "draft": None, "envelope": None}
        return self._set(declaration_id, state="received", receipt=receipt, code=None, problem=None, **ended)

    def refused(
        self, declaration_id: DeclarationId, code: str, pointer: str, at: Instant, problem: str | None = None
    ) -> Item:
        """The broker will never take it. The record is gone; the source's system has it."""
        ended = {"next_at": at, "draft": None, "envelope": None}
        return self._set(declaration_id, state="refused", code=code, pointer=pointer, problem=problem, **ended)

    def park(self, declaration_id: DeclarationId, code: str, pointer: str, problem: str | None = None) -> Item:
        """It is not tried again by itself: somebody has to mend what the code says. Crash before: it is tried again."""
        return self._set(declaration_id, state="parked", code=code, pointer=pointer, problem=problem)

    def retry(self, at: Instant) -> int:
        """Whatever is parked waits again, and is due. Returns how many. Crash before: it stays parked."""
        query = "UPDATE item SET state = 'waiting', attempts = 0, next_at = ?, at = ? WHERE state = 'parked'"
        return self._write(query, (at, at))

    def prune(self, before: Instant, limit: int = 1000) -> int:
        """Forget at most so many that ended before an instant, and their keys. Returns how many."""
        ended = "SELECT rowid FROM item WHERE state IN ('received', 'refused') AND next_at < ? ORDER BY next_at LIMIT ?"
        return self._write(f"DELETE FROM item WHERE rowid IN ({ended})", (before, limit))  # noqa: S608

    def later(self, item: Item, next_at: Instant, code: str, problem: str | None = None) -> Item:
        """Not now, because of this. Crash before: it is tried at once."""
        tried = {"attempts": item.attempts + 1, "next_at": next_at}
        return self._set(item.declaration_id, code=code, problem=problem, **tried)

    def due(self, at: Instant, limit: int = 50) -> Sequence[DeclarationId]:
        """What waits and is to be tried now, oldest first."""
        rows = self._connection.execute(
            "SELECT declaration_id FROM item WHERE state = 'waiting' AND next_at <= ? ORDER BY next_at, at LIMIT ?",
            (at, limit),
        )
        return [DeclarationId(row[0]) for row in rows]

    def waiting(self) -> int:
        """How many wait."""
        query = "SELECT count(*) FROM item WHERE state = 'waiting'"
        return int(self._connection.execute(query).fetchone()[0])

    def parked(self) -> int:
        """How many are parked."""
        query = "SELECT count(*) FROM item WHERE state = 'parked'"
        return int(self._connection.execute(query).fetchone()[0])

    def list_parked(self, limit: int = 100) -> Sequence[Item]:
        """What is parked, oldest first."""
        query = "SELECT declaration_id FROM item WHERE state = 'parked' ORDER BY at LIMIT ?"
        return [self._item(DeclarationId(row[0])) for row in self._connection.execute(query, (limit,)).fetchall()]

    def _write(self, query: str, values: Sequence[object]) -> int:
        """One statement, durable on return; how many rows it changed. Raises Unavailable("outbox.disk")."""
        try:
            return self._connection.execute(query, values).rowcount
        except sqlite3.OperationalError as error:
            raise Unavailable("outbox.disk", error=error.sqlite_errorname) from None

    def _set(self, declaration_id: DeclarationId, **values: Any) -> Item:
        names = ", ".join(f"{name} = ?" for name in values)  # names of our own
        query = f"UPDATE item SET {names} WHERE declaration_id = ? AND state = 'waiting'"  # noqa: S608
        self._write(query, (*values.values(), declaration_id))
        return self._item(declaration_id)

    def _item(self, declaration_id: DeclarationId) -> Item:
        query = f"SELECT {_COLUMNS} FROM item WHERE declaration_id = ?"  # noqa: S608
        row = self._connection.execute(query, (declaration_id,)).fetchone()
        if row is None:
            raise KeyError(declaration_id)
        return Item(DeclarationId(row[0]), *row[1:])
