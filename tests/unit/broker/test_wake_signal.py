"""The bell: heard by who waits, in this process and in others; relied on by nobody."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import make_url

from broker.store.engine import Store
from broker.store.wake_signal import DECLARED, PLANNED, WakeSignal, planned_for
from schemas.names import PartyId
from tests.services.databases import Databases, plain
from tests.world import CAF, CPAM, FAMILY, MOVED, World

SECONDS = 20
"""A ring that does not come fails a test after so long."""


def test_a_ring_wakes_who_waits_for_that_name_and_nobody_else() -> None:
    bell = WakeSignal()
    with bell.heard(planned_for(CAF)) as caf, bell.heard(planned_for(CPAM)) as cpam, bell.heard(PLANNED) as every:
        bell.ring(planned_for(CAF))

        assert (True, False, True) == (caf.is_set(), cpam.is_set(), every.is_set())


def test_who_has_gone_is_not_kept() -> None:
    bell = WakeSignal()
    with bell.heard(DECLARED) as first, bell.heard(DECLARED):
        pass
    bell.ring(DECLARED)

    assert (False, {}) == (first.is_set(), dict(bell._waiting))


@pytest.mark.asyncio
async def test_a_transaction_rings_after_its_commit_and_never_when_it_is_rolled_back(here: World) -> None:
    store = here.home.store
    with store.wake_signal.heard(DECLARED) as rung:
        with suppress(KeyError):
            async with store.begin() as tx:
                tx.ring(DECLARED)
                raise KeyError
        assert not rung.is_set()
        async with store.begin() as tx:
            tx.ring(DECLARED)
            assert not rung.is_set()
        assert rung.is_set()


@pytest.mark.asyncio
async def test_who_only_reads_has_nothing_to_ring_for(here: World) -> None:
    async with here.home.store.read() as tx:
        with pytest.raises(ValueError, match="reading"):
            tx.ring(DECLARED)


@pytest.mark.asyncio
async def test_a_declaration_rings_for_the_router_and_a_delivery_for_its_recipient(here: World) -> None:
    bell = here.home.store.wake_signal
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    with bell.heard(DECLARED) as router, bell.heard(planned_for(CAF)) as caf, bell.heard(planned_for(CPAM)) as cpam:
        await here.declare(MOVED, here.moved(), route=False)
        assert (True, False) == (router.is_set(), caf.is_set())
        await here.home.router.route()

        assert (True, False) == (caf.is_set(), cpam.is_set())


@pytest.mark.asyncio
async def test_other_processes_of_a_postgresql_hear_it_and_again_after_their_connection_was_lost(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.store.postgres_wake_signal.LOST_SECONDS", 0)
    party = PartyId("urn:unefois:x")
    async with postgres.empty() as url, Store.open(url) as one, Store.open(url) as other:
        watcher = await asyncpg.connect(plain(make_url(url)))
        with other.wake_signal.heard(planned_for(party)) as rung:
            listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            for _ in range(2):
                async with asyncio.timeout(SECONDS):
                    while (pid := await watcher.fetchval(listening)) is None:
                        pass
                rung.clear()
                async with asyncio.timeout(SECONDS):
                    while not rung.is_set():
                        one.wake_signal.ring(planned_for(party))
                        await asyncio.sleep(0)
                await watcher.execute("SELECT pg_terminate_backend($1)", pid)
        await watcher.close()


@pytest.mark.asyncio
async def test_the_last_ring_is_sent_before_the_store_closes(postgres: Databases) -> None:
    async with postgres.empty() as url, Store.open(url) as other:
        with other.wake_signal.heard(DECLARED) as rung:
            watcher = await asyncpg.connect(plain(make_url(url)))
            listening = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            async with asyncio.timeout(SECONDS):
                while await watcher.fetchval(listening) is None:
                    pass
            await watcher.close()
            async with Store.open(url) as one:
                one.wake_signal.ring(DECLARED)
            await asyncio.wait_for(rung.wait(), SECONDS)


@pytest.mark.asyncio
async def test_a_server_that_is_away_costs_the_rings_and_nothing_else() -> None:
    async with Store.open("postgresql+asyncpg://nobody@127.0.0.1:1/none") as store:
        with store.wake_signal.heard(DECLARED) as rung:
            store.wake_signal.ring(DECLARED)
            assert rung.is_set()
