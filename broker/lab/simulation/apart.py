"""Apart: the whole state is judged in a second process, on a copy of the home as it stood, while the country lives on.

Refuses: nothing; what ends the check there ends the simulation here.
Keeps: what is judged is the state of one instant, every byte of it: nothing happens while it is copied. One copy at a
time, gone with its verdict. What was clean counts for the next check, as at home.
"""

import asyncio
import shutil
import sqlite3
import sys
from asyncio import Future
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, closing
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from broker.lab.simulation import founding, judging
from broker.lab.simulation.promises import Broken
from broker.observability import observe
from broker.setup import opening
from broker.setup.wiring import Home
from schemas.names import Instant

MARK: Final = "fsck"
"""In the folder of the journal of endings: which parts were clean."""
_DATABASE: Final = "unefois.db"


class Judge:
    """Judges the state of one home, here, or in `pool` beside it."""

    def __init__(self, home: Home, folder: Path, pool: ProcessPoolExecutor | None) -> None:
        """`folder`: the country's, in which its home lies."""
        self.checks = 0
        self._home = home
        self._folder = folder
        self._pool = pool
        self._broken: list[Broken] = []
        self._looking: Future[list[Broken]] | None = None

    async def look(self, *, full: bool = False) -> None:
        """Judge the state as it stands now (`judging.state`); the verdict before this one is waited for."""
        self.checks += 1
        if self._pool is None:
            self._broken += await judging.state(self._home, full=full)
            return
        await self._heard()
        await self._home.ledger.sequence_unfinished()
        copy = self._folder / "copy"
        _copy(founding.settings_of(self._folder).home, founding.settings_of(copy).home)
        told = (str(copy), self._home.clock(), full)
        self._looking = asyncio.get_running_loop().run_in_executor(self._pool, judged, *told)

    async def verdicts(self) -> list[Broken]:
        """What every look has found."""
        await self._heard()
        return self._broken

    async def _heard(self) -> None:
        if self._looking is None:
            return
        self._broken += await self._looking
        self._looking, copy = None, self._folder / "copy"
        mark = founding.settings_of(copy).endings_folder / MARK
        if mark.exists():
            shutil.copy2(mark, founding.settings_of(self._folder).endings_folder / MARK)
        shutil.rmtree(copy)


@asynccontextmanager
async def judge_of(home: Home, folder: Path, *, apart: bool) -> AsyncIterator[Judge]:
    """Who judges a home; the second process, if there is one, is gone afterwards."""
    if not apart:
        yield Judge(home, folder, None)
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield Judge(home, folder, pool)


def judged(folder: str, at: Instant, full: bool) -> list[Broken]:
    """`judging.state` of the country whose copy lies in this folder, at that instant; in the second process."""
    observe.configure("error", opening.system_clock, sys.stderr)
    return asyncio.run(_judged(Path(folder), at, full=full))


async def _judged(folder: Path, at: Instant, *, full: bool) -> list[Broken]:
    async with opening.open_home(founding.settings_of(folder), lambda: at) as home:
        return await judging.state(home, full=full)


def _copy(home: Path, to: Path) -> None:
    """Keys and journal file by file; the database by SQLite, whose locks a plain copy in this process would let go."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns(f"{_DATABASE}*"))
    with closing(sqlite3.connect(home / _DATABASE)) as here, closing(sqlite3.connect(to / _DATABASE)) as there:
        here.backup(there)
    (to / _DATABASE).chmod(0o600)
