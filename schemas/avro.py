"""Strict Avro: one value, one encoding. fastavro reads; this page decides what it may be given, and writes.

Refuses: to mend. Reading accepts exactly the bytes that writing the same value gives; writing accepts exactly the
    values that reading gives. Everything else is `Refused` with the field's JSON pointer and without its content.
Keeps: limits hold before anything is built; a schema is parsed once and is immutable; the identity of a schema is
    SHA-256 of its registered bytes (Avro's canonical form drops logical types, so it would not do).
Source: Apache Avro 1.12 specification; docs/protocol.md, sections 2 and 3; docs/adr/0023-avro-is-written-here.md.

Values: null None, int and long int, float and double float, bytes and fixed bytes, string and enum str, array list (a
tuple is taken too), map and record dict (any Mapping is taken), decimal Decimal, date date, timestamps aware datetime,
uuid UUID.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

import fastavro

from schemas.avro_check import Check, Room, checker
from schemas.avro_logical import Lift, lifter
from schemas.avro_scan import Scan, leaves_open, scanner
from schemas.avro_schema import MAX_SCHEMA_TYPES, read_type
from schemas.avro_types import LOOKS, Field, Kind, Properties, Type
from schemas.errors import Refused
from schemas.names import SchemaId

Write = Callable[[Any, bytearray], None]
"""Takes a plain value, appends its bytes."""

_SHORT: Final = 64
"""Numbers from 0 to one below this are a single byte, twice the number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one value may cost. `max_items` counts the items of all its arrays and maps together."""

    max_bytes: int = 1_048_576
    max_depth: int = 16
    max_items: int = 65_536


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _Codec:
    """Everything needed for one record, made once. `plain` is its schema as fastavro wants it."""

    plain: Any
    check: Check
    put: Write
    scan: Scan
    lift: Lift | None
    asks: bool
    """Whether the scan leaves something to ask of a value that was read."""
    depth: int

    @classmethod
    def of(cls, kind: Type) -> "_Codec":
        plain, lift = fastavro.parse_schema(_plain(kind, {})), lifter(kind)
        asks = lift is not None or leaves_open(kind)
        return cls(plain, checker(kind), writer(kind), scanner(kind), lift, asks, kind.height())

    def write(self, value: Any, limits: Limits) -> bytes:
        self._within(limits)
        encoded = self._encoded(self.check(value, Room(limits.max_items, limits.max_bytes)))
        if len(encoded) > limits.max_bytes:
            raise Refused("avro.too-large", size=len(encoded), limit=limits.max_bytes)
        return encoded

    def read(self, encoded: bytes, limits: Limits) -> Any:
        self._within(limits)
        if len(encoded) > limits.max_bytes:
            raise Refused("avro.too-large", size=len(encoded), limit=limits.max_bytes)
        end = self.scan(encoded, 0, Room(limits.max_items, limits.max_bytes))
        if end != len(encoded):
            raise Refused("avro.trailing-bytes", size=len(encoded) - end)
        value = fastavro.schemaless_reader(BytesIO(encoded), self.plain, None)
        if self.lift is not None:
            value = self.lift(value)
        if (self.write(value, limits) if self.asks else self._encoded(value)) != encoded:
            raise Refused("avro.not-canonical")
        return value

    def _encoded(self, plain: Any) -> bytes:
        out = bytearray()
        self.put(plain, out)
        return bytes(out)

    def _within(self, limits: Limits) -> None:
        if self.depth > limits.max_depth:
            raise Refused("avro.too-deep", depth=self.depth, limit=limits.max_depth)


@dataclass(frozen=True, slots=True)
class FieldSchema:
    """One top-level field: a unit of disclosure. `properties` is what the schema says of it (doc, label, ...)."""

    index: int
    name: str
    type: Type
    properties: Properties = field(hash=False, repr=False)
    _codec: _Codec = field(compare=False, repr=False)

    @property
    def nullable(self) -> bool:
        """Whether it can be absent."""
        return self.type.nullable


@dataclass(frozen=True, slots=True)
class Schema:
    """A record schema, parsed. Made by `parse` only. `name` is Avro's full name, `type` the whole tree."""

    id: SchemaId
    name: str = field(compare=False)
    raw: bytes = field(compare=False, repr=False)
    fields: tuple[FieldSchema, ...] = field(compare=False, repr=False)
    type: Type = field(compare=False, repr=False)
    _codec: _Codec = field(compare=False, repr=False)

    @property
    def properties(self) -> Properties:
        """What the schema says of the record, beyond what Avro defines."""
        return self.type.properties


def parse(raw: bytes, types: int = MAX_SCHEMA_TYPES) -> Schema:
    """The schema that these registered bytes are: UTF-8 JSON of one Avro record, of so many types at most.

    Raises Refused (`avro.schema-*`) with a pointer into the schema's own JSON.
    """
    kind = read_type(raw, types)
    fields = tuple(_field(index, each) for index, each in enumerate(kind.fields))
    return Schema(SchemaId(hashlib.sha256(raw).digest()), kind.name, bytes(raw), fields, kind, _Codec.of(kind))


def encode(schema: Schema, value: Mapping[str, Any], limits: Limits = LIMITS) -> bytes:
    """A whole record in Avro binary, without header. Raises Refused with the pointer of the field."""
    return schema._codec.write(value, limits)


def decode(schema: Schema, data: bytes, limits: Limits = LIMITS) -> dict[str, Any]:
    """The record that these bytes are, exactly. Raises Refused with the pointer of the field."""
    record: dict[str, Any] = schema._codec.read(data, limits)
    return record


def encode_field(schema: Schema, index: int, value: Any, limits: Limits = LIMITS) -> bytes:
    """One top-level field alone; the encodings of all fields, joined in order, are the record's. Raises Refused."""
    chosen = _chosen(schema, index)
    return chosen._codec.write({chosen.name: value}, limits)


def decode_field(schema: Schema, index: int, data: bytes, limits: Limits = LIMITS) -> Any:
    """The value of one top-level field. Raises Refused, with a pointer from the record."""
    chosen = _chosen(schema, index)
    return chosen._codec.read(data, limits)[chosen.name]


def _chosen(schema: Schema, index: int) -> FieldSchema:
    if not 0 <= index < len(schema.fields):
        raise Refused("avro.no-such-field", index=index, fields=len(schema.fields))
    return schema.fields[index]


def _field(index: int, each: Field) -> FieldSchema:
    """A field's codec is the codec of a record of that field only: a record adds no bytes of its own."""
    alone = Type(Kind.RECORD, name="Field", fields=(each,))
    return FieldSchema(index, each.name, each.type, each.properties, _Codec.of(alone))


def _plain(kind: Type, named: dict[str, str]) -> Any:
    """The type for fastavro: no logical types, no defaults, no namespaces; each name declared where it first stands."""
    if kind.name in named:
        return named[kind.name]
    if kind.name:
        named[kind.name] = f"T{len(named)}"
    make = _PLAIN.get(kind.kind)
    return kind.kind.value if make is None else make(kind, named)


_PLAIN: Mapping[Kind, Callable[[Type, dict[str, str]], Any]] = {
    Kind.FIXED: lambda kind, named: {"type": "fixed", "name": named[kind.name], "size": kind.size},
    Kind.ENUM: lambda kind, named: {"type": "enum", "name": named[kind.name], "symbols": list(kind.symbols)},
    Kind.ARRAY: lambda kind, named: {"type": "array", "items": _plain(kind.parts[0], named)},
    Kind.MAP: lambda kind, named: {"type": "map", "values": _plain(kind.parts[0], named)},
    Kind.UNION: lambda kind, named: [_plain(part, named) for part in kind.parts],
    Kind.RECORD: lambda kind, named: {
        "type": "record",
        "name": named[kind.name],
        "fields": [{"name": each.name, "type": _plain(each.type, named)} for each in kind.fields],
    },
}


# ── the writer: the bytes of a plain value that `avro_check` gave, and no other ───────────────────────────────────────
# It refuses nothing: what comes here was checked and is of its type; a union has one branch for each Python class.
# One value has one encoding: shortest varints, one block for each array or map, fields in the schema's order.


def writer(kind: Type) -> Write:
    """The writer of one type. The logical type is no matter here: its value is plain by now."""
    if kind.kind in _WRITERS:
        return _WRITERS[kind.kind]
    return _WRITERS_OF[kind.kind](kind)


def _put_null(value: None, out: bytearray) -> None:
    """Nothing."""


def _put_boolean(value: bool, out: bytearray) -> None:
    out.append(value)


def _put_long(value: int, out: bytearray) -> None:
    number = (value << 1) ^ (value >> 63)
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _put_float(value: float, out: bytearray) -> None:
    out += struct.pack("<f", value)


def _put_double(value: float, out: bytearray) -> None:
    out += struct.pack("<d", value)


def _put_bytes(value: bytes, out: bytearray) -> None:
    size = len(value)
    if size < _SHORT:
        out.append(size << 1)
    else:
        _put_long(size, out)
    out += value


def _put_string(value: str, out: bytearray) -> None:
    _put_bytes(value.encode(), out)


def _put_fixed(value: bytes, out: bytearray) -> None:
    out += value


def _put_enum(kind: Type) -> Write:
    encoded = {symbol: _position(position) for position, symbol in enumerate(kind.symbols)}

    def write(value: str, out: bytearray) -> None:
        out += encoded[value]

    return write


def _put_union(kind: Type) -> Write:
    branches = {LOOKS[part.kind]: (_position(position), writer(part)) for position, part in enumerate(kind.parts)}

    def write(value: Any, out: bytearray) -> None:
        branch = branches.get(type(value))
        if branch is None:  # a name's class, a subclass of str: found once, then known
            branch = branches[type(value)] = next(branches[look] for look in branches if isinstance(value, look))
        out += branch[0]
        branch[1](value, out)

    return write


def _put_array(kind: Type) -> Write:
    item = writer(kind.parts[0])

    def write(value: list[Any], out: bytearray) -> None:
        if value:
            _put_long(len(value), out)
            for each in value:
                item(each, out)
        out.append(0)

    return write


def _put_map(kind: Type) -> Write:
    part = writer(kind.parts[0])

    def write(value: Mapping[str, Any], out: bytearray) -> None:
        if value:
            _put_long(len(value), out)
            for key, each in value.items():
                _put_string(key, out)
                part(each, out)
        out.append(0)

    return write


def _put_record(kind: Type) -> Write:
    fields = tuple((each.name, writer(each.type)) for each in kind.fields)

    def write(value: Mapping[str, Any], out: bytearray) -> None:
        for name, put in fields:
            put(value[name], out)

    return write


def _position(position: int) -> bytes:
    out = bytearray()
    _put_long(position, out)
    return bytes(out)


_WRITERS: Final[Mapping[Kind, Write]] = {
    Kind.NULL: _put_null,
    Kind.BOOLEAN: _put_boolean,
    Kind.INT: _put_long,
    Kind.LONG: _put_long,
    Kind.FLOAT: _put_float,
    Kind.DOUBLE: _put_double,
    Kind.BYTES: _put_bytes,
    Kind.STRING: _put_string,
    Kind.FIXED: _put_fixed,
}
_WRITERS_OF: Final[Mapping[Kind, Callable[[Type], Write]]] = {
    Kind.ENUM: _put_enum,
    Kind.UNION: _put_union,
    Kind.ARRAY: _put_array,
    Kind.MAP: _put_map,
    Kind.RECORD: _put_record,
}
