"""Sizes: what is told is what the longest value takes, to the byte, and every value of every event type fits."""

from decimal import Decimal
from typing import Any

import pytest

from schemas import avro, samples, sealing, values
from schemas.avro_types import Kind, Logical, Type
from schemas.catalogue import EventSchema, builtin
from schemas.names import DeclarationId
from schemas.sealing import SALT_SIZE
from schemas.sizes import most_encoded, most_sealed

WIDEST = "\U0001d11e"
ROOMY = avro.Limits(max_bytes=10**9, max_items=10**9)
"""So that only the schema sets limits."""


def longest(kind: Type) -> Any:
    """The value that takes the most bytes, whatever it would mean."""
    if kind.kind is Kind.UNION:
        return longest(next(part for part in kind.parts if part.kind is not Kind.NULL))
    if kind.kind is Kind.RECORD:
        return {each.name: longest(each.type) for each in kind.fields}
    if kind.kind is Kind.ARRAY:
        return [longest(kind.parts[0])] * kind.properties.get("maxItems", values.MAX_ITEMS)
    if kind.logical is Logical.DECIMAL:
        return Decimal((0, (9,) * kind.precision, -kind.scale))
    if kind.kind is Kind.STRING:
        return WIDEST * kind.properties.get("maxLength", values.MAX_LENGTH)
    return {
        Kind.ENUM: lambda: kind.symbols[-1],
        Kind.BOOLEAN: lambda: True,
        Kind.INT: lambda: -(2**31),
        Kind.LONG: lambda: -(2**63),
        Kind.BYTES: lambda: bytes(values.MAX_LENGTH),
        Kind.FLOAT: lambda: 0.5,
        Kind.DOUBLE: lambda: 0.1,
        Kind.FIXED: lambda: bytes(kind.size),
    }[kind.kind]()


@pytest.mark.parametrize("event", list(builtin()), ids=lambda event: event.event_type)
def test_the_longest_value_of_a_field_takes_what_is_told_to_the_byte(event: EventSchema) -> None:
    for each, most in zip(event.schema.fields, most_sealed(event.schema), strict=True):
        encoded = avro.encode_field(event.schema, each.index, longest(each.type), ROOMY)
        assert most_encoded(each.type) == len(encoded), each.name
        assert most == sealing.padded_size(SALT_SIZE + len(encoded)) + sealing.TAG_SIZE


@pytest.mark.parametrize("event", list(builtin()), ids=lambda event: event.event_type)
def test_what_people_declare_fits(event: EventSchema) -> None:
    record = samples.sample(event.event_type)
    for each, most in zip(event.schema.fields, most_sealed(event.schema), strict=True):
        encoded = avro.encode_field(event.schema, each.index, record[each.name])
        place = {"declaration_id": DeclarationId(bytes(16)), "index": each.index, "commitment": bytes(32)}
        sealed = sealing.seal_field(bytes(32), bytes(SALT_SIZE), encoded, **place)
        assert len(sealed) <= most


@pytest.mark.parametrize(
    "told",
    [
        b'"boolean"',
        b'"int"',
        b'"long"',
        b'"float"',
        b'"double"',
        b'"bytes"',
        b'"string"',
        b'["null", "long"]',
        b'{"type": "fixed", "name": "f", "size": 9}',
        b'{"type": "enum", "name": "e", "symbols": ["a", "b"]}',
        b'{"type": "array", "items": "int", "maxItems": 3}',
        b'{"type": "array", "items": "int"}',
        b'{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}',
    ],
)
def test_each_kind_of_value_takes_at_its_longest_what_is_told(told: bytes) -> None:
    schema = avro.parse(b'{"type": "record", "name": "r", "fields": [{"name": "a", "type": ' + told + b"}]}")
    (one,) = schema.fields
    assert most_encoded(one.type) == len(avro.encode_field(schema, 0, longest(one.type), ROOMY))
