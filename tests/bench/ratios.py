"""Ratios: what two programs, run by turns, tell of one another, and whether it is more than each tells of itself.

A round is four runs, A B B A or B A A B, so that a machine that slows down or speeds up does so for both. It gives two
ratios B/A, of neighbours, and two of a program against itself, A/A and B/B, of runs that are up to three apart: the
noise is rather overestimated than not. Pure functions; times are in any one unit.
Source: Wilcoxon (1945), Individual comparisons by ranking methods: the signed-rank test, exact.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

SURE: Final = 0.01
"""How often identical programs may be told apart by the ranks alone; the spread has to agree."""
FEWEST: Final = 8
"""Pairs, four rounds: with fewer, even if all agree, the ranks cannot be that sure."""


class Verdict(Enum):
    """What may be said."""

    FEW = "too few rounds"
    NOISE = "within the noise"
    FASTER = "B is faster"
    SLOWER = "B is slower"


@dataclass(frozen=True)
class Round:
    """The times of one round, in the order they were run in: of A two, of B two."""

    a: tuple[float, float]
    b: tuple[float, float]

    @property
    def ratios(self) -> tuple[float, float]:
        """B/A of neighbours: in both orders the first of one runs beside the first of the other."""
        return self.b[0] / self.a[0], self.b[1] / self.a[1]

    @property
    def selves(self) -> tuple[float, float]:
        """The second of each against its first."""
        return self.a[1] / self.a[0], self.b[1] / self.b[0]


@dataclass(frozen=True)
class Spread:
    """A median, the quartiles around it, and the ends."""

    median: float
    low: float
    high: float
    least: float
    most: float


@dataclass(frozen=True)
class Compared:
    """Median times of A and B; how B stands to A, and each to itself; how likely chance gives such ranks."""

    a: float
    b: float
    ratio: Spread
    itself: Spread
    chance: float
    verdict: Verdict


def spread(values: Sequence[float]) -> Spread:
    """Of ratios: medians and quartiles of their logarithms, so that a half and a double are equally far from 1."""
    logs = sorted(map(math.log, values))
    low, median, high = (_quantile(logs, part) for part in (0.25, 0.5, 0.75))
    return Spread(*map(math.exp, (median, low, high, logs[0], logs[-1])))


def compare(rounds: Sequence[Round]) -> Compared:
    """What these rounds tell; at least one."""
    ratios = [ratio for one in rounds for ratio in one.ratios]
    selves = [ratio for one in rounds for ratio in one.selves]
    chance = signed_rank(list(map(math.log, ratios)))
    told, itself = spread(ratios), spread(selves)
    return Compared(
        statistics.median(time for one in rounds for time in one.a),
        statistics.median(time for one in rounds for time in one.b),
        told,
        itself,
        chance,
        _verdict(len(ratios), told.median, itself, chance),
    )


def _verdict(pairs: int, ratio: float, itself: Spread, chance: float) -> Verdict:
    if pairs < FEWEST:
        return Verdict.FEW
    if chance > SURE or itself.low <= ratio <= itself.high:
        return Verdict.NOISE
    return Verdict.FASTER if ratio < 1 else Verdict.SLOWER


def signed_rank(differences: Sequence[float]) -> float:
    """How likely ranks as lopsided as these, or more, are when every sign is a coin's: two-sided, exact, 0 to 1.

    Differences of 0 say nothing and are left out; equal ones share their ranks (which are doubled here, to be whole).
    """
    told = sorted((one for one in differences if one != 0), key=abs)
    ranks = [0] * len(told)
    first = 0
    for last, one in enumerate(told):
        if last + 1 == len(told) or abs(told[last + 1]) != abs(one):
            ranks[first : last + 1] = [first + last + 2] * (last + 1 - first)
            first = last + 1
    positive = sum(rank for rank, one in zip(ranks, told, strict=True) if one > 0)
    ways = [1]  # by the sum of the positive ranks, how many of the 2^n choices of signs come to it
    for rank in ranks:
        longer = ways + [0] * rank
        for total, count in enumerate(ways):
            longer[total + rank] += count
        ways = longer
    tail = min(positive, sum(ranks) - positive)
    return min(1.0, 2 * sum(ways[: tail + 1]) / 2 ** len(ranks))


def _quantile(ordered: Sequence[float], part: float) -> float:
    """Between the two nearest, linearly."""
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
