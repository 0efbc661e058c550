"""What waits here looks whether those it waits for live: a process that died is a failure at once, with its last words.

Refuses: to wait without an end. `DEADLINE` bounds each wait, `limited` a whole test, wherever it hangs.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from schemas.errors import Unavailable

DEADLINE = 120
"""Seconds for anything that is waited for: far more than it takes, on a machine with other things to do."""
BACK_OFF = 0.2
"""Seconds between two looks; what a source waits before it sends the same bytes again."""
LIMIT = int(os.environ.get("UNEFOIS_TEST_SECONDS", "600"))
"""Seconds for a whole test, and for what it needs before it begins."""
LOOK = 0.5
"""Seconds between two looks whether everybody lives."""

Look = Callable[[], None]
"""Raises Dead when somebody died who should live."""


class Late(AssertionError):
    """What was waited for did not come."""


class Dead(AssertionError):
    """A process died that nobody killed, and what it said last."""


def nobody() -> None:
    """Nobody has to live."""


async def until(met: Callable[[], Awaitable[bool]], what: str, look: Look = nobody) -> None:
    """Return once it is so. What cannot be asked now is asked again. Raises Late, or Dead."""
    end = time.monotonic() + DEADLINE
    while True:
        look()
        try:
            if await met():
                return
        except Unavailable:
            pass
        if time.monotonic() > end:
            raise Late(what)
        await asyncio.sleep(BACK_OFF)


async def persistent(call: Callable[[], Awaitable[Any]], look: Look = nobody) -> Any:
    """Again and again, as a source does, until there is an answer. Raises Late, or Dead."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return await call()
        except Unavailable as fault:
            look()
            if time.monotonic() > end:
                raise Late(f"an answer: {fault.code}") from None
            await asyncio.sleep(BACK_OFF)


@dataclass
class Serving:
    """One process that serves, with its words kept in a file."""

    process: "subprocess.Popen[bytes]"
    told: Path
    mortal: bool = False
    """Whether it may die: it was told to, or where."""

    @property
    def address(self) -> str:
        """Where it answers over HTTP."""
        end = time.monotonic() + DEADLINE
        while not (lines := self.told.read_text().splitlines()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Late(f"it does not serve: {self.words()}")
            time.sleep(BACK_OFF)
        return str(json.loads(lines[0])["listen"])

    def words(self) -> str:
        """The end of what it wrote to its log."""
        return self.told.with_suffix(".err").read_text(errors="replace")[-2000:]

    def look(self) -> None:
        """Raises Dead when it died by itself."""
        if not self.mortal and (status := self.process.poll()) is not None:
            raise Dead(f"{self.told.stem} ended with {status}: {self.words()}")

    def kill(self) -> None:
        """kill -9."""
        self.look()
        self.mortal = True
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ask it to end, and see that it ends well."""
        self.address  # noqa: B018 it heeds signals once it has told where it answers
        self.look()
        self.mortal = True
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise Late(f"{self.told.stem} does not end: {self.words()}") from None
        assert 0 == status, self.words()


@dataclass
class Progress:
    """How many declarations have their receipt."""

    wanted: int
    look: Look = nobody
    count: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def one_more(self) -> None:
        """Another."""
        self.count += 1
        self.changed.set()

    async def reached(self, count: int) -> None:
        """Return once so many have been acknowledged. Raises Late, or Dead."""
        end = time.monotonic() + DEADLINE
        while self.count < min(count, self.wanted):
            self.look()
            if time.monotonic() > end:
                raise Late(f"{count} declarations: {self.count} of {self.wanted}")
            self.changed.clear()
            try:
                async with asyncio.timeout(LOOK):
                    await self.changed.wait()
            except TimeoutError:
                continue


@contextmanager
def limited(seconds: int, what: str) -> Iterator[None]:
    """The block fails after so many seconds, wherever it is by then: also in a call that waits without an end."""

    def over(_: int, __: FrameType | None) -> None:
        pytest.fail(f"{what} took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    # Again and again: somebody may take the first for a failure of his own.
    signal.setitimer(signal.ITIMER_REAL, seconds, LOOK * 20)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """For the conftest of a folder: each of its tests has its limit."""
    with limited(LIMIT, f"to prepare {item.name}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """As `pytest_runtest_setup`."""
    longer = item.get_closest_marker("takes")
    with limited(LIMIT if longer is None else max(LIMIT, *longer.args), item.name):
        return (yield)
