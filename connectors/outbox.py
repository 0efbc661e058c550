"""The outbox: what a source has accepted and the broker may not have yet, in one file that nobody else may read.

    waiting ──signed, handed in──► received      with the broker's signed receipt
       └───────────────────────────► refused     with the broker's code and the place that it points to

Refuses: a second process, a file of another version, another declaration under a key that was used.
Keeps: what was accepted is on the disk before anybody is told so, and is signed once: what is sent again is the same
bytes. The record is there only as long as it waits; then it is overwritten (`secure_delete`).

Whoever reads it: reads what waits, as the source's own system does. It is the source's own, on the source's machine.
"""

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from schemas.errors import Refused, Unavailable
from schemas.names import DeclarationId, Instant

_VERSION: Final = 1
WAITING_MOST: Final = 100_000
_COLUMNS: Final = "declaration_id, key, state, draft, envelope, receipt, code, pointer, attempts, at"
_TABLES: Final = """
CREATE TABLE item (
  declaration_id BLOB PRIMARY KEY, key TEXT NOT NULL UNIQUE, digest BLOB NOT NULL, state TEXT NOT NULL, draft BLOB,
  envelope BLOB, receipt TEXT, code TEXT, pointer TEXT, attempts INTEGER NOT NULL, next_at INTEGER NOT NULL,
  at INTEGER NOT NULL);
CREATE INDEX item_waiting ON item (next_at) WHERE state = 'waiting';
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One declaration. `draft`: what is to be signed, JSON; `envelope`: what was signed, None before."""

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


class Outbox:
    """An open outbox. Its methods block for a few milliseconds; call them from a thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create it, and keep others out until `close`.

        Raises Unavailable("outbox.in-use") while another process has it, Refused("outbox.unreadable") for what is none.
        """
        connection = None
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
            # EXCLUSIVE keeps the lock of the first write until the connection ends, even by kill -9.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN EXCLUSIVE")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            locked = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
        except OSError:
            locked = False
        else:
            if version in {0, _VERSION}:
                return cls(connection)
            locked = False
        if connection is not None:
            connection.close()
        if locked:
            raise Unavailable("outbox.in-use")
        raise Refused("outbox.unreadable")

    def close(self) -> None:
        """Let others in. Safe to call twice."""
        self._connection.close()

    def accept(self, declaration_id: DeclarationId, key: str, digest: bytes, draft: bytes, at: Instant) -> Item:
        """Keep a draft under the source's own key, durable on return; the same again is the item that is there.

        `digest`: SHA-256 of what was asked. Crash before the commit: nothing was accepted, and nobody was told so.
        Raises Refused("outbox.key-reused") for something else under that key; Unavailable("outbox.full").
        """
        row = self._connection.execute("SELECT declaration_id, digest FROM item WHERE key = ?", (key,)).fetchone()
        if row is not None:
            if bytes(row[1]) != digest:
                raise Refused("outbox.key-reused")
            return self._item(DeclarationId(row[0]))
        if self.waiting() >= WAITING_MOST:
            raise Unavailable("outbox.full", limit=WAITING_MOST)
        self._connection.execute(
            "INSERT INTO item VALUES (?, ?, ?, 'waiting', ?, NULL, NULL, NULL, NULL, 0, ?, ?)",
            (declaration_id, key, digest, draft, at, at),
        )
        return self._item(declaration_id)

    def of(self, declaration_id: DeclarationId) -> Item | None:
        """What became of a declaration, or None."""
        try:
            return self._item(declaration_id)
        except KeyError:
            return None

    def sign(self, declaration_id: DeclarationId, envelope: bytes) -> Item:
        """Keep what was signed. Crash before: it is signed anew, and the broker has seen neither."""
        return self._set(declaration_id, envelope=envelope)

    def unsign(self, declaration_id: DeclarationId) -> Item:
        """Sign it anew: the broker has refused these bytes for good, so it has none under this id."""
        return self._set(declaration_id, envelope=None)

    def received(self, declaration_id: DeclarationId, receipt: str) -> Item:
        """The broker has it. Crash before: the same bytes are sent again, and give the same receipt."""
        return self._set(declaration_id, state="received", receipt=receipt, code=None, draft=None, envelope=None)

    def refused(self, declaration_id: DeclarationId, code: str, pointer: str) -> Item:
        """The broker will never take it. The record is gone; the source's system has it."""
        return self._set(declaration_id, state="refused", code=code, pointer=pointer, draft=None, envelope=None)

    def later(self, item: Item, next_at: Instant, code: str) -> Item:
        """Not now, because of this. Crash before: it is tried at once."""
        return self._set(item.declaration_id, attempts=item.attempts + 1, next_at=next_at, code=code)

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

    def _set(self, declaration_id: DeclarationId, **values: Any) -> Item:
        names = ", ".join(f"{name} = ?" for name in values)  # names of our own
        query = f"UPDATE item SET {names} WHERE declaration_id = ? AND state = 'waiting'"  # noqa: S608
        self._connection.execute(query, (*values.values(), declaration_id))
        return self._item(declaration_id)

    def _item(self, declaration_id: DeclarationId) -> Item:
        query = f"SELECT {_COLUMNS} FROM item WHERE declaration_id = ?"  # noqa: S608
        row = self._connection.execute(query, (declaration_id,)).fetchone()
        if row is None:
            raise KeyError(declaration_id)
        return Item(DeclarationId(row[0]), *row[1:])
