import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import avro
from schemas.errors import Refused
from tests.examples import examples


def schema_of(*types: Any, **extra: Any) -> avro.Schema:
    """A record with one field for each type, named f0, f1, ..."""
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return avro.parse(json.dumps({"type": "record", "name": "fr.test.R", "fields": fields, **extra}).encode())


PERSON = {
    "type": "record",
    "name": "Person",
    "fields": [
        {"name": "family_name", "type": "string"},
        {"name": "age", "type": ["null", "int"]},
        {"name": "photo", "type": {"type": "fixed", "name": "Hash", "size": 2}},
    ],
}


def test_the_identity_is_the_hash_of_the_registered_bytes_and_not_of_their_meaning():
    raw = b'{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}'
    spaced = raw.replace(b",", b", ")
    assert hashlib.sha256(raw).digest() == avro.parse(raw).id
    assert avro.parse(raw).id != avro.parse(spaced).id
    assert raw == avro.parse(raw).raw


def test_what_avro_does_not_define_is_kept_as_a_property():
    raw = b'{"type":"record","name":"R","x":"y","fields":[{"name":"a","type":"int","doc":"d","label":{"fr":"A"}}]}'
    schema = avro.parse(raw)
    assert {"x": "y"} == dict(schema.properties)
    assert {"doc": "d", "label": {"fr": "A"}} == dict(schema.fields[0].properties)


def test_an_encoding_is_the_joined_encodings_of_its_fields():
    schema = schema_of("string", ["null", PERSON], {"type": "array", "items": "Person"}, ["null", "Hash"])
    person = {"family_name": "Noé", "age": None, "photo": b"\x00\xff"}
    value = {"f0": "été", "f1": person, "f2": [person, person], "f3": b"ab"}
    parts = [avro.encode_field(schema, place, value[f"f{place}"]) for place in range(4)]
    assert avro.encode(schema, value) == b"".join(parts)
    assert value == {f"f{place}": avro.decode_field(schema, place, part) for place, part in enumerate(parts)}


def test_a_name_declared_in_one_field_is_known_in_later_ones_and_resolved_by_namespace():
    inner = {"type": "enum", "name": "Side", "symbols": ["LEFT", "RIGHT"]}
    raw = {
        "type": "record",
        "name": "a.R",
        "fields": [
            {"name": "x", "type": {"type": "record", "name": "b.S", "fields": [{"name": "y", "type": inner}]}},
            {"name": "z", "type": "b.Side"},
        ],
    }
    schema = avro.parse(json.dumps(raw).encode())
    assert b"\x02" == avro.encode_field(schema, 1, "RIGHT")
    assert ("a.R", "b.S", "b.Side") == (schema.name, schema.type.fields[0].type.name, schema.type.fields[1].type.name)


def test_a_nullable_field_says_so():
    assert [True, False] == [each.nullable for each in schema_of(["null", "int"], "int").fields]


@pytest.mark.parametrize("index", [-1, 2])
def test_a_field_that_the_schema_does_not_have_is_refused(index):
    schema = schema_of("int", "int")
    for attempt in (lambda: avro.encode_field(schema, index, 1), lambda: avro.decode_field(schema, index, b"\x00")):
        with pytest.raises(Refused) as caught:
            attempt()
        assert ("avro.no-such-field", {"index": index, "fields": 2}) == (caught.value.code, caught.value.details)


def test_pointers_of_a_single_field_start_at_the_record():
    schema = schema_of("int", {"type": "array", "items": PERSON})
    with pytest.raises(Refused) as caught:
        avro.encode_field(schema, 1, [{"family_name": "x", "age": "9", "photo": b"ab"}])
    assert "/f1/0/age" == caught.value.pointer


def test_trailing_bytes_are_refused():
    with pytest.raises(Refused) as caught:
        avro.decode(schema_of("int"), b"\x02\x00\x00")
    assert ("avro.trailing-bytes", {"size": 2}) == (caught.value.code, caught.value.details)


def test_a_repeated_key_of_a_map_is_not_what_writing_gives():
    schema = schema_of({"type": "map", "values": "int"})
    once = avro.encode(schema, {"f0": {"k": 1}})
    assert {"f0": {"k": 1}} == avro.decode(schema, once)
    twice = bytes([4]) + once[1:-1] * 2 + b"\x00"
    with pytest.raises(Refused) as caught:
        avro.decode(schema, twice)
    assert "avro.not-canonical" == caught.value.code


def test_size_is_limited_when_writing_and_reading():
    schema, small = schema_of("string"), avro.Limits(max_bytes=10)
    encoded = avro.encode(schema, {"f0": "x" * 9}, small)
    assert {"f0": "x" * 9} == avro.decode(schema, encoded, small)
    for attempt in (
        lambda: avro.encode(schema, {"f0": "x" * 10}, small),
        lambda: avro.decode(schema, avro.encode(schema, {"f0": "x" * 10}), small),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert ("avro.too-large", {"size": 11, "limit": 10}) == (caught.value.code, caught.value.details)


def test_depth_is_limited_when_writing_and_reading():
    schema = schema_of({"type": "array", "items": {"type": "array", "items": "int"}})
    assert b"\x00" == avro.encode(schema, {"f0": []}, avro.Limits(max_depth=4))
    for attempt in (
        lambda: avro.encode(schema, {"f0": []}, avro.Limits(max_depth=3)),
        lambda: avro.decode(schema, b"\x00", avro.Limits(max_depth=3)),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert ("avro.too-deep", {"depth": 4, "limit": 3}) == (caught.value.code, caught.value.details)


def test_size_and_depth_are_asked_before_anything_is_read():
    schema = schema_of({"type": "array", "items": "boolean"})
    for limits, code in ((avro.Limits(max_bytes=10), "avro.too-large"), (avro.Limits(max_depth=2), "avro.too-deep")):
        with pytest.raises(Refused) as caught:
            avro.decode(schema, b"\xff" * 11, limits)
        assert code == caught.value.code


def test_items_of_all_arrays_and_maps_are_counted_together():
    schema = schema_of({"type": "array", "items": "int"}, {"type": "map", "values": "int"})
    value = {"f0": [1, 2], "f1": {"a": 1}}
    encoded = avro.encode(schema, value, avro.Limits(max_items=3))
    assert value == avro.decode(schema, encoded, avro.Limits(max_items=3))
    for attempt in (
        lambda: avro.encode(schema, value, avro.Limits(max_items=2)),
        lambda: avro.decode(schema, encoded, avro.Limits(max_items=2)),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert ("avro.too-many-items", "/f1") == (caught.value.code, caught.value.pointer)


def test_a_refusal_never_holds_the_value():
    schema = schema_of("int", {"type": "enum", "name": "E", "symbols": ["A"]}, {"type": "map", "values": "int"})
    for bad in (
        {"f0": "Éluard", "f1": "A", "f2": {}},
        {"f0": 1, "f1": "Éluard", "f2": {}},
        {"f0": 1, "f1": "A", "f2": {"Éluard": "Éluard"}},
        {"f0": 1, "f1": "A", "f2": {}, "Éluard 12": 1},
    ):
        with pytest.raises(Refused) as caught:
            avro.encode(schema, bad)
        assert "Éluard" not in str(caught.value) + repr(caught.value) + repr(caught.value.details)


# Any schema of the language, with any of its values.

_PLAIN_TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", st.integers(-(2**63), 2**63 - 1)),
    ("double", st.floats(allow_nan=False, allow_infinity=False)),
    ("float", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    ("bytes", st.binary(max_size=80)),
    ("string", st.text(max_size=80)),
    ({"type": "fixed", "name": "F", "size": 3}, st.binary(min_size=3, max_size=3)),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, st.sampled_from(["A", "B"])),
]


def _larger(inner: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    def array(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        return {"type": "array", "items": pair[0]}, st.lists(pair[1], max_size=3)

    def mapped(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        return {"type": "map", "values": pair[0]}, st.dictionaries(st.text(max_size=4), pair[1], max_size=3)

    def optional(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        if isinstance(pair[0], list):
            return pair
        return ["null", pair[0]], st.none() | pair[1]

    def record(pairs: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        fields = [{"name": f"n{place}", "type": kind} for place, (kind, _) in enumerate(pairs)]
        values = st.fixed_dictionaries({f"n{place}": value for place, (_, value) in enumerate(pairs)})
        return {"type": "record", "name": "N", "fields": fields}, values

    return (
        inner.map(array) | inner.map(mapped) | inner.map(optional) | st.lists(inner, min_size=1, max_size=3).map(record)
    )


def _renamed(node: Any, names: list[str]) -> Any:
    """The same schema with each declared name its own."""
    if isinstance(node, list):
        return [_renamed(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    named = {**node}
    if node.get("type") in ("record", "fixed", "enum"):
        names.append("")
        named["name"] = f"T{len(names)}"
    return {key: value if key == "symbols" else _renamed(value, names) for key, value in named.items()}


@st.composite
def schemas_with_values(draw: st.DrawFn) -> tuple[avro.Schema, Any]:
    kind, values = draw(st.recursive(st.sampled_from(_PLAIN_TYPES), _larger, max_leaves=5))
    return schema_of(_renamed(kind, [])), {"f0": draw(values)}


@examples(60)
@given(schemas_with_values())
def test_every_value_of_every_schema_survives_unchanged(pair):
    schema, value = pair
    encoded = avro.encode(schema, value)
    assert value == avro.decode(schema, encoded)
    assert encoded == avro.encode_field(schema, 0, value["f0"])


@examples(60)
@given(schemas_with_values())
def test_fastavro_writes_the_same_bytes(pair):
    """One that we did not write: what it writes of a plain value is what we write of it."""
    schema, value = pair
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema.raw)), value, strict=True)
    assert out.getvalue() == avro.encode(schema, value)


@examples(80)
@given(schemas_with_values(), st.data())
def test_bytes_that_are_read_are_the_bytes_that_are_written(pair, data):
    schema, value = pair
    encoded = bytearray(avro.encode(schema, value))
    place = data.draw(st.integers(0, len(encoded)))
    encoded[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        read = avro.decode(schema, bytes(encoded))
    except Refused:
        return
    assert bytes(encoded) == avro.encode(schema, read)


@examples(80)
@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(noise):
    schema = schema_of(
        ["null", PERSON], {"type": "array", "items": ["null", "Person"]}, {"type": "map", "values": "long"}
    )
    try:
        read = avro.decode(schema, noise)
    except Refused:
        return
    assert noise == avro.encode(schema, read)


def test_fastavro_alone_would_take_what_is_refused_here():
    """The reason for the wrapper: when fastavro becomes strict itself, this test says that we may simplify."""
    plain = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "boolean"}]}
    assert {"a": True} == fastavro.schemaless_reader(BytesIO(b"\x02\x00"), plain, None)


def test_every_field_of_the_protocol_story_is_read_and_written_to_the_byte():
    places = [Path(__file__).parents[2] / "vectors/protocol", Path(__file__).parents[4] / "shared/vectors/protocol"]
    found = next((place / "story.json" for place in places if (place / "story.json").exists()), None)
    if found is None:
        pytest.skip("the protocol story is not here")
    story = json.loads(found.read_text("utf-8"))
    schema = avro.parse(story["schema"].encode())
    assert len(schema.fields) == len(story["fields"])
    record = {}
    for each in story["fields"]:
        record[each["name"]] = avro.decode_field(schema, each["index"], bytes.fromhex(each["value"]))
        assert each["value"] == avro.encode_field(schema, each["index"], record[each["name"]]).hex()
    assert "".join(each["value"] for each in story["fields"]) == avro.encode(schema, record).hex()
    assert ("Éluard-Noé", None, "1234.56") == (record["family_name"], record["old_commune"], str(record["deposit"]))
