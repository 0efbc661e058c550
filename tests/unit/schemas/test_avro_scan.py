import json
import struct
from typing import Any

import pytest

from schemas import avro
from schemas.errors import Refused


def schema_of(*types: Any) -> avro.Schema:
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return avro.parse(json.dumps({"type": "record", "name": "R", "fields": fields}).encode())


PERSON = {
    "type": "record",
    "name": "P",
    "fields": [{"name": "name", "type": "string"}, {"name": "age", "type": ["null", "int"]}],
}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
HASH = {"type": "fixed", "name": "H", "size": 4}
INTS = {"type": "array", "items": "int"}
MAP = {"type": "map", "values": "int"}
HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
"""A length or count of 2^63 - 1."""

BAD = {
    "boolean-2": ("boolean", b"\x02", "avro.not-boolean", "/f0"),
    "boolean-missing": ("boolean", b"", "avro.truncated", "/f0"),
    "zero-in-two-bytes": ("int", b"\x80\x00", "avro.long-varint", "/f0"),
    "one-in-three-bytes": ("long", b"\x82\x80\x00", "avro.long-varint", "/f0"),
    "eleven-byte-number": ("long", b"\x80" * 10 + b"\x01", "avro.long-varint", "/f0"),
    "ten-byte-number-without-end": ("long", b"\x80" * 10, "avro.long-varint", "/f0"),
    "nine-bytes-without-end": ("long", b"\x80" * 9, "avro.truncated", "/f0"),
    "number-of-65-bits": ("long", b"\xff" * 9 + b"\x03", "avro.long-varint", "/f0"),
    "unfinished-number": ("int", b"\x80", "avro.truncated", "/f0"),
    "int-of-33-bits": ("int", b"\x80\x80\x80\x80\x20", "avro.out-of-range", "/f0"),
    "int-below": ("int", b"\x81\x80\x80\x80\x10", "avro.out-of-range", "/f0"),
    "short-string": ("string", b"\x04a", "avro.truncated", "/f0"),
    "huge-string": ("string", HUGE, "avro.truncated", "/f0"),
    "string-of-negative-length": ("string", b"\x01", "avro.negative-length", "/f0"),
    "bytes-of-negative-length": ("bytes", b"\x03ab", "avro.negative-length", "/f0"),
    "huge-bytes": ("bytes", HUGE, "avro.truncated", "/f0"),
    "latin-1-string": ("string", b"\x02\xe9", "avro.not-unicode", "/f0"),
    "surrogate-string": ("string", b"\x06\xed\xa0\x80", "avro.not-unicode", "/f0"),
    "overlong-utf8": ("string", b"\x04\xc0\x80", "avro.not-unicode", "/f0"),
    "short-fixed": (HASH, b"abc", "avro.truncated", "/f0"),
    "short-double": ("double", b"\x00" * 7, "avro.truncated", "/f0"),
    "short-float": ("float", b"\x00" * 3, "avro.truncated", "/f0"),
    "nan": ("double", struct.pack("<d", float("nan")), "avro.not-finite", "/f0"),
    "infinite-float": ("float", struct.pack("<f", float("-inf")), "avro.not-finite", "/f0"),
    "symbol-2-of-2": (ENUM, b"\x04", "avro.unknown-symbol", "/f0"),
    "symbol-minus-1": (ENUM, b"\x01", "avro.unknown-symbol", "/f0"),
    "branch-2-of-2": (["null", "int"], b"\x04", "avro.unknown-branch", "/f0"),
    "branch-minus-1": (["null", "int"], b"\x01\x02", "avro.unknown-branch", "/f0"),
    "array-of-2-with-1": (INTS, b"\x04\x02", "avro.truncated", "/f0"),
    "array-without-end": (INTS, b"\x02\x02", "avro.truncated", "/f0"),
    "array-in-two-blocks": (INTS, b"\x02\x02\x02\x02\x00", "avro.several-blocks", "/f0"),
    "array-block-with-size": (INTS, b"\x01\x02\x02\x00", "avro.several-blocks", "/f0"),
    "array-of-2-to-60": (INTS, b"\x80\x80\x80\x80\x80\x80\x80\x80\x20", "avro.too-many-items", "/f0"),
    "map-in-two-blocks": (MAP, b"\x02\x02a\x02\x02\x02b\x02\x00", "avro.several-blocks", "/f0"),
    "map-block-with-size": (MAP, b"\x01\x06\x02a\x02\x00", "avro.several-blocks", "/f0"),
    "map-of-2-to-60": (MAP, b"\x80\x80\x80\x80\x80\x80\x80\x80\x20", "avro.too-many-items", "/f0"),
    "map-with-a-key-twice": (
        {"type": "map", "values": "boolean"},
        b"\x04\x02a\x01\x02a\x00\x00",
        "avro.not-canonical",
        "",
    ),
    "map-with-latin-1-key": (MAP, b"\x02\x02\xe9\x02\x00", "avro.not-unicode", "/f0"),
    "inner-field": ({"type": "array", "items": PERSON}, b"\x04\x02a\x00\x02b\x06", "avro.unknown-branch", "/f0/1/age"),
    "map-value-without-its-key": (
        {"type": "map", "values": "boolean"},
        b"\x02\x02k\x02\x00",
        "avro.not-boolean",
        "/f0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_no_writer_makes_are_refused_with_their_field(name):
    kind, encoded, code, pointer = BAD[name]
    with pytest.raises(Refused) as caught:
        avro.decode(schema_of(kind), encoded)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


GOOD = {
    "largest-int": ("int", b"\xfe\xff\xff\xff\x0f", 2**31 - 1),
    "smallest-int": ("int", b"\xff\xff\xff\xff\x0f", -(2**31)),
    "largest-long": ("long", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2**63 - 1),
    "smallest-long": ("long", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -(2**63)),
    "minus-zero": ("double", b"\x00" * 7 + b"\x80", -0.0),
    "empty-array": (INTS, b"\x00", []),
    "empty-map": (MAP, b"\x00", {}),
    "last-symbol": (ENUM, b"\x02", "B"),
    "four-byte-character": ("string", b"\x08\xf0\x9f\x91\xaa", "👪"),
    "nul-character": ("string", b"\x02\x00", "\x00"),
}


@pytest.mark.parametrize("name", GOOD)
def test_bytes_at_the_edge_are_read(name):
    kind, encoded, value = GOOD[name]
    schema = schema_of(kind)
    read = avro.decode(schema, encoded)["f0"]
    assert (value, type(value)) == (read, type(read))
    assert encoded == avro.encode(schema, {"f0": value})


def test_a_count_beyond_the_bytes_is_refused_before_any_item_is_read():
    schema = schema_of({"type": "array", "items": PERSON})
    with pytest.raises(Refused) as caught:
        avro.decode(schema, b"\x80\x80\x04" + b"\x00" * 100, avro.Limits(max_items=1 << 62))
    assert (caught.value.code, caught.value.pointer) == ("avro.truncated", "/f0")
