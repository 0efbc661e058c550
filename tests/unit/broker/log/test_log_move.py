"""Moving a log: every record under the offset that it had, compared; afterwards the old one takes nothing."""

from pathlib import Path

import pytest
from sqlalchemy import text

from broker.flow.router import TOPIC
from broker.log import pinning
from broker.log.sql import SqlLog
from broker.ports import Outgoing, Record
from broker.setup import log_move
from broker.store.engine import Store
from broker.store.tables import metadata
from schemas.errors import Refused
from tests.world import MOVED, World

pytestmark = [pytest.mark.asyncio, pytest.mark.sqlite]


class Elsewhere:
    """Another log, that counts on after what it forgot."""

    def __init__(self, here: World, store: Store, partitions: int) -> None:
        self.log = SqlLog(store, here.clock, {}, partitions)
        self.store = store

    async def forget(self, partition: int, offset: int) -> None:
        async with self.store.begin() as tx:
            where = f'"partition" = {partition} AND "offset" < {offset}'
            await tx.execute(text(f"DELETE FROM log_record WHERE {where}"))


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'elsewhere.db'}"


async def tables(store: Store) -> None:
    async with store.begin() as tx:
        await tx.conn.run_sync(metadata.create_all)


async def everything(log: SqlLog, partitions: int) -> list[Record]:
    return [record for number in range(partitions) for record in await log.read(TOPIC, number, 0, 1000)]


def contents(records: list[Record]) -> list[tuple[object, ...]]:
    return [(one.position, one.key, one.value, dict(one.headers)) for one in records]


async def test_every_record_keeps_its_offset_and_the_old_log_is_closed(
    here: World, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_move, "BATCH", 3)
    old = SqlLog(here.home.store, here.clock, {}, 3)
    await old.append_all(TOPIC, [Outgoing(bytes([number]), b"v%d" % number, {"h": b"x"}) for number in range(20)])
    async with Store.open(place) as store:
        await tables(store)
        new = Elsewhere(here, store, 3)

        moved = await log_move.move(here.home.store, old, new.log, "c", new.forget)

        assert (20, contents(await everything(old, 3))) == (sum(moved.values()), contents(await everything(new.log, 3)))
        with pytest.raises(Refused, match=r"log\.moved"):
            await old.append(TOPIC, b"k", b"late", {})
        with pytest.raises(Refused, match=r"log\.moved"):
            await log_move.move(here.home.store, old, new.log, "c", new.forget)
        with pytest.raises(Refused, match=r"log\.moved"):
            await pinning.check(here.home.store, old)


async def test_a_log_whose_head_was_pruned_goes_on_with_the_same_numbers(
    here: World, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_move, "BATCH", 2)
    old = SqlLog(here.home.store, here.clock, {}, 1)
    await old.append_all(TOPIC, [Outgoing(b"k", b"v%d" % number) for number in range(9)])
    async with here.home.store.begin() as tx:
        await tx.execute(text('DELETE FROM log_record WHERE "offset" < 5'))
    async with Store.open(place) as store:
        await tables(store)
        new = Elsewhere(here, store, 1)

        assert {0: 4} == await log_move.move(here.home.store, old, new.log, "c", new.forget)

        assert [(5, b"v5"), (6, b"v6"), (7, b"v7"), (8, b"v8")] == [
            (one.position.offset, one.value) for one in await everything(new.log, 1)
        ]
        assert 9 == (await new.log.append(TOPIC, b"k", b"next", {})).offset


async def test_begun_before_it_goes_on_after_comparing_and_something_else_is_refused(here: World, place: str) -> None:
    old = SqlLog(here.home.store, here.clock, {}, 1)
    await old.append_all(TOPIC, [Outgoing(b"k", b"v%d" % number) for number in range(4)])
    async with Store.open(place) as store:
        await tables(store)
        new = Elsewhere(here, store, 1)
        await new.log.append_all(TOPIC, [Outgoing(b"k", b"v0"), Outgoing(b"k", b"other")])
        with pytest.raises(Refused, match=r"move\.log-differs") as refused:
            await log_move.move(here.home.store, old, new.log, "c", new.forget)
        assert 1 == refused.value.details["offset"]
        await new.forget(0, 5)
        await new.log.append_all(TOPIC, [Outgoing(b"k", b"v0"), Outgoing(b"k", b"v1")])

        assert {0: 4} == await log_move.move(here.home.store, old, new.log, "c", new.forget)
        assert contents(await everything(old, 1)) == contents(await everything(new.log, 1))


async def test_a_longer_log_is_another_one_and_a_log_that_grows_meanwhile_does_not_count(
    here: World, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SqlLog(here.home.store, here.clock, {}, 1)
    await old.append(TOPIC, b"k", b"v0", {})
    async with Store.open(place) as store:
        await tables(store)
        new = Elsewhere(here, store, 1)
        ordinary = log_move._partition

        async def grows(*arguments: object) -> int:
            count = await ordinary(*arguments)  # type: ignore[arg-type]
            await old.append(TOPIC, b"k", b"late", {})
            return count

        with monkeypatch.context() as patch:
            patch.setattr(log_move, "_partition", grows)
            with pytest.raises(Refused, match=r"move\.log-changed"):
                await log_move.move(here.home.store, old, new.log, "c", new.forget)
        assert {0: 2} == await log_move.move(here.home.store, old, new.log, "c", new.forget)

    async with here.home.store.begin() as tx:
        await tx.execute(text("DELETE FROM meta WHERE name = 'kafka-cluster'"))
    async with Store.open(place) as store:
        new = Elsewhere(here, store, 1)
        await new.log.append(TOPIC, b"k", b"one more", {})
        with pytest.raises(Refused, match=r"move\.log-differs"):
            await log_move.move(here.home.store, old, new.log, "c", new.forget)


async def test_what_was_declared_before_is_routed_after_and_fsck_is_content(here: World, place: str) -> None:
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(), route=False)
    async with Store.open(place) as store:
        await tables(store)
        new = Elsewhere(here, store, 1)
        old = here.home.log
        assert isinstance(old, SqlLog)
        await log_move.move(here.home.store, old, new.log, "c", new.forget)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(here.home.router, "_log", new.log)
            patch.setattr(here.home.fsck, "_log", new.log)
            assert 1 == await here.home.router.route()
            await here.step()
    async with here.home.store.begin() as tx:
        await tx.execute(text("DELETE FROM meta WHERE name = 'kafka-cluster'"))
