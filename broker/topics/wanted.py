"""Wanted: which topics must be there, how, and who may do what with them; and what differs from what is.

Refuses: nothing; a difference that must not be mended by a program is told as such, with its code.
Keeps: no step deletes a topic, takes away partitions, or adds some to the log, whose keys would move. The same plan
twice says nothing the second time. An administration may read its own deliveries, receipts and dead records, and write
its own declarations; each role of ours may do what it does, and no more.
Pure: no I/O. Source: kafka.apache.org, "Topic configs", "Authorization and ACLs".
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.log.kafka_admin import Rule, TopicState
from broker.log.kafka_cluster import BATCH_BYTES, lasting
from broker.topics.served import TopicUser, dead, group, own_topics
from schemas import topics as names

DAY_MS: Final = 86_400_000
DECLARED_BYTES: Final = 1_000_000 + 16 * 1024
"""What a source may write at once: the largest envelope, and its attributes."""
KEPT_DAYS: Final = {"declarations": 30, "dead": 90, "receipts": 30, "deliveries": 7}
"""How long records of administrations' topics stay. A delivery that is not acknowledged is put there again each day."""

ROLES: Final = ("api", "router", "relay", "intake", "ledger", "connectors", "notify")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic as it must be."""

    partitions: int
    settings: Mapping[str, str]
    keyed: bool = False
    """Whether order hangs on the number of its partitions."""


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that must be there."""

    replicas: int
    topics: Mapping[str, Wanted]
    rules: frozenset[Rule]
    names: frozenset[str] = field(default_factory=frozenset)
    """Of topics and groups that are ours alone: who else is allowed there is told."""
    known: frozenset[str] = field(default_factory=frozenset)
    """Principals that we have named, now or before: what they may beyond the plan is taken away."""


@dataclass(frozen=True, slots=True)
class Step:
    """One difference. `code`: None when `apply` mends it, else why somebody has to."""

    what: str
    name: str
    told: str
    code: str | None = None
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What the settings say about topics."""

    log: str
    log_partitions: int
    partitions: int
    replicas: int
    prefix: str
    principals: Mapping[str, str]
    """Of our roles, as Kafka knows them; a role that is absent has no user, and no rules."""


def desired(shape: Shape, users: Iterable[TopicUser]) -> Desired:
    """What the settings and the directory ask for; `users` with those who were served once."""
    everybody = list(users)
    log, prefix = shape.prefix + shape.log, shape.prefix
    wanted = {log: Wanted(shape.log_partitions, lasting(shape.replicas), keyed=True)}
    rules = set(_ours(shape, log, everybody))
    for user in everybody:
        if user.ended_at is None:
            wanted |= {prefix + name: one for name, one in _of(user, shape)}
            rules |= {Rule(f"User:{user.principal}", kind, prefix + name, one) for kind, name, one in _rights(user)}
    ours = [name for user in everybody for name in (*own_topics(user), group(user.party))]
    return Desired(
        replicas=shape.replicas,
        topics=wanted,
        rules=frozenset(rules),
        names=frozenset({log, *(prefix + name for name in ours)}),
        known=frozenset(f"User:{one}" for one in (*(user.principal for user in everybody), *shape.principals.values())),
    )


def difference(wanted: Desired, there: Mapping[str, TopicState], rules: frozenset[Rule] | None) -> tuple[Step, ...]:
    """What `there`, and the rules that are, lack or have too much. `rules` None: Kafka has no access lists."""
    steps = [step for name, one in sorted(wanted.topics.items()) for step in _topic(name, one, there.get(name), wanted)]
    if rules is None:
        return tuple(steps)
    steps += [Step("allow", rule.name, str(rule), rule=rule) for rule in sorted(wanted.rules - rules)]
    for rule in sorted(rules - wanted.rules):
        code = None if rule.principal in wanted.known else "topics.foreign-rule"
        steps.append(Step("disallow", rule.name, str(rule), code, rule))
    return tuple(steps)


def _topic(name: str, wanted: Wanted, there: TopicState | None, all_: Desired) -> Iterator[Step]:
    if there is None:
        yield Step("create", name, f"{wanted.partitions} partitions, {all_.replicas} replicas")
        return
    if there.partitions != wanted.partitions:
        told = f"partitions {there.partitions}, wanted {wanted.partitions}"
        if wanted.keyed:
            yield Step("partitions", name, told, "topics.log-partitions")
        elif there.partitions < wanted.partitions:
            yield Step("partitions", name, told)
    if there.replicas < all_.replicas:
        yield Step("replicas", name, f"replicas {there.replicas}, wanted {all_.replicas}", "topics.replicas")
    for key, value in sorted(wanted.settings.items()):
        if there.settings.get(key) != value:
            yield Step("set", name, f"{key} {there.settings.get(key, '-')}, wanted {value}")


def _of(user: TopicUser, shape: Shape) -> Iterator[tuple[str, Wanted]]:
    """An administration's topics. A source's records are kept unpacked: their size is known before they are read."""
    safe = {**lasting(shape.replicas), "max.message.bytes": str(BATCH_BYTES)}
    if user.declares:
        unpacked = {"max.message.bytes": str(DECLARED_BYTES), "compression.type": "uncompressed"}
        yield names.declarations(user.party), Wanted(shape.partitions, safe | unpacked | _kept("declarations"))
        yield dead(user.party), Wanted(1, safe | _kept("dead"))
        yield names.receipts(user.party), Wanted(1, safe | _kept("receipts"))
    if user.receives:
        yield names.deliveries(user.party), Wanted(shape.partitions, safe | _kept("deliveries"))


def _kept(kind: str) -> dict[str, str]:
    return {"retention.ms": str(KEPT_DAYS[kind] * DAY_MS)}


def _rights(user: TopicUser) -> Iterator[tuple[str, str, str]]:
    """What an administration may: kind, name, operation."""
    if user.declares:
        for operation in ("write", "describe"):
            yield "topic", names.declarations(user.party), operation
        for name in (names.receipts(user.party), dead(user.party)):
            yield "topic", name, "read"
            yield "topic", name, "describe"
            yield "group", name, "read"
    if user.receives:
        yield "topic", names.deliveries(user.party), "read"
        yield "topic", names.deliveries(user.party), "describe"
        yield "group", group(user.party), "read"


def _ours(shape: Shape, log: str, users: Iterable[TopicUser]) -> Iterator[Rule]:
    """What our own roles may. Each looks whether the log is as it must be; only some read or write it."""
    served = [user for user in users if user.ended_at is None]
    does: dict[str, list[tuple[str, str]]] = {
        "api": [(log, "write")],
        "router": [(log, "read")],
        "relay": [(shape.prefix + names.deliveries(user.party), "write") for user in served if user.receives],
        "intake": [(log, "write")],
    }
    for user in served:
        if user.declares:
            does["intake"].append((shape.prefix + names.declarations(user.party), "read"))
            back = (names.receipts(user.party), dead(user.party))
            does["intake"] += [(shape.prefix + name, "write") for name in back]
    for role in ROLES:
        principal = shape.principals.get(role)
        if principal is None:
            continue
        for operation in ("describe", "describe_configs"):
            yield Rule(f"User:{principal}", "topic", log, operation)
        for name, operation in does.get(role, ()):
            yield Rule(f"User:{principal}", "topic", name, "describe")
            yield Rule(f"User:{principal}", "topic", name, operation)
