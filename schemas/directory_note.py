"""The directory, signed: a note that says which directory is the newest, and how many there were before it.

    unefois-directory/v1
    <the log's origin>
    version <n>
    sha256 <base64 of SHA-256 of the directory's exact JSON>

Refuses: a note of another log or another kind, other bytes than it tells of, a version before the one that was pinned
(roll-back: a key that was revoked since would live again), another directory of the same version (split view).
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
    r"unefois-directory/v1\n([^\n]+)\nversion (0|[1-9][0-9]{0,17})\nsha256 ([A-Za-z0-9+/]{43}=)\n"
)


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


def text_of(origin: str, version: int, content: str) -> str:
    """What is signed for a directory's exact JSON."""
    digest = note.base64_of(sha256(content.encode()).digest())
    return f"{KIND}\n{origin}\nversion {version}\nsha256 {digest}\n"


def verify(content: str, signed: Note, log: VerifierKey, pinned: Pinned | None) -> tuple[Directory, Pinned]:
    """The directory of this exact JSON, and what to pin.

    Raises Refused: `directory.note` (step 1), `note.bad-signature` and `directory.note-unsigned` (2),
    `directory.note-differs` (3), `directory.rolled-back` (4), `directory.forked` (5), what `Directory.from_json` does.
    """
    found = _TEXT.fullmatch(signed.text)
    if found is None or found[1] != log.name:  # 1 another log's, or what is no directory at all
        raise Refused("directory.note")
    if not note.verify(signed, log):  # 2 a note that anybody wrote
        raise Refused("directory.note-unsigned")
    now = Pinned(int(found[2]), sha256(content.encode()).digest())
    if note.base64_of(now.digest) != found[3]:  # 3 a key slipped in on the way
        raise Refused("directory.note-differs")
    if pinned is not None and now.version < pinned.version:  # 4 an old directory, in which a stolen key still counts
        raise Refused("directory.rolled-back", seen=pinned.version, version=now.version)
    if pinned is not None and now.version == pinned.version and now.digest != pinned.digest:  # 5 one for each reader
        raise Refused("directory.forked", version=now.version)
    return Directory.from_json(content), now
