"""Audit: what anyone can conclude from a ledger's entries alone, without the broker and without its database.

Refuses: nothing; it reports. The entries are already verified against a checkpoint (`tiles.verified_entries`).
Keeps: the rules of a delivery's way, each with its own name: nothing released without a plan that stands, nor after it
was closed, nor other than planned; nothing applied without a release, or twice. A ledger follows others from its first
entries on or not at all. `audit_full` adds what openings tell.
Source: docs/protocol.md, section 8; architecture, "Transactions that matter".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from schemas.entry import Entry, EntryKind
from schemas.facts import FactKind


@dataclass(frozen=True, slots=True)
class Violation:
    """The invariant that entry number `index` breaks."""

    invariant: str
    index: int


@dataclass(slots=True)
class _Seen:
    """What the entries before have said, by delivery: the plan that stands, what was released, what was applied."""

    planned: dict[bytes, bytes] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    released: set[bytes] = field(default_factory=set)
    applied: set[bytes] = field(default_factory=set)
    began: bool = False
    """Whether there was an entry before this one that names no ledger before."""
    entering: bool = False
    """Whether what lives in the ledger before is being entered anew."""


class Auditor:
    """The rules applied to one entry after the other. Memory grows with deliveries."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self._count = 0

    def take(self, entry: Entry) -> Iterator[Violation]:
        """Every invariant that the next entry breaks."""
        index, self._count = self._count, self._count + 1
        rule = _RULES.get(entry.kind)
        broken = None if rule is None else rule(entry, self._seen)
        self._seen.began = self._seen.began or not _names_another(entry)
        if broken is not None:
            yield Violation(broken, index)


def violations(entries: Iterable[Entry]) -> Iterator[Violation]:
    """Every invariant that is broken, in the order of the entries."""
    auditor = Auditor()
    for entry in entries:
        yield from auditor.take(entry)


def _planned(entry: Entry, seen: _Seen) -> str | None:
    tag, content = entry.tag or b"", entry.content or b""
    seen.planned[tag] = content
    seen.known.add(tag)
    return "planned-after-applied" if tag in seen.applied else None


def _released(entry: Entry, seen: _Seen) -> str | None:
    tag = entry.tag or b""
    seen.released.add(tag)
    if tag not in seen.planned:
        return "released-after-closed" if tag in seen.known else "released-without-plan"
    return None if seen.planned[tag] == entry.content else "released-other-than-planned"


def _closed(entry: Entry, seen: _Seen) -> str | None:
    """What was closed or rejected is on its way no more, until it is planned again."""
    tag = entry.tag or b""
    seen.planned.pop(tag, None)
    return None if tag in seen.known else "closed-without-plan"


def _applied(entry: Entry, seen: _Seen) -> str | None:
    tag = entry.tag or b""
    if tag not in seen.released:
        return "applied-without-release"
    if tag in seen.applied:
        return "applied-twice"
    seen.applied.add(tag)
    seen.planned.pop(tag, None)
    return None


def _names_another(entry: Entry) -> bool:
    return entry.open is not None and entry.open.kind is FactKind.LEDGER_OPENED


def _opened(entry: Entry, seen: _Seen) -> str | None:
    """What is entered anew is judged more mildly: so that is done once, at a ledger's beginning, and has an end. Where
    entries of the ledger before stand again as they were (`count`), there is nothing to be mild about.
    """
    told = entry.open
    if told is not None and _names_another(entry):
        late, seen.entering = seen.began, not seen.began and told.count is None
        return "ledger-opened-late" if late else None
    if told is not None and told.kind is FactKind.MIGRATED:
        entering, seen.entering = seen.entering, False
        return None if entering else "migrated-without-opening"
    return None


_RULES: Final[Mapping[EntryKind, Callable[[Entry, _Seen], str | None]]] = MappingProxyType(
    {
        EntryKind.PLANNED: _planned,
        EntryKind.RELEASED: _released,
        EntryKind.CLOSED: _closed,
        EntryKind.APPLIED: _applied,
        EntryKind.REJECTED: _closed,
        EntryKind.OPEN: _opened,
    }
)
