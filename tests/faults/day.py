"""A day at the broker, in steps: each does what is left of it, as whoever does it would after a power cut.

An operator looks whether the party is there before registering it again; a source sends the same bytes until it has its
receipt; an agency writes into its own system once for each delivery; a citizen looks at the list of consents.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from sqlalchemy import delete, func, select

from broker.access.credentials import Scope
from broker.access.idempotency import Answer, Claim
from broker.consents import wire
from broker.consents.consents import GrantRequest
from broker.consents.protecting import Wanted
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.epochs import books
from broker.flow import represented
from broker.flow.desk import pivot_of
from broker.flow.router import TOPIC
from broker.keys.file import FileKeys
from broker.ledger import origins
from broker.ledger.erasing import Erasing
from broker.log.pinning import CLUSTER
from broker.log.sql import SqlLog
from broker.messages.ways import Written
from broker.ports import KeyKind, Outgoing, Position
from broker.runtime.membership import PartitionMembership, claim
from broker.services import (
    disclosing,
    identities,
    person_erase,
    purposes,
    repairing,
    representations,
    restoring,
    retractions,
    rules,
    succeeding,
    viewing,
)
from broker.services.backups import MANIFEST, backup
from broker.services.citizens import codes, signing_in
from broker.services.households import Awaited, Declared
from broker.setup import log_move, preflight
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.setup.wiring import Home
from broker.store import move as relocation
from broker.store.access_tables import credential_uses, expiry_notices, webhook_attempts, webhook_notices, webhooks
from broker.store.citizen_tables import citizen_accounts, citizen_codes, citizen_drafts, citizen_sessions
from broker.store.engine import Store
from broker.store.message_tables import channels, messages
from broker.store.tables import (
    acted_for,
    cosignatures,
    dead_letters,
    declarations,
    deliveries,
    households,
    log_record,
    meta,
    paused_subscriptions,
    reference_links,
    submissions,
    withholdings,
)
from broker.store.tables import representations as representations_table
from broker.topics.relay import Relay
from broker.topics.served import users
from broker.transparency.export import export
from broker.webhooks.endpoints import Status as Told
from connectors.contract import Answered, Applied, Rejected
from consent.basis import CONSENT
from consent.grant import Status
from consent.representation import Representation
from consent.rules import RuleStatus
from consent.tables import consent_keys, grants
from schemas import cloudevents
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.hpke import Suite
from schemas.manifest import Manifest
from schemas.names import DeclarationId, Instant, PartyId, Reason
from schemas.topics import declarations as declarations_topic
from tests import home_v1
from tests.clients import Client
from tests.endpoints import Endpoints, Letters, expiry_letters, notices, send, status
from tests.told import by_mail, held, sentence_of
from tests.witnesses import witnessed
from tests.world import (
    BANK,
    CAF,
    CPAM,
    DAY,
    ELISE,
    FAMILY,
    HEALTH,
    MINUTE,
    MOVED,
    PORTAL,
    VOICE,
    YANN,
    Clock,
    World,
    populate,
    settings,
)

NEW: Final = PartyId("urn:unefois:registry-office")
CLIENT: Final = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(bytes([9] * 32)))
"""The key of its OAuth2 client, the same in every process of the day."""
NOISE: Final = b"written behind the intake's back"
ENVELOPES: Final = "envelopes"
MAILBOX: Final = "mailbox.jsonl"
TOPICAL: Final = "by-topic"
HEIR: Final = ELISE | {"given_names": ["Anna"]}
ZOE: Final = ELISE | {"given_names": ["Zoé"]}


@asynccontextmanager
async def opened(folder: Path, at: int = 0) -> AsyncIterator[World]:
    """The home in a folder, some milliseconds after the start."""
    clock = Clock()
    clock.pass_(at)
    async with open_home(settings(folder, hpke_suite=Suite.X25519), clock) as home:
        here = World(home, clock, folder)
        async with home.store.read() as tx:
            for one in (await home.lookup.subscriptions_by_id(tx)).values():
                here.subscriptions[one.recipient, one.event_type] = one
        yield here


async def found(folder: Path) -> None:
    """A home with the cast, and three envelopes that the portal has made and not handed in."""
    await create_home(settings(folder, hpke_suite=Suite.X25519), Clock())
    async with opened(folder) as here:
        await populate(here)
        (folder / ENVELOPES).mkdir()
        for number, record in enumerate((here.moved(), here.moved(YANN), here.moved(HEIR))):
            (folder / ENVELOPES / str(number)).write_bytes(await here.home.desk.envelope(PORTAL, MOVED, record))
        stranger = here.moved(ELISE | {"given_names": ["Rozenn"]})
        (folder / TOPICAL).write_bytes(await here.home.desk.envelope(PORTAL, MOVED, stranger))


# ── the steps ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def create(here: World) -> None:
    """Somebody else begins: a home beside this one."""
    other = here.folder / "other"
    other.mkdir(exist_ok=True)
    await create_home(settings(other, hpke_suite=Suite.X25519), here.clock)
    async with opened(other) as beside:
        await beside.step()


async def enrol(here: World) -> None:
    """An administration is registered and subscribes."""
    home = here.home
    async with home.store.read() as tx:
        known = NEW in {party.id for party in await home.lookup.parties(tx)}
    if not known:
        told = {"address": "1 rue d'Essai", "contact": "a@b.example", "retention": "un an", "created_at": here.clock()}
        office = Party(id=NEW, name="État civil", sector="registry", kind=PartyKind.ADMINISTRATION, **told)
        await home.parties.enrol(Enrolment(office, 1, Suite.X25519, (BANK,)))
    if (NEW, MOVED) not in here.subscriptions:
        async with home.store.begin() as tx:
            asked = await home.subscribing.ask(
                tx,
                home.entropy(16),
                recipient=NEW,
                event_type=MOVED,
                purpose=HEALTH,
                fields=frozenset({"subject"}),
                territories=None,
            )
        here.subscriptions[NEW, MOVED] = asked
    if here.subscriptions[NEW, MOVED].approved_at is None:
        async with home.store.begin() as tx:
            await home.subscribing.approve(tx, here.subscriptions[NEW, MOVED].id, "CSS, art. L1", here.clock())
    async with home.store.begin() as tx:
        await home.subscribing.pause(tx, here.subscriptions[NEW, MOVED].id, here.clock())
    async with home.store.begin() as tx:
        if not await home.credentials.list(tx, NEW):
            at = here.clock()
            await home.credentials.issue(tx, NEW, [Scope.READ], expires_at=Instant(at + DAY), at=at)
    async with home.store.begin() as tx:
        if not await home.webhooks.list(tx, NEW):
            await home.webhooks.add(tx, NEW, "https://office.example/", here.clock())
    async with home.store.begin() as tx:
        served = {"receives": True, "declares": True, "at": here.clock()}
        await home.topic_users.allow(tx, NEW, "registry-office", **served)
    async with home.store.begin() as tx:
        if not await home.credentials.list(tx, CPAM):  # two weeks before its end it is enough to be told of
            at = here.clock()
            until = Instant(at + 14 * DAY + MINUTE)
            await home.credentials.issue(tx, CPAM, [Scope.READ, Scope.RECEIVE], expires_at=until, at=at)
    async with home.store.read() as tx:
        (token,) = await home.credentials.list(tx, CPAM)
    await home.uses.note(token.id, "192.0.2.7")
    client = Client(here, NEW, CLIENT)
    async with home.store.read() as tx:
        known = bool(await home.oauth.keys(tx, NEW))
    if not known:
        await client.pin()
    await client.redeem()
    async with home.store.begin() as tx:
        if not await home.key_sets.list(tx, NEW):
            await home.key_sets.follow(tx, NEW, "https://office.example/jwks.json", [Scope.READ], here.clock())


async def rotate(here: World) -> None:
    """Its keys are renewed, the first signing key is revoked, its right to publish ends; it receives again.
    Upkeep looks whether all of that is in the rows.
    """
    home = here.home
    async with home.store.begin() as tx:
        await home.subscribing.resume(tx, here.subscriptions[NEW, MOVED].id)
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    mine = sorted((key for key in directory.signing if key.party == NEW), key=lambda key: key.valid_from)
    if len(mine) == 1:
        await home.parties.rotate(NEW, DAY)
    async with home.store.begin() as tx:
        if mine[0].revoked_at is None:
            await home.registrar.revoke_key(tx, mine[0].kid, here.clock)
    async with home.store.begin() as tx:
        if any(right.party == NEW and right.valid_to is None for right in directory.rights):
            await home.registrar.end_publishing(tx, NEW, BANK, here.clock)
    async with home.store.begin() as tx:
        if await users(tx, home.rows):
            await home.topic_users.end(tx, NEW, here.clock())
    async with home.store.begin() as tx:
        for token in await home.credentials.list(tx, NEW):
            if token.revoked_at is None:
                await home.credentials.revoke(tx, token.id, here.clock())
    async with home.store.begin() as tx:
        for client in await home.oauth.keys(tx, NEW):
            if client.revoked_at is None:
                await home.oauth.unpin(tx, client.kid, here.clock())
    async with home.store.begin() as tx:
        for followed in await home.key_sets.list(tx, NEW):
            if followed.revoked_at is None:
                await home.key_sets.unfollow(tx, NEW, here.clock())
    async with home.store.begin() as tx:
        for hook in await home.webhooks.list(tx, NEW):
            if hook.version == 1:
                await home.webhooks.rotate(tx, NEW, hook.id, here.clock(), DAY)
    await home.completion.finish()


WISHES: Final = ((CAF, FAMILY, ELISE), (CPAM, HEALTH, ELISE), (CAF, FAMILY, YANN))


async def allow(here: World) -> None:
    """Citizens give their consents."""
    for party, purpose, person in WISHES:
        given = await here.home.consents.of(here.subject(person))
        if party not in {grant.recipient for grant in given}:
            await here.give(party, MOVED, purpose, ["subject", "new_address"], person=person)
    wish = GrantRequest(  # by a portal, which asks again and again under one act, and never looks
        subject=here.subject(HEIR),
        recipient=CAF,
        event_type=MOVED,
        purpose=FAMILY,
        fields=frozenset({"subject", "new_address"}),
        basis=CONSENT,
        voice=VOICE,
    )
    await here.home.answering.do(wire.Question(wire.OPERATIONS["give"], bytes(16), 1, wire.Give(wish)))


async def declare(here: World) -> None:
    """The portal hands in what it has made, until it has a receipt for each."""
    for envelope in sorted((here.folder / ENVELOPES).iterdir()):
        receipt = here.folder / f"receipt-{envelope.name}"
        if not receipt.exists():
            accepted = await here.home.intake.accept(envelope.read_bytes())
            receipt.write_bytes(accepted.receipt)
    answers = here.home.idempotency_keys
    first = await answers.claim(PORTAL, "a key", bytes(32))
    if isinstance(first, Claim):
        await answers.keep(first, Answer(202, "{}", b"{}"))
    second = await answers.claim(PORTAL, "another", bytes(32))
    if isinstance(second, Claim):
        await answers.release(second)


async def forge(here: World) -> None:
    """Somebody writes into the log; nobody does it again."""
    if not await count(here, log_record, log_record.c.value == NOISE):
        await here.home.log.append(TOPIC, b"anybody", NOISE, {})


async def write(here: World) -> None:
    """The portal writes to its topic, and noise beside it; the inlet takes both, as it would again from the start."""
    topic = declarations_topic(PORTAL)
    if not await count(here, log_record, log_record.c.topic == topic):
        envelope = (here.folder / TOPICAL).read_bytes()
        manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
        about = {"declaration_id": manifest.declaration_id, "issued_at": manifest.issued_at, "envelope": envelope}
        event = cloudevents.declaration(PORTAL, MOVED, manifest.schema, **about)
        headers, value = cloudevents.to_kafka(event)
        told = [Outgoing(b"k", value, dict(headers)), Outgoing(b"k", b"noise", {})]
        await here.home.log.append_all(topic, told)
    await here.home.inlet.take(PORTAL)
    if not (here.folder / "begun-again").exists():
        await here.home.inlet.begin_again(CAF)
        (here.folder / "begun-again").touch()


async def route(here: World) -> None:
    """The router does what waits."""
    await here.home.router.route()


async def meet(here: World) -> None:
    """A home sees its Kafka for the first time, which then it never saw. A router process comes and goes."""
    async with here.home.store.begin() as tx:
        await preflight._pin(tx, "a cluster")
    async with here.home.store.begin() as tx:
        await tx.execute(delete(meta).where(meta.c.name == CLUSTER))
    member = PartitionMembership(here.home.store, here.clock, here.home.entropy)
    await member.beat()
    await member.leave()
    assert await claim(here.home.store, "notify/one", "here", here.clock)


class Away(SqlLog):
    """A log that takes nothing."""

    async def _append_all(self, topic: str, records: Sequence[Outgoing]) -> tuple[Position, ...]:
        raise Unavailable("kafka.timeout")


async def relay(here: World) -> None:
    """What waits for CPAM goes to its topic: Kafka is away, and then it is there."""
    home = here.home
    parts: dict[str, Any] = {
        "store": home.store,
        "rows": home.rows,
        "mailbox": home.mailbox,
        "party": home.party,
        "clock": here.clock,
    }
    with suppress(Unavailable):
        await Relay(log=Away(home.store, here.clock, {}), repeat_ms=1_000, **parts).relay(CPAM)
    await Relay(log=home.log, repeat_ms=1_000, **parts).relay(CPAM)


async def pull(here: World) -> None:
    """CPAM's connector fetches and writes, and dies before it acknowledges."""
    await work(here, CPAM, lambda _: None)


async def tell(here: World) -> None:
    """A process tells the webhooks what is theirs: the new one its challenge."""
    await send(here, Endpoints())


async def mourn(here: World) -> None:
    """The new office proves its endpoint anew and finds it gone; its contact is told so by mail, and CPAM's that its
    token ends.
    """
    async with here.home.store.begin() as tx:
        for hook in await here.home.webhooks.list(tx, NEW):
            if hook.status is Told.ACTIVE:
                await here.home.webhooks.prove(tx, NEW, hook.id, here.clock())
    await send(here, Endpoints(status(410)))
    await notices(here, Letters()).step()
    await expiry_letters(here, Letters()).step()


def telling(here: World) -> Home:
    """A home that tells citizens: into a file, which outlives whoever writes it."""
    return by_mail(here, Written(here.folder / MAILBOX))


async def address(here: World) -> None:
    """A citizen gives two e-mail addresses, and takes one back; another gives one."""
    home = telling(here)
    for person, written in ((ELISE, "elise@example.fr"), (ELISE, "old@example.fr"), (YANN, "yann@example.fr")):
        with suppress(Refused):  # it is held already
            await held(here, home, written, person=person)
    async with home.store.read() as tx:
        found = await home.channels.of(tx, [here.subject()])
    for one in found:
        if home.channels.address(one) == "old@example.fr" and all(each.ended_at is None for each in found):
            here.clock.pass_(1)
            await home.channels.end(one.subject, one.id)
            return


async def begin(here: World) -> None:
    """Somebody begins to type and saves it under a code; another begins at a counter, resumes, and declares it."""
    drafts, elise, yann = here.home.drafts, here.subject(), here.subject(YANN)
    if not await drafts.of(elise):
        await drafts.write(elise, "moving", {"street": "1 rue d'Essai"})
    (mine,) = await drafts.of(elise)
    if mine.version == 1:
        await drafts.write(elise, "moving", {"street": "2 rue d'Essai"}, mine.id, seen=1)
    await drafts.save_as_code(elise, mine.id)
    for one in await drafts.of(yann):  # resumed before the crash
        await drafts.close(yann, one.id)
    counter = await drafts.begin_for_somebody("moving", {"street": "3 rue d'Essai"})
    await drafts.close(yann, (await drafts.resume(yann, counter.code)).id)


async def inform(here: World) -> None:
    """They are told of that, and of what the ledger tells since."""
    await telling(here).sending.step()


async def leave(here: World) -> None:
    """A third citizen is told by mail, declares, lets somebody hear of what comes next, and has it all erased."""
    home, subject = telling(here), here.subject(ZOE)
    async with home.store.read() as tx:
        begun = (await tx.execute(select(submissions).where(submissions.c.subject == subject))).first() is not None
    if not begun:
        with suppress(Refused):  # it is held already
            await held(here, home, "zoe@example.fr", person=ZOE)
        await here.declare(MOVED, here.moved(ZOE), route=False)
    await home.router.route()
    if not await home.consents.of(subject):
        await here.give(CPAM, MOVED, HEALTH, ["subject"], person=ZOE)
    await person_erase.erase(home, subject, VOICE)
    assert (await person_erase.erase(home, subject, VOICE)).nothing


async def wait(here: World) -> None:
    """One more is declared, which its recipient does not pull."""
    await here.give(CPAM, MOVED, HEALTH, ["subject", "phone"])
    await here.declare(MOVED, here.moved())


async def remind(here: World) -> None:
    """And of whom nothing was heard for weeks."""
    home = telling(here)
    await home.late.look()
    await home.sending.step()


def mailbox(here: World) -> list[tuple[str, str]]:
    """What came to each address: the sentence of each message, once by its id."""
    file = here.folder / MAILBOX
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    each = {told["id"]: (told["to"], sentence_of(told["text"])) for told in map(json.loads, lines)}
    return list(each.values())


async def later(here: World) -> None:
    """CAF's system is away for the first of what it was handed."""
    if not (here.folder / "retried").exists():
        leased, *_ = await here.inbox(CAF).lease(1)
        await here.inbox(CAF).retry_later(leased.id, "table.away")
        (here.folder / "retried").touch()


async def refuse(here: World) -> None:
    """It refuses one, and takes the others."""
    wrong = here.subject(YANN).hex()
    await work(here, CAF, lambda one: Rejected("table.refused", Reason.SYSTEM_REFUSED) if one == wrong else Applied())


async def replay(here: World) -> None:
    """The operator tries again what an agency refused."""
    for letter in await here.home.dead_letters.list():
        if letter.delivery is not None:
            await here.home.dead_letters.replay(letter.id)


MEALS: Final[Mapping[str, Any]] = {
    "id": "school-meals",
    "families": ["consent", "public-task"],
    "label": {"fr": "Cantine", "en": "School meals"},
    "sentence": {"fr": "Inscrire vos enfants à la cantine.", "en": "Enrol your children for school meals."},
    "legal": {"fr": "Code de l'éducation, art. R531-52", "en": "Education code, art. R531-52"},
    "retention": {"fr": "un an après la dernière année scolaire", "en": "one year after the last school year"},
    "contact": "dpo@ville.example",
}
BY_LAW: Final[Mapping[str, Any]] = {"fields": ["effective_date"], "article": "CSS, art. L114-19"}


async def change(here: World) -> None:
    """One citizen narrows, one revokes and objects to a rule by law, which is narrowed; a purpose is added; an agent
    has a look.
    """
    home = here.home
    added = [one for _, one in await purposes.every(home) if one is not None] or [await purposes.add(home, MEALS)]
    if added[0].approved_at is None:
        await purposes.approve(home, added[0].entry.id)
    ruled = await rules.every(home)
    rule = ruled[0] if ruled else await rules.ask(home, recipient=CAF, event_type=MOVED, purpose=FAMILY, **BY_LAW)
    if rule.status is RuleStatus.ASKED:
        rule = await rules.approve(home, rule.id)
    if rule.narrowed_at is None:
        await rules.narrow(home, rule.id, ends_at=Instant((rule.acts_from or 0) + 3650 * DAY))
    if not await rules.objections(home, here.subject(YANN)):
        await rules.object_to(home, here.subject(YANN), rule.id, reason="personal-situation", given_by="self")
    for person, wanted in ((ELISE, "narrow"), (YANN, "revoke")):
        for grant in await here.home.consents.of(here.subject(person)):
            if wanted == "narrow" and grant.recipient == CPAM and len(grant.fields) > 1:
                await here.home.consents.narrow(grant.id, frozenset({"subject"}), VOICE)
            if wanted == "revoke" and grant.status is not Status.REVOKED:
                await here.home.consents.revoke(grant.id, VOICE)
    if not await here.entries(FactKind.VIEWED):
        await viewing.grants_of(here.home, here.subject(ELISE))


async def take(here: World) -> None:
    """Everybody takes what waits."""
    for party in (CAF, CPAM, NEW):
        await work(here, party, lambda _: Applied())


async def retract(here: World) -> None:
    """A citizen takes a move back that others have heard of, and they are told."""
    async with here.home.store.read() as tx:
        moves = select(declarations.c.declaration_id).where(declarations.c.event_type == MOVED)
        first = DeclarationId((await tx.execute(moves.order_by(declarations.c.seq).limit(1))).scalar_one())
    await retractions.cancel(here.home, first, reason="mistake")
    await here.home.router.route()


CHILD: Final[Mapping[str, Any]] = {**ELISE, "given_names": ["Lou"], "birthdate": "2019-02-03"}


async def shelter(here: World) -> None:
    """Somebody who has allowed an administration to hear is protected from it, asks for the end, and keeps it."""
    protecting, child = here.home.protecting, here.subject(dict(CHILD))
    if not await here.home.consents.of(child):
        await here.give(CPAM, MOVED, HEALTH, ("subject",), person=dict(CHILD))
    housemates = frozenset({here.subject(YANN)})
    await protecting.protect(
        Wanted(subject=child, places=frozenset(), parties=frozenset({CPAM}), housemates=housemates)
    )
    await protecting.lift(child, given_by="self")
    await protecting.keep(child)


async def family(here: World) -> None:
    """A judgment ends; a household's form is handed in, and its other adult confirms."""
    irma, omer, ines = (ELISE | {"given_names": [name]} for name in ("Irma", "Omer", "Inès"))
    ines |= {"birthdate": "2019-05-02"}
    for representative, subject, measure in ((irma, ines, "parental_authority"), (omer, irma, "guardianship")):
        if not await acting(here, subject):
            ground = {"measure": measure, "proof": "TJ Rennes 25/01234"}
            await representations.start(here.home, representative=representative, subject=subject, **ground)
    for one in await acting(here, irma):
        if one.ended_at is None:
            await representations.end(here.home, one.id)
    made = {
        "irma": here.moved(irma),
        "ines": here.moved(ines, declarant=irma, capacity="parent"),
        "omer": here.moved(omer),
    }
    envelopes = {name: await signed(here, f"family-{name}", record) for name, record in made.items()}
    token, _ = await here.home.desk.token(PORTAL, {"subject": omer})
    members = [Declared(envelopes["irma"]), Declared(envelopes["ines"]), Awaited(token)]
    form = await here.home.households.open(PORTAL, members)
    await here.home.households.confirm(PORTAL, form.household, form.codes[0].code, envelopes["omer"])
    await here.home.router.route()


async def acting(here: World, subject: dict[str, Any]) -> list[Representation]:
    """Who acts for somebody, or did; nobody's look is in the ledger."""
    async with here.home.store.read() as tx:
        return await represented.of_subjects(tx, here.home.rows, [here.subject(subject)])


async def signed(here: World, name: str, record: dict[str, Any]) -> bytes:
    """What the portal has signed, kept in a file before it is handed in."""
    kept, made = here.folder / name, here.folder / f"{name}.new"
    if not kept.exists():
        made.write_bytes(await here.home.desk.envelope(PORTAL, MOVED, record))
        made.rename(kept)
    return kept.read_bytes()


async def keep(here: World) -> None:
    """The machine keeps itself: what is due, and what a crash before it has left."""
    await here.home.upkeep.turn()
    await here.home.ledger.sequence_unfinished()


async def litter(here: World) -> None:
    """What a crash of long ago left: a key without its epoch. The machine keeps itself."""
    if not (here.folder / "littered").exists():
        async with here.home.store.begin() as tx:
            await books.begin(tx, KeyKind.CONSENT_EPOCH, "77", here.clock())
        if "77" not in here.home.keys.names(KeyKind.CONSENT_EPOCH):
            here.home.keys.write(KeyKind.CONSENT_EPOCH, "77", bytes(32))
        (here.folder / "littered").touch()
    await here.home.upkeep.turn()
    await here.home.ledger.sequence_unfinished()


async def erase(here: World) -> None:
    """In the home that was of version 1, what opens the entries of its oldest period is taken away."""
    async with home_v1.reopened(home_v1.copied(here.folder / "earlier")) as old:
        home = old.home
        parts = {"clock": home.clock, "entropy": home.entropy}
        erasing = Erasing(keys=home.keys, openings=home.openings, recorder=home.recorder, **parts)
        async with home.store.begin() as tx:
            await erasing.erase_old(tx, Instant(home.clock() + 400 * DAY))
        # what is delivered is younger than any opening that is old enough in earnest
        assert {one.check for one in await home.fsck.check()} <= {"deliveries.state"}


async def move(here: World) -> None:
    """Another home's database goes to another file, as it would to another server."""
    folder = here.folder / "mover"
    old = settings(folder, hpke_suite=Suite.X25519)
    new = old.model_copy(update={"database_url": f"sqlite+aiosqlite:///{folder / 'new.db'}"})
    with suppress(Refused):  # moved already
        folder.mkdir(exist_ok=True)
        if not (folder / "made").exists():  # whoever opens it again writes what time it is, and it is another content
            await create_home(old, here.clock)
            (folder / "made").touch()
        await relocation.copy(old.database_url, f"sqlite+aiosqlite:///{folder / 'backup.db'}")
        await relocation.move(old.database_url, new.database_url)
    async with open_home(new, here.clock) as home:
        await World(home, here.clock, folder).step()
    with pytest.raises(Refused, match=r"store\.moved"):
        async with open_home(old, here.clock):
            pass


async def carry(here: World) -> None:
    """Another home's log goes elsewhere, as it would to Kafka."""
    folder = here.folder / "carrier"
    chosen = settings(folder, hpke_suite=Suite.X25519)
    folder.mkdir(exist_ok=True)
    with suppress(Refused):  # moved already
        await create_home(chosen, here.clock)
        async with opened(folder) as beside:
            if not await count(beside, log_record):
                await beside.home.log.append_all(TOPIC, [Outgoing(b"k", b"one"), Outgoing(b"k", b"two")])
    async with (
        Store.open(chosen.database_url) as store,
        Store.open(f"sqlite+aiosqlite:///{folder / 'new.db'}") as other,
    ):
        async with other.begin() as tx:
            await tx.conn.run_sync(log_record.metadata.create_all)
        old, new = SqlLog(store, here.clock, {}, 1), SqlLog(other, here.clock, {}, 1)
        with suppress(Refused):
            await log_move.move(store, old, new, "a cluster", _forget_nothing)
        assert [b"one", b"two"] == [record.value for record in await new.read(TOPIC, 0, 0, 10)]
        with pytest.raises(Refused, match=r"log\.moved"):
            await old.append(TOPIC, b"k", b"three", {})


async def settle(here: World) -> None:
    """Another home gets another name for its ledger, and a passphrase."""
    folder = here.folder / "settler"
    old = settings(folder, hpke_suite=Suite.X25519)
    new = old.model_copy(update={"ledger_origin": "settled.example/ledger", "keys_passphrase": SecretStr("settled")})
    folder.mkdir(exist_ok=True)
    with suppress(Refused):  # renamed already
        await create_home(old, here.clock)
    with suppress(Refused), closing(FileKeys.open(old.keys_folder, here.home.entropy)) as keys:  # locked already
        async with Store.open(old.database_url) as store:
            await origins.change_origin(store, keys, new.ledger_origin)
    with suppress(Refused):
        FileKeys.change_passphrase(old.keys_folder, here.home.entropy, None, "settled")
    async with open_home(new, here.clock) as home:
        assert "settled.example/ledger" == origins.pinned_origin(home.keys)
        # what was signed under the old name is the old ledger's
        assert [] == [one for one in await home.fsck.check() if not one.check.startswith(("ledger.", "directory."))]


async def disclose(here: World) -> None:
    """An auditor is given what opens the entries of the day."""
    at = here.clock()
    await disclosing.disclose(here.home, Instant(at - at % DAY), Instant(at - at % DAY + DAY), CAF)
    await here.home.ledger.sequence_unfinished()


async def upgrade(here: World) -> None:
    """A home of version 1 becomes one of today."""
    folder = here.folder / "earlier"
    kept = home_v1.copied(folder) if folder.exists() else home_v1.unpacked(folder)
    async with home_v1.reopened(kept) as old:
        await old.step()


async def restore(here: World) -> None:
    """Another home's database is backed up, and the backup put back."""
    folder = here.folder / "restorer"
    chosen = settings(folder, hpke_suite=Suite.X25519)
    folder.mkdir(exist_ok=True)
    kept = folder / "backup"
    if not (kept / MANIFEST).exists():
        await create_home(chosen, here.clock)
        shutil.rmtree(kept, ignore_errors=True)
        async with opened(folder) as beside:
            await backup(beside.home, kept)
    done = await restoring.restore(chosen, kept, yes=True, clock=here.clock)
    assert ([], False) == (list(done.findings), done.needs_successor)


async def succeed(here: World) -> None:
    """Another home's database loses the end of its ledger for ever, and the ledger gets a successor."""
    folder = here.folder / "loser"
    chosen = settings(folder, hpke_suite=Suite.X25519)
    folder.mkdir(exist_ok=True)
    kept, lost = folder / "backup", folder / "lost"
    if not lost.exists():
        await create_home(chosen, here.clock)
        shutil.rmtree(kept, ignore_errors=True)
        async with opened(folder) as beside:
            await backup(beside.home, kept)
            await beside.home.epochs.open_gate(Suite.X25519, 0)
            await beside.home.ledger.sequence_unfinished()
        await restoring.restore(chosen, kept, yes=True, ledger_lost=True, clock=here.clock)
        lost.touch()
    renamed = chosen.model_copy(update={"ledger_origin": "successor.example/ledger"})
    await succeeding.succeed(renamed, clock=here.clock)
    async with open_home(renamed, here.clock) as home:
        assert [] == await home.fsck.check()


async def repair(here: World) -> None:
    """At another home an agency has not found Élise: she adds her number, and it finds her."""
    folder = here.folder / "repairer"
    chosen = settings(folder, hpke_suite=Suite.X25519)
    folder.mkdir(exist_ok=True)
    if not (folder / "unknown").exists():
        await create_home(chosen, here.clock)
    async with open_home(chosen, here.clock) as home:
        beside = World(home, here.clock, folder)
        if not (folder / "unknown").exists():
            await _unknown(beside)
            (folder / "unknown").touch()
        async with home.store.read() as tx:
            first = (await tx.execute(select(declarations.c.declaration_id).order_by(declarations.c.seq))).scalar()
        asked = repairing.Repair(DeclarationId(first or b""), CAF, ELISE, "numéro allocataire", "7654321")
        with suppress(Refused):  # on its way already
            await repairing.repair(home, asked, VOICE)
        for _ in ("the number", "the declaration"):
            await home.router.route()
            await work(beside, CAF, lambda _: Applied())
            await home.repairs.step()
        assert {(CAF, "applied", None): 2} == {
            key: told for key, told in (await summary(beside))["deliveries"].items() if key[0] == CAF
        }
        assert 2 == len(rows(beside, CAF))
        await beside.step()


async def _unknown(beside: World) -> None:
    home = beside.home
    await populate(beside)
    async with home.store.begin() as tx:
        await home.registrar.allow_publishing(tx, PORTAL, repairing.TYPE, beside.clock())
    await beside.subscribe(CAF, repairing.TYPE, FAMILY, ("subject", "number", "repairs"))
    await beside.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await beside.declare(MOVED, beside.moved())
    (locked,) = (await beside.inbox(CAF).pull(10)).locked
    await beside.inbox(CAF).acknowledge(locked.delivery_id, Answered(Reason.UNKNOWN_PERSON))


async def _forget_nothing(partition: int, offset: int) -> None:
    raise AssertionError


async def rename(here: World) -> None:
    """A citizen of before is written in another way; another one gets a name that turns out to be somebody else's."""
    home = here.home
    old = home.identity.first_reference(pivot_of(LE_GOFF))
    if old is not None and not await home.consents.of(old):
        wish = {"recipient": CPAM, "event_type": MOVED, "purpose": HEALTH, "fields": frozenset({"subject"})}
        await home.consents.give(GrantRequest(subject=old, basis=CONSENT, voice=VOICE, **wish))
    await viewing.subject_of(home, LE_GOFF | {"family_name": "LEGOFF"})
    await viewing.subject_of(home, LE_GOFF)
    there = await identities.every(home)
    link = there[0] if there else await identities.link(home, LE_GOFF, LE_BIHAN, evidence="2026/123")
    if link.confirmed_at is None:
        link = await identities.confirm(home, link.id)
    if link.living:
        await identities.unlink(home, link.id)


async def come(here: World) -> None:
    """A citizen comes in with a code, is seen a minute later, and goes; a provider's identifier of theirs is known."""
    home, paper = here.home, here.folder / "code"
    if not paper.exists():
        paper.write_text((await codes.give(home, NINA)).code)
    with suppress(Refused):  # it was used, and whoever had the session has lost it
        came = await signing_in.with_code(home, paper.read_text(), language="fr", address="192.0.2.1")
        here.clock.pass_(MINUTE)
        await signing_in.current(home, came.token)
        await signing_in.sign_out(home, came.token)
    subject = await home.contact.reference(pivot_of(NINA))
    async with home.store.begin() as tx:
        kin = await home.lookup.kin(tx, [subject], here.clock())
        await home.accounts.of(tx, home.accounts.alias("https://fc.example", "ours", "sub"), subject, kin, here.clock())
        await home.sessions.end_all(tx, [subject], here.clock())


NINA: Final = ELISE | {"given_names": ["Nina"]}
LE_GOFF: Final = ELISE | {"family_name": "Le Goff"}
LE_BIHAN: Final = ELISE | {"family_name": "Le Bihan"}


async def publish(here: World) -> None:
    """The ledger is cosigned, and goes out as files."""
    await here.home.ledger.sequence_unfinished()
    with witnessed(here.folder / "witness", here) as cosigning:
        await cosigning.step()
    await here.home.publication.newest()
    await export(here.home.store, here.home.ledger.verifier_key, here.folder / "log")


Step = Callable[[World], Awaitable[None]]
STEPS: Final[Mapping[str, tuple[int, Step]]] = {
    "create": (0, create),
    "enrol": (1, enrol),
    "rotate": (2 * MINUTE, rotate),
    "allow": (4 * MINUTE, allow),
    "declare": (6 * MINUTE, declare),
    "forge": (8 * MINUTE, forge),
    "route": (10 * MINUTE, route),
    "meet": (11 * MINUTE, meet),
    "relay": (11 * MINUTE + 20_000, relay),
    "pull": (12 * MINUTE, pull),
    "tell": (13 * MINUTE, tell),
    "later": (14 * MINUTE, later),
    "mourn": (16 * MINUTE, mourn),
    "refuse": (18 * MINUTE, refuse),
    "write": (20 * MINUTE, write),
    "replay": (30 * MINUTE, replay),
    "change": (32 * MINUTE, change),
    "take": (34 * MINUTE, take),
    "retract": (35 * MINUTE, retract),
    "address": (35 * MINUTE, address),
    "shelter": (35 * MINUTE + 30_000, shelter),
    "rename": (35 * MINUTE + 30_000, rename),
    "family": (35 * MINUTE + 30_000, family),
    "come": (35 * MINUTE + 30_000, come),
    "begin": (35 * MINUTE + 45_000, begin),
    "publish": (36 * MINUTE, publish),
    "inform": (36 * MINUTE + 30_000, inform),
    "leave": (36 * MINUTE + 45_000, leave),
    "move": (37 * MINUTE, move),
    "carry": (37 * MINUTE + 30_000, carry),
    "settle": (37 * MINUTE + 40_000, settle),
    "repair": (37 * MINUTE + 42_000, repair),
    "restore": (37 * MINUTE + 45_000, restore),
    "succeed": (37 * MINUTE + 47_000, succeed),
    "disclose": (37 * MINUTE + 50_000, disclose),
    "upgrade": (37 * MINUTE + 55_000, upgrade),
    "erase": (37 * MINUTE + 57_000, erase),
    "litter": (38 * MINUTE, litter),
    "wait": (30 * DAY, wait),
    "month": (31 * DAY, keep),
    "remind": (46 * DAY, remind),
    "years": (801 * DAY, keep),
    "ages": (2000 * DAY, keep),
}
"""Each with its time after the start, milliseconds, in the order of the day."""

AFTER: Final = 90_000
"""How long after a crash the machine is back: longer than a lease."""


async def run(folder: Path, name: str, late: int = 0) -> None:
    """One step in a home of this folder."""
    at, step = STEPS[name]
    async with opened(folder, at + late) as here:
        await step(here)


# ── the agency's own system, and what there is to compare ───────────────────────────────────────────────────────────


def rows(here: World, party: PartyId) -> list[dict[str, Any]]:
    """What an agency has written into its own system."""
    file = here.folder / f"{party.rpartition(':')[2]}.rows"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write_once(here: World, party: PartyId, row: dict[str, Any]) -> None:
    """Durable, and once for each delivery."""
    if row["delivery"] in {one["delivery"] for one in rows(here, party)}:
        return
    with (here.folder / f"{party.rpartition(':')[2]}.rows").open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


async def work(here: World, party: PartyId, ends: Callable[[str], Applied | Rejected | None]) -> None:
    """Pull, write, acknowledge, until nothing comes; `ends` is asked with the citizen's reference."""
    while True:
        leased = await here.inbox(party).lease(10)
        if not leased:
            return
        whose = {one.id: one.subject.hex() for one in leased}
        outcomes: dict[Any, Applied | Rejected] = {}
        for one in await here.open(party, await here.inbox(party).release([one.id for one in leased])):
            end = ends(whose[one.delivery_id])
            if not isinstance(end, Rejected):
                told = {"delivery": one.delivery_id.hex(), "of": one.declaration_id.hex(), "fields": one.disclosed}
                write_once(here, party, told)
            if end is not None:
                outcomes[one.delivery_id] = end
        await here.inbox(party).acknowledge_all(outcomes)


async def count(here: World, table: Any, *where: Any) -> int:
    async with here.home.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table).where(*where))).scalar_one())


async def held_drafts(here: World) -> Counter[tuple[Any, ...]]:
    """Drafts that are somebody's. One that a code alone opens, and nobody resumed, ends by itself: a process that was
    killed begins another.
    """
    columns = (citizen_drafts.c.version, citizen_drafts.c.origin.is_(None))
    async with here.home.store.read() as tx:
        found = await tx.execute(select(*columns).where(citizen_drafts.c.owner.is_not(None)))
        return Counter(tuple(row) for row in found)


async def grouped(here: World, *columns: Any) -> dict[Any, int]:
    """How many rows have each combination of these values."""
    async with here.home.store.read() as tx:
        return dict(Counter(tuple(row) for row in await tx.execute(select(*columns))))


async def summary(here: World) -> dict[str, Any]:
    """All that a step has done, without what chance decides: ids, keys, instants."""
    home, folder = here.home, here.folder
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
        asked = Counter((one.recipient, one.status) for one in (await home.lookup.subscriptions_by_id(tx)).values())
    listed = [*directory.signing, *directory.sealing]
    return {
        "keys": Counter((key.party, key.revoked_at is None, key.valid_to is None) for key in listed),
        "rights": Counter((right.party, right.valid_to is None) for right in directory.rights),
        "policies": Counter(one.party for one in directory.policies),
        "subscriptions": asked,
        "paused": await count(here, paused_subscriptions),
        "secrets": {kind: len(home.keys.names(kind)) for kind in KeyKind},
        "epochs": len(await home.epochs.living_consent()),
        "gates": Counter((one.closed_at is None, one.destroyed_at is None) for one in await home.epochs.gate_epochs()),
        "grants": await grouped(here, grants.c.recipient, grants.c.status, grants.c.version, grants.c.fields),
        "consent keys": await count(here, consent_keys),
        "submissions": await count(here, submissions),
        "log": await home.log.end(TOPIC, 0),
        "declarations": await count(here, declarations),
        "deliveries": await grouped(here, deliveries.c.recipient, deliveries.c.state, deliveries.c.reason),
        "withheld": await grouped(here, withholdings.c.recipient, withholdings.c.reason),
        "letters": await grouped(here, dead_letters.c.stage, dead_letters.c.code, dead_letters.c.replayed_at.is_(None)),
        "entries": Counter(entry.kind.value for entry in await here.entries()),
        "rows": {party: len(rows(here, party)) for party in (CAF, CPAM, NEW)},
        "webhooks": await grouped(
            here, webhooks.c.party, webhooks.c.status, webhooks.c.version, webhooks.c.message.is_(None)
        ),
        "attempts": await grouped(here, webhook_attempts.c.kind, webhook_attempts.c.code),
        "notices": await grouped(here, webhook_notices.c.code, webhook_notices.c.mailed_at.is_(None)),
        "warned": await grouped(
            here, expiry_notices.c.what, expiry_notices.c.days, expiry_notices.c.mailed_at.is_(None)
        ),
        "links": await grouped(
            here, reference_links.c.ground, reference_links.c.confirmed_at.is_(None), reference_links.c.ended_by
        ),
        "channels": await grouped(here, channels.c.subject, channels.c.kind, channels.c.ended_at.is_(None)),
        "families": await grouped(here, representations_table.c.measure, representations_table.c.ended_at.is_(None)),
        "acted for": await grouped(here, acted_for.c.capacity, acted_for.c.known),
        "signed in": [await count(here, one) for one in (citizen_sessions, citizen_accounts, citizen_codes)],
        "households": await grouped(here, households.c.number, households.c.declaration.is_(None)),
        "drafts": await held_drafts(here),
        "messages": await grouped(here, messages.c.news, messages.c.sent_at.is_(None), messages.c.code),
        "mailbox": Counter(mailbox(here)),
        "uses": await count(here, credential_uses),
        "cosigned": await count(here, cosignatures),
        "receipts": len(list(folder.glob("receipt-*"))),
        "files": sorted(str(path.relative_to(folder)) for path in (folder / "log").rglob("*") if path.is_file()),
    }
