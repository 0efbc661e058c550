"""The plan of topics and rights: what each may, and no more; what a program must not mend is told to a person."""

from typing import Any

import pytest

from broker.log.kafka_admin import Rule, TopicState
from broker.log.kafka_cluster import BATCH_BYTES, lasting
from broker.log.kafka_look import judged
from broker.topics.served import TopicUser
from broker.topics.wanted import DECLARED_BYTES, Desired, Shape, Step, desired, difference
from schemas.names import Instant
from tests.world import CAF, PORTAL

PREFIX = "p."
LOG = "p.declarations"
OWN = {role: f"unefois-{role}" for role in ("api", "router", "relay", "intake", "ledger")}


def user(
    party: Any, name: str, *, receives: bool = False, declares: bool = False, ended: int | None = None
) -> TopicUser:
    return TopicUser(party, name, receives, declares, Instant(1), None if ended is None else Instant(ended))


USERS = (user(CAF, "caf", receives=True), user(PORTAL, "portal", declares=True))


def wanted(*users: TopicUser, **changes: Any) -> Desired:
    told: dict[str, Any] = {
        "log": "declarations",
        "log_partitions": 8,
        "partitions": 4,
        "replicas": 3,
        "prefix": PREFIX,
    }
    return desired(Shape(**told | {"principals": OWN} | changes), users or USERS)


def there(plan: Desired) -> dict[str, TopicState]:
    """Kafka as the plan wants it."""
    return {
        name: TopicState(one.partitions, plan.replicas, dict(one.settings), frozenset())
        for name, one in plan.topics.items()
    }


def rights(plan: Desired, name: str) -> set[tuple[str, str, str]]:
    return {(rule.kind, rule.name, rule.operation) for rule in plan.rules if rule.principal == f"User:{name}"}


def test_an_agency_may_read_its_deliveries_with_its_own_group_and_nothing_else() -> None:
    topic = "p.deliveries.unefois-caf"
    assert {("topic", topic, "read"), ("topic", topic, "describe"), ("group", topic, "read")} == rights(wanted(), "caf")


def test_a_source_may_write_its_declarations_and_read_what_comes_back() -> None:
    topic, receipts = "p.declarations.unefois-portal", "p.receipts.unefois-portal"
    assert {
        ("topic", topic, "write"),
        ("topic", topic, "describe"),
        *((kind, name, "read") for kind in ("topic", "group") for name in (receipts, f"{topic}.dead")),
        *(("topic", name, "describe") for name in (receipts, f"{topic}.dead")),
    } == rights(wanted(), "portal")


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("api", {(LOG, "write")}),
        ("router", {(LOG, "read")}),
        ("ledger", set()),
        ("relay", {("p.deliveries.unefois-caf", "write")}),
        (
            "intake",
            {
                (LOG, "write"),
                ("p.declarations.unefois-portal", "read"),
                ("p.declarations.unefois-portal.dead", "write"),
                ("p.receipts.unefois-portal", "write"),
            },
        ),
    ],
)
def test_each_role_may_do_what_it_does_and_no_more(role: str, may: set[tuple[str, str]]) -> None:
    found = rights(wanted(), f"unefois-{role}")
    assert may == {(name, one) for _, name, one in found if one in ("read", "write")}
    assert {(LOG, "describe"), (LOG, "describe_configs")} <= {(name, one) for _, name, one in found}
    assert {name for name, _ in may} | {LOG} == {name for _, name, _ in found}


def test_where_kafka_is_as_wanted_there_is_nothing_to_do() -> None:
    plan = wanted()
    assert () == difference(plan, there(plan), plan.rules)
    assert () == difference(plan, there(plan), None)


def test_everything_that_is_missing_is_made() -> None:
    plan = wanted()
    steps = difference(plan, {}, frozenset())
    assert {"create", "allow"} == {step.what for step in steps}
    assert {step.name for step in steps if step.what == "create"} == set(plan.topics)
    assert plan.rules == {step.rule for step in steps if step.rule}
    assert all(step.code is None for step in steps)


@pytest.mark.parametrize(
    ("topic", "changes", "told"),
    [
        (LOG, {"partitions": 4}, ("partitions", "topics.log-partitions")),
        (LOG, {"partitions": 9}, ("partitions", "topics.log-partitions")),
        (LOG, {"replicas": 1}, ("replicas", "topics.replicas")),
        ("p.deliveries.unefois-caf", {"partitions": 2}, ("partitions", None)),
        ("p.deliveries.unefois-caf", {"partitions": 9}, None),
        ("p.deliveries.unefois-caf", {"replicas": 4}, None),
        (LOG, {"settings": {"retention.ms": "1000"}}, ("set", None)),
        ("p.declarations.unefois-portal", {"settings": {"compression.type": "producer"}}, ("set", None)),
    ],
)
def test_each_difference_is_mended_or_left_to_a_person(
    topic: str, changes: dict[str, Any], told: tuple[str, str | None] | None
) -> None:
    plan = wanted()
    now = there(plan)
    one = now[topic]
    settings = {**one.settings, **changes.pop("settings", {})}
    now[topic] = TopicState(
        changes.get("partitions", one.partitions), changes.get("replicas", one.replicas), settings, one.allowed
    )
    steps = difference(plan, now, plan.rules)
    assert ([] if told is None else [told]) == [(step.what, step.code) for step in steps]


def test_the_rights_of_who_is_served_no_more_are_taken_away_and_a_strangers_are_told() -> None:
    before, after = wanted(), wanted(USERS[1], user(CAF, "caf", receives=True, ended=2))
    stranger = Rule("User:mallory", "topic", "p.deliveries.unefois-caf", "read")
    steps = difference(after, there(after), before.rules | {stranger})

    caf = [step for step in steps if step.rule and step.rule.principal == "User:caf"]
    assert {("disallow", None)} == {(step.what, step.code) for step in caf}
    assert 3 == len(caf)
    assert [("disallow", "topics.foreign-rule", stranger)] == [
        (step.what, step.code, step.rule) for step in steps if step.code
    ]
    assert "p.deliveries.unefois-caf" not in after.topics


def test_a_role_without_a_user_has_no_rules() -> None:
    assert not [rule for rule in wanted(principals={}).rules if rule.name == LOG]


def test_a_source_cannot_send_what_is_larger_once_it_is_unpacked() -> None:
    settings = wanted().topics["p.declarations.unefois-portal"].settings
    assert ("uncompressed", str(DECLARED_BYTES)) == (settings["compression.type"], settings["max.message.bytes"])


def test_a_step_says_what_it_is() -> None:
    rule = Rule("User:CN=a b,O=c", "topic", "t", "read")
    assert ("User:CN=a b,O=c read topic t", rule) == (str(rule), Step("allow", "t", str(rule), rule=rule).rule)


GOOD = TopicState(8, 3, lasting(3), frozenset({"read", "write", "describe"}))


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"allowed": frozenset({"read", "describe"})}, ["kafka.may-not"]),
        ({"partitions": 7}, ["kafka.partitions"]),
        ({"replicas": 1}, ["kafka.replicas"]),
        ({"min.insync.replicas": "1"}, ["kafka.min-insync"]),
        ({"max.message.bytes": str(BATCH_BYTES - 1)}, ["kafka.record-size"]),
        ({"retention.ms": "604800000"}, ["kafka.retention"]),
        ({"retention.bytes": "1"}, ["kafka.retention"]),
        ({"cleanup.policy": "compact"}, ["kafka.retention"]),
        ({"unclean.leader.election.enable": "true"}, ["kafka.unclean"]),
    ],
)
def test_each_thing_that_is_wrong_with_a_topic_has_its_code(changes: dict[str, Any], codes: list[str]) -> None:
    told = {name: changes.get(name, getattr(GOOD, name)) for name in ("partitions", "replicas", "allowed")}
    settings = {**GOOD.settings, **{name: value for name, value in changes.items() if "." in name}}
    state = TopicState(settings=settings, **told)
    needed = frozenset({"read", "write", "describe"})
    assert codes == [fault.code for fault in judged(LOG, state, 8, 3, needed)]
