"""The directory, signed: a note that says which directory is the newest, and which one was shown before it.

    unefois-directory/v1
    <the log's origin>
    version <n>
    sha256 <base64 of SHA-256 of the directory's exact JSON>
    previous <the same of the document before; of 32 zero bytes, in base64, for the first>

Refuses: a note of another log or another kind, other bytes than it tells of, a version before the one that was pinned
(roll-back: a key that was revoked since would live again), another directory of the same version (split view), a later
one that does not follow from the pinned one (a history of one's own).
Keeps: no clock and no file; what was pinned is an argument, and what to pin next is the answer.
Source: c2sp.org/signed-note (0x01), by the ledger's key. No reader of checkpoints takes it for one: its third line is
no number.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from schemas import note
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.note import Note, VerifierKey

KIND: Final = "unefois-directory/v1"
_TEXT: Final = re.compile(
    r"([^\n]+)\n([^\n]+)\nversion (0|[1-9][0-9]{0,17})\nsha256 ([A-Za-z0-9+/]{43}=)\n"
    r"previous ([A-Za-z0-9+/]{43}=)\n"
)
FIRST: Final = bytes(32)
"""What stands for the document before the first."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a recipient remembers of the directory that it believed last."""

    version: int
    digest: bytes

    def encode(self) -> str:
        """One line."""
        return f"{self.version} {self.digest.hex()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `encode` wrote. Raises Refused `directory.pin`."""
        found = re.fullmatch(r"(0|[1-9][0-9]{0,17}) ([0-9a-f]{64})\n", text)
        if found is None:
            raise Refused("directory.pin")
        return cls(int(found[1]), bytes.fromhex(found[2]))


def digest_of(content: str) -> bytes:
    """SHA-256 of a directory's exact JSON."""
    return sha256(content.encode()).digest()


def text_of(origin: str, version: int, content: str, previous: bytes = FIRST, kind: str = KIND) -> str:
    """What is signed for a directory's exact JSON; `previous`: the digest of the document before. `kind`: of a document
    beside the directory (`schemas.law`), here and below.
    """
    digest, before = note.base64_of(digest_of(content)), note.base64_of(previous)
    return f"{kind}\n{origin}\nversion {version}\nsha256 {digest}\nprevious {before}\n"


def verify(content: str, signed: Note, log: VerifierKey, pinned: Pinned | None) -> tuple[Directory, Pinned]:
    """The directory of this exact JSON, and what to pin.

    Raises Refused: `directory.note` (step 1), `note.bad-signature` and `directory.note-unsigned` (2),
    `directory.note-differs` (3), `directory.rolled-back` (4), `directory.forked` (5), `directory.chain` (6), what
    `Directory.from_json` does. After `directory.chain`, `follow` the notes between, and try again.
    """
    now = check(content, signed, log, pinned)
    return Directory.from_json(content), now


def check(content: str, signed: Note, log: VerifierKey, pinned: Pinned | None, kind: str = KIND) -> Pinned:
    """What to pin of these exact bytes, whatever they say. Raises as `verify`, steps 1 to 6."""
    now, previous = _told(signed, log, kind)
    if digest_of(content) != now.digest:  # 3 a key slipped in on the way
        raise Refused("directory.note-differs")
    _check_follows(now, previous, pinned)
    return now


def follow(signed: Note, log: VerifierKey, pinned: Pinned, kind: str = KIND) -> Pinned:
    """What to pin after one more link: the document itself is not needed for it. Raises as `verify` does, but for 3."""
    now, previous = _told(signed, log, kind)
    _check_follows(now, previous, pinned)
    return now


def _told(signed: Note, log: VerifierKey, kind: str) -> tuple[Pinned, bytes]:
    found = _TEXT.fullmatch(signed.text)
    if found is None or (found[1], found[2]) != (kind, log.name):  # 1 another log's, or what is no directory at all
        raise Refused("directory.note")
    if not note.verify(signed, log):  # 2 a note that anybody wrote
        raise Refused("directory.note-unsigned")
    digest, previous = (note.from_base64(text) for text in found.groups()[3:])
    if digest is None or previous is None:
        raise Refused("directory.note")
    return Pinned(int(found[3]), digest), previous


def _check_follows(now: Pinned, previous: bytes, pinned: Pinned | None) -> None:
    if pinned is None:
        return
    if now.version < pinned.version:  # 4 an old directory, in which a stolen key still counts
        raise Refused("directory.rolled-back", seen=pinned.version, version=now.version)
    if now.version == pinned.version and now.digest != pinned.digest:  # 5 one for each reader
        raise Refused("directory.forked", version=now.version)
    if now.version > pinned.version and previous != pinned.digest:  # 6 another history, or links that were left out
        raise Refused("directory.chain", seen=pinned.version, version=now.version)
