"""Completing: a record that leaves out what may be null gets null there, in nested parts too.

Refuses: nothing; what may not be null and is missing is refused by `values`.
Keeps: nothing that is told is changed.
"""

from collections.abc import Mapping

from schemas.avro_types import Kind, Type
from schemas.catalogue import EventSchema


def complete(record: Mapping[str, object], event: EventSchema) -> dict[str, object]:
    """The record with null for every nullable field, nested ones too, that it does not tell."""
    return _completed(record, event.schema.type)


def _completed(record: Mapping[str, object], kind: Type) -> dict[str, object]:
    known = {each.name: each.type for each in kind.fields}
    inner = {name: _complete(value, known[name]) for name, value in record.items() if name in known}
    return {**record, **dict.fromkeys(name for name in known if name not in record and known[name].nullable), **inner}


def _complete(value: object, kind: Type) -> object:
    if kind.kind is Kind.UNION:
        kind = next((part for part in kind.parts if part.kind is not Kind.NULL), kind)
    if isinstance(value, dict) and kind.kind is Kind.RECORD:
        return _completed(value, kind)
    if isinstance(value, list) and kind.kind is Kind.ARRAY:
        return [_complete(item, kind.parts[0]) for item in value]
    return value
