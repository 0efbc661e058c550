"""What is Kafka's own: how it is away, refuses or has lost something, and that the log says so and goes on."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from broker.log import kafka as adapter
from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster, fault_of
from broker.ports import RECORD_BYTES, Outgoing
from broker.settings.choices import load
from broker.setup.opening import open_log
from broker.store.engine import Store
from schemas.errors import Fault, Refused, Unavailable
from tests.services import shared
from tests.services.processes import free_port

pytestmark = pytest.mark.asyncio


@pytest.fixture
def prefix() -> str:
    return f"t{secrets.token_hex(6)}."


@pytest_asyncio.fixture
async def log(kafka: str, prefix: str) -> AsyncIterator[KafkaLog]:
    cluster = Cluster((kafka,), "plaintext")
    await cluster.make_topic(f"{prefix}single", 1, 1)
    async with KafkaLog(cluster, {"single": 1}, prefix) as opened:
        yield opened


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(Fault) as raised:
        await call
    return raised.value.code


async def test_a_topic_that_is_missing_is_named(kafka: str, prefix: str) -> None:
    async with KafkaLog(Cluster((kafka,), "plaintext"), {}, prefix) as log:
        for call in (log.append("none", b"k", b"v", {}), log.read("none", 0, 0, 1), log.end("none", 0)):
            with pytest.raises(Unavailable) as raised:
                await call
            assert ("kafka.topic-missing", f"{prefix}none") == (raised.value.code, raised.value.details["topic"])


async def test_a_topic_with_another_number_of_partitions_is_not_used(log: KafkaLog, kafka: str, prefix: str) -> None:
    async with KafkaLog(Cluster((kafka,), "plaintext"), {"single": 2}, prefix) as other:
        assert "kafka.partitions" == await code_of(other.append("single", b"k", b"v", {}))
    assert 0 == await log.end("single", 0)


async def test_a_topic_is_made_once_and_takes_the_largest_batch(log: KafkaLog, kafka: str, prefix: str) -> None:
    assert not await Cluster((kafka,), "plaintext").make_topic(f"{prefix}single", 3, 1)
    many = [Outgoing(b"k", bytes(RECORD_BYTES - 1), {}) for _ in range(3)]
    assert [0, 1, 2] == [position.offset for position in await log.append_all("single", many)]


async def test_a_topic_that_takes_less_than_we_may_send_is_named(kafka: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(f"{prefix}small", 1, 1, topic_configs={"max.message.bytes": "1000"})])
    await admin.close()
    async with KafkaLog(Cluster((kafka,), "plaintext"), {}, prefix) as log:
        while "kafka.topic-missing" == (code := await code_of(log.append("small", b"k", bytes(2000), {}))):
            pass
        assert "kafka.record-size" == code
        assert 0 == (await log.append("small", b"k", b"v", {})).offset


async def test_records_that_were_deleted_before_they_were_read_stop_the_reader(
    log: KafkaLog, kafka: str, prefix: str
) -> None:
    for _ in range(3):
        await log.append("single", b"k", b"v", {})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(f"{prefix}single", 0): RecordsToDelete(2)})
    await admin.close()
    with pytest.raises(Fault) as raised:
        await log.read("single", 0, 1, 10)
    told = raised.value.details
    assert ("kafka.records-gone", 1, 2) == (raised.value.code, told["offset"], told["first"])
    assert [2] == [record.position.offset for record in await log.read("single", 0, 2, 10)]


async def test_a_reader_may_go_back_and_forth(log: KafkaLog) -> None:
    await log.append_all("single", [Outgoing(b"k", str(number).encode(), {}) for number in range(9)])
    for offset in (5, 0, 8, 3, 4, 4):
        (record,) = await log.read("single", 0, offset, 1)
        assert (offset, str(offset).encode()) == (record.position.offset, record.value)


async def test_nobody_there_is_unavailable(prefix: str) -> None:
    async with KafkaLog(Cluster((f"127.0.0.1:{free_port()}",), "plaintext"), {}, prefix) as log:
        assert "kafka.away" == await code_of(log.append("single", b"k", b"v", {}))
        assert "kafka.away" == await code_of(log.read("single", 0, 0, 1))


async def test_the_wrong_protocol_is_told_from_nobody_there(kafka: str, prefix: str) -> None:
    async with KafkaLog(Cluster((kafka,), "ssl"), {}, prefix) as log:
        assert await code_of(log.append("single", b"k", b"v", {})) in ("kafka.tls", "kafka.away")


@pytest.mark.parametrize("name", ["ca_file", "certificate_file"])
async def test_a_certificate_that_cannot_be_read_is_told(kafka: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "file.pem").write_text("not PEM")
    for path in (tmp_path / "file.pem", tmp_path / "none.pem"):
        cluster = replace(Cluster((kafka,), "ssl"), **{name: path})
        async with KafkaLog(cluster, {}) as log:
            assert "kafka.certificate" == await code_of(log.append("single", b"k", b"v", {}))


async def test_a_clusters_repr_shows_no_password() -> None:
    cluster = Cluster(("host:9092",), "sasl_ssl", "user", "CANARY", key_file=Path("CANARY"))
    assert "CANARY" not in repr(cluster)


async def test_an_error_of_kafka_says_nothing_that_was_sent() -> None:
    assert "CANARY" not in f"{fault_of(ValueError('CANARY'))!r}"


@pytest_asyncio.fixture
async def own_kafka(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Cluster, list[int]]]:
    """A Kafka that a test may stop: its cluster and the ids of its processes."""
    if os.environ.get("UNEFOIS_TEST_KAFKA"):
        pytest.skip("the Kafka of the environment is not ours to stop")
    run = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    pids: list[int] = []
    try:
        address = await asyncio.to_thread(shared.address, "kafka", tmp_path, run.pid)
        port = address.rpartition(":")[2]
        processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
        pids += [int(path.name) for path in processes if _is_node(path, tmp_path, port)]
        if not pids:
            pytest.skip("Kafka runs in a container")
        yield Cluster((address,), "plaintext"), pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        run.kill()
        run.communicate()


def _is_node(proc: Path, folder: Path, port: str) -> bool:
    """Whether this is the Java process that listens on the port: the one whose settings say so."""
    try:
        words = (proc / "cmdline").read_bytes().split(b"\x00")
        if b"kafka.Kafka" not in words:
            return False
        return f":{port}".encode() in Path(words[words.index(b"kafka.Kafka") + 1].decode()).read_bytes()
    except OSError:
        return False


def stop(pid: int) -> None:
    """SIGSTOP, and until it has come to every thread: the signal is sent before it is heard."""
    os.kill(pid, signal.SIGSTOP)
    while {"T"} != {_state(thread) for thread in Path(f"/proc/{pid}/task").iterdir()}:
        os.sched_yield()


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended meanwhile
        return ""


async def test_a_kafka_that_hangs_ends_the_wait_and_what_was_asked_for_may_be_there_once(
    own_kafka: tuple[Cluster, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "APPEND_SECONDS", 2)
    monkeypatch.setattr(adapter, "CLOSE_SECONDS", 1)
    cluster, pids = own_kafka
    await cluster.make_topic("single", 1, 1)
    async with KafkaLog(cluster, {"single": 1}) as log:
        await log.append("single", b"k", b"first", {})
        for pid in pids:
            stop(pid)
        assert "kafka.timeout" == await code_of(log.append("single", b"k", b"second", {}))
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        monkeypatch.setattr(adapter, "APPEND_SECONDS", 20)
        await log.append("single", b"k", b"third", {})
        values = [record.value for record in await log.read("single", 0, 0, 10)]
    assert values in ([b"first", b"third"], [b"first", b"second", b"third"], [b"first", b"third", b"second"])


@pytest.mark.proof
async def test_a_kafka_that_dies_is_unavailable_in_bounded_time(
    own_kafka: tuple[Cluster, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "APPEND_SECONDS", 2)
    monkeypatch.setattr(adapter, "CLOSE_SECONDS", 1)
    cluster, pids = own_kafka
    await cluster.make_topic("single", 1, 1)
    async with KafkaLog(cluster, {"single": 1}) as log:
        await log.append("single", b"k", b"first", {})
        assert 1 == len(await log.read("single", 0, 0, 10))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert await code_of(log.append("single", b"k", b"second", {})) in ("kafka.timeout", "kafka.away")
        assert await code_of(log.append("single", b"k", b"third", {})) in ("kafka.timeout", "kafka.away")
        assert await code_of(log.read("single", 0, 1, 10)) in ("kafka.timeout", "kafka.away")
    pids.clear()


async def test_without_its_driver_a_log_on_kafka_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("aiokafka", "broker.log.kafka"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    chosen = load(home=tmp_path, log="kafka", kafka_bootstrap="host:9092", kafka_security="plaintext")
    async with AsyncExitStack() as ending:
        store = await ending.enter_async_context(Store.open(chosen.database_url))
        with pytest.raises(Refused) as raised:
            await ending.enter_async_context(open_log(chosen, store, lambda: 0))
    assert ("log.no-driver", "aiokafka") == (raised.value.code, raised.value.details["driver"])


async def test_a_kafka_that_answers_again_is_not_said_to_ask_for_a_credential(kafka: str) -> None:
    """Whoever asks why has failed a moment ago; a port without accounts must not be taken for one that wants them."""
    assert "kafka.away" == (await Cluster((kafka,), "plaintext").reason()).code
