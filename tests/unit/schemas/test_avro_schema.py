import json
from typing import Any

import pytest

from schemas import avro, avro_schema
from schemas.errors import Refused


def record(*types: Any, **extra: Any) -> dict[str, Any]:
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return {"type": "record", "name": "R", "fields": fields, **extra}


def field(**attributes: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [attributes]}


def nested(levels: int) -> Any:
    return "int" if not levels else {"type": "array", "items": nested(levels - 1)}


def doubling(names: int) -> dict[str, Any]:
    """Each record holds the one before twice: few bytes, 2^names types."""
    types: list[Any] = [record("int", name="D0")]
    types += [record(f"D{number - 1}", f"D{number - 1}", name=f"D{number}") for number in range(1, names)]
    return record(*types)


def chain(names: int) -> dict[str, Any]:
    """Each record holds the one before: flat JSON, deep types."""
    types: list[Any] = [record("int", name="D0")]
    return record(*types, *(record(f"D{number - 1}", name=f"D{number}") for number in range(1, names)))


DECIMAL = {"type": "bytes", "logicalType": "decimal"}

BAD = {
    "not-json": (b"{", "avro.schema-json", ""),
    "not-utf8": (b'{"type":"record","name":"R","doc":"\xff","fields":[]}', "avro.schema-json", ""),
    "byte-order-mark": (b"\xef\xbb\xbf" + json.dumps(record("int")).encode(), "avro.schema-json", ""),
    "repeated-key": (b'{"type":"record","name":"R","name":"S","fields":[]}', "avro.schema-json", ""),
    "nan-constant": (b'{"type":"record","name":"R","x":NaN,"fields":[]}', "avro.schema-json", ""),
    "bottomless-json": (b"[" * 100_000, "avro.schema-json", ""),
    "too-many-bytes": (b" " * (avro_schema.MAX_SCHEMA_BYTES + 1), "avro.schema-too-large", ""),
    "not-a-record": (b'"int"', "avro.schema-not-record", ""),
    "enum-at-the-top": ({"type": "enum", "name": "E", "symbols": ["A"]}, "avro.schema-not-record", ""),
    "number-as-type": (record(3), "avro.schema-type", "/fields/0/type"),
    "unknown-word": (record("text"), "avro.schema-type", "/fields/0/type"),
    "unknown-declared-word": (record({"type": "text"}), "avro.schema-type", "/fields/0/type/type"),
    "name-used-before-declared": (record("Later", record("int", name="Later")), "avro.schema-type", "/fields/0/type"),
    "other-namespace": (
        record(record("int", name="n.S"), "S"),
        "avro.schema-type",
        "/fields/1/type",
    ),
    "accent-in-name": (field(name="é", type="int"), "avro.schema-name", "/fields/0/name"),
    "digit-first": (field(name="1a", type="int"), "avro.schema-name", "/fields/0/name"),
    "newline-in-name": (field(name="a\n", type="int"), "avro.schema-name", "/fields/0/name"),
    "long-name": (field(name="a" * 256, type="int"), "avro.schema-name", "/fields/0/name"),
    "no-name": (field(type="int"), "avro.schema-name", "/fields/0/name"),
    "record-without-name": ({"type": "record", "fields": []}, "avro.schema-name", "/name"),
    "dash-in-record-name": (record("int", name="bank-account"), "avro.schema-name", "/name"),
    "empty-part-in-name": (record("int", name="a..b"), "avro.schema-name", "/name"),
    "namespace-not-text": (record("int", namespace=1), "avro.schema-name", "/name"),
    "dash-in-symbol": (
        record({"type": "enum", "name": "E", "symbols": ["a-b"]}),
        "avro.schema-name",
        "/fields/0/type/symbols/0",
    ),
    "same-field-twice": (
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}] * 2},
        "avro.schema-duplicate-name",
        "/fields/1/name",
    ),
    "same-type-twice": (
        record(record("int", name="S"), record("int", name="S")),
        "avro.schema-duplicate-name",
        "/fields/1/type/name",
    ),
    "primitive-redefined": (record("int", name="string"), "avro.schema-duplicate-name", "/name"),
    "same-symbol-twice": (
        record({"type": "enum", "name": "E", "symbols": ["A", "A"]}),
        "avro.schema-duplicate-name",
        "/fields/0/type/symbols",
    ),
    "no-fields": ({"type": "record", "name": "R"}, "avro.schema-attribute", "/fields"),
    "fields-not-a-list": ({"type": "record", "name": "R", "fields": {}}, "avro.schema-attribute", "/fields"),
    "field-not-an-object": ({"type": "record", "name": "R", "fields": ["a"]}, "avro.schema-attribute", "/fields/0"),
    "field-without-type": (field(name="a"), "avro.schema-attribute", "/fields/0/type"),
    "doc-not-text": (field(name="a", type="int", doc=3), "avro.schema-attribute", "/fields/0/doc"),
    "type-doc-not-text": (record("int", doc=3), "avro.schema-attribute", "/doc"),
    "array-without-items": (record({"type": "array"}), "avro.schema-attribute", "/fields/0/type/items"),
    "map-without-values": (record({"type": "map"}), "avro.schema-attribute", "/fields/0/type/values"),
    "enum-without-symbols": (
        record({"type": "enum", "name": "E", "symbols": []}),
        "avro.schema-attribute",
        "/fields/0/type/symbols",
    ),
    "fixed-of-nothing": (
        record({"type": "fixed", "name": "F", "size": 0}),
        "avro.schema-attribute",
        "/fields/0/type/size",
    ),
    "fixed-of-true": (
        record({"type": "fixed", "name": "F", "size": True}),
        "avro.schema-attribute",
        "/fields/0/type/size",
    ),
    "decimal-without-precision": (record(DECIMAL), "avro.schema-attribute", "/fields/0/type/precision"),
    "decimal-too-precise": (record({**DECIMAL, "precision": 101}), "avro.schema-attribute", "/fields/0/type/precision"),
    "scale-beyond-precision": (
        record({**DECIMAL, "precision": 2, "scale": 3}),
        "avro.schema-attribute",
        "/fields/0/type/scale",
    ),
    "decimal-beyond-its-fixed": (
        record({"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 3}),
        "avro.schema-attribute",
        "/fields/0/type/precision",
    ),
    "default-of-another-type": (field(name="a", type="int", default="1"), "avro.schema-default", "/fields/0/default"),
    "default-true-for-int": (field(name="a", type="int", default=True), "avro.schema-default", "/fields/0/default"),
    "default-too-large": (field(name="a", type="int", default=2**31), "avro.schema-default", "/fields/0/default"),
    "default-of-second-branch": (
        field(name="a", type=["null", "int"], default=1),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "default-list-of-others": (
        field(name="a", type={"type": "array", "items": "int"}, default=["x"]),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "default-map-of-others": (
        field(name="a", type={"type": "map", "values": "int"}, default={"k": "x"}),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "default-record-incomplete": (
        field(name="a", type=record("int", name="S"), default={}),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "default-symbol-unknown": (
        field(name="a", type={"type": "enum", "name": "E", "symbols": ["A"]}, default="B"),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "default-fixed-too-short": (
        field(name="a", type={"type": "fixed", "name": "F", "size": 2}, default="a"),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "enum-default-unknown": (
        record({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}),
        "avro.schema-default",
        "/fields/0/type/default",
    ),
    "contains-itself": (record(["null", "R"]), "avro.schema-recursive", "/fields/0/type/1"),
    "deeper-than-allowed": (record(nested(15)), "avro.schema-too-deep", "/fields/0/type" + "/items" * 15),
    "deeper-by-names": (chain(15), "avro.schema-too-deep", "/fields/14/type/fields/0/type"),
    "more-types-than-allowed": (
        doubling(11),
        "avro.schema-too-large",
        "/fields/10/type/fields/0/type",
    ),
    "one-type-too-many": (record(*["int"] * 4096), "avro.schema-too-large", "/fields/4095/type"),
    "long-record-name": (record("int", name="n." + "a" * 254), "avro.schema-name", "/name"),
    "least-long-exceeded": (
        field(name="a", type="long", default=-(2**63) - 1),
        "avro.schema-default",
        "/fields/0/default",
    ),
    "null-alone": (record("null"), "avro.schema-empty-type", "/fields/0/type"),
    "array-of-null": (record({"type": "array", "items": "null"}), "avro.schema-empty-type", "/fields/0/type/items"),
    "record-without-content": ({"type": "record", "name": "R", "fields": []}, "avro.schema-empty-type", "/fields"),
    "union-of-one": (record(["int"]), "avro.schema-ambiguous-union", "/fields/0/type"),
    "int-or-long": (record(["int", "long"]), "avro.schema-ambiguous-union", "/fields/0/type/1"),
    "int-or-double": (record(["int", "double"]), "avro.schema-ambiguous-union", "/fields/0/type/1"),
    "string-or-enum": (
        record(["string", {"type": "enum", "name": "E", "symbols": ["A"]}]),
        "avro.schema-ambiguous-union",
        "/fields/0/type/1",
    ),
    "two-records": (
        record([record("int", name="S"), record("int", name="T")]),
        "avro.schema-ambiguous-union",
        "/fields/0/type/1",
    ),
    "date-or-int": (
        record([{"type": "int", "logicalType": "date"}, "int"]),
        "avro.schema-ambiguous-union",
        "/fields/0/type/1",
    ),
    "union-in-union": (record(["null", ["int", "string"]]), "avro.schema-ambiguous-union", "/fields/0/type/1"),
    "local-timestamp": (
        record({"type": "long", "logicalType": "local-timestamp-millis"}),
        "avro.schema-logical-type",
        "/fields/0/type/logicalType",
    ),
    "date-on-long": (
        record({"type": "long", "logicalType": "date"}),
        "avro.schema-logical-type",
        "/fields/0/type/logicalType",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_doubtful_schema_is_refused_with_its_place(name):
    schema, code, pointer = BAD[name]
    raw = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    with pytest.raises(Refused) as caught:
        avro.parse(raw)
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


EDGES = {
    "longest-field-name": field(name="a" * 255, type="int"),
    "longest-record-name": record("int", name="n." + "a" * 253),
    "least-precision": record({**DECIMAL, "precision": 1}),
    "most-precision": record({**DECIMAL, "precision": 100}),
    "all-digits-behind": record({**DECIMAL, "precision": 3, "scale": 3}),
    "decimal-that-fills-its-fixed": record(
        {"type": "fixed", "name": "F", "size": 1, "logicalType": "decimal", "precision": 2}
    ),
    "least-int": field(name="a", type="int", default=-(2**31)),
    "most-int": field(name="a", type="int", default=2**31 - 1),
    "most-long": field(name="a", type="long", default=2**63 - 1),
    "most-types": record(*["int"] * 4095),
    "namespace-of-its-own": record("int", namespace="a.b"),
}


@pytest.mark.parametrize("name", EDGES)
def test_what_is_just_allowed_is_taken(name):
    assert avro.parse(json.dumps(EDGES[name]).encode()).fields


GOOD_DEFAULTS = {
    "null": (["null", "int"], None),
    "first-branch": (["int", "null"], 3),
    "boolean": ("boolean", False),
    "bytes": ("bytes", "\u00ff"),
    "double-from-int": ("double", 1),
    "list": ({"type": "array", "items": "int"}, [1, 2]),
    "map": ({"type": "map", "values": "int"}, {"k": 1}),
    "symbol": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
    "fixed": ({"type": "fixed", "name": "F", "size": 2}, "ab"),
    "record": (record("int", name="S"), {"f0": 1}),
}


@pytest.mark.parametrize("name", GOOD_DEFAULTS)
def test_a_default_of_its_type_is_taken(name):
    kind, default = GOOD_DEFAULTS[name]
    schema = avro.parse(json.dumps(field(name="a", type=kind, default=default)).encode())
    assert schema.type.fields[0].has_default


def test_the_limits_themselves_are_taken():
    assert avro.parse(json.dumps(record(nested(14))).encode())
    assert avro.parse(json.dumps(chain(14)).encode())
    assert avro.parse(json.dumps(doubling(10)).encode())
    assert avro.parse(json.dumps(record("int")).encode().ljust(avro_schema.MAX_SCHEMA_BYTES))
