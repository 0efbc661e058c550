"""A thousand kills: a worker dies at any crash point, the next one goes on; nothing is lost, nothing happens twice."""

import asyncio
import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from broker.log.kafka_cluster import Cluster
from tests.fire import worker
from tests.fire.alive import LIMIT
from tests.fire.town import ROOT
from tests.services.databases import Databases
from tests.services.processes import bound_to_parent

SHARDS = 4
EACH = 35
"""Kills of one home: what it has grows with them, and so does what everybody looks at."""
HOMES = 6
"""Of one shard, half of them in each of two processes."""
FEWER = 40
"""Where servers take their time."""

ALWAYS = frozenset(
    {
        *("intake.written-down", "intake.appended", "log.append", "log.appended"),
        *("router.batch", "planner.delivery", "consents.changed", "ledger.sequenced"),
        *("mailbox.handed-out", "mailbox.finished", "gate.recorded", "gate.committed"),
        *("connector.write", "connector.written", "topical.written"),
        *("relay.leased", "relay.appended", "mailbox.held", "inlet.answered", "inlet.taken"),
    }
)
"""Where somebody dies in each of the shards."""


def shifts(homes: Sequence[Sequence[Path]], seed: int, kills: int, *more: str) -> Counter[str]:
    """The shifts of several homes one after the other, and several such rows side by side. Returns who was killed
    where; fails with what one of them says.
    """
    commands = [
        [sys.executable, "-m", "tests.fire.shift", str(seed + 10 * number), str(kills), *more, *map(str, row)]
        for number, row in enumerate(homes)
    ]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(bound_to_parent(each), cwd=ROOT, stdout=pipe, stderr=pipe, text=True) for each in commands
    ]
    killed = Counter[str]()
    try:
        for process, command in zip(running, commands, strict=True):
            told, wrong = process.communicate(timeout=LIMIT)
            assert 0 == process.returncode, f"{' '.join(command[2:])}: {wrong[-3000:]}"
            killed.update(json.loads(told))
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return killed


@pytest.mark.parametrize("shard", range(SHARDS))
def test_workers_are_killed_on_sqlite(quick: Path, kills: Counter[str], shard: int) -> None:
    homes = [quick / str(number) for number in range(HOMES)]

    killed = shifts([homes[::2], homes[1::2]], 100 * shard, EACH)

    kills.update(killed)
    assert HOMES * EACH == killed.total()
    assert set() == ALWAYS - set(killed), killed


@pytest.mark.asyncio
async def test_workers_are_killed_on_postgresql(quick: Path, kills: Counter[str], postgres: Databases) -> None:
    async with postgres.migrated() as one, postgres.migrated() as other:
        await worker.ready(quick / "a", database_url=one)
        await worker.ready(quick / "b", database_url=other)
        killed = await asyncio.to_thread(shifts, [[quick / "a"], [quick / "b"]], 1000, FEWER)

    kills.update(killed)
    assert 2 * FEWER == killed.total()


@pytest.mark.asyncio
async def test_workers_are_killed_with_the_log_on_kafka(
    quick: Path, kills: Counter[str], postgres: Databases, kafka: str
) -> None:
    homes = [quick / "a", quick / "b"]
    async with postgres.migrated() as one, postgres.migrated() as other:
        for home, url in zip(homes, (one, other), strict=True):
            await worker.ready(home, database_url=url, **await topical(kafka))
        killed = await asyncio.to_thread(shifts, [[home] for home in homes], 2000, FEWER)

    kills.update(killed)
    assert 2 * FEWER == killed.total()
    assert {"kafka.append", "kafka.appended"} <= set(killed), killed


async def topical(kafka: str) -> Mapping[str, Any]:
    """The settings of a home whose topics were made there."""
    prefix = f"t{secrets.token_hex(6)}."
    cluster = Cluster((kafka,), "plaintext")
    await cluster.make_topic(f"{prefix}declarations", 2, 1)
    for topic in worker.TOPICS:
        await cluster.make_topic(prefix + topic, 1, 1)
    return {
        "log": "kafka",
        "kafka_bootstrap": kafka,
        "kafka_security": "plaintext",
        "kafka_topic_prefix": prefix,
        "kafka_replicas": 1,
    }


def test_the_suite_kills_a_thousand() -> None:
    assert SHARDS * HOMES * EACH + 4 * FEWER >= 1000
