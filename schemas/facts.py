"""Facts: what one sealed entry of the ledger says, known to who holds its opening: who did what, and when.

Refuses: facts that lack what their kind must name, a basis that could pass for lines of a receipt, bytes that are not
    exactly one `Facts`, more than 65,535 bytes.
Keeps: no name, value, pseudonym or address of a citizen; the subject only as a commitment. The symbols of the encoding
are literal here: a new kind or reason goes to the end, and what was stored keeps its meaning.
Source: docs/protocol.md, section 8.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from hashlib import sha256
from typing import Any, Final, Self

from schemas import avro
from schemas.errors import Refused
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SubjectRef,
    is_instant,
)
from schemas.text import is_plain

VERSION: Final = 2
FACTS_BYTES: Final = 65_535
BASIS_BYTES: Final = 256
COMMITMENT_BYTES: Final = 32
BLIND_BYTES: Final = 32
SALT_BYTES: Final = 16


class FactKind(Enum):
    """What happened."""

    RECEIVED = "received"
    REFUSED = "refused"
    PLANNED = "planned"
    WITHHELD = "withheld"
    RELEASED = "released"
    APPLIED = "applied"
    REJECTED = "rejected"
    GRANTED = "granted"
    CHANGED = "changed"
    REVOKED = "revoked"
    EXPIRED = "expired"
    CORRECTED = "corrected"
    KEY_ADDED = "key_added"
    KEY_REVOKED = "key_revoked"
    SUBSCRIPTION_APPROVED = "subscription_approved"
    SUBSCRIPTION_ENDED = "subscription_ended"
    EPOCH_DESTROYED = "epoch_destroyed"
    VIEWED = "viewed"
    REPLAYED = "replayed"
    PARTY_ADDED = "party_added"
    RIGHT_GRANTED = "right_granted"
    RIGHT_ENDED = "right_ended"
    POLICY_SET = "policy_set"
    LEDGER_OPENED = "ledger_opened"
    """This ledger goes on where another one ended: `detail` commits to that one's last checkpoint; `count`: how many of
    its entries stand here again.
    """
    CARRIED = "carried"
    """A grant that lives, as it stands, entered anew."""
    MIGRATED = "migrated"
    """Everything that lives was entered anew: from here on the ledger stands by itself."""
    ERASED = "erased"
    """Openings were destroyed: `detail` commits to the list of their entries. `count`: how many, where it was by one
    person's right; by their age there is none.
    """
    DISCLOSED = "disclosed"
    """Openings of a period were given to an auditor: `recipient`; `detail` commits to the bundle."""
    OPERATOR_ADDED = "operator_added"
    """Somebody of the broker's own got an account; `detail` commits to it, here and in the two below."""
    OPERATOR_CHANGED = "operator_changed"
    OPERATOR_ENDED = "operator_ended"
    ACTED = "acted"
    """Somebody who has an account acted: `detail` commits to the document that says who, what, and by which entries;
    `count`: how many entries.
    """
    PARTY_CHANGED = "party_changed"
    """Name, address, contact or retention of a party; `detail`: its whole row as it is from then on."""
    RULE_APPROVED = "rule_approved"
    """By an article of law, a recipient hears of everybody; `detail`: the rule's row, here and in the next."""
    RULE_ENDED = "rule_ended"
    OBJECTED = "objected"
    """A citizen objects to a rule; `detail`: the objection's row, here and in the next one."""
    OBJECTION_WITHDRAWN = "objection_withdrawn"
    ANSWERED = "answered"
    """A recipient says why it has not applied a delivery, without refusing it: one reason of ANSWERS; `detail` commits
    to the day until which a human decides.
    """
    RETRACTED = "retracted"
    """A declaration was cancelled, recalled or stopped (`reason`); `detail`: the row of it, here and in the next."""
    RETRACTION_LIFTED = "retraction_lifted"
    """The person has stopped its recall: it goes out again."""
    CHANNEL_ADDED = "channel_added"
    """A citizen is told at an address from now on; `detail`: the channel's row, here and in the next one."""
    CHANNEL_ENDED = "channel_ended"
    REPRESENTATION_STARTED = "representation_started"
    """One person may act for another; `detail`: the record's row, here and in the next one."""
    REPRESENTATION_ENDED = "representation_ended"
    ACTED_FOR = "acted_for"
    """A declaration was made by another than its subject; `detail`: the row that says who, as what, how it is known."""
    DECLARATION_ERASED = "declaration_erased"
    """What was sealed of a declaration was taken away on its citizen's word."""
    RULE_NARROWED = "rule_narrowed"
    """A rule by law allows less from now on; `detail`: its row as it is then."""
    PURPOSE_APPROVED = "purpose_approved"
    """A purpose that an operator has added may be named; `detail`: its row, with every text that citizens are shown."""
    REFERENCE_RENEWED = "reference_renewed"
    """A citizen is written in another way: an older reference and a newer one are one; `detail`: the link's row, as the
    one side may see it, here and in the next three.
    """
    LINK_ASKED = "link_asked"
    """That two references are one citizen's was asked for; it joins nothing yet."""
    LINK_CONFIRMED = "link_confirmed"
    """They will be one citizen's from a moment on that the row says, unless one of the two refuses."""
    LINK_ENDED = "link_ended"
    """They are not, or not any more."""
    CODE_GIVEN = "code_given"
    """A code was made by which a citizen signs in; who had it made stands in the act."""


KINDS: Final = (
    "received",
    "refused",
    "planned",
    "withheld",
    "released",
    "applied",
    "rejected",
    "granted",
    "changed",
    "revoked",
    "expired",
    "corrected",
    "key_added",
    "key_revoked",
    "subscription_approved",
    "subscription_ended",
    "epoch_destroyed",
    "viewed",
    "replayed",
    "party_added",
    "right_granted",
    "right_ended",
    "policy_set",
    "ledger_opened",
    "carried",
    "migrated",
    "erased",
    "disclosed",
    "operator_added",
    "operator_changed",
    "operator_ended",
    "acted",
    "party_changed",
    "rule_approved",
    "rule_ended",
    "objected",
    "objection_withdrawn",
    "answered",
    "retracted",
    "retraction_lifted",
    "channel_added",
    "channel_ended",
    "representation_started",
    "representation_ended",
    "acted_for",
    "declaration_erased",
    "rule_narrowed",
    "purpose_approved",
    "reference_renewed",
    "link_asked",
    "link_confirmed",
    "link_ended",
    "code_given",
)
"""The symbols of the encoding in their order, for ever: only the end may grow."""

REASONS: Final = (
    "no_grant",
    "not_yet",
    "expired",
    "paused",
    "revoked",
    "purpose",
    "once_used",
    "no_fields",
    "narrowed",
    "not_approved",
    "ended",
    "territory",
    "not_original_recipient",
    "epoch_destroyed",
    "unknown_subject",
    "invalid_envelope",
    "invalid_signature",
    "not_entitled",
    "stale",
    "replayed",
    "invalid_delivery",
    "mapping",
    "system_refused",
    "parked",
    "unsound",
    "objected",
    "unknown_person",
    "several_persons",
    "document_needed",
    "awaiting_human",
    "partly",
    "technical",
    "cancelled",
    "recalled",
    "stopped",
    "assurance",
)
"""The symbols of the reasons, as KINDS; a reason's dashes are underscores here, as Avro's enums demand."""

_DELIVERY = ("recipient", "event_type", "purpose", "declaration", "delivery", "grant", "grant_version", "fields")
PLAN: Final = (*_DELIVERY, "basis")
"""What a plan says, which `content` commits to."""
_GRANT = ("grant", "grant_version")
REQUIRED: Final[Mapping[FactKind, tuple[str, ...]]] = {
    FactKind.RECEIVED: ("declaration",),
    FactKind.REFUSED: ("reason",),
    FactKind.PLANNED: _DELIVERY,
    FactKind.WITHHELD: ("recipient", "declaration", "reason"),
    FactKind.RELEASED: _DELIVERY,
    FactKind.APPLIED: ("recipient", "delivery"),
    FactKind.REJECTED: ("recipient", "delivery", "reason"),
    FactKind.GRANTED: _GRANT,
    FactKind.CHANGED: _GRANT,
    FactKind.REVOKED: _GRANT,
    FactKind.EXPIRED: _GRANT,
    FactKind.CORRECTED: ("declaration",),
    FactKind.SUBSCRIPTION_APPROVED: ("recipient", "event_type", "purpose"),
    FactKind.SUBSCRIPTION_ENDED: ("recipient", "event_type", "purpose"),
    FactKind.PARTY_ADDED: ("recipient", "detail"),
    FactKind.RIGHT_GRANTED: ("recipient", "event_type", "detail"),
    FactKind.RIGHT_ENDED: ("recipient", "event_type", "detail"),
    FactKind.POLICY_SET: ("recipient", "detail"),
    FactKind.LEDGER_OPENED: ("detail",),
    FactKind.CARRIED: (*_GRANT, "detail"),
    FactKind.ERASED: ("detail",),
    FactKind.DISCLOSED: ("detail",),
    FactKind.OPERATOR_ADDED: ("detail",),
    FactKind.OPERATOR_CHANGED: ("detail",),
    FactKind.OPERATOR_ENDED: ("detail",),
    FactKind.ACTED: ("detail",),
    FactKind.PARTY_CHANGED: ("recipient", "detail"),
    FactKind.RULE_APPROVED: ("recipient", "event_type", "purpose", "basis", "detail"),
    FactKind.RULE_ENDED: ("recipient", "event_type", "purpose", "basis", "detail"),
    FactKind.OBJECTED: ("recipient", "event_type", "purpose", "subject", "detail"),
    FactKind.OBJECTION_WITHDRAWN: ("recipient", "event_type", "purpose", "subject", "detail"),
    FactKind.ANSWERED: ("recipient", "delivery", "reason"),
    FactKind.RETRACTED: ("reason", "subject", "detail"),
    FactKind.RETRACTION_LIFTED: ("reason", "subject", "detail"),
    FactKind.CHANNEL_ADDED: ("subject", "detail"),
    FactKind.CHANNEL_ENDED: ("subject", "detail"),
    FactKind.REPRESENTATION_STARTED: ("subject", "detail"),
    FactKind.REPRESENTATION_ENDED: ("subject", "detail"),
    FactKind.ACTED_FOR: ("subject", "declaration", "detail"),
    FactKind.DECLARATION_ERASED: ("declaration", "subject"),
    FactKind.RULE_NARROWED: ("recipient", "event_type", "purpose", "basis", "detail"),
    FactKind.PURPOSE_APPROVED: ("purpose", "detail"),
    FactKind.REFERENCE_RENEWED: ("subject", "detail"),
    FactKind.LINK_ASKED: ("subject", "detail"),
    FactKind.LINK_CONFIRMED: ("subject", "detail"),
    FactKind.LINK_ENDED: ("subject", "detail"),
    FactKind.CODE_GIVEN: ("subject",),
}
"""What a kind cannot go without: the full rules (`audit_full`) are read from these."""

TO_REPAIR: Final = frozenset({Reason.UNKNOWN_PERSON, Reason.SEVERAL_PERSONS, Reason.DOCUMENT_NEEDED})
"""Answers after which nothing more is released until it is planned again: the person's to repair."""
ANSWERS: Final = TO_REPAIR | {Reason.AWAITING_HUMAN}
"""What a recipient may answer beyond applied and rejected."""

_BASIS: Final = re.compile(r"consent|(?:choice|law):.+")
"""As a statement has it: protocol, section 6."""

_REASONS: Final[Mapping[str, Reason]] = {symbol: Reason(symbol.replace("_", "-")) for symbol in REASONS}
_SYMBOLS: Final[Mapping[Reason, str]] = {reason: symbol for symbol, reason in _REASONS.items()}

SCHEMA: Final = avro.parse(
    json.dumps(
        {
            "type": "record",
            "name": "fr.unefois.ledger.Facts",
            "fields": [
                {"name": "version", "type": "int"},
                {"name": "at", "type": "long"},
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": list(KINDS)}},
                {"name": "actor", "type": "string"},
                {"name": "recipient", "type": ["null", "string"]},
                {"name": "event_type", "type": ["null", "string"]},
                {"name": "purpose", "type": ["null", "string"]},
                {"name": "declaration", "type": ["null", {"type": "fixed", "name": "Hash", "size": 32}]},
                {"name": "delivery", "type": ["null", {"type": "fixed", "name": "Id", "size": 16}]},
                {"name": "grant", "type": ["null", "Id"]},
                {"name": "grant_version", "type": ["null", "int"]},
                {"name": "fields", "type": ["null", "bytes"]},
                {"name": "reason", "type": ["null", {"type": "enum", "name": "Reason", "symbols": list(REASONS)}]},
                {"name": "basis", "type": ["null", "string"]},
                {"name": "sealed_to", "type": ["null", "Hash"]},
                {"name": "count", "type": ["null", "int"]},
                {"name": "subject", "type": ["null", "Hash"]},
                {"name": "detail", "type": ["null", "Hash"]},
            ],
        },
        separators=(",", ":"),
    ).encode()
)

_LIMITS = avro.Limits(max_bytes=FACTS_BYTES, max_depth=4, max_items=0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one entry says. `subject` and `detail` are 32-byte commitments, `fields` a bitmap as in a statement.

    `sealed_to` is the key that a release was sealed to, `count` how many refusals of one batch, or entries of another
    ledger, the fact tells of.
    """

    at: Instant
    kind: FactKind
    actor: PartyId
    recipient: PartyId | None = None
    event_type: EventType | None = None
    purpose: Purpose | None = None
    declaration: ManifestDigest | None = None
    delivery: DeliveryId | None = None
    grant: GrantId | None = None
    grant_version: int | None = None
    fields: bytes | None = None
    reason: Reason | None = None
    basis: str | None = None
    sealed_to: Kid | None = None
    count: int | None = None
    subject: bytes | None = None
    detail: bytes | None = None

    def __post_init__(self) -> None:
        if not is_instant(self.at):
            raise Refused("entry.instant", "/at")
        for name in REQUIRED.get(self.kind, ()):
            if getattr(self, name) is None:
                raise Refused("entry.incomplete", f"/{name}", kind=self.kind.value)
        self._check_values()
        for name, commitment in (("subject", self.subject), ("detail", self.detail)):
            if commitment is not None and len(commitment) != COMMITMENT_BYTES:
                raise Refused("entry.commitment", f"/{name}", length=len(commitment))

    def _check_values(self) -> None:
        if self.kind is FactKind.WITHHELD and (self.grant is None) is not (self.delivery is None):
            name = "grant" if self.grant is None else "delivery"  # a planned delivery has both; what never was, neither
            raise Refused("entry.incomplete", f"/{name}", kind=self.kind.value)
        if self.grant_version is not None and not (0 < self.grant_version < 2**31 and self.grant):
            raise Refused("entry.grant-version", "/grant_version")
        if self.count is not None and not 0 < self.count < 2**31:
            raise Refused("entry.count", "/count")
        if self.basis is not None and not (_BASIS.fullmatch(self.basis) and is_plain(self.basis, BASIS_BYTES)):
            raise Refused("entry.basis", "/basis", limit=BASIS_BYTES)
        if self.fields is not None and not any(self.fields):
            raise Refused("entry.no-fields", "/fields")

    def encode(self) -> bytes:
        """The exact bytes that an entry commits to. Raises Refused("avro.too-large") beyond 65,535."""
        told: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        reason = _SYMBOLS[self.reason] if self.reason else None
        return avro.encode(SCHEMA, {**told, "version": VERSION, "kind": self.kind.value, "reason": reason}, _LIMITS)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """From exactly the bytes that `encode` gives. Raises Refused: `entry.*`, `avro.*`, `name.*`."""
        told = avro.decode(SCHEMA, raw, _LIMITS)
        if told.pop("version") != VERSION:
            raise Refused("entry.version", "/version")
        return cls(**typed(told))

    def plan(self) -> bytes:
        """The exact bytes of what is planned, or released, for one delivery; `content` commits to them.

        Raises Refused `entry.incomplete` where something of a plan is missing.
        """
        for name in PLAN:
            if getattr(self, name) is None:
                raise Refused("entry.incomplete", f"/{name}", kind=self.kind.value)
        return avro.encode(_PLAN, {name: getattr(self, name) for name in PLAN}, _LIMITS)


_PLAN: Final = avro.parse(
    json.dumps(
        {
            "type": "record",
            "name": "fr.unefois.ledger.Plan",
            "fields": [
                {"name": "recipient", "type": "string"},
                {"name": "event_type", "type": "string"},
                {"name": "purpose", "type": "string"},
                {"name": "declaration", "type": {"type": "fixed", "name": "Hash", "size": 32}},
                {"name": "delivery", "type": {"type": "fixed", "name": "Id", "size": 16}},
                {"name": "grant", "type": "Id"},
                {"name": "grant_version", "type": "int"},
                {"name": "fields", "type": "bytes"},
                {"name": "basis", "type": "string"},
            ],
        },
        separators=(",", ":"),
    ).encode()
)

_NAMES: Final = tuple(field.name for field in fields(Facts))
_TYPES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "at": Instant,
    "kind": FactKind,
    "actor": PartyId,
    "recipient": PartyId,
    "event_type": EventType,
    "purpose": Purpose,
    "declaration": ManifestDigest,
    "delivery": DeliveryId,
    "grant": GrantId,
    "reason": _REASONS.__getitem__,
    "sealed_to": Kid,
}


def typed(told: dict[str, Any]) -> dict[str, Any]:
    """What Avro gave, as the types of `Facts`. Raises Refused `name.*` with the field's pointer."""
    for name, made in _TYPES.items():
        if told.get(name) is not None:
            told[name] = _typed(name, made, told[name])
    return told


def _typed(name: str, made: Callable[[Any], Any], value: object) -> object:
    try:
        return made(value)
    except Refused as fault:
        raise fault.under(f"/{name}") from None


def until_commitment(delivery: DeliveryId, until: str) -> bytes:
    """SHA-256("unefois/answer-until/v1" 0x00 | delivery id | day), 32 bytes: the day, as `2026-12-31`, until which a
    recipient has a human decide.
    """
    return sha256(b"unefois/answer-until/v1\x00" + delivery + until.encode()).digest()


def subject_commitment(salt: bytes, subject: SubjectRef) -> bytes:
    """SHA-256("unefois/ledger-subject/v1" 0x00 | salt16 | subject reference), 32 bytes.

    Entries of one grant share their salt, others do not: what one grant does not link looks unrelated, also to who
    holds the openings. Raises Refused("entry.salt").
    """
    if len(salt) != SALT_BYTES:
        raise Refused("entry.salt", length=len(salt))
    return sha256(b"unefois/ledger-subject/v1\x00" + salt + subject).digest()
