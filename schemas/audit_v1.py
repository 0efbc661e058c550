"""Audit of the first format: what its entries, which were in clear, let anyone conclude; for logs exported before 2027.

Refuses: nothing; it reports. The entries are already verified against a checkpoint (`tiles.verified_entries`).
Keeps: the invariants of the house, each with its own name: no release after a revocation, none but what was planned
last, no application without a release or twice, no version of a grant out of order, no declaration received twice.
Source: docs/protocol.md, section 8, "The first format".
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from schemas.audit import Violation
from schemas.facts import REQUIRED, FactKind, Facts
from schemas.names import DeliveryId, GrantId, ManifestDigest


@dataclass(slots=True)
class _Seen:
    """What the entries before have said."""

    received: set[ManifestDigest] = field(default_factory=set)
    planned: dict[DeliveryId, Facts] = field(default_factory=dict)
    """The last plan of each delivery that is on its way."""
    released: set[DeliveryId] = field(default_factory=set)
    applied: set[DeliveryId] = field(default_factory=set)
    versions: dict[GrantId, int] = field(default_factory=dict)
    ended: set[GrantId] = field(default_factory=set)


class AuditorV1:
    """The rules applied to one entry after the other. Memory grows with grants and deliveries."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self._count = 0

    def take(self, entry: Facts) -> Iterator[Violation]:
        """Every invariant that the next entry breaks."""
        index, self._count = self._count, self._count + 1
        for rule in _RULES.get(entry.kind, ()):
            broken = rule(entry, self._seen)
            if broken is not None:
                yield Violation(broken, index)


def _received(entry: Facts, seen: _Seen) -> str | None:
    if entry.declaration is None or entry.declaration in seen.received:
        return "received-twice"
    seen.received.add(entry.declaration)
    return None


def _planned(entry: Facts, seen: _Seen) -> str | None:
    if entry.delivery is None or entry.grant is None:
        return "planned-incomplete"
    seen.planned[entry.delivery] = entry
    if entry.declaration not in seen.received:
        return "planned-before-received"
    if entry.delivery in seen.applied:
        return "planned-after-applied"
    if entry.grant not in seen.versions:
        return "planned-without-grant"
    if entry.grant in seen.ended:
        return "planned-after-end"
    return None if entry.grant_version == seen.versions[entry.grant] else "planned-other-version"


def _withheld(entry: Facts, seen: _Seen) -> str | None:
    """A delivery that was withheld is on its way no more, until it is planned again."""
    if entry.delivery is not None:
        seen.planned.pop(entry.delivery, None)
    return None


def _released(entry: Facts, seen: _Seen) -> str | None:
    """No version number makes good for an end: what was revoked or has expired never comes back."""
    if entry.delivery is None or entry.grant is None:
        return "released-incomplete"
    seen.released.add(entry.delivery)
    if entry.grant in seen.ended:
        return "released-after-end"
    if entry.delivery not in seen.planned:
        return "released-without-plan"
    return None if _same(entry, seen.planned[entry.delivery]) else "released-other-than-planned"


def _same(released: Facts, planned: Facts) -> bool:
    """To whom, of what, for what, on what ground, which fields: as it was planned last, after every narrowing."""
    return all(getattr(released, name) == getattr(planned, name) for name in REQUIRED[FactKind.PLANNED])


def _applied(entry: Facts, seen: _Seen) -> str | None:
    if entry.delivery not in seen.released:
        return "applied-without-release"
    if entry.delivery in seen.applied:
        return "applied-twice"
    seen.applied.add(entry.delivery)
    seen.planned.pop(entry.delivery, None)
    return None


def _granted(entry: Facts, seen: _Seen) -> str | None:
    if entry.grant is None or entry.grant_version is None:
        return "grant-incomplete"
    if entry.grant in seen.versions:
        return "granted-twice"
    seen.versions[entry.grant] = entry.grant_version
    return None if entry.grant_version == 1 else "granted-not-first-version"


def _changed(entry: Facts, seen: _Seen) -> str | None:
    if entry.grant is None or entry.grant_version is None:
        return "grant-incomplete"
    before = seen.versions.get(entry.grant)
    seen.versions[entry.grant] = entry.grant_version
    if entry.grant in seen.ended:
        return "grant-changed-after-end"
    if entry.kind in {FactKind.REVOKED, FactKind.EXPIRED}:
        seen.ended.add(entry.grant)
    return None if before is not None and entry.grant_version == before + 1 else "grant-version-out-of-order"


_Rule = Callable[[Facts, _Seen], str | None]
_RULES: Final[Mapping[FactKind, tuple[_Rule, ...]]] = MappingProxyType(
    {
        FactKind.RECEIVED: (_received,),
        FactKind.CORRECTED: (_received,),
        FactKind.PLANNED: (_planned,),
        FactKind.WITHHELD: (_withheld,),
        FactKind.RELEASED: (_released,),
        FactKind.APPLIED: (_applied,),
        FactKind.GRANTED: (_granted,),
        FactKind.CHANGED: (_changed,),
        FactKind.REVOKED: (_changed,),
        FactKind.EXPIRED: (_changed,),
    }
)
