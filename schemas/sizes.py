"""Sizes: how many bytes a field of an event type can have, encoded and sealed, whatever a citizen's value is.

Refuses: nothing.
Keeps: what `values.check` lets pass and `sealing.seal_field` seals is never larger than told here. So what is larger
holds no value: it is ballast, which the broker would carry once for each recipient.
Source: docs/protocol.md, sections 2 and 4; Apache Avro 1.12 specification, "Binary Encoding".
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from schemas import avro, sealing
from schemas.avro_types import Kind, Logical, Type
from schemas.sealing import SALT_SIZE
from schemas.values import MAX_ITEMS, MAX_LENGTH

_FIXED: Final = {
    Kind.NULL: 0,
    Kind.BOOLEAN: 1,
    Kind.INT: 5,
    Kind.LONG: 10,
    Kind.FLOAT: 4,
    Kind.DOUBLE: 8,
    Kind.MAP: 1,
}
_UTF8: Final = 4
"""Bytes of one character at most."""


@lru_cache(maxsize=256)
def most_sealed(schema: avro.Schema) -> tuple[int, ...]:
    """Bytes of each sealed field at most, padding and tag included, by the field's index."""
    return tuple(sealing.padded_size(SALT_SIZE + most_encoded(each.type)) + sealing.TAG_SIZE for each in schema.fields)


def most_encoded(kind: Type) -> int:
    """Bytes of the longest value of a type in Avro binary. Of a map, which no event type has, one without entries."""
    return _FIXED[kind.kind] if kind.kind in _FIXED else _MADE[kind.kind](kind)


def _string(kind: Type) -> int:
    return _counted(_UTF8 * int(kind.properties.get("maxLength", MAX_LENGTH)))


def _bytes(kind: Type) -> int:
    number = kind.logical is Logical.DECIMAL
    return _counted((10**kind.precision).bit_length() // 8 + 1 if number else MAX_LENGTH)


def _array(kind: Type) -> int:
    items = int(kind.properties.get("maxItems", MAX_ITEMS))
    return _varint(items) + items * most_encoded(kind.parts[0]) + 1


def _union(kind: Type) -> int:
    return max(_varint(number) + most_encoded(part) for number, part in enumerate(kind.parts))


def _record(kind: Type) -> int:
    return sum(most_encoded(each.type) for each in kind.fields)


def _counted(length: int) -> int:
    return _varint(length) + length


def _varint(number: int) -> int:
    """Bytes of a number from 0 on, zigzag."""
    return max(1, -(-(number << 1).bit_length() // 7))


_MADE: Final[Mapping[Kind, Callable[[Type], int]]] = {
    Kind.STRING: _string,
    Kind.BYTES: _bytes,
    Kind.FIXED: lambda kind: kind.size,
    Kind.ENUM: lambda kind: _varint(len(kind.symbols) - 1),
    Kind.ARRAY: _array,
    Kind.UNION: _union,
    Kind.RECORD: _record,
}
