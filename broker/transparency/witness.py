"""Witness: cosigns the checkpoints of logs that it knows, each continuing the last one that it cosigned of that log.

    <folder>/witness.db     the last tree of each log, and forks as they were seen
    <folder>/key/witness    the signing key, 32 bytes

Refuses: a log whose key it was not given; a second witness in a folder; to start without the trees that it cosigned:
who lost them makes a new witness, with a new name and key, for an old key would vouch for what it no longer knows.
Keeps: reading the last tree, judging and writing the new one down are one transaction, durable before the signature is
made: no crash and no race makes it sign two trees of which neither continues the other.
Source: c2sp.org/tlog-witness. Independent of a broker's home: a witness is worth something where somebody else runs it.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from broker.keys.folder import PrivateFolder
from broker.observability.crashpoints import mark
from broker.ports import Clock
from schemas import checkpoint, witnessing
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused, Unavailable
from schemas.note import KeyType, Note, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Submission

STORE: Final = "witness.db"
FORKS: Final = 100
"""Forks kept of one log: one is proof enough."""
_KEY: Final = "witness"
_WAIT_SECONDS: Final = 10
_TABLES: Final = """
create table witness (name text not null);
create table seen (origin text primary key, size integer not null, root blob not null);
create table forks (origin text not null, note blob not null, primary key (origin, note));
"""


def create(folder: Path, name: str, key: PrivateKey) -> VerifierKey:
    """A new witness in a folder. Calling it again with the same name finishes what a crash left.

    Raises Refused: `witness.exists`, `witness.missing` (a key whose trees are gone), `note.name`, `keys.*`. Raises
    Unavailable `witness.away`, `keys.away`.
    """
    VerifierKey.of(name, key, KeyType.COSIGNATURE_ED25519)
    store, unfinished = folder / STORE, folder / f"{STORE}.unfinished"
    if store.exists():
        raise Refused("witness.exists", file=str(folder))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    secrets = PrivateFolder(folder / "key")
    if secrets.read(_KEY) is None:
        unfinished.unlink(missing_ok=True)
        with _faults(), _connected(unfinished, "rwc") as made:
            made.executescript(_TABLES)
            made.execute("insert into witness values (?)", (name,))
        # Crash here: a store without its name and without a key; the next call makes it anew.
        secrets.write(_KEY, key.to_raw())
    # Crash here: a key that has signed nothing, beside its store; the next call gives the store its name.
    if not unfinished.exists():
        raise Refused("witness.missing", file=str(folder))
    unfinished.rename(store)
    return VerifierKey.of(name, _key(secrets), KeyType.COSIGNATURE_ED25519)


class Witness:
    """A witness at work. Made by `open`; may be called from several threads, and beside another of the same folder."""

    def __init__(self, store: sqlite3.Connection, key: PrivateKey, logs: Mapping[str, VerifierKey], clock: Clock):
        (self._name,) = store.execute("select name from witness").fetchone()
        self._store = store
        self._key = key
        self._logs = logs
        self._clock = clock
        self._turn = threading.Lock()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, logs: tuple[VerifierKey, ...], clock: Clock) -> Iterator[Self]:
        """The witness of a folder that `create` made, for these logs.

        Raises Refused: `witness.missing`, `witness.log-twice`, `keys.*`. Raises Unavailable `witness.away`.
        """
        known = {log.name: log for log in logs}
        if len(known) != len(logs):
            raise Refused("witness.log-twice")
        if not (folder / STORE).is_file():
            raise Refused("witness.missing", file=str(folder))
        with _faults(), _connected(folder / STORE, "rw") as store:
            yield cls(store, _key(PrivateFolder(folder / "key")), known, clock)

    @property
    def verifier_key(self) -> VerifierKey:
        """What others check its cosignatures with."""
        return VerifierKey.of(self._name, self._key, KeyType.COSIGNATURE_ED25519)

    def add(self, body: bytes) -> bytes:
        """Judge a submission; the cosignature line for it.

        Raises Refused: `witness.unknown-log`, and what `Submission.parse` and `witnessing.judge` raise. Raises
        Unavailable `witness.away`.
        """
        submission = Submission.parse(body)
        origin = witnessing.origin_of(submission)
        log = self._logs.get(origin)
        if log is None:
            raise Refused("witness.unknown-log")
        with _faults(), self._turn:
            self._advance(submission, log)
        line = checkpoint.cosign(submission.signed, self._name, self._key, KeyType.COSIGNATURE_ED25519, self._clock())
        return line.text.encode()

    def _advance(self, submission: Submission, log: VerifierKey) -> None:
        self._store.execute("begin immediate")
        try:
            tree = witnessing.judge(submission, log, self._last(log.name))
            row = (log.name, tree.size, tree.root)
            self._store.execute("insert or replace into seen values (?, ?, ?)", row)
            mark("witness.judged")
            # Crash here: nothing was written, nothing was signed.
            self._store.execute("commit")
        except Refused as fault:
            if fault.code == "witnessing.fork":
                self._keep(log.name, submission.signed)
            self._store.execute("commit")
            raise
        finally:
            if self._store.in_transaction:
                self._store.execute("rollback")
        mark("witness.advanced")
        # Crash here: the tree is the last one; the log hears nothing, learns the size by a 409, and asks again from it.

    def _last(self, origin: str) -> Checkpoint | None:
        row = self._store.execute("select size, root from seen where origin = ?", (origin,)).fetchone()
        return None if row is None else Checkpoint(origin, *row)

    def _keep(self, origin: str, signed: Note) -> None:
        """The other tree, signed by its log: with what others hold of the first one, it is proof of a fork."""
        (count,) = self._store.execute("select count(*) from forks where origin = ?", (origin,)).fetchone()
        if count < FORKS:
            self._store.execute("insert or ignore into forks values (?, ?)", (origin, signed.encode()))

    def forks(self) -> tuple[bytes, ...]:
        """Checkpoints that logs signed beside the ones that were cosigned."""
        with _faults(), self._turn:
            return tuple(row[0] for row in self._store.execute("select note from forks order by origin, note"))


def _key(secrets: PrivateFolder) -> PrivateKey:
    raw = secrets.read(_KEY)
    if raw is None:
        raise Refused("witness.missing", file=str(secrets.path))
    return PrivateKey.from_raw(Algorithm.ED25519, raw)


@contextmanager
def _connected(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Durable when `commit` returns: synchronous=EXTRA syncs the folder too, once the rollback journal is gone."""
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    store = sqlite3.connect(uri, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
    try:
        store.execute("pragma synchronous = extra")
        yield store
    finally:
        store.close()


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable("witness.away", error=type(error).__name__) from None
