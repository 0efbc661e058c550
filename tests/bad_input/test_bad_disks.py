"""A disk that is full and a database that somebody holds: the call says so, keeps nothing, and succeeds afterwards."""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text

from broker.settings.choices import load
from broker.setup.opening import open_home
from broker.store.engine import Store
from schemas.errors import Unavailable
from schemas.facts import FactKind
from schemas.names import GrantId
from tests.announced import site
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.state import files_of, rows_of, unchanged
from tests.bad_input.telling import LANGUAGES, assert_told, leaks, sentences_of
from tests.world import CAF, FAMILY, MOVED, PORTAL, VOICE, world

ROOT = Path(__file__).parents[2]
UNLIMITED = 2**31


@asynccontextmanager
async def full(store: Store) -> AsyncIterator[None]:
    """The database cannot grow by a page. What is in the write-ahead log already stays."""

    async def limit(pages: int | str) -> None:
        async with store.begin() as tx:
            count = (await tx.execute(text("PRAGMA page_count"))).scalar_one()
            await tx.execute(text(f"PRAGMA max_page_count={count if pages == 'now' else pages}"))

    await limit("now")
    yield
    await limit(UNLIMITED)


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Another process, as it were, is writing and does not end."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest_asyncio.fixture
async def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """A broker that does not wait for a lock."""
    monkeypatch.setattr("broker.store.sqlite.BUSY_SECONDS", 0)
    async with world(tmp_path) as made:
        opened = Door(made)
        await opened.allow()
        await made.step()
        yield opened
        await made.step()


async def until_full(door: Door) -> tuple[int, Unavailable]:
    """Declare until the disk is full. Returns how many were answered, and how the next one was."""
    for answered in range(1000):
        try:
            await door.here.home.desk.declare(PORTAL, MOVED, door.move())
        except Unavailable as fault:
            return answered, fault
    raise AssertionError("the disk never became full")


@pytest.mark.asyncio
async def test_a_full_disk_is_told_keeps_what_was_answered_and_takes_the_same_again_afterwards(door: Door) -> None:
    here, envelope = door.here, await door.envelope()
    async with full(here.home.store):
        answered, fault = await until_full(door)
        assert_told(fault, "store.disk-full", "")
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await here.home.intake.accept(envelope)
            assert "store.disk-full" == caught.value.code

    assert await here.home.intake.accept(envelope)

    assert answered + 1 == await here.home.router.route() == len(await here.entries(FactKind.RECEIVED))
    taken = 0
    while found := await here.take(CAF):
        taken += len(found)
    assert answered + 1 == taken


async def fill_up(door: Door, grant: GrantId) -> None:
    """Use up the last free bytes of the pages that are there already, by small changes."""
    consents = door.here.home.consents
    for _ in range(100):
        try:
            await consents.pause(grant, VOICE)
            await consents.resume(grant, VOICE)
        except Unavailable:
            return
    raise AssertionError("small changes always found room")


@pytest.mark.asyncio
async def test_a_revocation_on_a_full_disk_is_not_acknowledged_and_takes_effect_when_it_is(door: Door) -> None:
    here = door.here
    recorded = await here.give(CAF, MOVED, FAMILY, ("subject",))
    async with full(here.home.store):
        await until_full(door)
        await fill_up(door, recorded.grant.id)
        await door.fails(here.home.consents.revoke(recorded.grant.id, VOICE), "store.disk-full", kind=Unavailable)

    await here.home.consents.revoke(recorded.grant.id, VOICE)

    assert 1 == len(await here.entries(FactKind.REVOKED))


@pytest.mark.asyncio
async def test_a_locked_database_is_told_at_every_door_and_nothing_is_lost(impatient: Door) -> None:
    here, home = impatient.here, impatient.here.home
    envelope = await impatient.envelope()
    recorded = await here.give(CAF, MOVED, FAMILY, ("effective_date",))
    calls = (
        lambda: home.intake.accept(envelope),
        lambda: home.desk.declare(PORTAL, MOVED, impatient.move()),
        lambda: home.consents.revoke(recorded.grant.id, VOICE),
        lambda: here.inbox(CAF).pull(10),
        home.ledger.sequence,
    )
    with held(impatient.database):
        for call in calls[:3]:
            await impatient.fails(call(), "store.locked", kind=Unavailable)

    await impatient.arrives(lambda: home.intake.accept(envelope))

    await home.desk.declare(PORTAL, MOVED, impatient.move())
    await home.router.route()
    with held(impatient.database):
        for call in calls[3:]:
            await impatient.fails(call(), "store.locked", kind=Unavailable)
    assert 1 == len(await here.take(CAF))
    await home.consents.revoke(recorded.grant.id, VOICE)


def test_a_person_before_a_locked_database_is_told_to_try_again(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.program.told("fsck")
    with monkeypatch.context() as patched:
        patched.setattr("broker.store.sqlite.BUSY_SECONDS", 0)
        with held(person.database):
            person.is_told(("declare", person.file, "--type", "address.changed"), "store.locked", exit_code=4)
            assert person.program.told("party", "list")["parties"]  # who only looks is not kept waiting

    person.declares()


@pytest.mark.proof
def test_a_person_whose_disk_is_full_is_told_loses_nothing_and_goes_on_when_there_is_room(
    person: Person, tmp_path: Path
) -> None:
    """No file may grow: the operating system refuses as it does on a full disk (EFBIG for ENOSPC)."""
    person.program.told("fsck")
    before = rows_of(person.database)

    for language in LANGUAGES:
        done = _with_no_room(person, tmp_path, "declare", person.file, "--type", "address.changed", "--lang", language)
        assert 4 == done.returncode, done.stderr
        code = done.stderr.split()[0]
        assert code in {"store.disk-full", "store.away", "store.cannot-open"}
        fault = Unavailable(code, error=done.stderr.partition("(")[2].partition(")")[0])
        wrong, remedy = sentences_of(fault, language)
        assert f"  {wrong}\n  {remedy}\n" == done.stderr.partition("\n")[2]
        assert [] == leaks(done.stderr + done.stdout)
    assert before == rows_of(person.database)

    person.declares()


@pytest.mark.asyncio
async def test_a_key_store_whose_disk_is_full_is_told_before_the_directory_names_a_key(person: Person) -> None:
    async with open_home(load(home=person.home)) as home:
        before = files_of(person.home)
        with unchanged(person.database), pytest.raises(Unavailable) as caught, no_room():
            await home.parties.rotate(CAF, 0)
        assert_told(caught.value, "keys.away", "")
        assert before == files_of(person.home)

        assert await home.parties.rotate(CAF, 0)


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _with_no_room(person: Person, tmp_path: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    folder = tmp_path / "site"
    path = os.pathsep.join((str(ROOT), str(folder if folder.exists() else site(folder))))
    kept = {name: told for name, told in os.environ.items() if not name.startswith(("LC_", "COV"))}
    return subprocess.run(
        [sys.executable, "-B", "-m", "broker", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=kept | {"PYTHONPATH": path, "UNEFOIS_HOME": str(person.home)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        check=False,
    )
