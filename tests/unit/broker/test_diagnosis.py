"""Diagnosis: each thing that somebody has to see to is told, and just what is well is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.maintenance.expiring import Expiring
from broker.maintenance.last import LastBackup, LastCheck
from broker.observability.build import Build
from broker.runtime import diagnosis as bounds
from broker.runtime.diagnosis import diagnosis
from broker.runtime.doctor import Figures, Look, Usage
from broker.runtime.neighbour import Process
from broker.runtime.stats import Stats
from schemas.errors import Corrupt, Unavailable
from schemas.names import Instant, PartyId

NOW = Instant(1_800_000_000_000)
HOUR, DAY, GIB = 3_600_000, 86_400_000, 1 << 30
BUILD = Build("1.0", "c" * 40, "3.13.1", "Linux")
STATS = Stats(
    at=NOW,
    lag={0: 0, 1: 0},
    undelivered_age=None,
    letters=0,
    ledger_size=10,
    ledger_age=2 * HOUR,
    waiting=0,
    waiting_age=None,
    routers=1,
    witnessed=10,
)
WELL = Look(
    at=NOW,
    build=BUILD,
    libraries={},
    problems=[],
    settings={"listen": "none"},
    quorum=1,
    figures=Figures(STATS, (), None),
    check=LastCheck(NOW, False, {}),
    backup=LastBackup(NOW, 10),
    disks={"home": Usage(100 * GIB, 0, 60 * GIB)},
    process=Process("1.0", "c" * 40, True, {"database": None}),
)
ALERTS = {
    rule["alert"]: rule["expr"]
    for rule in yaml.safe_load((Path(__file__).parents[3] / "deploy/prometheus/alerts.yaml").read_text())["groups"][0][
        "rules"
    ]
}


def told(seen: Look) -> dict[str, bool]:
    """Each code, and whether it needs attention."""
    return {one.fault.code: one.serious for one in diagnosis(seen)}


def with_stats(**more: Any) -> Look:
    return replace(WELL, figures=Figures(replace(STATS, **more), (), None))


def soon(days: int) -> tuple[Expiring, ...]:
    return (Expiring(Instant(NOW + days * DAY + 1), PartyId("urn:unefois:caf"), "token", "read"),)


def test_where_all_is_well_nothing_is_told() -> None:
    assert {} == told(WELL)


@pytest.mark.parametrize(
    ("seen", "code", "serious"),
    [
        (replace(WELL, check=None), "doctor.never-checked", True),
        (replace(WELL, check=LastCheck(Instant(NOW - 2 * DAY), False, {})), "doctor.old-check", True),
        (replace(WELL, check=LastCheck(NOW, False, {"rows": 2})), "doctor.check-found", True),
        (replace(WELL, backup=None), "doctor.never-backed-up", True),
        (replace(WELL, backup=LastBackup(Instant(NOW - 2 * DAY), 1)), "doctor.old-backup", True),
        (replace(WELL, disks={"home": Usage(2000 * GIB, 0, GIB - 1)}), "doctor.disk", True),
        (replace(WELL, disks={"home": Usage(50 * GIB, 0, 4 * GIB)}), "doctor.disk", True),
        (replace(WELL, process=Process("1.0", "c" * 40, False, {"log": "kafka.timeout"})), "doctor.not-ready", True),
        (replace(WELL, process=Process("0.9", "c" * 40, True, {})), "doctor.other-program", False),
        (replace(WELL, process=Process("1.0", "d" * 40, True, {})), "doctor.other-program", False),
        (replace(WELL, figures=None, away=Corrupt("log.shorter")), "log.shorter", True),
        (replace(WELL, figures=Figures(STATS, (), Corrupt("ledger.rolled-back"))), "ledger.rolled-back", True),
        (with_stats(lag={0: 3, 1: 2}, routers=0), "doctor.nobody-routes", True),
        (with_stats(undelivered_age=DAY + 1), "doctor.undelivered", True),
        (with_stats(letters=1), "doctor.letters", True),
        (with_stats(relay_age=300_001), "doctor.relay-late", True),
        (with_stats(webhooks_disabled=1), "doctor.webhooks", True),
        (with_stats(message_age=HOUR + 1), "doctor.messages-late", True),
        (with_stats(messages={"waiting": 0, "given-up": 2}), "doctor.messages-given-up", False),
        (
            replace(WELL, figures=Figures(STATS, (), None, ways={"email": Unavailable("mail.away"), "mobile": None})),
            "doctor.way-away",
            True,
        ),
        (with_stats(waiting=1, waiting_age=60_001), "health.ledger-late", True),
        (with_stats(witnessed=9), "doctor.unwitnessed", True),
        (with_stats(expiring=soon(13)), "doctor.expiring", True),
        (with_stats(expiring=soon(14)), "doctor.expiring", False),
    ],
    ids=lambda told: told if isinstance(told, str) else "",
)
def test_one_thing_that_is_wrong_is_told_alone(seen: Look, code: str, serious: bool) -> None:
    assert {code: serious} == told(seen)


@pytest.mark.parametrize(
    "seen",
    [
        with_stats(lag={0: 3}, routers=1),
        with_stats(undelivered_age=DAY),
        with_stats(relay_age=300_000),
        with_stats(message_age=HOUR, messages={"waiting": 9, "given-up": 0}),
        with_stats(waiting=1, waiting_age=60_000),
        with_stats(witnessed=9, ledger_age=HOUR),
        replace(with_stats(witnessed=0), quorum=0),
        replace(WELL, process=None),
        replace(WELL, disks={"home": Usage(2000 * GIB, 0, 10 * GIB)}),
        replace(WELL, check=LastCheck(Instant(NOW - 2 * DAY + 1), False, {})),
    ],
)
def test_what_is_within_its_bound_is_well(seen: Look) -> None:
    assert {} == told(seen)


def test_what_needs_attention_comes_first() -> None:
    found = diagnosis(replace(with_stats(expiring=soon(20)), check=None))

    assert [True, False] == [one.serious for one in found]


@pytest.mark.parametrize(
    ("alert", "bound"),
    [
        ("UnefoisAgencyAway", bounds.UNDELIVERED_MS // 1000),
        ("UnefoisExpiring", bounds.EXPIRING_DAYS * 86_400),
        ("UnefoisLedgerStands", bounds.LEDGER_MS // 1000),
        ("UnefoisRelayLate", bounds.RELAY_MS // 1000),
        ("UnefoisMessagesLate", bounds.MESSAGE_MS // 1000),
    ],
)
def test_a_bound_is_that_of_the_alert(alert: str, bound: int) -> None:
    assert ALERTS[alert].endswith(f" {bound}")
