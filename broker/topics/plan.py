"""Plan: what `unefois topics plan` tells and `apply` does, for the settings and the directory as they are now.

Refuses: to change anything where a difference needs a person: copies of a topic, partitions of the log, the rights of
somebody whom nobody named. These are told with their code, and the rest is done.
Keeps: applied twice, the second time does nothing; interrupted, the next time goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.flow.router import TOPIC
from broker.log.kafka_admin import Admin
from broker.log.kafka_cluster import Cluster
from broker.settings.choices import Settings
from broker.store.engine import Store
from broker.store.rows.seals import RowReader
from broker.topics import served
from broker.topics.wanted import ROLES, Desired, Shape, Step, desired, difference
from schemas.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Looked:
    """What is wanted, what differs from it, and whether Kafka has access lists at all."""

    wanted: Desired
    steps: tuple[Step, ...]
    access_lists: bool


def shape_of(settings: Settings) -> Shape:
    """What the settings say."""
    own = settings.kafka_username
    principals = {role: name for role in ROLES if (name := settings.kafka_principals.get(role, own)) is not None}
    return Shape(
        log=TOPIC,
        log_partitions=settings.log_partitions,
        partitions=settings.kafka_partitions,
        replicas=settings.kafka_replicas,
        prefix=settings.kafka_topic_prefix,
        principals=principals,
    )


async def plan(store: Store, rows: RowReader, cluster: Cluster, shape: Shape) -> Looked:
    """Look, and change nothing. Raises Unavailable."""
    async with store.read() as tx:
        wanted = desired(shape, await served.users(tx, rows, ended=True))
    try:
        admin = Admin(cluster)
        there = await admin.topics(wanted.topics)
    except Unavailable as fault:
        if fault.code in ("kafka.timeout", "kafka.away"):
            raise await cluster.reason() from None
        raise
    rules = await admin.rules(wanted.names)
    return Looked(wanted, difference(wanted, there, rules), rules is not None)


async def apply(cluster: Cluster, looked: Looked) -> tuple[Step, ...]:
    """Do what a program may; returns what it did. Raises Unavailable: what was done before stays done."""
    admin, done = Admin(cluster), []
    for step in looked.steps:
        if step.code is None:
            await _do(admin, step, looked.wanted)
            done.append(step)
    return tuple(done)


def left(steps: Sequence[Step]) -> tuple[Step, ...]:
    """What is left to a person."""
    return tuple(step for step in steps if step.code is not None)


async def _do(admin: Admin, step: Step, wanted: Desired) -> None:
    # Crash anywhere here: Kafka has it or not; the next plan looks what is there.
    if step.rule is not None:
        await (admin.allow if step.what == "allow" else admin.disallow)(step.rule)
        return
    topic = wanted.topics[step.name]
    if step.what == "create":
        await admin.create_topic(step.name, topic.partitions, wanted.replicas, topic.settings)
    elif step.what == "partitions":
        await admin.add_partitions(step.name, topic.partitions)
    else:
        key = step.told.partition(" ")[0]
        await admin.set_settings(step.name, _only(topic.settings, key))


def _only(settings: Mapping[str, str], key: str) -> dict[str, str]:
    return {key: settings[key]}
