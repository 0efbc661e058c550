"""The signed directory of the broker in memory: what anybody was shown is one chain, as with the real one.

Refuses: nothing; whoever asks gets the newest.
Keeps: a document that was shown stays as a link; one that nobody asked for has none.
Source: `schemas/directory_note.py`; docs/adr/0025-the-directory-is-a-chain.md.
"""

from typing import Final

from schemas import note
from schemas.directory import Directory
from schemas.directory_note import FIRST, digest_of, text_of
from schemas.note import VerifierKey
from schemas.signing import PrivateKey

ORIGIN: Final = "log.test.example/unefois"


class Chain:
    """`links`: (the directory's exact JSON, its note), the oldest first; a test may take some away, or add its own."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.links: list[tuple[str, str]] = []

    @property
    def ledger(self) -> str:
        """The verifier key, as an operator gives it."""
        return VerifierKey.of(ORIGIN, self._key).text

    def newest(self, directory: Directory) -> tuple[str, str]:
        """The directory of now with its note."""
        content = directory.to_json()
        if not self.links or self.links[-1][0] != content:
            self.add(content)
        return self.links[-1]

    def add(self, content: str) -> None:
        """The next document."""
        previous = digest_of(self.links[-1][0]) if self.links else FIRST
        text = text_of(ORIGIN, len(self.links) + 1, content, previous)
        self.links.append((content, note.sign(text, ORIGIN, self._key).encode().decode()))

    def since(self, directory: Directory, version: int) -> list[tuple[int, str]]:
        """Version and note of each link after this version."""
        self.newest(directory)
        return [(number, signed) for number, (_, signed) in enumerate(self.links, 1) if number > version]
