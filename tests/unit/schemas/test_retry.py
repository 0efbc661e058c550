"""The curve of every retry: it doubles, it is capped, and chance makes a wait longer and never shorter."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.retry import doubled_ms, spread_ms


def test_the_wait_doubles_from_the_first_to_the_longest() -> None:
    assert [500, 1_000, 2_000, 4_000, 5_000, 5_000] == [doubled_ms(500, 5_000, failures) for failures in range(1, 7)]


@given(first=st.integers(1, 10**9), most=st.integers(1, 10**9), failures=st.integers(-(2**70), 2**70))
def test_no_number_of_failures_leaves_the_bounds(first: int, most: int, failures: int) -> None:
    assert min(first, most) <= doubled_ms(first, most, failures) <= most


@given(wait=st.integers(0, 10**9), chance=st.binary(min_size=1, max_size=1))
def test_chance_adds_up_to_a_quarter(wait: int, chance: bytes) -> None:
    assert wait <= spread_ms(wait, lambda size: chance[:size]) <= wait * 5 // 4


def test_chance_can_tell_two_apart() -> None:
    assert 1_000 == spread_ms(1_000, bytes) != spread_ms(1_000, lambda size: b"\xff" * size)
