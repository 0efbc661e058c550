"""A declaration is cancelled, or stopped while it is held, while the agency asks for its keys: no release after either.

Without the lock of the recipients' mailboxes in `Retracting._write` the first two tests are red on PostgreSQL.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from broker.flow.mailbox import Due
from broker.services import retractions
from broker.store.tables import deliveries, ledger_openings
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, DeliveryId, GrantId, Instant, uuid_text
from schemas.retractions import CANCELLED, RECALLED
from tests.faults.races import Edge, breaches
from tests.world import BANK, CAF, CPAM, FAMILY, HEALTH, MOVED, PORTAL, World, world

ROUNDS = int(os.environ.get("UNEFOIS_RACE_EACH", "0")) or int(os.environ.get("UNEFOIS_RACE_ROUNDS", "200")) // 5
"""A round here is a whole declaration."""
HOURS = 3_600_000
pytestmark = [pytest.mark.asyncio, pytest.mark.proof, pytest.mark.databases]


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker in which the CAF may hear of moves and bank accounts, the CPAM of moves."""
    async with world(tmp_path, **{**home_settings, "bank_hold_hours": 72}) as made:
        await made.give(CAF, MOVED, FAMILY, ["new_address"])
        await made.give(CPAM, MOVED, HEALTH, ["subject"])
        await made.give(CAF, BANK, FAMILY, ["iban"])
        yield made


async def released(here: World) -> int:
    """How many releases the ledger tells of by now."""
    async with here.home.store.read() as tx:
        told = select(func.count()).where(ledger_openings.c.kind == FactKind.RELEASED.value)
        return int((await tx.execute(told)).scalar_one())


async def race(
    here: World,
    stop: Callable[[], Awaitable[object]],
    due: Due,
    edge: Edge,
    *,
    held: bool = False,
    at_request: Callable[[], None] = lambda: None,
) -> int:
    """What stops a delivery and two requests for its keys begin about together. Returns how many of these opened it;
    none may that begins after the stop was acknowledged. `held`: it was not handed out, so it is pulled twice.
    """

    async def ask(*, pull: bool) -> bool:
        await edge.reached(by_end=False)
        at_request()
        if pull or held:
            return bool((await here.home.gate.pull(CAF, [due])).locked)
        return bool((await here.home.gate.release(CAF, [due.id])).locked)

    async def stopped() -> int:
        await edge.reached(by_end=True)
        await stop()
        return await released(here)

    first, acknowledged, second = await asyncio.gather(ask(pull=False), stopped(), ask(pull=True))
    assert acknowledged == await released(here), "committed after the acknowledgement"
    edge.moved(first + second)
    assert not (await here.home.gate.pull(CAF, [due])).locked, "opened after the acknowledgement"
    return first + second


async def test_nothing_is_released_after_a_declaration_was_cancelled(here: World) -> None:
    edge, outcomes = Edge(1), Counter[int]()
    for _ in range(ROUNDS):
        of = (await here.declare(MOVED, here.moved())).declaration_id
        (leased,) = await here.inbox(CAF).lease(1)
        here.clock.pass_(60_000_000)  # the lease is over, so that it may be pulled
        due = Due(leased.id, leased.grant_id)

        record = {"declaration": uuid_text(of), "reason": "mistake"}
        notice = await here.home.desk.envelope(PORTAL, CANCELLED, record, corrects=of, subject=here.subject())
        opened = await race(here, lambda notice=notice: here.home.intake.accept(notice), due, edge)  # type: ignore[misc]

        outcomes[opened] += 1
        await here.home.router.route()
        assert bool(opened) is bool(await here.take(CAF)), "who got it is told, and nobody else"

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()


async def test_nothing_is_released_after_a_hold_was_stopped(here: World) -> None:
    edge, outcomes, me = Edge(2), Counter[int](), here.subject()
    for _ in range(ROUNDS):
        of = (await here.declare(BANK, here.bank())).declaration_id
        end = here.clock.now + 72 * HOURS
        here.clock.now = Instant(end - 1)

        async def stop(of: DeclarationId = of) -> None:
            try:
                await retractions.stop(here.home, me, of, given_by="self")
            except Refused as fault:
                if fault.code != "holds.over":
                    raise
                await retractions.cancel(here.home, of, reason="mistake")

        def over(end: int = end) -> None:
            here.clock.now = Instant(end)

        outcomes[await race(here, stop, await newest(here), edge, held=True, at_request=over)] += 1
        await here.home.router.route()
        await here.take(CAF)

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()


async def newest(here: World) -> Due:
    """The delivery that was planned last."""
    async with here.home.store.read() as tx:
        row = (await tx.execute(select(deliveries).order_by(deliveries.c.seq.desc()).limit(1))).one()
    return Due(DeliveryId(row.id), GrantId(row.grant_id))


async def test_a_recall_and_its_stop_leave_one_of_two_states(here: World) -> None:
    edge, me, outcomes = Edge(3), here.subject(), Counter[bool]()
    for _ in range(ROUNDS):
        of = (await here.declare(MOVED, here.moved())).declaration_id
        assert 1 == len(await here.take(CAF))
        done = await retractions.recall(here.home, of, reason="fraud")
        notice = done.retraction.notice
        assert notice is not None

        async def route() -> None:
            await edge.reached(by_end=False)
            await here.home.router.route()

        async def stop(notice: DeclarationId = notice) -> None:
            await edge.reached(by_end=True)
            await retractions.stop(here.home, me, notice, given_by="self")

        await asyncio.gather(route(), stop())
        edge.moved(bool(await here.home.router.route()))
        here.clock.pass_(24 * HOURS)

        assert RECALLED not in {one.event_type for one in await here.take(CAF)}
        outcomes[MOVED in {one.event_type for one in await here.take(CPAM)}] += 1

    assert [] == await breaches(here)
    assert {True: ROUNDS} == dict(outcomes), "what a stopped recall had closed goes out"
    await here.step()
