"""Rows: a grant as a row of SQL and back, exactly.

Refuses: a row that is no grant, with `registry.unreadable` and its id: somebody or something wrote it without us.
Keeps: `grant_of(row_of(grant)) == grant` for every grant; equal grants have equal rows, since `fields` are sorted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row

from consent import tables
from consent.basis import Basis
from consent.grant import Grant, Scope, Status
from schemas.errors import Corrupt, Refused
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Purpose,
    RuleId,
    SchemaId,
    SubjectRef,
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is no grant: where it is, and the code of what is wrong with it."""

    id: bytes
    subject: bytes
    version: int
    code: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A wrapped consent key as it lies in the table."""

    grant_id: bytes
    epoch: int
    digest: bytes
    wrapped: bytes

    def __repr__(self) -> str:
        return f"KeyRow(grant_id={self.grant_id.hex()}, epoch={self.epoch})"


Read = Grant | Unreadable

_COLUMNS: Final = tuple(tables.grants.c.keys())
SHARED: Final = 4096
"""How many recipients, types, lists of fields and so on are kept as they were parsed."""


def row_of(grant: Grant) -> dict[str, Any]:
    """The row of a grant, for `grants` and for `grant_versions`."""
    row = {field.name: getattr(grant, field.name) for field in fields(Grant)}
    enumerations = {name: row[name].value for name in ("scope", "status", "capacity", "channel")}
    return row | enumerations | {"fields": json.dumps(sorted(grant.fields)), "basis": grant.basis.text}


DIGESTED: Final = (
    "id",
    "version",
    "subject",
    "recipient",
    "event_type",
    "schema",
    "fields",
    "purpose",
    "basis",
    "granted_at",
    "starts_at",
    "expires_at",
    "scope",
    "once_for",
    "status",
    "given_by",
    "capacity",
    "channel",
    "language",
    "text_hash",
    "changed_at",
)
"""What `digest_of` is over, for ever: another list is another digest, with a label of its own."""
RULE_DIGESTED: Final = (*DIGESTED, "rule")
"""The same for a grant under a rule."""
_RULE_LABEL: Final = b"unefois/grant-under-rule/v1\x00"


def digest_of(grant: Grant) -> bytes:
    """SHA-256 of one whole version of a grant, 32 bytes; it holds the secret subject reference, so it tells nothing.

    Over canonical JSON (sorted keys, no spaces) of DIGESTED, bytes as lower-case hexadecimal; of a grant under a rule,
    over "unefois/grant-under-rule/v1" 0x00 and the same of RULE_DIGESTED.
    """
    label, names = (b"", DIGESTED) if grant.rule is None else (_RULE_LABEL, RULE_DIGESTED)
    row = row_of(grant)
    plain = {name: row[name].hex() if isinstance(row[name], bytes) else row[name] for name in names}
    return sha256(label + json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).digest()


def grant_of(row: Row[Any]) -> Grant:
    """The grant of a row. Raises Corrupt `registry.unreadable`."""
    found = read(row)
    if isinstance(found, Unreadable):
        raise Corrupt("registry.unreadable", grant=found.id.hex(), version=found.version, wrong=found.code)
    return found


def grant_in(row: Mapping[str, Any]) -> Grant:
    """The inverse of `row_of`, of a row that was kept elsewhere. Raises Refused, ValueError, TypeError, KeyError."""
    return _grant([row.get(column) if column == "rule" else row[column] for column in _COLUMNS])


def read(row: Row[Any]) -> Read:
    """The grant of a row, or what is wrong with it."""
    try:
        return _grant(row)
    except Refused as refused:
        return Unreadable(bytes(row.id), bytes(row.subject), row.version, refused.code)
    except (
        ValueError,
        TypeError,
    ):  # no member of an enumeration, no JSON, no list: all of them somebody else's writing
        return Unreadable(bytes(row.id), bytes(row.subject), row.version, "registry.unreadable")


def _grant(row: Sequence[Any]) -> Grant:
    """The row of a whole table, in the order of its columns."""
    (
        (id_, version, subject, recipient, event_type, schema, names, purpose, basis, granted_at, starts_at),
        (expires_at, scope, once_for, status, given_by, capacity, channel, language, text_hash, changed_at, rule),
    ) = (row[:11], row[11:])
    return Grant(
        id=GrantId(id_),
        version=version,
        subject=SubjectRef(subject),
        recipient=_recipient(recipient),
        event_type=_event_type(event_type),
        schema=_schema(schema),
        fields=_fields(names),
        purpose=_purpose(purpose),
        basis=_basis(basis),
        granted_at=Instant(granted_at),
        starts_at=Instant(starts_at),
        expires_at=None if expires_at is None else Instant(expires_at),
        scope=_scope(scope),
        once_for=None if once_for is None else DeclarationId(once_for),
        status=_status(status),
        given_by=given_by,
        capacity=_capacity(capacity),
        channel=_channel(channel),
        language=language,
        text_hash=bytes(text_hash),
        changed_at=Instant(changed_at),
        rule=None if rule is None else RuleId(rule),
    )


def _names(text: str) -> frozenset[str]:
    names = json.loads(text)
    if not isinstance(names, list):
        raise TypeError("fields is a list of names")
    return frozenset(names)


# A router reads hundreds of rows at once, and what many of them share is parsed once. Of a citizen nothing is kept.
_recipient = lru_cache(SHARED)(PartyId)
_event_type = lru_cache(SHARED)(EventType)
_schema = lru_cache(SHARED)(SchemaId)
_fields = lru_cache(SHARED)(_names)
_purpose = lru_cache(SHARED)(Purpose)
_basis = lru_cache(SHARED)(Basis.parse)
_scope, _status = cache(Scope), cache(Status)
_capacity, _channel = cache(Capacity), cache(Channel)
