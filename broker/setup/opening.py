"""Opening: a home with its adapters: which database, log, journal and key store the settings name, and what is checked
before anything is done with them.

Refuses: a home that is not there, or that a newer version has written.
Keeps: no other module names a concrete adapter, or takes the machine's clock.
"""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from broker.ended import Endings
from broker.endings.file import FileEndings
from broker.endings.sql import SqlEndings
from broker.flow.router import TOPIC
from broker.keys.file import FileKeys
from broker.keys.restricted import RestrictedKeys
from broker.ledger import highwater
from broker.log import pinning
from broker.log.sql import SqlLog
from broker.maintenance.checks.marks import FileMarks
from broker.maintenance.completing import Completed
from broker.observability.observe import logger
from broker.people import identity as identities
from broker.ports import Clock, Entropy, KeyStore, Log
from broker.settings.choices import Settings
from broker.setup import belonging, parts
from broker.setup.roles import LOOKING, ProcessRole, check_secrets, secrets_of
from broker.setup.wiring import Home
from broker.store.engine import Store
from broker.store.rows import macs as row_macs
from broker.store.rows import seals
from schemas.catalogue import Catalogue
from schemas.errors import Refused
from schemas.names import Instant

if TYPE_CHECKING:
    from broker.log.kafka_cluster import Cluster


def system_clock() -> Instant:
    """Milliseconds since 1970, from the machine."""
    return Instant(time.time_ns() // 1_000_000)


@asynccontextmanager
async def open_home(
    settings: Settings,
    clock: Clock = system_clock,
    entropy: Entropy = secrets.token_bytes,
    events: Catalogue | None = None,
) -> AsyncIterator[Home]:
    """The machine of a home that `create_home` made. `events`: other event types than those of the package.

    Raises Refused: `home.*`, `store.newer-version`, `store.not-migrated`, `rows.not-signed`, `keys.*`. Raises
    Unavailable.
    """
    async with open_unchecked(settings, clock, entropy, events) as home:
        await belonging.check(home.store, home.keys, settings.ledger_origin)
        check_secrets(home.keys)
        seals.check_ready(home.keys)
        row_macs.check_ready(home.keys)
        await pinning.check(home.store, home.log)
        await catch_up(home)
        yield home


@asynccontextmanager
async def open_looking(settings: Settings, clock: Clock = system_clock) -> AsyncIterator[Home]:
    """A home for whoever only looks: it reads, writes nothing, and has no secret but what tells of endings.

    What has ended outside the database, and not yet in it, is obeyed as everywhere, and left for others to complete.
    Raises as `open_home`.
    """
    with closing(
        FileKeys.open(settings.keys_folder, secrets.token_bytes, settings.secret_passphrase(), tuple(LOOKING))
    ) as folder:
        keys = RestrictedKeys(folder, "looking", LOOKING)
        async with (
            Store.open(settings.database_url, parts.waits(settings)) as store,
            open_log(settings, store, clock) as log,
            open_endings(settings, keys, secrets.token_bytes) as endings,
        ):
            await belonging.check(store, keys, settings.ledger_origin)
            yield Home(
                settings, store=store, log=log, keys=keys, endings=endings, clock=clock, entropy=secrets.token_bytes
            )


async def catch_up(home: Home, *, all_of_it: bool = False) -> list[Completed]:
    """Before anything opens: what has ended outside this database ends in it, and the ledger goes on from what it has
    signed, or stands still. Returns what the rows did not know. Raises Unavailable, Corrupt `endings.*`.

    `all_of_it`: as for `Completion.finish`.
    """
    found = await home.completion.finish(all_of_it=all_of_it)
    fault = await highwater.look(home.store)
    if fault is not None:
        logger().error("ledger.stands-still", code=fault.code)
    return found


@asynccontextmanager
async def open_unchecked(
    settings: Settings,
    clock: Clock = system_clock,
    entropy: Entropy = secrets.token_bytes,
    events: Catalogue | None = None,
    role: ProcessRole = ProcessRole.ALL,
) -> AsyncIterator[Home]:
    """The machine before anybody has looked whether its database is there and ours: whoever opens it so does that.
    `role`: what the process is for; it gets no other secrets than those of this role.

    Raises Refused `keys.*`.
    """
    with closing(open_keys(settings, entropy, role)) as folder:
        allowed = secrets_of(role)
        keys = folder if role is ProcessRole.ALL else RestrictedKeys(folder, role.value, allowed)
        async with (
            Store.open(settings.database_url, parts.waits(settings)) as store,
            open_log(settings, store, clock) as log,
            open_endings(settings, keys, entropy) as endings,
        ):
            adapters: dict[str, Any] = {"store": store, "log": log, "keys": keys, "endings": endings}
            marks = None
            if role is ProcessRole.ALL:  # nobody else checks everything
                marks = FileMarks(settings.endings_folder / "fsck", identities.marks_secret(keys), entropy)
            yield Home(settings, **adapters, clock=clock, entropy=entropy, events=events, marks=marks)


def open_keys(settings: Settings, entropy: Entropy, role: ProcessRole = ProcessRole.ALL) -> FileKeys:
    """The key store of the settings, with the folders of a role; the caller closes it. Raises as `FileKeys.open`."""
    return FileKeys.open(settings.keys_folder, entropy, settings.secret_passphrase(), tuple(secrets_of(role)))


@asynccontextmanager
async def open_endings(settings: Settings, keys: KeyStore, entropy: Entropy) -> AsyncIterator[Endings]:
    """The journal of endings of the settings; begun where there never was one. Raises as
    `FileEndings.open` and `SqlEndings.open` do."""
    opened: Endings
    if settings.endings_database_url is None:
        opened = FileEndings.open(settings.endings_folder, keys, entropy)
    else:
        opened = await SqlEndings.open(settings.endings_database_url, keys, entropy, parts.waits(settings))
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def open_log(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[Log]:
    """The log of the settings: the one place that knows which. Raises Refused `log.no-driver`."""
    if settings.log == "sql":
        yield SqlLog(store, clock, {}, settings.log_partitions)
        return
    try:
        from broker.log.kafka import KafkaLog
    except ModuleNotFoundError as error:
        raise Refused("log.no-driver", driver=error.name or "aiokafka") from None
    agreed = {TOPIC: settings.log_partitions}
    async with KafkaLog(cluster_of(settings), agreed, settings.kafka_topic_prefix, settings.kafka_replicas) as log:
        yield log


def cluster_of(settings: Settings) -> "Cluster":
    """The Kafka of the settings, also where the log is not there (yet). Raises Refused `topics.no-kafka`."""
    from broker.log.kafka_cluster import Cluster

    if not settings.kafka_bootstrap or settings.kafka_security is None:
        raise Refused("topics.no-kafka", "/kafka_bootstrap")
    return Cluster(
        bootstrap=settings.kafka_bootstrap,
        protocol=settings.kafka_security,
        username=settings.kafka_username,
        password=settings.secret_kafka_password(),
        mechanism=settings.kafka_mechanism,
        ca_file=settings.kafka_ca_file,
        certificate_file=settings.kafka_certificate_file,
        key_file=settings.kafka_key_file,
    )
