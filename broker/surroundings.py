"""Surroundings: is the database one that keeps what it promises, and one that this version knows?

Refuses: a server that is too old, that says "committed" before it is on disk, or that does not let us in; tables of
another version.
Keeps: it looks as any program would, without the settings that our own connections bring along: a pooler in between may
not pass them on.
"""

from collections.abc import Mapping
from typing import Final

from broker.settings import Settings
from broker.settings_check import Problem
from broker.store import migrate
from broker.store.engine import Store
from broker.store.server import server_settings
from broker.wiring import Home
from schemas.errors import Fault, Refused

OLDEST: Final = 140_000
"""PostgreSQL 14, as `server_version_num` writes it."""

_KEY: Final = "database_url"


async def check(home: Home) -> None:
    """Raises Refused: `store.old-server`, `store.fsync-off`, `store.asynchronous-commit`, `store.denied`,
    `store.not-migrated`, `store.newer-version`. Raises Unavailable, Corrupt.
    """
    for problem in judged(await server_settings(home.settings.database_url)):
        if problem.serious:
            raise problem.fault
    await migrate.check(home.store)


async def look(settings: Settings) -> tuple[Problem, ...]:
    """Everything that is wrong or unwise with the database of these settings; one that is away is told, too."""
    try:
        found = list(judged(await server_settings(settings.database_url)))
        async with Store.open(settings.database_url) as store:
            await migrate.check(store)
    except Fault as fault:
        return (Problem(_KEY, Refused(fault.code, f"/{_KEY}", **fault.details), serious=True),)
    return tuple(found)


def judged(told: Mapping[str, str]) -> tuple[Problem, ...]:
    """What is wrong with a server that tells this of itself, by the names of its settings; {} is one without any."""
    found = []
    version = int(told.get("server_version_num", OLDEST))
    if version < OLDEST:
        found.append(Problem(_KEY, Refused("store.old-server", version=version // 10_000), serious=True))
    if told.get("fsync") == "off":
        found.append(Problem(_KEY, Refused("store.fsync-off"), serious=True))
    if told.get("synchronous_commit") == "off":
        found.append(Problem(_KEY, Refused("store.asynchronous-commit"), serious=True))
    isolation = told.get("default_transaction_isolation", "read committed")
    if isolation != "read committed":
        found.append(Problem(_KEY, Refused("store.isolation", isolation=isolation), serious=False))
    return tuple(found)
