"""Strict values: is this Python value exactly a value of that type? And the plain value that fastavro writes for it.

Refuses: what a lenient writer mends in silence (unknown or missing fields, a bool for an int, a naive datetime, NaN,
    digits that the scale or the precision would drop), with the pointer of the field and never its content.
Keeps: what passes here decodes to an equal value. Logical types are converted here and in `avro_logical` alone;
    fastavro sees plain types only, because its own conversions round.
Source: docs/protocol.md, section 3.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.avro_logical import LOWER, wrong
from schemas.avro_types import LOOKS, Kind, Logical, Type
from schemas.errors import Refused
from schemas.text import is_unicode


class Room:
    """How many items of arrays and maps, and how many bytes of texts and bytes, may still come."""

    __slots__ = ("items", "limit", "size")

    def __init__(self, items: int, limit: int) -> None:
        self.items = items
        self.size = 0
        self.limit = limit

    def take(self, items: int) -> None:
        """Raises Refused when there is no room for that many."""
        self.items -= items
        if self.items < 0:
            raise Refused("avro.too-many-items")

    def weigh(self, size: int) -> None:
        """Raises Refused at the field with which a value becomes larger than its limit, so that it can be named."""
        self.size += size
        if self.size > self.limit:
            raise Refused("avro.too-large", size=self.size, limit=self.limit)


Check = Callable[[Any, Room], Any]
"""Takes a value and the room for items, gives the plain value."""

_SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""Keys that may stand in a pointer: what cannot be a field's name might be content."""


def checker(kind: Type) -> Check:
    """The check of one type."""
    if kind.logical is not None:
        return _logical(kind, kind.logical)
    if kind.kind in _PLAIN:
        return _PLAIN[kind.kind]
    return _MADE[kind.kind](kind)


def _null(value: Any, room: Room) -> None:
    """Only a union asks, and it found None."""


def _boolean(value: Any, room: Room) -> bool:
    if value is True or value is False:
        return bool(value)
    raise wrong(value, "boolean")


def _whole(bits: int, word: str) -> Check:
    half = 1 << (bits - 1)

    def check(value: Any, room: Room) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong(value, word)
        if not -half <= value < half:
            raise Refused("avro.out-of-range")
        return value

    return check


def _double(value: Any, room: Room) -> float:
    if not isinstance(value, float):
        raise wrong(value, "double")
    if not math.isfinite(value):
        raise Refused("avro.not-finite")
    return value


def _float(value: Any, room: Room) -> float:
    number = _double(value, room)
    try:
        kept = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        raise Refused("avro.out-of-range") from None
    if kept != number:
        raise Refused("avro.too-precise")
    return number


def _bytes(value: Any, room: Room) -> bytes:
    if not isinstance(value, bytes):
        raise wrong(value, "bytes")
    room.weigh(len(value))
    return value


def _string(value: Any, room: Room) -> str:
    if not isinstance(value, str):
        raise wrong(value, "string")
    room.weigh(len(value))  # characters: never more than the bytes, and the exact sum is asked when it is written
    if not value.isascii() and not is_unicode(value):
        raise Refused("avro.not-unicode")
    return value


def _fixed(kind: Type) -> Check:
    size = kind.size

    def check(value: Any, room: Room) -> bytes:
        if not isinstance(value, bytes):
            raise wrong(value, "bytes")
        if len(value) != size:
            raise Refused("avro.wrong-size", size=len(value), expected=size)
        return value

    return check


def _enum(kind: Type) -> Check:
    symbols = frozenset(kind.symbols)

    def check(value: Any, room: Room) -> str:
        if not isinstance(value, str):
            raise wrong(value, "string")
        if value not in symbols:
            raise Refused("avro.unknown-symbol")
        return value

    return check


def _logical(kind: Type, logical: Logical) -> Check:
    lower = LOWER[logical]

    def check(value: Any, room: Room) -> Any:
        return lower(value, kind)

    return check


def _array(kind: Type) -> Check:
    item = checker(kind.parts[0])

    def check(value: Any, room: Room) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise wrong(value, "array")
        room.take(len(value))
        plain: list[Any] = []
        try:
            for each in value:
                plain.append(item(each, room))
        except Refused as fault:
            raise fault.under(f"/{len(plain)}") from None
        return plain

    return check


def _map(kind: Type) -> Check:
    part = checker(kind.parts[0])

    def check(value: Any, room: Room) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong(value, "map")
        room.take(len(value))
        return {_string(key, room): part(each, room) for key, each in value.items()}  # no pointer: a key is content

    return check


def _record(kind: Type) -> Check:
    fields = tuple((each.name, checker(each.type)) for each in kind.fields)
    names = frozenset(name for name, _ in fields)

    def check(value: Any, room: Room) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong(value, "record")
        if value.keys() != names:
            raise _other_fields(value, kind)
        plain = {}
        name = ""
        try:
            for name, field in fields:
                plain[name] = field(value[name], room)
        except Refused as fault:
            raise fault.under(f"/{name}") from None
        return plain

    return check


def _other_fields(value: Mapping[Any, Any], kind: Type) -> Refused:
    """The first field that is missing, else the first that the schema does not know."""
    for each in kind.fields:
        if each.name not in value:
            return Refused("avro.missing-field", f"/{each.name}")
    known = {each.name for each in kind.fields}
    return Refused("avro.unknown-field", shown(next(key for key in value if key not in known)))


def shown(key: object) -> str:
    """The pointer of a field that the schema does not know; that of the record where the name itself may be content."""
    return f"/{key}" if isinstance(key, str) and _SHOWN.fullmatch(key) else ""


def _union(kind: Type) -> Check:
    branches = {look: checker(part) for part in kind.parts for look in _LOOKS[part.logical or part.kind]}
    expected = " or ".join((part.logical or part.kind).value for part in kind.parts)

    def check(value: Any, room: Room) -> Any:
        branch = branches.get(type(value))
        if branch is None:  # a subclass; the branch itself refuses a bool among ints, a datetime among dates
            branch = next((branches[look] for look in branches if isinstance(value, look)), None)
            if branch is None:
                raise wrong(value, expected)
            branches[type(value)] = branch  # a program has few classes, and each value of one goes the same way
        return branch(value, room)

    return check


_LOOKS: Mapping[Kind | Logical, tuple[type, ...]] = {
    **{kind: (look,) for kind, look in LOOKS.items()},
    Kind.ARRAY: (list, tuple),
    Kind.MAP: (dict, Mapping),
    Kind.RECORD: (dict, Mapping),
    Logical.DECIMAL: (Decimal,),
    Logical.DATE: (date,),
    Logical.TIMESTAMP_MILLIS: (datetime,),
    Logical.TIMESTAMP_MICROS: (datetime,),
    Logical.UUID: (UUID,),
}

_PLAIN: dict[Kind, Check] = {
    Kind.NULL: _null,
    Kind.BOOLEAN: _boolean,
    Kind.INT: _whole(32, "int"),
    Kind.LONG: _whole(64, "long"),
    Kind.FLOAT: _float,
    Kind.DOUBLE: _double,
    Kind.BYTES: _bytes,
    Kind.STRING: _string,
}
_MADE: dict[Kind, Callable[[Type], Check]] = {
    Kind.FIXED: _fixed,
    Kind.ENUM: _enum,
    Kind.UNION: _union,
    Kind.ARRAY: _array,
    Kind.MAP: _map,
    Kind.RECORD: _record,
}
