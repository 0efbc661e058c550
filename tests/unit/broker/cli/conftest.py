"""A home with a small cast, made once and copied for each test."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from broker.settings.choices import load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from tests.announced import announce
from tests.program import Program, elise_in, move_in
from tests.world import Clock, World, populate


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with portal, two funds, a town, and their approved subscriptions."""
    folder = tmp_path_factory.mktemp("furnished") / "home"

    async def furnish() -> None:
        await create_home(load(home=folder))
        async with open_home(load(home=folder)) as home:
            await populate(World(home, Clock(), folder))
            await home.ledger.sequence_unfinished()

    asyncio.run(furnish())
    return folder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """English, and no home, unless a test says otherwise."""
    for name in [name for name in os.environ if name.startswith("UNEFOIS_") or name in {"LC_ALL", "LC_MESSAGES"}]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")
    announce(monkeypatch)


@pytest.fixture
def unefois(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program with a furnished home of its own."""
    shutil.copytree(furnished, tmp_path / "home")
    monkeypatch.setenv("UNEFOIS_HOME", str(tmp_path / "home"))
    return Program(tmp_path / "home")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The program with a home that nobody has made."""
    monkeypatch.setenv("UNEFOIS_HOME", str(tmp_path / "home"))
    return Program(tmp_path / "home")


@pytest.fixture
def elise(tmp_path: Path) -> Path:
    """A file with a citizen's pivot identity."""
    return elise_in(tmp_path)


@pytest.fixture
def move(tmp_path: Path) -> Path:
    """A file with a declaration of a move, without the fields that may be left out."""
    return move_in(tmp_path)
