"""Rows: a grant as a row of SQL and back, exactly.

Refuses: a row that is no grant, with `registry.unreadable` and its id: somebody or something wrote it without us.
Keeps: `grant_of(row_of(grant)) == grant` for every grant; equal grants have equal rows, since `fields` are sorted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Row

from consent.grant import Basis, Grant, Scope, Status
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
    SchemaId,
    SubjectRef,
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is no grant: where it is, and the code of what is wrong with it."""

    id: bytes
    version: int
    code: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A wrapped consent key as it lies in the table."""

    grant_id: bytes
    epoch: int
    wrapped: bytes

    def __repr__(self) -> str:
        return f"KeyRow(grant_id={self.grant_id.hex()}, epoch={self.epoch})"


Read = Grant | Unreadable


def row_of(grant: Grant) -> dict[str, Any]:
    """The row of a grant, for `grants` and for `grant_versions`."""
    row = {field.name: getattr(grant, field.name) for field in fields(Grant)}
    enumerations = {name: row[name].value for name in ("scope", "status", "capacity", "channel")}
    return row | enumerations | {"fields": json.dumps(sorted(grant.fields)), "basis": grant.basis.text}


def grant_of(row: Row[Any]) -> Grant:
    """The grant of a row. Raises Corrupt `registry.unreadable`."""
    found = read(row)
    if isinstance(found, Unreadable):
        raise Corrupt("registry.unreadable", grant=found.id.hex(), version=found.version, wrong=found.code)
    return found


def read(row: Row[Any]) -> Read:
    """The grant of a row, or what is wrong with it."""
    try:
        return _grant(row._mapping)
    except Refused as refused:
        return Unreadable(bytes(row.id), row.version, refused.code)
    except (
        ValueError,
        TypeError,
    ):  # no member of an enumeration, no JSON, no list: all of them somebody else's writing
        return Unreadable(bytes(row.id), row.version, "registry.unreadable")


def _grant(row: Mapping[Any, Any]) -> Grant:
    names = json.loads(row["fields"])
    if not isinstance(names, list):
        raise TypeError("fields is a list of names")
    return Grant(
        id=GrantId(row["id"]),
        version=row["version"],
        subject=SubjectRef(row["subject"]),
        recipient=PartyId(row["recipient"]),
        event_type=EventType(row["event_type"]),
        schema=SchemaId(row["schema"]),
        fields=frozenset(names),
        purpose=Purpose(row["purpose"]),
        basis=Basis.parse(row["basis"]),
        granted_at=Instant(row["granted_at"]),
        starts_at=Instant(row["starts_at"]),
        expires_at=None if row["expires_at"] is None else Instant(row["expires_at"]),
        scope=Scope(row["scope"]),
        once_for=None if row["once_for"] is None else DeclarationId(row["once_for"]),
        status=Status(row["status"]),
        given_by=row["given_by"],
        capacity=Capacity(row["capacity"]),
        channel=Channel(row["channel"]),
        language=row["language"],
        text_hash=bytes(row["text_hash"]),
        changed_at=Instant(row["changed_at"]),
    )
