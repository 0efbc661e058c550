"""A thousand kills: a worker dies at any crash point, the next one goes on; nothing is lost, nothing happens twice."""

import asyncio
import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker.log.kafka_cluster import Cluster
from tests.fire import shift
from tests.fire.alive import DEADLINE
from tests.fire.town import ROOT
from tests.services.databases import Databases

EACH = 70
FEWER = 35
"""Where servers take their time."""
PAIRS = 8
"""Two shifts side by side, so often."""

ALWAYS = frozenset(
    {
        *("intake.written-down", "intake.appended", "log.append", "log.appended"),
        *("router.batch", "planner.delivery", "consents.given", "consents.changed"),
        *("mailbox.leased", "mailbox.finished", "gate.recorded", "gate.committed"),
        *("connector.write", "connector.written", "ledger.sequenced"),
    }
)
"""Where somebody dies in every thousand."""


def shifts(homes: Sequence[Path], seed: int, kills: int, *more: str) -> Counter[str]:
    """Shifts side by side. Returns who was killed where; fails with what one of them says."""
    commands = [
        [sys.executable, "-m", "tests.fire.shift", str(home), str(seed + number), str(kills), *more]
        for number, home in enumerate(homes)
    ]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(each, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) for each in commands]
    killed = Counter[str]()
    try:
        for process in running:
            told, wrong = process.communicate(timeout=DEADLINE * 2)
            assert 0 == process.returncode, f"seed {seed}: {wrong[-3000:]}"
            killed.update(json.loads(told))
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return killed


def test_a_thousand_workers_are_killed_on_sqlite(quick: Path, kills: Counter[str]) -> None:
    killed = Counter[str]()
    for pair in range(PAIRS):
        homes = [quick / f"{pair}-{side}" for side in "ab"]
        for home in homes:
            asyncio.run(shift.ready(home))
        killed.update(shifts(homes, 2 * pair, EACH))

    kills.update(killed)
    assert PAIRS * 2 * EACH == killed.total() > 1000
    assert set() == ALWAYS - set(killed), killed


@pytest.mark.asyncio
async def test_workers_are_killed_on_postgresql(quick: Path, kills: Counter[str], postgres: Databases) -> None:
    async with postgres.migrated() as one, postgres.migrated() as other:
        await shift.ready(quick / "a", database_url=one)
        await shift.ready(quick / "b", database_url=other)
        killed = await asyncio.to_thread(shifts, [quick / "a", quick / "b"], 100, FEWER)

    kills.update(killed)
    assert 2 * FEWER == killed.total()


@pytest.mark.asyncio
async def test_workers_are_killed_with_the_log_on_kafka(
    quick: Path, kills: Counter[str], postgres: Databases, kafka: str
) -> None:
    prefix = f"t{secrets.token_hex(6)}."
    await Cluster((kafka,), "plaintext").make_topic(f"{prefix}declarations", 2, 1)
    told = {"log": "kafka", "kafka_bootstrap": kafka, "kafka_security": "plaintext", "kafka_topic_prefix": prefix}
    async with postgres.migrated() as url:
        await shift.ready(quick / "a", database_url=url, **told)
        killed = await asyncio.to_thread(shifts, [quick / "a"], 200, FEWER)

    kills.update(killed)
    assert FEWER == killed.total()
    assert {"kafka.append", "kafka.appended"} <= set(killed)
