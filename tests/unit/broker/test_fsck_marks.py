"""What a clean fsck leaves for the next one: sealed, outside the database, and no more than a way to open less."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, select, update

from broker.maintenance.checks import marks, parts, sizes, sums
from broker.maintenance.checks.aside import Aside
from broker.maintenance.checks.ledger import Ledger
from broker.maintenance.checks.marks import FileMarks, Mark
from broker.maintenance.checks.snapshot import Snapshot
from broker.maintenance.checks.sums import Sums
from broker.ports import KeyKind
from broker.store.tables import (
    dead_letters,
    declarations,
    deliveries,
    ledger_entries,
    ledger_openings,
    ledger_tiles,
    submissions,
    withholdings,
)
from connectors.contract import Rejected
from consent.tables import consent_keys, grant_versions, grants
from schemas.names import Instant, Reason
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL, START, VOICE, YANN, World, world

KEY = bytes(range(32))
MARK = Mark("basis", {"1": "digest"}, 5, "trust", 6, 7, 8, "root", "rows", 1, bytearray(range(48)))


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


def test_a_mark_of_the_form_before_is_none(tmp_path: Path) -> None:
    """The first check after an upgrade looks at everything."""
    before = {
        "version": 1,
        "rests_on": "basis",
        "periods": {},
        "size": 8,
        "root": "root",
        "bits": 0,
        "parts": "00" * 32,
    }
    sealed = AESGCM(KEY).encrypt(bytes(12), json.dumps(before).encode(), b"unefois/fsck-mark/v1\x00")

    (tmp_path / "fsck").write_bytes(bytes(12) + sealed)

    assert kept(tmp_path).read() is None


def test_no_two_keys_hash_rows_alike_and_the_key_is_not_the_one_that_seals(tmp_path: Path) -> None:
    keys = {kept(tmp_path).sums_key, kept(tmp_path, bytes(32)).sums_key, KEY, bytes(32)}

    assert 4 == len(keys)


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


def other(value: Any) -> Any:
    """Another value of the same type."""
    if value is None:
        return b"\x01"
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01"
    return value + 1_000_003 if isinstance(value, int) else value + "x"


@contextmanager
def changed(database: Path, table: str, column: str) -> Iterator[None]:
    """One value of the oldest row is another one for a while; of entries the oldest sealed one."""
    where = "leaf IN (SELECT leaf FROM ledger_openings)" if table == "ledger_entries" else "1"
    connection = sqlite3.connect(database, isolation_level=None)
    asked = f'SELECT rowid, "{column}" FROM {table} WHERE {where} ORDER BY rowid LIMIT 1'
    (row, before) = connection.execute(asked).fetchone()
    update = f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?'
    connection.execute(update, (other(before), row))
    yield
    now = connection.execute(f'SELECT rowid FROM {table} WHERE "{column}" IS ?', (other(before),)).fetchone()
    connection.execute(update, (before, now[0]))
    connection.close()


async def digests(here: World) -> list[Any]:
    """Of every part, and of the entries that have their place."""
    fsck = here.home.fsck
    async with here.home.store.read() as tx:
        summed = await sums.taken(
            await Snapshot.of(tx), Sums(KEY, 0, {}, here.home.keyring.consent_epochs()), set().update
        )
        with Aside() as aside:
            ledger = Ledger(tx, fsck._verifier, fsck._macs, aside)
            assert [] == [one async for one in ledger.check() if one.check not in WALKED]
    return [*(summed.digest(number) for number in parts.numbers(0)), ledger.rows.digest()]


WALKED = {"ledger.gap", "ledger.tile", "ledger.checkpoint", "ledger.opening", "ledger.leaf", "ledger.mac"}


@pytest.mark.asyncio
async def test_whatever_column_of_an_old_row_is_changed_its_part_has_another_digest(tmp_path: Path) -> None:
    """Or the ledger has; but for an entry's bytes once it has its place: those are in the tree."""
    overlooked = []
    async with world(tmp_path) as here:
        await lived_in(here)
        (database,) = tmp_path.glob("*.db")
        clean = await digests(here)
        for table in TABLES:
            for column in table.columns:
                with changed(database, table.name, column.name):
                    overlooked += [f"{table.name}.{column.name}"] if clean == await digests(here) else []
        assert clean == await digests(here)

    assert ["ledger_entries.entry"] == overlooked


FOUND = {
    "grants": ("changed_at", "grants.head"),
    "grant_versions": ("changed_at", "grants.edited"),
    "consent_keys": ("wrapped", "consent-keys.damaged"),
    "declarations": ("envelope", "declarations.invalid"),
    "submissions": ("receipt", "submissions.receipt"),
    "deliveries": ("grant_version", "deliveries.edited"),
    "withholdings": ("reason", "withholdings.untold"),
    "dead_letters": ("code", "dead-letters.differs"),
    "ledger_openings": ("sealed", "ledger.opening"),
    "ledger_entries": ("entry", "ledger.leaf"),
}
"""A column of each table, and what finds its change."""


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_what_is_changed_in_what_was_clean_is_found_by_whoever_looks_at_changes_alone(tmp_path: Path) -> None:
    assert {table.name for table in TABLES} == set(FOUND)
    async with world(tmp_path) as here:
        await lived_in(here)
        (database,) = tmp_path.glob("*.db")
        for table, (column, expected) in FOUND.items():
            assert ([], 0) == ((clean := await here.home.fsck.look()).findings, clean.parts_anew)
            with changed(database, table, column):
                found = (await here.home.fsck.look()).findings
            assert expected in {one.check for one in found}, (table, column, found)


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
async def test_a_rotation_of_the_consent_keys_leaves_what_was_clean_as_it_was(here: World) -> None:
    """Once a week each living consent's key lies under another epoch: it is the same key, of the same consent."""
    await lived_in(here)
    await here.home.fsck.look(full=True)
    assert 0 < await here.home.epochs.rotate_consent()
    await here.home.ledger.sequence_unfinished()
    rotated = await here.home.fsck.look()

    assert ([], 0) == (rotated.findings, rotated.parts_anew)
    assert 1 < rotated.parts


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_a_key_that_is_put_back_under_an_epoch_that_is_gone_is_found(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await lived_in(here)
        async with here.home.store.read() as tx:
            before = (await tx.execute(select(consent_keys).limit(1))).one()
        await here.home.epochs.rotate_consent()
        await here.home.ledger.sequence_unfinished()
        assert [] == (await here.home.fsck.look()).findings
        async with here.home.store.begin() as tx:
            same = consent_keys.c.grant_id == before.grant_id
            await tx.execute(update(consent_keys).where(same).values(epoch=before.epoch, wrapped=before.wrapped))

        assert {"consent-keys.dead-epoch"} == {one.check for one in (await here.home.fsck.look()).findings}


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_what_a_verdict_rests_on_is_no_more_what_it_was_so_all_is_checked_anew(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await lived_in(here)
        (period,) = here.home.keys.names(KeyKind.OPENING)
        here.home.keys.destroy(KeyKind.OPENING, period)
        here.home.openings._periods.clear()

        assert {"ledger.opening"} <= {one.check for one in (await here.home.fsck.look()).findings}


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("since", "expected"), [(None, set()), (START, {"declarations.invalid"})])
async def test_a_key_that_ends_from_now_on_leaves_old_verdicts_as_they_were_and_one_that_ended_earlier_none(
    tmp_path: Path, since: Instant | None, expected: set[str]
) -> None:
    async with world(tmp_path) as here:
        await lived_in(here)
        here.clock.pass_(DAY)
        async with here.home.store.begin() as tx:
            kid = next(one.kid for one in (await here.home.lookup.directory(tx)).signing if one.party == PORTAL)
            await here.home.registrar.revoke_key(tx, kid, here.clock, since)
        found = await here.home.fsck.look()

    assert expected == {one.check for one in found.findings}
    assert (found.parts_anew == 0) is (since is None)


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_a_mark_of_a_longer_ledger_or_of_another_one_counts_for_nothing(here: World) -> None:
    await lived_in(here)
    kept = here.home.fsck._marks
    changes: tuple[dict[str, Any], ...] = (
        {"rests_on": "-"},
        {"size": 10_000},
        {"root": bytes(32).hex()},
        {"rows": bytes(32).hex()},
        {"rests_on": "-"},
        {"erased": 2**50},
    )
    for change in changes:
        await here.home.fsck.check()
        mark = kept.read()
        assert mark is not None
        kept.write(replace(mark, **change))
        anew = await here.home.fsck.look()
        assert ([], anew.parts) == (anew.findings, anew.parts_anew), change


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_where_the_mark_cannot_be_written_all_is_well_and_looked_at_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived_in(here)
    here.home.fsck._marks = FileMarks(here.folder / "no" / "such" / "fsck", KEY, bytes)
    for _ in range(2):
        anew = await here.home.fsck.look()
        assert ([], anew.parts) == (anew.findings, anew.parts_anew)


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_a_clean_mark_hides_nothing_that_is_wrong_elsewhere(tmp_path: Path) -> None:
    """It is of parts alone: all else is looked at each time."""
    async with world(tmp_path) as here:
        await lived_in(here)
        async with here.home.store.begin() as tx:
            await tx.execute(delete(ledger_tiles))

        assert {"ledger.tile"} == {one.check for one in (await here.home.fsck.look()).findings}
