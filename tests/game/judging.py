"""What chance can do: how many of n rounds somebody wins who tosses a coin, but for once in a million games."""

from math import comb

DOUBT = 1e-6


def bounds(rounds: int) -> tuple[int, int]:
    """The least and the greatest number of successes that are chance: outside lies less than DOUBT, on both sides
    together. Exact, for a fair coin.
    """
    allowed, below, least = DOUBT / 2 * 2**rounds, 0, 0
    while below + comb(rounds, least) <= allowed:
        below += comb(rounds, least)
        least += 1
    return least, rounds - least


def by_chance(wins: int, rounds: int) -> bool:
    """Whether so many successes are what a coin may have."""
    least, most = bounds(rounds)
    return least <= wins <= most
