"""A broker at whose door something is wrong, and the program with a home of its own; what they say is listened to."""

import asyncio
import io
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from broker.observability import observe
from broker.settings.choices import load
from broker.settings.home_file import write_settings
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from tests.announced import announce
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.rows import COLLECTED
from tests.bad_input.telling import CITIZEN, MOVE, leaks
from tests.world import START, Clock, World, populate, world


def pytest_itemcollected(item: pytest.Item) -> None:
    """For `test_rows.py`, which would otherwise have to ask a process of its own."""
    item.session.stash.setdefault(COLLECTED, set()).add(item.nodeid)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """English, no home and no setting, unless a test says otherwise."""
    for name in [name for name in os.environ if name.startswith("UNEFOIS_") or name in {"LC_ALL", "LC_MESSAGES"}]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")
    announce(monkeypatch)


@pytest.fixture(autouse=True)
def said() -> Iterator[io.StringIO]:
    """Every line that the machine logs, from `debug` on; no value of the citizen may be in one."""
    stream, root = io.StringIO(), logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    observe.configure("debug", lambda: START, stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    assert [] == leaks(stream.getvalue())


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A furnished broker and its citizen's consents; fsck is clean before and after."""
    async with world(tmp_path) as made:
        opened = Door(made)
        await opened.allow()
        await made.step()
        yield opened
        await made.step()


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the portal, two funds, a town, and their approved subscriptions."""
    folder = tmp_path_factory.mktemp("bad-input") / "home"

    async def furnish() -> None:
        write_settings(folder, {})
        await create_home(load(home=folder))
        async with open_home(load(home=folder)) as home:
            await populate(World(home, Clock(), folder))
            await home.ledger.sequence_unfinished()

    asyncio.run(furnish())
    return folder


@pytest.fixture
def person(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody at the command line, with a furnished home and the citizen's move in a file."""
    shutil.copytree(furnished, tmp_path / "home")
    monkeypatch.setenv("UNEFOIS_HOME", str(tmp_path / "home"))
    record = {
        "subject": CITIZEN,
        "capacity": "self",
        "effective_date": "2026-12-01",
        "old_commune": "44109",
        "new_commune": "35238",
        "new_country": "99100",
        "household": [],
        "vehicles": [],
        "occupants": 1,
        **MOVE,
    }
    (tmp_path / "move.json").write_text(json.dumps(record))
    return Person(tmp_path / "home", tmp_path / "move.json")
