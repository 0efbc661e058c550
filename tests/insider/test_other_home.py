"""Another home's database, or an empty one, behind the same key store: refused before a key is touched."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.settings.choices import load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from tests.announced import announce
from tests.insider.open import KEYS_GONE, LET_IN
from tests.insider.watch import settle
from tests.program import Program
from tests.services.databases import Databases
from tests.world import Clock, World, populate

COMMANDS = {
    "init": ("init",),
    "run": ("run --once",),
    "migrate, then run": ("migrate", "run --once"),
    "config check, then run": ("config check", "run --once"),
    "rotate": ("epoch rotate consent",),
    "fsck": ("fsck",),
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two homes with a cast of their own, made once."""

    async def furnish(folder: Path) -> None:
        await create_home(load(home=folder))
        async with open_home(load(home=folder)) as home:
            await populate(World(home, Clock(), folder))
            await home.ledger.sequence_unfinished()

    folders = {name: tmp_path_factory.mktemp("two") / name for name in ("ours", "theirs")}
    for folder in folders.values():
        asyncio.run(furnish(folder))
    return folders


@pytest.fixture
def ours(two: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Our own home, and whoever works at its command line."""
    shutil.copytree(two["ours"], tmp_path / "home")
    monkeypatch.setenv("UNEFOIS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LANG", "C.UTF-8")
    announce(monkeypatch)
    return Program(tmp_path / "home")


def keys_of(program: Program) -> set[str]:
    """Every file of the key store."""
    folder = load(home=program.home).keys_folder
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def tries(ours: Program, attack: str, commands: tuple[str, ...]) -> None:
    """Give the commands, and look what became of the keys: none may go, whatever else is said."""
    before = keys_of(ours)
    ended = [ours.run(*command.split(" ")).exit_code for command in commands]
    gained = {KEYS_GONE} if before - keys_of(ours) else set()
    if ended[-1] == 0:  # a foreign database is no home of ours: nothing is done in it
        gained.add(LET_IN)
    settle(attack, gained)


@pytest.mark.parametrize("told", COMMANDS)
def test_another_homes_database_in_the_place_of_ours_is_refused_and_costs_no_key(
    ours: Program, two: dict[str, Path], told: str
) -> None:
    shutil.copyfile(two["theirs"] / "unefois.db", ours.home / "unefois.db")

    tries(ours, f"another home's database: {told}", COMMANDS[told])


@pytest.mark.parametrize("told", COMMANDS)
def test_an_empty_database_in_the_place_of_ours_is_refused_and_costs_no_key(ours: Program, told: str) -> None:
    (ours.home / "unefois.db").unlink()

    tries(ours, f"empty database: {told}", COMMANDS[told])


@pytest.fixture
def empty_server(postgres: Databases) -> Iterator[str]:
    """The URL of a database without tables on a server."""
    name = asyncio.run(postgres._made("template1"))
    yield postgres.url(name)
    asyncio.run(postgres._dropped(name))


@pytest.mark.parametrize("told", COMMANDS)
def test_an_empty_database_on_a_server_in_the_place_of_ours_is_refused_and_costs_no_key(
    ours: Program, empty_server: str, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """One word in the settings is wrong: the home looks at another server."""
    monkeypatch.setenv("UNEFOIS_DATABASE_URL", empty_server)

    tries(ours, f"empty database on a server: {told}", COMMANDS[told])


def test_our_own_database_is_refused_nowhere(ours: Program) -> None:
    before = keys_of(ours)

    assert [0, 0, 0] == [ours.run(*command.split(" ")).exit_code for command in ("init", "fsck", "run --once")]
    assert set() == before - keys_of(ours)
