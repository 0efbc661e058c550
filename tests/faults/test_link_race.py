"""A link ends while the agency asks for keys, and while the router plans: nothing goes out by it after either, ever.

Without the lock of the recipient's mailbox in `Linking._part` the first test is red on PostgreSQL, without the second
look in `planner._locked` the second one.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from broker.directory.kin import Link
from broker.flow.deliveries import ACTIVE, in_states, load
from broker.flow.mailbox import Due
from broker.services import identities
from broker.store.tables import declarations, deliveries, ledger_openings
from schemas.facts import FactKind
from tests.faults.races import Edge, breaches
from tests.world import CAF, ELISE, FAMILY, MOVED, World, world

ROUNDS = int(os.environ.get("UNEFOIS_RACE_ROUNDS", "200")) // 5
"""A round here is a link and a whole declaration."""
MOREAU = ELISE | {"family_name": "Moreau"}
pytestmark = [pytest.mark.asyncio, pytest.mark.proof, pytest.mark.databases]


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker whose links act at once, and a consent under a name of before."""
    async with world(tmp_path, link_delay_hours=0, **home_settings) as made:
        await made.give(CAF, MOVED, FAMILY, ["new_address"])
        yield made


async def linked(here: World) -> Link:
    """A link that acts."""
    asked = await identities.link(here.home, ELISE, MOREAU, evidence="2026/123")
    return await identities.confirm(here.home, asked.id)


async def released(here: World) -> int:
    """How many releases the ledger tells of by now."""
    async with here.home.store.read() as tx:
        told = select(func.count()).where(ledger_openings.c.kind == FactKind.RELEASED.value)
        return int((await tx.execute(told)).scalar_one())


async def on_their_way(here: World) -> int:
    """How many deliveries of the new name's declarations wait under the old name's consent."""
    async with here.home.store.read() as tx:
        across = deliveries.c.subject != declarations.c.subject
        return len(await load(tx, across, in_states(ACTIVE)))


async def race(here: World, edge: Edge) -> int:
    """One delivery by a link; its end and two requests for the keys begin about together. Returns how many opened it;
    none may that begins after the end was acknowledged.
    """
    link = await linked(here)
    await here.declare(MOVED, here.moved(MOREAU))
    (leased,) = await here.inbox(CAF).lease(1)
    here.clock.pass_(60_000_000)  # the lease is over, so that it may be pulled

    async def ask(*, pull: bool) -> bool:
        await edge.reached(by_end=False)
        if pull:
            return bool((await here.home.gate.pull(CAF, [Due(leased.id, leased.grant_id)])).locked)
        return bool((await here.home.gate.release(CAF, [leased.id])).locked)

    async def ended() -> int:
        await edge.reached(by_end=True)
        await identities.unlink(here.home, link.id)
        return await released(here)

    first, acknowledged, second = await asyncio.gather(ask(pull=False), ended(), ask(pull=True))
    assert acknowledged == await released(here), "committed after the acknowledgement"
    edge.moved(first + second)
    assert not (await here.home.gate.release(CAF, [leased.id])).locked, "opened after the acknowledgement"
    return first + second


async def test_nothing_is_released_by_a_link_that_has_ended(here: World) -> None:
    edge, outcomes = Edge(3), Counter[int]()
    for _ in range(ROUNDS):
        outcomes[await race(here, edge)] += 1

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()


async def test_nothing_is_planned_by_a_link_that_has_ended(here: World) -> None:
    edge, planned = Edge(4), Counter[bool]()
    for _ in range(ROUNDS):
        link = await linked(here)
        before = len(await here.entries(FactKind.PLANNED))
        await here.declare(MOVED, here.moved(MOREAU), route=False)

        async def route() -> None:
            await edge.reached(by_end=False)
            await here.home.router.route()

        async def end(of: Link = link) -> None:
            await edge.reached(by_end=True)
            await identities.unlink(here.home, of.id)

        await asyncio.gather(route(), end())
        by_link = len(await here.entries(FactKind.PLANNED)) > before
        edge.moved(int(by_link))
        planned[by_link] += 1
        assert 0 == await on_their_way(here), "planned after the end"

    assert planned[False], f"no race: {planned}"
    await here.step()
