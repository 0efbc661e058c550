"""Killed at each mark of the sender, with a real mail server at the other end: each piece of news has one Message-ID in
the mailbox, whatever was killed, and none is missing.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.messages.sending import LEASE_MS
from broker.messages.ways import Written
from broker.observability.crashpoints import VARIABLE
from tests.faults import day
from tests.services.mailserver import Post
from tests.told import by_mail, held
from tests.world import CAF, FAMILY, MOVED, World

pytestmark = pytest.mark.more
NEWS = 3
"""A channel was added, a declaration received, and applied."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which there is something to tell."""
    folder = tmp_path_factory.mktemp("told") / "home"
    folder.mkdir(mode=0o700)

    async def live(here: World) -> None:
        await held(here, by_mail(here, Written(folder / "never")))
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.declare(MOVED, here.moved())
        await here.take(CAF)

    async def build() -> None:
        await day.found(folder)
        async with day.opened(folder, 1) as here:
            await live(here)

    asyncio.run(build())
    return folder


def step(home: Path, port: int, late: int = 0, mark: str | None = None) -> int:
    """How it ended."""
    armed = {} if mark is None else {VARIABLE: mark}
    command = [sys.executable, "-m", "tests.faults.teller", str(home), str(port), str(late)]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, env={**os.environ, **armed}, check=False, stderr=subprocess.DEVNULL)
    return ended.returncode


@pytest.mark.parametrize(
    ("mark", "passage"),
    [("messages.planned", 1), *((mark, each) for mark in ("messages.claimed", "messages.noted") for each in (1, NEWS))],
)
def test_each_news_is_one_message_id_in_the_mailbox(lived: Path, tmp_path: Path, mark: str, passage: int) -> None:
    home = tmp_path / "home"
    shutil.copytree(lived, home)
    with Post() as post:
        assert -signal.SIGKILL == step(home, post.port, mark=f"{mark}:{passage}")
        assert 0 == step(home, post.port, 2 * LEASE_MS)
        assert 0 == step(home, post.port, 4 * LEASE_MS)
        letters = [post.letters.get_nowait() for _ in range(post.letters.qsize())]

    ids = [letter["Message-ID"] for letter in letters]
    assert NEWS == len(set(ids))
    assert NEWS + (mark == "messages.noted") == len(ids)
