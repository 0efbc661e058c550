"""Windows: in which order the entries of a window of time come into the ledger, so that their order tells nothing.

Refuses: nothing; it arranges.
Keeps: entries of one chain (a grant, with the deliveries under it) stay in the order of their writing. What is public
and begins (a key, a right) comes before everything else of its window, what ends comes after; everything keeps its
order to a barrier. A right that may have ended in the same window begins after all of it. Beyond that every order is
equally likely. What waits for a later window waits with whatever depends on it: clocks of several machines differ, the
order of the locks does not.
Source: docs/protocol.md, section 8, "Windows"; ledger.md, R1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from broker.ledger.recorder import AGAIN, BARRIER, FIRST, LAST
from broker.ports import Entropy


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that has no position yet: the number of its row, its window, and the chain that it keeps to."""

    id: int
    window: int
    chain: bytes | None


def arrange(waiting: Sequence[Waiting], before: int | None, most: int, entropy: Entropy) -> list[list[int]]:
    """The ids of what comes next, in its order and in batches: each of whole windows that begin before `before` (None:
    all that there are), as many as it takes to reach `most`. `waiting` in the order of writing, all of it.
    """
    batches: list[list[int]] = []
    for window, entries in groupby(sorted(_placed(waiting), key=lambda each: each[0]), key=lambda each: each[0]):
        if before is not None and window >= before:
            break
        if not batches or len(batches[-1]) >= most:
            batches.append([])
        for _, segment in groupby(_segments([one for _, one in entries]), key=lambda each: each[0]):
            batches[-1] += _placed_in([one for _, one in segment], entropy)
    return batches


def _placed(waiting: Sequence[Waiting]) -> list[tuple[int, Waiting]]:
    """Each with the window that it can come in: its own, or a later one that something before it has to wait for."""
    barrier, newest, begun, over = 0, 0, 0, -1
    chains: dict[bytes, int] = {}
    placed = []
    for one in waiting:
        window = max(one.window, barrier, begun)
        if one.chain == BARRIER:
            window = barrier = max(window, newest)
        elif one.chain == AGAIN:
            window = begun = max(window, over + 1)  # after all of the window in which something ended
        elif one.chain == FIRST:
            begun = window
        elif one.chain == LAST:
            window = over = max(window, newest)
        elif one.chain is not None:
            window = chains[one.chain] = max(window, chains.get(one.chain, 0))
        newest = max(newest, window)
        placed.append((window, one))
    return placed


def _segments(entries: Sequence[Waiting]) -> list[tuple[int, Waiting]]:
    """What is between two barriers has one number; a barrier has one of its own."""
    number, numbered = 0, []
    for one in entries:
        step = 1 if one.chain == BARRIER else 0
        number += step
        numbered.append((number, one))
        number += step
    return numbered


def _placed_in(entries: Sequence[Waiting], entropy: Entropy) -> list[int]:
    """What begins, what is drawn by chance, what ends."""
    first = [one.id for one in entries if one.chain in (FIRST, AGAIN)]
    last = [one.id for one in entries if one.chain == LAST]
    between = [one for one in entries if one.chain not in (FIRST, AGAIN, LAST)]
    return [*first, *_shuffled(between, entropy), *last]


def _shuffled(entries: Sequence[Waiting], entropy: Entropy) -> list[int]:
    """In an order drawn by chance, in which each chain then takes its own places in its own order."""
    drawn = sorted(range(len(entries)), key=_draws(len(entries), entropy).__getitem__)
    queues: dict[bytes, list[int]] = {}
    for one in reversed(entries):
        if one.chain is not None:
            queues.setdefault(one.chain, []).append(one.id)
    return [one.id if one.chain is None else queues[one.chain].pop() for one in (entries[at] for at in drawn)]


def _draws(count: int, entropy: Entropy) -> list[bytes]:
    """16 random bytes for each: two are never the same."""
    drawn = entropy(16 * count)
    return [drawn[at : at + 16] for at in range(0, 16 * count, 16)]
