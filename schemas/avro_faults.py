"""Every fault of a value: each place at which it is not of its type, where `avro_check` stops at the first.

Refuses: nothing; it returns faults, and each is one that `avro_check` would raise of that place alone.
Keeps: the first is the one that `avro_check` raises, but for limits on the whole value, which are not asked here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.avro_check import Room, checker, shown
from schemas.avro_types import Kind, Type
from schemas.errors import Refused

_ROOM: Final = 1 << 62
"""Limits are those of the whole value; whoever writes it asks them."""


def faults(kind: Type, value: Any, pointer: str = "") -> Iterator[Refused]:
    """Each place at which a value is not of this type, in the order of the schema, with its pointer below `pointer`."""
    inner = _inner(kind, value)
    if inner.kind is Kind.RECORD and isinstance(value, Mapping):
        yield from _of_record(inner, value, pointer)
    elif inner.kind is Kind.ARRAY and isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from faults(inner.parts[0], each, f"{pointer}/{number}")
    else:
        try:
            checker(kind)(value, Room(_ROOM, _ROOM))
        except Refused as fault:
            yield Refused(fault.code, pointer + fault.pointer, **fault.details)


def _inner(kind: Type, value: Any) -> Type:
    """The branch of a union whose inside is looked at: the record of a mapping, the array of a list."""
    looks = Kind.RECORD if isinstance(value, Mapping) else Kind.ARRAY
    return next((part for part in kind.parts if kind.kind is Kind.UNION and part.kind is looks), kind)


def _of_record(kind: Type, value: Mapping[Any, Any], pointer: str) -> Iterator[Refused]:
    """Fields that are missing, then those that the schema does not know, then what is wrong inside."""
    known = {each.name for each in kind.fields}
    for each in kind.fields:
        if each.name not in value:
            yield Refused("avro.missing-field", f"{pointer}/{each.name}")
    for place in dict.fromkeys(shown(key) for key in value if key not in known):
        yield Refused("avro.unknown-field", pointer + place)
    for each in kind.fields:
        if each.name in value:
            yield from faults(each.type, value[each.name], f"{pointer}/{each.name}")
