"""Instants as text: one spelling out, RFC 3339 in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.names import INSTANT_MAX, Instant, from_rfc3339, is_instant, rfc3339
from tests.examples import examples


def test_an_instant_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(Instant(1_788_264_000_007)) == "2026-09-01T12:00:00.007Z"
    assert rfc3339(Instant(0)) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(INSTANT_MAX) == "9999-12-31T23:59:59.999Z"


@given(st.integers(0, INSTANT_MAX))
@examples(60)
def test_instants_round_trip(at: int) -> None:
    assert at == from_rfc3339(rfc3339(Instant(at)))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2018-04-05T03:56:24Z", 1_522_900_584_000),
        ("2018-04-05t03:56:24z", 1_522_900_584_000),
        ("2018-04-05T05:26:24.5+01:30", 1_522_900_584_500),
        ("2018-04-04T22:56:24.123456789-05:00", 1_522_900_584_123),
        ("1970-01-01T00:00:00.0009Z", 0),
    ],
)
def test_any_offset_is_read_and_what_is_finer_than_a_millisecond_is_cut(text: str, at: int) -> None:
    assert at == from_rfc3339(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2018-04-05",
        "2018-04-05T03:56:24",
        "2018-04-05 03:56:24Z",
        "2018-04-05T03:56Z",
        "2018-04-05T03:56:24.Z",
        "2018-04-05T03:56:24.1234567890Z",
        "2018-02-30T03:56:24Z",
        "2018-04-05T24:00:01Z",
        "2018-04-05T03:56:60Z",
        "2018-04-05T03:56:24+0100",
        "2018-04-05T03:56:24+25:00",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:30:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢018-04-05T03:56:24Z",
        "2018-04-05T03:56:24Z\n",
    ],
)
def test_what_is_no_instant_reads_as_none(text: str) -> None:
    assert from_rfc3339(text) is None


@pytest.mark.parametrize("at", [-1, INSTANT_MAX + 1])
def test_what_no_calendar_shows_is_not_written(at: int) -> None:
    assert not is_instant(at)
    with pytest.raises(ValueError, match="not an instant"):
        rfc3339(Instant(at))
