"""Growth: what one declaration costs when ever more have gone before, and the picture of it."""

import math
import random
import statistics
import tempfile
from collections import deque
from pathlib import Path

from tests.bench.spine import BATCH, RECIPIENTS, allow, end_to_end, enrol
from tests.world import world


async def growth(sizes: list[int]) -> list[tuple[int, float]]:
    """Milliseconds of one declaration when so many have gone before: the median of the last five hundreds.

    One in five is a citizen's first, with consents for every recipient; the others come from anybody who was there.
    """
    points, chance = [], random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as here:
            parties, done, citizens = await enrol(here), 0, 0
            recent: deque[float] = deque(maxlen=5)
            for size in sizes:
                while done < size:
                    await allow(here, parties, citizens, BATCH // 5)
                    newcomers = list(range(citizens, citizens + BATCH // 5))
                    citizens += BATCH // 5
                    others = [chance.randrange(citizens) for _ in range(BATCH - len(newcomers))]
                    recent.append(await end_to_end(here, parties, newcomers + others))
                    done += BATCH
                points.append((size, 1000 * statistics.median(recent) / BATCH))
                print(f"  growth: after {size:,} declarations {points[-1][1]:.1f} ms each", flush=True)
    return points


def plot(points: list[tuple[int, float]]) -> str:
    """The growth as an SVG: declarations that went before (logarithmic) against milliseconds of the next."""
    width, height, left, bottom = 640, 320, 70, 50
    low, high = math.log10(points[0][0]), math.log10(points[-1][0])
    top = max(ms for _, ms in points) * 1.25

    def x(size: int) -> float:
        return left + (width - left - 30) * (math.log10(size) - low) / max(high - low, 1e-9)

    def y(ms: float) -> float:
        return height - bottom - (height - bottom - 30) * ms / top

    line = " ".join(f"{x(size):.1f},{y(ms):.1f}" for size, ms in points)
    dots = "".join(f'<circle cx="{x(size):.1f}" cy="{y(ms):.1f}" r="4" fill="#1d4ed8"/>' for size, ms in points)
    ticks = "".join(
        f'<text x="{x(size):.1f}" y="{height - bottom + 20}" text-anchor="middle">{size:,}</text>' for size, _ in points
    )
    scale = "".join(
        f'<text x="{left - 8}" y="{y(top * part / 4) + 4:.1f}" text-anchor="end">{top * part / 4:.0f}</text>'
        f'<path d="M{left} {y(top * part / 4):.1f}H{width - 30}" stroke="#e2e8f0"/>'
        for part in range(5)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-size="12" '
        'font-family="system-ui, sans-serif" fill="#334155"><title>Cost of one declaration as the home grows</title>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{scale}'
        f'<polyline points="{line}" fill="none" stroke="#1d4ed8" stroke-width="2"/>{dots}{ticks}'
        f'<text x="{left}" y="18">milliseconds of one declaration to {RECIPIENTS} recipients</text>'
        f'<text x="{width - 30}" y="{height - 10}" text-anchor="end">declarations that went before</text></svg>\n'
    )
