"""Drafts: a file, in a declaration's own shape or in an agency's, becomes a record that may be declared.

    bytes ──read──► document ──(mapping)──► record ──complete, check──► Draft

Refuses: a file in neither JSON nor YAML, a document whose type nobody names, and every value that `values` refuses.
Keeps: optional fields may be left out of a file, needed ones may not; a refusal names the place and never the value.
"""

import json
from collections.abc import Mapping as Record
from dataclasses import dataclass, field
from typing import Any

from connectors import strict_yaml
from connectors.mapping import Direction, Mapping, Scalar
from schemas import values
from schemas.catalogue import Catalogue
from schemas.completing import complete
from schemas.errors import Refused
from schemas.formats import Warning
from schemas.names import EventType, Instant


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that may be declared, and what to look at before."""

    event_type: EventType
    record: Record[str, Any] = field(repr=False)
    warnings: tuple[Warning, ...]


def read(raw: bytes) -> object:
    """A JSON or YAML document as plain data, at most 256 KiB. Raises Refused `yaml.*` with the line."""
    if len(raw) <= strict_yaml.MAX_BYTES:
        try:
            return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_not_a_number)
        except (ValueError, RecursionError):
            pass
    return strict_yaml.read(raw)


def of_record(document: object, event_type: EventType | None, catalogue: Catalogue, at: Instant | None = None) -> Draft:
    """From the record itself, whose type the caller names, or from `{event_type: ..., record: ...}`. `at`: as for
    `values.check`.

    Raises Refused: `draft.no-type`, `draft.not-a-record`, `catalogue.unknown-type`, `avro.*`, `values.*`.
    """
    wrapped = isinstance(document, dict) and document.keys() == {"event_type", "record"}
    if isinstance(document, dict) and wrapped:
        told = document["event_type"]
        named = EventType(told) if isinstance(told, str) else None
        if event_type is not None and named != event_type:
            raise Refused("draft.other-type", "/event_type", event_type=event_type)
        event_type, document = named, document["record"]
    if event_type is None:
        raise Refused("draft.no-type")
    return _draft(document, event_type, catalogue, at)


def of_mapping(document: object, mapping: Mapping, parameters: Record[str, Scalar], catalogue: Catalogue) -> Draft:
    """From an agency's document, through an inbound mapping.

    Raises Refused: `draft.direction`, `mapping.*`, `catalogue.unknown-type`, `avro.*`, `values.*`.
    """
    if mapping.direction is not Direction.IN:
        raise Refused("draft.direction", mapping=mapping.name)
    return _draft(mapping.apply(document, parameters), mapping.event_type, catalogue)


def _draft(record: object, event_type: EventType, catalogue: Catalogue, at: Instant | None = None) -> Draft:
    event = catalogue.by_type(event_type)
    if not isinstance(record, dict):
        raise Refused("draft.not-a-record")
    whole = complete(record, event)
    return Draft(event_type, whole, values.check(event, whole, at))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key twice has no meaning; the YAML reader, which is asked next, says on which line it stands."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _not_a_number(text: str) -> float:
    raise ValueError
