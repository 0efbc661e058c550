"""Doctor: how a home is, in one look: program, settings, figures, last check and backup, disks, who serves.

    versions, settings, notes, disks    from this machine; always told
    problems                            as `unefois config check` finds them
    figures, letters, ledger            from the database; where it is away, that is told instead
    what waits in the log               from the log; where it is away, that is told and the other figures stand
    serving                             what the process at `listen` says of itself, if one answers

Refuses: anything about one citizen, a secret, a path or a name of a person: what it tells can be sent to somebody else.
Keeps: it changes nothing, and no figure is worked out here: they are those of /metrics and `unefois top`. One part that
cannot be looked at takes no other part with it.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import func, make_url, select
from sqlalchemy.exc import ArgumentError

from broker.ledger import highwater
from broker.maintenance.last import LastBackup, LastCheck, last_backup, last_check
from broker.observability.build import Build, this_build
from broker.ports import Clock
from broker.runtime.disks import Usage, disks
from broker.runtime.neighbour import Process, process_at
from broker.runtime.stats import Stats, log_ends, take
from broker.settings.check import Problem, check_all
from broker.settings.choices import Settings
from broker.settings.sources import SECRETS
from broker.setup import belonging, preflight
from broker.setup.opening import open_unchecked
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.server import server_settings
from broker.store.tables import dead_letters
from schemas.errors import Fault, Refused, Unavailable
from schemas.messages import table
from schemas.names import Instant

PATIENCE_SECONDS: Final = 15
"""How long one part may take; a database that does not answer is away."""
WAY_SECONDS: Final = 5
"""How long one way to citizens may take."""
LIBRARIES: Final = (
    "aiokafka",
    "aiosqlite",
    "alembic",
    "asyncpg",
    "confluent-kafka",
    "cryptography",
    "fastapi",
    "fastavro",
    "httpx2",
    "joserfc",
    "opentelemetry-sdk",
    "pydantic",
    "sqlalchemy",
    "starlette",
    "uvicorn",
)
"""Those that matter when something is wrong; those that are not installed are not told."""
PERSONAL: Final = frozenset(
    {
        *("name", "address", "contact", "mail_from", "mail_username", "kafka_username", "kafka_principals"),
        *("sms_url", "sms_headers", "sms_body"),
    }
)
"""Settings in which people or their accounts may be named: that they are set is told, not what they are."""
SET: Final = "(set)"
ANOTHERS: Final = "(another's)"
"""A code that is none of ours: a connector of somebody else may put anything there."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters that wait, by stage and code."""

    stage: str
    code: str
    count: int
    newest: Instant


@dataclass(frozen=True, slots=True)
class Figures:
    """What database and log say. `standing`: why nothing is signed or released, if that is so. `log_away`: why nothing
    is known of what waits in the log, if that is so.
    """

    stats: Stats
    letters: tuple[Letters, ...]
    standing: Fault | None
    log_away: Fault | None = None
    ways: Mapping[str, Fault | None] = field(default_factory=dict)
    """How citizens are told, and what is wrong with each way, if anything."""


@dataclass(slots=True)
class Look:
    """Everything that was seen; None or empty where it could not be."""

    at: Instant
    build: Build
    libraries: Mapping[str, str]
    problems: Sequence[Problem]
    database: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those that are not at their default."""
    quorum: int = 0
    """Of witnesses, as the settings want it."""
    away: Fault | None = None
    """Why there are no figures."""
    figures: Figures | None = None
    check: LastCheck | None = None
    backup: LastBackup | None = None
    disks: Mapping[str, Usage] = field(default_factory=dict)
    """By the setting that names a folder on it."""
    process: Process | None = None


async def look(
    settings: Settings | None,
    environment: Mapping[str, str],
    clock: Clock,
    *,
    home: Path | None = None,
    usage: Callable[[Path], tuple[int, int, int]] | None = None,
) -> Look:
    """Look at a home. `settings`: None where they cannot be read; `problems` then says why. `home`: as it was named.
    `usage`: of the disk that a path is on, as `shutil.disk_usage`.

    Raises nothing of a home that is ill: what is wrong is in what it returns.
    """
    problems = list(check_all(environment, home=home))
    seen = Look(clock(), this_build(), _libraries(), problems)
    if settings is None:
        return seen
    seen.settings, seen.quorum = _chosen(settings), settings.witness_quorum
    seen.check, seen.backup = last_check(settings.endings_folder), last_backup(settings.endings_folder)
    seen.disks = disks(settings, usage)
    seen.process = await process_at(settings.listen)
    if not settings.keys_folder.is_dir():
        seen.away = Refused("cli.no-home", file="")
        return seen
    if not any(one.serious for one in problems):
        problems += await _found("database_url", preflight.look(settings))
        problems += await _found("log", preflight.look_log(settings, clock))
    seen.database = await _database(settings)
    try:
        seen.figures = await _within(_figures(settings, clock), 2 * PATIENCE_SECONDS)
    except Fault as fault:
        seen.away = fault
    return seen


async def _figures(settings: Settings, clock: Clock) -> Figures:
    """Opened as it is: nothing that a crash left behind is completed by a look. Raises Fault."""
    async with open_unchecked(settings, clock) as home:
        await belonging.check(home.store, home.keys, settings.ledger_origin)
        away = await _log_away(home)
        stats = await take(home, log=away is None)
        return Figures(stats, await _letters(home), await highwater.look(home.store), away, await _ways(home))


async def _ways(home: Home) -> dict[str, Fault | None]:
    """Nothing is sent by a look."""
    found: dict[str, Fault | None] = {}
    for kind, way in home.ways.items():
        found[kind.value] = None
        try:
            await _within(way.look(), WAY_SECONDS)
        except Fault as fault:
            found[kind.value] = fault
    return found


async def _log_away(home: Home) -> Fault | None:
    """Why the log does not answer; None when it does."""
    try:
        await _within(log_ends(home))
    except Fault as fault:
        return fault
    return None


async def _letters(home: Home) -> tuple[Letters, ...]:
    waiting = select(
        dead_letters.c.stage, dead_letters.c.code, func.count().label("total"), func.max(dead_letters.c.at).label("at")
    ).where(dead_letters.c.replayed_at.is_(None))
    found: dict[tuple[str, str], Letters] = {}
    async with home.store.read() as tx:
        for row in await tx.execute(waiting.group_by(dead_letters.c.stage, dead_letters.c.code)):
            code = row.code if row.code in table() else ANOTHERS
            before = found.get((row.stage, code), Letters(row.stage, code, 0, Instant(0)))
            newest = max(before.newest, Instant(row.at))
            found[row.stage, code] = Letters(row.stage, code, before.count + row.total, newest)
    return tuple(found[key] for key in sorted(found))


async def _database(settings: Settings) -> dict[str, str]:
    """Which it is, and in which version; "?" where the server does not say."""
    try:
        backend = make_url(settings.database_url).get_backend_name()
    except ArgumentError:
        return {}
    told = {"kind": backend, "revision": migrate.head()}
    if backend == "sqlite":
        return told | {"version": sqlite3.sqlite_version}
    try:
        number = int((await _within(server_settings(settings.database_url))).get("server_version_num", 0))
    except Fault:
        number = 0
    return told | {"version": f"{number // 10_000}.{number % 10_000}" if number else "?"}


async def _found(key: str, looking: Awaitable[Sequence[Problem]]) -> list[Problem]:
    try:
        return list(await _within(looking))
    except Fault as fault:
        return [Problem(key, Refused(fault.code, f"/{key}", **fault.details), serious=True)]


async def _within(work: Awaitable[T], seconds: int = PATIENCE_SECONDS) -> T:
    """Raises Unavailable `health.no-answer` where it takes too long."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise Unavailable("health.no-answer", seconds=seconds) from None


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _chosen(settings: Settings) -> dict[str, Any]:
    """What differs from what a home in this folder would have by itself."""
    plain = Settings.model_construct(home=settings.home)
    told = settings.model_dump(mode="json", exclude=set(SECRETS))
    chosen: dict[str, Any] = {}
    for name in sorted(Settings.model_fields):
        value = getattr(settings, name)
        if value == _default(plain, name):
            continue
        hidden = name in SECRETS or name in PERSONAL or isinstance(value, Path)
        chosen[name] = SET if hidden else told[name]
    chosen.pop("home", None)
    return chosen


def _default(plain: Settings, name: str) -> Any:
    """`plain`: settings of this home of which nothing else was chosen."""
    return Settings.model_fields[name].get_default(call_default_factory=True, validated_data={"home": plain.home})
