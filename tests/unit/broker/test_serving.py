"""Serving: each role does its part, waits for what is away, ends what it has begun, and stops for a contradiction."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select

from broker.flow.deliveries import DeliveryState
from broker.flow.offsets import LostOwnership
from broker.flow.router import Router
from broker.log.sql import SqlLog
from broker.observability import observe
from broker.runtime import serving as servings
from broker.runtime import turns
from broker.runtime.hosting import Hosted
from broker.runtime.membership import PartitionMembership, living
from broker.runtime.serving import Serving
from broker.runtime.turns import Turn
from broker.setup import preflight
from broker.setup.roles import ProcessRole
from broker.store import migrate
from broker.store.tables import directory_notes
from broker.store.wake_signal import DECLARED, declared_in
from connectors.contract import Applied
from schemas import topics
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.facts import FactKind
from tests.announced import announce
from tests.two_agencies import count, two_agencies
from tests.unit.broker.test_repairs import delivery, repaired, unknown
from tests.world import CAF, FAMILY, MINUTE, MOVED, PORTAL, RENNES, TOWN, World

pytestmark = pytest.mark.asyncio


async def _well(_: object) -> None:
    return


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)
    monkeypatch.setattr(preflight, "check", _well)  # the world's tables are made without a revision
    monkeypatch.setattr(migrate, "check", _well)
    monkeypatch.setattr(servings, "TROUBLE_MS", (1, 1))
    monkeypatch.setattr(servings, "IDLE_MS", (1, 1))


@pytest.fixture
def agencies(tmp_path: Path) -> tuple[Hosted, ...]:
    return two_agencies(tmp_path)


async def waiting(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(RENNES, MOVED, TOWN, ["subject"])
    await here.declare(MOVED, here.moved(), route=False)


class Running:
    """A process of one role, in a task; stops when a turn is what a test waits for."""

    def __init__(self, here: World, role: ProcessRole, agencies: tuple[Hosted, ...] = ()) -> None:
        self.stop = asyncio.Event()
        self.heard: list[tuple[ProcessRole, Turn]] = []
        self.until: Callable[[Turn], bool] = lambda _: False
        self.serving = Serving(here.home, role, agencies, self.stop, self._hear)

    def _hear(self, role: ProcessRole, done: Turn) -> None:
        self.heard.append((role, done))
        if self.until(done):
            self.stop.set()

    def total(self, name: str) -> int:
        return sum(getattr(done, name) for _, done in self.heard)

    @property
    def codes(self) -> list[str]:
        return [trouble.code for _, done in self.heard for trouble in done.troubles]

    async def run(self, until: Callable[[Turn], bool]) -> None:
        self.until = until
        await self.serving.run()


async def test_all_roles_bring_what_was_declared_to_everybody_and_into_the_ledger(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path
) -> None:
    await waiting(here)
    running = Running(here, ProcessRole.ALL, agencies)

    await running.run(lambda _: running.total("applied") == 2)

    assert (1, 2) == (running.total("routed"), running.total("applied"))
    assert (1, 1) == (count(tmp_path, "caf"), count(tmp_path, "rennes"))
    assert 0 == await here.home.ledger.sequence_unfinished()


async def test_a_router_routes_and_leaves_the_rest_to_others(here: World, agencies: tuple[Hosted, ...]) -> None:
    await waiting(here)
    running = Running(here, ProcessRole.ROUTER, agencies)

    await running.run(lambda done: done.routed > 0)

    assert {(ProcessRole.ROUTER, 1, 0, 0)} == {
        (role, one.routed, one.applied, one.sequenced) for role, one in running.heard
    }
    assert [] == await here.entries(FactKind.APPLIED)


async def test_what_has_a_pace_is_not_begun_again_before_however_often_it_is_woken(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servings, "KEEP_SECONDS", 3_600)
    monkeypatch.setattr(servings, "ORDER_SECONDS", 0)
    kept: list[int] = []

    async def keep(*_: object) -> None:
        kept.append(1)

    async def sequence(_: object, done: Turn) -> None:
        await asyncio.sleep(0)
        done.sequenced = 1  # each wakes the others

    monkeypatch.setattr(turns, "keep", keep)
    monkeypatch.setattr(turns, "sequence", sequence)
    running = Running(here, ProcessRole.ALL)

    await running.run(lambda _: running.total("sequenced") == 9)

    assert [1] == kept


async def test_each_other_role_does_its_own_part_and_no_other(here: World, agencies: tuple[Hosted, ...]) -> None:
    await waiting(here)
    await here.home.router.route()
    here.clock.pass_(2 * MINUTE)  # the window of all that is over

    ledger = Running(here, ProcessRole.LEDGER, agencies)
    await ledger.run(lambda done: done.sequenced > 0)
    assert [] == await here.entries(FactKind.APPLIED)

    connectors = Running(here, ProcessRole.CONNECTORS, agencies)
    await connectors.run(lambda _: connectors.total("applied") == 2)
    assert 0 == connectors.total("sequenced")
    assert {ProcessRole.CONNECTORS} == {role for role, _ in connectors.heard}


class _ForOthers(SqlLog):
    for_others = True


async def served_by_topic(here: World, monkeypatch: pytest.MonkeyPatch, log: SqlLog | None = None) -> None:
    """CAF and Rennes are served by topics, and both have a delivery that waits."""
    monkeypatch.setattr(here.home.relay, "_log", log or _ForOthers(here.home.store, here.clock, {}, 1))
    async with here.home.store.begin() as tx:
        for party in (CAF, RENNES):
            await here.home.topic_users.allow(
                tx, party, party.rpartition(":")[2], receives=True, declares=False, at=here.clock()
            )
    await waiting(here)
    await here.home.router.route()


async def test_a_relay_puts_what_waits_on_the_topics_of_those_who_are_served_so(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served_by_topic(here, monkeypatch)
    running = Running(here, ProcessRole.RELAY)

    await running.run(lambda _: running.total("relayed") == 2)

    assert {ProcessRole.RELAY} == {role for role, _ in running.heard}
    assert [1, 1] == [await here.home.log.end(topics.deliveries(party), 0) for party in (CAF, RENNES)]


async def test_an_intake_takes_what_sources_wrote_to_their_topics(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _ForOthers(here.home.store, here.clock, {}, 1)
    monkeypatch.setattr(here.home.inlet, "_log", log)
    async with here.home.store.begin() as tx:
        users = here.home.topic_users
        await users.allow(tx, PORTAL, "portal", receives=False, declares=True, at=here.clock())
    await log.append(topics.declarations(PORTAL), b"k", b"noise", {})
    running = Running(here, ProcessRole.INTAKE)

    await running.run(lambda _: running.total("taken") == 1)

    assert 1 == len(await here.entries(FactKind.REFUSED))


async def test_a_topic_that_is_away_keeps_no_other_agency_waiting_and_the_process_is_not_ready(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Half(_ForOthers):
        async def _partitions(self, topic: str) -> int:
            if topic == topics.deliveries(CAF):
                raise Unavailable("kafka.topic-missing", topic=topic)
            return 1

    await served_by_topic(here, monkeypatch, Half(here.home.store, here.clock, {}, 1))
    running = Running(here, ProcessRole.RELAY)

    await running.run(lambda _: running.total("relayed") == 1)

    assert ["kafka.topic-missing"] == running.codes
    assert ["kafka.topic-missing"] == [one.code for one in running.serving.troubles]
    assert 1 == await here.home.log.end(topics.deliveries(RENNES), 0)


async def test_a_router_that_ends_leaves_its_share_to_the_others_at_once(here: World) -> None:
    await waiting(here)
    running = Running(here, ProcessRole.ROUTER)

    await running.run(lambda done: done.routed > 0)

    async with here.home.store.read() as tx:
        assert () == await living(tx, here.clock())


async def test_a_database_that_is_away_at_the_start_is_waited_for_and_told_once(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(here)
    away = [Unavailable("store.away", error="closed")] * 3
    running = Running(here, ProcessRole.ROUTER)
    seen: list[tuple[bool, list[str]]] = []

    async def check(_: object) -> None:
        seen.append((running.serving.begun, [one.code for one in running.serving.troubles]))
        if away:
            raise away.pop()

    monkeypatch.setattr(preflight, "check", check)

    await running.run(lambda done: done.routed > 0)

    assert ["store.away"] == running.codes
    assert [(False, []), *[(False, ["store.away"])] * 3] == seen
    assert () == running.serving.troubles


async def test_asked_to_stop_while_it_waits_for_the_database_it_ends(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_: object) -> None:
        raise Unavailable("store.away", error="closed")

    monkeypatch.setattr(preflight, "check", check)
    monkeypatch.setattr(servings, "TROUBLE_MS", (3_600_000, 3_600_000))

    await Running(here, ProcessRole.ALL).run(lambda done: bool(done.troubles))


async def test_a_database_that_is_not_ours_is_refused_at_the_start(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_: object) -> None:
        raise Refused("store.newer-version", found="9")

    monkeypatch.setattr(preflight, "check", check)

    with pytest.raises(Refused, match=r"store\.newer-version"):
        await Running(here, ProcessRole.ALL).run(lambda _: False)


async def test_what_goes_away_while_it_runs_is_told_once_and_waited_for(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(here)
    ordinary, left = Router.route_batch, [Unavailable("store.away", error="closed")] * 3

    async def route_batch(self: Router, partition: int, offset: int) -> int:
        if left:
            raise left.pop()
        return await ordinary(self, partition, offset)

    monkeypatch.setattr(Router, "route_batch", route_batch)
    running = Running(here, ProcessRole.ROUTER)

    await running.run(lambda done: done.routed > 0)

    assert ["store.away"] == running.codes


async def test_a_wait_doubles_up_to_its_bound_and_begins_anew_after_what_worked(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servings, "TROUBLE_MS", (1, 6))
    serving = Running(here, ProcessRole.ROUTER).serving
    (loop,), waits = serving._loops, []
    trouble = turns.trouble(None, Unavailable("store.locked"))

    for done in (*[Turn(troubles=[trouble])] * 4, Turn(routed=1), Turn(troubles=[trouble])):
        await serving._wait(loop, done)
        waits.append(loop.wait_ms)

    assert [1, 2, 4, 6, 0, 1] == waits


async def test_a_partition_in_trouble_or_anothers_does_not_keep_the_others_waiting(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def route_batch(_: Router, partition: int, _offset: int) -> int:
        asked.append(partition)
        if partition == 0:
            raise LostOwnership("router.lost-ownership", partition=0)
        if partition == 1:
            raise Unavailable("kafka.timeout")
        return 1

    monkeypatch.setattr(Router, "route_batch", route_batch)
    monkeypatch.setattr(Router, "waiting", _every_one)
    monkeypatch.setattr(type(here.home.log), "partitions", _four)
    running = Running(here, ProcessRole.ROUTER)

    await running.run(lambda done: bool(done.troubles))

    assert [0, 1, 2, 3] == asked
    assert (["kafka.timeout"], 2) == (running.codes, running.total("routed"))


async def _four(*_: object) -> int:
    return 4


async def _every_one(_: Router, partitions: Sequence[int]) -> dict[int, int]:
    return dict.fromkeys(partitions, 0)


async def test_a_router_is_woken_by_what_comes_into_its_own_partitions(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Sequence[int]] = []

    async def waiting(_: Router, partitions: Sequence[int]) -> dict[int, int]:
        looks.append(partitions)
        return {}

    async def share(*_: object) -> tuple[int, ...]:
        return (1, 3)

    monkeypatch.setattr(servings, "IDLE_MS", (3_600_000, 3_600_000))
    monkeypatch.setattr(Router, "waiting", waiting)
    monkeypatch.setattr(PartitionMembership, "share", share)
    monkeypatch.setattr(type(here.home.log), "partitions", _four)
    running = Running(here, ProcessRole.ROUTER)
    (loop,), bell = running.serving._loops, here.home.store.wake_signal
    task = asyncio.create_task(running.serving._repeat(loop))
    while loop.wait_ms == 0:
        await asyncio.sleep(0)
    bell.ring(DECLARED)  # before it knew its share, it heard all; since then, its own
    await _settle(looks, 2)
    for ours, rung in ((0, 2), (1, 3), (2, 3), (3, 4)):
        bell.ring(declared_in(ours))
        await _settle(looks, rung)
    running.stop.set()
    loop.wake.set()
    await task


async def _settle(looks: list[Sequence[int]], expected: int) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert expected == len(looks)


async def test_a_contradiction_stops_every_loop_and_comes_out(
    here: World, agencies: tuple[Hosted, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def route_batch(*_: object) -> int:
        raise Corrupt("store.corrupt")

    monkeypatch.setattr(Router, "route_batch", route_batch)
    monkeypatch.setattr(Router, "waiting", _every_one)
    running = Running(here, ProcessRole.ALL, agencies)

    with pytest.raises(Corrupt):
        await running.run(lambda _: False)

    assert running.stop.is_set()


async def test_asked_to_stop_it_ends_the_step_that_it_has_begun(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await waiting(here)
    ordinary = Router.route_batch
    running = Running(here, ProcessRole.ROUTER)

    async def route_batch(self: Router, partition: int, offset: int) -> int:
        running.stop.set()
        return await ordinary(self, partition, offset)

    monkeypatch.setattr(Router, "route_batch", route_batch)

    await running.run(lambda _: False)

    assert 1 == running.total("routed")


async def test_what_one_loop_moved_wakes_the_others(
    here: World, agencies: tuple[Hosted, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servings, "IDLE_MS", (3_600_000, 3_600_000))
    running = Running(here, ProcessRole.ALL, agencies)
    ordinary: Callable[..., Awaitable[None]] = turns.deliver
    idle = asyncio.Event()

    async def deliver(*arguments: Any) -> None:
        await ordinary(*arguments)
        idle.set()

    monkeypatch.setattr(turns, "deliver", deliver)
    task = asyncio.create_task(running.run(lambda _: running.total("applied") == 2))
    await idle.wait()
    await waiting(here)
    running.serving._loops[0].wake.set()  # the router alone is told

    await task

    assert 2 == running.total("applied")


async def test_a_router_that_idles_is_woken_by_what_is_declared(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servings, "IDLE_MS", (3_600_000, 3_600_000))
    running = Running(here, ProcessRole.ROUTER)
    (loop,) = running.serving._loops
    serving = asyncio.create_task(running.run(lambda done: done.routed > 0))
    while not loop.wait_ms:
        await asyncio.sleep(0)

    await waiting(here)

    await asyncio.wait_for(serving, 20)
    assert 1 == running.total("routed")


async def test_who_is_in_trouble_is_not_hurried_by_what_comes_in(
    here: World, agencies: tuple[Hosted, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servings, "TROUBLE_MS", (3_600_000, 3_600_000))
    asked = []

    async def away(*_: object) -> None:
        asked.append(True)
        raise Unavailable("store.away", error="closed")

    monkeypatch.setattr(turns, "deliver", away)
    running = Running(here, ProcessRole.CONNECTORS, agencies[:1])
    (loop,) = running.serving._loops
    serving = asyncio.create_task(running.run(lambda _: False))
    while not loop.trouble:
        await asyncio.sleep(0)
    await waiting(here)
    await here.home.router.route()

    assert loop.wake.is_set()
    running.stop.set()
    await asyncio.wait_for(serving, 20)
    assert [True] == asked


@pytest.mark.parametrize("code", ["store.newer-version", "store.moved"])
@pytest.mark.parametrize("role", [ProcessRole.API, ProcessRole.ROUTER])
async def test_a_process_whose_database_went_on_without_it_stops(
    here: World, monkeypatch: pytest.MonkeyPatch, role: ProcessRole, code: str
) -> None:
    answers = iter([Unavailable("store.unavailable"), None, Refused(code)])

    async def check(_: object) -> None:
        fault = next(answers)
        if fault is not None:
            raise fault

    monkeypatch.setattr(migrate, "check", check)
    monkeypatch.setattr(servings, "REVISION_SECONDS", 0)
    running = Running(here, role)

    with pytest.raises(Refused) as refused:
        await running.run(lambda _: False)

    assert code == refused.value.code
    assert running.serving.stopping


async def test_a_trouble_and_its_end_stand_in_the_log_once_each(
    here: World,
    agencies: tuple[Hosted, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    ends = iter([Unavailable("store.away", error="closed"), Unavailable("store.away", error="closed"), None])
    well = asyncio.Event()

    async def step(*_: object) -> None:
        fault = next(ends, None)
        if fault is not None:
            raise fault
        well.set()

    observe.configure("info", here.clock, sys.stderr)
    request.addfinalizer(structlog.reset_defaults)
    monkeypatch.setattr(turns, "deliver", step)
    running = Running(here, ProcessRole.CONNECTORS, agencies[:1])
    serving = asyncio.create_task(running.run(lambda _: False))
    await asyncio.wait_for(well.wait(), 20)
    running.stop.set()
    await asyncio.wait_for(serving, 20)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    said = [one for one in told if one["event"].startswith("role.")]
    assert ["role.begun", "role.trouble", "role.well-again"] == [one["event"] for one in said]
    assert ("connectors", "store.away", agencies[0].party) == tuple(said[1][name] for name in ("role", "code", "party"))


async def test_the_ledgers_own_process_signs_the_directory_for_those_that_have_no_key(here: World) -> None:
    async def noted() -> bool:
        async with here.home.store.read() as tx:
            return (await tx.execute(select(directory_notes))).first() is not None

    async def until_noted() -> None:
        while not await noted():
            await asyncio.sleep(0)

    assert not await noted()
    running = Running(here, ProcessRole.LEDGER)
    serving = asyncio.create_task(running.run(lambda _: False))

    await asyncio.wait_for(until_noted(), 20)

    running.stop.set()
    await asyncio.wait_for(serving, 20)


async def test_the_router_tries_again_what_was_repaired(here: World) -> None:
    declared, first = await unknown(here)
    await repaired(here, declared)
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, Applied())

    await Running(here, ProcessRole.ROUTER).run(lambda done: done.routed > 0)

    assert DeliveryState.PENDING is (await delivery(here, first)).state
