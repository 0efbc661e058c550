"""Full audit: the rules that need openings. Each fact within the grant's own entry, and under the version that stood.

Refuses: nothing; it reports. Whoever calls has checked that each opening opens its entry (`Opening.check`).
Keeps: nothing planned or released but for the grant's own recipient, type, purpose and citizen, with the version that
stood, not after the grant's end, to a key that was the recipient's; no version out of order; nothing received twice. An
entry whose opening is missing, and was not erased as the ledger itself says, is a violation.
Source: docs/protocol.md, section 8; ledger.md, R3 and R4.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from schemas.audit import Violation
from schemas.entry import Entry, EntryKind
from schemas.facts import FactKind, Facts
from schemas.names import GrantId, PartyId, Reason

_OVER: Final = {Reason.REVOKED, Reason.EXPIRED}
"""Why a grant that was entered anew had ended before, with something under way."""
_SAME: Final = ("recipient", "event_type", "purpose", "subject", "basis")
"""What a plan has in common with its grant, whose fields it may not leave."""


@dataclass(slots=True)
class _Grant:
    """A grant as its entries tell of it: the version that stands, and whether it has ended."""

    stands: Facts
    ended: bool = False

    @property
    def version(self) -> int:
        """Its number."""
        return self.stands.grant_version or 0


@dataclass(slots=True)
class _Seen:
    received: set[bytes] = field(default_factory=set)
    grants: dict[GrantId, _Grant] = field(default_factory=dict)
    keys: set[tuple[PartyId, bytes]] = field(default_factory=set)
    """Keys that were the party's, and not revoked so far."""
    erased: bool = False
    """Whether openings were erased so far: a grant may stand whose first entry nobody can open."""
    migrated: bool = True
    """Whether what is entered anew has been entered; a ledger that follows no other is so from its beginning."""


class FullAuditor:
    """The rules applied to one entry after the other, with what its opening gave. Memory grows with grants and
    declarations.
    """

    def __init__(self) -> None:
        self._seen = _Seen()
        self._count = 0

    def take(self, entry: Entry, facts: Facts | None, *, erased: bool = False) -> Iterator[Violation]:
        """Every rule that the next entry breaks. `facts`: None without an opening; `erased`: and that is right."""
        index, self._count = self._count, self._count + 1
        if entry.kind is EntryKind.OPEN:
            facts = entry.open
        if facts is None:
            if not erased:
                yield Violation("opening-missing", index)
            return
        rule = _RULES.get(facts.kind)
        broken = None if rule is None else rule(facts, self._seen)
        if broken is not None:
            yield Violation(broken, index)


def _received(facts: Facts, seen: _Seen) -> str | None:
    if facts.declaration is None or facts.declaration in seen.received:
        return "received-twice"
    seen.received.add(facts.declaration)
    return None


def _planned(facts: Facts, seen: _Seen) -> str | None:
    grant = None if facts.grant is None else seen.grants.get(facts.grant)
    if grant is None:
        return "planned-without-grant"
    if not seen.migrated:  # entered anew, as it was planned before this ledger began, under whatever version
        return None if _same(facts, grant.stands) else "planned-outside-grant"
    if grant.ended:
        return "planned-after-end"
    if facts.grant_version != grant.version:
        return "planned-other-version"
    return None if _within(facts, grant.stands) else "planned-outside-grant"


def _released(facts: Facts, seen: _Seen) -> str | None:
    """No version number makes good for an end: what was revoked or has expired never comes back."""
    grant = None if facts.grant is None else seen.grants.get(facts.grant)
    if grant is None:
        return "released-without-grant"
    if not _same(facts, grant.stands):
        return "released-outside-grant"
    if not seen.migrated:
        return None  # entered anew: it left before this ledger began
    if grant.ended:
        return "released-after-end"
    if not _within(facts, grant.stands):
        return "released-outside-grant"
    known = facts.recipient is not None and facts.sealed_to is not None
    owned = known and (facts.recipient, bytes(facts.sealed_to or b"")) in seen.keys
    return None if owned else "released-to-other-key"


def _within(facts: Facts, grant: Facts) -> bool:
    allowed, wanted = grant.fields or b"", facts.fields or b""
    inside = all(
        not byte & ~permitted for byte, permitted in zip(wanted, allowed.ljust(len(wanted), b"\0"), strict=False)
    )
    return inside and _same(facts, grant)


def _same(facts: Facts, grant: Facts) -> bool:
    return all(getattr(facts, name) == getattr(grant, name) for name in _SAME)


def _granted(facts: Facts, seen: _Seen) -> str | None:
    if facts.grant is None or facts.grant_version is None:
        return "grant-incomplete"
    known = seen.grants.get(facts.grant)
    if facts.kind is FactKind.CARRIED and seen.migrated:
        return _carried(facts, known, seen)
    if known is not None:
        return "granted-twice"
    seen.grants[facts.grant] = _Grant(facts, facts.reason in _OVER)
    if facts.kind is FactKind.CARRIED:
        return None
    return None if facts.grant_version == 1 else "granted-not-first-version"


def _carried(facts: Facts, known: _Grant | None, seen: _Seen) -> str | None:
    """Entered anew before what it rested on is erased: as it stands, if what it rests on can still be opened."""
    if known is None:
        if facts.grant is not None and facts.grant_version is not None:
            seen.grants[facts.grant] = _Grant(facts)
        return None if seen.erased else "carried-without-erasure"
    return None if _within(facts, known.stands) and facts.grant_version == known.version else "carried-otherwise"


def _changed(facts: Facts, seen: _Seen) -> str | None:
    if facts.grant is None or facts.grant_version is None:
        return "grant-incomplete"
    grant = seen.grants.get(facts.grant)
    if grant is None:
        return "changed-without-grant"
    before, was_over = grant.stands, grant.ended
    grant.stands, grant.ended = facts, was_over or facts.kind in {FactKind.REVOKED, FactKind.EXPIRED}
    if was_over:
        return "grant-changed-after-end"
    if not _within(facts, before):  # a consent can be narrowed, and never becomes another's or one for more
        return "grant-widened"
    return None if facts.grant_version == (before.grant_version or 0) + 1 else "grant-version-out-of-order"


def _key_added(facts: Facts, seen: _Seen) -> str | None:
    if facts.recipient is not None and facts.detail is not None:
        seen.keys.add((facts.recipient, facts.detail))
    return None


def _key_revoked(facts: Facts, seen: _Seen) -> str | None:
    if facts.recipient is not None and facts.detail is not None:
        seen.keys.discard((facts.recipient, facts.detail))
    return None


def _succeeds(_: Facts, seen: _Seen) -> str | None:
    seen.migrated = False
    return None


def _erased(_: Facts, seen: _Seen) -> str | None:
    seen.erased = True
    return None


def _migrated(_: Facts, seen: _Seen) -> str | None:
    seen.migrated = True
    return None


_Rule = Callable[[Facts, _Seen], str | None]
_RULES: Final[Mapping[FactKind, _Rule]] = MappingProxyType(
    {
        FactKind.RECEIVED: _received,
        FactKind.CORRECTED: _received,
        FactKind.PLANNED: _planned,
        FactKind.RELEASED: _released,
        FactKind.GRANTED: _granted,
        FactKind.CARRIED: _granted,
        FactKind.CHANGED: _changed,
        FactKind.REVOKED: _changed,
        FactKind.EXPIRED: _changed,
        FactKind.KEY_ADDED: _key_added,
        FactKind.KEY_REVOKED: _key_revoked,
        FactKind.LEDGER_OPENED: _succeeds,
        FactKind.MIGRATED: _migrated,
        FactKind.ERASED: _erased,
    }
)
