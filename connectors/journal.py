"""The journal: what an agency's side has done already, kept for ever beside a system that cannot remember it.

Refuses: a second process (it holds the file's lock as long as it is open), and a journal of another version.
Keeps: a delivery is recorded once, in one transaction with the batch that carries it; no value of a citizen.
       A commit is on the disk when it returns (rollback journal, `synchronous=EXTRA`).

Whoever reads it: learns which declarations came from whom, by number. Whoever changes it: can make a row be written
twice or never. Whoever deletes it: makes every delivery that is handed out again be written again.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from connectors import exclusive
from schemas.delivery import VerifiedDelivery
from schemas.names import DeclarationId, DeliveryId, Instant, ManifestDigest, PartyId

_STEPS = (
    """
CREATE TABLE batch (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest BLOB NOT NULL, published INTEGER NOT NULL);
CREATE TABLE delivery (
  delivery_id BLOB PRIMARY KEY, source TEXT NOT NULL, declaration_id BLOB NOT NULL, manifest_digest BLOB NOT NULL,
  batch INTEGER NOT NULL REFERENCES batch (number), reference TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX delivery_declaration ON delivery (source, declaration_id);
CREATE INDEX batch_unpublished ON batch (number) WHERE published = 0;
CREATE TABLE told (
  delivery_id BLOB PRIMARY KEY, attempts INTEGER NOT NULL, next_at INTEGER, at INTEGER NOT NULL) WITHOUT ROWID
""",
    """
CREATE TABLE handed (
  delivery_id BLOB PRIMARY KEY, until TEXT NOT NULL, code TEXT, reason TEXT, more TEXT, reference TEXT,
  state INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX handed_unheard ON handed (at) WHERE state = 1;
CREATE INDEX handed_waiting ON handed (until) WHERE state = 0;
CREATE TABLE looked (name TEXT PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID
""",
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One file: its number in the sequence, its name, the SHA-256 of its bytes."""

    number: int
    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivery in a batch, with the reference that the broker is told."""

    delivery_id: DeliveryId
    source: PartyId
    declaration_id: DeclarationId
    manifest_digest: ManifestDigest
    reference: str

    @classmethod
    def of(cls, delivery: VerifiedDelivery, reference: str) -> Self:
        """The entry of a verified delivery."""
        return cls(delivery.delivery_id, delivery.source, delivery.declaration_id, delivery.manifest_digest, reference)


class Journal:
    """An open journal. Its methods block for a few milliseconds; call them from a thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create it, and keep others out until `close`.

        Raises Unavailable("journal.in-use") while another process has it, "journal.disk" for a disk that is full or
        fails, Refused for what is no journal.
        """
        return cls(exclusive.journal(path, _STEPS, "foreign_keys = ON"))

    @property
    def connection(self) -> sqlite3.Connection:
        """For what else is kept in it: `connectors.file.handed`."""
        return self._connection

    def close(self) -> None:
        """Let others in. Safe to call twice."""
        self._connection.close()

    def entry(self, delivery_id: DeliveryId) -> str | None:
        """The reference under which a delivery was recorded, or None."""
        row = self._connection.execute(
            "SELECT reference FROM delivery WHERE delivery_id = ?", (delivery_id,)
        ).fetchone()
        return None if row is None else str(row[0])

    def published(self, delivery_id: DeliveryId) -> str | None:
        """Like `entry`, but only where the batch's file has its final name."""
        query = "SELECT reference FROM delivery JOIN batch ON batch = number WHERE delivery_id = ? AND published = 1"
        row = self._connection.execute(query, (delivery_id,)).fetchone()
        return None if row is None else str(row[0])

    def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """The manifest under which a declaration was recorded, or None."""
        row = self._connection.execute(
            "SELECT manifest_digest FROM delivery WHERE source = ? AND declaration_id = ? LIMIT 1",
            (str(source), declaration_id),
        ).fetchone()
        return None if row is None else ManifestDigest(row[0])

    def next_number(self) -> int:
        """The number after the last recorded batch, from 1."""
        return 1 + int(self._connection.execute("SELECT coalesce(max(number), 0) FROM batch").fetchone()[0])

    def record(self, batch: Batch, entries: Iterable[Entry], at: Instant, until: str | None = None) -> None:
        """A batch, unpublished, with its deliveries: all or nothing, durable on return. `until`: the day until which an
        answer to each is waited for; a delivery that comes again after its answer is recorded anew.

        Crash before the commit: nothing is known of it. After: `unpublished` names it.
        """
        rows = [(e.delivery_id, str(e.source), e.declaration_id, e.manifest_digest, batch.number, e.reference, at)
                for e in entries]  # fmt: skip
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT INTO batch VALUES (?, ?, ?, 0)", (batch.number, batch.name, batch.digest))
            word = "INSERT" if until is None else "INSERT OR REPLACE"
            self._connection.executemany(f"{word} INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            waiting = [] if until is None else [(row[0], until, at) for row in rows]
            query = "INSERT OR REPLACE INTO handed VALUES (?, ?, NULL, NULL, NULL, NULL, 0, ?)"
            self._connection.executemany(query, waiting)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def unpublished(self) -> tuple[Batch, ...]:
        """Recorded batches whose file may not have its final name yet, oldest first."""
        rows = self._connection.execute("SELECT number, name, digest FROM batch WHERE published = 0 ORDER BY number")
        return tuple(Batch(number, name, digest) for number, name, digest in rows)

    def publish(self, batch: Batch) -> None:
        """Note that the batch's file has its final name. Repeating it changes nothing."""
        self._connection.execute("UPDATE batch SET published = 1 WHERE number = ?", (batch.number,))

    def told(self, delivery_id: DeliveryId, now: Instant) -> int | None:
        """How often telling this delivery failed, if it is due now; None when it was heard or its time has not come."""
        row = self._connection.execute(
            "SELECT attempts, next_at FROM told WHERE delivery_id = ?", (delivery_id,)
        ).fetchone()
        if row is None:
            return 0
        attempts, next_at = row
        return int(attempts) if next_at is not None and next_at <= now else None

    def note_told(self, delivery_id: DeliveryId, at: Instant, *, next_at: Instant | None = None) -> None:
        """Heard (no `next_at`), or not heard and due again at `next_at`.

        Crash before: the agency is told once more, with the same message id.
        """
        self._connection.execute(
            "INSERT INTO told VALUES (?, 1, ?, ?) ON CONFLICT (delivery_id)"
            " DO UPDATE SET attempts = attempts + 1, next_at = excluded.next_at, at = excluded.at",
            (delivery_id, next_at, at),
        )

    def forget_told(self, before: Instant) -> int:
        """Drop what was heard before an instant; a delivery that still waits after so long is told again."""
        return self._connection.execute("DELETE FROM told WHERE next_at IS NULL AND at < ?", (before,)).rowcount
