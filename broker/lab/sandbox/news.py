"""News: event types as they will be one day: a second version of a schema, with a field and an enum symbol more.

Refuses: a type of whose enums none has a default, where a symbol is asked for: such an enum never grows.
Keeps: each second version may follow the first by the rules of `schemas.evolution`; the first stays the one that is
declared by unless somebody names the second.
"""

import json
from functools import cache
from typing import Any, Final

from schemas import catalogue
from schemas.catalogue import Catalogue, EventSchema
from schemas.errors import Refused
from schemas.names import EventType

SYMBOL: Final = "sandbox_new"
FIELD: Final = "sandbox_note"
_NEW_FIELD: Final = {
    "name": FIELD,
    "type": ["null", {"type": "string", "maxLength": 100}],
    "default": None,
    "doc": "A field that came with the second version, for trying out. Nobody asks for it.",
    "label": {"fr": "Note du bac à sable", "en": "Sandbox note"},
    "sensitivity": "low",
}


@cache
def events() -> Catalogue:
    """Every type, and what its newest schema will become; a type's name stands for the package's own."""
    builtin = catalogue.builtin()
    return Catalogue.of([*(_grown(one) for one in builtin.newest), *(one.schema.raw for one in builtin)])


def second(event_type: EventType) -> EventSchema:
    """The second version. Raises Refused `catalogue.unknown-type`."""
    known = {one.schema.id for one in catalogue.builtin().versions(catalogue.builtin().by_type(event_type).event_type)}
    return next(one for one in events() if one.event_type == event_type and one.schema.id not in known)


def growing(event_type: EventType) -> str:
    """The field whose enum has SYMBOL in the second version. Raises Refused `sandbox.no-enum`."""
    for each in json.loads(catalogue.builtin().by_type(event_type).schema.raw)["fields"]:
        if _enum_of(each["type"]) is not None:
            return str(each["name"])
    raise Refused("sandbox.no-enum", "/event_type", type=event_type)


def _grown(first: EventSchema) -> bytes:
    document = json.loads(first.schema.raw)
    enum = next((found for each in document["fields"] if (found := _enum_of(each["type"])) is not None), None)
    if enum is not None:
        enum["symbols"].append(SYMBOL)
        enum["labels"][SYMBOL] = {"fr": "Nouveau (bac à sable)", "en": "New (sandbox)"}
    document["fields"].append(_NEW_FIELD)
    return json.dumps(document, ensure_ascii=False).encode()


def _enum_of(told: Any) -> dict[str, Any] | None:
    """The enum that a field's type is, or may be, if it has a default: only such a one may grow."""
    for one in told if isinstance(told, list) else [told]:
        if isinstance(one, dict) and one.get("type") == "enum" and "default" in one:
            return one
    return None
