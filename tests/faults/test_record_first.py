"""The record comes first: what an answer rests on is committed with it, as another process sees it, before the answer.

`test_seeded_weaknesses.py` writes the entry after the answer, or beside the effect: these tests turn red.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from connectors.contract import Applied
from schemas.entry import Entry
from schemas.facts import FactKind
from tests.world import CAF, FAMILY, MOVED, VOICE, World, world

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A broker on a SQLite file of its own, where a trigger and a look from outside are cheap."""
    async with world(tmp_path, stepped=True) as made:
        yield made
        await made.step()


def told(here: World) -> list[tuple[FactKind, bytes]]:
    """What another process reads in the ledger at this moment: kind and leaf hash, in order."""
    with closing(sqlite3.connect(f"file:{here.folder / 'unefois.db'}?mode=ro", uri=True)) as other:
        rows = other.execute(
            "SELECT entry, kind, leaf FROM ledger_entries LEFT JOIN ledger_openings USING (leaf) ORDER BY id"
        ).fetchall()
    entries = [(Entry.decode(entry).open, kind, leaf) for entry, kind, leaf in rows]
    return [(FactKind(kind) if facts is None else facts.kind, leaf) for facts, kind, leaf in entries]


def states(here: World) -> list[tuple[object, ...]]:
    """What another process reads of deliveries and grants."""
    with closing(sqlite3.connect(f"file:{here.folder / 'unefois.db'}?mode=ro", uri=True)) as other:
        deliveries = other.execute("SELECT id, state, released_at, done_at FROM deliveries ORDER BY seq").fetchall()
        grants = other.execute("SELECT id, version, status FROM grants ORDER BY id").fetchall()
        keys = other.execute("SELECT grant_id FROM consent_keys ORDER BY grant_id").fetchall()
    return [*deliveries, *grants, *keys]


async def test_a_release_is_in_the_ledger_when_its_keys_leave(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    await here.declare(MOVED, here.moved())

    pulled = await here.inbox(CAF).pull(1)
    at_the_answer = told(here)

    (delivery,) = await here.open(CAF, pulled)
    assert (FactKind.RELEASED, bytes(delivery.ledger_entry)) in at_the_answer


async def test_a_revocation_is_in_the_ledger_when_it_is_acknowledged(here: World) -> None:
    granted = await here.give(CAF, MOVED, FAMILY, ("subject",))

    recorded = await here.home.consents.revoke(granted.grant.id, VOICE)
    at_the_answer = told(here)

    assert (FactKind.REVOKED, bytes(recorded.entry)) == at_the_answer[-1]


async def test_an_application_is_in_the_ledger_when_it_is_acknowledged(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))

    await here.inbox(CAF).acknowledge(delivery.delivery_id, Applied(None))

    assert FactKind.APPLIED == told(here)[-1][0]


async def test_what_the_ledger_cannot_take_does_not_happen(here: World) -> None:
    """The ledger refuses every row, as a broken one would: no effect without its entry, whatever the effect is."""
    granted = await here.give(CAF, MOVED, FAMILY, ("subject",))
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    await here.home.ledger.sequence_unfinished()
    before = states(here), told(here)
    await _trigger(here, "CREATE TRIGGER broken BEFORE INSERT ON ledger_entries BEGIN SELECT RAISE(ABORT, 'no'); END")

    for call in (
        lambda: here.inbox(CAF).release([leased.id]),
        lambda: here.home.consents.revoke(granted.grant.id, VOICE),
        lambda: here.home.consents.pause(granted.grant.id, VOICE),
        lambda: here.give(CAF, MOVED, FAMILY, ("new_address",)),
        lambda: _end(here),
    ):
        with pytest.raises(IntegrityError):
            await call()

    assert before == (states(here), told(here))
    await _trigger(here, "DROP TRIGGER broken")
    assert 1 == len((await here.inbox(CAF).release([leased.id])).locked)


async def _end(here: World) -> None:
    home = here.home
    async with home.store.begin() as tx:
        await home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, home.clock())


async def _trigger(here: World, statement: str) -> None:
    async with here.home.store.begin() as tx:
        await tx.execute(text(statement))
