"""What a part's digest is made of: every row about its citizens, wherever it lies in its table, and nothing else."""

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from broker.ledger.openings import PERIOD_MS
from broker.maintenance.checks import parts, sizes, sums
from broker.maintenance.checks.snapshot import Snapshot
from broker.maintenance.checks.sums import Sums
from broker.ports import KeyKind
from broker.store.tables import declarations, deliveries, ledger_entries, ledger_erased, ledger_openings
from consent.tables import consent_keys, grants
from tests.unit.broker.test_fsck_marks import TABLES, lived_in, other
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, VOICE, YANN, World, world

KEY = bytes(range(32))
SOMEBODY = bytes(32)
ROW = (SOMEBODY, 1, "a", b"b", None)


def of(*rows: Any, table: Any = grants, key: bytes = KEY, names: int | None = None, asked: Any = None) -> bytes:
    """The digest of the only part."""
    summed = Sums(key, 0, asked or {})
    assert [] == summed.add(table, rows, names)
    return summed.digest(0)


def test_rows_that_differ_in_a_value_in_its_type_or_in_their_table_have_other_digests() -> None:
    others: tuple[Any, ...] = (
        *([(SOMEBODY, 1, b"a", b"b", None)], [(SOMEBODY, 1, "a", "b", None)], [(SOMEBODY, 2, "a", b"b", None)]),
        *([(SOMEBODY, 1, "a"), (SOMEBODY, b"b", None)], [ROW, ROW], []),
    )

    assert of(ROW) == of(ROW)
    digests = {of(ROW), of(ROW, table=consent_keys), of(ROW, key=bytes(32)), *(of(*rows) for rows in others)}
    assert 9 == len(digests)


def test_what_a_named_subscription_asks_for_is_hashed_with_the_row() -> None:
    asked = [{}, {b"b": ("caf", "moved", "family")}, {b"b": ("caf", "moved", "health")}, {b"c": ("caf", "moved", "x")}]
    told = [of(ROW, table=deliveries, names=3, asked=one) for one in asked]

    assert told[0] == told[3]
    assert 3 == len(set(told))


def test_a_sum_is_of_rows_in_whatever_order_and_pages_they_come() -> None:
    rows = [(bytes([at % 7 * 36]) * 32, at, "x") for at in range(100)]
    summed = [Sums(KEY, 3, {}) for _ in range(2)]
    summed[0].add(grants, rows)
    for row in Random(7).sample(rows, 100):
        summed[1].add(grants, [row])

    first, second = ([one.digest(number) for number in parts.numbers(3)] for one in summed)
    assert first == second
    assert 7 < len(set(first)) + 1


def test_a_row_that_moves_changes_the_part_that_it_leaves_and_the_one_that_it_comes_to() -> None:
    def both(*subjects: bytes) -> list[bytes]:
        summed = Sums(KEY, 1, {})
        summed.add(grants, [(one, 1) for one in subjects])
        return [summed.digest(0), summed.digest(1)]

    low, high = bytes(32), b"\xff" + bytes(31)
    here, there = both(low, high), both(high, high)

    assert here[0] != there[0]
    assert here[1] != there[1]


EDGES = (
    b"\x00",
    b"\x00\x00",
    b"\x80",
    b"\x80\x00",
    b"\x80\x00\x00\x00",
    b"\x7f\xff\xff\xff\xff",
    b"\xff",
    b"\xff" * 32,
)


@pytest.mark.parametrize("bits", [0, 1, 5, 11, 24])
def test_a_citizen_is_hashed_into_the_part_that_is_read_for_them(bits: int) -> None:
    """Whatever the reference's length: as databases compare bytes."""
    chance = Random(bits)
    for subject in (*EDGES, *(chance.randbytes(chance.choice([1, 2, 3, 4, 5, 32])) for _ in range(500))):
        number = parts.number_of(subject, bits)
        assert number is not None
        low, high = parts._edge(number, bits) or b"\x00", parts._edge(number + 1, bits) or b"\xff" * 33
        assert low <= subject < high, subject.hex()


@pytest.mark.parametrize("subject", [None, b"", "text", 7, 1.5, b"\xff" * 33, b"\xff" * 40])
def test_what_is_no_reference_is_in_no_part(subject: Any) -> None:
    assert parts.number_of(subject, 4) is None
    assert [(subject, 1)] == Sums(KEY, 4, {}).add(grants, [(subject, 1)])


# ── a home ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and pages so small that a home of a day has several."""
    monkeypatch.setattr(sizes, "PART", 1)
    monkeypatch.setattr(sizes, "PAGE", 8)
    monkeypatch.setattr(sizes, "ROWS", 3)


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_of_a_ledger_that_grows_what_was_clean_stays_clean_wherever_its_pages_end(here: World) -> None:
    await lived_in(here)
    for _ in range(9):
        assert [] == (await here.home.fsck.look()).findings
        await here.declare(MOVED, here.moved(YANN))
        await here.home.ledger.sequence_unfinished()
        grown = await here.home.fsck.look()
        again = await here.home.fsck.look()
        assert ([], []) == (grown.findings, again.findings)
        assert 0 < grown.parts_anew < grown.parts or grown.parts != again.parts
        assert 0 == again.parts_anew


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_what_waited_for_its_place_is_looked_at_again_once_it_has_it(here: World) -> None:
    await lived_in(here)
    await here.home.ledger.sequence_unfinished()
    await here.declare(MOVED, here.moved(ELISE))
    waiting = await here.home.fsck.check()
    quiet = await here.home.fsck.look()
    here.clock.pass_(DAY)
    await here.home.ledger.sequence_unfinished()
    placed = await here.home.fsck.look()

    assert ([], 0) == (waiting, quiet.parts_anew)
    assert [] == placed.findings
    assert 0 < placed.parts_anew


async def an_entry_twice(here: World, **place: Any) -> None:
    """Another row with the leaf of an old sealed one."""
    async with here.home.store.begin() as tx:
        sealed = select(ledger_entries).where(ledger_entries.c.leaf.in_(select(ledger_openings.c.leaf)))
        row = (await tx.execute(sealed.order_by(ledger_entries.c.id).limit(1))).one()._asdict()
        last = (await tx.execute(select(func.max(ledger_entries.c.position)))).scalar_one()
        row |= {"id": 10_000, **{name: last + 1 if at == "next" else at for name, at in place.items()}}
        await tx.execute(insert(ledger_entries), row)


async def an_opened_one_erased(here: World) -> None:
    async with here.home.store.begin() as tx:
        leaf = (await tx.execute(select(ledger_openings.c.leaf).limit(1))).scalar_one()
        await tx.execute(insert(ledger_erased), {"leaf": leaf, "by": bytes(32)})


async def a_waiting_one_twice(here: World) -> None:
    await an_entry_twice(here, position=None)


async def one_twice_that_was_ordered(here: World) -> None:
    """The sequencer gives it a place, and signs: a copy has its original's MAC."""
    await an_entry_twice(here, position=None)
    here.clock.pass_(DAY)
    await here.home.ledger.sequence_unfinished()


async def one_twice_at_the_end(here: World) -> None:
    await an_entry_twice(here, position="next")


async def one_twice_aside(here: World) -> None:
    await an_entry_twice(here, position=-7)


@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "tampering",
    [an_opened_one_erased, a_waiting_one_twice, one_twice_that_was_ordered, one_twice_at_the_end, one_twice_aside],
)
async def test_what_a_hand_adds_about_an_old_entry_is_found_as_if_all_were_looked_at(
    tmp_path: Path, tampering: Callable[[World], Awaitable[None]]
) -> None:
    async with world(tmp_path) as here:
        await lived_in(here)
        assert [] == (await here.home.fsck.look()).findings
        await tampering(here)
        found = (await here.home.fsck.look()).findings

        assert found
        assert await here.home.fsck.check() == found


@pytest.mark.asyncio
async def test_a_place_that_is_no_number_stops_the_walk_where_it_lies_and_no_earlier(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await lived_in(here)
        assert [] == (await here.home.fsck.look()).findings
        (database,) = tmp_path.glob("*.db")
        with sqlite3.connect(database) as connection:
            connection.execute(
                "UPDATE ledger_entries SET position = 'x' WHERE id = (SELECT max(id) FROM ledger_entries)"
            )
        connection.close()
        found = {one.check for one in (await here.home.fsck.look()).findings}

    assert "fsck.stopped" in found
    assert "parties.edited" not in found  # what came before was read


@pytest.mark.asyncio
async def test_openings_that_were_erased_and_put_back_are_found_with_their_key(tmp_path: Path) -> None:
    async with world(tmp_path, ledger_opening_days=1095) as here:
        ended = await here.give(CAF, MOVED, FAMILY, {"subject"})
        await here.home.consents.revoke(ended.grant.id, VOICE)
        await here.step()
        assert [] == (await here.home.fsck.look()).findings
        async with here.home.store.read() as tx:
            kept = [row._asdict() for row in await tx.execute(select(ledger_openings))]
        keys = here.home.keys
        opened = {name: keys.read(KeyKind.OPENING, name) for name in keys.names(KeyKind.OPENING)}
        here.clock.pass_(1095 * DAY + 2 * PERIOD_MS)
        await here.home.pruning.prune()
        await here.home.ledger.sequence_unfinished()
        async with here.home.store.begin() as tx:
            await tx.execute(insert(ledger_openings), kept)
        for name in opened.keys() - keys.names(KeyKind.OPENING):
            keys.write(KeyKind.OPENING, name, opened[name])
        found = (await here.home.fsck.look()).findings

        assert "ledger.erasure" in {one.check for one in found}
        assert await here.home.fsck.check() == found


@pytest.mark.proof
@pytest.mark.asyncio
@pytest.mark.usefixtures("small")
async def test_a_change_of_any_value_is_told_as_if_all_were_looked_at(tmp_path: Path) -> None:
    """Of each table that parts are made of: some columns changed, and a row taken away, in rows of every age."""
    async with world(tmp_path) as here:
        await lived_in(here)
        (database,) = tmp_path.glob("*.db")
        connection = sqlite3.connect(database, isolation_level=None)
        clean = sqlite3.connect(":memory:")
        connection.backup(clean)
        chance, overlooked = Random(35), []
        for table in TABLES:
            for column in (*chance.sample(table.columns.keys(), 4), None):
                assert [] == (await here.home.fsck.look()).findings
                numbers = [one for (one,) in connection.execute(f"SELECT rowid FROM {table.name}")]
                number = chance.choice(numbers)
                if column is None:
                    connection.execute(f"DELETE FROM {table.name} WHERE rowid = ?", (number,))
                else:
                    asked = f'SELECT "{column}" FROM {table.name} WHERE rowid = ?'
                    ((before,),) = connection.execute(asked, (number,)).fetchall()
                    update = f'UPDATE {table.name} SET "{column}" = ? WHERE rowid = ?'
                    connection.execute(update, (other(before), number))
                found = (await here.home.fsck.look()).findings
                if found != await here.home.fsck.check():
                    overlooked.append((table.name, column))
                clean.backup(connection)
        connection.close()

    assert [] == overlooked


@pytest.mark.asyncio
async def test_each_part_knows_how_many_declarations_it_has(here: World) -> None:
    await lived_in(here)
    async with here.home.store.read() as tx:
        whose = (await tx.execute(select(declarations.c.subject))).scalars().all()
        summed = await sums.taken(await Snapshot.of(tx), Sums(KEY, 6, {}), set().update)

    counted = Counter(parts.number_of(one, 6) for one in whose)
    assert counted == {number: count for number in parts.numbers(6) if (count := summed.declared(number))}
