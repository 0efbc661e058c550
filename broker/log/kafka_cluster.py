"""The Kafka cluster: how it is reached, what a topic of ours is like, and Kafka's errors as our own.

Refuses: nothing by itself; every error of the client leaves here as Unavailable with a code that says what to mend, for
no declaration is wrong because Kafka is.
Keeps: the security protocol is always told, never guessed.
Source: kafka.apache.org, "Producer configs", "Topic configs"; KIP-98 (idempotence).
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn

from broker.ports import RECORD_BYTES
from schemas.errors import Unavailable

Protocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]

REQUEST_MS: Final = 10_000
"""How long one request to Kafka may take."""
PROBE_SECONDS: Final = 3
BATCH_BYTES: Final = RECORD_BYTES + 16 * 1024
"""What a topic must take in one batch: the largest record, and Kafka's own framing of it and of its headers."""


def lasting(replicas: int) -> dict[str, str]:
    """The settings of a topic that keeps what it holds and never loses what it acknowledged."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
        "max.message.bytes": str(BATCH_BYTES),
        # The broker's clock, so that a writer whose clock is wrong cannot make Kafka think that a record is old.
        "message.timestamp.type": "LogAppendTime",
    }


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as Kafka has it."""

    partitions: int
    replicas: int
    """Copies of the partition that has the fewest."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Kafka is, and as whom we come."""

    bootstrap: tuple[str, ...]
    """`host:port` of some of its brokers."""
    protocol: Protocol
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: Mechanism = "SCRAM-SHA-512"
    ca_file: Path | None = None
    """PEM; without it, the system's certificate authorities."""
    certificate_file: Path | None = None
    """PEM, the certificate and its chain, where the brokers ask for one (with `key_file`)."""
    key_file: Path | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """What every client of aiokafka is made with. Raises Unavailable `kafka.certificate`."""
        return {"bootstrap_servers": list(self.bootstrap), "request_timeout_ms": REQUEST_MS, **self._security()}

    async def topic(self, name: str) -> Topic:
        """Raises Unavailable: `kafka.topic-missing`, `kafka.not-allowed`, and what reaching Kafka raises."""
        async with _Admin(self) as admin:
            (found,) = await admin.describe_topics([name])
        _check(found["error_code"], name)
        copies = [len(partition["replicas"]) for partition in found["partitions"]]
        if not copies:
            raise Unavailable("kafka.topic-missing", topic=name)
        return Topic(len(copies), min(copies))

    async def make_topic(self, name: str, partitions: int, replicas: int) -> bool:
        """Make a topic that keeps what it holds and never loses what it acknowledged; False when it is there already.

        Returns when it can be asked for, which is a moment after the controller has made it. Raises Unavailable.
        """
        async with _Admin(self) as admin:
            answer = await admin.create_topics([NewTopic(name, partitions, replicas, topic_configs=lasting(replicas))])
        ((_, code, *_),) = answer.topic_errors
        if code == errors.TopicAlreadyExistsError.errno:
            return False
        _check(code, name)
        for _ in range(REQUEST_MS // 50):
            if await self._knows(name):
                return True
            await asyncio.sleep(0.05)
        raise Unavailable("kafka.timeout")

    async def _knows(self, topic: str) -> bool:
        try:
            return (await self.topic(topic)).partitions > 0
        except Unavailable as fault:
            if fault.code != "kafka.topic-missing":
                raise
            return False

    async def reason(self) -> Unavailable:
        """Why no broker of the list could be reached: the client itself says no more than that."""
        found = Unavailable("kafka.away", error="unreachable")
        for address in self.bootstrap:
            host, _, port = address.rpartition(":")
            try:
                connection = await create_conn(
                    host,
                    int(port),
                    request_timeout_ms=REQUEST_MS,
                    **{name: told for name, told in self._security().items() if name != "bootstrap_servers"},
                )
            except (OSError, TimeoutError, errors.KafkaError) as error:
                found = fault_of(error)
                if found.code == "kafka.away" and not self.protocol.endswith("ssl"):
                    found = await self._spoken(host, int(port)) or found
            else:
                connection.close()
                if self.protocol in ("plaintext", "ssl"):
                    found = await self._spoken(host, int(port)) or found
        return found

    async def _spoken(self, host: str, port: int) -> Unavailable | None:
        """Whether the port answers, and only speaks another protocol than ours; None when that is not it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # to hear TLS, not to trust it
        if not self.protocol.endswith("ssl"):
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    _, writer = await asyncio.open_connection(host, port, ssl=context)
                    writer.close()
                return Unavailable("kafka.speaks-tls")
            except (OSError, TimeoutError):
                pass
        if self.protocol.startswith("sasl"):
            return None
        # Nobody is called so, and the password is none: whoever says no to it asks for one.
        nobody = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "-", "sasl_plain_password": "-"}
        sasl = {"security_protocol": f"SASL_{self.protocol.upper()}", **nobody}
        more = {"ssl_context": self._context()} if self.protocol == "ssl" else {}
        try:
            connection = await create_conn(host, port, request_timeout_ms=PROBE_SECONDS * 1000, **sasl, **more)
        except errors.IllegalSaslStateError:
            return None  # there are no accounts at this port: the fault was another, and may be over
        except (OSError, TimeoutError, errors.KafkaError) as error:
            return Unavailable("kafka.asks-credential") if fault_of(error).code == "kafka.credential" else None
        connection.close()
        return None

    def _security(self) -> dict[str, Any]:
        security: dict[str, Any] = {"security_protocol": self.protocol.upper()}
        if self.protocol in ("ssl", "sasl_ssl"):
            security["ssl_context"] = self._context()
        if self.protocol.startswith("sasl"):
            security["sasl_mechanism"] = self.mechanism
            security["sasl_plain_username"] = self.username
            security["sasl_plain_password"] = self.password
        return security

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable("kafka.certificate", error=type(error).__name__) from None
        return context


class _Admin:
    """An administrator's connection for one question."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client = AIOKafkaAdminClient(**cluster.options())

    async def __aenter__(self) -> AIOKafkaAdminClient:
        try:
            await self._client.start()
        except (OSError, TimeoutError, errors.KafkaError):
            await self._client.close()
            raise await self._cluster.reason() from None
        return self._client

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._client.close()
        if isinstance(error, (OSError, TimeoutError, errors.KafkaError)):
            raise fault_of(error) from None


@contextmanager
def faults(topic: str) -> Iterator[None]:
    """Kafka's errors inside become Unavailable."""
    try:
        yield
    except (OSError, TimeoutError, errors.KafkaError, errors.ConsumerStoppedError) as error:
        raise fault_of(error, topic) from None


def fault_of(error: BaseException, topic: str = "") -> Unavailable:
    """The error as one of ours, by its type alone: its text may quote what the other side sent."""
    for types, told in _FAULTS:
        if isinstance(error, types):
            return told(topic)
    return Unavailable("kafka.away", error=type(error).__name__)


def _check(code: int, topic: str) -> None:
    if code != 0:
        raise fault_of(errors.for_code(code)(), topic)


_FAULTS: tuple[tuple[tuple[type[BaseException], ...], Callable[[str], Unavailable]], ...] = (
    (
        (errors.UnknownTopicOrPartitionError, errors.InvalidTopicError),
        lambda topic: Unavailable("kafka.topic-missing", topic=topic),
    ),
    (
        (
            errors.TopicAuthorizationFailedError,
            errors.ClusterAuthorizationFailedError,
            errors.GroupAuthorizationFailedError,
        ),
        lambda topic: Unavailable("kafka.not-allowed", topic=topic),
    ),
    (
        (
            errors.AuthenticationFailedError,
            errors.SaslAuthenticationFailed,
            errors.AuthenticationMethodNotSupported,
            errors.UnsupportedSaslMechanismError,
            errors.IllegalSaslStateError,
        ),
        lambda _: Unavailable("kafka.credential"),
    ),
    ((ssl.SSLError,), lambda _: Unavailable("kafka.tls")),
    (
        (
            errors.NotEnoughReplicasError,
            errors.NotEnoughReplicasAfterAppendError,
            errors.InvalidReplicationFactorError,
        ),
        lambda topic: Unavailable("kafka.too-few-replicas", topic=topic),
    ),
    (
        (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
        lambda topic: Unavailable("kafka.record-size", topic=topic),
    ),
    (
        (TimeoutError, errors.KafkaTimeoutError, errors.RequestTimedOutError),
        lambda _: Unavailable("kafka.timeout"),
    ),
)
