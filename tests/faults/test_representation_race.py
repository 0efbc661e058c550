"""A representation ends while its representative declares, and while an agency asks for what they allowed: nothing is
taken and nothing released after the end was acknowledged.

Without the citizen's lock in the intake the first test is red on PostgreSQL, without that of the consents the second.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from broker.flow.mailbox import Due
from broker.store.tables import ledger_openings, submissions
from schemas.errors import Refused
from schemas.facts import FactKind
from tests.faults.races import Edge, breaches
from tests.unit.broker.families import acts, by
from tests.world import CAF, FAMILY, MOVED, PORTAL, VOICE, YANN, World, world

ROUNDS = int(os.environ.get("UNEFOIS_RACE_ROUNDS", "200")) // 5
pytestmark = [pytest.mark.asyncio, pytest.mark.proof, pytest.mark.databases]


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker."""
    async with world(tmp_path, **home_settings) as made:
        yield made


async def kept(here: World) -> int:
    """How many declarations were taken in by now."""
    async with here.home.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(submissions))).scalar_one())


async def released(here: World) -> int:
    """How many releases the ledger tells of by now."""
    async with here.home.store.read() as tx:
        told = select(func.count()).where(ledger_openings.c.kind == FactKind.RELEASED.value)
        return int((await tx.execute(told)).scalar_one())


async def test_nothing_is_taken_in_after_a_representation_has_ended(here: World) -> None:
    edge, outcomes = Edge(3), Counter[int]()
    for _ in range(ROUNDS):
        made = await acts(here)
        envelopes = [await here.home.desk.envelope(PORTAL, MOVED, by(here)) for _ in range(2)]

        async def declare(envelope: bytes) -> int:
            await edge.reached(by_end=False)
            (answer,) = await here.home.intake.accept_all([envelope])
            return int(not isinstance(answer, Refused))

        async def end(of: Any = made.representation.id) -> int:
            await edge.reached(by_end=True)
            await here.home.representing.end(of)
            return await kept(here)

        first, acknowledged, second = await asyncio.gather(declare(envelopes[0]), end(), declare(envelopes[1]))
        assert acknowledged == await kept(here), "committed after the acknowledgement"
        edge.moved(first + second)
        outcomes[first + second] += 1

    assert outcomes[0], f"no race: {outcomes}"
    await here.step()


async def test_nothing_is_released_after_what_allowed_it_has_ended(here: World) -> None:
    edge, outcomes = Edge(4), Counter[int]()
    for _ in range(ROUNDS):
        record = (await acts(here)).representation
        voice = replace(VOICE, capacity=record.measure.capacity, given_by=record.voice)
        await here.give(CAF, MOVED, FAMILY, ("subject",), person=YANN, voice=voice)
        await here.declare(MOVED, here.moved(YANN))
        (leased,) = await here.inbox(CAF).lease(1)
        here.clock.pass_(60_000_000)  # the lease is over, so that it may be pulled

        async def ask(one: Any = leased) -> bool:
            await edge.reached(by_end=False)
            return bool((await here.home.gate.pull(CAF, [Due(one.id, one.grant_id)])).locked)

        async def end(of: Any = record.id) -> int:
            await edge.reached(by_end=True)
            await here.home.representing.end(of)
            return await released(here)

        opened, acknowledged = await asyncio.gather(ask(), end())
        assert acknowledged == await released(here), "committed after the acknowledgement"
        assert not (await here.home.gate.release(CAF, [leased.id])).locked, "opened after the acknowledgement"
        await here.home.representing.close()
        edge.moved(int(opened))
        outcomes[int(opened)] += 1

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()
