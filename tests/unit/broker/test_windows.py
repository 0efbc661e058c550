"""In which order a window comes into the ledger: what depends on each other keeps it, and nothing else shows."""

from collections import Counter

from broker.recorder import AFTER, BARRIER, BEFORE
from broker.windows import Waiting, arrange
from tests.world import Entropy

GRANT, OTHER = b"g" * 16, b"o" * 16
EVERYTHING = 10_000


def order(*chains: bytes | None, windows: dict[int, int] | None = None, before: int | None = None) -> list[int]:
    """Entries of these chains, numbered from 0 as they were written, all in window 0 but those that `windows` names."""
    waiting = [Waiting(number, (windows or {}).get(number, 0), chain) for number, chain in enumerate(chains)]
    return arrange(waiting, before, EVERYTHING, Entropy())


def test_every_order_that_keeps_the_chains_is_equally_likely() -> None:
    entropy = Entropy()
    waiting = [Waiting(0, 0, GRANT), Waiting(1, 0, GRANT), Waiting(2, 0, None), Waiting(3, 0, OTHER)]
    seen = Counter(tuple(arrange(waiting, None, EVERYTHING, entropy)) for _ in range(12_000))
    assert all(one.index(0) < one.index(1) for one in seen)
    assert 12 == len(seen)
    assert all(abs(count - 1_000) < 200 for count in seen.values())  # six standard deviations


def test_an_open_entry_stands_before_its_window_and_a_keys_end_after_it_whenever_they_were_written() -> None:
    placed = order(None, GRANT, BEFORE, None, AFTER, OTHER, BEFORE, AFTER, GRANT)
    assert [2, 6] == placed[:2]
    assert [4, 7] == placed[-2:]
    assert {0, 1, 3, 5, 8} == set(placed[2:-2])


def test_what_is_written_after_an_open_entry_waits_for_its_window() -> None:
    assert [0, 1] == order(BEFORE, None, windows={0: 60})
    assert [] == order(BEFORE, None, windows={0: 60}, before=60)


def test_a_keys_end_waits_for_what_was_written_before_it_and_nothing_waits_for_it() -> None:
    assert [2, 0, 1] == order(GRANT, AFTER, None, windows={0: 60})


def test_everything_keeps_its_order_to_what_a_ledger_begins_with() -> None:
    placed = order(None, BEFORE, BARRIER, AFTER, None, BARRIER, None)
    assert [1, 0, 2, 4, 3, 5, 6] == placed
