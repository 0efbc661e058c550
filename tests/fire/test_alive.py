"""Tests of the tests: who waits for a process that died, or for ever, is told so."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fire import alive
from tests.fire.alive import Dead, Late, Progress, Serving, limited, until


@pytest.fixture
def dying(tmp_path: Path) -> Serving:
    """A process that ends with its last words."""
    told = tmp_path / "serve-0-router.out"
    told.touch()
    with told.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit('its last words')"], stderr=err)
    process.wait()
    return Serving(process, told)


async def never() -> bool:
    return False


def test_a_wait_for_somebody_who_died_ends_at_once_with_the_last_words(dying: Serving) -> None:
    for waiting in (until(never, "all is well", dying.look), Progress(1, dying.look).reached(1)):
        with pytest.raises(Dead, match="serve-0-router ended with 1: its last words"):
            asyncio.run(waiting)
    for call in (dying.kill, lambda: dying.address):
        with pytest.raises(AssertionError, match="its last words"):
            call()


def test_who_was_killed_or_may_die_is_not_missed(dying: Serving) -> None:
    dying.mortal = True
    dying.look()


def test_a_wait_has_its_end_though_everybody_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "DEADLINE", 0)
    for waiting in (until(never, "all is well"), Progress(1).reached(1)):
        with pytest.raises(Late):
            asyncio.run(waiting)


def test_a_block_that_hangs_is_ended_wherever_it_hangs() -> None:
    with pytest.raises(pytest.fail.Exception, match="the wait took longer than 1 s"), limited(1, "the wait"):
        signal.pause()
