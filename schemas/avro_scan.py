"""The bounded scan: is this exactly one encoding of that type, within the limits? Asked before anything is built.

Whether an int or a floating number is in its range and finite is asked of the value (`avro_check`), when it is encoded
again; of all else nothing is left to ask.

Refuses: what a lenient reader lets pass (long varints, boolean 2, several or sized blocks, negative positions) and what
    would make it work for nothing (a count beyond the bytes that are there, items beyond the limit).
Keeps: time and memory linear in the bytes that are really there; every refusal points at the field.
Source: Apache Avro 1.12 specification, "Binary Encoding"; docs/protocol.md, section 3.
"""

from collections.abc import Callable

from schemas.avro_check import Room
from schemas.avro_types import Kind, Type
from schemas.errors import Refused
from schemas.text import from_utf8

Scan = Callable[[bytes, int, Room], int]
"""Takes the bytes and the position of a value, gives the position after it."""


def scanner(kind: Type) -> Scan:
    """The scan of one type."""
    if kind.kind in _PLAIN:
        return _PLAIN[kind.kind]
    return _MADE[kind.kind](kind)


def leaves_open(kind: Type) -> bool:
    """Whether a value of this type that was scanned may still be outside its range."""
    return kind.kind in _OPEN or any(leaves_open(child) for child in kind.children())


_OPEN = frozenset({Kind.INT, Kind.FLOAT, Kind.DOUBLE})


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The shortest unsigned varint at a place, and the place after it."""
    if place < len(data) and data[place] < 0x80:
        return data[place], place + 1
    number = shift = 0
    for offset, byte in enumerate(data[place : place + 10]):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >> 64 or (offset and not byte):
                raise Refused("avro.long-varint")
            return number, place + offset + 1
        shift += 7
    if len(data) - place >= 10:
        raise Refused("avro.long-varint")
    raise Refused("avro.truncated")


def _natural(data: bytes, place: int) -> tuple[int, int]:
    """A length or a position: the zig-zag number at a place, or -1 for any negative one."""
    number, place = _varint(data, place)
    return (-1 if number & 1 else number >> 1), place


def _long(data: bytes, place: int, room: Room) -> int:
    return _varint(data, place)[1]


def _boolean(data: bytes, place: int, room: Room) -> int:
    if place >= len(data):
        raise Refused("avro.truncated")
    if data[place] > 1:
        raise Refused("avro.not-boolean")
    return place + 1


def _null(data: bytes, place: int, room: Room) -> int:
    return place


def _blob(data: bytes, place: int, room: Room) -> int:
    length, place = _natural(data, place)
    if length < 0:
        raise Refused("avro.negative-length")
    if length > len(data) - place:
        raise Refused("avro.truncated")
    return place + length


def _string(data: bytes, place: int, room: Room) -> int:
    end = _blob(data, place, room)
    text = data[_varint(data, place)[1] : end]
    if not text.isascii() and from_utf8(text) is None:
        raise Refused("avro.not-unicode")
    return end


def _sized(size: int) -> Scan:
    def scan(data: bytes, place: int, room: Room) -> int:
        if size > len(data) - place:
            raise Refused("avro.truncated")
        return place + size

    return scan


def _enum(kind: Type) -> Scan:
    symbols = len(kind.symbols)

    def scan(data: bytes, place: int, room: Room) -> int:
        number, place = _natural(data, place)
        if not 0 <= number < symbols:
            raise Refused("avro.unknown-symbol")
        return place

    return scan


def _union(kind: Type) -> Scan:
    parts = tuple(scanner(part) for part in kind.parts)

    def scan(data: bytes, place: int, room: Room) -> int:
        number, place = _natural(data, place)
        if not 0 <= number < len(parts):
            raise Refused("avro.unknown-branch")
        return parts[number](data, place, room)

    return scan


def _block(data: bytes, place: int, room: Room) -> tuple[int, int]:
    """The count of the only block, checked against what is there: each item takes at least one byte."""
    count, place = _natural(data, place)
    if count < 0:
        raise Refused("avro.several-blocks")
    room.take(count)
    if count > len(data) - place:
        raise Refused("avro.truncated")
    return count, place


def _block_end(data: bytes, place: int) -> int:
    end, place = _natural(data, place)
    if end:
        raise Refused("avro.several-blocks")
    return place


def _array(kind: Type) -> Scan:
    item = scanner(kind.parts[0])

    def scan(data: bytes, place: int, room: Room) -> int:
        count, place = _block(data, place, room)
        left = count
        try:
            while left:
                place = item(data, place, room)
                left -= 1
        except Refused as fault:
            raise fault.under(f"/{count - left}") from None
        return _block_end(data, place) if count else place

    return scan


def _map(kind: Type) -> Scan:
    value = scanner(kind.parts[0])

    def scan(data: bytes, place: int, room: Room) -> int:
        count, place = _block(data, place, room)
        for _ in range(count):
            place = value(data, _string(data, place, room), room)  # no pointer inside: a key is content
        return _block_end(data, place) if count else place

    return scan


def _record(kind: Type) -> Scan:
    names = tuple(each.name for each in kind.fields)
    fields = tuple(scanner(each.type) for each in kind.fields)

    def scan(data: bytes, place: int, room: Room) -> int:
        number = 0
        try:
            for field in fields:
                place = field(data, place, room)
                number += 1
        except Refused as fault:
            raise fault.under(f"/{names[number]}") from None
        return place

    return scan


_PLAIN: dict[Kind, Scan] = {
    Kind.NULL: _null,
    Kind.BOOLEAN: _boolean,
    Kind.INT: _long,
    Kind.LONG: _long,
    Kind.FLOAT: _sized(4),
    Kind.DOUBLE: _sized(8),
    Kind.BYTES: _blob,
    Kind.STRING: _string,
}
_MADE: dict[Kind, Callable[[Type], Scan]] = {
    Kind.FIXED: lambda kind: _sized(kind.size),
    Kind.ENUM: _enum,
    Kind.UNION: _union,
    Kind.ARRAY: _array,
    Kind.MAP: _map,
    Kind.RECORD: _record,
}
