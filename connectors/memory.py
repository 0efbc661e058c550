"""What this side has asked of a system over HTTP, in one file: written before it is asked, and when it is known.

    asked ──answered──► answered (number) ──read back──► done
      └── surely not done: forgotten

Refuses: a second process (the file's lock), a file of another version.
Keeps: a commit is on the disk when it returns. What is `answered` is never sent again, whatever the system shows.
It is not the proof that something was written: the system itself is, where it can be looked into.

Whoever reads it: learns which declarations came from whom, by number. Whoever deletes it: each delivery that is handed
out again is asked for again, or looked for in the system first.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from connectors import exclusive
from schemas.delivery import VerifiedDelivery
from schemas.errors import Unavailable
from schemas.names import DeclarationId, DeliveryId, Instant, ManifestDigest, PartyId

_STEPS = (
    """
CREATE TABLE asked (
  delivery_id BLOB PRIMARY KEY, source TEXT NOT NULL, declaration_id BLOB NOT NULL, manifest_digest BLOB NOT NULL,
  formdata TEXT, number TEXT, done INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX asked_declaration ON asked (source, declaration_id);
CREATE INDEX asked_open ON asked (formdata) WHERE number IS NULL
""",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """`number`: what the system calls it, once it has answered; `at`: when it was asked last."""

    number: str | None
    done: bool
    at: Instant


class Memory:
    """An open file. Its methods block for a few milliseconds; call them from a thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create it. Raises Unavailable("journal.in-use", "journal.disk"), Refused("journal.unreadable")."""
        return cls(exclusive.journal(path, _STEPS))

    def close(self) -> None:
        """Let others in. Safe to call twice."""
        self._connection.close()

    def of(self, delivery_id: DeliveryId) -> Asked | None:
        """What is known of a delivery."""
        query = "SELECT number, done, at FROM asked WHERE delivery_id = ?"
        row = self._connection.execute(query, (delivery_id,)).fetchone()
        return None if row is None else Asked(row[0], bool(row[1]), Instant(row[2]))

    def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """The manifest under which a declaration was asked for, or None."""
        query = "SELECT manifest_digest FROM asked WHERE source = ? AND declaration_id = ? LIMIT 1"
        row = self._connection.execute(query, (str(source), declaration_id)).fetchone()
        return None if row is None else ManifestDigest(row[0])

    def is_open(self, formdata: str, since: Instant) -> bool:
        """Whether an act on this formdata was asked since then, and nobody knows its end."""
        query = "SELECT 1 FROM asked WHERE formdata = ? AND number IS NULL AND at > ?"
        return self._connection.execute(query, (formdata, since)).fetchone() is not None

    def ask(self, delivery: VerifiedDelivery, formdata: str | None, at: Instant) -> None:
        """It is about to be asked, or asked again; `formdata`: what it changes, where that is done one at a time.

        Crash after it: nobody knows, and it is looked for before it is asked again.
        """
        self._write(
            "INSERT INTO asked VALUES (?, ?, ?, ?, ?, NULL, 0, ?)"
            " ON CONFLICT (delivery_id) DO UPDATE SET at = excluded.at",
            *_key(delivery),
            formdata,
            at,
        )

    def forget(self, delivery_id: DeliveryId) -> None:
        """It was surely not done. Crash before: it is looked for, in vain, and asked again later."""
        self._write("DELETE FROM asked WHERE delivery_id = ? AND number IS NULL", delivery_id)

    def answered(self, delivery: VerifiedDelivery, number: str, at: Instant, *, done: bool) -> None:
        """The system has it under this number; `done`: whole."""
        self._write(
            "INSERT INTO asked VALUES (?, ?, ?, ?, NULL, ?, ?, ?)"
            " ON CONFLICT (delivery_id) DO UPDATE SET number = excluded.number, done = excluded.done",
            *_key(delivery),
            number,
            done,
            at,
        )

    def _write(self, query: str, *values: object) -> None:
        try:
            self._connection.execute(query, values)
        except sqlite3.OperationalError:
            pass
        else:
            return
        raise Unavailable("journal.disk")


def _key(delivery: VerifiedDelivery) -> tuple[bytes, str, bytes, bytes]:
    return delivery.delivery_id, str(delivery.source), delivery.declaration_id, delivery.manifest_digest
