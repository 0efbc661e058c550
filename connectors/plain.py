"""Plain data: what expressions see of a delivery, and what they may give back.

Refuses: a result that is too large, too deep, or holds anything but text, numbers, booleans, null, lists and records.
Keeps: identifiers and instants are text here, as people copy them: UUIDs with dashes, hashes in hexadecimal, the
       pseudonym in base32 (docs/protocol.md, 10), instants in UTC.
"""

import base64
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused
from schemas.names import rfc3339, uuid_text

MAX_NODES = 2_000
"""Most values of one result, nested ones counted."""
MAX_CHARACTERS = 65_536
"""Most characters of one result."""
MAX_ROWS = 100
"""Most rows of one delivery, and of one group of an agency's rows."""
MAX_DEPTH = 12
"""Deepest nesting of one result."""

FACTS = frozenset(
    {
        "id",
        "declaration_id",
        "source",
        "event_type",
        "issued_at",
        "corrects",
        "purpose",
        "basis",
        "grant_id",
        "grant_version",
        "pseudonym",
        "pseudonym_version",
        "released_at",
        "ledger_entry",
        "manifest",
        "assurance",
        "quality",
        "channel",
    }
)
"""What `delivery.<name>` may name."""


def facts_of(delivery: VerifiedDelivery) -> dict[str, object]:
    """A delivery's own facts, without the record."""
    pseudonym, stated = delivery.pseudonym, delivery.provenance
    return {
        "id": uuid_text(delivery.delivery_id),
        "declaration_id": uuid_text(delivery.declaration_id),
        "source": str(delivery.source),
        "event_type": str(delivery.event_type),
        "issued_at": rfc3339(delivery.issued_at),
        "corrects": None if delivery.corrects is None else uuid_text(delivery.corrects),
        "purpose": str(delivery.purpose),
        "basis": str(delivery.basis),
        "grant_id": uuid_text(delivery.grant_id),
        "grant_version": delivery.grant_version,
        "pseudonym": None if pseudonym is None else base64.b32encode(pseudonym).decode().rstrip("="),
        "pseudonym_version": delivery.pseudonym_version,
        "released_at": rfc3339(delivery.released_at),
        "ledger_entry": delivery.ledger_entry.hex(),
        "manifest": delivery.manifest_digest.hex(),
        "assurance": None if stated is None else stated.assurance.value,
        "quality": None if stated is None else stated.quality.value,
        "channel": None if stated is None else stated.channel.value,
    }


def plain(given: object) -> object:
    """Records as dictionaries, arrays as lists, dates and instants as ISO text, bytes as hexadecimal.

    Everything else is left as it is, WITHHELD too.
    """
    if isinstance(given, Mapping):
        return {str(name): plain(value) for name, value in given.items()}
    if isinstance(given, list | tuple):
        return [plain(item) for item in given]
    if isinstance(given, datetime):
        return given.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _plain_scalar(given)


def _plain_scalar(given: object) -> object:
    if isinstance(given, date):
        return given.isoformat()
    if isinstance(given, uuid.UUID):
        return str(given)
    if isinstance(given, bytes):
        return given.hex()
    return given


def measure(result: Mapping[str, object]) -> None:
    """Raises Refused("mapping.result-too-large") over the limits, ("mapping.shape") for anything that is not plain."""
    nodes = characters = 0
    waiting: list[tuple[object, str, int]] = [(value, f"/{name}", 1) for name, value in result.items()]
    while waiting:
        value, pointer, depth = waiting.pop()
        nodes += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list):
            waiting += ((item, pointer, depth + 1) for item in value)
        elif isinstance(value, dict):
            waiting += ((item, pointer, depth + 1) for item in value.values())
        elif not isinstance(value, int | float | Decimal | None):
            raise Refused("mapping.shape", pointer)
        if nodes > MAX_NODES or characters > MAX_CHARACTERS or depth > MAX_DEPTH:
            raise Refused("mapping.result-too-large", pointer, nodes=MAX_NODES, characters=MAX_CHARACTERS)


def grouped(given: object, by: Sequence[str]) -> list[dict[str, object]]:
    """An agency's rows as documents: rows with the same cells in `by`, wherever they stand, are one.

    A document has the cells that all its rows agree on, and the rows themselves as `rows`. Raises
    Refused("mapping.given-rows") with the row's number, ("mapping.too-many").
    """
    groups: dict[tuple[object, ...], list[dict[str, object]]] = {}
    rows = plain(given)
    if not isinstance(rows, list):
        raise Refused("mapping.given-rows")
    for number, row in enumerate(rows):
        cells = [row.get(name) for name in by] if isinstance(row, dict) else [None]
        if not all(isinstance(cell, str | int) and cell != "" for cell in cells):
            raise Refused("mapping.given-rows", f"/{number}")
        group = groups.setdefault(tuple(map(str, cells)), [])
        if len(group) == MAX_ROWS:
            raise Refused("mapping.too-many", f"/{number}", count=MAX_ROWS + 1, limit=MAX_ROWS)
        group.append(row)
    return [_document(group) for group in groups.values()]


def _document(rows: list[dict[str, object]]) -> dict[str, object]:
    first, *others = rows
    agreed = {name: cell for name, cell in first.items() if all(name in row and row[name] == cell for row in others)}
    return {**agreed, "rows": rows}
