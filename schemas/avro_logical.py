"""Logical types, exactly: Decimal, date, datetime and UUID to the plain Avro value and back.

Refuses: a digit, a microsecond or a time zone that the plain value could not carry; a plain value that no Python value
    stands for.
Keeps: `lift(lower(v)) == v`, with no rounding and independent of the decimal context and of the machine's time zone.
Source: Apache Avro 1.12 specification, "Logical Types". A decimal is written in the fewest bytes, as Java writes it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.avro_types import Kind, Logical, Type
from schemas.errors import Refused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def wrong(value: object, expected: str) -> Refused:
    """The refusal of a value, told by its type's name."""
    return Refused("avro.wrong-type", expected=expected, got=type(value).__name__)


def _lower_decimal(value: Any, kind: Type) -> bytes:
    if not isinstance(value, Decimal):
        raise wrong(value, "decimal")
    if not value.is_finite():
        raise Refused("avro.not-finite")
    if value and value.adjusted() >= kind.precision - kind.scale:
        raise Refused("avro.out-of-range")
    sign, digits, exponent = value.as_tuple()
    dropped = -(int(exponent) + kind.scale)
    if dropped > 0 and any(digits[-dropped:]):
        raise Refused("avro.too-precise")
    kept = digits[:-dropped] if dropped > 0 else digits
    number = 0
    if value:
        number = int("".join(map(str, kept))) * 10 ** max(0, -dropped)
    return _two_s_complement(-number if sign else number, kind)


def _two_s_complement(number: int, kind: Type) -> bytes:
    shortest = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return number.to_bytes(kind.size if kind.kind is Kind.FIXED else shortest, "big", signed=True)


def _lift_decimal(plain: Any, kind: Type) -> Decimal:
    """Long ones are refused before the arithmetic; whether the digits fit is asked when the value is encoded again."""
    if len(plain) > max(kind.size, (10**kind.precision).bit_length() // 8 + 1):
        raise Refused("avro.out-of-range")
    number = int.from_bytes(plain, "big", signed=True)
    return Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -kind.scale))


def _lower_date(value: Any, kind: Type) -> int:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise wrong(value, "date")
    return value.toordinal() - _EPOCH_DAY


def _lift_date(plain: Any, kind: Type) -> date:
    try:
        return date.fromordinal(plain + _EPOCH_DAY)
    except (ValueError, OverflowError):
        raise Refused("avro.out-of-range") from None


def _lower_timestamp(value: Any, kind: Type) -> int:
    if not isinstance(value, datetime):
        raise wrong(value, "datetime")
    if value.utcoffset() is None:
        raise Refused("avro.naive-datetime")
    whole, rest = divmod(value - _EPOCH, _unit(kind))
    if rest:
        raise Refused("avro.too-precise")
    return whole


def _lift_timestamp(plain: Any, kind: Type) -> datetime:
    try:
        return _EPOCH + int(plain) * _unit(kind)
    except OverflowError:
        raise Refused("avro.out-of-range") from None


def _unit(kind: Type) -> timedelta:
    return timedelta(milliseconds=1) if kind.logical is Logical.TIMESTAMP_MILLIS else timedelta(microseconds=1)


def _lower_uuid(value: Any, kind: Type) -> str:
    if not isinstance(value, UUID):
        raise wrong(value, "uuid")
    return str(value)


def _lift_uuid(plain: Any, kind: Type) -> UUID:
    try:
        return UUID(plain)
    except ValueError:
        raise Refused("avro.not-canonical") from None


LOWER: Mapping[Logical, Callable[[Any, Type], Any]] = {
    Logical.DECIMAL: _lower_decimal,
    Logical.DATE: _lower_date,
    Logical.TIMESTAMP_MILLIS: _lower_timestamp,
    Logical.TIMESTAMP_MICROS: _lower_timestamp,
    Logical.UUID: _lower_uuid,
}
"""Python value to plain value. Each raises Refused."""

_LIFT: Mapping[Logical, Callable[[Any, Type], Any]] = {
    Logical.DECIMAL: _lift_decimal,
    Logical.DATE: _lift_date,
    Logical.TIMESTAMP_MILLIS: _lift_timestamp,
    Logical.TIMESTAMP_MICROS: _lift_timestamp,
    Logical.UUID: _lift_uuid,
}

Lift = Callable[[Any], Any]


def lifter(kind: Type) -> Lift | None:
    """Plain value to Python value, or None where they are the same, as in most types."""
    if kind.logical is not None:
        lift = _LIFT[kind.logical]
        return lambda plain: lift(plain, kind)
    if kind.kind is Kind.RECORD:
        return _lift_record(kind)
    if kind.kind is Kind.UNION:
        return _lift_union(kind)
    inner = lifter(kind.parts[0]) if kind.parts else None
    if inner is None:
        return None
    return _lift_array(inner) if kind.kind is Kind.ARRAY else _lift_map(inner)


def _lift_array(inner: Lift) -> Lift:
    def lift(plain: Any) -> list[Any]:
        lifted: list[Any] = []
        try:
            for each in plain:
                lifted.append(inner(each))
        except Refused as fault:
            raise fault.under(f"/{len(lifted)}") from None
        return lifted

    return lift


def _lift_map(inner: Lift) -> Lift:
    return lambda plain: {key: inner(each) for key, each in plain.items()}


def _lift_union(kind: Type) -> Lift | None:
    """By the plain value's class: the branches of a union never look alike (`avro_schema`)."""
    lifts: dict[type, Lift] = {}
    for part in kind.parts:
        inner = lifter(part)
        if inner is not None:
            lifts[_PLAIN[part.kind]] = inner

    def lift(plain: Any) -> Any:
        found = lifts.get(type(plain))
        return plain if found is None else found(plain)

    return lift if lifts else None


def _lift_record(kind: Type) -> Lift | None:
    lifts: dict[str, Lift] = {}
    for each in kind.fields:
        inner = lifter(each.type)
        if inner is not None:
            lifts[each.name] = inner

    def lift(plain: Any) -> Any:
        name = ""
        try:
            for name, inner in lifts.items():
                plain[name] = inner(plain[name])
        except Refused as fault:
            raise fault.under(f"/{name}") from None
        return plain

    return lift if lifts else None


_PLAIN: Mapping[Kind, type] = {
    Kind.INT: int,
    Kind.LONG: int,
    Kind.STRING: str,
    Kind.BYTES: bytes,
    Kind.FIXED: bytes,
    Kind.ARRAY: list,
    Kind.MAP: dict,
    Kind.RECORD: dict,
}
