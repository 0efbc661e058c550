"""Ten thousand revocations against requests for keys, over several routers, gates and processes.

UNEFOIS_RACE_ROUNDS=1500 makes it fewer.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.facts import FactKind
from tests.faults.races import breaches, released_after_revocation
from tests.fire.alive import DEADLINE, LOOK, Late
from tests.fire.town import ROOT, Town, ended, found
from tests.services import postgres as servers
from tests.services.databases import Databases
from tests.services.processes import bound_to_parent

pytestmark = pytest.mark.asyncio
ROUNDS = int(os.environ.get("UNEFOIS_RACE_ROUNDS", "10000"))
RACES = 2
"""Side by side, each of two processes."""
NAIVE = 200
"""Rounds that a wrong gate gets: enough to lose one."""


@pytest_asyncio.fixture
async def town(needs_postgres: None, quick: Path) -> AsyncIterator[Town]:
    """On a PostgreSQL in memory: nobody's power is cut here, and a commit waits for no disk."""
    with servers.own(quick) as server:
        async with Databases(server.address).empty() as url:
            made = await found(quick, database_url=url, lease_seconds=3600)
            with ended(made):
                yield made


def raced(town: Town, rounds: int, *more: str) -> Counter[str]:
    """The races to their end. Fails with what one of them says."""
    commands = [
        [sys.executable, "-m", "tests.fire.racer", str(town.settings.home), str(number), str(rounds // RACES), *more]
        for number in range(RACES)
    ]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(bound_to_parent(each), cwd=ROOT, env=town.environment, stdout=pipe, stderr=pipe, text=True)
        for each in commands
    ]
    outcomes = Counter[str]()
    try:
        for process in running:
            told, wrong = ended_of(process, town, rounds)
            assert 0 == process.returncode, wrong[-3000:]
            outcomes.update(json.loads(told))
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return outcomes


def ended_of(process: "subprocess.Popen[str]", town: Town, rounds: int) -> tuple[str, str]:
    """What it said, once it ended; in the meantime the town has to live. Raises Dead, or Late."""
    until = time.monotonic() + DEADLINE + rounds / 5
    while True:
        try:
            return process.communicate(timeout=LOOK)
        except subprocess.TimeoutExpired:
            town.look()
            if time.monotonic() > until:
                raise Late("the races") from None


@pytest.mark.takes(600 + ROUNDS // 5)
async def test_over_many_processes_nothing_is_released_after_the_acknowledged_revocation(town: Town) -> None:
    running = [town.serve(role) for role in ("router", "router", "ledger")]
    outcomes = await asyncio.to_thread(raced, town, ROUNDS)
    for one in running:
        await asyncio.to_thread(one.end)

    assert ROUNDS == outcomes.total()
    assert min(outcomes["open"], outcomes["closed"]) > ROUNDS // 20, f"no race: {outcomes}"
    async with town.opened() as here:
        assert ROUNDS == len(await here.entries(FactKind.REVOKED))
        assert (0, []) == (await released_after_revocation(here), await breaches(here))
        await here.step()


async def test_a_gate_that_looks_before_its_lock_loses_the_same_race(town: Town) -> None:
    """The mutant: it takes its lock after the check."""
    town.serve("router")
    await asyncio.to_thread(raced_by_a_wrong_gate, town)

    async with town.opened() as here:
        assert await released_after_revocation(here) > 0
        assert {"released-after-end", "released-after-closed"} <= set(await breaches(here))


def raced_by_a_wrong_gate(town: Town) -> None:
    """Its race shows in the ledger, and to whoever asks again."""
    raced(town, NAIVE, "naive")
