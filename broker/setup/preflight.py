"""Preflight: is the database one that keeps what it promises, and one that this version knows?

Refuses: a server that is too old, that says "committed" before it is on disk, or that does not let us in; tables of
another version.
Keeps: it looks as any program would, without the settings that our own connections bring along: a pooler in between may
not pass them on.
"""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from broker.access.roles import Role
from broker.epochs import books
from broker.flow.offsets import Behind, next_offsets
from broker.flow.router import TOPIC
from broker.keys.file import FileKeys
from broker.log import pinning
from broker.log.pinning import CLUSTER, pinned
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.ports import Clock, Log
from broker.settings.check import Problem, is_here, is_placeholder, others_rely
from broker.settings.choices import Settings
from broker.setup import belonging, parts
from broker.setup.opening import open_keys, open_log, system_clock
from broker.setup.roles import EVERYTHING_OF_THE_LOG, check_secrets
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.access_tables import webhooks
from broker.store.engine import Store, Transaction
from broker.store.operator_tables import operators
from broker.store.server import server_settings
from broker.store.tables import meta
from broker.timekeeping import Timekeeping
from broker.webhooks.endpoints import Status
from schemas.errors import Corrupt, Fault, Refused, Unavailable

LOOK_SECONDS: Final = 1
"""Between two looks at a log that seems to be shorter than it was."""
OLDEST: Final = 140_000
"""PostgreSQL 14, as `server_version_num` writes it."""

APPROVERS: Final = 2
"""With fewer, one who is ill or asks for something keeps everybody from being approved."""
_KEY: Final = "database_url"


async def check(home: Home) -> None:
    """Raises Refused: `store.old-server`, `store.fsync-off`, `store.asynchronous-commit`, `store.denied`,
    `store.not-migrated`, `store.newer-version`, `home.*`. Raises Unavailable, Corrupt.
    """
    for problem in judged(await server_settings(home.settings.database_url)):
        if problem.serious:
            raise problem.fault
    await belonging.check(home.store, home.keys, home.settings.ledger_origin)
    check_secrets(home.keys)


async def check_name(home: Home) -> None:
    """A ledger's name for trying things out: told on this machine, refused where others rely on it.

    Raises Refused `home.placeholder-origin`. Raises Unavailable.
    """
    if not is_placeholder(home.settings.ledger_origin):
        return
    async with home.store.read() as tx:
        urls = (await tx.execute(select(webhooks.c.url).where(webhooks.c.status != Status.ENDED.value))).scalars()
        far = any(not is_here(urlsplit(url).hostname or "") for url in urls)
    if far or others_rely(home.settings):
        raise Refused("home.placeholder-origin", "/ledger_origin", found=home.settings.ledger_origin)
    logger().warning("home.placeholder-name")


async def check_log(home: Home, needed: frozenset[str] = EVERYTHING_OF_THE_LOG) -> None:
    """Whether the log is this home's, whole, and such that it keeps what it promises; its cluster is remembered the
    first time. `needed`: what this process does there.

    Raises Refused `kafka.*`, `log.moved`; Unavailable where it is away; Corrupt `log.shorter`.
    """
    await pinning.check(home.store, home.log)
    for fault in await home.log.look(TOPIC, needed):
        raise fault
    cluster = await home.log.cluster()
    async with home.store.begin() as tx:
        await _pin(tx, cluster)
    home.log.expect(cluster)
    await _check_length(home.store, home.log)


async def _pin(tx: Transaction, cluster: str | None) -> None:
    if cluster is None:
        return
    if await tx.insert_new(meta, {"name": CLUSTER, "value": cluster}):
        mark("preflight.pinned")
        # Crash here: not remembered; the next process to begin does it.
        return
    if await pinned(tx) != cluster:
        raise Refused("kafka.other-cluster", "/kafka_bootstrap")


async def _check_length(store: Store, log: Log) -> None:
    """Who made the log anew would have the router wait in silence until it is as long as it was."""
    behind = Behind(TOPIC, log.stale_seconds)
    while True:
        async with store.read_one() as tx:
            read = await next_offsets(tx, TOPIC)
        ends = {partition: await log.end(TOPIC, partition) for partition in range(await log.partitions(TOPIC))}
        if not behind.look(read, ends):
            return
        await asyncio.sleep(LOOK_SECONDS)


async def look_log(
    settings: Settings, clock: Clock = system_clock, needed: frozenset[str] = EVERYTHING_OF_THE_LOG
) -> tuple[Problem, ...]:
    """Everything that is wrong with the log of these settings for who does there what is `needed`; one that is away is
    told, too. Changes nothing.

    A database that cannot be asked is what `look` tells; the log is then judged without what the home remembers of it.
    """
    found: list[Fault] = []
    try:
        async with (
            Store.open(settings.database_url, parts.waits(settings)) as store,
            open_log(settings, store, clock) as log,
        ):
            remembered = await _remembered(store, log)
            found += await log.look(TOPIC, needed)
            if remembered and not found:
                await _check_length(store, log)
    except Fault as fault:
        found.append(fault)
    key = "kafka_bootstrap"
    return tuple(Problem(key, Refused(one.code, f"/{key}", **one.details), serious=True) for one in found)


async def _remembered(store: Store, log: Log) -> bool:
    """Tells the log which cluster is this home's; False where its database is away, or has no tables yet."""
    try:
        await pinning.check(store, log)
    except (Unavailable, Corrupt, DBAPIError):
        return False
    return True


async def look(settings: Settings) -> tuple[Problem, ...]:
    """Everything that is wrong or unwise with database and keys of these settings; what is away is told, too."""
    found: list[Problem] = []
    try:
        keys = _keys_of(settings)
    except Fault as fault:
        found.append(Problem("keys_folder", Refused(fault.code, "/keys_folder", **fault.details), serious=True))
        keys = None
    try:
        found += judged(await server_settings(settings.database_url))
        async with Store.open(settings.database_url, parts.waits(settings)) as store:
            await (migrate.check(store) if keys is None else belonging.check(store, keys, settings.ledger_origin))
            if keys is not None:
                found += await _kept(settings, store, keys)
    except Fault as fault:
        key = fault.pointer.removeprefix("/") or _KEY
        found.append(Problem(key, Refused(fault.code, f"/{key}", **fault.details), serious=True))
    return tuple(found)


async def _kept(settings: Settings, store: Store, keys: FileKeys) -> list[Problem]:
    """Of a home that is one: keys that no book knows, and a clock that is not believed."""
    found = []
    async with store.read() as tx:
        unknown = (await books.sort(tx, keys))[1]
    if unknown:
        told = Refused("keys.unknown", "/keys_folder", count=len(unknown))
        found.append(Problem("keys_folder", told, serious=True))
    try:
        await Timekeeping(store, settings.clock_trust_days, system_clock).judge()
    except Refused as fault:
        found.append(Problem("clock_trust_days", fault, serious=True))
    return [*found, *await _people(settings, store)]


async def _people(settings: Settings, store: Store) -> list[Problem]:
    """Whoever has the home is everything, or one person does what two could look at: advice."""
    async with store.read() as tx:
        rows = (await tx.execute(select(operators.c.roles).where(operators.c.ended_at.is_(None)))).scalars().all()
    if not rows:
        return [Problem("operator_key", Refused("operators.none", "/operator_key"), serious=False)]
    approvers = sum(Role.APPROVER.value in roles for roles in rows)
    if settings.four_eyes and approvers < APPROVERS:
        few = Refused("approvals.too-few", "/four_eyes", count=approvers)
        return [Problem("four_eyes", few, serious=False)]
    if not settings.four_eyes and approvers >= APPROVERS:
        return [Problem("four_eyes", Refused("approvals.not-demanded", "/four_eyes"), serious=False)]
    return []


def _keys_of(settings: Settings) -> FileKeys | None:
    """The key store, where one was made: looking makes none. Raises Refused `keys.*`; raises Unavailable."""
    if not FileKeys.is_made(settings.keys_folder):
        return None
    return open_keys(settings, secrets.token_bytes)


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
