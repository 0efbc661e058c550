"""A rule by law ends or is narrowed, or a citizen objects to it, while the agency asks for the keys: no release after
that, ever.

Without the lock of the recipient's mailbox in `Ruling.end` and `Ruling._narrow` the first two are red on PostgreSQL.
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
from broker.services import rules
from broker.store.tables import ledger_openings
from consent.rules import Rule
from schemas.facts import FactKind
from tests.faults.races import Edge, breaches
from tests.world import CAF, FAMILY, MOVED, World, world

ROUNDS = int(os.environ.get("UNEFOIS_RACE_EACH", "0")) or int(os.environ.get("UNEFOIS_RACE_ROUNDS", "200")) // 5
"""A round here is a whole declaration, and for the end of a rule another rule."""
pytestmark = [pytest.mark.asyncio, pytest.mark.proof, pytest.mark.databases]


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker whose rules act at once."""
    async with world(tmp_path, rule_delay_hours=0, **home_settings) as made:
        yield made


async def acting(here: World, *more: str) -> Rule:
    """A new rule for moves; `more`: fields beside the new address."""
    fields = ["new_address", *more]
    asked = await rules.ask(
        here.home, recipient=CAF, event_type=MOVED, purpose=FAMILY, fields=fields, article="CSS, art. L114-19"
    )
    return await rules.approve(here.home, asked.id)


async def released(here: World) -> int:
    """How many releases the ledger tells of by now."""
    async with here.home.store.read() as tx:
        told = select(func.count()).where(ledger_openings.c.kind == FactKind.RELEASED.value)
        return int((await tx.execute(told)).scalar_one())


async def race(here: World, stop: Callable[[], Awaitable[object]], edge: Edge) -> int:
    """One delivery under a rule; what stops it and two requests for its keys begin about together. Returns how many of
    these opened it; none may that begins after the stop was acknowledged.
    """
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    here.clock.pass_(60_000_000)  # the lease is over, so that it may be pulled

    async def ask(*, pull: bool) -> bool:
        await edge.reached(by_end=False)
        if pull:
            return bool((await here.home.gate.pull(CAF, [Due(leased.id, leased.grant_id)])).locked)
        return bool((await here.home.gate.release(CAF, [leased.id])).locked)

    async def stopped() -> int:
        await edge.reached(by_end=True)
        await stop()
        return await released(here)

    first, acknowledged, second = await asyncio.gather(ask(pull=False), stopped(), ask(pull=True))
    assert acknowledged == await released(here), "committed after the acknowledgement"
    edge.moved(first + second)
    assert not (await here.home.gate.release(CAF, [leased.id])).locked, "opened after the acknowledgement"
    return first + second


async def test_nothing_is_released_after_a_rule_has_ended(here: World) -> None:
    edge, outcomes = Edge(1), Counter[int]()
    for _ in range(ROUNDS):
        rule = await acting(here)
        outcomes[await race(here, lambda rule=rule: rules.end(here.home, rule.id), edge)] += 1  # type: ignore[misc]
        await here.home.objections.end_with_rules()

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()


async def test_nothing_more_is_released_after_a_rule_was_narrowed(here: World) -> None:
    edge, outcomes = Edge(1), Counter[int]()
    for _ in range(ROUNDS):
        rule = await acting(here, "household")
        narrow = lambda rule=rule: rules.narrow(here.home, rule.id, fields=["household"])  # noqa: E731
        outcomes[await race(here, narrow, edge)] += 1
        await rules.end(here.home, rule.id)
        await here.home.objections.end_with_rules()

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()


async def test_nothing_is_released_after_an_objection(here: World) -> None:
    edge, outcomes, rule, me = Edge(2), Counter[int](), await acting(here), here.subject()
    how = {"reason": "personal-situation", "given_by": "self"}
    for _ in range(ROUNDS):
        outcomes[await race(here, lambda: rules.object_to(here.home, me, rule.id, **how), edge)] += 1
        await rules.withdraw_objection(here.home, me, rule.id, given_by="self")

    assert [] == await breaches(here)
    assert outcomes[0], f"no race: {outcomes}"
    await here.step()
