"""The fleet: the broker as a country runs it, in processes side by side on a real PostgreSQL, with or without Kafka.

Routers and ledger are `unefois serve`; the source, the intake and the recipients are processes of their own, so that
the cost of each party is told apart, by the processor time that the machine says it spent. Everything shares the same
cores, the load generator included, which has made its envelopes before the clock starts.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import make_url, text

from broker.settings.choices import Settings, load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store.engine import Transaction
from schemas.names import PartyId
from tests.bench.figures import Figure, cost, percentile, rate
from tests.bench.floor import Floor, measure
from tests.bench.spine import FIELDS, RECIPIENTS, allow, enrol
from tests.services.databases import plain
from tests.world import World, populate

ROOT = Path(__file__).parents[2]
CORES = 2
ROUTERS = 2
PARTITIONS = 4
IDLE = 40
REVOKED = 100
TICKS = os.sysconf("SC_CLK_TCK")


class Worker:
    """One process of `tests.bench.worker`, ready to begin."""

    def __init__(self, environment: Mapping[str, str], *words: object) -> None:
        command = [sys.executable, "-m", "tests.bench.worker", *(str(word) for word in words)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._out().readline() != "ready\n":
            raise RuntimeError(f"{words[0]} did not start")

    def begin(self) -> None:
        """Let it go."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.close()

    def told(self) -> dict[str, Any]:
        """Wait for its end."""
        found: dict[str, Any] = json.loads(self._out().readline())
        if self._process.wait() != 0:
            raise RuntimeError("a worker failed")
        return found

    def _out(self) -> Any:
        return self._process.stdout

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid


class Recipients:
    """All of them, in as many processes as the agencies' API would have on two cores."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def begin(self) -> None:
        """Let them go."""
        for each in self._workers:
            each.begin()

    def told(self) -> dict[str, Any]:
        """What one process of all of them would tell."""
        parts = [each.told() for each in self._workers]
        handed: dict[str, list[float]] = {}
        for part in parts:
            for id_, at in part["handed"].items():
                handed.setdefault(id_, []).extend(at)
        summed = {name: sum(part[name] for part in parts) for name in ("opening", "cpu")}
        return {"ended": max(part["ended"] for part in parts), "handed": handed, **summed}


@dataclass
class Fleet:
    """A home that is served, and the processes that serve it."""

    settings: Settings
    environment: Mapping[str, str]
    parties: list[PartyId]
    folder: Path
    serving: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def serve(self, role: str) -> "subprocess.Popen[bytes]":
        """One more process; returns once it says that it runs."""
        command = [sys.executable, "-m", "broker", "serve", "--role", role, "--listen", "none"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.serving.append(process)
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError(f"{role} did not start")
        return process

    def worker(self, *words: object) -> Worker:
        """One more worker."""
        return Worker(self.environment, *words)

    def recipients(self, count: int) -> Recipients:
        """Who receives so many declarations."""
        shares = [self.parties[number::CORES] for number in range(CORES)]
        return Recipients([self.worker("receive", count * len(share), *share) for share in shares])

    def made(self, first: int, count: int) -> tuple[Path, float]:
        """Envelopes of so many citizens in a file, and the processor seconds that they took."""
        file = self.folder / f"envelopes-{first}"
        source = self.worker("declare", file, first, count)
        source.begin()
        return file, source.told()["spent"]

    def through(self, file: Path, count: int, per_second: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the intake and the recipients tell when these envelopes went through."""
        recipients = self.recipients(count)
        intake = self.worker("accept", file, per_second)
        recipients.begin()
        intake.begin()
        return intake.told(), recipients.told()


def spent(pids: Sequence[int]) -> float:
    """Processor seconds of these processes, of their children that live, and of those that they have buried."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        total += sum(int(each) for each in fields[11:15])
    return total / TICKS


def named(name: str) -> list[int]:
    """Our descendants whose command begins so: the servers that this run started."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                told = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            pid = int(entry.name)
            names[pid] = told.partition("(")[2].rpartition(")")[0]
            parents[pid] = int(told.rpartition(")")[2].split()[1])

    def ours(pid: int) -> bool:
        while pid in parents:
            if pid == os.getpid():
                return True
            pid = parents[pid]
        return False

    return [pid for pid, found in names.items() if found.startswith(name) and ours(pid)]


@asynccontextmanager
async def fleet(people: int, told: Mapping[str, Any]) -> AsyncIterator[tuple[Fleet, Floor]]:
    """A served home with recipients and the consents of so many people; `told`: settings of its database and log."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = {**told, "home": Path(folder) / "home", "log_partitions": PARTITIONS}
        settings = load(**chosen)
        await create_home(settings)
        async with open_home(settings) as home:
            here = World(home, home.clock, Path(folder))  # type: ignore[arg-type]
            await populate(here)
            parties = await enrol(here)
            await allow(here, parties, 0, people)
            floor = measure(here, RECIPIENTS, len(FIELDS), 200)
        named = {f"UNEFOIS_{name.upper()}": str(value) for name, value in chosen.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNEFOIS_")}
        served = Fleet(settings, kept | named, parties, Path(folder))
        try:
            yield served, floor
        finally:
            for process in served.serving:
                process.kill()
                process.communicate()


def throughput(served: Fleet, floor: Floor, count: int) -> list[Figure]:
    """As fast as it goes, from the first that is handed in to the last that is acknowledged; and who spent what."""
    file, signing = served.made(0, count)
    servers = {"PostgreSQL": named("postgres"), "Kafka": named("java")}
    before = {name: spent(pids) for name, pids in servers.items()}
    ours = [process.pid for process in served.serving]
    began = spent(ours)
    intake, recipients = served.through(file, count, 0)
    serving = spent(ours) - began
    after = {name: spent(named("postgres" if name == "PostgreSQL" else "java")) for name in servers}
    seconds = recipients["ended"] - intake["began"]
    broker = intake["cpu"] + serving + recipients["cpu"] - recipients["opening"]
    each = 1000 / count
    return [
        rate(f"1 source to {RECIPIENTS} recipients, declarations", count / seconds, 1 / floor.total, 0.45),
        cost("  accepted alone, declarations a second", "1/s", count / (intake["ended"] - intake["began"]), None),
        cost("  processor, a declaration: load generator", "ms", signing * each, None, 1000 * floor.source),
        cost("  processor, a declaration: broker", "ms", broker * each, None, 1000 * floor.broker),
        cost(
            "  processor, a declaration: recipients", "ms", recipients["opening"] * each, None, 1000 * floor.recipients
        ),
        *(
            cost(f"  processor, a declaration: {name}", "ms", (after[name] - before[name]) * each, None)
            for name, pids in servers.items()
            if pids
        ),
    ]


def waits(intake: Mapping[str, Any], recipients: Mapping[str, Any]) -> list[float]:
    """Seconds from each declaration's turn at the intake to each recipient's keys."""
    return [at - began for id_, began in intake["accepted"].items() for at in recipients["handed"][id_]]


def latency(served: Fleet, first: int, count: int, per_second: float) -> list[Figure]:
    """Idle: one after the other with time between; loaded: half of what goes through at most."""
    file, _ = served.made(first, IDLE)
    idle = waits(*served.through(file, IDLE, 4))
    loaded_rate = per_second / 2
    file, _ = served.made(first + IDLE, count)
    loaded = waits(*served.through(file, count, loaded_rate))
    return [
        cost("accept to handed over, idle, p50", "ms", 1000 * statistics.median(idle), 25),
        cost(f"accept to handed over, {loaded_rate:.0f}/s, p50", "ms", 1000 * statistics.median(loaded), None),
        cost(f"accept to handed over, {loaded_rate:.0f}/s, p99", "ms", 1000 * percentile(loaded, 0.99), 150),
    ]


def revocations(served: Fleet, first: int, count: int, per_second: float) -> Figure:
    """Revocations of citizens' consents while half of what goes through at most goes through."""
    file, _ = served.made(first, count)
    citizen = served.worker("revoke", first + count, REVOKED, served.parties[0])
    recipients = served.recipients(count)
    intake = served.worker("accept", file, per_second / 2)
    for each in (recipients, intake, citizen):
        each.begin()
    took = citizen.told()["took"]
    intake.told()
    recipients.told()
    return cost("revocation acknowledged, under load, p99", "ms", 1000 * percentile(took, 0.99), 20)


def recovery(served: Fleet, first: int) -> list[Figure]:
    """A router is killed; a declaration for each partition, at least, is handed in at that moment."""
    people = 4 * PARTITIONS
    routers = [process for process in served.serving if process.args[-3] == "router"]  # type: ignore[index]
    file, _ = served.made(first, people)
    routers[0].send_signal(signal.SIGKILL)
    routers[0].wait()
    taken_over = waits(*served.through(file, people, 0))
    file, _ = served.made(first + people, people)
    for router in routers[1:]:
        router.send_signal(signal.SIGKILL)
        router.wait()
    recipients = served.recipients(people)
    intake = served.worker("accept", file, 0)
    recipients.begin()
    intake.begin()
    served.serve("router")
    begun_again = waits(intake.told(), recipients.told())
    return [
        cost("one of two routers killed: its share handed over after", "s", max(taken_over), 5),
        cost("every router killed, one started: handed over after", "s", max(begun_again), 5),
    ]


async def run(count: int, told: Mapping[str, Any]) -> list[Figure]:
    """Every figure of one mode."""
    async with fleet(3 * count + IDLE + REVOKED + 8 * PARTITIONS, told) as (served, floor):
        for role in (*["router"] * ROUTERS, "ledger", "upkeep"):
            served.serve(role)
        figures = throughput(served, floor, count)
        per_second = figures[0].value
        figures += latency(served, count, count, per_second)
        figures.append(revocations(served, 2 * count + IDLE, count, per_second))
        figures += recovery(served, 3 * count + IDLE + REVOKED)
    return figures


async def unhurried(tx: Transaction) -> None:
    """For making more in one statement than a broker would: as long as it takes, and with room to sort."""
    await tx.execute(text("SET LOCAL statement_timeout = 0"))
    await tx.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))


async def settled(url: str) -> None:
    """What a PostgreSQL does in its idle hours: hint bits, the visibility map, and the dirty pages to disk."""
    connection = await asyncpg.connect(plain(make_url(url)))
    try:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@contextmanager
def servers(mode: str) -> Iterator[dict[str, Any]]:
    """Settings of a new database, and of a new topic in cluster mode, on servers started for the block."""
    import asyncio
    import secrets
    from contextlib import ExitStack

    from broker.log.kafka_cluster import Cluster
    from broker.store import migrate
    from tests.services import kafka, postgres
    from tests.services.databases import databases

    with ExitStack() as started:
        database = started.enter_context(databases(started.enter_context(postgres.running())))
        told: dict[str, Any] = {"database_url": database.server.render_as_string(hide_password=False)}
        asyncio.run(migrate.upgrade(told["database_url"]))
        if mode == "cluster":
            address, prefix = started.enter_context(kafka.running()), f"bench{secrets.token_hex(4)}."
            asyncio.run(Cluster((address,), "plaintext").make_topic(f"{prefix}declarations", PARTITIONS, 1))
            told |= {
                "log": "kafka",
                "kafka_bootstrap": address,
                "kafka_security": "plaintext",
                "kafka_replicas": "1",
                "kafka_topic_prefix": prefix,
            }
        yield told
