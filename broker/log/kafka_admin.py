"""Kafka's administration: what topics, their settings and who may do what there are, and changing them.

Refuses: to delete a topic, or to change one that holds what it holds: callers cannot ask for it here.
Keeps: every call ends in bounded time; what Kafka refuses is told by a code, never by its own words.

The client of the log (aiokafka 0.14) knows no access lists and no operations that one may; this is librdkafka's, whose
calls answer in threads of their own.
Source: KIP-4 (topics, access lists), KIP-430 (what the caller may), KIP-339 (incremental settings).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from broker.log.kafka_cluster import Cluster
from schemas.errors import Unavailable

ANSWER_SECONDS: Final = 15

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as Kafka has it, and what we may do with it."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]
    allowed: frozenset[str]
    """`read`, `write`, `describe` ...; all of them where Kafka has no access lists."""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Who may do what: `kind` is `topic` or `group`, and the name is exactly that one's."""

    principal: str
    kind: str
    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.principal} {self.operation} {self.kind} {self.name}"


class Admin:
    """An administrator's connection; made for one command."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client = AdminClient(_told(cluster))

    async def cluster_id(self) -> str:
        """The identity that the cluster was formatted with. Raises Unavailable."""
        found = await _answer(self._client.describe_cluster(request_timeout=ANSWER_SECONDS))
        return str(found.cluster_id)

    async def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Those of these topics that are there. Raises Unavailable `kafka.not-allowed` for one that we may not see."""
        wanted, found = sorted(set(names)), {}
        if not wanted:
            return {}
        asked = self._client.describe_topics(
            TopicCollection(wanted), include_authorized_operations=True, request_timeout=ANSWER_SECONDS
        )
        for name in wanted:
            try:
                found[name] = await _answer(asked[name], name)
            except Unavailable as fault:
                if fault.code != "kafka.topic-missing":
                    raise
        settings = await self._settings(list(found))
        return {
            name: TopicState(
                partitions=len(one.partitions),
                replicas=min((len(each.replicas) for each in one.partitions), default=0),
                settings=settings[name],
                allowed=frozenset(each.name.lower() for each in one.authorized_operations or ()),
            )
            for name, one in found.items()
        }

    async def _settings(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        asked = self._client.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=ANSWER_SECONDS
        )
        return {
            resource.name: {name: str(entry.value) for name, entry in (await _answer(future, resource.name)).items()}
            for resource, future in asked.items()
        }

    async def rules(self, names: Iterable[str]) -> frozenset[Rule] | None:
        """What is allowed on exactly these topics and groups; None where Kafka has no access lists."""
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ALLOW
        )
        if not await self._guarded():  # it would answer with an empty list, as if nobody might do anything
            return None
        found = await _answer(self._client.describe_acls(everything, request_timeout=ANSWER_SECONDS))
        wanted = set(names)
        return frozenset(
            Rule(one.principal, one.restype.name.lower(), one.name, one.operation.name.lower())
            for one in found
            if one.name in wanted and one.restype in (ResourceType.TOPIC, ResourceType.GROUP)
        )

    async def _guarded(self) -> bool:
        """Whether Kafka asks who may do what, by the settings of one of its nodes."""
        cluster = await _answer(self._client.describe_cluster(request_timeout=ANSWER_SECONDS))
        node = ConfigResource(ResourceType.BROKER, str(cluster.nodes[0].id))
        for future in self._client.describe_configs([node], request_timeout=ANSWER_SECONDS).values():
            entry = (await _answer(future)).get("authorizer.class.name")
            return entry is not None and bool(entry.value)
        return True

    async def create_topic(self, name: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> None:
        """Raises Unavailable."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=dict(settings))
        await _answers(self._client.create_topics([topic], request_timeout=ANSWER_SECONDS), name)

    async def set_settings(self, name: str, settings: Mapping[str, str]) -> None:
        """These of a topic's settings, and no other. Raises Unavailable."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        await _answers(self._client.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS), name)

    async def add_partitions(self, name: str, total: int) -> None:
        """Up to so many; never fewer than there are. Raises Unavailable."""
        more = self._client.create_partitions([NewPartitions(name, total)], request_timeout=ANSWER_SECONDS)
        await _answers(more, name)

    async def delete_before(self, name: str, partition: int, offset: int) -> None:
        """Nobody reads what is before `offset` any more; the offsets of what comes after stay. Raises Unavailable."""
        place = TopicPartition(name, partition, offset)
        await _answers(self._client.delete_records([place], request_timeout=ANSWER_SECONDS), name)

    async def allow(self, rule: Rule) -> None:
        """Raises Unavailable."""
        await _answers(self._client.create_acls([_binding(rule)], request_timeout=ANSWER_SECONDS), rule.name)

    async def disallow(self, rule: Rule) -> None:
        """Take away exactly this. Raises Unavailable."""
        exact = _filter(rule)
        await _answers(self._client.delete_acls([exact], request_timeout=ANSWER_SECONDS), rule.name)


def _told(cluster: Cluster) -> dict[str, Any]:
    told: dict[str, Any] = {
        "bootstrap.servers": ",".join(cluster.bootstrap),
        "security.protocol": cluster.protocol.upper(),
        "log_level": 0,
        "error_cb": _nothing,
    }
    if cluster.protocol.startswith("sasl"):
        told |= {"sasl.mechanism": cluster.mechanism, "sasl.username": cluster.username or ""}
        told["sasl.password"] = cluster.password or ""
    for name, path in (
        ("ssl.ca.location", cluster.ca_file),
        ("ssl.certificate.location", cluster.certificate_file),
        ("ssl.key.location", cluster.key_file),
    ):
        if path is not None:
            told[name] = str(path)
    return told


def _nothing(_: object) -> None:
    """What it says on its way is told by the answer, too; its words may quote the other side."""


def _binding(rule: Rule) -> AclBinding:
    kind, operation = ResourceType[rule.kind.upper()], AclOperation[rule.operation.upper()]
    allow, exact = AclPermissionType.ALLOW, ResourcePatternType.LITERAL
    return AclBinding(kind, rule.name, exact, rule.principal, "*", operation, allow)


def _filter(rule: Rule) -> AclBindingFilter:
    one = _binding(rule)
    exact = ResourcePatternType.LITERAL
    return AclBindingFilter(one.restype, one.name, exact, one.principal, one.host, one.operation, one.permission_type)


async def _answers(asked: Mapping[Any, "Future[Any]"], name: str) -> None:
    for future in asked.values():
        await _answer(future, name)


async def _answer(future: "Future[Any]", topic: str = "") -> Any:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_SECONDS + 5)
    except TimeoutError:
        raise Unavailable("kafka.timeout") from None
    except KafkaException as error:
        raise _fault(error.args[0], topic) from None


def _fault(error: KafkaError, topic: str) -> Unavailable:
    for codes, told in _FAULTS:
        if error.code() in codes:
            return told(topic)
    return Unavailable("kafka.refused", topic=topic, error=str(error.name()))


_FAULTS: Final[tuple[tuple[frozenset[int], Callable[[str], Unavailable]], ...]] = (
    (
        frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}),
        lambda topic: Unavailable("kafka.topic-missing", topic=topic),
    ),
    (
        frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}),
        lambda topic: Unavailable("kafka.not-allowed", topic=topic or "(cluster)"),
    ),
    (
        frozenset({KafkaError.INVALID_REPLICATION_FACTOR}),
        lambda topic: Unavailable("kafka.too-few-replicas", topic=topic),
    ),
    (
        frozenset(
            {
                *(KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT),
                # A connection that ended while an answer was awaited: the client says that it threw its node away.
                *(KafkaError._DESTROY, KafkaError._DESTROY_BROKER, KafkaError._ALL_BROKERS_DOWN),
                *(KafkaError.NETWORK_EXCEPTION, KafkaError.BROKER_NOT_AVAILABLE, KafkaError.NOT_CONTROLLER),
            }
        ),
        lambda _: Unavailable("kafka.timeout"),
    ),
    (
        frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}),
        lambda _: Unavailable("kafka.credential"),
    ),
)
