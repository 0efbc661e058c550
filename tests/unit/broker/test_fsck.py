"""fsck: one thing is changed behind the broker's back, and the check whose business it is says so.

The table holds a tampering for every check, which it alone finds, and touches every table that the broker keeps.
"""

import ast
import asyncio
import copy
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, make_url, select, update

import broker.maintenance.checks
from broker.access.credentials import Scope
from broker.access.idempotency import Answer, Claim
from broker.access.operators import Account, row_of
from broker.access.roles import Role
from broker.ended import Ending, Mark
from broker.flow.declared import known
from broker.flow.deliveries import DeliveryState, load, record
from broker.flow.retracted import Kind
from broker.flow.retracting import retraction
from broker.flow.router import TOPIC
from broker.maintenance.checks import channels as channel_checks
from broker.maintenance.checks import sizes
from broker.maintenance.checks.finding import Finding
from broker.messages.channels import channel_of
from broker.ports import KeyKind
from broker.services import households, identities, purposes, repairing, retractions, rules
from broker.services.citizens import codes, signing_in
from broker.services.households import Filled
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store.engine import Store
from broker.store.message_tables import channels, messages
from broker.store.operator_tables import operators
from broker.store.rows.digests import row_digest
from broker.store.tables import (
    acted_for,
    declarations,
    deliveries,
    ledger_entries,
    ledger_openings,
    log_record,
    metadata,
    objections,
    paused_subscriptions,
    representations,
    signing_keys,
    submissions,
)
from broker.store.tables import retractions as retractions_table
from connectors.contract import Answered, Partly, Rejected
from consent import keyring, registry
from consent.basis import law
from consent.representation import Measure
from consent.rows import digest_of
from consent.tables import consent_keys
from schemas import merkle
from schemas.entry import Opening
from schemas.errors import Corrupt
from schemas.facts import FactKind, Facts
from schemas.names import DeclarationId, Instant, LeafHash, ManifestDigest, OperatorName, Reason, SubjectRef
from schemas.release import LockedDelivery, SealedField, bitmap
from schemas.signing import Algorithm, PrivateKey
from tests.citizens import sign_in
from tests.clients import Client
from tests.endpoints import Endpoints, Letters, expiry_letters, send, status
from tests.faults.day import MEALS
from tests.memory import MemoryEndings, MemoryKeys
from tests.signed import ours, resign
from tests.told import Taken, by_mail, held, tell
from tests.unit.broker.families import LOU, acts
from tests.witnesses import witnessed
from tests.world import (
    BANK,
    CAF,
    CPAM,
    DAY,
    ELISE,
    FAMILY,
    HEALTH,
    MOVED,
    PORTAL,
    RENNES,
    START,
    TOWN,
    VOICE,
    YANN,
    Clock,
    Entropy,
    World,
    settings,
    world,
)

pytestmark = pytest.mark.usefixtures("small")
CHECKS = Path(broker.maintenance.checks.__file__).parent
ANNE = OperatorName("anne.martin")
PEOPLE = {name: ELISE | {"given_names": [name]} for name in ("applied", "handed", "released", "rejected", "revoked")}
UNHEARD = [ELISE | {"given_names": [name]} for name in ("kept", "erased")]
"""Of whom nobody heard; the second had it erased."""


class DamagedKeys(MemoryKeys):
    """A key store one of whose files cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: tuple[KeyKind, str] | None = None

    def _read(self, kind: KeyKind, name: str) -> bytes:
        if (kind, name) == self.damaged:
            raise Corrupt("keys.damaged", kind=kind.value)
        return super()._read(kind, name)


@dataclass(frozen=True)
class Kept:
    """A whole home, closed: its database's bytes and its secrets."""

    database: bytes
    secrets: dict[tuple[KeyKind, str], bytes]


async def lived_in(here: World) -> None:
    """Something of everything: each state, both kinds of dead letter, corrections, ends, rotated and dead epochs."""
    home = here.home
    (old,) = await home.epochs.gate_epochs()
    await home.epochs.open_gate(home.settings.hpke_suite, 0)
    here.clock.pass_(1)
    await home.epochs.destroy_gate(old.kid)
    await home.epochs.rotate_consent()
    for person in PEOPLE.values():
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
    paused = await here.give(CPAM, MOVED, HEALTH, ["subject"], person=PEOPLE["handed"])
    await home.consents.pause(paused.grant.id, VOICE)
    first = await here.declare(MOVED, here.moved(PEOPLE["applied"]))
    await here.take(CAF)
    async with home.store.begin() as tx:
        home.recorder.record(tx, FactKind.VIEWED, home.clock(), about=here.subject(PEOPLE["applied"]))
    await here.declare(MOVED, here.moved(PEOPLE["applied"]), corrects=first.declaration_id)
    for name in ("handed", "released", "rejected", "revoked"):
        await here.declare(MOVED, here.moved(PEOPLE[name]))
    leased = {one.subject: one.id for one in await here.inbox(CAF).lease(10)}
    await here.inbox(CAF).release([leased[here.subject(PEOPLE["released"])]])
    refused = Rejected("table.refused", Reason.SYSTEM_REFUSED)
    await here.inbox(CAF).acknowledge_all({leased[here.subject(PEOPLE["rejected"])]: refused})
    await home.consents.revoke_all(here.subject(PEOPLE["revoked"]), VOICE)
    await answered(here)
    async with home.store.begin() as tx:
        at = home.clock()
        token = (await home.credentials.issue(tx, CAF, [Scope.READ], expires_at=Instant(at + DAY), at=at)).credential
        await home.credentials.issue(tx, RENNES, [Scope.READ], expires_at=Instant(at + 14 * DAY + 1), at=at)
        await home.topic_users.allow(tx, CAF, "caf", receives=True, declares=False, at=at)
    await home.uses.note(token.id, "192.0.2.7")
    client = Client(here, CAF)
    await client.pin()
    await client.redeem()
    await home.publication.newest()
    await home.parties.rotate(CPAM, DAY)
    await home.publication.newest()
    claim = await home.idempotency_keys.claim(CAF, "a key", bytes(32))
    assert isinstance(claim, Claim)
    await home.idempotency_keys.keep(claim, Answer(202, "{}", b"{}"))
    async with home.store.begin() as tx:
        await home.webhooks.add(tx, CPAM, "https://cpam.example/", home.clock())
        await home.key_sets.follow(tx, CPAM, "https://cpam.example/jwks.json", [Scope.READ], home.clock())
    await send(here, Endpoints(status(500)))
    async with home.store.begin() as tx:
        await home.webhooks.add(tx, CAF, "https://caf.example/", home.clock())
    await send(here, Endpoints(status(410)))
    here.clock.pass_(1)
    await expiry_letters(here, Letters()).step()
    await home.ledger.sequence_unfinished()
    with witnessed(here.folder / "witness", here) as cosigning:
        await cosigning.step()
    over_with = await here.subscribe(CPAM, BANK, FAMILY, ["iban"])
    async with home.store.begin() as tx:
        await home.subscribing.end(tx, over_with.id, home.clock())
    rule = await rules.ask(
        home, recipient=CAF, event_type=MOVED, purpose=FAMILY, fields=["effective_date"], article="CSS, art. L114-19"
    )
    await rules.approve(home, rule.id)
    await purposes.approve(home, (await purposes.add(home, MEALS)).entry.id)
    await rules.object_to(home, here.subject(), rule.id, reason="personal-situation", given_by="self")
    # grants without deliveries: a mandate, one narrowed, one revoked
    await here.give(RENNES, BANK, TOWN, ["holder"], basis=law("CGCT, art. L2121-29"))
    narrowed = await here.give(CAF, BANK, FAMILY, ["iban", "bic"])
    await home.consents.narrow(narrowed.grant.id, frozenset({"iban"}), VOICE)
    over = await here.give(CAF, BANK, FAMILY, ["iban"], person=PEOPLE["revoked"])
    await home.consents.revoke(over.grant.id, VOICE)
    taken_back = await here.declare(MOVED, here.moved(PEOPLE["revoked"]))
    await retractions.cancel(home, taken_back.declaration_id, reason="mistake")
    await home.log.append(TOPIC, b"anybody", b"noise", {})
    await home.router.route()
    moreau = await identities.link(home, ELISE, ELISE | {"family_name": "Moreau"}, evidence="2026/123")
    await identities.confirm(home, moreau.id)
    told = by_mail(here, Taken())
    await held(here, told, person=PEOPLE["applied"])
    ended = await held(here, told, "eva@example.fr", person=PEOPLE["applied"])
    here.clock.pass_(channel_checks.SKEW_MS + 1)
    await here.declare(MOVED, here.moved(PEOPLE["applied"]))
    await told.channels.end(ended.subject, ended.id)
    await tell(here, told)
    for person in UNHEARD:
        await here.declare(MOVED, here.moved(person))
    await home.erased.erase(here.subject(UNHEARD[1]))
    await a_family(here)
    await home.drafts.write(here.subject(), "moving", {"street": "rue d'Essai"})
    async with home.store.begin() as tx:
        given = {"of": taken_back.declaration_id, "at": here.clock()}
        await home.fingerprints.keep(tx, here.subject(PEOPLE["revoked"]), MOVED, here.moved(), **given)
    await somebody_comes_in(here)


async def somebody_comes_in(here: World) -> None:
    """A session, the identifier of a provider, a code that waits; one of each that is over leaves no row."""
    token, citizen = await sign_in(here)
    await signing_in.sign_out(here.home, token)
    await sign_in(here)
    code = await codes.give(here.home, ELISE)
    await signing_in.with_code(here.home, code.code, language="fr", address="192.0.2.1")
    await codes.give(here.home, ELISE)
    async with here.home.store.begin() as tx:
        kin = await here.home.lookup.kin(tx, [citizen.subject], here.clock())
        alias = here.home.accounts.alias("https://fc.example", "ours", "sub")
        await here.home.accounts.of(tx, alias, citizen.subject, kin, here.clock())


async def a_family(here: World) -> None:
    """One form: a parent, a child, and an adult who has still to confirm."""
    await acts(here, Measure.PARENTAL_AUTHORITY, subject=LOU)
    mine = Filled(here.moved())
    hers = Filled(here.moved(LOU, declarant=ELISE, capacity="parent"))
    theirs = Filled({"subject": YANN}, waits=True)
    await households.fill_in(here.home, PORTAL, MOVED, [mine, hers, theirs])
    await here.home.router.route()


async def answered(here: World) -> None:
    """One person who was not found, and then was; one in part; one about whom somebody decides."""
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, repairing.TYPE, here.clock())
    await here.subscribe(CAF, repairing.TYPE, FAMILY, ("subject", "number", "repairs"))
    said = {
        "unknown": Answered(Reason.UNKNOWN_PERSON),
        "partly": Partly(("subject",)),
        "awaited": Answered(Reason.AWAITING_HUMAN, "2026-12-24"),
    }
    for name, answer in said.items():
        person = ELISE | {"given_names": [name]}
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
        declared = await here.declare(MOVED, here.moved(person))
        for locked in (await here.inbox(CAF).pull(10)).locked:
            await here.inbox(CAF).acknowledge(locked.delivery_id, answer)
        if name == "unknown":
            asked = repairing.Repair(declared.declaration_id, CAF, person, "numéro allocataire", "7654321")
            await repairing.repair(here.home, asked, VOICE)
            await here.home.router.route()
            await here.take(CAF)
            await here.home.repairs.step()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts so small that a home of a day has several."""
    monkeypatch.setattr(sizes, "PART", 2)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The home, lived in, closed and kept in memory."""
    folder = tmp_path_factory.mktemp("fsck")
    secrets: dict[tuple[KeyKind, str], bytes] = {}

    async def build() -> None:
        async with world(folder) as here:
            await lived_in(here)
            await here.step()
            secrets.update(here.home.keys._secrets)  # type: ignore[attr-defined]

    asyncio.run(build())
    (database,) = folder.glob("*.db")
    assert not list(folder.glob("*-wal"))
    return Kept(database.read_bytes(), secrets)


@asynccontextmanager
async def reopened(folder: Path, kept: Kept) -> AsyncIterator[World]:
    """A copy of the home in a folder of its own."""
    chosen, keys, clock = settings(folder), DamagedKeys(), Clock()
    keys._secrets = copy.copy(kept.secrets)
    clock.pass_(DAY)
    Path(make_url(chosen.database_url).database or "").write_bytes(kept.database)
    async with Store.open(chosen.database_url) as store, open_log(chosen, store, clock) as log:
        parts = {"store": store, "log": log, "keys": keys, "endings": MemoryEndings()}
        home = Home(chosen, **parts, clock=clock, entropy=Entropy(b"again"))
        yield World(home, clock, folder)


# ── what somebody with the database, or with the keys, may do ───────────────────────────────────────────────────────

Tampering = str | Callable[[World], Awaitable[None]]


async def an_entry_that_is_none(here: World) -> None:
    row = {"entry": b"noise", "leaf": merkle.leaf_hash(b"noise"), "window": START}
    async with here.home.store.begin() as tx:
        await tx.execute(insert(ledger_entries), ours(row, here.home.macs))


async def an_entry_about_somebody_else(here: World) -> None:
    openings, blind = here.home.openings, here.home.entropy(32)
    other, said = (here.subject(PEOPLE[name]) for name in ("applied", "handed"))
    facts = Facts(START, FactKind.VIEWED, here.home.party, subject=openings.commitment(other, blind))
    opening = Opening(blind, None, facts)
    async with here.home.store.begin() as tx:
        entry = opening.seal(START)
        row = {"leaf": merkle.leaf_hash(entry.encode()), "entry": entry.encode(), "window": START}
        tx.add(ledger_entries, ours(row, here.home.macs))
        tx.add(ledger_openings, openings.row(row["leaf"], opening, said, START))


async def an_entry_of_somebody_elses(here: World) -> None:
    """Which waits to be ordered, and would be put aside then."""
    async with here.home.store.begin() as tx:
        here.home.recorder.record(tx, FactKind.VIEWED, here.clock(), about=here.subject(PEOPLE["applied"]))
        await tx.flush()
        await tx.execute(update(ledger_entries).where(ledger_entries.c.position.is_(None)).values(mac=bytes(32)))


async def a_grant_told_twice(here: World) -> None:
    grant = (await here.home.consents.of(here.subject(PEOPLE["applied"])))[0]
    async with here.home.store.begin() as tx:
        here.home.recorder.grant(tx, FactKind.GRANTED, grant, here.clock())


async def a_declaration_told_and_not_kept(here: World) -> None:
    async with here.home.store.begin() as tx:
        told = {"actor": PORTAL, "event_type": MOVED, "declaration": ManifestDigest(bytes(32))}
        here.home.recorder.record(tx, FactKind.RECEIVED, here.clock(), about=here.subject(), **told)


async def a_delivery_released_to_somebody_elses_key(here: World) -> None:
    """As it was released once, for whoever asks fsck: the same plan, the same tag, another key."""
    home = here.home
    async with home.store.begin() as tx:
        one = next(each for each in await load(tx) if each.state.value == "released")
        stranger = (await home.lookup.directory(tx)).current_sealing_key(CPAM, here.clock()).kid
        record(tx, home.recorder, FactKind.RELEASED, one, one.released_at, basis="consent", sealed_to=stranger)


async def an_objection_that_nobody_told(here: World) -> None:
    """By whoever has the machine's secret, and not the ledger."""
    async with here.home.store.begin() as tx:
        row = dict((await tx.execute(select(objections))).one()._mapping)
        edited = here.home.macs.made(objections.name, row | {"reason": "another"})
        await tx.execute(update(objections).values(edited))


async def a_retraction_that_nobody_told(here: World) -> None:
    """By whoever has the machine's secret, and not the ledger."""
    async with here.home.store.begin() as tx:
        row = dict((await tx.execute(select(retractions_table))).one()._mapping)
        edited = here.home.macs.made(retractions_table.name, row | {"kind": "recalled"})
        await tx.execute(update(retractions_table).values(edited))


async def a_retraction_that_closed_nothing(here: World) -> None:
    """The row and the ledger tell of it, and the delivery goes on."""
    home = here.home
    async with home.store.begin() as tx:
        one = (await load(tx, deliveries.c.state == DeliveryState.HANDED.value))[0]
        made = retraction(Kind.CANCELLED, one.declaration_id, one.subject, by=PORTAL, at=home.clock(), notice=None)
        await tx.insert_new(retractions_table, home.macs.made(retractions_table.name, made.row()))
        told = {"about": one.subject, "declaration": one.manifest, "reason": Reason.CANCELLED}
        detail = row_digest(retractions_table.name, made.row())
        home.recorder.record(tx, FactKind.RETRACTED, home.clock(), detail=detail, **told)


async def a_representation_for_more_than_was_told(here: World) -> None:
    """By whoever has the key of the rows, and not the ledger."""
    async with here.home.store.begin() as tx:
        row = (await tx.execute(select(representations))).one()
        await here.home.row_signer.change(tx, representations, row, {"proof": "another act"})


async def a_declaration_by_somebody_else_than_was_told(here: World) -> None:
    """By whoever has the machine's secret, and not the ledger."""
    async with here.home.store.begin() as tx:
        row = dict((await tx.execute(select(acted_for))).one()._mapping)
        edited = here.home.macs.made(acted_for.name, row | {"known": "source"})
        await tx.execute(update(acted_for).values(edited))


async def a_channel_led_elsewhere(here: World) -> None:
    """By whoever has the machine's secrets, and not the ledger."""
    async with here.home.store.begin() as tx:
        row = dict((await tx.execute(select(channels).where(channels.c.ended_at.is_(None)))).one()._mapping)
        one = channel_of((await tx.execute(select(channels).where(channels.c.id == row["id"]))).one())
        row["sealed"] = here.home.channel_seals.seal(one.id, one.subject, one.kind, "thief@example.fr")
        edited = here.home.macs.made(channels.name, row)
        await tx.execute(update(channels).where(channels.c.id == row["id"]).values(edited))


async def a_channel_taken_away(here: World) -> None:
    async with here.home.store.begin() as tx:
        (of,) = (await tx.execute(select(channels.c.id).where(channels.c.ended_at.is_(None)))).scalars()
        await tx.execute(delete(messages).where(messages.c.channel == of))
        await tx.execute(delete(channels).where(channels.c.id == of))


async def an_address_that_is_none(here: World) -> None:
    """By whoever has every secret but the one of addresses, and tells the ledger of it."""
    async with here.home.store.begin() as tx:
        row = dict((await tx.execute(select(channels).where(channels.c.ended_at.is_(None)))).one()._mapping)
        row["sealed"] = bytes(len(row["sealed"]))
        edited, at = here.home.macs.made(channels.name, row), here.clock()
        await tx.execute(update(channels).where(channels.c.id == row["id"]).values(edited))
        told = {"about": SubjectRef(row["subject"]), "detail": row_digest(channels.name, row)}
        here.home.recorder.record(tx, FactKind.CHANNEL_ADDED, at, **told)
        here.home.recorder.record(tx, FactKind.CHANNEL_ENDED, at, **told)


async def a_fingerprint_of_nothing(here: World) -> None:
    """By whoever has the secrets: of a declaration that never was."""
    async with here.home.store.begin() as tx:
        never = DeclarationId(bytes(16))
        await here.home.fingerprints.keep(tx, here.subject(), MOVED, {}, of=never, at=here.clock())


async def an_account_of_nobody(here: World) -> None:
    """By whoever holds the keys: the row is signed and the journal knows it; the ledger does not."""
    account = Account(ANNE, frozenset({Role.OPERATOR}), bytes(31) + b"\x01", None, 1, here.clock(), here.clock(), None)
    await here.home.endings.write([Ending.of("operators", ANNE.encode(), at=here.clock(), least=1, **row_of(account))])
    async with here.home.store.begin() as tx:
        await tx.execute(insert(operators).values(**row_of(account)))


async def a_right_that_nobody_gave(here: World) -> None:
    """After the first account, by a program that forgets who acts."""
    home, key = here.home, PrivateKey.generate(Algorithm.ED25519)
    async with home.store.begin() as tx:
        await home.operators.add(tx, ANNE, frozenset({Role.OPERATOR}), public=key.public, login=None, at=here.clock())
    async with home.store.begin() as tx:
        await home.registrar.allow_publishing(tx, CAF, MOVED, here.clock())
        tx.finishing.clear()


async def a_dead_key_brought_back(here: World) -> None:
    (old, _) = await here.home.epochs.gate_epochs()
    here.home.keys.write(KeyKind.GATE, old.kid.hex(), bytes(32))


async def the_gates_key_lost(here: World) -> None:
    (_, kid) = await here.home.epochs.gate_epochs()
    here.home.keys.destroy(KeyKind.GATE, kid.kid.hex())


async def a_key_of_no_epoch(here: World) -> None:
    here.home.keys.write(KeyKind.CONSENT_EPOCH, "9", bytes(32))


async def a_key_file_damaged(here: World) -> None:
    keys = here.home.keys
    assert isinstance(keys, DamagedKeys)
    keys.damaged = (KeyKind.SEALING, keys.names(KeyKind.SEALING)[0])


async def a_change_that_nobody_recorded(here: World) -> None:
    (grant,) = [
        one for one in await here.home.consents.of(here.subject()) if one.event_type == BANK and one.version == 2
    ]
    async with here.home.store.begin() as tx:
        paused, epochs = grant.pause(here.clock(), VOICE), here.home.keyring.consent_epochs()
        await registry.change(tx.conn, paused, epochs, here.home.entropy)


async def yesterdays_key_put_back(here: World) -> None:
    (grant,) = [
        one for one in await here.home.consents.of(here.subject()) if one.event_type == BANK and one.version == 2
    ]
    ((epoch, key),) = here.home.keyring.consent_epochs().items()
    async with here.home.store.begin() as tx:
        before, _ = await registry.history(tx.conn, grant.id)
        bound = keyring.Bound(grant.id, digest_of(before), epoch)
        old = {"digest": bound.digest, "wrapped": keyring.wrap(keyring.Kept(bytes(32), None), bound, key, bytes(12))}
        await tx.execute(update(consent_keys).where(consent_keys.c.grant_id == grant.id).values(old))


async def a_key_for_a_dead_consent(here: World) -> None:
    (over,) = [one for one in await here.home.consents.of(here.subject(PEOPLE["revoked"])) if one.event_type == BANK]
    ((epoch, key),) = here.home.keyring.consent_epochs().items()
    bound = keyring.Bound(over.id, digest_of(over), epoch)
    row = {"grant_id": over.id, "epoch": epoch, "digest": bound.digest}
    async with here.home.store.begin() as tx:
        await tx.execute(
            insert(consent_keys), row | {"wrapped": keyring.wrap(keyring.Kept(bytes(32), None), bound, key, bytes(12))}
        )


async def a_signing_key_slipped_in(here: World) -> None:
    key = PrivateKey.generate(Algorithm.ED25519)
    row = {"kid": key.kid, "party": PORTAL, "algorithm": 1, "public": key.public, "valid_from": START}
    async with here.home.store.begin() as tx:
        await tx.execute(insert(signing_keys).values(**row))


async def a_source_whose_key_was_stolen_before_it_declared(here: World) -> None:
    async with here.home.store.begin() as tx:
        directory = await here.home.lookup.directory(tx)
        (kid,) = [one.kid for one in directory.signing if one.party == PORTAL]
        await here.home.registrar.revoke_key(tx, kid, here.clock, START)


async def the_towns_subscription(here: World) -> bytes:
    async with here.home.store.read() as tx:
        subscriptions = await here.home.lookup.subscriptions_by_id(tx)
    return next(one.id for one in subscriptions.values() if one.recipient == RENNES)


async def a_pause_that_a_power_cut_kept_from_its_commit(here: World) -> None:
    mine, at = await the_towns_subscription(here), here.clock()
    await here.home.endings.write([Ending.of(paused_subscriptions.name, mine, at=at, paused_at=at)])


async def a_pause_that_somebody_took_away(here: World) -> None:
    mine = await the_towns_subscription(here)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.pause(tx, mine, here.clock())
    await here.home.completion.finish()
    async with here.home.store.begin() as tx:
        await tx.execute(delete(paused_subscriptions))


async def a_ledger_that_was_signed_further(here: World) -> None:
    await here.home.endings.move_mark(Mark(10_000, bytes(32), "-"), None)


class Silent:
    """A recorder that records nothing."""

    def record(self, *args: Any, **more: Any) -> LeafHash:
        return LeafHash(bytes(32))


async def a_delivery_planned_in_silence(here: World) -> None:
    home = here.home
    grant = await here.give(CAF, MOVED, FAMILY, ["household"], person=PEOPLE["applied"])
    async with home.store.begin() as tx:
        subscriptions = await home.lookup.subscriptions_by_id(tx)
        (mine,) = [one for one in subscriptions.values() if (one.recipient, one.event_type) == (CAF, MOVED)]
        declaration = [one for one in await known(tx, here.home.macs) if one.corrects is None][-1]
        planner, epochs = copy.copy(home.consents._planner), home.keyring.consent_epochs()
        planner._recorder = Silent()  # type: ignore[assignment]
        await planner.replan(tx, declaration, mine, epochs, here.clock(), newer=grant.grant.id)


async def a_field_slipped_into_a_delivery_and_its_row(here: World) -> None:
    async with here.home.store.begin() as tx:
        one = next(each for each in await load(tx) if each.state.value == "handed")
        locked = LockedDelivery.decode(one.locked)
        declaration = next(each for each in await known(tx, here.home.macs) if each.seq == one.declaration)
        sealed = declaration.verified.signed.sealed_fields
        event = here.home.catalogue.by_type(MOVED)
        index = event.field("phone").index
        fields = sorted([*locked.fields, SealedField(index, sealed[index])], key=lambda each: each.index)
        wider = replace(locked, fields=tuple(fields)).encode()
        bits = bitmap(len(event.fields), [each.index for each in fields])
        await tx.execute(update(deliveries).where(deliveries.c.seq == one.seq).values(locked=wider, fields=bits))


async def a_declaration_emptied(here: World) -> None:
    mine = declarations.c.subject == here.subject(UNHEARD[0])
    async with here.home.store.begin() as tx:
        await tx.execute(update(declarations).where(mine).values(envelope=b""))


async def a_declaration_put_back_after_it_was_erased(here: World) -> None:
    mine = declarations.c.subject == here.subject(UNHEARD[1])
    async with here.home.store.begin() as tx:
        digest = select(submissions.c.envelope_digest).where(submissions.c.subject == here.subject(UNHEARD[1]))
        wanted = (await tx.execute(digest)).scalar_one()
        logged = (await tx.execute(select(log_record.c.value))).scalars()
        (sealed,) = [one for one in logged if sha256(one).digest() == wanted]
        await tx.execute(update(declarations).where(mine).values(envelope=sealed))


def on_first(table: str, change: str, where: str = "1") -> str:
    """A change of one row."""
    return f"UPDATE {table} SET {change} WHERE rowid = (SELECT min(rowid) FROM {table} WHERE {where})"


def drop_first(table: str, where: str = "1") -> str:
    return f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table} WHERE {where})"


def of(name: str, event: str = MOVED) -> str:
    """A condition on grants: whose, by a delivery's state; those without deliveries by their type."""
    return f"id IN (SELECT grant_id FROM deliveries WHERE state = '{name}') AND event_type = '{event}'"


NO_DELIVERY = f"event_type = '{BANK}' AND version = 2 AND status = 'active'"
OVER = f"event_type = '{BANK}' AND status = 'revoked'"
OF_NARROWED = f"grant_id IN (SELECT id FROM grants WHERE {NO_DELIVERY})"
OF_HEAD = f"id IN (SELECT id FROM grants WHERE {NO_DELIVERY})"

ALONE: dict[str, Tampering] = {
    "forgotten.horizon": "INSERT INTO meta (name, value) VALUES ('forgotten', 'soon')",
    "operators.untold": an_account_of_nobody,
    "operators.nobody": a_right_that_nobody_gave,
    "operators.act": "INSERT INTO operator_acts (leaf, at, act, signature) VALUES (x'00', 0, '{}', NULL)",
    "operators.request": "INSERT INTO approval_requests (id, act, asked_by, asked_at, expires_at, state, decided_by)"
    " VALUES (x'0000000000000001', '{}', 'anne', 1, 2, 'approved', 'anne')",
    "answers.half": "UPDATE kept_answers SET answer = NULL",
    "oauth.untold": """UPDATE client_keys SET scopes = '["publish"]'""",
    "topics.untold": "UPDATE topic_users SET principal = 'thief'",
    "purposes.edited": "UPDATE purposes SET contact = 'thief@ville.example'",
    "rules.edited": """UPDATE rules SET fields = '["subject"]'""",
    "objections.mac": "UPDATE objections SET mac = zeroblob(32)",
    "repairs.mac": "UPDATE repairs SET reference = zeroblob(16)",
    "repairs.missing": "DELETE FROM repairs",
    "repairs.orphan": (
        "INSERT INTO repairs (delivery, number, reference, grant_id, asked_at) "
        "VALUES (zeroblob(16), 1, zeroblob(16), zeroblob(16), 1)"
    ),
    "deliveries.answer": "UPDATE deliveries SET until = '2027-01-01' WHERE until IS NOT NULL",
    "objections.untold": an_objection_that_nobody_told,
    "retractions.mac": "UPDATE retractions SET mac = zeroblob(32)",
    "retractions.untold": a_retraction_that_nobody_told,
    "deliveries.retracted": a_retraction_that_closed_nothing,
    "representations.untold": a_representation_for_more_than_was_told,
    "representations.lost": "DELETE FROM representations",
    "acted-for.mac": "UPDATE acted_for SET mac = zeroblob(32)",
    "acted-for.untold": a_declaration_by_somebody_else_than_was_told,
    "acted-for.lost": "DELETE FROM acted_for",
    "households.mac": "UPDATE households SET expires_at = expires_at + 1",
    "links.untold": "UPDATE reference_links SET acts_from = acts_from - 1",
    "links.lost": "DELETE FROM reference_links",
    "links.unreadable": "UPDATE reference_links SET ground = 'hearsay'",
    "channels.mac": "UPDATE channels SET mac = zeroblob(32)",
    "sessions.mac": "UPDATE citizen_sessions SET assurance = 'high'",
    "accounts.mac": "UPDATE citizen_accounts SET subject = zeroblob(32)",
    "codes.mac": "UPDATE citizen_codes SET expires_at = expires_at + 1",
    "channels.untold": a_channel_led_elsewhere,
    "channels.lost": a_channel_taken_away,
    "channels.damaged": an_address_that_is_none,
    "drafts.mac": "UPDATE citizen_drafts SET version = version + 1",
    "tallies.count": "INSERT INTO tallies VALUES (zeroblob(32), 0, 1)",
    "told-already.mac": "UPDATE told_already SET at = at + 1",
    "told-already.orphan": a_fingerprint_of_nothing,
    "messages.mac": "UPDATE messages SET sent_at = 1",
    "messages.lost": drop_first("messages", "news = 'received'"),
    "credentials.untold": """UPDATE api_tokens SET scopes = '["publish"]'""",
    "consent-keys.damaged": f"UPDATE consent_keys SET wrapped = zeroblob(60) WHERE {OF_NARROWED}",
    "consent-keys.dead-epoch": f"UPDATE consent_keys SET epoch = 1 WHERE {OF_NARROWED}",
    "consent-keys.missing": f"DELETE FROM consent_keys WHERE {OF_NARROWED}",
    "consent-keys.no-epoch": f"UPDATE consent_keys SET epoch = 99 WHERE {OF_NARROWED}",
    "consent-keys.other-version": yesterdays_key_put_back,
    "consent-keys.outlived": a_key_for_a_dead_consent,
    "dead-letters.differs": on_first("dead_letters", "code = 'table.other'", "delivery IS NOT NULL"),
    "dead-letters.orphan": (
        "INSERT INTO dead_letters (stage, delivery, reason, code, attempts, at) "
        "VALUES ('delivery', zeroblob(16), 'parked', 'table.away', 1, 1)"
    ),
    "dead-letters.untold": (
        "INSERT INTO dead_letters (stage, topic, partition, offset, record, reason, code, attempts, at) "
        "VALUES ('router', 'declarations', 0, 0, x'00', 'invalid-envelope', 'avro.too-short', 1, 1)"
    ),
    "declarations.came-back": a_declaration_put_back_after_it_was_erased,
    "declarations.emptied": a_declaration_emptied,
    "declarations.differs": on_first("declarations", "root = zeroblob(16)", "corrects IS NOT NULL"),
    "declarations.invalid": a_source_whose_key_was_stolen_before_it_declared,
    "declarations.mac": on_first("declarations", "mac = zeroblob(32)"),
    "declarations.missing": a_declaration_told_and_not_kept,
    "declarations.not-accepted": drop_first("submissions"),
    "declarations.trace": on_first("declarations", "trace = zeroblob(16)"),
    "declarations.untold": on_first("declarations", "routed_at = routed_at + 1"),
    "deliveries.differs": (
        "UPDATE deliveries SET subject = CAST(substr(subject, 1, 31) || x'00' AS BLOB) WHERE state = 'handed'"
    ),
    "deliveries.edited": a_field_slipped_into_a_delivery_and_its_row,
    "deliveries.lock": (
        "UPDATE deliveries SET locked = CAST(substr(locked, 1, length(locked) - 1) || x'00' AS BLOB) "
        "WHERE state = 'handed'"
    ),
    "deliveries.lost": "DELETE FROM dead_letters WHERE delivery IS NOT NULL",
    "deliveries.mac": "UPDATE deliveries SET mac = zeroblob(32) WHERE state = 'handed'",
    "deliveries.missing": "DELETE FROM deliveries WHERE state = 'handed'",
    "deliveries.orphan": (
        f"UPDATE deliveries SET subscription = (SELECT id FROM subscriptions WHERE event_type = '{BANK}') "
        "WHERE state = 'handed'"
    ),
    "deliveries.tag": (
        "UPDATE deliveries SET mac = NULL, tag = (SELECT tag FROM deliveries WHERE state = 'applied') "
        "WHERE state = 'handed'"
    ),
    "deliveries.state": "UPDATE deliveries SET state = 'pending' WHERE state = 'applied'",
    "deliveries.times": "UPDATE deliveries SET released_at = NULL WHERE state = 'released'",
    "deliveries.unreadable": "UPDATE deliveries SET state = 'opened' WHERE state = 'handed'",
    "deliveries.untold": a_delivery_planned_in_silence,
    "law.note": "UPDATE directory_notes SET law_digest = zeroblob(32)",
    "directory.note": "UPDATE directory_notes SET digest = zeroblob(32)",
    "directory.unreadable": f"UPDATE parties SET kind = 'king' WHERE id = '{CAF}'",
    "directory.untold": a_signing_key_slipped_in,
    "endings.behind": a_pause_that_a_power_cut_kept_from_its_commit,
    "endings.contradicted": a_pause_that_somebody_took_away,
    "fsck.stopped": "UPDATE meta SET value = 'many'",
    "first-ledger.edited": "INSERT INTO first_ledger (position, entry) VALUES (0, x'00')",
    "ledger.predecessor": "INSERT INTO meta (name, value) VALUES ('followed.1', 'of whatever ledger')",
    "grants.edited": (
        f"UPDATE grants SET text_hash = zeroblob(32) WHERE {OVER}; "
        f"UPDATE grant_versions SET text_hash = zeroblob(32) WHERE id IN (SELECT id FROM grants WHERE {OVER})"
    ),
    "grants.head": f"UPDATE grants SET changed_at = changed_at + 1 WHERE {OVER}",
    "grants.history": f"DELETE FROM grant_versions WHERE version = 1 AND {OF_HEAD}",
    "grants.lost": (
        f"DELETE FROM consent_keys WHERE {OF_NARROWED}; "
        f"DELETE FROM grant_versions WHERE {OF_HEAD}; "
        f"DELETE FROM grants WHERE {NO_DELIVERY}"
    ),
    "grants.unreadable": f"UPDATE grants SET status = 'asleep' WHERE {NO_DELIVERY}",
    "grants.untold": a_change_that_nobody_recorded,
    "instants.future": "UPDATE consent_epochs SET opened_at = opened_at + 52000000000",
    "keys.lost": the_gates_key_lost,
    "keys.orphan": a_key_of_no_epoch,
    "keys.outlived": a_dead_key_brought_back,
    "keys.unreadable": a_key_file_damaged,
    "ledger.cosignature": "UPDATE cosignatures SET line = (SELECT note FROM ledger_checkpoints)",
    "ledger.checkpoint": on_first("ledger_checkpoints", "note = 'signed'"),
    "ledger.entry": an_entry_that_is_none,
    "ledger.gap": "UPDATE ledger_entries SET position = position + 1 "
    "WHERE position = (SELECT max(position) FROM ledger_entries)",
    "ledger.erasure": "INSERT INTO ledger_erased SELECT min(leaf), zeroblob(32) FROM ledger_openings",
    "ledger.invariant": a_grant_told_twice,
    "ledger.mac": an_entry_of_somebody_elses,
    "ledger.not-ours": "INSERT INTO ledger_entries (leaf, entry, window, position) VALUES (zeroblob(32), x'00', 0, -1)",
    "ledger.row": on_first("ledger_entries", "chain = zeroblob(16)", "chain IS NOT NULL AND length(chain) = 16"),
    "ledger.tag": on_first("ledger_entries", "tag = NULL", "tag IS NOT NULL"),
    "ledger.leaf": on_first("ledger_entries", "leaf = zeroblob(32)", "leaf NOT IN (SELECT leaf FROM ledger_openings)"),
    "ledger.opening": drop_first("ledger_openings", "kind = 'viewed'"),
    "ledger.subject": an_entry_about_somebody_else,
    "ledger.stands-still": a_ledger_that_was_signed_further,
    "ledger.tile": on_first("ledger_tiles", "hashes = zeroblob(length(hashes))"),
    "log.lost": "DELETE FROM dead_letters WHERE record IS NOT NULL",
    "log.offset": "UPDATE consumed SET next_offset = next_offset + 1",
    "parties.edited": f"UPDATE parties SET sector = 'health' WHERE id = '{CAF}'",
    "parties.lost": f"DELETE FROM parties WHERE id = '{RENNES}'",
    "policies.edited": f"UPDATE signature_policies SET policy = 4 WHERE party = '{CAF}'",
    "rights.edited": f"UPDATE publishing_rights SET valid_to = 9000000000000 WHERE party = '{PORTAL}'",
    "rows.unsigned": f"UPDATE signing_keys SET valid_to = 9000000000000 WHERE party = '{PORTAL}'",
    "submissions.mac": on_first("submissions", "mac = zeroblob(32)"),
    "submissions.receipt": on_first("submissions", "receipt = CAST('{}' AS BLOB)"),
    "subscriptions.paused-ended": (
        "INSERT INTO paused_subscriptions SELECT id, 1 FROM subscriptions WHERE status = 'ended'"
    ),
    "subscriptions.edited": on_first("subscriptions", "legal_reference = 'none'"),
    "credentials.use": "UPDATE credential_uses SET credential = zeroblob(8)",
    "expiry.notice": "UPDATE expiry_notices SET next_at = mailed_at",
    "webhooks.attempt": "UPDATE webhook_attempts SET webhook = zeroblob(16)",
    "webhooks.message": "UPDATE webhooks SET next_at = NULL WHERE status = 'proving'",
    "webhooks.notice": "UPDATE webhook_notices SET reason = 'webhooks.failed'",
    "webhooks.untold": "UPDATE webhooks SET url = 'https://thief.example/'",
    "withholdings.missing": drop_first("withholdings", "reason = 'paused'"),
    "withholdings.orphan": on_first("withholdings", "subscription = zeroblob(16)"),
    "withholdings.untold": on_first("withholdings", "reason = 'paused'", "reason = 'no-grant'"),
}
"""check -> what it alone finds."""

UNSIGNED = {"declarations.mac", "deliveries.mac", "ledger.mac", "rows.unsigned", "submissions.mac"}
"""What nobody finds after whoever holds the keys has signed it."""

TOO: list[tuple[str, set[str]]] = [
    ("UPDATE reference_links SET kept = zeroblob(32)", {"links.untold"}),
    ("UPDATE reference_links SET confirmed_at = NULL, acts_from = NULL", {"links.lost"}),
    (
        "UPDATE deliveries SET subject = zeroblob(32) WHERE state = 'handed'",
        {"deliveries.differs", "deliveries.untold", "deliveries.missing"},
    ),
    ("UPDATE reference_links SET ended_at = 1, ended_by = 'operators'", {"links.untold"}),
    (
        "INSERT INTO reference_links (id, alias, kept, ground, asked_by, asked_at, confirmed_at, acts_from) SELECT "
        "zeroblob(16), kept, (SELECT subject FROM grants WHERE subject <> kept), 'spelling', 'broker', 1, 1, 1 "
        "FROM reference_links",
        {"links.untold"},
    ),
    # the rest of what a hand can do, with every check that must see it
    ("UPDATE signing_keys SET revoked_at = 1", {"directory.untold"}),
    (
        "INSERT INTO operators (id, roles, version, added_at, changed_at) VALUES ('thief', '[]', 1, 1, 1)",
        {"operators.untold", "endings.contradicted"},
    ),
    (f"UPDATE sealing_keys SET party = '{PORTAL}' WHERE party = '{CAF}'", {"directory.untold"}),
    ("UPDATE client_key_sets SET url = 'https://thief.example/'", {"oauth.untold"}),
    ("DELETE FROM directory_notes WHERE version = (SELECT min(version) FROM directory_notes)", {"directory.note"}),
    ("UPDATE webhooks SET status = 'disabled'", {"webhooks.message"}),
    ("UPDATE webhooks SET status = 'ended'", {"webhooks.message", "webhooks.untold"}),
    ("UPDATE gate_epochs SET destroyed_at = NULL", {"keys.lost"}),
    ("UPDATE consent_epochs SET destroyed_at = NULL", {"keys.lost"}),
    ("UPDATE consent_epochs SET destroyed_at = 1", {"keys.outlived", "consent-keys.dead-epoch"}),
    (on_first("log_record", "value = zeroblob(8)"), {"log.lost"}),
    (on_first("submissions", "subject = zeroblob(32)"), {"declarations.differs"}),
    (on_first("submissions", "received_at = received_at + 1"), {"declarations.differs", "submissions.receipt"}),
    (
        on_first(
            "submissions",
            "receipt = (SELECT max(receipt) FROM submissions)",
            "receipt < (SELECT max(receipt) FROM submissions)",
        ),
        {"submissions.receipt"},
    ),
    (on_first("declarations", "manifest_digest = zeroblob(32)"), {"declarations.differs", "declarations.untold"}),
    (on_first("declarations", "subject = zeroblob(32)"), {"declarations.differs", "deliveries.differs"}),
    (on_first("declarations", "gate_kid = zeroblob(32)"), {"declarations.differs"}),
    (
        f"UPDATE deliveries SET recipient = '{RENNES}' WHERE state = 'handed'",
        {"deliveries.edited", "deliveries.differs"},
    ),
    ("UPDATE deliveries SET state = 'applied' WHERE state = 'handed'", {"deliveries.state"}),
    ("UPDATE deliveries SET state = 'pending' WHERE state = 'withheld'", {"deliveries.state"}),
    ("UPDATE deliveries SET reason = 'paused' WHERE state = 'withheld'", {"deliveries.state"}),
    ("UPDATE deliveries SET handed_at = NULL WHERE state = 'handed'", {"deliveries.times"}),
    ("UPDATE deliveries SET done_at = 1 WHERE state = 'applied'", {"deliveries.times"}),
    ("UPDATE deliveries SET locked = x'00' WHERE state = 'handed'", {"deliveries.unreadable", "deliveries.lock"}),
    ("UPDATE dead_letters SET replayed_at = 1 WHERE delivery IS NOT NULL", {"deliveries.lost"}),
    ("UPDATE dead_letters SET replayed_at = 1 WHERE record IS NOT NULL", {"log.lost"}),
    ("UPDATE dead_letters SET record = x'00' WHERE record IS NOT NULL", {"log.lost", "dead-letters.untold"}),
    (on_first("ledger_openings", "subject = zeroblob(32)", "kind = 'viewed'"), {"ledger.opening"}),
    (on_first("ledger_openings", "period = period + 1", "kind = 'viewed'"), {"ledger.opening"}),
    (on_first("ledger_openings", "leaf = zeroblob(32)", "kind = 'viewed'"), {"ledger.opening"}),
    (on_first("ledger_openings", "kind = 'applied'", "kind = 'viewed'"), {"ledger.opening"}),
    (on_first("ledger_openings", "reason = 'stale'", "kind = 'viewed'"), {"ledger.opening"}),
    (on_first("ledger_openings", "sealed = zeroblob(length(sealed))"), {"ledger.opening"}),
    ("DELETE FROM ledger_openings", {"ledger.opening", "grants.untold", "deliveries.untold", "declarations.untold"}),
    (
        "UPDATE deliveries SET tag = (SELECT tag FROM deliveries WHERE state = 'applied') WHERE state = 'handed'",
        {"deliveries.tag", "deliveries.mac"},
    ),
    (
        on_first("ledger_entries", '"window" = "window" + 1', "leaf IN (SELECT leaf FROM ledger_openings)"),
        {"ledger.row"},
    ),
    (on_first("ledger_entries", "chain = zeroblob(1)", "chain = CAST('first' AS BLOB)"), {"ledger.row"}),
    ("DELETE FROM ledger_tiles", {"ledger.tile"}),
    ("DELETE FROM ledger_checkpoints", {"ledger.checkpoint"}),
    (
        f'UPDATE grants SET fields = \'["phone","subject"]\' WHERE {of("handed")}',
        {"grants.head", "consent-keys.other-version"},
    ),
    (
        f"UPDATE grants SET text_hash = zeroblob(32) WHERE {of('handed')}; "
        f"UPDATE grant_versions SET text_hash = zeroblob(32) WHERE {of('handed')}",
        {"grants.edited", "consent-keys.other-version"},
    ),
    (f"UPDATE consent_keys SET epoch = 0 WHERE {OF_NARROWED}", {"consent-keys.damaged"}),
    (f"UPDATE consent_keys SET digest = zeroblob(32) WHERE {OF_NARROWED}", {"consent-keys.damaged"}),
    (on_first("withholdings", "reason = 'no-grant'", "reason = 'paused'"), {"withholdings.untold"}),
    (f"UPDATE grant_versions SET status = 'paused' WHERE {of('handed')}", {"grants.head", "grants.edited"}),
    (f"UPDATE grants SET status = 'active' WHERE {of('withheld')}", {"grants.head", "consent-keys.missing"}),
    (f"UPDATE grant_versions SET purpose = '-' WHERE {NO_DELIVERY}", {"grants.unreadable"}),
    (f"UPDATE consent_keys SET grant_id = x'00' WHERE {OF_NARROWED}", {"fsck.stopped"}),
    (f"DELETE FROM publishing_rights WHERE party = '{PORTAL}'", {"declarations.invalid"}),
    # what belongs to nobody, and values that nobody writes
    (on_first("declarations", "subject = x''"), {"fsck.stopped"}),
    ("DELETE FROM declarations WHERE seq = (SELECT min(declaration) FROM deliveries)", {"deliveries.orphan"}),
    (f"DELETE FROM grants WHERE {NO_DELIVERY}", {"grants.untold", "consent-keys.outlived", "grants.lost"}),
    (on_first("withholdings", "declaration = 999"), {"fsck.stopped"}),
    (on_first("declarations", "received_at = 'soon'"), {"fsck.stopped"}),
    (on_first("ledger_entries", "entry = 'text'"), {"fsck.stopped"}),
    (on_first("ledger_openings", "subject = 'text'"), {"fsck.stopped"}),
    ("UPDATE deliveries SET subscription = 'text' WHERE state = 'handed'", {"deliveries.orphan"}),
    ("UPDATE ledger_entries SET entry = x'00' WHERE id = 1", {"ledger.entry", "ledger.leaf", "ledger.tile"}),
    (
        "DELETE FROM ledger_entries WHERE id = (SELECT max(id) FROM ledger_entries)",
        {"ledger.checkpoint", "ledger.tile"},
    ),
]


async def tampered(here: World, tampering: Tampering, *, signed: bool = True) -> list[Finding]:
    """What fsck finds after it, by whoever holds the key that signs rows, too (`signed`); clean before.

    It is asked for what has changed since. Whatever it finds of that, it looks at everything and tells all of it.
    """
    assert [] == await here.home.fsck.check()
    quiet = await here.home.fsck.look()
    assert ([], 0) == (quiet.findings, quiet.parts_anew)
    if callable(tampering):
        await tampering(here)
    else:
        (database,) = here.folder.glob("*.db")
        with sqlite3.connect(database) as connection:
            before = connection.total_changes
            connection.executescript(tampering)
            assert connection.total_changes > before, "nothing was changed"
        connection.close()
    if signed:
        await resign(here.home)
    return (await here.home.fsck.look()).findings


@pytest.mark.asyncio
@pytest.mark.parametrize("check", sorted(ALONE))
async def test_each_check_finds_alone_what_is_its_own_business(kept: Kept, tmp_path: Path, check: str) -> None:
    async with reopened(tmp_path, kept) as here:
        found = await tampered(here, ALONE[check], signed=check not in UNSIGNED)

    assert {check} == {finding.check for finding in found}, found
    assert all(finding.place and finding.wrong for finding in found)


@pytest.mark.asyncio
@pytest.mark.parametrize(("statement", "checks"), TOO, ids=[statement[:70] for statement, _ in TOO])
async def test_what_else_a_hand_can_do_is_found(kept: Kept, tmp_path: Path, statement: str, checks: set[str]) -> None:
    async with reopened(tmp_path, kept) as here:
        found = await tampered(here, statement)

    assert checks <= {finding.check for finding in found}, found


def test_every_check_has_a_tampering_that_it_alone_finds() -> None:
    named = set()
    for file in [*CHECKS.glob("*.py"), CHECKS.parent / "fsck.py"]:
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
                assert isinstance(call.args[0], ast.Constant), f"{file.name}:{call.lineno}: a name that is no literal"
                named.add(call.args[0].value)

    assert named == set(ALONE)


def test_every_table_is_touched() -> None:
    statements = " ".join([one for one in ALONE.values() if isinstance(one, str)] + [one for one, _ in TOO])

    assert {"ledger_erasures"} == {table for table in metadata.tables if f" {table} " not in statements}


@pytest.mark.asyncio
async def test_nothing_is_wrong_where_nothing_was_changed(kept: Kept, tmp_path: Path) -> None:
    async with reopened(tmp_path, kept) as here:
        assert [] == await here.home.fsck.check()


@pytest.mark.asyncio
async def test_a_release_to_another_partys_key_is_a_finding(kept: Kept, tmp_path: Path) -> None:
    async with reopened(tmp_path, kept) as here:
        found = await tampered(here, a_delivery_released_to_somebody_elses_key)

    assert {("ledger.invariant", "released-to-other-key")} == {(one.check, one.wrong) for one in found}


@pytest.mark.asyncio
async def test_the_key_of_a_period_that_is_gone_is_a_finding_at_each_entry_that_it_opened(
    kept: Kept, tmp_path: Path
) -> None:
    async with reopened(tmp_path, kept) as here:
        sealed = [one for one in await here.sealed() if one.open is None]
        (period,) = here.home.keys.names(KeyKind.OPENING)
        here.home.keys.destroy(KeyKind.OPENING, period)
        here.home.openings._periods.clear()  # as in the next process
        found = await here.home.fsck.check()

    assert len(sealed) == len([one for one in found if one.check == "ledger.opening"])


@pytest.mark.asyncio
async def test_no_finding_shows_a_citizen(kept: Kept, tmp_path: Path) -> None:
    async with reopened(tmp_path, kept) as here:
        secret = {here.subject(person).hex() for person in PEOPLE.values()}
        found = await tampered(here, "UPDATE deliveries SET subject = zeroblob(32), purpose = 'town-planning'")

    told = " ".join(f"{one.place} {one.wrong}" for one in found)
    assert found
    assert not any(reference in told for reference in secret)
