"""Three Kafka nodes as an operator runs them: TLS, SCRAM-SHA-512, access lists that start from "nobody".

Each node is broker and controller (KRaft), a process of its own from the same jars as the one node of `kafka.py`, with
a small heap. A test may kill one, stop it, let it go on and start it again: what it wrote to its disk stays.
Keeps: three copies, two of them in sync before anything is acknowledged, no unclean election; the brokers' own account
is the only one that may do everything; nothing outlives the `with` block.
"""

import base64
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from broker.log.kafka_cluster import Cluster
from tests.services import certificates, kafka
from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, free_port, listens, tail, wait_for

ADMIN = "admin"
HEAP = ("-Xms96m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_SECONDS = 180
"""On a machine that has other things to do; alone it takes seven."""
ANSWER_SECONDS = 60

COMMON = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENTS",
    "controller.listener.names": "CONTROLLER",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # The controllers' own listener is in clear, on the loopback address: who comes there has no name.
    "super.users": f"User:{ADMIN};User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "false",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "group.initial.rebalance.delay.ms": "0",
    # How soon a broker that is gone is out of the sets of replicas: a third of the default, to wait less.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "controlled.shutdown.enable": "false",
    # A node that has not found the others by then ends itself, and its last words are a trace that says nothing of it.
    # A minute by default: too short where three of them start on a machine that has much else to do.
    "initial.broker.registration.timeout.ms": str(START_SECONDS * 1000),
    # By default 128 MB in one piece at the start, of a heap of 256: sometimes there was none so large.
    "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
}


@dataclass
class Node:
    """One of the three."""

    number: int
    port: int
    folder: Path
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin, or begin again with what is on the disk; returns at once.

        Not in a thread of its own: the kernel ends a node with the thread that started it.
        """
        with (self.folder / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                bound_to_parent(self.command), stdout=output, stderr=output, cwd=self.folder
            )

    def listening(self) -> None:
        """Return once it takes connections. Raises Absent."""
        wait_for(lambda: listens(self.port), self.running, START_SECONDS, str(self.folder / "server.log"))

    def kill(self) -> None:
        """At once, as by a power cut."""
        self.running.kill()
        self.running.wait()

    def stop(self) -> None:
        """It stands still: its connections stay open, and nothing answers."""
        self.running.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It goes on where it stood, and does not know that time passed."""
        self.running.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """However it is. Its folder is thrown away, so it need not close anything."""
        if self.process is not None:
            self.kill()

    @property
    def running(self) -> "subprocess.Popen[bytes]":
        """Its process."""
        assert self.process is not None
        return self.process


@dataclass(frozen=True)
class Three:
    """The cluster, and who may do what there."""

    nodes: tuple[Node, ...]
    ca_file: Path
    passwords: dict[str, str] = field(repr=False)

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """`host:port` of each node."""
        return tuple(node.address for node in self.nodes)

    def cluster(self, user: str = ADMIN) -> Cluster:
        """How our own code reaches it as this user."""
        return Cluster(self.bootstrap, "sasl_ssl", user, self.passwords[user], "SCRAM-SHA-512", self.ca_file)

    def settings(self, user: str) -> dict[str, Any]:
        """What a home's settings say to reach it as this user."""
        return {
            "log": "kafka",
            "kafka_bootstrap": ",".join(self.bootstrap),
            "kafka_security": "sasl_ssl",
            "kafka_username": user,
            "kafka_password": self.passwords[user],
            "kafka_ca_file": str(self.ca_file),
        }

    def client(self, user: str = ADMIN) -> dict[str, Any]:
        """What librdkafka, a client that we did not write, is told to reach it as this user."""
        return {
            "bootstrap.servers": ",".join(self.bootstrap),
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.passwords[user],
            "ssl.ca.location": str(self.ca_file),
            "log_level": 0,
        }

    def admin(self) -> AdminClient:
        """An administrator with Kafka's own calls, as the account that may do everything."""
        return AdminClient(self.client())

    def enlist(self, user: str) -> None:
        """A new account, that may do nothing yet."""
        self.passwords[user] = secrets.token_urlsafe(18)
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(user, credential, self.passwords[user].encode())
        admin = self.admin()  # a client that nobody holds is gone before it has its answer
        for answer in admin.alter_user_scram_credentials([wanted]).values():
            answer.result(ANSWER_SECONDS)

    def withdraw(self, user: str) -> None:
        """The account's credential is over: who is inside stays until it connects anew."""
        admin = self.admin()
        for answer in admin.alter_user_scram_credentials(
            [UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)]
        ).values():
            answer.result(ANSWER_SECONDS)

    def allow(self, user: str, name: str, *operations: AclOperation, kind: ResourceType = ResourceType.TOPIC) -> None:
        """An account may do this with the topics, or groups, whose names begin so."""
        bindings = [
            AclBinding(
                kind, name, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW
            )
            for operation in operations
        ]
        admin = self.admin()
        for answer in admin.create_acls(bindings).values():
            answer.result(ANSWER_SECONDS)

    def leader(self, topic: str, partition: int = 0) -> Node:
        """Who leads a partition now, as the cluster says."""
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            found = self.admin().list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
            number = found.partitions[partition].leader if found.error is None else -1
            if number > 0:
                return self.nodes[number - 1]
        raise TimeoutError(f"nobody leads {topic}")

    def in_sync(self, topic: str, partition: int = 0) -> set[int]:
        """The numbers of the nodes that have all of a partition, as the cluster says."""
        found = self.admin().list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        return set(found.partitions[partition].isrs)

    def whole(self, *topics: str) -> None:
        """Start who is down, wake who stands still, and return once all three have everything of these topics.

        As `Node.start`: not in a thread.
        """
        for node in self.nodes:
            if node.running.poll() is not None:
                node.start()
            node.go_on()
        for node in self.nodes:
            node.listening()
        until = time.monotonic() + START_SECONDS
        while not all(len(self._copies(topic)) == 3 for topic in topics):
            if time.monotonic() > until:
                raise TimeoutError("a node did not catch up")
            time.sleep(0.1)

    def _copies(self, topic: str) -> set[int]:
        """The nodes that are in sync for all of its partitions."""
        found = self.admin().list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        return set.intersection(*(set(one.isrs) for one in found.partitions.values()))


@contextmanager
def running() -> Iterator[Three]:
    """The three nodes, for this block. Raises Absent."""
    java, libs = kafka.java(), kafka.jars()
    folder = Path(tempfile.mkdtemp(prefix="unefois-three-"))
    nodes: list[Node] = []
    try:
        made = _made(java, libs, folder)
        nodes += made.nodes
        for node in nodes:
            node.start()
        for node in nodes:
            node.listening()
        _answers(made)
        yield made
    finally:
        for node in nodes:
            node.end()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(made: Three) -> None:
    """Return once all three are in the cluster."""
    until = time.monotonic() + START_SECONDS
    while True:
        found = made.admin().list_topics(timeout=5).brokers if all(listens(node.port) for node in made.nodes) else {}
        if len(found) == len(made.nodes):
            return
        if time.monotonic() > until:
            raise Absent(f"three Kafka nodes did not find each other: {tail(str(made.nodes[0].folder / 'server.log'))}")


def _made(java: str, libs: Path, folder: Path) -> Three:
    """Three folders, formatted, with one account."""
    server, authority = certificates.make(folder)
    passwords = {ADMIN: secrets.token_urlsafe(18)}
    ports = [(free_port(), free_port()) for _ in range(3)]
    identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    voters = ",".join(f"{number}@127.0.0.1:{inner}" for number, (_, inner) in enumerate(ports, 1))
    common = COMMON | {
        "controller.quorum.voters": voters,
        "ssl.keystore.location": str(server),
        "ssl.truststore.location": str(authority),
        "listener.name.clients.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{passwords[ADMIN]}";'
        ),
    }
    nodes = []
    for number, (clients, inner) in enumerate(ports, 1):
        place = folder / str(number)
        place.mkdir()
        own = {
            "node.id": str(number),
            "listeners": f"CLIENTS://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{inner}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{clients}",
            "log.dirs": str(place / "log"),
        }
        kafka.write_properties(place / "server.properties", common | own)
        command = [java, *HEAP, "-cp", f"{libs}/*", "kafka.Kafka", str(place / "server.properties")]
        nodes.append(Node(number, clients, place, command))
    scram = f"SCRAM-SHA-512=[name={ADMIN},password={passwords[ADMIN]}]"
    format_storage(
        [java, *HEAP, "-cp", f"{libs}/*", "kafka.tools.StorageTool", "format"], nodes, identity, "--add-scram", scram
    )
    return Three(tuple(nodes), authority, passwords)


def format_storage(tool: Sequence[str], nodes: Sequence[Node], identity: str, *more: str) -> None:
    """All at once. Raises Absent."""
    started = [
        subprocess.Popen(
            bound_to_parent([*tool, f"--cluster-id={identity}", "-c", str(node.folder / "server.properties"), *more]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=node.folder,
        )
        for node in nodes
    ]
    told = [process.communicate()[0].decode(errors="replace") for process in started]
    for process, words in zip(started, told, strict=True):
        if process.returncode != 0:
            raise Absent(f"Kafka's storage could not be formatted: {words[-300:]}")
