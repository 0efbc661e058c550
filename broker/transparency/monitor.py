"""Monitor: follows a log that somebody else runs, over HTTP, and says when it contradicts itself.

Refuses: a checkpoint that the pinned key has not signed; a log smaller than it was, another tree of the same size, one
that its own entries do not give; hash tiles that are not those of its entries, for others prove things by them; an
entry that breaks a rule of the house, as a release after a delivery was closed. A log under another name than the one
that was seen, unless its first entries name that one's end as it was seen.
Keeps: the last checkpoint that was found good, in a file, written whole; every entry is hashed by us from its first
byte, so that nothing is believed that the log says of its tiles; nothing is said against a log before its own signature
covers it (`broker.transparency.served`); after the first turn only new entries and tiles are read.
Source: c2sp.org/tlog-tiles; RFC 9162, section 2.1; the rules: `schemas.audit`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import httpx2

from broker.transparency.served import Served, blame
from schemas import checkpoint, following, merkle, tiles
from schemas.audit import Auditor
from schemas.checkpoint import Checkpoint
from schemas.entry import Entry
from schemas.errors import Refused, Unavailable
from schemas.following import Continuation, Predecessor
from schemas.note import Note, VerifierKey

FILE_BYTES: Final = tiles.WIDTH * (tiles.ENTRY_MAX + 2)
"""The largest bundle."""
TIMEOUT_SECONDS: Final = 20


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Watched:
    """One turn without a fault: the tree now, and how many entries of it are new since the turn before."""

    tree: Checkpoint
    fresh: int
    follows: Predecessor | None = None
    """The log that was watched before, where this one goes on in its place since this turn."""


class Remote:
    """A log's files over HTTP. Redirects are not followed: an auditor reads what it was pointed at."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self._url = url.rstrip("/")
        self._client = client

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises LookupError where there is none, Unavailable `monitor.away`, Refused `monitor.url`."""
        try:
            with self._client.stream("GET", f"{self._url}/{path}") as answer:
                if answer.status_code in {404, 410}:
                    raise LookupError(path)
                if answer.status_code != 200:
                    raise Unavailable("monitor.away", error=f"HTTP {answer.status_code}")
                return _limited(answer)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise Refused("monitor.url") from None
        except httpx2.HTTPError as error:
            raise Unavailable("monitor.away", error=type(error).__name__) from None


def _limited(answer: httpx2.Response) -> bytes:
    content = bytearray()
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > FILE_BYTES:
            raise Refused("monitor.too-long", limit=FILE_BYTES)
    return bytes(content)


class Monitor:
    """What was seen of one log. `file` keeps the last good checkpoint over restarts; None: not at all."""

    def __init__(self, read: tiles.Read, key: VerifierKey, file: Path | None) -> None:
        self._read = read
        self._key = key
        self._file = file
        self._auditor = Auditor()
        self._frontier = merkle.Frontier()
        self._served = Served(read)
        self._wrong: Refused | None = None
        self._before: Checkpoint | None = None
        self._after: Continuation | None = None
        self._last = self._kept()

    def turn(self) -> Watched:
        """Read the newest checkpoint and the entries that are new, and check all of it.

        Raises Refused: `monitor.rolled-back`, `monitor.forked`, `monitor.not-as-signed`, `tiles.hash-differs`,
        `audits.rule`, `monitor.no-log`, `monitor.followed`, `following.*`, and what a checkpoint or an entry refuses;
        after one, this monitor is of no more use. Raises Unavailable `monitor.away`: try again.
        """
        try:
            signed = Note.parse(self._read("checkpoint"))
        except LookupError:
            raise Refused("monitor.no-log") from None
        self._look_for_successor(signed)
        tree = checkpoint.verify(signed, self._key).checkpoint  # 1 a checkpoint that anybody wrote
        if tree.size < self._last.size:  # 2 a log that forgets
            raise Refused("monitor.rolled-back", seen=self._last.size, size=tree.size)
        before = self._frontier.size
        if self._before is not None and self._after is None:
            self._after = self._judged(lambda: Continuation(self._before or tree, self._chain(tree.size)))
        self._follow(tree)
        old = None if self._after is None else self._ended(self._after)
        self._keep(signed)
        self._last, self._before, self._after = tree, None, None
        return Watched(tree, tree.size - before, old)

    def _look_for_successor(self, signed: Note) -> None:
        """Say so where the log goes on under another name. Raises Refused `monitor.followed`."""
        named = Checkpoint.parse(signed.text).origin
        if named == self._key.name:
            return
        old = None
        with suppress(Refused, LookupError):  # another log is told as such, by whoever verifies its checkpoint
            checkpoint.verify(signed, following.of_old(self._key, named))
            old = following.signed_end(self._read(following.path(0)), self._key)
        if old is not None and old.origin == self._key.name:
            raise Refused("monitor.followed", seen=self._key.name, origin=named, size=old.size)

    def _chain(self, size: int) -> list[Predecessor]:
        """The logs that this one says it follows. Its entries are believed once they have given the signed root."""
        first = tiles.entries_at(tiles.tile_at(tiles.ENTRIES, 0, size), self._read) if size else ()
        return following.read_all(following.named_in(first), self._key, self._read)

    def _ended(self, after: Continuation) -> Predecessor:
        after.end()
        return after.old

    def _follow(self, tree: Checkpoint) -> None:
        """Extend what we hashed ourselves to the new size; it has to give every root that the log signed.

        A turn that an absence cut short is taken up where it stopped: the next root judges all of it. What is wrong
        with an entry is said once the root is right, for until then anybody may have written it.
        """
        before = self._last.size if self._frontier.size >= self._last.size else 0
        if self._frontier.size <= self._last.size:  # after a restart, what was good before has to come out again
            self._extend(self._last.size, tree.size)
            self._check(self._last, tree)  # 3 another history below what was seen
        self._extend(tree.size, tree.size)
        self._check(tree, tree)  # 4 another tree of the same size, or entries that are not those of the tree
        if self._wrong is not None:
            raise self._wrong
        differs = self._served.end(tree.size, before)
        if differs is not None:  # 7 proofs that nobody can verify
            raise differs

    def _check(self, signed: Checkpoint, newest: Checkpoint) -> None:
        if self._frontier.root() != signed.root:
            raise blame(self._read, newest, self._last)

    def _extend(self, size: int, of: int) -> None:
        """The entries up to `size`, from the files of a log of `of` entries."""
        for entries in self._bundles(size, of):
            leaves = [merkle.leaf_hash(raw) for raw in entries]
            self._frontier = self._frontier.extend(leaves)
            for raw in entries:
                self._judged(partial(self._take, raw))
            self._served.add(leaves)

    def _take(self, raw: bytes) -> None:
        if self._after is not None:
            self._after.take(raw)  # 6 another end of the log before, or another history below it
        for broken in self._auditor.take(Entry.decode(raw)):  # 5 a rule of the house
            raise Refused("audits.rule", f"/{broken.index}", rule=broken.invariant, number=broken.index)

    def _judged(self, judge: Callable[[], T]) -> T | None:
        """What it says; what it refuses, first of all, is kept until the log's signature covers it."""
        try:
            return judge()
        except Refused as fault:
            self._wrong = self._wrong or fault
            return None

    def _bundles(self, size: int, of: int) -> Iterator[tuple[bytes, ...]]:
        while (first := self._frontier.size) < size:
            tile = tiles.tile_at(tiles.ENTRIES, first // tiles.WIDTH, of)
            start = tile.index * tiles.WIDTH
            yield tiles.entries_at(tile, self._read)[first - start : size - start]

    def _kept(self) -> Checkpoint:
        nothing = Checkpoint(self._key.name, 0, merkle.EMPTY_ROOT)
        if self._file is None or not self._file.exists():
            return nothing
        try:
            kept = self._file.read_bytes()
        except OSError as error:
            raise Unavailable("monitor.cannot-keep", error=type(error).__name__) from None
        signed = Note.parse(kept)
        named = Checkpoint.parse(signed.text).origin
        if named != self._key.name and signed.signed_by(following.of_old(self._key, named)):
            self._before = checkpoint.verify(signed, following.of_old(self._key, named)).checkpoint
            return nothing
        return checkpoint.verify(signed, self._key).checkpoint

    def _keep(self, signed: Note) -> None:
        """Whole or not at all, and durable."""
        if self._file is None:
            return
        unfinished = self._file.with_name(f"{self._file.name}.unfinished")
        try:
            with unfinished.open("wb") as file:
                file.write(signed.encode())
                file.flush()
                os.fsync(file.fileno())
            # Crash here: the checkpoint before is kept; the next turn reads a little more.
            unfinished.replace(self._file)
        except OSError as error:
            raise Unavailable("monitor.cannot-keep", error=type(error).__name__) from None
