"""Lives the whole day once, then forks for each line it reads: a child does one step of it until a mark kills it.

A line is `STEP MARK[:N] FOLDER`, the answer the signal that ended the child (9 where it was killed), or minus its exit
code: 0 when the step came to its end alive. The first answer is READY: the day without a crash is in the folder given.

Keeps: a child finds its statements compiled, for its parent has lived the day; that is most of what a step costs.
"""

import asyncio
import gc
import os
import pickle
import shutil
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.observability import crashpoints
from tests import compiled
from tests.faults import day

READY = "ready"
_GOLDEN = "golden.pickle"


@dataclass
class Golden:
    """The day without a crash: the home before each step, what it is after it, and how often each mark was passed."""

    before: dict[str, Path] = field(default_factory=dict)
    after: dict[str, dict[str, Any]] = field(default_factory=dict)
    passed: dict[tuple[str, str], int] = field(default_factory=dict)

    @staticmethod
    def of(folder: Path) -> "Golden":
        """That which a forker has lived in this folder."""
        told: Golden = pickle.loads((folder / _GOLDEN).read_bytes())
        return told


class Watching:
    """A trap that never closes, and counts who passes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.left = 0

    @property
    def name(self) -> "Watching":
        return self

    def __eq__(self, passing: object) -> bool:
        self.seen.append(str(passing))
        return False

    __hash__ = None  # type: ignore[assignment]


def live(folder: Path) -> None:
    """The whole day, once."""
    told, home = Golden(), folder / "home"
    home.mkdir(mode=0o700)
    asyncio.run(day.found(home))
    for name in day.STEPS:
        told.before[name] = folder / name
        shutil.copytree(home, told.before[name])
        open_trap, watching = crashpoints._trap, Watching()
        crashpoints._trap = watching  # type: ignore[assignment]
        asyncio.run(day.run(home, name))
        crashpoints._trap = open_trap
        for mark in set(watching.seen):
            told.passed[name, mark] = watching.seen.count(mark)
        told.after[name] = asyncio.run(_look(home, name))
    (folder / _GOLDEN).write_bytes(pickle.dumps(told))


async def _look(home: Path, name: str) -> dict[str, Any]:
    async with day.opened(home, day.STEPS[name][0]) as here:
        return await day.summary(here)


def child(folder: str, step: str, setting: str) -> None:
    """Never returns."""
    try:
        crashpoints._trap = crashpoints._Trap(setting)
        asyncio.run(day.run(Path(folder), step))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    compiled.share()
    live(Path(sys.argv[1]))
    gc.collect()
    gc.freeze()
    print(READY, flush=True)
    for line in sys.stdin:
        step, setting, folder = line.rstrip("\n").split(" ", 2)
        pid = os.fork()
        if pid == 0:
            child(folder, step, setting)
        _, status = os.waitpid(pid, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status), flush=True)


if __name__ == "__main__":
    from tests.faults import forker  # what it pickles is to be found by this name, and not as __main__'s

    forker.main()
