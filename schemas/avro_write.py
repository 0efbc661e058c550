"""The writer: the bytes of a plain value that `avro_check` gave, and no other.

Refuses: nothing; what comes here was checked, is of its type, and a union of it has one branch for each Python class.
Keeps: one value, one encoding: shortest varints, one block for each array or map, fields in the schema's order.
Source: Apache Avro 1.12 specification, "Binary Encoding"; docs/adr/0023-avro-is-written-here.md says why it is ours.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.avro_types import LOOKS, Kind, Type

Write = Callable[[Any, bytearray], None]
"""Takes a plain value, appends its bytes."""

_SHORT: Final = 64
"""Numbers from 0 to one below this are a single byte, twice the number."""


def writer(kind: Type) -> Write:
    """The writer of one type. The logical type is no matter here: its value is plain by now."""
    if kind.kind in _PLAIN:
        return _PLAIN[kind.kind]
    return _MADE[kind.kind](kind)


def _null(value: None, out: bytearray) -> None:
    """Nothing."""


def _boolean(value: bool, out: bytearray) -> None:
    out.append(value)


def _long(value: int, out: bytearray) -> None:
    number = (value << 1) ^ (value >> 63)
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _float(value: float, out: bytearray) -> None:
    out += struct.pack("<f", value)


def _double(value: float, out: bytearray) -> None:
    out += struct.pack("<d", value)


def _bytes(value: bytes, out: bytearray) -> None:
    size = len(value)
    if size < _SHORT:
        out.append(size << 1)
    else:
        _long(size, out)
    out += value


def _string(value: str, out: bytearray) -> None:
    _bytes(value.encode(), out)


def _fixed(value: bytes, out: bytearray) -> None:
    out += value


def _enum(kind: Type) -> Write:
    encoded = {symbol: _encoded(position) for position, symbol in enumerate(kind.symbols)}

    def write(value: str, out: bytearray) -> None:
        out += encoded[value]

    return write


def _union(kind: Type) -> Write:
    branches = {LOOKS[part.kind]: (_encoded(position), writer(part)) for position, part in enumerate(kind.parts)}

    def write(value: Any, out: bytearray) -> None:
        branch = branches.get(type(value))
        if branch is None:  # a name's class, a subclass of str: found once, then known
            branch = branches[type(value)] = next(branches[look] for look in branches if isinstance(value, look))
        out += branch[0]
        branch[1](value, out)

    return write


def _array(kind: Type) -> Write:
    item = writer(kind.parts[0])

    def write(value: list[Any], out: bytearray) -> None:
        if value:
            _long(len(value), out)
            for each in value:
                item(each, out)
        out.append(0)

    return write


def _map(kind: Type) -> Write:
    part = writer(kind.parts[0])

    def write(value: Mapping[str, Any], out: bytearray) -> None:
        if value:
            _long(len(value), out)
            for key, each in value.items():
                _string(key, out)
                part(each, out)
        out.append(0)

    return write


def _record(kind: Type) -> Write:
    fields = tuple((each.name, writer(each.type)) for each in kind.fields)

    def write(value: Mapping[str, Any], out: bytearray) -> None:
        for name, field in fields:
            field(value[name], out)

    return write


def _encoded(position: int) -> bytes:
    out = bytearray()
    _long(position, out)
    return bytes(out)


_PLAIN: Final[Mapping[Kind, Write]] = {
    Kind.NULL: _null,
    Kind.BOOLEAN: _boolean,
    Kind.INT: _long,
    Kind.LONG: _long,
    Kind.FLOAT: _float,
    Kind.DOUBLE: _double,
    Kind.BYTES: _bytes,
    Kind.STRING: _string,
    Kind.FIXED: _fixed,
}
_MADE: Final[Mapping[Kind, Callable[[Type], Write]]] = {
    Kind.ENUM: _enum,
    Kind.UNION: _union,
    Kind.ARRAY: _array,
    Kind.MAP: _map,
    Kind.RECORD: _record,
}
