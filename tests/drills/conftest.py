"""An operator with a furnished home, which is made once and copied for each drill."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from broker.settings.choices import load
from broker.setup import opening
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from tests.docs.pages import Reader
from tests.drills.runbook import GIB, Operator
from tests.program import Program
from tests.world import Clock, World, populate

SETTINGS = """\
address = "1 rue d'Essai, Rennes"
contact = "contact@unefois.example"
ledger_origin = "log.example.fr/drill"
hpke_suite = "x25519"
log_partitions = 1
listen = "none"
declarations_per_minute = 20
"""


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portal, two funds that pull, a town; their approved subscriptions."""
    folder = tmp_path_factory.mktemp("drills") / "unefois"
    folder.mkdir(mode=0o700)
    (folder / "unefois.toml").write_text(SETTINGS)
    (folder / "unefois.toml").chmod(0o600)

    async def furnish() -> None:
        clock = Clock()
        await create_home(load(home=folder), clock)
        async with open_home(load(home=folder), clock) as home:
            here = World(home, clock, folder)
            await populate(here)
            await here.step()

    asyncio.run(furnish())
    return folder


@pytest.fixture
def operator(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """An hour later, with the page, and a disk with room."""
    shutil.copytree(furnished, tmp_path / "unefois")
    clock = Clock()
    clock.pass_(3_600_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (100 * GIB, 40 * GIB, 60 * GIB))
    monkeypatch.setattr(opening, "time", SimpleNamespace(time_ns=lambda: clock.now * 1_000_000))
    for name in [name for name in os.environ if name.startswith(("UNEFOIS_", "LC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UNEFOIS_HOME", str(tmp_path / "unefois"))
    monkeypatch.setenv("LANG", "C")
    with Reader.reading(tmp_path) as reader:
        yield Operator(tmp_path, reader, clock, Program(tmp_path / "unefois"))
