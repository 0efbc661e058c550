"""Figures: what a bench tells, beside its floor and its aim; and the table they stand in."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table. `aim` is None where there is none; times and sizes aim low, rates and ratios high."""

    name: str
    unit: str
    value: float
    floor: float | None
    ratio: float | None
    aim: float | None
    met: bool | None


def rate(name: str, per_second: float, floor: float, aim_ratio: float | None) -> Figure:
    """A throughput against its floor."""
    ratio = per_second / floor
    return Figure(name, "1/s", per_second, floor, ratio, aim_ratio, None if aim_ratio is None else ratio >= aim_ratio)


def cost(name: str, unit: str, value: float, aim: float | None, floor: float | None = None) -> Figure:
    """A time or a size, which should be small."""
    ratio = None if floor is None else floor / value
    return Figure(name, unit, value, floor, ratio, aim, None if aim is None else value <= aim)


def percentile(values: list[float], part: float) -> float:
    """The smallest value that this part of the values does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def show(mode: str, figures: list[Figure]) -> None:
    """The table of one mode."""
    print(f"\n{mode:52}{'value':>12} {'unit':5}{'floor':>10}{'ratio':>8}{'aim':>8}  met")
    for figure in figures:
        floor = "" if figure.floor is None else f"{figure.floor:,.2f}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        aim = "" if figure.aim is None else f"{figure.aim:g}"
        met = "" if figure.met is None else "yes" if figure.met else "NO"
        print(f"{figure.name:52}{figure.value:>12,.2f} {figure.unit:5}{floor:>10}{ratio:>8}{aim:>8}  {met}")
