"""Backups: a copy of the database as it is at one moment, and what has to be known of it before it is put back.

    DIR/manifest      a signed note: whose home, when, how far ledger and journal were, SHA-256 of each file
    DIR/unefois.db    the SQLite database; of PostgreSQL the operator's own tools make the copy (docs/operate.md)

Refuses: a folder in which there is something; to copy keys, or the journal of endings: a backup holds neither.
Keeps: a manifest is written last, so a folder without one is no backup; only this home's ledger key signs one.
Source: sqlite.org/backup.html.
"""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from sqlalchemy import make_url, select

from broker.maintenance import last
from broker.observability.crashpoints import mark
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.tables import ledger_checkpoints
from consent import registry
from schemas import note
from schemas.errors import Refused, Unavailable
from schemas.names import Instant, rfc3339

MANIFEST: Final = "manifest"
DATABASE: Final = "unefois.db"
FORMAT: Final = "unefois-backup/1"
MANIFEST_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself. `epochs`: the consent epochs whose keys it needs, to open anything again."""

    party: str
    origin: str
    at: str
    """The instant of the copy, RFC 3339."""
    database: str
    """`sqlite` or `postgresql`."""
    revision: str
    """Of its tables."""
    size: int
    """How many entries its newest checkpoint covers; `root` is that checkpoint's."""
    root: str
    journal: str
    position: int
    """The journal of endings, and its newest record before the copy was begun."""
    epochs: tuple[int, ...]
    files: dict[str, str]


async def backup(home: Home, folder: Path) -> Manifest:
    """A backup in a folder of its own, which is made. The broker may run meanwhile.

    Raises Refused `backup.exists`; Unavailable `backup.cannot-write`.
    """
    url = make_url(home.settings.database_url)
    position = (await home.endings.look()).position
    try:
        _make_empty(folder)
        files = {}
        if url.get_backend_name() == "sqlite":
            await asyncio.to_thread(_copy, Path(str(url.database)), folder / DATABASE)
            mark("backups.copied")
            # Crash here: a folder without a manifest, which nobody takes for a backup.
            files[DATABASE] = digest_of(folder / DATABASE)
        told = await _manifest(home, url.get_backend_name(), position, files, at=home.clock())
        text = f"{FORMAT}\n{json.dumps(asdict(told), sort_keys=True, ensure_ascii=False)}\n"
        _write(folder / MANIFEST, home.ledger.attest(text).encode())
        sync(folder)
        last.note_backup(home.settings.endings_folder, home.clock(), told.size)
    except OSError as error:
        raise Unavailable("backup.cannot-write", error=type(error).__name__) from None
    return told


async def _manifest(home: Home, database: str, position: int, files: dict[str, str], *, at: Instant) -> Manifest:
    """Facts that are read after the copy was made may be newer than the copy: then a restore asks for more, not less.

    Size and root are those of the copy itself only where nothing was ordered meanwhile; `restoring` reads the copy.
    """
    async with home.store.read() as tx:
        newest = select(ledger_checkpoints.c.size, ledger_checkpoints.c.root)
        row = (await tx.execute(newest.order_by(ledger_checkpoints.c.size.desc()).limit(1))).one_or_none()
        used = await registry.epochs_used(tx.conn)
    return Manifest(
        party=home.party,
        origin=home.settings.ledger_origin,
        at=rfc3339(at),
        database=database,
        revision=migrate.head(),
        size=0 if row is None else row.size,
        root="" if row is None else bytes(row.root).hex(),
        journal=home.endings.journal,
        position=position,
        epochs=tuple(used),
        files=files,
    )


def read(folder: Path, key: note.VerifierKey) -> Manifest:
    """The manifest of a backup of the home whose ledger has this key, and its files as they were written.

    Raises Refused: `backup.no-manifest`, `backup.other-home`, `backup.damaged`.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()[:MANIFEST_BYTES]
        signed = note.Note.parse(raw)
        if not note.verify(signed, key):
            raise Refused("backup.other-home", file=str(folder))
        head, _, told = signed.text.partition("\n")
        if head != FORMAT:
            raise Refused("backup.no-manifest", file=str(folder))
        content = json.loads(told)
        manifest = Manifest(**content | {"epochs": tuple(content["epochs"])})
        for name, digest in manifest.files.items():
            if Path(name).name != name or digest_of(folder / name) != digest:
                raise Refused("backup.damaged", file=name)
    except (OSError, ValueError, TypeError, KeyError):
        raise Refused("backup.no-manifest", file=str(folder)) from None
    except Refused as fault:
        if fault.code.startswith("note."):
            raise Refused("backup.no-manifest", file=str(folder)) from None
        raise
    return manifest


def _make_empty(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Refused("backup.exists", file=str(folder))


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> None:
    _write(target, b"")  # for its owner's eyes before there is anything in it
    try:
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy, pages=1000)
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise Unavailable("backup.cannot-write", error=type(error).__name__) from None
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def sync(folder: Path) -> None:
    """What was named or moved in this folder stays so after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
