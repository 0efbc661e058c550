"""Pruning: what has served its time goes, what is still needed stays, and fsck has nothing to say."""

from collections.abc import Mapping

import pytest
from sqlalchemy import select, update

from broker.access.credentials import Scope
from broker.flow.router import TOPIC
from broker.ledger.sequencer import size_of
from broker.maintenance import pruning
from broker.maintenance.retention import KEPT
from broker.store.access_tables import api_tokens
from broker.store.tables import dead_letters, deliveries, ledger_checkpoints, log_record
from connectors.contract import Applied, Rejected
from consent.tables import metadata
from schemas.names import Instant, Reason
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, VOICE, YANN, World

pytestmark = pytest.mark.asyncio

LONG = 3661 * DAY
"""Longer than any retention may be."""


async def pruned(here: World) -> Mapping[str, int]:
    """One pass, which took what it had announced; then nothing may be wrong, and nothing is left to take."""
    announced = (await here.home.pruning.look()).rows
    done = (await here.home.pruning.prune()).rows
    assert announced == done
    await here.step()
    assert 0 == (await here.home.pruning.prune()).rows["deliveries"]
    return done


async def offsets(here: World) -> list[int]:
    """The offsets of the log that are there."""
    async with here.home.store.read() as tx:
        return list((await tx.execute(select(log_record.c.offset).order_by(log_record.c.offset))).scalars())


async def locks(here: World) -> list[bool]:
    """Of each delivery, whether it still has its lock."""
    async with here.home.store.read() as tx:
        return [
            bool(row) for row in (await tx.execute(select(deliveries.c.locked).order_by(deliveries.c.seq))).scalars()
        ]


async def test_every_table_says_how_long_it_keeps_what_it_holds(here: World) -> None:
    assert sorted(metadata.tables) == sorted(KEPT), "broker/maintenance/retention.py: a line for each table"
    assert here.home.pruning.tables == {name for name, kept in KEPT.items() if "pruning" in kept.removes}


async def test_on_an_ordinary_day_nothing_goes(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.home.ledger.sequence_unfinished()

    assert {0} == set((await pruned(here)).values())


async def test_log_records_go_when_they_are_read_and_old_but_the_newest(here: World) -> None:
    for number in range(3):
        await here.declare(MOVED, here.moved(ELISE | {"birthdate": f"197{number}-01-01"}))
    days = here.home.settings.log_retention_days
    here.clock.pass_(days * DAY - 1)
    assert 0 == (await pruned(here))["log_record"]
    here.clock.pass_(1)
    assert 2 == (await pruned(here))["log_record"]
    assert [2] == await offsets(here)
    await here.declare(MOVED, here.moved(YANN))
    assert [2, 3] == await offsets(here)
    await here.step()


@pytest.mark.databases
async def test_log_records_that_the_router_has_not_read_stay(here: World) -> None:
    for number in range(5):
        await here.declare(MOVED, here.moved(ELISE | {"birthdate": f"197{number}-01-01"}), route=number == 0)
    await here.home.router.route_batch(0, 1, limit=1)
    here.clock.pass_(LONG)
    assert 2 == (await pruned(here))["log_record"]
    assert [2, 3, 4] == await offsets(here)
    await here.home.router.route()
    await here.step()
    assert 2 == (await pruned(here))["log_record"]
    assert 5 == await here.home.log.end(TOPIC, 0)


async def test_a_delivery_loses_its_lock_some_time_after_its_end(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.declare(MOVED, here.moved(YANN))
    here.clock.pass_(here.home.settings.sealed_retention_days * DAY - 1)
    assert 0 == (await pruned(here))["deliveries"]
    here.clock.pass_(1)
    assert 1 == (await pruned(here))["deliveries"]
    assert [False, True] == await locks(here)  # the other one still waits for CAF
    assert 1 == len(await here.take(CAF))
    await here.step()


async def test_what_was_withheld_while_paused_goes_out_after_its_lock_was_pruned(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.home.consents.pause(given.grant.id, VOICE)
    here.clock.pass_(100 * DAY)
    assert 1 == (await pruned(here))["deliveries"]
    await here.home.consents.resume(given.grant.id, VOICE)
    await here.step()
    assert [True] == await locks(here)


@pytest.mark.databases
async def test_a_dead_letter_goes_when_it_was_replayed_and_never_while_it_waits(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    inbox = here.inbox(CAF)
    (one,) = await here.open(CAF, await inbox.pull(1))
    await inbox.acknowledge(one.delivery_id, Rejected("table.refused", Reason.SYSTEM_REFUSED))
    here.clock.pass_(100 * DAY)
    assert (1, 0) == ((done := await pruned(here))["deliveries"], done["dead_letters"])
    (letter,) = await here.home.dead_letters.list()
    assert await here.home.dead_letters.replay(letter.id) is None  # its lock was pruned: it gets another
    assert 1 == len(await here.take(CAF))
    here.clock.pass_(LONG)
    assert 1 == (await pruned(here))["dead_letters"]


@pytest.mark.databases
async def test_a_token_goes_some_time_after_it_expired(here: World) -> None:
    home, at = here.home, here.clock()
    async with home.store.begin() as tx:
        await home.credentials.issue(tx, CAF, [Scope.READ], expires_at=Instant(at + DAY), at=at)
    here.clock.pass_((home.settings.token_retention_days + 1) * DAY - 1)
    assert 0 == (await pruned(here))["api_tokens"]
    here.clock.pass_(1)
    assert 1 == (await pruned(here))["api_tokens"]
    async with home.store.read() as tx:
        assert [] == (await tx.execute(select(api_tokens))).all()


@pytest.mark.databases
async def test_a_checkpoint_goes_but_the_newest_and_its_size_is_proven_all_the_same(here: World) -> None:
    for number in range(3):
        await here.give(CAF, MOVED, FAMILY, ["subject"], person=ELISE | {"birthdate": f"197{number}-01-01"})
        await here.home.ledger.sequence_unfinished()
    here.clock.pass_(LONG)
    async with here.home.store.read() as tx:
        sizes = list((await tx.execute(select(ledger_checkpoints.c.size))).scalars())
    done = await pruned(here)
    assert len(sizes) - 1 == done["ledger_checkpoints"] > 1
    async with here.home.store.read() as tx:
        (left,) = (await tx.execute(select(ledger_checkpoints.c.size))).scalars()
        assert left == await size_of(tx) >= max(sizes)


async def test_one_pass_takes_so_many_batches_and_says_that_more_wait(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for number in range(6):
        await here.declare(MOVED, here.moved(ELISE | {"birthdate": f"197{number}-01-01"}))
    here.clock.pass_(LONG)
    first, then = await here.home.pruning.prune(batches=2), await here.home.pruning.prune(batches=2)
    assert (4, True, 1, False) == (first.rows["log_record"], first.more, then.rows["log_record"], then.more)


async def test_a_delivery_on_its_way_without_its_lock_is_told(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.begin() as tx:
        lock = (await tx.execute(select(deliveries.c.locked))).scalar_one()
        await tx.execute(update(deliveries).values(locked=b""))
    assert {"deliveries.unreadable", "deliveries.lock"} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(update(deliveries).values(locked=lock))


async def test_what_was_acknowledged_meanwhile_is_not_acknowledged_again(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    (one,) = await here.take(CAF)
    here.clock.pass_(LONG)
    await pruned(here)
    assert [] == await here.take(CAF)
    await here.inbox(CAF).acknowledge(one.delivery_id, Applied())
    await here.step()
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(dead_letters))).all()
