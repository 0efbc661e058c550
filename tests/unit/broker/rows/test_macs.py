"""MACs of rows: what the machine wrote counts as it is; what was edited, inserted or copied counts for nothing."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.ports import KeyKind, KeyStore
from broker.store.rows import macs
from broker.store.rows.adopting import NOTHING, adopt_macs
from broker.store.rows.macs import COLUMNS, RowMacs
from broker.store.tables import declarations, ledger_entries, submissions
from schemas.errors import Refused
from tests.memory import MemoryKeys
from tests.world import CAF, FAMILY, MOVED, World, world

SECRET = bytes(range(32))
VALUES: dict[type, tuple[Any, Any]] = {str: ("one", "other"), bytes: (b"one", b"other"), int: (1, 2)}


def row_of(table: str) -> dict[str, Any]:
    return {name: VALUES[kind][0] for name, kind in COLUMNS[table]}


def test_what_is_covered_is_written_down_for_ever() -> None:
    made = RowMacs(SECRET)
    told = {table: sha256(made.of(table, row_of(table))).hexdigest()[:16] for table in COLUMNS}

    assert PINNED == told


PINNED = {
    "submissions": "dbf61a406c083b56",
    "declarations": "d2749d65c58fa679",
    "ledger_entries": "a0e63878625cde3f",
    "deliveries": "4db7df1a8d6e1dee",
    "objections": "6f815e2d5072e576",
    "repairs": "a4f32001539ccf34",
    "retractions": "c1629c1bfb2ee4ef",
    "ledger_checkpoints": "d18a977abdbdc612",
    "channels": "cf45c2406d352e4c",
    "acted_for": "4244352e4fe83313",
    "households": "698ef38f39a4ca54",
    "messages": "a97de1bf793a6deb",
    "citizen_sessions": "4035566f438923ee",
    "citizen_accounts": "7ddec3ca51429c76",
    "citizen_codes": "bb71d5600adbe7c8",
    "citizen_drafts": "6a3cc9d79705a0e4",
    "told_already": "9b4a5d1df262a6b9",
}


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, listed in COLUMNS.items() for name, _ in listed])
def test_a_row_with_one_value_changed_does_not_count(table: str, name: str) -> None:
    made = RowMacs(SECRET)
    row = made.made(table, row_of(table))
    other = VALUES[dict(COLUMNS[table])[name]][1]

    assert made.holds(table, row)
    assert not made.holds(table, {**row, name: other})
    assert not made.holds(table, {**row, name: None})


@pytest.mark.parametrize("mac", [None, b"", bytes(32), bytes(40), "text"])
def test_a_row_without_its_mac_does_not_count(mac: object) -> None:
    assert not RowMacs(SECRET).holds("submissions", {**row_of("submissions"), "mac": mac})


def test_another_homes_row_does_not_count_and_without_a_secret_none_does() -> None:
    row = RowMacs(bytes(32)).made("submissions", row_of("submissions"))

    assert not RowMacs(SECRET).holds("submissions", row)
    assert not RowMacs(None).holds("submissions", row)
    with pytest.raises(Refused, match=r"rows.not-signed"):
        RowMacs(None).of("submissions", row)


@pytest.mark.asyncio
async def test_a_copy_of_an_entry_gets_no_place_and_the_others_go_on(tmp_path: Path) -> None:
    async with world(tmp_path, stepped=True) as here:
        given = await here.give(CAF, MOVED, FAMILY, ["subject"])
        async with here.home.store.begin() as tx:
            mine = ledger_entries.c.leaf == given.entry
            row = dict((await tx.execute(select(ledger_entries).where(mine))).one()._mapping)
            tx.add(ledger_entries, {name: row[name] for name in ("leaf", "entry", "window", "chain", "mac")})

        assert 1 == await here.home.ledger.sequence_unfinished()
        async with here.home.store.read() as tx:
            places = (await tx.execute(select(ledger_entries.c.position).where(mine))).scalars().all()
        assert [True, False] == sorted((place < 0 for place in places), reverse=True)
        await here.home.ledger.prove(given.entry)
        assert {"ledger.not-ours"} == {finding.check for finding in await here.home.fsck.check()}


def of_before(keys: KeyStore) -> MemoryKeys:
    """The keys of a home of before."""
    made = MemoryKeys()
    for kind in KeyKind:
        for name in keys.names(kind):
            if (kind, name) != (KeyKind.ROWS, macs.NAME):
                made.write(kind, name, keys.read(kind, name))
    return made


Edit = Callable[[World], dict[str, Any]]
EDITS: dict[str, Edit] = {
    "nothing": lambda here: {},
    "another citizen's": lambda here: {"subject": bytes(32)},
    "routed later": lambda here: {"routed_at": here.clock() + 1},
    "another type": lambda here: {"event_type": "fr.unefois.bank-account.changed.v1"},
    "another manifest": lambda here: {"manifest_digest": bytes(32)},
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.asyncio
async def test_a_home_of_before_gets_its_macs_where_the_ledger_says_the_same(tmp_path: Path, edit: str) -> None:
    async with world(tmp_path, stepped=True) as here:
        await here.declare(MOVED, here.moved())
        home, keys = here.home, of_before(here.home.keys)
        values = EDITS[edit](here)
        async with home.store.begin() as tx:
            for table in (submissions, declarations):
                await tx.execute(update(table).values(mac=None))
            if values:
                await tx.execute(update(declarations).values(**values))
        async with home.store.read() as tx:
            told = [facts for _, facts in await home.openings.all(tx)]

        done = await adopt_macs(home.store, keys, told, home.identity, home.entropy)

        made = macs.macs_of(keys)
        async with home.store.read() as tx:
            rows = [(await tx.execute(select(table))).one() for table in (submissions, declarations)]
        counts = [
            made.holds(name, row._mapping) for name, row in zip(("submissions", "declarations"), rows, strict=True)
        ]
        assert [not values] * 2 == counts
        assert ([] if not values else ["declarations", "submissions"]) == [
            one.details["table"] for one in done.unsigned
        ]
        assert NOTHING == await adopt_macs(home.store, keys, told, home.identity, home.entropy)
