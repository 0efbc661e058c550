"""Audit: what anyone can conclude from a ledger's entries alone, without the broker and without its database.

Refuses: nothing; it reports. The entries are already verified against a checkpoint (`tiles.verified_entries`).
Keeps: the rules of a delivery's way, each with its own name: nothing released without a plan that stands, nor after it
was closed, nor other than planned; nothing applied without a release, or twice. `audit_full` adds what openings tell.
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
    migrated: bool = False


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


def _opened(entry: Entry, seen: _Seen) -> str | None:
    if entry.open is None or entry.open.kind not in {FactKind.LEDGER_OPENED, FactKind.MIGRATED}:
        return None
    again = seen.migrated
    seen.migrated = entry.open.kind is FactKind.MIGRATED
    return "migrated-twice" if again else None


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
