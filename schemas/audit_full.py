"""Full audit: the rules that need openings. Each fact within the grant's own entry, and under the version that stood.

Refuses: nothing; it reports. Whoever calls has checked that each opening opens its entry (`Opening.check`).
Keeps: nothing planned or released but for the grant's own recipient, type, purpose, basis and citizen, with the version
that stands, not in a pause nor after the grant's end, to a key that was the recipient's; one tag for one delivery; no
version out of order; nothing received twice; no instant outside its window. An entry whose opening is missing, and was
not erased as the ledger itself says, is a violation; where one was erased, what it may have said is not held against
what follows.
Source: docs/protocol.md, section 8; ledger.md, R3 and R4.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from schemas.audit import Violation
from schemas.entry import WINDOW_MOST, Entry, EntryKind
from schemas.facts import ANSWERS, FactKind, Facts
from schemas.names import DeliveryId, GrantId, PartyId, Reason

_OVER: Final = {Reason.REVOKED, Reason.EXPIRED}
"""Why a grant that was entered anew had ended before, with something under way."""
_SAME: Final = ("recipient", "event_type", "purpose", "subject", "basis")
"""What a plan has in common with its grant."""


@dataclass(slots=True)
class _Grant:
    """A grant as its entries tell of it: its first facts, the version that stands and its fields, whether it is paused
    or has ended, and how many openings had been erased when it was last heard of.
    """

    first: Facts
    version: int
    fields: bytes | None
    erased: int
    paused: bool = False
    ended: bool = False


@dataclass(slots=True)
class _Seen:
    began: bool = False
    """Whether there was an entry that names no ledger before."""
    received: set[bytes] = field(default_factory=set)
    grants: dict[GrantId, _Grant] = field(default_factory=dict)
    deliveries: dict[bytes, DeliveryId] = field(default_factory=dict)
    """Of which delivery a tag is."""
    tags: dict[DeliveryId, bytes] = field(default_factory=dict)
    carried: dict[DeliveryId, bytes] = field(default_factory=dict)
    """Of a delivery that was released: the fields that it was released with, whenever that was."""
    applied: set[DeliveryId] = field(default_factory=set)
    keys: set[tuple[PartyId, bytes]] = field(default_factory=set)
    """Keys that were the party's, and not revoked so far."""
    erased: int = 0
    """Facts whose openings were erased, each of which may have been of a grant."""
    gone: bool = False
    """Whether any opening was erased: then a release may have been among them."""
    migrated: bool = True
    """Whether what is entered anew has been entered; a ledger that follows no other is so from its beginning."""


class FullAuditor:
    """The rules applied to one entry after the other, with what its opening gave. Memory grows with grants, deliveries
    and declarations.
    """

    def __init__(self) -> None:
        self._seen = _Seen()
        self._count = 0

    def take(self, entry: Entry, facts: Facts | None, *, erased: bool = False) -> Iterator[Violation]:
        """Every rule that the next entry breaks. `facts`: None without an opening; `erased`: and that is right."""
        index, self._count = self._count, self._count + 1
        if entry.kind is EntryKind.OPEN:
            facts = entry.open
        for broken in self._broken(entry, facts, erased=erased):
            yield Violation(broken, index)
        self._seen.began = self._seen.began or facts is None or facts.kind is not FactKind.LEDGER_OPENED

    def _broken(self, entry: Entry, facts: Facts | None, *, erased: bool) -> Iterator[str]:
        if facts is None:
            self._seen.erased += entry.kind is EntryKind.FACT
            self._seen.gone = True
            if not erased:
                yield "opening-missing"
            return
        anew = facts.kind is FactKind.CARRIED or not self._seen.migrated  # what is entered anew keeps its instant
        if entry.open is None and not anew and not 0 <= facts.at - entry.window < WINDOW_MOST:
            yield "instant-outside-window"
        rule = _RULES.get(facts.kind)
        for broken in (_tagged(entry, facts, self._seen), None if rule is None else rule(facts, self._seen)):
            if broken is not None:
                yield broken


def _tagged(entry: Entry, facts: Facts, seen: _Seen) -> str | None:
    """Else a delivery that was closed under one tag could go on under another, in everybody's sight."""
    if entry.tag is None or facts.delivery is None:
        return None
    if seen.deliveries.setdefault(entry.tag, facts.delivery) != facts.delivery:
        return "tag-of-another-delivery"
    return None if seen.tags.setdefault(facts.delivery, entry.tag) == entry.tag else "delivery-under-another-tag"


def _received(facts: Facts, seen: _Seen) -> str | None:
    if facts.declaration is None or facts.declaration in seen.received:
        return "received-twice"
    seen.received.add(facts.declaration)
    return None


def _planned(facts: Facts, seen: _Seen) -> str | None:
    broken = _under(facts, seen)
    return None if broken is None else f"planned-{broken}"


def _released(facts: Facts, seen: _Seen) -> str | None:
    """No version number makes good for an end: what was revoked or has expired never comes back."""
    broken = _under(facts, seen)
    if facts.delivery is not None:
        seen.carried[facts.delivery] = _with(seen.carried.get(facts.delivery, b""), facts.fields or b"")
    if broken is not None:
        return f"released-{broken}"
    if not seen.migrated:
        return None  # entered anew: it left before this ledger began, to a key that may have ended since
    known = facts.recipient is not None and facts.sealed_to is not None
    owned = known and (facts.recipient, bytes(facts.sealed_to or b"")) in seen.keys
    return None if owned else "released-to-other-key"


def _under(facts: Facts, seen: _Seen) -> str | None:
    """What a plan, or its release, breaks of its grant as that stands at this place of the ledger."""
    grant = None if facts.grant is None else seen.grants.get(facts.grant)
    if grant is None:
        return None if seen.erased else "without-grant"
    if not seen.migrated:  # entered anew, as it was planned before this ledger began, under whatever version
        return None if _within(facts, grant.first) else "outside-grant"
    anew = seen.erased > grant.erased and (facts.grant_version or 0) > grant.version  # of a version that was erased
    broken = {
        "after-end": grant.ended,
        "outside-grant": not _within(facts, grant.first),
        "other-version": not anew and facts.grant_version != grant.version,
        "in-pause": not anew and grant.paused,
        "other-fields": not anew and grant.fields is not None and not _covers(grant.fields, facts.fields or b""),
    }
    return next((name for name, so in broken.items() if so), None)


def _within(facts: Facts, grant: Facts) -> bool:
    return all(getattr(facts, name) == getattr(grant, name) for name in _SAME)


def _covers(granted: bytes, fields: bytes) -> bool:
    """Whether the bitmap `granted` has every field of the other one."""
    return not any(bits & ~(granted[at] if at < len(granted) else 0) for at, bits in enumerate(fields))


def _with(some: bytes, more: bytes) -> bytes:
    """The bitmap of what either has."""
    size = max(len(some), len(more))
    pairs = zip(some.ljust(size, b"\x00"), more.ljust(size, b"\x00"), strict=True)
    return bytes(one | other for one, other in pairs)


def _applied(facts: Facts, seen: _Seen) -> str | None:
    """What was applied in part is a part of what was released."""
    if facts.delivery is None:
        return None
    seen.applied.add(facts.delivery)
    if facts.reason is not Reason.PARTLY or seen.gone:
        return None
    part = _covers(seen.carried.get(facts.delivery, b""), facts.fields or b"")
    return None if facts.fields and part else "applied-other-fields"


def _answered(facts: Facts, seen: _Seen) -> str | None:
    """Who has not opened a delivery knows nothing of the person; what was applied is final."""
    by_human = facts.reason is Reason.AWAITING_HUMAN
    if facts.reason not in ANSWERS or (facts.detail is not None) is not by_human:
        return "answered-unclearly"
    if facts.delivery is None or seen.gone:
        return None
    if facts.delivery in seen.applied:
        return "answered-after-applied"
    return None if facts.delivery in seen.carried else "answered-without-release"


def _granted(facts: Facts, seen: _Seen) -> str | None:
    if facts.grant is None or facts.grant_version is None:
        return "grant-incomplete"
    known = seen.grants.get(facts.grant)
    if facts.kind is FactKind.CARRIED and seen.migrated:
        return _carried(facts, known, seen)
    if known is not None:
        return "granted-twice"
    _enter(facts, facts.grant, seen)
    if facts.kind is FactKind.CARRIED:
        return None
    return None if facts.grant_version == 1 else "granted-not-first-version"


def _enter(facts: Facts, grant: GrantId, seen: _Seen) -> None:
    made = _Grant(facts, facts.grant_version or 0, facts.fields, seen.erased)
    made.paused, made.ended = facts.reason is Reason.PAUSED, facts.reason in _OVER
    seen.grants[grant] = made


def _carried(facts: Facts, known: _Grant | None, seen: _Seen) -> str | None:
    """Entered anew when what it rests on is erased: as it stands, where what it rests on can still be opened."""
    if facts.grant is None:
        return "grant-incomplete"
    if known is None:
        _enter(facts, facts.grant, seen)
        return None if seen.erased else "carried-without-erasure"
    told = (facts.grant_version, facts.fields)
    stands = _within(facts, known.first) and told == (known.version, known.fields) and not known.ended
    return None if stands or seen.erased > known.erased else "carried-otherwise"


def _changed(facts: Facts, seen: _Seen) -> str | None:
    if facts.grant is None or facts.grant_version is None:
        return "grant-incomplete"
    grant = seen.grants.get(facts.grant)
    if grant is None:
        if not seen.erased:
            return "changed-without-grant"
        before = facts.grant_version - 1  # what began it was erased: from here on it is known
        grant = seen.grants[facts.grant] = _Grant(facts, before, facts.fields, seen.erased)
    before, gap, ended = grant.version, seen.erased > grant.erased, grant.ended
    grant.version, grant.fields, grant.erased = facts.grant_version, facts.fields, seen.erased
    grant.paused = facts.reason is Reason.PAUSED
    grant.ended = ended or facts.kind in {FactKind.REVOKED, FactKind.EXPIRED}
    if ended:
        return "grant-changed-after-end"
    follows = facts.grant_version > before if gap else facts.grant_version == before + 1
    return None if follows else "grant-version-out-of-order"


def _key_added(facts: Facts, seen: _Seen) -> str | None:
    if facts.recipient is not None and facts.detail is not None:
        seen.keys.add((facts.recipient, facts.detail))
    return None


def _key_revoked(facts: Facts, seen: _Seen) -> str | None:
    if facts.recipient is not None and facts.detail is not None:
        seen.keys.discard((facts.recipient, facts.detail))
    return None


def _succeeds(facts: Facts, seen: _Seen) -> str | None:
    """Mildness from the first entries on, or not at all: `audit` says where it is claimed later. None where the entries
    of the ledger before stand again as they were (`count`).
    """
    seen.migrated = seen.began or facts.count is not None
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
        FactKind.APPLIED: _applied,
        FactKind.ANSWERED: _answered,
        FactKind.GRANTED: _granted,
        FactKind.CARRIED: _granted,
        FactKind.CHANGED: _changed,
        FactKind.REVOKED: _changed,
        FactKind.EXPIRED: _changed,
        FactKind.KEY_ADDED: _key_added,
        FactKind.KEY_REVOKED: _key_revoked,
        FactKind.LEDGER_OPENED: _succeeds,
        FactKind.MIGRATED: _migrated,
    }
)
