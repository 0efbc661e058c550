"""Strict Avro: one value, one encoding. fastavro reads; this page decides what it may be given, and writes.

Refuses: to mend. Reading accepts exactly the bytes that writing the same value gives; writing accepts exactly the
    values that reading gives. Everything else is `Refused` with the field's JSON pointer and without its content.
Keeps: limits hold before anything is built; a schema is parsed once and is immutable; the identity of a schema is
    SHA-256 of its registered bytes (Avro's canonical form drops logical types, so it would not do).
Source: Apache Avro 1.12 specification; docs/protocol.md, sections 2 and 3.

Values: null None, int and long int, float and double float, bytes and fixed bytes, string and enum str, array list (a
tuple is taken too), map and record dict (any Mapping is taken), decimal Decimal, date date, timestamps aware datetime,
uuid UUID.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import fastavro

from schemas.avro_check import Check, checker
from schemas.avro_logical import Lift, lifter
from schemas.avro_scan import Room, Scan, leaves_open, scanner
from schemas.avro_schema import MAX_SCHEMA_TYPES, read_type
from schemas.avro_types import Field, Kind, Properties, Type
from schemas.avro_write import Write, writer
from schemas.errors import Refused
from schemas.names import SchemaId


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
