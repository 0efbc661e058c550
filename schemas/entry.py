"""Entries: what anyone reads in the ledger: a window of time, a kind, and commitments that tell nothing by themselves.

An entry is sealed: `facts` commits to what happened (`schemas.facts`), `content` to the plan that a release repeats,
and `tag` says which entries are of one delivery. Without its opening it is noise. What is public by right (keys,
rights, subscriptions, epochs) is an open entry, which carries its facts in clear.

Refuses: an entry that has more or less than its kind has, bytes that are not exactly one entry, an opening of another.
Keeps: every sealed entry of one kind has the same length; nothing in it comes from a citizen, a recipient or a type.
Source: docs/protocol.md, section 8.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from schemas import avro, merkle
from schemas.errors import Refused
from schemas.facts import BLIND_BYTES, COMMITMENT_BYTES, FACTS_BYTES, TO_REPAIR, FactKind, Facts
from schemas.names import Instant, LeafHash, is_instant

if TYPE_CHECKING:
    from hashlib import _Hash

VERSION: Final = 2
ENTRY_BYTES: Final = 65_535
TAG_BYTES: Final = 16


class EntryKind(Enum):
    """What anyone may know of what happened."""

    RECEIVED = "received"
    PLANNED = "planned"
    RELEASED = "released"
    CLOSED = "closed"
    """A delivery that is not to be released any more, until it is planned again."""
    APPLIED = "applied"
    REJECTED = "rejected"
    FACT = "fact"
    OPEN = "open"


KINDS: Final = ("received", "planned", "released", "closed", "applied", "rejected", "fact", "open")
"""The symbols of the encoding in their order, for ever: only the end may grow."""

_TAGGED: Final = frozenset(
    {EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.CLOSED, EntryKind.APPLIED, EntryKind.REJECTED}
)
_PLANS: Final = frozenset({EntryKind.PLANNED, EntryKind.RELEASED})

OPEN_FACTS: Final = frozenset(
    {
        FactKind.KEY_ADDED,
        FactKind.KEY_REVOKED,
        FactKind.SUBSCRIPTION_APPROVED,
        FactKind.SUBSCRIPTION_ENDED,
        FactKind.EPOCH_DESTROYED,
        FactKind.PARTY_ADDED,
        FactKind.PARTY_CHANGED,
        FactKind.RIGHT_GRANTED,
        FactKind.RIGHT_ENDED,
        FactKind.POLICY_SET,
        FactKind.RULE_APPROVED,
        FactKind.RULE_ENDED,
        FactKind.RULE_NARROWED,
        FactKind.PURPOSE_APPROVED,
        FactKind.LEDGER_OPENED,
        FactKind.MIGRATED,
        FactKind.ERASED,
        FactKind.DISCLOSED,
    }
)
"""What is public by right, and tells nothing of a citizen."""

_PERSONAL: Final = ("declaration", "delivery", "grant", "grant_version", "fields", "subject")
"""What no open entry names, whatever its kind: each of these leads to one citizen."""

WINDOW_MOST: Final = 86_400_000
"""The longest window, milliseconds: what a fact says of its instant lies within its entry's window."""

_STEPS: Final[Mapping[FactKind, EntryKind]] = {
    FactKind.RECEIVED: EntryKind.RECEIVED,
    FactKind.CORRECTED: EntryKind.RECEIVED,
    FactKind.PLANNED: EntryKind.PLANNED,
    FactKind.RELEASED: EntryKind.RELEASED,
    FactKind.APPLIED: EntryKind.APPLIED,
    FactKind.REJECTED: EntryKind.REJECTED,
}


def kind_of(facts: Facts) -> EntryKind:
    """The kind of the entry that tells of these facts.

    Withheld is the one fact of two kinds: a delivery that was planned is closed, in everybody's sight; where nothing
    was planned there is no delivery to close, and that somebody was refused is nobody else's business. Facts that name
    a delivery name its grant as well, so that neither can pass for the other.
    """
    if facts.kind is FactKind.ANSWERED:  # what a human still decides is not closed, and nobody else's business
        return EntryKind.CLOSED if facts.reason in TO_REPAIR else EntryKind.FACT
    if facts.kind is FactKind.WITHHELD:
        return EntryKind.FACT if facts.delivery is None else EntryKind.CLOSED
    if facts.kind in OPEN_FACTS:
        return EntryKind.OPEN
    return _STEPS.get(facts.kind, EntryKind.FACT)


SCHEMA: Final = avro.parse(
    json.dumps(
        {
            "type": "record",
            "name": "fr.unefois.ledger.SealedEntry",
            "fields": [
                {"name": "version", "type": "int"},
                {"name": "window", "type": "long"},
                {"name": "kind", "type": {"type": "enum", "name": "EntryKind", "symbols": list(KINDS)}},
                {"name": "tag", "type": ["null", {"type": "fixed", "name": "Tag", "size": TAG_BYTES}]},
                {"name": "content", "type": ["null", {"type": "fixed", "name": "Commitment", "size": 32}]},
                {"name": "facts", "type": ["null", "Commitment"]},
                {"name": "open", "type": ["null", "bytes"]},
            ],
        },
        separators=(",", ":"),
    ).encode()
)
"""The entry's Avro schema."""

_FIRST: Final = bytes([VERSION << 1])
"""How every entry of this version begins."""
_LIMITS = avro.Limits(max_bytes=ENTRY_BYTES, max_depth=4, max_items=0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `window`: the start of the window of time that it was written in, milliseconds."""

    window: Instant
    kind: EntryKind
    tag: bytes | None = None
    content: bytes | None = None
    facts: bytes | None = None
    open: Facts | None = None

    def __post_init__(self) -> None:
        if not is_instant(self.window):
            raise Refused("entry.instant", "/window")
        has = {
            "tag": (self.tag, self.kind in _TAGGED, TAG_BYTES),
            "content": (self.content, self.kind in _PLANS, COMMITMENT_BYTES),
            "facts": (self.facts, self.kind is not EntryKind.OPEN, COMMITMENT_BYTES),
        }
        for name, (value, wanted, size) in has.items():
            if (value is not None) is not wanted:
                raise Refused("entry.shape", f"/{name}", kind=self.kind.value)
            if value is not None and len(value) != size:
                raise Refused("entry.commitment", f"/{name}", length=len(value))
        if (self.open is not None) is not (self.kind is EntryKind.OPEN):
            raise Refused("entry.shape", "/open", kind=self.kind.value)
        if self.open is not None:
            _check_public(self.open)

    def encode(self) -> bytes:
        """The bytes that the ledger holds. Raises Refused("avro.too-large") beyond 65,535."""
        opened = None if self.open is None else self.open.encode()
        told = {
            "version": VERSION,
            "window": self.window,
            "kind": self.kind.value,
            "tag": self.tag,
            "content": self.content,
            "facts": self.facts,
            "open": opened,
        }
        return avro.encode(SCHEMA, told, _LIMITS)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """From exactly the bytes that `encode` gives. Raises Refused: `entry.*`, `avro.*`, `name.*`."""
        if raw[:1] != _FIRST:  # before anything else is read: of another format every other refusal would mislead
            raise Refused("entry.version", "/version")
        told = avro.decode(SCHEMA, raw, _LIMITS)
        opened = told["open"]
        try:
            facts = None if opened is None else Facts.decode(opened)
        except Refused as fault:
            raise fault.under("/open") from None
        window, kind = Instant(told["window"]), EntryKind(told["kind"])
        return cls(window, kind, told["tag"], told["content"], told["facts"], facts)

    def leaf_hash(self) -> LeafHash:
        """Its leaf in the tree: SHA-256(0x00 | encoded)."""
        return merkle.leaf_hash(self.encode())


@dataclass(frozen=True, slots=True)
class Head:
    """What tells a step of a delivery: an entry's kind, tag and plan."""

    kind: EntryKind
    tag: bytes | None
    content: bytes | None

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Of bytes that are known to be an entry, in a tenth of the time of `Entry.decode`; of others it means nothing.

        Raises Refused `entry.version`, `entry.shape`.
        """
        if raw[:1] != _FIRST:
            raise Refused("entry.version", "/version")
        at = 1
        while raw[at : at + 1] >= b"\x80":  # the window, a varint
            at += 1
        number = raw[at + 1] >> 1 if len(raw) > at + 1 else len(KINDS)
        if number >= len(KINDS):
            raise Refused("entry.shape", "/kind", kind=number)
        at += 2
        tag, at = _optional(raw, at, TAG_BYTES)
        content, _ = _optional(raw, at, COMMITMENT_BYTES)
        return cls(EntryKind(KINDS[number]), tag, content)


def _optional(raw: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    """A union of null and so many bytes, and where it ends."""
    return (raw[at + 1 : at + 1 + size], at + 1 + size) if raw[at : at + 1] == b"\x02" else (None, at + 1)


def _check_public(facts: Facts) -> None:
    if facts.kind not in OPEN_FACTS:
        raise Refused("entry.not-public", "/open", kind=facts.kind.value)
    for name in _PERSONAL:
        if getattr(facts, name) is not None:
            raise Refused("entry.not-public", f"/open/{name}", kind=facts.kind.value)


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one sealed entry: the blinds that were drawn for it, 32 bytes each, and its facts.

    `plan_blind` where the entry has a `content`. Whoever holds it proves the facts, and can tell them to anybody.
    """

    blind: bytes
    plan_blind: bytes | None
    facts: Facts

    def __post_init__(self) -> None:
        for name, blind in (("blind", self.blind), ("plan_blind", self.plan_blind)):
            if blind is not None and len(blind) != BLIND_BYTES:
                raise Refused("entry.blind", f"/{name}", length=len(blind))

    def encode(self) -> bytes:
        """The exact bytes."""
        told = {"blind": self.blind, "plan_blind": self.plan_blind, "facts": self.facts.encode()}
        return avro.encode(_OPENING, told, _OPENING_LIMITS)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """From exactly the bytes that `encode` gives. Raises Refused: `entry.*`, `avro.*`, `name.*`."""
        told = avro.decode(_OPENING, raw, _OPENING_LIMITS)
        return cls(told["blind"], told["plan_blind"], Facts.decode(told["facts"]))

    def seal(self, window: Instant, tag: bytes | None = None) -> Entry:
        """The sealed entry that this opens; `tag` is its delivery's. Raises Refused `entry.shape`,
        `entry.incomplete`.
        """
        kind = kind_of(self.facts)
        content = None if self.plan_blind is None else commit_plan(self.plan_blind, self.facts)
        return Entry(window, kind, tag if kind in _TAGGED else None, content, commit(self.blind, self.facts))

    def check(self, entry: Entry) -> Facts:
        """The facts, proven to be those of this entry.

        Proven are kind, facts and plan. Window and tag are the entry's own word: that they fit is for whoever sees all
        of a ledger (`audit_full`). Raises Refused `entry.other-opening`, `entry.shape`, `entry.incomplete`.
        """
        if self.seal(entry.window, entry.tag) != entry:
            raise Refused("entry.other-opening")
        return self.facts


_OPENING: Final = avro.parse(
    json.dumps(
        {
            "type": "record",
            "name": "fr.unefois.ledger.Opening",
            "fields": [
                {"name": "blind", "type": {"type": "fixed", "name": "Blind", "size": BLIND_BYTES}},
                {"name": "plan_blind", "type": ["null", "Blind"]},
                {"name": "facts", "type": "bytes"},
            ],
        },
        separators=(",", ":"),
    ).encode()
)
_OPENING_LIMITS = avro.Limits(max_bytes=FACTS_BYTES + 256, max_depth=4, max_items=0)


def commit(blind: bytes, facts: Facts) -> bytes:
    """SHA-256("unefois/ledger-facts/v2" 0x00 | blind32 | Facts), 32 bytes."""
    return sha256(b"unefois/ledger-facts/v2\x00" + blind + facts.encode()).digest()


def commit_plan(blind: bytes, facts: Facts) -> bytes:
    """SHA-256("unefois/ledger-plan/v2" 0x00 | blind32 | Plan), 32 bytes: equal where, and only where, a release is of
    what was planned last.
    """
    return sha256(b"unefois/ledger-plan/v2\x00" + blind + facts.plan()).digest()


def commit_erased(blind: bytes, leaves: Iterable[LeafHash]) -> bytes:
    """SHA-256("unefois/ledger-erased/v2" 0x00 | blind32 | the leaf hashes, ascending), 32 bytes: `detail` of `erased`.

    The blind stays with the list. Without it, who knows some of a citizen's entries would find the others by trying:
    all leaves are public, and one person's are few.
    """
    commitment = erasing(blind)
    commitment.update(b"".join(sorted(leaves)))
    return commitment.digest()


def erasing(blind: bytes) -> "_Hash":
    """The same of a list that nobody holds at once: a SHA-256 that is yet to be told the leaf hashes, ascending."""
    if len(blind) != BLIND_BYTES:
        raise Refused("entry.blind", "/blind", length=len(blind))
    return sha256(b"unefois/ledger-erased/v2\x00" + blind)


def opened(window: Instant, facts: Facts) -> Entry:
    """The open entry of facts that are public by right. Raises Refused `entry.not-public`."""
    return Entry(window, EntryKind.OPEN, open=facts)


def window_of(at: Instant, length_ms: int) -> Instant:
    """The start of the window that an instant lies in."""
    return Instant(at - at % length_ms)
