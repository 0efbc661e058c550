"""Layouts: what the seal of a row covers: these columns, in this order, of these types, whatever else the table has.

    signed   "unefois/row/v1" 0x00 | u8 format | name(table) | u32 row_version | u8 columns | for each: name | value
    name     u8 length | UTF-8
    value    as `broker.store.rows.macs.value_of` has it
    key      the values of the key's columns, encoded in the same way, one after the other

Refuses: a row that lacks a column, or holds a value of another type there: it has no bytes that anybody signed.
Keeps: two different rows never have the same bytes, and no row those of another table or of another version of itself.
The lists are literal and pinned by `tests/unit/broker/rows/test_layouts.py`. A column that is added to a table is
covered once a new FORMAT lists it, and not before: rows of the old format go on counting. A row is of the second format
where one of the columns is told that only the second lists, and else of the first: so a row has one format, and whoever
takes such a column away takes the seal away.

Without a seal, on purpose, is what gives nobody anything when it is edited, inserted or put back:
`paused_subscriptions` (a row holds back what is its own administration's), `kept_answers`, `webhook_attempts`,
`webhook_notices`, `expiry_notices`, `credential_uses` and `tallies` (whoever edits one has tries at a code of 60 bits,
or lets a portal do more of what it does); what the machine itself writes at every declaration, and for
citizens, carries a MAC instead (`macs`). What changes in a webhook with each message (its status, its
lease) is not covered either: it decides when its own administration is told that something waits, not who is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from broker.store.rows.macs import value_of

FORMAT: Final = 1
SECOND: Final = 2
LABEL: Final = b"unefois/row/v1\x00"


@dataclass(frozen=True, slots=True)
class Layout:
    """One table's: the columns that name a row, and every column that its seal covers, with its type."""

    key: tuple[str, ...]
    columns: tuple[tuple[str, type], ...]


_KEY_DATES: Final = (("valid_from", int), ("valid_to", int), ("revoked_at", int))

LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "parties": Layout(
            ("id",),
            (
                ("id", str),
                ("name", str),
                ("sector", str),
                ("kind", str),
                ("address", str),
                ("contact", str),
                ("retention", str),
                ("created_at", int),
            ),
        ),
        "signing_keys": Layout(
            ("kid",), (("kid", bytes), ("party", str), ("algorithm", int), ("public", bytes), *_KEY_DATES)
        ),
        "sealing_keys": Layout(
            ("kid",), (("kid", bytes), ("party", str), ("suite", int), ("public", bytes), *_KEY_DATES)
        ),
        "publishing_rights": Layout(
            ("party", "event_type", "valid_from"),
            (("party", str), ("event_type", str), ("valid_from", int), ("valid_to", int)),
        ),
        "signature_policies": Layout(("party", "valid_from"), (("party", str), ("policy", int), ("valid_from", int))),
        "subscriptions": Layout(
            ("id",),
            (
                ("id", bytes),
                ("recipient", str),
                ("event_type", str),
                ("purpose", str),
                ("fields", str),
                ("territories", str),
                ("status", str),
                ("legal_reference", str),
                ("approved_at", int),
                ("ended_at", int),
            ),
        ),
        "rules": Layout(
            ("id",),
            (
                ("id", bytes),
                ("recipient", str),
                ("event_type", str),
                ("purpose", str),
                ("fields", str),
                ("article", str),
                ("objection", int),
                ("status", str),
                ("asked_at", int),
                ("begins_at", int),
                ("ends_at", int),
                ("approved_at", int),
                ("acts_from", int),
                ("ended_at", int),
            ),
        ),
        "representations": Layout(
            ("id",),
            (
                ("id", bytes),
                ("representative", bytes),
                ("subject", bytes),
                ("measure", str),
                ("proof", str),
                ("event_types", str),
                ("purposes", str),
                ("begins_at", int),
                ("ends_at", int),
                ("given_by", str),
                ("recorded_at", int),
                ("ended_at", int),
            ),
        ),
        "purposes": Layout(
            ("id",),
            (
                ("id", str),
                ("version", int),
                ("families", str),
                ("label_fr", str),
                ("label_en", str),
                ("sentence_fr", str),
                ("sentence_en", str),
                ("legal_fr", str),
                ("legal_en", str),
                ("retention_fr", str),
                ("retention_en", str),
                ("contact", str),
                ("asked_at", int),
                ("approved_at", int),
            ),
        ),
        "reference_links": Layout(
            ("id",),
            (
                ("id", bytes),
                ("alias", bytes),
                ("kept", bytes),
                ("ground", str),
                ("evidence", str),
                ("asked_by", str),
                ("asked_at", int),
                ("confirmed_at", int),
                ("acts_from", int),
                ("ended_at", int),
                ("ended_by", str),
            ),
        ),
        "gate_epochs": Layout(
            ("kid",), (("kid", bytes), ("opened_at", int), ("closed_at", int), ("destroyed_at", int))
        ),
        "consent_epochs": Layout(("epoch",), (("epoch", int), ("opened_at", int), ("destroyed_at", int))),
        "api_tokens": Layout(
            ("id",),
            (
                ("id", bytes),
                ("party", str),
                ("digest", bytes),
                ("scopes", str),
                ("issued_at", int),
                ("expires_at", int),
                ("revoked_at", int),
            ),
        ),
        "client_keys": Layout(
            ("kid",),
            (
                ("kid", bytes),
                ("party", str),
                ("jwk", str),
                ("scopes", str),
                ("added_at", int),
                ("revoked_at", int),
            ),
        ),
        "client_key_sets": Layout(
            ("party", "added_at"),
            (("party", str), ("url", str), ("scopes", str), ("added_at", int), ("revoked_at", int)),
        ),
        "topic_users": Layout(
            ("party", "since"),
            (
                ("party", str),
                ("principal", str),
                ("receives", int),
                ("declares", int),
                ("since", int),
                ("ended_at", int),
            ),
        ),
        "operators": Layout(
            ("id",),
            (
                ("id", str),
                ("roles", str),
                ("public", bytes),
                ("issuer", str),
                ("subject", str),
                ("version", int),
                ("added_at", int),
                ("changed_at", int),
                ("ended_at", int),
            ),
        ),
        "approval_requests": Layout(
            ("id",),
            (
                ("id", bytes),
                ("act", str),
                ("asked_by", str),
                ("asked_at", int),
                ("expires_at", int),
                ("state", str),
                ("decided_by", str),
                ("decided_at", int),
                ("signature", bytes),
            ),
        ),
        "webhooks": Layout(
            ("id",), (("id", bytes), ("party", str), ("url", str), ("symmetric", int), ("created_at", int))
        ),
    }
)
"""Of format 1, by the table's name."""

ADDED: Final[Mapping[str, tuple[tuple[str, type], ...]]] = MappingProxyType(
    {
        "subscriptions": (("least_assurance", str), ("least_quality", str)),
        "rules": (("territories", str), ("least_assurance", str), ("least_quality", str), ("narrowed_at", int)),
    }
)
"""What format 2 covers, after the columns of format 1."""


def format_of(table: str, row: Mapping[Any, Any]) -> int:
    """The format of a row's seal: SECOND where a column of ADDED is told."""
    return SECOND if any(row.get(name) is not None for name, _ in ADDED.get(table, ())) else FORMAT


def canonical(table: str, row: Mapping[Any, Any], version: int) -> bytes:
    """The exact bytes that are signed for a row in its `version` (1 when it is new).

    Raises ValueError where the row is none that anybody can have signed.
    """
    of = format_of(table, row)
    columns = LAYOUTS[table].columns + (ADDED[table] if of == SECOND else ())
    made = [_HEADS[table, of], b"", bytes((len(columns),))]
    try:
        made[1] = version.to_bytes(4, "big")
        for name, kind in columns:
            made += (_NAMES[name], value_of(kind, row[name]))
    except (KeyError, OverflowError, AttributeError, UnicodeEncodeError):
        raise ValueError("no row that anybody signed") from None
    return b"".join(made)


def key_of(table: str, row: Mapping[Any, Any]) -> bytes:
    """What names a row in its table, as bytes: for the journal of endings. Raises ValueError as `canonical` does."""
    layout = LAYOUTS[table]
    kinds = dict(layout.columns)
    try:
        return b"".join(value_of(kinds[name], row[name]) for name in layout.key)
    except (KeyError, OverflowError, UnicodeEncodeError):
        raise ValueError("no key of this table") from None


def covered(table: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    """What a seal covers of a row."""
    return {name: row[name] for name, _ in LAYOUTS[table].columns} | {
        name: row[name] for name, _ in ADDED.get(table, ()) if name in row
    }


def written_key(table: str, row: Mapping[Any, Any]) -> str:
    """What names a row in its table, to be read by an operator: identifiers of administrations, keys and epochs."""
    told = [row[name] for name in LAYOUTS[table].key]
    return "/".join(one.hex() if isinstance(one, bytes) else str(one) for one in told)


def _name(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


_HEADS: Final = {(table, of): LABEL + bytes((of,)) + _name(table) for table in LAYOUTS for of in (FORMAT, SECOND)}
_NAMES: Final = {
    name: _name(name)
    for columns in (*(layout.columns for layout in LAYOUTS.values()), *ADDED.values())
    for name, _ in columns
}
"""Written once: a request checks a row."""
