"""Lock keys: everybody numbers and orders them alike."""

from hypothesis import given
from hypothesis import strategies as st

from broker.store.postgres import numbers


def test_a_keys_number_never_changes_between_versions() -> None:
    """Two processes of two versions must wait for each other: a number that changes is a lost lock."""
    assert [-7554034474770706129] == numbers([b"grant"])


@given(st.lists(st.binary(max_size=8), max_size=6))
def test_every_caller_locks_in_one_order_and_each_key_once(keys: list[bytes]) -> None:
    taken = numbers(keys)
    assert (sorted(set(taken)), len(set(keys))) == (taken, len(taken))
    assert taken == numbers(reversed(keys))


@given(st.lists(st.binary(max_size=8), max_size=6))
def test_numbers_fit_a_signed_64_bit_column(keys: list[bytes]) -> None:
    assert all(-(2**63) <= number < 2**63 for number in numbers(keys))
