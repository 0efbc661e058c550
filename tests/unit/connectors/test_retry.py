"""Back-off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.retry import LONGEST_MS, Backoff, retry_after_ms
from schemas.names import Instant

NOW = Instant(1_793_610_000_000)  # 2026-11-02T09:00:00Z


def always(byte: int) -> Backoff:
    return Backoff(lambda size: bytes([byte]) * size, base_ms=1_000, cap_ms=60_000, floor_ms=100)


def test_the_longest_wait_doubles_with_each_attempt_up_to_the_cap() -> None:
    longest = [always(0xFF).delay_ms(attempt) for attempt in (0, 1, 2, 5, 6, 100, 10**15)]
    assert [999, 1_999, 3_999, 31_999, 59_999, 59_999, 59_999] == longest


def test_the_shortest_wait_is_the_floor_whatever_the_attempt() -> None:
    assert [100, 100, 100] == [always(0).delay_ms(attempt) for attempt in (0, 3, 50)]


def test_half_the_randomness_waits_half_as_long() -> None:
    assert 2_000 == Backoff(lambda size: b"\x80\x00\x00\x00", base_ms=1_000).delay_ms(2)


def test_what_the_other_system_asked_for_is_waited_at_least() -> None:
    assert 120_000 == always(0).delay_ms(0, 120_000)
    assert 120_999 == always(0xFF).delay_ms(0, 120_000)


def test_the_other_system_cannot_ask_for_more_than_a_day_or_less_than_nothing() -> None:
    assert [LONGEST_MS, 0] == [always(0).delay_ms(0, 10**12), always(0).delay_ms(0, -5)]


@given(attempt=st.integers(0, 200), random=st.binary(min_size=4, max_size=4))
def test_a_wait_is_never_below_the_floor_nor_above_the_cap(attempt: int, random: bytes) -> None:
    assert 250 <= Backoff(lambda size: random).delay_ms(attempt) <= 3_600_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120_000),
        (" 0 ", 0),
        ("99999999999", LONGEST_MS),
        ("Mon, 02 Nov 2026 09:01:00 GMT", 60_000),
        ("Mon, 02 Nov 2026 09:01:00 -0000", 60_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_MS),
        ("Mon, 02 Nov 2026 08:59:00 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_an_http_date_and_anything_else_is_nothing(
    header: str | None, expected: int | None
) -> None:
    assert expected == retry_after_ms(header, NOW)
