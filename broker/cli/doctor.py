"""Command doctor: how this home is, to be read, or to be sent to who helps.

Refuses: nothing; what cannot be looked at is told.
Keeps: nothing of a citizen, no secret and no path is printed. Exit code 0 says that nothing needs attention, 1 that
something does.
"""

import asyncio
import os
from typing import TYPE_CHECKING, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.session import settings
from broker.cli.show import answer, line, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.runtime.doctor import Look
    from broker.settings.check import Problem


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "doctor")(doctor)


def doctor() -> None:
    """How this home is: versions, settings, what waits, last check and backup, disks, what ends soon. Changes nothing.

    It tells nothing of a citizen and no secret, so what it prints can be sent to who helps. Exit code 1: something
    needs attention.

    Example: unefois doctor --json
    """
    from broker.runtime.diagnosis import diagnosis
    from broker.runtime.doctor import look
    from broker.setup.opening import system_clock

    try:
        here = settings()
    except Refused:  # `look` tells what is wrong with them, all of it
        here = None
    seen = asyncio.run(look(here, os.environ, system_clock, home=chosen().home))
    found = diagnosis(seen)
    healthy = not any(one.serious for one in found)
    told = {"healthy": healthy, **_shape(seen), "findings": [_finding(one) for one in found]}

    def text() -> None:
        _print(told, _rows(seen))

    answer(told, text)
    if not healthy:
        raise typer.Exit(Exit.FINDINGS)


def _finding(one: "Problem") -> dict[str, Any]:
    from broker.cli import shapes

    return {"part": one.key, "attention": one.serious, **shapes.coded(one.fault, "", chosen().language)}


def _shape(seen: "Look") -> dict[str, Any]:
    from broker.shapes import time_of

    check, backup, process = seen.check, seen.backup, seen.process
    return {
        "at": time_of(seen.at),
        "version": seen.build.version,
        "commit": seen.build.commit,
        "python": seen.build.python,
        "system": seen.build.system,
        "libraries": dict(seen.libraries),
        "database": dict(seen.database),
        "settings": dict(seen.settings),
        "figures": _figures(seen),
        "fsck": None
        if check is None
        else {"at": time_of(check.at), "full": check.full, "findings": dict(check.findings)},
        "backup": None if backup is None else {"at": time_of(backup.at), "ledger_entries": backup.size},
        "disks": {name: {"total": one.total, "free": one.free} for name, one in seen.disks.items()},
        "process": None
        if process is None
        else {
            "version": process.version,
            "commit": process.commit,
            "ready": process.ready,
            "checks": {name: code or "ok" for name, code in process.checks.items()},
        },
    }


def _figures(seen: "Look") -> dict[str, Any] | None:
    """Those of `unefois top`, and more of the same look."""
    from broker.cli import top
    from broker.shapes import time_of

    if seen.figures is None:
        return None
    stats = seen.figures.stats
    return {
        **top.shape(stats),
        "inlet_lag": stats.inlet_lag if seen.figures.log_away is None else None,
        "relay_age_ms": stats.relay_age,
        "witnessed_entries": stats.witnessed,
        "witnesses": {name: {"entries": entries, "age_ms": age} for name, (entries, age) in stats.witnesses.items()},
        "webhooks": dict(stats.webhooks),
        "webhook_age_ms": stats.webhook_age,
        "messages": dict(stats.messages),
        "message_age_ms": stats.message_age,
        "ways": {kind: None if fault is None else fault.code for kind, fault in seen.figures.ways.items()},
        "unknown_keys": stats.unknown_keys,
        "clock_ahead_ms": stats.clock_ahead,
        "clock_believed": stats.clock_believed,
        "quotas": dict(stats.quotas),
        "letters": [
            {"stage": one.stage, "code": one.code, "count": one.count, "newest": time_of(one.newest)}
            for one in seen.figures.letters
        ],
    }


def _rows(seen: "Look") -> list[tuple[str, object]]:
    """What `unefois top` shows, and more."""
    from broker.cli import top

    if seen.figures is None:
        return []
    stats, letters = seen.figures.stats, seen.figures.letters
    return [
        *top.rows(stats),
        (say("à relayer depuis (ms)", "to be relayed since (ms)"), stats.relay_age),
        (say("entrées cosignées", "entries cosigned"), stats.witnessed),
        ("webhooks", _plain(dict(stats.webhooks))),
        (say("messages aux usagers", "messages to citizens"), _plain(dict(stats.messages))),
        (say("clés inconnues", "unknown keys"), stats.unknown_keys),
        (say("horloge en avance de (ms)", "clock ahead by (ms)"), stats.clock_ahead),
        (say("quotas par minute", "quotas a minute"), _plain(dict(stats.quotas))),
        *((f"{say('lettres mortes', 'dead letters')} {one.stage}", f"{one.count} × {one.code}") for one in letters),
    ]


def _print(told: dict[str, Any], figures: list[tuple[str, object]]) -> None:
    database = " ".join(told["database"].get(name, "") for name in ("kind", "version")).strip()
    check, backup = told["fsck"], told["backup"]
    pairs(
        [
            ("unefois", f"{told['version']} ({told['commit']})"),
            ("python", f"{told['python']}, {told['system']}"),
            (say("base", "database"), f"{database}, {say('révision', 'revision')} {told['database'].get('revision')}"),
            (say("bibliothèques", "libraries"), ", ".join(f"{name} {one}" for name, one in told["libraries"].items())),
            ("fsck", say("jamais", "never") if check is None else f"{check['at']}  {_counted(check['findings'])}"),
            (say("sauvegarde", "backup"), say("jamais", "never") if backup is None else backup["at"]),
            (say("processus", "process"), _process(told["process"])),
            *((f"{say('disque', 'disk')} ({name})", _disk(one)) for name, one in told["disks"].items()),
        ]
    )
    _section(
        say("Réglages choisis", "Settings chosen"), [(name, _plain(one)) for name, one in told["settings"].items()]
    )
    _section(say("Chiffres", "Figures"), figures)
    line("")
    for one in told["findings"]:
        line(f"{'✗' if one['attention'] else '!'} {one['part']}  {one['code']}")
        line(f"    {one['message']} {one['remedy']}")
    if told["healthy"]:
        line(say("Rien ne demande d'attention.", "Nothing needs attention."))


def _section(title: str, rows: list[tuple[str, object]]) -> None:
    if rows:
        line(f"\n{title}")
        pairs(rows, indent=2)


def _plain(one: Any) -> str:
    if isinstance(one, dict):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in one.items()) or "-"
    if isinstance(one, list):
        return "; ".join(_plain(each) for each in one) or "-"
    return "-" if one is None else str(one)


def _counted(findings: dict[str, int]) -> str:
    return _plain(findings) if findings else say("tout en ordre", "all well")


def _process(told: dict[str, Any] | None) -> str:
    if told is None:
        return say("personne ne répond à l'adresse `listen`", "nobody answers at `listen`")
    ready = say("prêt", "ready") if told["ready"] else say("pas prêt", "not ready")
    return f"{told['version']} ({told['commit']}), {ready}"


def _disk(told: dict[str, int]) -> str:
    percent = 100 * told["free"] // max(1, told["total"])
    return f"{percent} % {say('libres', 'free')} ({told['free'] >> 20} MiB)"
