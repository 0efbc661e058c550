"""Before: what the first ledger says, found by what it is about; it grows no more, and is kept in memory.

Refuses: nothing.
Keeps: whoever asks for a part's own gets all that is about its declarations and grants, in the old order, with what
that leads to; what no row of any part is about is left at the end.
"""

from collections.abc import Iterable, Sequence

from broker.maintenance.checks.parts import NOBODYS, Part
from schemas.entry import OPEN_FACTS
from schemas.facts import Facts


class Before:
    """The facts of the first ledger that are public by right no more: those were said again since."""

    def __init__(self, facts: Iterable[Facts]) -> None:
        self._facts = [one for one in facts if one.kind not in OPEN_FACTS]
        self._about: dict[bytes, list[int]] = {}
        self._about_nobody = [number for number, one in enumerate(self._facts) if not _keys(one)]
        self._left = set(range(len(self._facts))).difference(self._about_nobody)
        for number, one in enumerate(self._facts):
            for key in _keys(one):
                self._about.setdefault(key, []).append(number)

    def of(self, part: Part, entries: Sequence[Facts]) -> list[Facts]:
        """What is about a part's rows, or about what `entries` are about; what is about nobody is the nobody's."""
        if not self._facts:
            return []
        numbers = set(self._about_nobody) if part.number == NOBODYS else set()
        keys = self._of_rows(part) | {key for one in entries for key in _keys(one)}
        while keys:
            more = {number for key in keys for number in self._about.get(key, ())} - numbers
            numbers |= more
            keys = {key for number in more for key in _keys(self._facts[number])}
        return [self._facts[number] for number in sorted(numbers)]

    def seen(self, keys: Iterable[bytes]) -> None:
        """The rows of these manifests and grants are there."""
        if self._facts:
            self._left.difference_update(*(self._about.get(key, ()) for key in keys))

    def left(self) -> list[Facts]:
        """What is about no row that was seen."""
        return [self._facts[number] for number in sorted(self._left)]

    def _of_rows(self, part: Part) -> set[bytes]:
        return {row.manifest_digest for row in part.of("declarations")} | {row.id for row in part.of("grants")}


def _keys(facts: Facts) -> set[bytes]:
    return {bytes(key) for key in (facts.declaration, facts.grant) if key is not None}
