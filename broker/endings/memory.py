"""A journal that forgets when the process ends: for tests and for trying things out.

Refuses: nothing that the port does not refuse.
Keeps: the same promises as the others, except durability and other processes (`tests/contract/test_endings.py`).
"""

from collections.abc import Mapping, Sequence
from uuid import uuid4

from broker.ended import Ended, Ending, Endings, Mark, decode_mark, kept
from schemas.errors import Unavailable
from schemas.names import Instant


class MemoryEndings(Endings):
    """Records in a list."""

    def __init__(self) -> None:
        self.journal = uuid4().hex
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
