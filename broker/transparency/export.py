"""Export: the ledger as a folder of files that any web server serves and any C2SP tlog-tiles reader reads.

    <folder>/vkey              the log's verifier key
    <folder>/checkpoint        the newest signed checkpoint
    <folder>/tile/...          hashes and entries
    <folder>/follows/...       how the ledgers ended that this one follows, if it follows any

Refuses: a folder that holds another log, or a history that ours does not continue: it is never written over.
Keeps: the checkpoint is written last, so at every moment the folder is a whole log of the size that it says; a file is
whole or not there. Exporting again writes only what is new.
Source: c2sp.org/tlog-tiles.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from broker.ledger import predecessors
from broker.ledger.sequencer import files_of, newest_checkpoint
from broker.observability.crashpoints import mark
from broker.store.engine import Store
from schemas import checkpoint, following, merkle, tiles
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused, Unavailable
from schemas.note import Note, VerifierKey
from schemas.tiles import Tile

CHECKPOINT: Final = "checkpoint"
KEY: Final = "vkey"

_UNFINISHED: Final = ".unfinished"


@dataclass(frozen=True, slots=True)
class Exported:
    """The log in the folder: its size now and before, and how many files were written."""

    size: int
    before: int
    files: int


async def export(store: Store, key: VerifierKey, folder: Path) -> Exported:
    """Bring the folder up to the newest checkpoint of the ledger; it is made when it is not there.

    Raises Refused: `ledger.empty`, `export.other-log`, `export.other-history`. Raises Unavailable `export.away`.
    """
    async with store.read() as tx:
        size, signed = await newest_checkpoint(tx)
        try:
            return await tx.conn.run_sync(_write_all, Note.parse(signed.encode()), size, key, folder)
        except OSError as error:
            raise Unavailable("export.away", error=type(error).__name__) from None


def _write_all(conn: Connection, signed: Note, size: int, key: VerifierKey, folder: Path) -> Exported:
    folder.mkdir(parents=True, exist_ok=True)
    before = _exported(folder, key)
    read = files_of(conn)
    if before.size > size or merkle.root_at(before.size, tiles.hash_reader(size, read)) != before.root:
        raise Refused("export.other-history", size=before.size)
    _write(folder / KEY, _key_file(key))
    changed = tiles.changed(before.size, size)
    for tile in changed:
        _write(folder / tile.path, read(tile.path))
        if tile.width == tiles.WIDTH:
            _drop_partial(folder, tile)
        mark("export.tile")
        # Crash here: files beyond what the checkpoint tells of, which no reader asks for; the next export writes them.
    ends = predecessors.notes_of(conn)
    for index, note in enumerate(ends):
        _write(folder / following.path(index), note.encode())
        # Crash here: as above; a reader of the checkpoint before asks for none that is not there.
    _write(folder / CHECKPOINT, signed.encode())
    mark("export.done")
    # Crash here: the export is whole.
    return Exported(size, before.size, len(changed) + len(ends) + 2)


def _exported(folder: Path, key: VerifierKey) -> Checkpoint:
    """What the folder holds already; nothing is believed that this log has not signed."""
    try:
        if (folder / KEY).exists() and (folder / KEY).read_bytes() != _key_file(key):
            raise Refused("export.other-log")
        return checkpoint.verify(Note.parse((folder / CHECKPOINT).read_bytes()), key).checkpoint
    except FileNotFoundError:  # nothing yet, or an export that never came to its checkpoint
        return Checkpoint(key.name, 0, merkle.EMPTY_ROOT)
    except Refused:
        raise Refused("export.other-log") from None


def _key_file(key: VerifierKey) -> bytes:
    return f"{key.text}\n".encode()


def _drop_partial(folder: Path, tile: Tile) -> None:
    """A full tile takes the place of its partial ones; whoever still asks for one falls back to it."""
    partial = Path(f"{folder / tile.path}.p")
    if partial.is_dir():
        shutil.rmtree(partial)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and durable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}{_UNFINISHED}")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
