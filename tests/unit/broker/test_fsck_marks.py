"""What a clean fsck leaves for the next one: sealed, outside the database, and no more than a way to open less."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from broker.checks import marks, sizes
from broker.checks.marks import FileMarks, Mark, MemoryMarks
from broker.checks.parts import Part
from broker.ports import KeyKind
from broker.store.tables import (
    dead_letters,
    declarations,
    deliveries,
    ledger_entries,
    ledger_openings,
    submissions,
    withholdings,
)
from connectors.contract import Rejected
from consent.tables import consent_keys, grant_versions, grants
from schemas.names import Reason
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL, VOICE, YANN, World, world

KEY = bytes(range(32))
MARK = Mark("basis", {"1": "digest"}, 5, "trust", 6, 7, 8, "root", 1, bytearray(range(48)))


def kept(folder: Path, key: bytes = KEY) -> FileMarks:
    return FileMarks(folder / "fsck", key, bytes)


def test_a_mark_is_read_as_it_was_written_and_shows_nothing_on_the_way(tmp_path: Path) -> None:
    assert kept(tmp_path).read() is None

    kept(tmp_path).write(MARK)

    assert MARK == kept(tmp_path).read()
    assert bytes(range(16, 32)) == MARK.part(0)
    assert b"basis" not in (tmp_path / "fsck").read_bytes()
    assert 0o600 == (tmp_path / "fsck").stat().st_mode & 0o777


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw[:7], lambda raw: b""])
def test_a_mark_that_was_damaged_or_sealed_with_another_key_is_none(tmp_path: Path, damage: Any) -> None:
    kept(tmp_path).write(MARK)
    sealed = (tmp_path / "fsck").read_bytes()

    assert kept(tmp_path, bytes(32)).read() is None
    (tmp_path / "fsck").write_bytes(damage(sealed))
    assert kept(tmp_path).read() is None


def test_a_mark_of_other_checks_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path).write(MARK)

    monkeypatch.setattr(marks, "VERSION", marks.VERSION + 1)

    assert kept(tmp_path).read() is None


def test_rows_that_differ_in_a_value_in_its_type_or_in_their_list_have_other_digests() -> None:
    def of(**rows: Any) -> bytes:
        return Part(0, rows).digest({})

    same = of(grants=[(1, "a", b"b", None)])

    assert same == of(grants=[(1, "a", b"b", None)])
    others = ([(1, b"a", b"b", None)], [(1, "a", "b", None)], [(2, "a", b"b", None)], [(1, "a"), (b"b", None)], [])
    assert 7 == len({same, of(keys=[(1, "a", b"b", None)]), *(of(grants=rows) for rows in others)})


# ── a home ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def lived_in(here: World) -> None:
    """A row of each table that parts are made of, and two citizens."""
    for person in (ELISE, YANN):
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
    paused = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await here.home.consents.pause(paused.grant.id, VOICE)
    for person in (ELISE, YANN):
        await here.declare(MOVED, here.moved(person))
    leased = await here.inbox(CAF).lease(10)
    refused = Rejected("table.refused", Reason.SYSTEM_REFUSED)
    await here.inbox(CAF).acknowledge_all({leased[0].id: refused})
    await here.step()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "PART", 1)


TABLES = (
    *(grants, grant_versions, consent_keys, declarations, submissions, deliveries, withholdings, dead_letters),
    *(ledger_openings, ledger_entries),
)
NAMES = {column: name for name, column in (("rowid", "rowid"),)}


def other(value: Any) -> Any:
    """Another value of the same type."""
    if value is None:
        return b"\x01"
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01"
    return value + 1 if isinstance(value, int) else value + "x"


@contextmanager
def changed(database: Path, table: str, column: str) -> Iterator[bool]:
    """One value of the oldest row is another one for a while; False where the database does not have it."""
    connection = sqlite3.connect(database, isolation_level=None)
    (row, before) = connection.execute(f'SELECT rowid, "{column}" FROM {table} ORDER BY rowid LIMIT 1').fetchone()
    update = f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?'
    after = other(before)
    connection.execute(update, (after, row))
    yield True
    connection.execute(update, (before, after if column in {"seq", "id"} and isinstance(after, int) else row))
    connection.close()


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
async def test_whatever_column_of_an_old_row_is_changed_is_looked_at_anew(tmp_path: Path, table: Any) -> None:
    overlooked = []
    async with world(tmp_path) as here:
        await lived_in(here)
        (database,) = tmp_path.glob("*.db")
        clean = here.home.fsck._marks._read()
        for column in table.columns:
            with changed(database, table.name, column.name):
                found = await here.home.fsck.look()
                if not found.findings and not found.parts_anew:
                    overlooked.append(column.name)
            assert isinstance(here.home.fsck._marks, MemoryMarks)
            here.home.fsck._marks._kept = clean
        assert ([], 0) == ((again := await here.home.fsck.look()).findings, again.parts_anew)

    assert [] == overlooked


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_what_has_not_changed_is_not_opened_again_and_what_has_is(here: World) -> None:
    await lived_in(here)
    whole = await here.home.fsck.look(full=True)
    again = await here.home.fsck.look()
    await here.declare(MOVED, here.moved(YANN))
    await here.home.ledger.sequence_unfinished()
    newer = await here.home.fsck.look()

    assert (2, 2) == (whole.declarations, whole.declarations_anew)
    assert (whole.parts, 0) == (again.parts, again.parts_anew)
    assert ([], 3) == (newer.findings, newer.declarations)
    assert 0 < newer.parts_anew < newer.parts


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_what_a_verdict_rests_on_is_no_more_what_it_was_so_all_is_checked_anew(here: World) -> None:
    await lived_in(here)
    (period,) = here.home.keys.names(KeyKind.OPENING)
    here.home.keys.destroy(KeyKind.OPENING, period)
    here.home.openings._periods.clear()

    assert {"ledger.opening"} <= {one.check for one in (await here.home.fsck.look()).findings}


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_a_key_that_is_revoked_from_now_on_leaves_all_as_it_was_and_since_earlier_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await lived_in(here)
        async with here.home.store.read() as tx:
            kid = next(one.kid for one in (await here.home.lookup.directory(tx)).signing if one.party == PORTAL)
        here.clock.pass_(DAY)
        await here.home.parties.rotate(PORTAL, DAY)
        await here.home.ledger.sequence_unfinished()
        assert ([], 0) == ((found := await here.home.fsck.look()).findings, found.declarations_anew)

        async with here.home.store.begin() as tx:
            await here.home.registrar.revoke_key(tx, kid, here.clock, here.moved_at if False else None)
