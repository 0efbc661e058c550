"""Somebody is protected while the town they left asks for the keys: nothing is released after the acknowledgement.

Without the lock of the mailbox in `Protecting._close`, and the gate's own look, this is red.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from broker.consents.protecting import Wanted
from broker.flow.mailbox import Due
from broker.store.tables import ledger_openings
from schemas.facts import FactKind
from tests.faults.races import Edge, breaches
from tests.world import ELISE, MOVED, RENNES, TOWN, World, world

ROUNDS = int(os.environ.get("UNEFOIS_RACE_ROUNDS", "200")) // 5
"""A round here is a person, a consent and a whole declaration."""
pytestmark = [pytest.mark.asyncio, pytest.mark.proof, pytest.mark.databases]


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> Any:
    """A furnished broker."""
    async with world(tmp_path, **home_settings) as made:
        yield made


def somebody(number: int) -> dict[str, Any]:
    """A person of whom nobody has heard."""
    return ELISE | {"birthdate": f"{1950 + number // 12 % 50}-{1 + number % 12:02}-{1 + number % 28:02}"}


async def released(here: World) -> int:
    """How many releases the ledger tells of by now."""
    async with here.home.store.read() as tx:
        told = select(func.count()).where(ledger_openings.c.kind == FactKind.RELEASED.value)
        return int((await tx.execute(told)).scalar_one())


async def race(here: World, person: dict[str, Any], edge: Edge) -> int:
    """One delivery; the protection and two requests for its keys begin about together. Returns how many of these opened
    it; none may that begins after the protection was acknowledged, nor one of what is declared then.
    """
    await here.give(RENNES, MOVED, TOWN, ("subject", "new_address"), person=person)
    await here.declare(MOVED, here.moved(person))
    (leased,) = await here.inbox(RENNES).lease(1)
    here.clock.pass_(60_000_000)  # the lease is over, so that it may be pulled

    async def ask(*, pull: bool) -> bool:
        await edge.reached(by_end=False)
        if pull:
            return bool((await here.home.gate.pull(RENNES, [Due(leased.id, leased.grant_id)])).locked)
        return bool((await here.home.gate.release(RENNES, [leased.id])).locked)

    async def protected() -> int:
        await edge.reached(by_end=True)
        await here.home.protecting.protect(Wanted(subject=here.subject(person), places=frozenset({"35238"})))
        return await released(here)

    async def declared() -> None:
        await here.declare(MOVED, here.moved(person))

    first, acknowledged, second, _ = await asyncio.gather(ask(pull=False), protected(), ask(pull=True), declared())
    assert acknowledged == await released(here), "committed after the acknowledgement"
    edge.moved(first + second)
    assert not (await here.home.gate.release(RENNES, [leased.id])).locked, "opened after the acknowledgement"
    assert not await here.take(RENNES), "what was declared meanwhile was handed out"
    return first + second


async def test_nothing_is_released_to_the_former_town_after_the_acknowledgement(here: World) -> None:
    edge, outcomes = Edge(3), Counter[int]()
    for number in range(ROUNDS):
        outcomes[await race(here, somebody(number), edge)] += 1

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()
