"""Facts of the first ledger format, which told them in clear: read for receipts of that time, written by nobody.

Refuses: bytes that are not exactly one entry of version 1; to write what that version could not say.
Keeps: a receipt of 2026 stays checkable; a home that was migrated compares its old rows with what its old ledger said.
Source: docs/protocol.md, section 8, "The first format".
"""

import json
from typing import Final

from schemas import avro
from schemas.errors import Refused
from schemas.facts import KINDS, REASONS, Facts, typed
from schemas.names import Reason

VERSION: Final = 1
FIRST_KINDS: Final = 23
FIRST_REASONS: Final = 24
"""So many kinds and reasons there were."""

SCHEMA: Final = avro.parse(
    json.dumps(
        {
            "type": "record",
            "name": "fr.unefois.ledger.Entry",
            "fields": [
                {"name": "version", "type": "int"},
                {"name": "at", "type": "long"},
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": list(KINDS[:FIRST_KINDS])}},
                {"name": "actor", "type": "string"},
                {"name": "recipient", "type": ["null", "string"]},
                {"name": "event_type", "type": ["null", "string"]},
                {"name": "purpose", "type": ["null", "string"]},
                {"name": "declaration", "type": ["null", {"type": "fixed", "name": "Hash", "size": 32}]},
                {"name": "delivery", "type": ["null", {"type": "fixed", "name": "Id", "size": 16}]},
                {"name": "grant", "type": ["null", "Id"]},
                {"name": "grant_version", "type": ["null", "int"]},
                {"name": "fields", "type": ["null", "bytes"]},
                {
                    "name": "reason",
                    "type": ["null", {"type": "enum", "name": "Reason", "symbols": list(REASONS[:FIRST_REASONS])}],
                },
                {"name": "subject", "type": ["null", "Hash"]},
                {"name": "detail", "type": ["null", "Hash"]},
            ],
        },
        separators=(",", ":"),
    ).encode()
)
_KINDS: Final = frozenset(KINDS[:FIRST_KINDS])
_SYMBOLS: Final = frozenset(REASONS[:FIRST_REASONS])
_LIMITS = avro.Limits(max_bytes=65_535, max_depth=4, max_items=0)
_NAMES: Final = ("at", "actor", "recipient", "event_type", "purpose", "declaration", "delivery", "grant")
_MORE: Final = ("grant_version", "fields", "subject", "detail")


def decode(raw: bytes) -> Facts:
    """The facts of an entry of version 1. Raises Refused: `entry.*`, `avro.*`, `name.*`."""
    told = avro.decode(SCHEMA, raw, _LIMITS)
    if told.pop("version") != VERSION:
        raise Refused("entry.version", "/version")
    return Facts(**typed(told))


def is_first_format(raw: bytes) -> bool:
    """Whether an entry says that it is of version 1: Avro writes that number first, as the byte 2."""
    return raw[:1] == b"\x02"


def encode(facts: Facts) -> bytes:
    """The entry of version 1 that tells these facts: the bytes that were decoded.

    Raises Refused `entry.version` for what version 1 had no words for.
    """
    if any(told is not None for told in (facts.basis, facts.sealed_to, facts.count)):
        raise Refused("entry.version", "/version")
    if facts.kind.value not in _KINDS or (facts.reason is not None and _symbol(facts.reason) not in _SYMBOLS):
        raise Refused("entry.version", "/version")
    told = {name: getattr(facts, name) for name in (*_NAMES, *_MORE)}
    reason = None if facts.reason is None else _symbol(facts.reason)
    return avro.encode(SCHEMA, {**told, "version": VERSION, "kind": facts.kind.value, "reason": reason}, _LIMITS)


def _symbol(reason: Reason) -> str:
    return reason.value.replace("-", "_")
