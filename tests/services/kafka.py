"""A Kafka for tests: from Docker when an engine answers, else the real thing from its published jars, on Java.

Keeps: the jars outside the checkout, in a folder named by the hash of `kafka-pom.xml` and of their own hashes, each
checked before it is used; nothing but that folder outlives the `with` block.
"""

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.services import docker
from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, end, free_port, listens, wait_for

POM = Path(__file__).with_name("kafka-pom.xml")
HASHES = Path(__file__).with_name("kafka-jars.sha256")
IMAGE = "apache/kafka:4.3.1"
DOWNLOAD_SECONDS = 180

ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENTS",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


@contextmanager
def running() -> Iterator[str]:
    """The address (`host:port`, plain text) of one node for this block. Raises Absent."""
    if docker.answers():
        with docker.kafka(IMAGE, ONE_NODE) as address:
            yield address
        return
    program, libs = java(), jars()
    folder = Path(tempfile.mkdtemp(prefix="unefois-kafka-"))
    try:
        with _node(program, libs, folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def behind(port: int) -> Iterator[str]:
    """The address of a node of the caller's own that tells its clients to come to another port. Raises Absent."""
    program, libs = java(), jars()
    folder = Path(tempfile.mkdtemp(prefix="unefois-kafka-"))
    try:
        with _node(program, libs, folder, port) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def jars() -> Path:
    """The folder of Kafka's jars, fetched with Maven at first use. Raises Absent."""
    key = hashlib.sha256(POM.read_bytes() + HASHES.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unefois-tests"
    place = cache / f"kafka-{key}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        fetched = Path(tempfile.mkdtemp(prefix="fetching-", dir=cache))
        try:
            _fetch(fetched)
            _check(fetched)
            # Killed before this: the next run fetches again. Two runs at once: the second finds the place taken.
            if not place.is_dir():
                fetched.rename(place)
        finally:
            shutil.rmtree(fetched, ignore_errors=True)
    _check(place)
    return place


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Absent("no Docker engine, and no Maven (mvn) to fetch Kafka's jars")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    with tempfile.TemporaryDirectory() as work:
        shutil.copyfile(POM, Path(work) / "pom.xml")
        try:
            done = subprocess.run(
                bound_to_parent([maven, "-q", "-B", *goal]),
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=DOWNLOAD_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Absent(f"Maven did not fetch Kafka's jars within {DOWNLOAD_SECONDS} s") from None
    if done.returncode != 0:
        raise Absent("Maven could not fetch Kafka's jars")


def _check(folder: Path) -> None:
    expected = dict(reversed(line.split()) for line in HASHES.read_text().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise Absent(f"Kafka's jars in {folder} are not those that were pinned: {', '.join(wrong)[:200]}")


def java() -> str:
    """The Java program, new enough. Raises Absent."""
    program = shutil.which("java")
    if program is None:
        raise Absent("no Docker engine, and no Java to run Kafka on")
    told = subprocess.run([program, "-version"], capture_output=True, check=False, text=True).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < 17:
        raise Absent("no Docker engine, and Kafka needs Java 17 or later")
    return program


def write_properties(path: Path, settings: Mapping[str, str]) -> None:
    """A server.properties."""
    path.write_text("".join(f"{name}={told}\n" for name, told in settings.items()))


@contextmanager
def _node(java: str, libs: Path, folder: Path, advertised: int | None = None) -> Iterator[str]:
    clients, controller = free_port(), free_port()
    properties, log = folder / "server.properties", folder / "server.log"
    write_properties(
        properties,
        ONE_NODE
        | {
            "listeners": f"CLIENTS://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{advertised or clients}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(folder / "log"),
        },
    )
    # One id in 64 begins with a dash: as a word of its own it would be taken for an option.
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{libs}/*"]
    tool = [java, *quick, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(properties)]
    made = subprocess.run(bound_to_parent(tool), capture_output=True, check=False, text=True, cwd=folder)
    if made.returncode != 0:
        raise Absent(f"Kafka's storage could not be formatted: {(made.stdout + made.stderr)[-300:]}")
    command = [java, "-Xms128m", "-Xmx512m", *quick, "kafka.Kafka", str(properties)]
    with log.open("wb") as output:
        server = subprocess.Popen(bound_to_parent(command), stdout=output, stderr=output, cwd=folder)
    try:
        wait_for(lambda: listens(clients), server, 60, str(log))
        yield f"127.0.0.1:{clients}"
    finally:
        end(server, signal.SIGTERM)
