"""The types of a strict Avro schema: a tree of resolved, immutable types.

Refuses: nothing; `avro_schema` makes the tree and refuses there.
Keeps: every value of every type takes at least one byte, so that reading never loops longer than its input; every
    property of a field or type that Avro does not define is kept, unread.
Source: Apache Avro 1.12 specification, "Schema Declaration", "Logical Types".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

Properties = Mapping[str, Any]
_NOTHING: Properties = MappingProxyType({})


class Kind(Enum):
    """What a type is, in Avro's words."""

    NULL = "null"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BYTES = "bytes"
    STRING = "string"
    FIXED = "fixed"
    ENUM = "enum"
    ARRAY = "array"
    MAP = "map"
    UNION = "union"
    RECORD = "record"


LOOKS: Mapping[Kind, type] = MappingProxyType(
    {
        Kind.NULL: type(None),
        Kind.BOOLEAN: bool,
        Kind.INT: int,
        Kind.LONG: int,
        Kind.FLOAT: float,
        Kind.DOUBLE: float,
        Kind.BYTES: bytes,
        Kind.FIXED: bytes,
        Kind.STRING: str,
        Kind.ENUM: str,
        Kind.ARRAY: list,
        Kind.MAP: dict,
        Kind.RECORD: dict,
    }
)
"""What a plain value of each kind is in Python. `avro_schema` refuses a union in which two look alike."""


class Logical(Enum):
    """The logical types that are carried exactly. Local timestamps are not among them: nobody knows when they are."""

    DECIMAL = "decimal"
    DATE = "date"
    TIMESTAMP_MILLIS = "timestamp-millis"
    TIMESTAMP_MICROS = "timestamp-micros"
    UUID = "uuid"


@dataclass(frozen=True, slots=True)
class Type:
    """One type, with names resolved. Only the attributes of its kind are set."""

    kind: Kind
    name: str = ""
    """Full name of a record, enum or fixed."""
    doc: str = ""
    properties: Properties = field(default_factory=lambda: _NOTHING, hash=False)
    logical: Logical | None = None
    precision: int = 0
    scale: int = 0
    size: int = 0
    """Bytes of a fixed."""
    symbols: tuple[str, ...] = ()
    parts: tuple["Type", ...] = ()
    """Items of an array, values of a map, branches of a union."""
    fields: tuple["Field", ...] = ()

    @property
    def nullable(self) -> bool:
        """Whether null is one of its values."""
        return self.kind is Kind.NULL or any(part.kind is Kind.NULL for part in self.parts if self.kind is Kind.UNION)

    def children(self) -> Iterator["Type"]:
        """The types directly inside."""
        yield from self.parts
        yield from (each.type for each in self.fields)

    def height(self) -> int:
        """How many types stand inside one another, this one counted."""
        return 1 + max((each.height() for each in self.children()), default=0)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record. `properties`: all that the schema says of it (doc, label, default too) but name and type."""

    name: str
    type: Type
    properties: Properties = field(hash=False)

    @property
    def has_default(self) -> bool:
        """Whether a reader may fill it in for a writer that did not know it."""
        return "default" in self.properties
