"""A citizen revokes while the agency asks for the keys, at the same moment: no release after the revocation, ever.

The same check must fail for a gate that looks before it takes its lock: a test of the test.
"""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker.flow.deliveries import Delivery
from broker.flow.gate import Gate
from broker.flow.mailbox import Due
from schemas.errors import Refused
from schemas.names import GrantId, Reason
from tests.faults import day
from tests.faults.races import Edge, breaches, naive, prepare, released_after_revocation
from tests.world import CAF, MINUTE, VOICE, World, world

ROUNDS = int(os.environ.get("UNEFOIS_RACE_ROUNDS", "60"))
FEWER = min(ROUNDS, 40)
"""Rounds that a wrong gate gets: enough to lose one."""
ROOT = Path(__file__).parents[2]
Prepared = list[tuple[GrantId, Delivery]]

pytestmark = [pytest.mark.asyncio, pytest.mark.more]


async def race(here: World, gate: Gate, prepared: Prepared, seed: int) -> Counter[str]:
    """Every round, the revocation and two requests for the keys begin about together.

    Whatever came first: once the revocation is acknowledged, a further request gets nothing.
    """
    edge, outcomes = Edge(seed), Counter[str]()
    here.clock.pass_(MINUTE)  # the leases under which they were prepared are over, so they may be pulled

    async def ask(delivery: Delivery) -> bool:
        await edge.reached(by_end=False)
        return bool((await gate.release(CAF, [delivery.id])).locked)

    async def pull(delivery: Delivery) -> bool:
        await edge.reached(by_end=False)
        return bool((await gate.pull(CAF, [Due(delivery.id, delivery.grant_id)])).locked)

    async def revoke(grant: GrantId) -> bool:
        await edge.reached(by_end=True)
        await here.home.consents.revoke(grant, VOICE)
        return False

    for grant, delivery in prepared:
        opened = sum(await asyncio.gather(ask(delivery), revoke(grant), pull(delivery)))
        outcomes.update(open=opened, closed=2 - opened)
        edge.moved(opened)
        if gate is here.home.gate:
            late = await gate.release(CAF, [delivery.id])
            assert not late.locked, "opened after the revocation was acknowledged"
    return outcomes


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker."""
    async with world(tmp_path, **home_settings) as made:
        yield made


@pytest.mark.databases
async def test_in_one_process_nothing_is_released_after_the_acknowledged_revocation(here: World) -> None:
    outcomes = await race(here, here.home.gate, await prepare(here, ROUNDS), seed=1)

    assert (0, []) == (await released_after_revocation(here), await breaches(here))
    assert min(outcomes["open"], outcomes["closed"]) > ROUNDS // 10, f"no race: {outcomes}"
    await here.step()


@pytest.mark.databases
async def test_a_gate_that_looks_before_its_lock_fails_the_same_check_in_one_process(here: World) -> None:
    await race(here, naive(here.home.gate), await prepare(here, FEWER), seed=1)

    assert await released_after_revocation(here) > 0
    assert {"released-after-end", "released-after-closed"} <= set(await breaches(here))


class Agency:
    """The agency's process."""

    def __init__(self, home: Path, *more: str) -> None:
        self._command = (sys.executable, "-m", "tests.faults.releaser", str(home), *more)

    async def __aenter__(self) -> "Agency":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, cwd=ROOT, stdin=pipe, stdout=pipe)
        assert "ready" == await self.hear()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        # asyncio leaves the pipes of a process to the collector, which comes after the loop has closed
        self._process._transport.close()  # type: ignore[attr-defined]

    async def hear(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    def ask(self, delivery: Delivery) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(delivery.id.hex().encode() + b"\n")


async def race_between_processes(here: World, agency: Agency, prepared: Prepared) -> Counter[str]:
    """The agency is in another process; each is asked, or asks, first in every second round."""
    outcomes, chance = Counter[str](), random.Random(2)
    for number, (grant, delivery) in enumerate(prepared):
        if number % 2:
            agency.ask(delivery)
            assert "begin" == await agency.hear()
            for _ in range(chance.randrange(4)):
                await here.home.consents.of(here.subject())  # a glance at the database: some hundred microseconds
            revoking = asyncio.create_task(here.home.consents.revoke(grant, VOICE))
        else:
            revoking = asyncio.create_task(here.home.consents.revoke(grant, VOICE))
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            agency.ask(delivery)
            assert "begin" == await agency.hear()
        await revoking
        outcomes[await agency.hear()] += 1
        again = await here.home.gate.release(CAF, [delivery.id])
        assert [Reason.REVOKED] == [reason for _, reason in again.withheld]
    return outcomes


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[World]:
    """A home in files, that a second process can open."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    await day.found(folder)
    async with day.opened(folder, 1) as made:
        yield made


@pytest.mark.proof
async def test_between_two_processes_nothing_is_released_after_the_acknowledged_revocation(home: World) -> None:
    prepared = await prepare(home, ROUNDS)
    async with Agency(home.folder) as agency:
        outcomes = await race_between_processes(home, agency, prepared)

    assert (0, []) == (await released_after_revocation(home), await breaches(home))
    assert min(outcomes["open"], outcomes["closed"]) > 0, f"no race: {outcomes}"
    await home.step()


async def test_a_gate_that_looks_before_its_lock_fails_the_same_check_between_two_processes(home: World) -> None:
    prepared = await prepare(home, FEWER)
    async with Agency(home.folder, "naive") as agency:
        await race_between_processes(home, agency, prepared)

    assert await released_after_revocation(home) > 0
    assert {"released-after-end", "released-after-closed"} <= set(await breaches(home))


async def test_a_revocation_that_raises_was_not_made(home: World) -> None:
    """The other half of an acknowledgement: what is refused changes nothing, and the delivery opens as before."""
    ((grant, delivery),) = await prepare(home, 1)
    with pytest.raises(Refused):
        await home.home.consents.end_mandate(grant, VOICE)

    assert (await home.home.gate.release(CAF, [delivery.id])).locked
