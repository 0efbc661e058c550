"""Names: identifiers, closed enumerations and instants, each a type of its own, each checked where it is made.

Refuses: a malformed name, with the code `name.*`; nothing downstream checks a name again. An instant that no calendar
shows (before 1970, after 9999), a time without its offset.
Keeps: a party cannot be passed where an event type is meant, and no identifier holds a citizen's value. An instant is
written in one way, in UTC with milliseconds, and reads back as the same one.
Source: docs/protocol.md, section 1; UUIDv7 is RFC 9562, section 5.7; times are RFC 3339.
"""

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, NewType, Self
from uuid import UUID

from schemas.errors import Refused

Instant = NewType("Instant", int)
"""Milliseconds since 1970-01-01T00:00:00Z."""
INSTANT_MAX: Final = Instant(253_402_300_799_999)
"""The last millisecond of the year 9999: what every reader's calendar can show."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_WRITTEN = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_PARTY = re.compile(r"urn:fr:siret:[0-9]{14}|urn:unefois:[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_EVENT_TYPE = re.compile(r"(?:[a-z][a-z0-9-]*\.){2,8}v[1-9][0-9]{0,3}")
_SHORT_VERSIONED = re.compile(r"[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*\.v[1-9][0-9]{0,3}")
_OPERATOR = re.compile(r"(?=.{2,64}\Z)[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{1,62}")


class _Text(str):
    """A string that was checked when it was made."""

    __slots__ = ()
    pattern: re.Pattern[str]
    code: str

    def __new__(cls, text: str) -> Self:
        if not cls.pattern.fullmatch(text):
            raise Refused(cls.code, length=len(text))
        return super().__new__(cls, text)


class PartyId(_Text):
    """An administration, the broker or the portal: `urn:fr:siret:<14 digits>` or `urn:unefois:<name>`."""

    __slots__ = ()
    pattern = _PARTY
    code = "name.party"


class EventType(_Text):
    """Reverse DNS and one version: `fr.unefois.address.changed.v1`."""

    __slots__ = ()
    pattern = _EVENT_TYPE
    code = "name.event-type"


def event_name(word: str) -> str:
    """The full name of an event type: `address.changed` is short for `fr.unefois.address.changed.v1`, `person.born.v2`
    for `fr.unefois.person.born.v2`.
    """
    if word.count(".") == 1:
        return f"fr.unefois.{word}.v1"
    return f"fr.unefois.{word}" if _SHORT_VERSIONED.fullmatch(word) else word


class Purpose(_Text):
    """A purpose's identifier, listed in `consent.purposes`: `family-benefits`."""

    __slots__ = ()
    pattern = _PURPOSE
    code = "name.purpose"


class OperatorName(_Text):
    """Somebody of the broker's own, who has an account: `anne.martin`; 2 to 64 characters."""

    __slots__ = ()
    pattern = _OPERATOR
    code = "name.operator"


class _Bytes(bytes):
    """Bytes whose length was checked when they were made."""

    __slots__ = ()
    size: int
    code: str

    def __new__(cls, raw: bytes) -> Self:
        if len(raw) != cls.size:
            raise Refused(cls.code, length=len(raw), expected=cls.size)
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From hexadecimal, with or without the dashes of a UUID. Raises Refused."""
        try:
            return cls(bytes.fromhex(text.replace("-", "")))
        except ValueError:
            raise Refused(cls.code, length=len(text) // 2, expected=cls.size) from None


def uuid_text(raw: bytes) -> str:
    """An id of 16 bytes as people read it everywhere: a UUID. `parse` reads hexadecimal without dashes as well."""
    return str(UUID(bytes=bytes(raw)))


class DeclarationId(_Bytes):
    """UUIDv7, 16 bytes, made by the source."""

    __slots__ = ()
    size = 16
    code = "name.declaration-id"


class DeliveryId(_Bytes):
    """16 bytes derived from declaration, recipient and grant, so that a retry has the same id."""

    __slots__ = ()
    size = 16
    code = "name.delivery-id"


class GrantId(_Bytes):
    """UUIDv7, 16 bytes, made by the broker."""

    __slots__ = ()
    size = 16
    code = "name.grant-id"


class RuleId(_Bytes):
    """UUIDv7, 16 bytes, made by the broker: a rule by law, under which an administration hears of everybody."""

    __slots__ = ()
    size = 16
    code = "name.rule-id"


class RepresentationId(_Bytes):
    """UUIDv7, 16 bytes, made by the broker: one person acts for another, on the ground of an act."""

    __slots__ = ()
    size = 16
    code = "name.representation-id"


class LinkId(_Bytes):
    """16 bytes, made by the broker: two references of one citizen."""

    __slots__ = ()
    size = 16
    code = "name.link-id"


class ChannelId(_Bytes):
    """UUIDv7, 16 bytes, made by the broker: an e-mail address or a mobile number at which a citizen is told."""

    __slots__ = ()
    size = 16
    code = "name.channel-id"


class Kid(_Bytes):
    """Key id: SHA-256 of the algorithm's or suite's number and the raw public key."""

    __slots__ = ()
    size = 32
    code = "name.kid"


class SchemaId(_Bytes):
    """SHA-256 of the exact registered schema bytes."""

    __slots__ = ()
    size = 32
    code = "name.schema-id"


class ManifestDigest(_Bytes):
    """SHA-256 of the manifest's bytes as the source signed them."""

    __slots__ = ()
    size = 32
    code = "name.manifest-digest"


class LeafHash(_Bytes):
    """RFC 9162 leaf hash of a ledger entry."""

    __slots__ = ()
    size = 32
    code = "name.leaf-hash"


class SubjectRef(_Bytes):
    """The broker's reference of a citizen; never leaves the broker."""

    __slots__ = ()
    size = 32
    code = "name.subject-ref"

    def __repr__(self) -> str:
        return "SubjectRef(...)"


class Sensitivity(Enum):
    """How much a field can hurt, weakest first; an evolution never weakens it."""

    LOW = "low"
    PERSONAL = "personal"
    SPECIAL = "special"


class Capacity(Enum):
    """In which capacity somebody speaks for the subject."""

    SELF = "self"
    PARENT = "parent"
    GUARDIAN = "guardian"
    NEXT_OF_KIN = "next_of_kin"
    AGENT = "agent"


class Channel(Enum):
    """Through which channel a citizen spoke."""

    ONLINE = "online"
    COUNTER = "counter"
    PHONE = "phone"
    POST = "post"
    SYSTEM = "system"


def uuid7(at: Instant, entropy: bytes) -> bytes:
    """A UUIDv7 (RFC 9562, 5.7) of 48 bits of milliseconds and 10 bytes of the caller's entropy."""
    if len(entropy) != 10:
        raise ValueError("uuid7 takes 10 bytes of entropy")
    raw = bytearray(at.to_bytes(6, "big") + entropy)
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return bytes(raw)


class Reason(Enum):
    """Why something was withheld, refused or rejected: the closed list that decisions and ledger entries share."""

    # withheld: the decision, before a delivery or at its release
    NO_GRANT = "no-grant"
    NOT_YET = "not-yet"
    EXPIRED = "expired"
    PAUSED = "paused"
    REVOKED = "revoked"
    PURPOSE = "purpose"
    ONCE_USED = "once-used"
    NO_FIELDS = "no-fields"
    NARROWED = "narrowed"
    NOT_APPROVED = "not-approved"
    ENDED = "ended"
    TERRITORY = "territory"
    NOT_ORIGINAL_RECIPIENT = "not-original-recipient"
    EPOCH_DESTROYED = "epoch-destroyed"
    UNSOUND = "unsound"
    OBJECTED = "objected"
    CANCELLED = "cancelled"
    RECALLED = "recalled"
    STOPPED = "stopped"
    ASSURANCE = "assurance"
    # refused: what intake and router turn away
    UNKNOWN_SUBJECT = "unknown-subject"
    INVALID_ENVELOPE = "invalid-envelope"
    INVALID_SIGNATURE = "invalid-signature"
    NOT_ENTITLED = "not-entitled"
    STALE = "stale"
    REPLAYED = "replayed"
    # rejected: what a recipient could not take
    INVALID_DELIVERY = "invalid-delivery"
    MAPPING = "mapping"
    SYSTEM_REFUSED = "system-refused"
    PARKED = "parked"
    TECHNICAL = "technical"
    # answered: what a recipient says beyond applied and rejected
    UNKNOWN_PERSON = "unknown-person"
    SEVERAL_PERSONS = "several-persons"
    DOCUMENT_NEEDED = "document-needed"
    AWAITING_HUMAN = "awaiting-human"
    PARTLY = "partly"


def is_instant(at: int) -> bool:
    """Is it between 1970 and 9999?"""
    return 0 <= at <= INSTANT_MAX


def instant_of(kept: int | None) -> Instant | None:
    """An instant as a table keeps it; None stays none."""
    return None if kept is None else Instant(kept)


def rfc3339(at: Instant) -> str:
    """`2026-09-01T12:00:00.007Z`. Raises ValueError for what `is_instant` denies."""
    if not is_instant(at):
        raise ValueError("not an instant")
    return (_EPOCH + at * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> Instant | None:
    """The instant, in any offset; what is finer than a millisecond is cut off. None where the text is none."""
    found = _WRITTEN.fullmatch(text)
    if not found:
        return None
    day, clock, fraction, offset = found.groups()
    milliseconds = (fraction or "").ljust(3, "0")[:3]
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{milliseconds}{offset.upper().replace('Z', '+00:00')}")
    except ValueError:
        return None
    at = (moment - _EPOCH) // _MILLISECOND
    return Instant(at) if is_instant(at) else None
