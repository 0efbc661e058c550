"""Records: what a delivery holds, as typed Python; and typed Python as what a source declares.

    VerifiedDelivery.record ──of──► AddressChanged(subject=Identity(...), old_commune=WITHHELD, ...) ──plain──► declare

Refuses: a text that is no date where the schema says that it is one.
Keeps: WITHHELD is never None; a symbol that this version does not know stays the text that it is, and a field that it
does not know is in `more`; a decimal, a date and a partial date are what they are; no value of a citizen is in a repr.
Source: docs/protocol.md, section 2. The classes are written from the schemas by `python -m tests.typed.write`.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from schemas.avro_types import Kind, Type
from schemas.errors import Refused
from schemas.record_base import Event, Part, PartialDate
from schemas.record_parts import PARTS
from schemas.record_types import TYPES

_KNOWN: Final[Mapping[str, type[Part] | type[StrEnum]]] = MappingProxyType({**PARTS, **TYPES})
"""Avro name -> class, of every record and enumeration that this version has one for."""


def of(kind: Type, record: Mapping[str, Any]) -> Event | None:
    """The typed form of a decoded record of this schema (`EventSchema.schema.type`); None for a type without a class.

    Raises Refused `records.date` with the field's pointer.
    """
    typed = _typed(kind, record, "")
    return typed if isinstance(typed, Event) else None


def plain(record: Part) -> dict[str, Any]:
    """The record as `schemas.declaration.declare` takes it: dates and symbols as text, parts as dictionaries."""
    told = {each.name: _plain(getattr(record, each.name)) for each in fields(record) if each.name != "more"}
    return told | {name: _plain(value) for name, value in record.more.items()}


def _typed(kind: Type, value: Any, pointer: str) -> Any:
    if value is None:
        return None
    if kind.kind is Kind.UNION:
        kind = kind.parts[kind.parts[0].kind is Kind.NULL]  # the catalogue knows only null with one other
    maker = _MAKERS.get(kind.kind)
    # What was withheld is no text, no mapping and no list, whatever the schema says of it.
    return maker(kind, value, pointer) if maker is not None and isinstance(value, str | Mapping | list) else value


def _record(kind: Type, value: Mapping[str, Any], pointer: str) -> Any:
    made = {each.name: _typed(each.type, value[each.name], f"{pointer}/{each.name}") for each in kind.fields}
    found = _KNOWN.get(kind.name)
    if found is None or not is_dataclass(found):
        return made
    names = {each.name for each in fields(found)}
    more = {name: each for name, each in made.items() if name not in names}
    return found(**{name: each for name, each in made.items() if name in names}, more=MappingProxyType(more))


def _symbol(kind: Type, value: str, pointer: str) -> str:
    found = _KNOWN.get(kind.name)
    try:
        return found(value) if found is not None and issubclass(found, StrEnum) else value
    except ValueError:
        return value


def _text(kind: Type, value: str, pointer: str) -> Any:
    told = kind.properties.get("format")
    try:
        if told == "partial-date":
            return PartialDate.parse(value)
        return date.fromisoformat(value) if told == "date" else value
    except (ValueError, Refused):
        raise Refused("records.date", pointer) from None


_MAKERS: Final[Mapping[Kind, Callable[[Type, Any, str], Any]]] = {
    Kind.RECORD: _record,
    Kind.ENUM: _symbol,
    Kind.STRING: _text,
    Kind.ARRAY: lambda kind, value, pointer: tuple(
        _typed(kind.parts[0], each, f"{pointer}/{number}") for number, each in enumerate(value)
    ),
}


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return plain(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, date | PartialDate) else value
