"""A look at Kafka before anything begins: is it ours to use, and does it keep what it promises?

Refuses: a topic that would lose what it acknowledged, mix up a citizen's order, or take less than we may send; to be
asked by somebody who may not do there what the process is for.
Keeps: it changes nothing. Where Kafka is away the answer is Unavailable, and waiting mends it; everything else is
Refused: somebody has to change a setting, here or there.
"""

from collections.abc import Iterator

from broker.log.kafka_admin import Admin, TopicState
from broker.log.kafka_cluster import BATCH_BYTES, Cluster
from schemas.errors import Fault, Refused, Unavailable

AWAY = frozenset({"kafka.away", "kafka.timeout"})


async def look(
    cluster: Cluster,
    name: str,
    *,
    partitions: int | None,
    replicas: int,
    needed: frozenset[str],
    expected: str | None,
) -> tuple[Fault, ...]:
    """Everything that is wrong, the cause before what follows from it: of another cluster than the `expected` one no
    more is told, for nobody should mend it.
    """
    try:
        state = await _state(cluster, name)
        if expected is not None and await Admin(cluster).cluster_id() != expected:
            return (Refused("kafka.other-cluster"),)
    except Unavailable as fault:
        return (fault if fault.code in AWAY else Refused(fault.code, fault.pointer, **fault.details),)
    if state is None:
        return (Refused("kafka.topic-missing", topic=name),)
    return tuple(judged(name, state, partitions, replicas, needed))


async def _state(cluster: Cluster, name: str) -> TopicState | None:
    """The topic as it is; None where there is none."""
    try:
        await cluster.topic(name)  # this client tells best why it does not get in
    except Unavailable as fault:
        if fault.code == "kafka.topic-missing":
            return None
        raise
    return (await Admin(cluster).topics([name])).get(name)


def judged(
    name: str, state: TopicState, partitions: int | None, replicas: int, needed: frozenset[str]
) -> Iterator[Refused]:
    """What is wrong with a topic as Kafka tells it."""
    for operation in sorted(needed - state.allowed):
        yield Refused("kafka.may-not", topic=name, operation=operation)
    if partitions is not None and state.partitions != partitions:
        yield Refused("kafka.partitions", topic=name, count=state.partitions, needed=partitions)
    if state.replicas < replicas:
        yield Refused("kafka.replicas", topic=name, count=state.replicas, needed=replicas)
    synced = int(state.settings.get("min.insync.replicas", 1))
    if synced < max(1, replicas - 1):
        yield Refused("kafka.min-insync", topic=name, count=synced, needed=replicas - 1)
    if int(state.settings.get("max.message.bytes", 0)) < BATCH_BYTES:
        yield Refused("kafka.record-size", topic=name)
    kept = [state.settings.get(key) for key in ("retention.ms", "retention.bytes")]
    if kept != ["-1", "-1"] or "compact" in state.settings.get("cleanup.policy", ""):
        yield Refused("kafka.retention", topic=name)
    if state.settings.get("unclean.leader.election.enable") == "true":
        yield Refused("kafka.unclean", topic=name)
