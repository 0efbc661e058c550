"""Bootstrap: what happens once to a home: it gets its secrets, its tables, the broker as a party, its first epochs;
and, if its operator wants so one day, its database or its log moves.

Refuses: what opening a home refuses.
Keeps: called again, it finishes what a crash left, and changes nothing of a home that is whole.
"""

import secrets
from collections.abc import Mapping
from contextlib import closing

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.router import TOPIC
from broker.keys.pair import Pair
from broker.log.sql import SqlLog
from broker.people import identity as identities
from broker.ports import Clock, Entropy
from broker.settings.choices import Settings
from broker.setup import belonging, log_move, parts
from broker.setup.opening import catch_up, cluster_of, open_endings, open_keys, open_log, system_clock
from broker.setup.roles import hand_out
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store import move as relocation
from broker.store.engine import Store
from broker.store.rows import macs
from broker.store.rows.seals import make_private, publish
from schemas.errors import Refused


async def create_home(settings: Settings, clock: Clock = system_clock, entropy: Entropy = secrets.token_bytes) -> None:
    """A new home: its secrets, its tables, the broker as a party, its first epochs. Calling it again finishes what a
    crash left.

    Raises Refused: `keys.*`, `home.*`, `store.newer-version`, `store.moved`. Raises Unavailable.
    """
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_keys(settings, entropy)) as keys:
        async with Store.open(settings.database_url, parts.waits(settings)) as store:
            await belonging.look(store, keys, settings.ledger_origin)
        identities.make_secrets(keys, entropy)
        Pair.ledger(keys).make()
        hand_out(keys)
        await migrate.upgrade(settings.database_url)
        async with (
            Store.open(settings.database_url, parts.waits(settings)) as store,
            open_log(settings, store, clock) as log,
            open_endings(settings, keys, entropy) as endings,
        ):
            await migrate.check(store)
            await macs.begin(store, keys, entropy)
            make_private(keys)
            publish(keys)
            home = Home(settings, store=store, log=log, keys=keys, endings=endings, clock=clock, entropy=entropy)
            await catch_up(home)
            await furnish(home)


async def furnish(home: Home) -> None:
    """Its id, the broker's own party, its first epochs and the first key of openings, where they are missing."""
    await belonging.pin(home.store, home.keys, home.settings.ledger_origin, home.entropy)
    async with home.store.read() as tx:
        known = {party.id for party in await home.lookup.parties(tx)}
    if home.party not in known:
        broker = Party(
            id=home.party,
            name=home.settings.name,
            sector="broker",
            kind=PartyKind.BROKER,
            address=home.settings.address,
            contact=home.settings.contact,
            retention="none: values are sealed",
            created_at=home.clock(),
        )
        await home.parties.enrol(Enrolment(broker, home.settings.signature_policy, None))
    if not await home.epochs.gate_epochs():
        await home.epochs.open_gate(home.settings.hpke_suite, 0)
    if not await home.epochs.living_consent():
        await home.epochs.open_consent()
    await home.epochs.finish()
    home.openings.prepare(home.clock())
    await home.ledger.sequence_unfinished()


async def move_database(settings: Settings, target: str) -> Mapping[str, int]:
    """The database of a home to another one, with its id. Returns how many rows of each table.

    Raises Refused: `keys.*`, `home.*`, what `broker.store.move.move` raises.
    """
    with closing(open_keys(settings, secrets.token_bytes)) as keys:
        if settings.database_url != target:
            async with Store.open(settings.database_url, parts.waits(settings)) as store:
                await belonging.check(store, keys, settings.ledger_origin)
        return (await relocation.move(settings.database_url, target)).rows


async def move_log(settings: Settings, clock: Clock = system_clock) -> Mapping[int, int]:
    """The log of a home from its database to the Kafka of its settings. Returns how many records of each partition.

    Raises Refused: `topics.no-kafka`, `log.moved`, `log.no-driver`, and what `broker.setup.log_move.move` raises.
    """
    try:
        from broker.log.kafka import KafkaLog
        from broker.log.kafka_admin import Admin
    except ModuleNotFoundError as error:
        raise Refused("log.no-driver", driver=error.name or "aiokafka") from None
    with closing(open_keys(settings, secrets.token_bytes)) as keys:
        cluster, prefix = cluster_of(settings), settings.kafka_topic_prefix
        admin, agreed = Admin(cluster), {TOPIC: settings.log_partitions}

        async def forget(partition: int, offset: int) -> None:
            await admin.delete_before(prefix + TOPIC, partition, offset)

        async with Store.open(settings.database_url, parts.waits(settings)) as store:
            await belonging.check(store, keys, settings.ledger_origin)
            old = SqlLog(store, clock, {}, settings.log_partitions)
            async with KafkaLog(cluster, agreed, prefix, settings.kafka_replicas) as new:
                for fault in await new.look(TOPIC, frozenset({"read", "write", "describe"})):
                    raise fault
                return await log_move.move(store, old, new, await admin.cluster_id(), forget)
