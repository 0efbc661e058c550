"""Windows: what happened in one comes whole and in an order that tells nothing, but for each grant's own and the
barriers'.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger import windows
from broker.ledger.recorder import AGAIN, BARRIER, FIRST, LAST
from broker.ledger.windows import Waiting
from broker.ports import Entropy

EVER = None
MANY = 1_000_000
A, B = b"grant a", b"grant b"


def waiting(*entries: tuple[int, bytes | None]) -> list[Waiting]:
    """Entries in the order of writing, each with its window and its chain; their ids are 1, 2, 3 and so on."""
    return [Waiting(number, window, chain) for number, (window, chain) in enumerate(entries, 1)]


def arrange(entries: Sequence[Waiting], before: int | None, most: int, entropy: Entropy) -> list[int]:
    """The first batch."""
    batches = windows.arrange(entries, before, most, entropy)
    assert all(batches), "an empty batch"
    return batches[0] if batches else []


def drawing(*numbers: int) -> Callable[[int], bytes]:
    """Chance that draws these numbers: the entry that draws the lowest one takes the first place."""
    drawn = b"".join(number.to_bytes(16, "big") for number in numbers)

    def draw(size: int) -> bytes:
        assert size == len(drawn)
        return drawn

    return draw


def backwards(size: int) -> bytes:
    """Chance that turns everything round."""
    return b"".join(number.to_bytes(16, "big") for number in range(size // 16, 0, -1))


# ── whole windows ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_a_window_that_is_not_over_nothing_comes() -> None:
    entries = waiting((60, None), (0, None), (120, None), (0, None))

    assert [4, 2] == arrange(entries, 60, MANY, backwards)
    assert [4, 2, 1] == arrange(entries, 120, MANY, backwards)
    assert [4, 2, 1, 3] == arrange(entries, EVER, MANY, backwards)


def test_windows_come_one_after_the_other_whatever_was_written_first() -> None:
    assert [2, 4, 1, 3] == arrange(waiting((60, None), (0, None), (60, None), (0, None)), EVER, MANY, bytes)


@pytest.mark.parametrize(("most", "count"), [(1, 3), (3, 3), (4, 5), (5, 5), (6, 6), (99, 6)])
def test_a_window_is_taken_whole_or_not_at_all(most: int, count: int) -> None:
    entries = waiting((0, None), (0, None), (0, None), (60, None), (60, None), (120, None))

    assert list(range(1, count + 1)) == sorted(arrange(entries, EVER, most, backwards))


def test_what_is_beyond_a_batch_comes_in_the_next_ones() -> None:
    entries = waiting(*((60 * (number // 2), None) for number in range(9)))

    assert [[2, 1, 4, 3], [6, 5, 8, 7], [9]] == windows.arrange(entries, EVER, 3, backwards)
    assert [[2, 1, 4, 3]] == windows.arrange(entries, 120, 3, backwards)


def test_nothing_waits_and_nothing_comes() -> None:
    assert [] == arrange([], EVER, MANY, backwards)


# ── chains ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_keeps_its_order_where_everything_else_is_turned_round() -> None:
    entries = waiting((0, A), (0, None), (0, A), (0, None), (0, A))

    assert [1, 4, 3, 2, 5] == arrange(entries, EVER, MANY, backwards)


def test_chains_do_not_keep_their_order_to_each_other() -> None:
    assert [3, 4, 1, 2] == arrange(waiting((0, A), (0, A), (0, B), (0, B)), EVER, MANY, drawing(3, 4, 1, 2))


def test_what_depends_on_a_later_window_waits_for_it() -> None:
    """The clock of the machine that wrote the second one is behind."""
    entries = waiting((60, A), (0, A), (0, B))

    assert [3] == arrange(entries, 60, MANY, backwards)
    assert [3, 1, 2] == arrange(entries, EVER, MANY, backwards)


# ── barriers ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everything_keeps_its_order_to_a_barrier() -> None:
    entries = waiting((0, None), (0, A), (0, BARRIER), (0, A), (0, None))

    assert [2, 1, 3, 5, 4] == arrange(entries, EVER, MANY, backwards)


def test_barriers_keep_their_order_to_each_other() -> None:
    entries = waiting((0, BARRIER), (0, BARRIER), (0, None), (0, BARRIER))

    assert [1, 2, 3, 4] == arrange(entries, EVER, MANY, backwards)


def test_a_barrier_waits_for_the_later_window_of_what_was_written_before_it() -> None:
    entries = waiting((60, None), (0, BARRIER), (0, None))

    assert [] == arrange(entries, 60, MANY, backwards)
    assert [1, 2, 3] == arrange(entries, EVER, MANY, backwards)


def test_what_was_written_after_a_barrier_waits_with_it() -> None:
    entries = waiting((60, BARRIER), (0, None), (0, A), (0, A))

    assert [] == arrange(entries, 60, MANY, backwards)
    assert [1, 4, 3, 2] == arrange(waiting((60, BARRIER), (0, None), (0, None), (0, None)), EVER, MANY, backwards)


# ── what is public ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_begins_comes_first_and_what_ends_comes_last_each_in_its_own_order() -> None:
    entries = waiting((0, LAST), (0, None), (0, FIRST), (0, A), (0, LAST), (0, None), (0, FIRST), (0, A))

    assert [3, 7, 4, 6, 8, 2, 1, 5] == arrange(entries, EVER, MANY, backwards)


def test_what_is_public_does_not_part_the_window_that_it_is_in() -> None:
    """Between two public acts that an administration makes when it likes nothing can be told apart."""
    asked: list[int] = []

    def draw(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    arrange(waiting((0, None), (0, FIRST), (0, None), (0, LAST), (0, None)), EVER, MANY, draw)

    assert [3 * 16] == asked


def test_they_keep_their_places_on_each_side_of_a_barrier() -> None:
    entries = waiting((0, None), (0, LAST), (0, FIRST), (0, BARRIER), (0, LAST), (0, None), (0, FIRST))

    assert [3, 1, 2, 4, 7, 6, 5] == arrange(entries, EVER, MANY, backwards)


def test_what_was_written_after_something_has_begun_does_not_come_in_a_window_before_it() -> None:
    """Under the key that was added: the clock of the machine that wrote the second one is behind."""
    entries = waiting((60, FIRST), (0, None), (0, A))

    assert [] == arrange(entries, 60, MANY, backwards)
    assert [1, 3, 2] == arrange(entries, EVER, MANY, backwards)


def test_what_ends_waits_for_the_window_of_what_was_written_before_it() -> None:
    """A release to a key that is revoked after it, on a machine whose clock is a moment behind."""
    entries = waiting((60, A), (0, LAST), (0, B))

    assert [3] == arrange(entries, 60, MANY, backwards)
    assert [3, 1, 2] == arrange(entries, EVER, MANY, backwards)


# ── chance ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def orders(entries: Sequence[Waiting]) -> Counter[tuple[int, ...]]:
    """How often each order comes, over every order that chance can draw."""
    every = permutations(range(len(entries)))
    return Counter(tuple(arrange(entries, EVER, MANY, drawing(*drawn))) for drawn in every)


def test_every_order_of_what_is_not_chained_is_equally_likely() -> None:
    found = orders(waiting(*[(0, None)] * 5))

    assert dict.fromkeys(permutations(range(1, 6)), 1) == found


@pytest.mark.parametrize(
    "chains",
    [(A, A, None, None, None), (A, B, A, B), (A, A, A, B, None), (A, A, A, A, A), (None, A, None, A, B, B)],
    ids=lambda chains: "".join("-" if chain is None else chain.decode()[-1] for chain in chains),
)
def test_every_order_that_keeps_the_chains_is_equally_likely(chains: tuple[bytes | None, ...]) -> None:
    found = orders(waiting(*((0, chain) for chain in chains)))

    lengths = Counter(chain for chain in chains if chain is not None)
    alike = 1
    for length in lengths.values():
        alike *= factorial(length)
    assert factorial(len(chains)) // alike == len(found)
    assert {alike} == set(found.values())


def test_each_window_and_each_side_of_a_barrier_is_drawn_by_itself() -> None:
    asked: list[int] = []

    def draw(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    arrange(waiting((0, None), (0, None), (0, BARRIER), (0, A), (60, None), (60, A), (60, B)), EVER, MANY, draw)

    assert [2 * 16, 16, 16, 3 * 16] == asked


# ── whatever waits ──────────────────────────────────────────────────────────────────────────────────────────────────

ENTRIES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, None, A, B, BARRIER, FIRST, LAST])), max_size=24)


def kept(earlier: bytes | None, later: bytes | None) -> bool:
    """Whether what was written later stays behind what was written earlier in the same or another window."""
    return BARRIER in {earlier, later} or (earlier is not None and earlier == later)


def comes_in(entries: Sequence[Waiting]) -> dict[int, int]:
    """By its id the window that each can come in: not before anything that it keeps its order to."""
    placed: dict[int, int] = {}
    for at, one in enumerate(entries):
        before = (
            other for other in entries[:at] if kept(other.chain, one.chain) or other.chain == FIRST or one.chain == LAST
        )
        placed[one.id] = max([one.window, *(placed[other.id] for other in before)])
    return placed


@given(entries=ENTRIES, before=st.none() | st.integers(0, 5), most=st.integers(1, 30), chance=st.randoms())
def test_what_comes_is_whole_windows_in_an_order_that_keeps_chains_and_barriers(
    entries: list[tuple[int, bytes | None]], before: int | None, most: int, chance: object
) -> None:
    queue = waiting(*entries)
    placed, chain = comes_in(queue), {one.id: one.chain for one in queue}

    got = arrange(queue, before, most, chance.randbytes)  # type: ignore[attr-defined]

    assert len(set(got)) == len(got)
    came = [placed[one] for one in got]
    assert sorted(came) == came
    rest = [placed[one] for one in placed if one not in got]
    assert all(window > max(came, default=-1) or (before is not None and window >= before) for window in rest)
    assert not any(before is not None and window >= before for window in came)
    left = [window for window in rest if before is None or window < before]
    assert not left or len(got) >= most  # nothing that could come stays, but for what is beyond the batch
    if came:
        assert len([window for window in came if window < came[-1]]) < most
    for number, later in enumerate(got):
        for earlier in got[:number]:
            same = placed[earlier] == placed[later]
            assert earlier < later or not kept(chain[earlier], chain[later])
            if same and not any(chain[one] == BARRIER for one in range(min(earlier, later), max(earlier, later) + 1)):
                assert chain[later] != FIRST or chain[earlier] == FIRST
                assert chain[earlier] != LAST or chain[later] == LAST


@given(entries=ENTRIES, chance=st.randoms())
def test_all_of_it_is_a_permutation_and_in_turns_it_comes_to_the_same_windows(
    entries: list[tuple[int, bytes | None]], chance: object
) -> None:
    queue = waiting(*entries)
    draw = chance.randbytes  # type: ignore[attr-defined]
    assert [one.id for one in queue] == sorted(arrange(queue, EVER, MANY, draw))

    placed, left, got = comes_in(queue), list(queue), []
    for before in range(6):
        now = arrange(left, before, MANY, draw)
        assert {one.id for one in left if placed[one.id] < before} == set(now)
        left = [one for one in left if one.id not in now]
        got += now
    assert [] == left
    assert sorted(placed[one] for one in got) == [placed[one] for one in got]


def test_what_ends_and_begins_again_in_one_window_keeps_that_order_and_what_follows_comes_after() -> None:
    entries = waiting((0, A), (0, LAST), (0, None), (0, AGAIN), (0, B), (0, FIRST), (60, None))

    placed = arrange(entries, EVER, MANY, bytes)
    assert ({1, 3}, [2, 4, 6, 5, 7]) == (set(placed[:2]), placed[2:])


def test_what_begins_where_nothing_ended_comes_first() -> None:
    assert [2, 1] == arrange(waiting((0, None), (0, AGAIN)), EVER, MANY, bytes)
