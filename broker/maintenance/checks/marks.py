"""Marks: what a clean check leaves for the next one: a digest of each part that it opened, and what that rested on.

Refuses: a word of the database: a mark is sealed with a key of the key store, and lies outside the database.
Keeps: the same bytes, on the same ground, gave no finding before. So an older mark is as true as a newer one, and any
doubt (another home's, another version of these checks, a damaged file) is no mark: then everything is checked anew.
"""

import errno
import hmac
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.maintenance import last
from broker.ports import Entropy
from schemas.errors import Unavailable
from schemas.names import Instant

VERSION: Final = 3
"""Of the checks: counted up whenever one of them looks at more than before."""
DIGEST_BYTES: Final = 16
SPELLING: Final = 2
"""The version of marshal that writes equal values alike, whatever refers to them. Nothing is ever read in it."""
_LABEL: Final = b"unefois/fsck-mark/v1\x00"
_SUMS_LABEL: Final = b"unefois/fsck-sums/v1\x00"
_NONCE_BYTES: Final = 12


class Changed(Exception):
    """What was clean does not rest on the same ground any more: everything is to be checked anew."""


@dataclass(slots=True)
class Mark:
    """What was there, and clean."""

    rests_on: str
    """What every verdict depends on, as a digest (`ground`)."""
    periods: dict[str, str]
    """A digest of each key that openings are sealed under."""
    until: int = -1
    """The newest declaration's reception, and of what the directory said up to then a digest."""
    trust: str = ""
    erased: int = -1
    forgotten: int = -1
    size: int = 0
    """Of the ledger, and its root."""
    root: str = ""
    rows: str = ""
    """A digest of the rows of its entries up to that size, but for the entries themselves: the root has those."""
    bits: int = 0
    parts: bytearray = field(default_factory=bytearray)
    """Digests in the order of numbers, the nobody's first."""

    def part(self, number: int) -> bytes:
        """The digest of a part."""
        at = (number + 1) * DIGEST_BYTES
        return bytes(self.parts[at : at + DIGEST_BYTES])

    def encode(self) -> bytes:
        """The bytes that are sealed."""
        told = asdict(self) | {"version": VERSION, "parts": self.parts.hex()}
        return json.dumps(told, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, raw: bytes) -> "Mark | None":
        """The inverse; None where other checks made it."""
        told = json.loads(raw)
        if told.pop("version") != VERSION:
            return None
        return cls(**told | {"parts": bytearray.fromhex(told["parts"])})


class Marks(ABC):
    """Where the mark lies. `read` gives None where there is none, or none that we sealed."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        """`key`: 32 bytes that no database holds."""
        self.sums_key = hmac.digest(key, _SUMS_LABEL, "sha256")
        """Under which rows are hashed (`sums`)."""
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def read(self) -> Mark | None:
        """The mark of the last clean check."""
        raw = self._read()
        if raw is None:
            return None
        try:
            return Mark.decode(self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _LABEL))
        except (InvalidTag, ValueError):
            return None

    def write(self, mark: Mark) -> None:
        """Put it in the place of the one before. Raises Unavailable `keys.away`."""
        nonce = self._entropy(_NONCE_BYTES)
        self._write(nonce + self._cipher.encrypt(nonce, mark.encode(), _LABEL))

    @abstractmethod
    def note(self, at: Instant, checks: Iterable[str], *, full: bool) -> None:
        """A check has ended; `checks`: the name of each finding's."""

    @abstractmethod
    def _read(self) -> bytes | None: ...

    @abstractmethod
    def _write(self, sealed: bytes) -> None: ...


class MemoryMarks(Marks):
    """Of one process, gone with it."""

    _kept: bytes | None = None

    def note(self, at: Instant, checks: Iterable[str], *, full: bool) -> None:
        """Nobody asks this process later."""

    def _read(self) -> bytes | None:
        return self._kept

    def _write(self, sealed: bytes) -> None:
        self._kept = sealed


class FileMarks(Marks):
    """A file beside the journal of endings."""

    def __init__(self, path: Path, key: bytes, entropy: Entropy) -> None:
        super().__init__(key, entropy)
        self._path = path

    def note(self, at: Instant, checks: Iterable[str], *, full: bool) -> None:
        """In a file beside the mark."""
        last.note_check(self._path.parent, at, checks, full=full)

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def _write(self, sealed: bytes) -> None:
        """Crash before the rename: the old mark, and an unfinished file that the next one writes over."""
        unfinished = self._path.with_suffix(".unfinished")
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(sealed)
            unfinished.replace(self._path)
        except OSError as error:
            raise Unavailable("keys.away", error=errno.errorcode.get(error.errno or 0, "?")) from None
