"""Reading a schema: JSON bytes in, the resolved tree of `avro_types` out.

Refuses: what is legal Avro but makes a signed contract doubtful: recursion (depth must be the schema's, not the
    sender's), types without content outside a union (2^60 of them fit in ten bytes), unions whose branch a value cannot
    decide, logical types that we do not carry exactly, repeated keys in the JSON.
Keeps: a refusal points at its place in the schema's own JSON; the work is bounded by limits on bytes, depth and types.
Source: Apache Avro 1.12 specification, "Schema Declaration", "Names", "Logical Types".
"""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from schemas.avro_types import Field, Kind, Logical, Properties, Type
from schemas.errors import Refused

MAX_SCHEMA_BYTES = 262_144
MAX_SCHEMA_DEPTH = 16
"""How many types may stand inside one another."""
MAX_SCHEMA_TYPES = 4_096
"""How many types a schema may have once every name is replaced by what it means."""
MAX_FIXED_BYTES = 1_048_576
MAX_PRECISION = 100
MAX_NAME = 255
"""Characters of one name."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_PRIMITIVES = {
    kind.value: kind
    for kind in (
        Kind.NULL,
        Kind.BOOLEAN,
        Kind.INT,
        Kind.LONG,
        Kind.FLOAT,
        Kind.DOUBLE,
        Kind.BYTES,
        Kind.STRING,
    )
}

_CARRIERS = {
    Logical.DECIMAL: frozenset({Kind.BYTES, Kind.FIXED}),
    Logical.DATE: frozenset({Kind.INT}),
    Logical.TIMESTAMP_MILLIS: frozenset({Kind.LONG}),
    Logical.TIMESTAMP_MICROS: frozenset({Kind.LONG}),
    Logical.UUID: frozenset({Kind.STRING}),
}

_LOOKS = {
    Kind.INT: "number",
    Kind.LONG: "number",
    Kind.FLOAT: "number",
    Kind.DOUBLE: "number",
    Kind.STRING: "str",
    Kind.ENUM: "str",
    Kind.BYTES: "bytes",
    Kind.FIXED: "bytes",
    Kind.RECORD: "dict",
    Kind.MAP: "dict",
}
"""What a value looks like to somebody who holds only the value: fastavro, which is to find its branch."""

_DEFINED = {"type", "name", "namespace", "doc", "aliases", "fields", "symbols", "items", "values", "size"}
_DEFINED |= {"logicalType", "precision", "scale", "default", "order"}
"""Attributes that Avro defines; all others are properties."""


def read_type(raw: bytes, types: int = MAX_SCHEMA_TYPES) -> Type:
    """The record that a schema declares.

    Takes the registered bytes (UTF-8 JSON, at most MAX_SCHEMA_BYTES), of so many types at most. Raises Refused with
    `avro.schema-*` and a pointer into the schema's own JSON.
    """
    if len(raw) > MAX_SCHEMA_BYTES:
        raise Refused("avro.schema-too-large", size=len(raw), limit=MAX_SCHEMA_BYTES)
    try:
        node = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused("avro.schema-json") from None
    top = _Reader(types).read(node, "", "", 0, in_union=False)
    if top.kind is not Kind.RECORD:
        raise Refused("avro.schema-not-record", got=top.kind.value)
    return top


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("repeated key")  # two readers could take two different ones
    return unique


def _no_constant(text: str) -> None:
    raise ValueError(text)


class _Reader:
    """One walk through a schema's JSON. Names are those defined so far; `None` marks one still open."""

    def __init__(self, types: int) -> None:
        self.most = types
        self.named: dict[str, Type | None] = {}
        self.sizes: dict[str, int] = {}
        self.heights: dict[str, int] = {}
        self.count = 0

    def read(self, node: Any, pointer: str, space: str, depth: int, *, in_union: bool) -> Type:
        _not_deeper(depth + 1, pointer)
        before = self.count
        self._counted(1, pointer)
        if isinstance(node, list):
            found = self._union(node, pointer, space, depth, nested=in_union)
        elif isinstance(node, str):
            found = self._reference(node, pointer, space, depth)
        elif isinstance(node, dict):
            found = self._declared(node, pointer, space, depth)
        else:
            raise Refused("avro.schema-type", pointer)
        if found.kind is Kind.NULL and not in_union:
            raise Refused("avro.schema-empty-type", pointer)
        if found.name and isinstance(node, dict):
            self.sizes[found.name], self.heights[found.name] = self.count - before, found.height()
        return found

    def _counted(self, types: int, pointer: str) -> None:
        self.count += types
        if self.count > self.most:
            raise Refused("avro.schema-too-large", pointer, size=self.count, limit=self.most)

    def _reference(self, name: str, pointer: str, space: str, depth: int) -> Type:
        if name in _PRIMITIVES:
            return Type(_PRIMITIVES[name])
        full = name if "." in name or not space else f"{space}.{name}"
        if full not in self.named:
            raise Refused("avro.schema-type", pointer)
        known = self.named[full]
        if known is None:
            raise Refused("avro.schema-recursive", pointer)
        _not_deeper(depth + self.heights[full], pointer)
        self._counted(self.sizes[full] - 1, pointer)
        return known

    def _declared(self, node: dict[str, Any], pointer: str, space: str, depth: int) -> Type:
        word = node.get("type")
        if word in ("record", "enum", "fixed"):
            return self._named(node, str(word), pointer, space, depth)
        properties = _properties(node)
        if word in ("array", "map"):
            key = "items" if word == "array" else "values"
            part = self.read(_needed(node, key, pointer), f"{pointer}/{key}", space, depth + 1, in_union=False)
            return Type(Kind(word), properties=properties, parts=(part,), doc=_doc(node, pointer))
        if isinstance(word, str) and word in _PRIMITIVES:
            kind = _PRIMITIVES[word]
            return Type(kind, properties=properties, doc=_doc(node, pointer), **_logical(node, kind, 0, pointer))
        raise Refused("avro.schema-type", f"{pointer}/type")

    def _named(self, node: dict[str, Any], word: str, pointer: str, space: str, depth: int) -> Type:
        full = _full_name(node, pointer, space)
        if full in self.named or full in _PRIMITIVES:
            raise Refused("avro.schema-duplicate-name", f"{pointer}/name")
        self.named[full] = None
        common: dict[str, Any] = {"name": full, "properties": _properties(node), "doc": _doc(node, pointer)}
        if word == "fixed":
            size = _needed(node, "size", pointer)
            if type(size) is not int or not 1 <= size <= MAX_FIXED_BYTES:
                raise Refused("avro.schema-attribute", f"{pointer}/size")
            made = Type(Kind.FIXED, **common, size=size, **_logical(node, Kind.FIXED, size, pointer))
        elif word == "enum":
            made = Type(Kind.ENUM, **common, symbols=_symbols(node, pointer))
        else:
            made = Type(Kind.RECORD, **common, fields=self._fields(node, full, pointer, depth))
        self.named[full] = made
        return made

    def _fields(self, node: dict[str, Any], full: str, pointer: str, depth: int) -> tuple[Field, ...]:
        space = full.rpartition(".")[0]
        listed = _needed(node, "fields", pointer)
        if not isinstance(listed, list):
            raise Refused("avro.schema-attribute", f"{pointer}/fields")
        if not listed:
            raise Refused("avro.schema-empty-type", f"{pointer}/fields")
        fields: dict[str, Field] = {}
        for place, each in enumerate(listed):
            here = f"{pointer}/fields/{place}"
            if not isinstance(each, dict):
                raise Refused("avro.schema-attribute", here)
            name = _checked_name(each.get("name"), f"{here}/name")
            if name in fields:
                raise Refused("avro.schema-duplicate-name", f"{here}/name")
            kind = self.read(_needed(each, "type", here), f"{here}/type", space, depth + 1, in_union=False)
            told = {key: value for key, value in each.items() if key not in ("name", "type")}
            _doc(each, here)
            if "default" in told and not _fits(kind, told["default"]):
                raise Refused("avro.schema-default", f"{here}/default")
            fields[name] = Field(name, kind, MappingProxyType(told))
        return tuple(fields.values())

    def _union(self, node: list[Any], pointer: str, space: str, depth: int, *, nested: bool) -> Type:
        if nested or len(node) < 2:
            raise Refused("avro.schema-ambiguous-union", pointer)
        parts = []
        seen = set()
        for place, each in enumerate(node):
            here = f"{pointer}/{place}"
            part = self.read(each, here, space, depth + 1, in_union=True)
            look = _LOOKS.get(part.kind, part.kind.value)
            if look in seen:
                raise Refused("avro.schema-ambiguous-union", here)
            seen.add(look)
            parts.append(part)
        return Type(Kind.UNION, parts=tuple(parts))


def _not_deeper(levels: int, pointer: str) -> None:
    if levels > MAX_SCHEMA_DEPTH:
        raise Refused("avro.schema-too-deep", pointer, limit=MAX_SCHEMA_DEPTH)


def _needed(node: dict[str, Any], key: str, pointer: str) -> Any:
    if key not in node:
        raise Refused("avro.schema-attribute", f"{pointer}/{key}")
    return node[key]


def _properties(node: dict[str, Any]) -> Properties:
    return MappingProxyType({key: value for key, value in node.items() if key not in _DEFINED})


def _doc(node: dict[str, Any], pointer: str) -> str:
    doc = node.get("doc", "")
    if not isinstance(doc, str):
        raise Refused("avro.schema-attribute", f"{pointer}/doc")
    return doc


def _checked_name(name: Any, pointer: str) -> str:
    if not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise Refused("avro.schema-name", pointer)
    return name


def _full_name(node: dict[str, Any], pointer: str, space: str) -> str:
    name, given = node.get("name"), node.get("namespace", space)
    if not isinstance(name, str) or not isinstance(given, str):
        raise Refused("avro.schema-name", f"{pointer}/name")
    full = name if "." in name or not given else f"{given}.{name}"
    if len(full) > MAX_NAME or not all(_NAME.fullmatch(part) for part in full.split(".")):
        raise Refused("avro.schema-name", f"{pointer}/name")
    return full


def _symbols(node: dict[str, Any], pointer: str) -> tuple[str, ...]:
    symbols = _needed(node, "symbols", pointer)
    if not isinstance(symbols, list) or not symbols:
        raise Refused("avro.schema-attribute", f"{pointer}/symbols")
    checked = tuple(_checked_name(each, f"{pointer}/symbols/{place}") for place, each in enumerate(symbols))
    if len(set(checked)) != len(checked):
        raise Refused("avro.schema-duplicate-name", f"{pointer}/symbols")
    if node.get("default", checked[0]) not in checked:
        raise Refused("avro.schema-default", f"{pointer}/default")
    return checked


def _logical(node: dict[str, Any], kind: Kind, size: int, pointer: str) -> dict[str, Any]:
    """The logical type's attributes, or none. A wrong one is refused where Avro would ignore it in silence."""
    if "logicalType" not in node:
        return {}
    here = f"{pointer}/logicalType"
    try:
        logical = Logical(node["logicalType"])
    except ValueError:
        raise Refused("avro.schema-logical-type", here) from None
    if kind not in _CARRIERS[logical]:
        raise Refused("avro.schema-logical-type", here)
    if logical is not Logical.DECIMAL:
        return {"logical": logical}
    precision, scale = _needed(node, "precision", pointer), node.get("scale", 0)
    if type(precision) is not int or not 1 <= precision <= MAX_PRECISION:
        raise Refused("avro.schema-attribute", f"{pointer}/precision")
    if type(scale) is not int or not 0 <= scale <= precision:
        raise Refused("avro.schema-attribute", f"{pointer}/scale")
    if kind is Kind.FIXED and 10**precision > 1 << (8 * size - 1):
        raise Refused("avro.schema-attribute", f"{pointer}/precision")
    return {"logical": logical, "precision": precision, "scale": scale}


def _is(*classes: type) -> Callable[[Type, Any], bool]:
    return lambda kind, default: type(default) in classes


def _fits_whole(kind: Type, default: Any) -> bool:
    half = 1 << (31 if kind.kind is Kind.INT else 63)
    return type(default) is int and -half <= default < half


def _fits_list(kind: Type, default: Any) -> bool:
    return isinstance(default, list) and all(_fits(kind.parts[0], each) for each in default)


def _fits_map(kind: Type, default: Any) -> bool:
    return isinstance(default, dict) and all(_fits(kind.parts[0], each) for each in default.values())


def _fits_record(kind: Type, default: Any) -> bool:
    if not isinstance(default, dict) or set(default) != {each.name for each in kind.fields}:
        return False
    return all(_fits(each.type, default[each.name]) for each in kind.fields)


_FITS: Mapping[Kind, Callable[[Type, Any], bool]] = {
    Kind.NULL: _is(type(None)),
    Kind.BOOLEAN: _is(bool),
    Kind.INT: _fits_whole,
    Kind.LONG: _fits_whole,
    Kind.FLOAT: _is(int, float),
    Kind.DOUBLE: _is(int, float),
    Kind.BYTES: _is(str),
    Kind.STRING: _is(str),
    Kind.FIXED: lambda kind, default: isinstance(default, str) and len(default) == kind.size,
    Kind.ENUM: lambda kind, default: default in kind.symbols,
    Kind.ARRAY: _fits_list,
    Kind.MAP: _fits_map,
    Kind.UNION: lambda kind, default: _fits(kind.parts[0], default),
    Kind.RECORD: _fits_record,
}


def _fits(kind: Type, default: Any) -> bool:
    """Whether a default, in Avro's JSON, is a value of the type (of a union: of its first branch)."""
    return _FITS[kind.kind](kind, default)
