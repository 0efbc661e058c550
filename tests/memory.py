"""A key store and a journal of endings that forget when the process ends.

Keep: the same promises as the real ones, except durability and other processes (`tests/contract`).
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

from broker.ended import Ended, Ending, Endings, Mark, decode_mark, kept
from broker.ports import KeyKind, KeyStore
from schemas.errors import Refused, Unavailable
from schemas.names import Instant

_JOURNALS: Final = count(1)
"""Each has a name that no other has."""


class MemoryKeys(KeyStore):
    """Secrets in a dictionary."""

    def __init__(self) -> None:
        self._secrets: dict[tuple[KeyKind, str], bytes] = {}

    def _read(self, kind: KeyKind, name: str) -> bytes:
        secret = self._secrets.get((kind, name))
        if secret is None:
            raise Refused("keys.missing", kind=kind.value)
        return secret

    def _names(self, kind: KeyKind) -> tuple[str, ...]:
        return tuple(name for held, name in self._secrets if held is kind)

    def _write(self, kind: KeyKind, name: str, secret: bytes) -> None:
        if (kind, name) in self._secrets:
            raise Refused("keys.exists", kind=kind.value)
        self._secrets[kind, name] = secret

    def _destroy(self, kind: KeyKind, name: str) -> None:
        self._secrets.pop((kind, name), None)


class MemoryEndings(Endings):
    """Records in a list."""

    def __init__(self) -> None:
        self.journal = f"{next(_JOURNALS):032x}"
        self._records: list[tuple[int, Ending]] = []
        self._ended = Ended()
        self._marked: Mark | None = None
        self._spent: set[bytes] = set()

    async def look(self) -> Ended:
        return self._ended

    async def marked(self) -> Mark | None:
        return self._marked

    async def compact(self, before: Instant, over: Mapping[str, Instant]) -> int:
        stays = set(kept(self._records, before, over)) if self._records else set()
        went = len(self._records) - len(stays)
        self._records = [each for each in self._records if each[0] in stays]
        self._ended = Ended()
        for number, ending in self._records:
            self._ended.add(number, ending)
        return went

    async def spend(self, digest: bytes, until: Instant, at: Instant) -> bool:
        first = digest not in self._spent
        self._spent.add(digest)
        return first

    async def _write(self, encoded: Sequence[bytes]) -> None:
        for each in encoded:
            ending, number = Ending.decode(each), self._ended.position + 1
            self._records.append((number, ending))
            self._ended.add(number, ending)

    async def _mark(self, encoded: bytes, seen: Mark | None) -> None:
        if self._marked != seen:
            raise Unavailable("endings.marked-meanwhile")
        self._marked = decode_mark(encoded)
