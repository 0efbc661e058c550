"""Aside: what a check has to find again later and must not keep in memory: in a file that is gone with it.

    entries   of the ledger that nothing opens any more, by their tag: public anyway
    tags      the delivery that each is of, as a keyed hash: it tells nobody which
    forgotten declarations that pruning took, by a keyed hash of their manifest

Refuses: what is not public or hashed under a key that this process alone has.
Keeps: memory is that of SQLite's cache, 2 MB.
"""

import hmac
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

_TABLES: Final = """
CREATE TABLE entries (tag BLOB NOT NULL, position INTEGER NOT NULL, id INTEGER NOT NULL, entry BLOB NOT NULL);
CREATE INDEX by_tag ON entries (tag, position);
CREATE TABLE forgotten (manifest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE tags (tag BLOB PRIMARY KEY, delivery BLOB NOT NULL) WITHOUT ROWID;
"""

Entries = tuple[int, int, bytes]
"""Position, id and bytes."""


class Aside:
    """A private database in the folder for temporary files, without a name."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._kept = sqlite3.connect("", isolation_level=None)
        self._kept.executescript(f"PRAGMA cache_size = -2000; PRAGMA journal_mode = OFF; {_TABLES}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kept.close()

    def add(self, tag: bytes, position: int, number: int, entry: bytes) -> None:
        """An entry with a tag that nothing opens."""
        self._kept.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (tag, position, number, entry))

    def take(self, tag: bytes) -> list[Entries]:
        """Those of a tag, which are not left any more."""
        found = self._kept.execute("SELECT position, id, entry FROM entries WHERE tag = ? ORDER BY position", (tag,))
        rows: list[Entries] = found.fetchall()
        if rows:
            self._kept.execute("DELETE FROM entries WHERE tag = ?", (tag,))
        return rows

    def left(self) -> Iterator[Entries]:
        """Those that nobody took, tag after tag, each in the order of positions."""
        yield from self._kept.execute("SELECT position, id, entry FROM entries ORDER BY tag, position")

    def strangers(self, tags: Mapping[bytes, bytes]) -> list[bytes]:
        """Remember of which delivery each tag is; those that were of another one when they were told before."""
        hashed = [(tag, self._hashed(delivery)) for tag, delivery in tags.items()]
        self._kept.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", hashed)
        return [tag for tag, whose in hashed if self._of(tag) != whose]

    def forget(self, manifests: Iterable[bytes]) -> None:
        """These are forgotten."""
        hashed = [(self._hashed(one),) for one in manifests]
        self._kept.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", hashed)

    def is_forgotten(self, manifest: bytes) -> bool:
        """Whether this one is."""
        asked = "SELECT 1 FROM forgotten WHERE manifest = ?"
        return self._kept.execute(asked, (self._hashed(manifest),)).fetchone() is not None

    def _hashed(self, told: bytes) -> bytes:
        return hmac.digest(self._key, told, "sha256")

    def _of(self, tag: bytes) -> bytes:
        ((delivery,),) = self._kept.execute("SELECT delivery FROM tags WHERE tag = ?", (tag,)).fetchall()
        return bytes(delivery)
