import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import avro
from schemas.errors import Refused
from tests.examples import examples


def schema_of(*types: Any) -> avro.Schema:
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(types)]
    return avro.parse(json.dumps({"type": "record", "name": "R", "fields": fields}).encode())


MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}
FIXED_MONEY = {"type": "fixed", "name": "M", "size": 3, "logicalType": "decimal", "precision": 5, "scale": 2}
DATE = {"type": "int", "logicalType": "date"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
UUID_TEXT = {"type": "string", "logicalType": "uuid"}
PARIS_IN_WINTER = timezone(timedelta(hours=1))

GOOD = {
    "money": (MONEY, Decimal("123.45"), "043039"),
    "fewest-digits-given": (MONEY, Decimal("5"), "0401f4"),
    "nothing": (MONEY, Decimal(0), "0200"),
    "minus-1.28-in-one-byte": (MONEY, Decimal("-1.28"), "0280"),
    "largest": (MONEY, Decimal("999.99"), "0601869f"),
    "zeros-behind-are-not-precision": (MONEY, Decimal("1.5000"), "040096"),
    "exponent": (MONEY, Decimal("1E+2"), "042710"),
    "fixed-money": (FIXED_MONEY, Decimal("-0.01"), "ffffff"),
    "day": (DATE, date(1970, 1, 2), "02"),
    "day-before": (DATE, date(1969, 12, 31), "01"),
    "first-day": (DATE, date(1, 1, 1), "f3e457"),
    "instant": (MILLIS, datetime(1970, 1, 1, 0, 0, 0, 1000, UTC), "02"),
    "instant-elsewhere": (MILLIS, datetime(1970, 1, 1, 1, tzinfo=PARIS_IN_WINTER), "00"),
    "instant-before": (MICROS, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), "01"),
    "uuid": (UUID_TEXT, UUID(int=0), "48" + b"00000000-0000-0000-0000-000000000000".hex()),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_logical_value_is_written_and_read_exactly(name):
    kind, value, encoded = GOOD[name]
    for schema, head in ((schema_of(kind), ""), (schema_of(["null", kind]), "02")):
        assert head + encoded == avro.encode(schema, {"f0": value}).hex()
        assert {"f0": value} == avro.decode(schema, bytes.fromhex(head + encoded))


def test_zero_has_its_digits_and_no_sign():
    assert "0.00" == str(avro.decode(schema_of(MONEY), b"\x02\x00")["f0"])


def test_a_logical_value_inside_others_is_converted_there():
    inner = {"type": "record", "name": "S", "fields": [{"name": "on", "type": DATE}, {"name": "n", "type": "int"}]}
    schema = schema_of({"type": "array", "items": inner}, {"type": "map", "values": MONEY}, ["null", "S"])
    day = {"on": date(2026, 11, 24), "n": 1}
    value = {"f0": [day, day], "f1": {"k": Decimal("1.00")}, "f2": day}
    assert value == avro.decode(schema, avro.encode(schema, value))


BAD_VALUES = {
    "one-digit-too-many-behind": (MONEY, Decimal("1.005"), "avro.too-precise"),
    "tiny": (MONEY, Decimal("1E-1000000"), "avro.too-precise"),
    "one-digit-too-many-before": (MONEY, Decimal(1000), "avro.out-of-range"),
    "enormous": (MONEY, Decimal("1E+1000000"), "avro.out-of-range"),
    "decimal-nan": (MONEY, Decimal("NaN"), "avro.not-finite"),
    "decimal-infinite": (MONEY, Decimal("-Infinity"), "avro.not-finite"),
    "float-as-decimal": (MONEY, 1.5, "avro.wrong-type"),
    "int-as-decimal": (MONEY, 1, "avro.wrong-type"),
    "datetime-as-date": (DATE, datetime(2026, 11, 24, tzinfo=UTC), "avro.wrong-type"),
    "text-as-date": (DATE, "2026-11-24", "avro.wrong-type"),
    "naive": (MILLIS, datetime(2026, 11, 24, tzinfo=UTC).replace(tzinfo=None), "avro.naive-datetime"),
    "microseconds-in-millis": (MILLIS, datetime(2026, 11, 24, 0, 0, 0, 1, UTC), "avro.too-precise"),
    "int-as-instant": (MILLIS, 0, "avro.wrong-type"),
    "date-as-instant": (MILLIS, date(2026, 11, 24), "avro.wrong-type"),
    "text-as-uuid": (UUID_TEXT, str(UUID(int=0)), "avro.wrong-type"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
@pytest.mark.parametrize("optional", [False, True])
def test_a_logical_value_that_would_be_rounded_or_guessed_is_refused(name, optional):
    kind, value, code = BAD_VALUES[name]
    with pytest.raises(Refused) as caught:
        avro.encode(schema_of(["null", kind] if optional else kind), {"f0": value})
    assert (caught.value.code, caught.value.pointer) == (code, "/f0")


BAD_BYTES = {
    "decimal-with-a-spare-byte": (MONEY, "040001", "avro.not-canonical", ""),
    "decimal-of-no-byte": (MONEY, "00", "avro.not-canonical", ""),
    "decimal-beyond-its-precision": (MONEY, "060186a0", "avro.out-of-range", "/f0"),
    "decimal-below-its-precision": (MONEY, "06fe7960", "avro.out-of-range", "/f0"),
    "decimal-of-a-thousand-bytes": (MONEY, "d00f" + "00" * 1000, "avro.out-of-range", "/f0"),
    "fixed-decimal-beyond": (FIXED_MONEY, "7fffff", "avro.out-of-range", "/f0"),
    "day-after-the-calendar": (DATE, "feffffff0f", "avro.out-of-range", "/f0"),
    "instant-after-the-calendar": (MILLIS, "feffffffffffffffff01", "avro.out-of-range", "/f0"),
    "uuid-in-capitals": (UUID_TEXT, "48" + b"AAAAAAAA-0000-0000-0000-000000000000".hex(), "avro.not-canonical", ""),
    "uuid-of-no-shape": (UUID_TEXT, "0278", "avro.not-canonical", "/f0"),
    "inside-an-array": ({"type": "array", "items": DATE}, "0400feffffff0f00", "avro.out-of-range", "/f0/1"),
    "inside-a-map": ({"type": "map", "values": DATE}, "0200feffffff0f00", "avro.out-of-range", "/f0"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bytes_that_stand_for_no_logical_value_are_refused(name):
    kind, encoded, code, pointer = BAD_BYTES[name]
    with pytest.raises(Refused) as caught:
        avro.decode(schema_of(kind), bytes.fromhex(encoded))
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_the_decimal_context_of_the_caller_changes_nothing():
    schema = schema_of({"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2})
    value = Decimal("12345678901234567890123456789012345678.99")
    with localcontext() as context:
        context.prec = 3
        assert value == avro.decode(schema, avro.encode(schema, {"f0": value}))["f0"]


@examples(150)
@given(
    st.integers(-99999, 99999).map(lambda cents: Decimal((int(cents < 0), tuple(map(int, str(abs(cents)))), -2))),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
)
def test_every_logical_value_survives_unchanged(money, day, instant, uuid):
    schema = schema_of(MONEY, DATE, MICROS, UUID_TEXT, FIXED_MONEY)
    value = {"f0": money, "f1": day, "f2": instant, "f3": uuid, "f4": money}
    assert value == avro.decode(schema, avro.encode(schema, value))


@examples(150)
@given(st.binary(max_size=6))
def test_a_decimal_that_is_read_is_written_back(noise):
    schema = schema_of(MONEY)
    encoded = bytes([2 * len(noise)]) + noise
    try:
        read = avro.decode(schema, encoded)
    except Refused:
        return
    assert encoded == avro.encode(schema, read)
