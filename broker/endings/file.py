"""The journal in a file: append-only, in a private folder beside the keys.

    journal   header | frame | frame | ...        mark   the sealed mark; empty before the first
    spent/    an empty file for each thing that counts once, named by its end and its digest

Refuses: a file that another account owns or can open; a journal whose key is there and whose file is not.
Keeps: the port's promises. Writers take the folder's lock, in every process; what a crash left half written at the end
is cut off by the next one. Readers take none: one `stat`, and what is new. A new mark takes the place of the one before
as a whole file, however many entries it names.
Source: docs/architecture.md, "The endings journal".
"""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from broker.ended import Ended, Ending, Endings, Mark, kept
from broker.endings import frames
from broker.endings.frames import HEADER_BYTES, LENGTH_BYTES, MOST_BYTES, Frames, Place
from broker.keys.folder import PrivateFolder
from broker.observability.crashpoints import mark
from broker.ports import Entropy, KeyKind, KeyStore
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.names import Instant

JOURNAL: Final = "journal"
MARK: Final = "mark"
SPENT: Final = "spent"
SWEEP_MS: Final = 60_000
"""From one look for what is spent and over to the next."""
_UNFINISHED: Final = ".unfinished"
_SAFELY: Final = os.O_NOFOLLOW | os.O_CLOEXEC

_Sign = tuple[int, int, int]
"""A file as it was when it was read: which, how long, of when."""


class FileEndings(Endings):
    """Made by `FileEndings.open`."""

    def __init__(self, folder: PrivateFolder, sealer: Frames) -> None:
        self._folder = folder
        self._spent, self._swept = PrivateFolder(folder.path / SPENT), Instant(0)
        self._path = str(folder.path / JOURNAL)
        self._frames = sealer
        self._reading = threading.Lock()
        self._seen: _Sign | None = None
        self._header = b""
        self._offset = 0
        self._place = Place(0, b"")
        self._ended = Ended()
        with _faults(), self._reading:
            self._read()

    @classmethod
    def open(cls, path: Path, keys: KeyStore, entropy: Entropy) -> "FileEndings":
        """The journal in a folder; begun where there never was one. Its parent must exist.

        Raises Refused: `endings.readable-by-others`, `keys.readable-by-others`. Raises Corrupt: `endings.lost`,
        `endings.no-key`, `endings.damaged`; Unavailable `endings.away`.
        """
        folder = PrivateFolder(path)
        with _faults(), folder.alone() as held:
            key, there = frames.key_of(keys), (path / JOURNAL).exists()
            if key is None:
                if there and (path / JOURNAL).stat().st_size > HEADER_BYTES:
                    raise Corrupt("endings.no-key")
                key = entropy(32)
                header = Frames(key, entropy).header(entropy(frames.JOURNAL_BYTES))
                for name, content in ((JOURNAL, header), (MARK, b"")):
                    _write_new(path / name, content, os.O_TRUNC)
                os.fsync(held)
                mark("endings.begun")
                # Crash here: a journal without its key, and nothing in it; the next start begins it anew.
                keys.write(KeyKind.ENDINGS, frames.KEY, key)
            elif not there or not (path / MARK).exists():
                raise Corrupt("endings.lost")
        return cls(folder, Frames(key, entropy))

    async def look(self) -> Ended:
        try:
            seen = os.stat(self._path)
        except OSError as error:
            raise _away(error) from None
        if _sign(seen) != self._seen:
            with _faults(), self._reading:
                self._read()
        return self._ended

    async def marked(self) -> Mark | None:
        with _faults():
            return self._read_mark()[1]

    async def compact(self, before: Instant, over: Mapping[str, Instant]) -> int:
        return await asyncio.to_thread(self._compact, before, over)

    async def spend(self, digest: bytes, until: Instant, at: Instant) -> bool:
        return await asyncio.to_thread(self._spend, digest, until, at)

    async def _write(self, encoded: Sequence[bytes]) -> None:
        await asyncio.to_thread(self._append, encoded)

    async def _mark(self, encoded: bytes, seen: Mark | None) -> None:
        await asyncio.to_thread(self._move_mark, encoded, seen)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> None:
        """Take in what is new; all of it when the file is another one."""
        descriptor = _opened(self._path, os.O_RDONLY)
        try:
            found = os.fstat(descriptor)
            header = os.pread(descriptor, HEADER_BYTES, 0)
            if header != self._header:
                journal, place = frames.start(header)
                if self._header and journal.hex() != self.journal:
                    raise Corrupt("endings.damaged", number=0)
                self.journal, self._header, self._place, self._offset = journal.hex(), header, place, HEADER_BYTES
                self._ended = Ended()
            if found.st_size < self._offset:
                raise Corrupt("endings.cut", position=self._place.number)
            content = _all(descriptor, self._offset, found.st_size)
        finally:
            os.close(descriptor)
        ours = bytes.fromhex(self.journal)
        for frame in _cut(content, self._place.number):
            self._place, ending = self._frames.open(ours, self._place, frame)
            self._ended.add(self._place.number, ending)
            self._offset += len(frame)
        self._seen = _sign(found)

    def _read_mark(self) -> tuple[int, Mark | None]:
        """How many marks there were, and the newest: a whole file, for it got its name by being renamed."""
        descriptor = _opened(self._folder.path / MARK, os.O_RDONLY)
        try:
            sealed = _all(descriptor, 0, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        return self._frames.open_mark(bytes.fromhex(self.journal), sealed) if sealed else (0, None)

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """The only writer, who has read everything. Gives the folder's descriptor."""
        with _faults(), self._folder.alone() as held:
            with self._reading:
                self._read()
            yield held
            with self._reading:
                self._read()

    def _append(self, encoded: Sequence[bytes]) -> None:
        with self._alone():
            made, journal, place = [], bytes.fromhex(self.journal), self._place
            for record in encoded:
                made.append(self._frames.seal(journal, place.number + 1, place, record))
                place, _ = self._frames.open(journal, place, made[-1])
            descriptor = _opened(self._path, os.O_RDWR)
            try:
                os.ftruncate(descriptor, self._offset)  # what a crash left half written
                _put(descriptor, made, self._offset)
                mark("endings.appended")
                # Crash here: the records may be there, and nobody was told; the next start completes what they say.
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _move_mark(self, encoded: bytes, seen: Mark | None) -> None:
        with self._alone() as held:
            count, now = self._read_mark()
            if now != seen:
                raise Unavailable("endings.marked-meanwhile")
            self._replace(MARK, self._frames.seal_mark(bytes.fromhex(self.journal), count + 1, encoded), held)
            mark("endings.marked")
            # Crash here: the mark is ahead of the ledger, by entries that it names; the next turn signs just these.

    def _spend(self, digest: bytes, until: Instant, at: Instant) -> bool:
        with _faults():
            if not 0 <= at - self._swept < SWEEP_MS:
                for name in self._spent.names():
                    if int(name.partition("-")[0]) < at:
                        with suppress(FileNotFoundError):  # another process sweeps, too
                            os.unlink(self._spent.path / name)
                self._swept = at
            return self._spent.write(f"{until}-{digest.hex()}", b"")

    def _compact(self, before: Instant, over: Mapping[str, Instant]) -> int:
        with self._alone() as held:
            records = self._records()
            stays = set(kept([(number, ending) for number, ending in records], before, over)) if records else set()
            if len(stays) == len(records):
                return 0
            journal = bytes.fromhex(self.journal)
            header = self._frames.header(journal)
            _, place = frames.start(header)
            made = [header]
            for number, ending in records:
                if number in stays:
                    made.append(self._frames.seal(journal, number, place, ending.encode()))
                    place, _ = self._frames.open(journal, place, made[-1])
            self._replace(JOURNAL, b"".join(made), held)
            mark("endings.compacted")
            # Crash here: it is done.
        return len(records) - len(stays)

    def _replace(self, name: str, content: bytes, held: int) -> None:
        """A file gets another content, whole or not at all, and durably. The caller is alone."""
        _write_new(self._folder.path / _UNFINISHED, content, os.O_EXCL)
        mark("endings.unfinished")
        # Crash here: a file without its name, which the next writer takes away; the one of this name is as it was.
        os.rename(self._folder.path / _UNFINISHED, self._folder.path / name)
        os.fsync(held)

    def _records(self) -> list[tuple[int, Ending]]:
        """Every record that there is."""
        descriptor = _opened(self._path, os.O_RDONLY)
        try:
            content = _all(descriptor, HEADER_BYTES, self._offset)
        finally:
            os.close(descriptor)
        journal, place = frames.start(self._header)
        found = []
        for frame in _cut(content, 0):
            place, ending = self._frames.open(journal, place, frame)
            found.append((place.number, ending))
        return found


def _cut(content: bytes, number: int) -> Iterator[bytes]:
    """The whole frames at the beginning; a last one that is incomplete, or without its tag, is still being written."""
    at = 0
    while len(content) - at >= LENGTH_BYTES:
        size = int.from_bytes(content[at : at + LENGTH_BYTES], "big")
        if size == 0 and not any(content[at:]):
            return
        if not 0 < size <= MOST_BYTES:
            raise Corrupt("endings.damaged", number=number + 1)
        frame = content[at : at + LENGTH_BYTES + size]
        at += len(frame)
        if len(frame) < LENGTH_BYTES + size or (at == len(content) and frames.torn(frame)):
            return
        number += 1
        yield frame


def _put(descriptor: int, parts: Sequence[bytes], offset: int) -> None:
    """Write them all. On a full disk what is whole stays, for a reader may have read it; the next writer cuts the rest
    off.
    """
    for part in parts:
        written = 0
        while written < len(part):
            written += os.pwrite(descriptor, part[written:], offset + written)
        offset += len(part)


def _write_new(path: Path, content: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | how | _SAFELY, 0o600)
    try:
        _put(descriptor, [content], 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _all(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _opened(path: Path | str, how: int) -> int:
    descriptor = os.open(path, how | _SAFELY)
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077 or not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise Refused("endings.readable-by-others", mode=f"{stat.S_IMODE(found.st_mode):04o}")
    return descriptor


def _sign(found: os.stat_result) -> _Sign:
    return (found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _away(error) from None


def _away(error: OSError) -> Unavailable:
    return Unavailable("endings.away", error=errno.errorcode.get(error.errno or 0, "?"))
