"""Diagnosis: what of a look at a home needs somebody's attention, and what is only advice. Pure.

Refuses: nothing; it lists.
Keeps: a bound here is the bound of the alert of the same matter (`deploy/prometheus/alerts.yaml`), where there is one.
"""

from collections.abc import Iterator
from typing import Final

from broker.maintenance.expiring import DAY_MS
from broker.runtime.doctor import Look
from broker.runtime.stats import Stats
from broker.settings.check import Problem
from schemas.errors import Refused

UNDELIVERED_MS: Final = DAY_MS
LEDGER_MS: Final = 60_000
RELAY_MS: Final = 300_000
MESSAGE_MS: Final = 3_600_000
EXPIRING_DAYS: Final = 14
CHECK_DAYS: Final = 2
"""`unefois fsck` is run daily (docs/operate.md)."""
BACKUP_DAYS: Final = 2
WITNESS_MS: Final = 3_600_000
DISK_BYTES: Final = 1 << 30
"""Less than that is too little, whatever the disk; so is a tenth of a disk, if that is less than ten times as much."""


def diagnosis(seen: Look) -> list[Problem]:
    """Findings, those that need attention (`serious`) first. `key` says which part of the look they are of."""
    found = [*seen.problems, *_home(seen), *_process(seen), *_disks(seen)]
    if seen.figures is not None:
        found += [*_flow(seen.figures.stats), *_messages(seen), *_ledger(seen), *_soon(seen.figures.stats)]
    return sorted(found, key=lambda one: not one.serious)


def _home(seen: Look) -> Iterator[Problem]:
    known = {one.fault.code for one in seen.problems}
    if seen.away is not None and seen.away.code not in known:
        yield Problem("figures", Refused(seen.away.code, "", **seen.away.details), serious=True)
    log_away = None if seen.figures is None else seen.figures.log_away
    if log_away is not None and log_away.code not in known:
        yield Problem("log", Refused(log_away.code, "", **log_away.details), serious=True)
    if not seen.settings and seen.away is None and seen.figures is None:
        return  # the settings cannot be read, so nothing is known of where notes lie
    if seen.check is None:
        yield Problem("fsck", Refused("doctor.never-checked"), serious=True)
    else:
        days = (seen.at - seen.check.at) // DAY_MS
        if days >= CHECK_DAYS:
            yield Problem("fsck", Refused("doctor.old-check", days=days), serious=True)
        if seen.check.findings:
            count = sum(seen.check.findings.values())
            yield Problem("fsck", Refused("doctor.check-found", count=count), serious=True)
    if seen.backup is None:
        yield Problem("backup", Refused("doctor.never-backed-up"), serious=True)
    elif (days := (seen.at - seen.backup.at) // DAY_MS) >= BACKUP_DAYS:
        yield Problem("backup", Refused("doctor.old-backup", days=days), serious=True)


def _process(seen: Look) -> Iterator[Problem]:
    if seen.process is None:
        return
    for code in sorted({code for code in seen.process.checks.values() if code is not None}):
        yield Problem("process", Refused("doctor.not-ready", kind=code), serious=True)
    if (seen.process.version, seen.process.commit) != (seen.build.version, seen.build.commit):
        yield Problem("process", Refused("doctor.other-program", version=seen.process.version), serious=False)


def _disks(seen: Look) -> Iterator[Problem]:
    for name, usage in seen.disks.items():
        if usage.free < DISK_BYTES or usage.free < min(usage.total // 10, 10 * DISK_BYTES):
            percent = 100 * usage.free // max(1, usage.total)
            yield Problem(name, Refused("doctor.disk", f"/{name}", percent=percent), serious=True)


def _flow(stats: Stats) -> Iterator[Problem]:
    waiting = sum(stats.lag.values())
    if waiting and not stats.routers:
        yield Problem("log", Refused("doctor.nobody-routes", count=waiting), serious=True)
    if (stats.undelivered_age or 0) > UNDELIVERED_MS:
        hours = (stats.undelivered_age or 0) // 3_600_000
        yield Problem("deliveries", Refused("doctor.undelivered", hours=hours), serious=True)
    if stats.letters:
        yield Problem("letters", Refused("doctor.letters", count=stats.letters), serious=True)
    if (stats.relay_age or 0) > RELAY_MS:
        seconds = (stats.relay_age or 0) // 1000
        yield Problem("relay", Refused("doctor.relay-late", seconds=seconds), serious=True)
    if stats.webhooks_disabled:
        yield Problem("webhooks", Refused("doctor.webhooks", count=stats.webhooks_disabled), serious=True)


def _messages(seen: Look) -> Iterator[Problem]:
    if seen.figures is None:
        return
    for kind, fault in seen.figures.ways.items():
        if fault is not None:
            yield Problem("messages", Refused("doctor.way-away", way=kind, kind=fault.code), serious=True)
    stats = seen.figures.stats
    if (stats.message_age or 0) > MESSAGE_MS:
        hours = (stats.message_age or 0) // 3_600_000
        yield Problem("messages", Refused("doctor.messages-late", hours=hours), serious=True)
    if count := stats.messages.get("given-up", 0):
        yield Problem("messages", Refused("doctor.messages-given-up", count=count), serious=False)


def _ledger(seen: Look) -> Iterator[Problem]:
    if seen.figures is None:
        return
    stats, standing = seen.figures.stats, seen.figures.standing
    if standing is not None:
        yield Problem("ledger", Refused(standing.code, "", **standing.details), serious=True)
    if (stats.waiting_age or 0) > LEDGER_MS:
        seconds = (stats.waiting_age or 0) // 1000
        yield Problem("ledger", Refused("health.ledger-late", seconds=seconds), serious=True)
    if seen.quorum and stats.witnessed < stats.ledger_size and (stats.ledger_age or 0) > WITNESS_MS:
        count = stats.ledger_size - stats.witnessed
        yield Problem("witnesses", Refused("doctor.unwitnessed", count=count), serious=True)


def _soon(stats: Stats) -> Iterator[Problem]:
    """An administration is named, for somebody has to write to it; none of its people is."""
    for one in stats.expiring:
        days = (one.at - stats.at) // DAY_MS
        told = Refused("doctor.expiring", party=one.party, kind=f"{one.what} {one.kind}", days=days)
        yield Problem("expiring", told, serious=days < EXPIRING_DAYS)
