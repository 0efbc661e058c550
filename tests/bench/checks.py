"""What fsck costs: milliseconds a declaration, all of it anew and against a mark, and how much memory that takes.

    python -m tests.bench.checks COUNT...

Each COUNT is of declarations to five recipients, delivered and acknowledged, in a home of its own on SQLite. Memory is
the peak of what Python holds at once beside what it held before (tracemalloc), in a second run that is not timed.

Refuses: nothing.
Keeps: asserts only that all is well.
"""

import asyncio
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

from tests.bench.ab_scenario import Costs, _living, _story


async def timed(work: Callable[[], Awaitable[Any]], count: int) -> tuple[float, float, float]:
    """Milliseconds a declaration, on the clock and of the processor; megabytes."""
    began, used = time.perf_counter(), time.process_time()
    found = await work()
    took, used = time.perf_counter() - began, time.process_time() - used
    if getattr(found, "findings", found):
        raise RuntimeError(f"fsck: {found}")
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return 1000 * took / count, 1000 * used / count, (peak - before) / 1e6


async def measure(count: int) -> None:
    """Make a home, and print what its checks cost."""
    async with _living(None) as (here, parties):
        await _story(here, parties, range(count), Costs())
        fsck = here.home.fsck
        ways: dict[str, Callable[[], Awaitable[Any]]] = {"full": fsck.check}
        if hasattr(fsck, "look"):
            ways["again"] = fsck.look
        for name, work in ways.items():
            took, used, held = await timed(work, count)
            print(
                f"{count} declarations, {name}: {took:.3f} ms each ({used:.3f} of the processor), {held:.1f} MB",
                flush=True,
            )


def main() -> None:
    """Each count in its turn."""
    for word in sys.argv[1:]:
        asyncio.run(measure(int(word)))


if __name__ == "__main__":
    main()
