"""The promises of the log port, held against every adapter."""

import asyncio
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from broker import ports
from broker.log import kafka_reader, sql
from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from broker.log.sql import SqlLog
from broker.ports import HEADERS, KEY_BYTES, READ_BYTES, READ_RECORDS, RECORD_BYTES, Log, Position, Record, partition_of
from broker.store.engine import Store
from broker.store.tables import log_record, metadata
from schemas.errors import Corrupt, Fault, Refused
from schemas.names import Instant
from tests.services.databases import Databases

TOPIC = "declarations"
AT = Instant(1_700_000_000_000)


PARTITIONS = {TOPIC: 4, "single": 1}


class SqlBench:
    """The table under test: `log` now, and `reopened()` as another process would find it."""

    def __init__(self, url: str) -> None:
        self.appender = ["log", url]
        self.url = url
        self.stores: list[Store] = []
        self.log = self.reopened()

    def reopened(self) -> Log:
        store = Store.open(self.url)
        self.stores.append(store)
        return SqlLog(store, lambda: AT, PARTITIONS)

    async def make(self) -> None:
        async with self.stores[0].begin() as tx:
            await tx.conn.run_sync(metadata.create_all)

    async def close(self) -> None:
        for store in self.stores:
            await store.dispose()


class KafkaBench:
    """Kafka under test, on topics of this test's own."""

    def __init__(self, address: str) -> None:
        self.prefix = f"t{secrets.token_hex(6)}."
        self.appender = ["kafka", address, self.prefix]
        self.cluster = Cluster((address,), "plaintext")
        self.logs: list[KafkaLog] = []
        self.log = self.reopened()

    def reopened(self) -> Log:
        self.logs.append(KafkaLog(self.cluster, PARTITIONS, self.prefix))
        return self.logs[-1]

    async def make(self) -> None:
        for topic, count in PARTITIONS.items():
            await self.cluster.make_topic(self.prefix + topic, count, 1)

    async def close(self) -> None:
        for log in self.logs:
            await log.close()


Bench = SqlBench | KafkaBench


@pytest_asyncio.fixture(params=["sqlite", "postgres", "kafka"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as ending:
        opened: Bench
        if request.param == "kafka":
            opened = KafkaBench(request.getfixturevalue("kafka"))
        elif request.param == "postgres":
            server: Databases = request.getfixturevalue("postgres")
            opened = SqlBench(await ending.enter_async_context(server.empty()))
        else:
            opened = SqlBench(f"sqlite+aiosqlite:///{tmp_path / 'log.db'}")
        ending.push_async_callback(opened.close)
        await opened.make()
        yield opened


async def everything(log: Log, topic: str = TOPIC) -> list[Record]:
    found: list[Record] = []
    for partition in range(await log.partitions(topic)):
        offset = 0
        while batch := await log.read(topic, partition, offset, 100):
            found += batch
            offset = batch[-1].position.offset + 1
    return found


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(Fault) as raised:
        await call
    return raised.value.code


@pytest.mark.asyncio
class TestLog:
    async def test_a_record_comes_back_as_it_was_appended(self, bench: Bench) -> None:
        headers = {"ce_type": b"fr.unefois.address.changed.v1", "ce_id": bytes(range(256))}
        position = await bench.log.append(TOPIC, b"key", b"\x00value\xff", headers)
        (record,) = await bench.log.read(TOPIC, position.partition, position.offset, 10)
        assert Record(position, b"key", b"\x00value\xff", headers, AT) == replace(record, at=AT)

    async def test_a_record_tells_when_the_log_took_it(self, bench: Bench) -> None:
        before = time.time_ns() // 1_000_000
        position = await bench.log.append(TOPIC, b"key", b"", {})
        (record,) = await bench.log.read(TOPIC, position.partition, position.offset, 10)
        if isinstance(bench, SqlBench):
            assert AT == record.at
        else:
            assert before <= record.at <= time.time_ns() // 1_000_000

    async def test_the_first_record_of_a_partition_has_offset_0_and_the_next_ones_count_on(self, bench: Bench) -> None:
        positions = [await bench.log.append("single", b"k", b"v", {}) for _ in range(3)]
        assert [Position("single", 0, offset) for offset in range(3)] == positions

    async def test_partitions_count_by_themselves(self, bench: Bench) -> None:
        offsets: dict[int, list[int]] = defaultdict(list)
        for number in range(40):
            position = await bench.log.append(TOPIC, str(number).encode(), b"", {})
            offsets[position.partition].append(position.offset)
        assert {partition: list(range(len(found))) for partition, found in offsets.items()} == offsets
        assert set(range(4)) == set(offsets)

    async def test_records_with_one_key_keep_their_order(self, bench: Bench) -> None:
        for number in range(30):
            await bench.log.append(TOPIC, str(number % 3).encode(), str(number).encode(), {})
        by_key: dict[bytes, list[int]] = defaultdict(list)
        for record in await everything(bench.log):
            by_key[record.key].append(int(record.value))
        assert {str(key).encode(): list(range(key, 30, 3)) for key in range(3)} == by_key

    async def test_an_appended_record_is_there_for_who_opens_the_log_later(self, bench: Bench) -> None:
        position = await bench.log.append(TOPIC, b"k", b"v", {"a": b"1"})
        (found,) = await bench.reopened().read(TOPIC, position.partition, 0, 10)
        assert (position, b"v") == (found.position, found.value)

    async def test_an_appended_record_survives_the_kill_of_its_process(self, bench: Bench) -> None:
        ended = run_appender(bench.appender, "killed", 3, crash_at=f"{bench.appender[0]}.appended:3")
        assert -9 == ended.returncode
        assert {b"killed-0", b"killed-1", b"killed-2"} == {record.value for record in await everything(bench.log)}

    async def test_a_process_killed_before_the_commit_leaves_nothing_of_it(self, bench: Bench) -> None:
        ended = run_appender(bench.appender, "killed", 3, crash_at=f"{bench.appender[0]}.append:3")
        assert -9 == ended.returncode
        assert {b"killed-0", b"killed-1"} == {record.value for record in await everything(bench.log)}

    async def test_concurrent_appends_lose_and_repeat_nothing(self, bench: Bench) -> None:
        other = bench.reopened()
        await asyncio.gather(
            *(
                log.append(TOPIC, str(number).encode(), str(number).encode(), {})
                for number, log in enumerate([bench.log, other] * 40)
            )
        )
        found = await everything(bench.log)
        assert sorted(str(number).encode() for number in range(80)) == sorted(record.value for record in found)
        assert_dense(found)

    async def test_two_processes_append_side_by_side(self, bench: Bench) -> None:
        appenders = [start_appender(bench.appender, name, 25) for name in ("left", "right")]
        outcomes = [(appender.communicate(timeout=60)[1], appender.returncode) for appender in appenders]
        assert [(b"", 0), (b"", 0)] == outcomes
        found = await everything(bench.log)
        expected = sorted(f"{name}-{number}".encode() for name in ("left", "right") for number in range(25))
        assert expected == sorted(record.value for record in found)
        assert_dense(found)
        for name in (b"left", b"right"):
            numbers = [int(record.value.split(b"-")[1]) for record in found if record.key == name]
            assert list(range(25)) == numbers

    async def test_the_end_is_where_the_next_record_will_be(self, bench: Bench) -> None:
        assert 0 == await bench.log.end("single", 0)
        await bench.log.append("single", b"k", b"v", {})
        assert 1 == await bench.log.end("single", 0)
        assert 1 == (await bench.log.append("single", b"k", b"v", {})).offset

    async def test_the_ends_of_several_partitions_are_what_each_is_told_by_itself(self, bench: Bench) -> None:
        for number in range(9):
            await bench.log.append(TOPIC, str(number).encode(), b"v", {})
        count = await bench.log.partitions(TOPIC)
        each = {partition: await bench.log.end(TOPIC, partition) for partition in range(count)}
        assert 9 == sum(each.values())
        assert each == await bench.log.ends(TOPIC, range(count))
        assert {} == await bench.log.ends(TOPIC, [])
        with pytest.raises(Refused, match=r"log\.partition"):
            await bench.log.ends(TOPIC, [0, count])

    async def test_reading_at_the_end_gives_nothing_and_does_not_wait(self, bench: Bench) -> None:
        await bench.log.append("single", b"k", b"v", {})
        assert () == await bench.log.read("single", 0, 1, 10)
        assert () == await bench.log.read("single", 0, 2**63 - 1, 10)

    async def test_a_read_starts_where_it_is_told_and_ends_at_its_limit(self, bench: Bench) -> None:
        for number in range(5):
            await bench.log.append("single", b"k", str(number).encode(), {})
        assert [b"1", b"2"] == [record.value for record in await bench.log.read("single", 0, 1, 2)]

    async def test_one_read_never_fills_the_memory(self, bench: Bench) -> None:
        value = bytes(RECORD_BYTES - 1)
        for _ in range(10):
            await bench.log.append("single", b"k", value, {})
        taken = await bench.log.read("single", 0, 0, 10)
        assert READ_BYTES - 2 * RECORD_BYTES < sum(len(record.value) for record in taken) <= READ_BYTES
        rest = await bench.log.read("single", 0, len(taken), 10)
        assert list(range(10)) == [record.position.offset for record in (*taken, *rest)]

    async def test_a_record_larger_than_one_read_is_given_all_the_same(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for adapter in (sql, kafka_reader):
            monkeypatch.setattr(adapter, "READ_BYTES", 10)
        for _ in range(2):
            await bench.log.append("single", b"k", bytes(100), {})
        assert [0] == [record.position.offset for record in await bench.log.read("single", 0, 0, 10)]

    async def test_the_first_record_that_is_kept_is_told_and_without_one_the_end(self, bench: Bench) -> None:
        assert 0 == await bench.log.first("single", 0)
        await bench.log.append("single", b"k", b"v", {})
        assert 0 == await bench.log.first("single", 0)
        assert "log.partition" == await code_of(bench.log.first("single", 1))

    async def test_topics_do_not_mix(self, bench: Bench) -> None:
        await bench.log.append("single", b"k", b"v", {})
        assert ([], 0) == (await everything(bench.log), await bench.log.end(TOPIC, 0))

    async def test_a_record_of_the_largest_size_is_taken_and_one_byte_more_is_refused(self, bench: Bench) -> None:
        headers = {"name": b"told"}
        largest = bytes(RECORD_BYTES - len(b"k") - len("name") - len(b"told"))
        position = await bench.log.append("single", b"k", largest, headers)
        (record,) = await bench.log.read("single", 0, position.offset, 1)
        assert largest == record.value
        assert "log.too-large" == await code_of(bench.log.append("single", b"k", largest + b"\x00", headers))
        assert "log.too-large" == await code_of(bench.log.append("single", b"kk", largest, headers))
        assert "log.too-large" == await code_of(bench.log.append("single", b"k", largest, {"name": b"told+"}))
        assert "log.too-large" == await code_of(bench.log.append("single", b"k", largest, {"names": b"told"}))
        assert 1 == await bench.log.end("single", 0)

    @pytest.mark.parametrize("key", [b"", bytes(KEY_BYTES + 1)])
    async def test_a_record_needs_a_key_of_a_bounded_size(self, bench: Bench, key: bytes) -> None:
        assert "log.key" == await code_of(bench.log.append(TOPIC, key, b"", {}))
        await bench.log.append(TOPIC, bytes(KEY_BYTES), b"", {})

    @pytest.mark.parametrize("name", ["", "Name", "na me", "é", "-n", "n" * 65, "n\n"])
    async def test_a_header_needs_a_plain_name(self, bench: Bench, name: str) -> None:
        assert "log.header" == await code_of(bench.log.append(TOPIC, b"k", b"", {name: b""}))

    async def test_headers_are_counted(self, bench: Bench) -> None:
        many = {f"h{number}": b"" for number in range(HEADERS)}
        await bench.log.append(TOPIC, b"k", b"", many)
        assert "log.header" == await code_of(bench.log.append(TOPIC, b"k", b"", {**many, "one-more": b""}))

    @pytest.mark.parametrize("topic", ["", "Declarations", "a.b.c.d", "a..b", "a/b", "-a", "a b", "a" * 200, "a\n"])
    async def test_a_topic_needs_a_plain_name(self, bench: Bench, topic: str) -> None:
        for call in (
            bench.log.append(topic, b"k", b"", {}),
            bench.log.read(topic, 0, 0, 1),
            bench.log.partitions(topic),
            bench.log.end(topic, 0),
        ):
            assert "log.topic" == await code_of(call)

    @pytest.mark.parametrize("partition", [-1, 4])
    async def test_a_partition_must_exist(self, bench: Bench, partition: int) -> None:
        assert "log.partition" == await code_of(bench.log.read(TOPIC, partition, 0, 1))
        assert "log.partition" == await code_of(bench.log.end(TOPIC, partition))

    @pytest.mark.parametrize(("offset", "limit"), [(-1, 1), (2**63, 1), (0, 0), (0, -1), (0, READ_RECORDS + 1)])
    async def test_a_read_has_limits(self, bench: Bench, offset: int, limit: int) -> None:
        assert "log.read" == await code_of(bench.log.read(TOPIC, 0, offset, limit))

    async def test_headers_cannot_be_changed_by_a_reader(self, bench: Bench) -> None:
        await bench.log.append("single", b"k", b"v", {"a": b"1"})
        (record,) = await bench.log.read("single", 0, 0, 1)
        with pytest.raises(TypeError):
            record.headers["a"] = b"2"  # type: ignore[index]

    async def test_a_records_representation_shows_no_content(self, bench: Bench) -> None:
        await bench.log.append("single", b"CANARY", b"CANARY", {"a": b"CANARY"})
        (record,) = await bench.log.read("single", 0, 0, 1)
        assert "CANARY" not in repr(record)


@pytest.mark.asyncio
class TestSqlLog:
    """What is the table adapter's own."""

    async def test_damaged_headers_stop_the_reader(self, tmp_path: Path) -> None:
        table = SqlBench(f"sqlite+aiosqlite:///{tmp_path / 'log.db'}")
        await table.make()
        for damaged in (b"", b"[]", b'{"a": 1}', b'{"a": "*"}', b"\xff"):
            async with table.stores[0].begin() as tx:
                await tx.execute(log_record.delete())
            await table.log.append("single", b"k", b"v", {"a": b"1"})
            async with table.stores[0].begin() as tx:
                await tx.execute(log_record.update().values(headers=damaged))
            with pytest.raises(Corrupt) as raised:
                await table.log.read("single", 0, 0, 1)
            assert "log.damaged" == raised.value.code
        await table.close()

    @pytest.mark.parametrize("count", [0, -1, 1025])
    async def test_a_topic_has_a_bounded_number_of_partitions(self, tmp_path: Path, count: int) -> None:
        table = SqlBench(f"sqlite+aiosqlite:///{tmp_path / 'log.db'}")
        for arguments in (({"a": count}, 8), ({}, count)):
            with pytest.raises(Refused) as raised:
                SqlLog(table.stores[0], lambda: AT, *arguments)
            assert "log.partitions" == raised.value.code


def test_a_keys_partition_never_changes_between_versions() -> None:
    assert [4, 6, 0] == [partition_of(key, 8) for key in (b"", b"k", b"\x00")]


def assert_dense(records: list[Record]) -> None:
    offsets: dict[int, list[int]] = defaultdict(list)
    for record in records:
        offsets[record.position.partition].append(record.position.offset)
    assert {partition: list(range(len(found))) for partition, found in offsets.items()} == offsets


APPENDER = """
import asyncio, contextlib, sys
from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from broker.log.sql import SqlLog
from broker.store.engine import Store

async def main(name, count, kind, address, prefix=""):
    async with contextlib.AsyncExitStack() as ending:
        if kind == "kafka":
            log = await ending.enter_async_context(KafkaLog(Cluster((address,), "plaintext"), {}, prefix))
        else:
            store = await ending.enter_async_context(Store.open(address))
            log = SqlLog(store, lambda: 0, {"declarations": 4})
        for number in range(int(count)):
            await log.append("declarations", name.encode(), f"{name}-{number}".encode(), {})

asyncio.run(main(*sys.argv[1:]))
"""


def start_appender(appender: list[str], name: str, count: int, crash_at: str = "") -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, name, str(count), *appender],
        stderr=subprocess.PIPE,
        env={"UNEFOIS_CRASH_AT": crash_at},
        cwd=Path(ports.__file__).parents[1],
    )


def run_appender(appender: list[str], name: str, count: int, crash_at: str) -> "subprocess.Popen[bytes]":
    started = start_appender(appender, name, count, crash_at)
    started.communicate(timeout=60)
    return started
