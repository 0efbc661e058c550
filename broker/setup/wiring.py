"""Wiring: the one composition root. It reads the settings and the clock, names the adapters, and hands out the machine.

Refuses: a home that is not there, or that a newer version has written.
Keeps: no other module names a concrete adapter, reads a setting, a clock or the system's randomness.
"""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.access.credentials import Credentials
from broker.access.idempotency import IdempotencyKeys
from broker.access.keysets import KeySets
from broker.access.oauth import OAuth
from broker.consents.consents import Consents
from broker.directory.lookup import Lookup
from broker.directory.parties import Parties
from broker.directory.publication import Publication
from broker.directory.registrar import Registrar
from broker.directory.succession import Succession
from broker.ended import Endings
from broker.endings.file import FileEndings
from broker.endings.sql import SqlEndings
from broker.epochs.epochs import Epochs
from broker.flow.deadletters import DeadLetters
from broker.flow.desk import Desk
from broker.flow.gate import Gate
from broker.flow.hosted import HostedInbox
from broker.flow.intake import Intake
from broker.flow.mailbox import Mailbox
from broker.flow.planner import Planner
from broker.flow.router import TOPIC, Router
from broker.flow.steps import StepReader
from broker.flow.subscribing import Subscribing
from broker.flow.tracking import Tracking
from broker.keys.file import FileKeys
from broker.keys.keyring import Keyring
from broker.ledger import highwater, origins
from broker.ledger.erasing import Erasing
from broker.ledger.openings import Openings
from broker.ledger.recorder import Recorder
from broker.ledger.said import Said
from broker.ledger.sequencer import Ledger
from broker.log import pinning
from broker.log.sql import SqlLog
from broker.maintenance.checks.marks import FileMarks, Marks, MemoryMarks
from broker.maintenance.completing import Completed, Completion
from broker.maintenance.fsck import Fsck
from broker.maintenance.pruning import Pruning
from broker.maintenance.upkeep import Upkeep
from broker.observability.observe import logger
from broker.outbound import Outbound
from broker.people import identity as identities
from broker.people.identity import Identity
from broker.ports import Clock, Entropy, KeyKind, KeyStore, Log
from broker.settings.choices import Settings
from broker.setup import belonging, parts
from broker.store.engine import Store
from broker.store.rows import macs as row_macs
from broker.store.rows import seals
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowVerifier
from broker.timekeeping import Timekeeping
from broker.topics.inlet import Inlet
from broker.topics.relay import Relay
from broker.topics.served import TopicUsers
from broker.transparency.cosigning import Cosigning
from broker.webhooks.endpoints import Webhooks
from broker.webhooks.notices import Notices
from broker.webhooks.telling import Telling
from schemas import catalogue
from schemas.catalogue import Catalogue
from schemas.errors import Refused
from schemas.names import Instant, PartyId
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Known

if TYPE_CHECKING:
    from broker.log.kafka_cluster import Cluster


def system_clock() -> Instant:
    """Milliseconds since 1970, from the machine."""
    return Instant(time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Home:
    """A whole broker: every part of the machine, made of the same store, keys, clock and randomness."""

    settings: Settings
    party: PartyId
    clock: Clock
    entropy: Entropy
    store: Store
    log: Log
    keys: KeyStore
    endings: Endings
    keyring: Keyring
    rows: RowVerifier
    macs: RowMacs
    catalogue: Catalogue
    lookup: Lookup
    identity: Identity
    openings: Openings
    recorder: Recorder
    registrar: Registrar
    subscribing: Subscribing
    parties: Parties
    credentials: Credentials
    oauth: OAuth
    key_sets: KeySets
    idempotency_keys: IdempotencyKeys
    outbound: Outbound
    webhooks: Webhooks
    telling: Telling
    notices: Notices
    topic_users: TopicUsers
    epochs: Epochs
    intake: Intake
    inlet: Inlet
    desk: Desk
    router: Router
    mailbox: Mailbox
    relay: Relay
    gate: Gate
    consents: Consents
    dead_letters: DeadLetters
    ledger: Ledger
    cosigning: Cosigning
    publication: Publication
    succession: Succession
    pruning: Pruning
    timekeeping: Timekeeping
    completion: Completion
    upkeep: Upkeep
    tracking: Tracking
    fsck: Fsck

    def inbox(self, party: PartyId) -> HostedInbox:
        """The mailbox of an agency hosted here."""
        return HostedInbox(self.store, self.mailbox, self.gate, party, self.clock)


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
        seals.check_ready(home.keys)
        row_macs.check_ready(home.keys)
        await pinning.check(home.store, home.log)
        await catch_up(home)
        yield home


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
) -> AsyncIterator[Home]:
    """The machine before anybody has looked whether its database is there and ours: whoever opens it so does that.

    Raises Refused `keys.*`.
    """
    with closing(FileKeys.open(settings.keys_folder, entropy, settings.secret_passphrase())) as keys:
        async with (
            Store.open(settings.database_url, parts.waits(settings)) as store,
            open_log(settings, store, clock) as log,
            open_endings(settings, keys, entropy) as endings,
        ):
            adapters: dict[str, Any] = {"store": store, "log": log, "keys": keys, "endings": endings}
            marks = FileMarks(settings.endings_folder / "fsck", identities.marks_secret(keys), entropy)
            yield assemble(settings, **adapters, clock=clock, entropy=entropy, events=events, marks=marks)


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


def assemble(
    settings: Settings,
    *,
    store: Store,
    log: Log,
    keys: KeyStore,
    endings: Endings,
    clock: Clock,
    entropy: Entropy,
    events: Catalogue | None = None,
    marks: Marks | None = None,
) -> Home:
    """Every part, made of these adapters. `events`: the event types; without, those of the package. `marks`: what a
    clean fsck leaves for the next one; without, it is forgotten with this process.
    """
    party = PartyId(settings.party)
    events = events or catalogue.builtin()
    store.journal = endings
    rows = seals.verifier_of(keys)
    signer, macs = seals.signer_of(keys, rows), row_macs.macs_of(keys)
    lookup = Lookup(rows)
    keyring = Keyring(keys)
    identity = Identity(keys, entropy)
    window_ms = settings.ledger_window_seconds * 1_000
    openings = Openings(keys, entropy, identities.ledger_secret(keys))
    said = Said()
    recorder = Recorder(
        party, events, openings=openings, macs=macs, said=said, window_ms=window_ms, clock=clock, entropy=entropy
    )
    registrar = Registrar(recorder, events, signer)
    planner = Planner(events, recorder, macs, entropy)
    ledgered = StepReader(macs, openings)
    intake = Intake(
        store=store,
        log=log,
        lookup=lookup,
        identity=identity,
        keyring=keyring,
        catalogue=events,
        recorder=recorder,
        macs=macs,
        party=party,
        kept_ms=settings.declaration_retention_days * 86_400_000,
        age_ms=settings.declaration_age_hours * 3_600_000,
        clock=clock,
    )
    time = Timekeeping(store, settings.clock_trust_days, clock)
    epochs = Epochs(
        store=store,
        keys=keys,
        registrar=registrar,
        signer=signer,
        recorder=recorder,
        party=party,
        clock=clock,
        entropy=entropy,
        time=time,
    )
    consents = Consents(
        store=store,
        rows=rows,
        macs=macs,
        lookup=lookup,
        keyring=keyring,
        planner=planner,
        catalogue=events,
        recorder=recorder,
        clock=clock,
        entropy=entropy,
    )
    router = Router(
        store=store,
        log=log,
        lookup=lookup,
        keyring=keyring,
        planner=planner,
        catalogue=events,
        recorder=recorder,
        macs=macs,
        complete=consents.complete,
        clock=clock,
    )
    mailbox = Mailbox(recorder, ledgered, parts.retry_policy(settings))
    idempotency_keys = IdempotencyKeys(store, clock)
    ledger = Ledger(
        store=store,
        openings=openings,
        macs=macs,
        said=said,
        origin=origins.pinned_origin(keys) or settings.ledger_origin,
        first_origin=origins.first_origin(keys),
        key=ledger_key(keys),
        window_ms=window_ms,
        clock=clock,
        entropy=entropy,
    )
    pruning = Pruning(
        store,
        parts.retention(settings),
        Erasing(keys=keys, openings=openings, recorder=recorder, clock=clock, entropy=entropy),
        clock,
        time,
    )
    outbound = Outbound(settings.outbound_allowed, ca_file=settings.outbound_ca_file)
    cosigning = Cosigning(
        store=store,
        outbound=outbound,
        macs=macs,
        log=ledger.verifier_key,
        witnesses=[Known.parse(each) for each in settings.witnesses],
        quorum=settings.witness_quorum,
        stale_ms=settings.witness_minutes * 60_000,
        clock=clock,
        entropy=entropy,
    )
    credentials = Credentials(recorder, signer, entropy, allowed=settings.api_tokens)
    oauth = OAuth(recorder, signer, entropy, endings, broker=party, seed=identities.secret(keys, identities.ACCESS))
    key_sets, subscribing = KeySets(recorder, signer, outbound, clock), Subscribing(recorder, events, signer)
    completion = Completion(
        store=store,
        endings=endings,
        consents=consents,
        credentials=credentials,
        oauth=oauth,
        key_sets=key_sets,
        recorder=recorder,
        signer=signer,
        subscribing=subscribing,
        epochs=epochs,
        clock=clock,
    )
    hooks = Webhooks(recorder, signer, entropy, outbound, identities.secret(keys, identities.WEBHOOKS))
    return Home(
        settings=settings,
        party=party,
        clock=clock,
        entropy=entropy,
        store=store,
        log=log,
        keys=keys,
        endings=endings,
        keyring=keyring,
        rows=rows,
        macs=macs,
        catalogue=events,
        lookup=lookup,
        identity=identity,
        openings=openings,
        recorder=recorder,
        registrar=registrar,
        subscribing=subscribing,
        parties=Parties(store, keys, registrar, rows, clock),
        credentials=credentials,
        oauth=oauth,
        key_sets=key_sets,
        idempotency_keys=idempotency_keys,
        outbound=outbound,
        webhooks=hooks,
        telling=Telling(store=store, rows=rows, hooks=hooks, outbound=outbound, clock=clock, entropy=entropy),
        notices=Notices(
            store=store, rows=rows, mail=parts.mail(settings), name=settings.name, contact=settings.contact, clock=clock
        ),
        topic_users=TopicUsers(recorder, signer),
        epochs=epochs,
        intake=intake,
        inlet=Inlet(store=store, rows=rows, log=log, intake=intake, clock=clock),
        desk=Desk(
            store=store,
            lookup=lookup,
            keyring=keyring,
            identity=identity,
            catalogue=events,
            intake=intake,
            idempotency_keys=idempotency_keys,
            macs=macs,
            lifetime_ms=settings.declaration_days * 86_400_000,
            token_ms=settings.subject_token_minutes * 60_000,
            clock=clock,
            entropy=entropy,
        ),
        router=router,
        mailbox=mailbox,
        relay=Relay(
            store=store,
            rows=rows,
            log=log,
            mailbox=mailbox,
            party=party,
            repeat_ms=settings.relay_repeat_hours * 3_600_000,
            clock=clock,
        ),
        gate=Gate(
            store=store,
            mailbox=mailbox,
            lookup=lookup,
            keyring=keyring,
            identity=identity,
            catalogue=events,
            recorder=recorder,
            openings=openings,
            ledgered=ledgered,
            cosigning=cosigning,
            party=party,
            clock=clock,
        ),
        consents=consents,
        dead_letters=DeadLetters(
            store=store,
            lookup=lookup,
            keyring=keyring,
            planner=planner,
            router=router,
            recorder=recorder,
            macs=macs,
            clock=clock,
        ),
        ledger=ledger,
        cosigning=cosigning,
        succession=Succession(registrar, rows, identities.secret(keys, identities.ACCESS)),
        publication=Publication(store=store, lookup=lookup, ledger=ledger, clock=clock),
        pruning=pruning,
        timekeeping=time,
        completion=completion,
        upkeep=Upkeep(
            completion=completion,
            endings=endings,
            backups_ms=settings.backup_retention_days * 86_400_000,
            consents=consents,
            epochs=epochs,
            pruning=pruning,
            schedule=parts.schedule(settings),
            clock=clock,
            time=time,
        ),
        tracking=Tracking(store, events),
        fsck=Fsck(
            store=store,
            log=log,
            key_store=keys,
            catalogue=events,
            rows=rows,
            macs=macs,
            openings=openings,
            verifier=ledger.verifier_key,
            attester=ledger.attestation_key,
            marks=marks or MemoryMarks(identities.marks_secret(keys), secrets.token_bytes),
            clock=clock,
        ),
    )


def ledger_key(keys: KeyStore) -> PrivateKey:
    """What signs the checkpoints of this home."""
    return PrivateKey.from_raw(Algorithm.ED25519, keys.read(KeyKind.LEDGER, "ledger"))
