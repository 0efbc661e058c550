import json
from collections import OrderedDict
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import pytest

from schemas import avro
from schemas.errors import Refused
from schemas.names import PartyId


def schema_of(*types: Any) -> avro.Schema:
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return avro.parse(json.dumps({"type": "record", "name": "R", "fields": fields}).encode())


ADDRESS = {
    "type": "record",
    "name": "Address",
    "fields": [{"name": "city", "type": "string"}, {"name": "lines", "type": {"type": "array", "items": "string"}}],
}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
HASH = {"type": "fixed", "name": "H", "size": 4}
INTS = {"type": "array", "items": "int"}

BAD = {
    "true-as-int": ("int", True, "avro.wrong-type", "/f0"),
    "true-as-long": ("long", True, "avro.wrong-type", "/f0"),
    "int-as-boolean": ("boolean", 1, "avro.wrong-type", "/f0"),
    "float-as-int": ("int", 1.0, "avro.wrong-type", "/f0"),
    "int-as-double": ("double", 1, "avro.wrong-type", "/f0"),
    "bytes-as-string": ("string", b"a", "avro.wrong-type", "/f0"),
    "string-as-bytes": ("bytes", "a", "avro.wrong-type", "/f0"),
    "bytearray-as-bytes": ("bytes", bytearray(b"a"), "avro.wrong-type", "/f0"),
    "string-as-fixed": (HASH, "abcd", "avro.wrong-type", "/f0"),
    "none-as-string": ("string", None, "avro.wrong-type", "/f0"),
    "string-as-array": ({"type": "array", "items": "string"}, "ab", "avro.wrong-type", "/f0"),
    "array-as-map": ({"type": "map", "values": "int"}, [1], "avro.wrong-type", "/f0"),
    "array-as-record": (ADDRESS, ["x"], "avro.wrong-type", "/f0"),
    "number-as-symbol": (ENUM, 0, "avro.wrong-type", "/f0"),
    "number-as-key": ({"type": "map", "values": "int"}, {1: 1}, "avro.wrong-type", "/f0"),
    "no-branch": (["null", "int"], "1", "avro.wrong-type", "/f0"),
    "true-where-null-or-int": (["null", "int"], True, "avro.wrong-type", "/f0"),
    "hint-tuple": (["null", ADDRESS], ("Address", {}), "avro.wrong-type", "/f0"),
    "int-too-large": ("int", 2**31, "avro.out-of-range", "/f0"),
    "int-too-small": ("int", -(2**31) - 1, "avro.out-of-range", "/f0"),
    "long-too-large": ("long", 2**63, "avro.out-of-range", "/f0"),
    "float-too-large": ("float", 1e39, "avro.out-of-range", "/f0"),
    "float-too-precise": ("float", 0.1, "avro.too-precise", "/f0"),
    "nan": ("double", float("nan"), "avro.not-finite", "/f0"),
    "infinite": ("float", float("inf"), "avro.not-finite", "/f0"),
    "fixed-too-short": (HASH, b"abc", "avro.wrong-size", "/f0"),
    "fixed-too-long": (HASH, b"abcde", "avro.wrong-size", "/f0"),
    "symbol-in-lower-case": (ENUM, "a", "avro.unknown-symbol", "/f0"),
    "surrogate": ("string", "\ud800", "avro.not-unicode", "/f0"),
    "surrogate-in-key": ({"type": "map", "values": "int"}, {"\ud800": 1}, "avro.not-unicode", "/f0"),
    "missing-field": (ADDRESS, {"city": "Rennes"}, "avro.missing-field", "/f0/lines"),
    "missing-before-unknown": (ADDRESS, {"city": "Rennes", "line": []}, "avro.missing-field", "/f0/lines"),
    "unknown-field": (ADDRESS, {"city": "Rennes", "lines": [], "zip": 1}, "avro.unknown-field", "/f0/zip"),
    "unknown-type-hint": (ADDRESS, {"city": "Rennes", "lines": [], "-type": "Address"}, "avro.unknown-field", "/f0"),
    "unknown-field-that-may-be-content": (
        ADDRESS,
        {"city": "Rennes", "lines": [], "3 rue de la Paix": 1},
        "avro.unknown-field",
        "/f0",
    ),
    "third-line": (
        ADDRESS,
        {"city": "Rennes", "lines": ["a", "b", 3]},
        "avro.wrong-type",
        "/f0/lines/2",
    ),
    "map-value-without-its-key": ({"type": "map", "values": "int"}, {"k": "x"}, "avro.wrong-type", "/f0"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_value_that_would_have_to_be_mended_is_refused_with_its_field(name):
    kind, value, code, pointer = BAD[name]
    with pytest.raises(Refused) as caught:
        avro.encode(schema_of(kind), {"f0": value})
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_a_wrong_type_says_what_is_expected_and_what_came():
    with pytest.raises(Refused) as caught:
        avro.encode(schema_of(["null", {"type": "int", "logicalType": "date"}]), {"f0": "2026-11-24"})
    assert {"expected": "null or date", "got": "str"} == caught.value.details


class Number(IntEnum):
    """An int by another name."""

    ONE = 1


GOOD = {
    "subclass-of-str": ("string", PartyId("urn:unefois:broker")),
    "subclass-of-str-in-union": (["null", "string"], PartyId("urn:unefois:broker")),
    "int-enum": ("int", Number.ONE),
    "int-enum-in-union": (["null", "int"], Number.ONE),
    "tuple-as-array": (INTS, (1, 2)),
    "tuple-in-union": (["null", INTS], (1, 2)),
    "pair-of-strings-in-union": (["null", {"type": "array", "items": "string"}], ("null", "x")),
    "any-mapping-as-record": (ADDRESS, MappingProxyType({"city": "Rennes", "lines": ()})),
    "any-mapping-in-union": (["null", ADDRESS], OrderedDict(lines=(), city="Rennes")),
    "type-hint-as-a-key": (["null", {"type": "map", "values": "int"}], {"-type": 1}),
    "boolean-in-union": (["boolean", "int"], True),
    "one-in-union-with-boolean": (["boolean", "int"], 1),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_a_value_of_the_type_is_written_whatever_its_class(name):
    kind, value = GOOD[name]
    schema = schema_of(kind)
    read = avro.decode(schema, avro.encode(schema, {"f0": value}))["f0"]
    if isinstance(value, MappingProxyType | OrderedDict):
        assert read == {key: list(each) if isinstance(each, tuple) else each for key, each in value.items()}
    else:
        assert read == (list(value) if isinstance(value, tuple) else value)


def test_the_writer_does_not_change_the_value_that_it_is_given():
    schema = schema_of(ADDRESS)
    value = {"f0": {"city": "Rennes", "lines": ("a",)}}
    avro.encode(schema, value)
    assert value == {"f0": {"city": "Rennes", "lines": ("a",)}}
