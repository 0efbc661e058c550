"""A log of the database goes to a real Kafka, pruned head and all, and the home goes on there."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from broker.log.kafka_cluster import Cluster
from broker.setup import preflight
from broker.setup.bootstrap import move_log
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store.engine import Store
from schemas.errors import Refused
from tests.world import MOVED, YANN, settings, world

pytestmark = [pytest.mark.asyncio, pytest.mark.sqlite]


async def test_a_home_goes_on_where_its_log_went(tmp_path: Path, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"t{secrets.token_hex(6)}."
    await Cluster((kafka,), "plaintext").make_topic(f"{prefix}declarations", 1, 1)
    chosen: dict[str, Any] = {"kafka_bootstrap": kafka, "kafka_security": "plaintext", "kafka_replicas": 1}
    chosen["kafka_topic_prefix"] = prefix
    monkeypatch.setattr("broker.setup.belonging.check", _well)  # the world's tables are made without a revision
    async with world(tmp_path, **chosen) as here:
        for _ in range(3):
            await here.declare(MOVED, here.moved())
        await here.declare(MOVED, here.moved(YANN), route=False)
        async with here.home.store.begin() as tx:
            await tx.execute(text('DELETE FROM log_record WHERE "offset" < 2'))

        assert {0: 2} == await move_log(here.home.settings, here.clock)

        with pytest.raises(Refused, match=r"log\.moved"):
            await here.declare(MOVED, here.moved(), route=False)
        with pytest.raises(Refused, match=r"log\.moved"):
            await move_log(here.home.settings, here.clock)
        there, home = settings(tmp_path, **chosen, log="kafka"), here.home
        async with Store.open(there.database_url) as store, open_log(there, store, here.clock) as log:
            parts: dict[str, Any] = {
                "keys": home.keys,
                "endings": home.endings,
                "clock": here.clock,
                "entropy": home.entropy,
            }
            moved = Home(there, store=store, log=log, **parts)
            await preflight.check_log(moved)
            assert 2 == await log.first("declarations", 0)
            assert 1 == await moved.router.route()
            await moved.ledger.sequence_unfinished()
            assert [] == await moved.fsck.check()
            await moved.desk.declare(*await _one(here))
            assert 1 == await moved.router.route()
            await moved.ledger.sequence_unfinished()
            assert [] == await moved.fsck.check()


async def _well(*_: object) -> None:
    return


async def _one(here: Any) -> tuple[Any, ...]:
    from tests.world import PORTAL

    return PORTAL, MOVED, here.moved()
