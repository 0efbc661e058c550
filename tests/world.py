"""A small world for tests: a broker on SQLite or PostgreSQL, a clock that moves when told, a cast of administrations.

Every `step` ends with fsck: a test that leaves the state in contradiction fails where it did so.
"""

import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import select

from broker.consents.consents import GrantRequest, Recorded
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.arrived import Accepted
from broker.flow.desk import pivot_of
from broker.flow.hosted import HostedInbox
from broker.people import identity
from broker.ports import KeyKind
from broker.settings.choices import Settings, load
from broker.setup.bootstrap import furnish
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store.engine import Store
from broker.store.rows import macs, seals
from broker.store.tables import ledger_entries
from connectors.contract import Applied, Pulled
from consent.basis import CONSENT, Basis
from consent.grant import Scope, Voice
from consent.policy import Subscription
from schemas.assurance import SURE
from schemas.catalogue import LEAST
from schemas.delivery import VerifiedDelivery, open_release, verify_delivery
from schemas.entry import Entry
from schemas.facts import FactKind, Facts
from schemas.hpke import Suite
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    Instant,
    LeafHash,
    PartyId,
    Purpose,
    SubjectRef,
)
from schemas.signing import Algorithm, PrivateKey
from tests import furnished
from tests.memory import MemoryEndings, MemoryKeys

PORTAL = PartyId("urn:unefois:portal")
CAF = PartyId("urn:unefois:caf")
CPAM = PartyId("urn:unefois:cpam")
RENNES = PartyId("urn:fr:siret:21350238800019")
MOVED = EventType("fr.unefois.address.changed.v1")
BANK = EventType("fr.unefois.bank-account.changed.v1")
FAMILY = Purpose("family-benefits")
HEALTH = Purpose("health-insurance")
TOWN = Purpose("local-services")
VOICE = Voice("self", Capacity.SELF, Channel.ONLINE, "fr", sha256(b"shown").digest())
START = Instant(1_795_521_493_000)
MINUTE, DAY = 60_000, 86_400_000

ELISE = {
    "family_name": "Martin",
    "given_names": ["Élise"],
    "birthdate": "1985-04-12",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
YANN = ELISE | {"given_names": ["Yann"], "gender": "male"}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> Instant:
        return self.now

    def pass_(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now = Instant(self.now + milliseconds)


class Entropy:
    """Bytes that never repeat and are the same in every run."""

    def __init__(self, seed: bytes = b"world") -> None:
        self._seed, self._count = seed, 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        out = b""
        while len(out) < size:
            out += sha256(self._seed + self._count.to_bytes(8, "big") + len(out).to_bytes(4, "big")).digest()
        return out[:size]


def settings(folder: Path, **more: Any) -> Settings:
    """A home in a folder, with one partition so that one call routes all."""
    return load(
        **{
            "home": folder,
            "log_partitions": 1,
            "address": "1 rue d'Essai, Rennes",
            "contact": "contact@unefois.example",
            "ledger_opening_days": 36_600,  # a test that is about their end says so
            "bank_hold_hours": 0,  # so does a test that is about holds
            "clock_trust_days": 36_600,  # the clock is moved by years here; not in `test_timekeeping.py`
            **more,
        }
    )


def blank(home: Home, event_type: EventType) -> dict[str, Any]:
    """Every field of a type, null or empty."""
    return {
        each.name: None if each.nullable else [] if each.type.kind.value == "array" else None
        for each in home.catalogue.by_type(event_type).schema.fields
    }


def address(**parts: str) -> dict[str, Any]:
    """An address with these parts, the others null."""
    names = ("dwelling", "building", "housenumber", "repetition", "street", "locality", "po_box", "postcode", "city")
    return {**dict.fromkeys((*names, "commune", "country", "ban_key")), "lines": [], **parts}


RENNES_ADDRESS = address(
    housenumber="12", street="rue de la Monnaie", postcode="35000", city="Rennes", commune="35238", country="99100"
)
BREST_ADDRESS = address(
    housenumber="3", street="rue de Siam", postcode="29200", city="Brest", commune="29019", country="99100"
)


@dataclass
class World:
    """The home and its clock, and short words for what tests do again and again."""

    home: Home
    clock: Clock
    folder: Path
    subscriptions: dict[tuple[PartyId, EventType], Subscription] = field(default_factory=dict)

    async def step(self) -> None:
        """Order the ledger, then nothing may be wrong."""
        await self.home.ledger.sequence_unfinished()
        found = await self.home.fsck.check()
        if found:
            raise AssertionError(f"fsck: {found}")

    def moved(self, subject: dict[str, Any] = ELISE, **changes: Any) -> dict[str, Any]:
        """A move from Nantes to Rennes."""
        told = {
            "subject": subject,
            "capacity": "self",
            "effective_date": "2026-12-01",
            "new_address": RENNES_ADDRESS,
            "old_commune": "44109",
            "new_commune": "35238",
            "new_country": "99100",
            "occupants": 1,
        }
        return blank(self.home, MOVED) | told | changes

    def bank(self, subject: dict[str, Any] = ELISE, **changes: Any) -> dict[str, Any]:
        """A new bank account."""
        told = {
            "subject": subject,
            "capacity": "self",
            "effective_date": "2026-12-01",
            "iban": "FR7630006000011234567890189",
            "holder": "Élise Martin",
            "joint": False,
            "uses": ["payments"],
        }
        return blank(self.home, BANK) | told | changes

    def subject(self, person: dict[str, Any] = ELISE) -> SubjectRef:
        """The reference of a person."""
        return self.home.identity.reference(pivot_of(person))

    async def declare(
        self,
        event_type: EventType,
        record: dict[str, Any],
        *,
        route: bool = True,
        corrects: DeclarationId | None = None,
    ) -> Accepted:
        """Hand in, and route."""
        stated = SURE if event_type in LEAST else None
        accepted = await self.home.desk.declare(PORTAL, event_type, record, corrects=corrects, provenance=stated)
        if route:
            await self.home.router.route()
        return accepted

    async def give(
        self,
        recipient: PartyId,
        event_type: EventType,
        purpose: Purpose,
        fields: Iterable[str],
        *,
        person: dict[str, Any] = ELISE,
        basis: Basis = CONSENT,
        **more: Any,
    ) -> Recorded:
        """A grant of a person."""
        return await self.home.consents.give(
            GrantRequest(
                subject=self.subject(person),
                recipient=recipient,
                event_type=event_type,
                purpose=purpose,
                fields=frozenset(fields),
                basis=basis,
                **{"scope": Scope.STANDING, "voice": VOICE, **more},
            )
        )

    async def subscribe(
        self,
        recipient: PartyId,
        event_type: EventType,
        purpose: Purpose,
        fields: Iterable[str],
        territories: Iterable[str] | None = None,
    ) -> Subscription:
        """Ask and approve."""
        home = self.home
        async with home.store.begin() as tx:
            asked = await home.subscribing.ask(
                tx,
                home.entropy(16),
                recipient=recipient,
                event_type=event_type,
                purpose=purpose,
                fields=frozenset(fields),
                territories=None if territories is None else frozenset(territories),
            )
            approved = await home.subscribing.approve(tx, asked.id, "CSS, art. L583-3", home.clock())
        self.subscriptions[recipient, event_type] = approved
        return approved

    def inbox(self, party: PartyId) -> HostedInbox:
        """An agency's mailbox."""
        return self.home.inbox(party)

    async def open(self, party: PartyId, pulled: Pulled) -> list[VerifiedDelivery]:
        """Open and verify what was pulled, as the agency does."""
        home = self.home
        directory = await home.lookup.newest(home.store)
        if not pulled.locked:
            return []
        keys = home.keyring.recipient(directory, party)
        kid = directory.current_sealing_key(party, home.clock()).kid
        return [
            verify_delivery(
                released,
                recipient=party,
                directory=directory,
                catalogue=home.catalogue,
                at=home.clock(),
                seen=lambda *_: None,
            )
            for released in open_release(pulled.locked, pulled.key_release, keys[kid])
        ]

    async def take(self, party: PartyId, limit: int = 100) -> list[VerifiedDelivery]:
        """Pull, open, verify, acknowledge as applied."""
        inbox = self.inbox(party)
        opened = await self.open(party, await inbox.pull(limit))
        for delivery in opened:
            await inbox.acknowledge(delivery.delivery_id, Applied(None))
        return opened

    async def told(self, *kinds: FactKind) -> list[tuple[LeafHash, Facts]]:
        """The ledger's entries of these kinds, or all, in the order of writing: their leaf hashes and what they say."""
        async with self.home.store.read() as tx:
            found = await self.home.openings.all(tx)
        return [(leaf, facts) for leaf, facts in found if not kinds or facts.kind in kinds]

    async def entries(self, *kinds: FactKind) -> list[Facts]:
        """What they say."""
        return [facts for _, facts in await self.told(*kinds)]

    async def sealed(self) -> list[Entry]:
        """The entries as anyone reads them, in the order of writing."""
        async with self.home.store.read() as tx:
            rows = await tx.execute(select(ledger_entries.c.entry).order_by(ledger_entries.c.id))
            return [Entry.decode(row.entry) for row in rows]


def with_parts(home: Home, **other: Any) -> Home:
    """The same home with other parts than its own; those that it made already stay as they are."""
    changed = copy(home)
    for name, part in other.items():
        setattr(changed, name, part)
    return changed


@asynccontextmanager
async def world(folder: Path, *, stepped: bool = False, **more: Any) -> AsyncIterator[World]:
    """A furnished home with the portal (publishes all), three recipients and their approved subscriptions.

    `more`: settings; a `database_url` is one of a PostgreSQL database that has its tables and no row, without it a
    SQLite file is made. It is furnished once in a process, and for each later test its content is copied, with its
    secrets; not where its log is elsewhere. `stepped`: its first step is done, too, once for all copies.
    """
    clock, entropy, keys = Clock(), Entropy(), MemoryKeys()
    chosen = settings(folder, **more)
    kind = furnished.kind_of(chosen.database_url, stepped=stepped, **more)
    copied = furnished.MADE.get(kind)
    if copied is not None:
        await furnished.put(copied.content, chosen.database_url)
        keys._secrets, entropy._count = dict(copied.secrets), copied.drawn
    else:
        identity.make_secrets(keys, entropy)
        keys.write(KeyKind.LEDGER, "ledger", PrivateKey.generate(Algorithm.ED25519).to_raw())
        seals.make_private(keys)
        seals.publish(keys)
        macs.make_secret(keys, secrets.token_bytes)
        if "database_url" not in more:
            await furnished.put(furnished.tables(), chosen.database_url)
    async with Store.open(chosen.database_url) as store, open_log(chosen, store, clock) as log:
        endings = MemoryEndings()
        home = Home(chosen, store=store, log=log, keys=keys, endings=endings, clock=clock, entropy=entropy)
        here = World(home, clock, folder)
        if copied is not None:
            here.subscriptions.update(copied.subscriptions)
        else:
            await furnish(home)
            await populate(here)
            if stepped:
                await here.step()
            if kind is not None:
                await store.forget()  # all of it is in SQLite's one file now
                content = await furnished.taken(chosen.database_url)
                told = (content, dict(keys._secrets), entropy._count, dict(here.subscriptions))
                furnished.MADE[kind] = furnished.Furnished(*told)
        yield here


async def populate(here: World) -> None:
    """The cast."""
    home = here.home
    for party, sector, publishes in (
        (PORTAL, "portal", (MOVED, BANK)),
        (CAF, "family", ()),
        (CPAM, "health", ()),
        (RENNES, "town", ()),
    ):
        await home.parties.enrol(
            Enrolment(
                Party(
                    id=party,
                    name=party.rpartition(":")[2],
                    sector=sector,
                    kind=PartyKind.ADMINISTRATION,
                    address="1 place de la République",
                    contact="contact@example.fr",
                    retention="un an",
                    created_at=home.clock(),
                ),
                1,
                Suite.X25519,
                publishes,
            )
        )
    await here.subscribe(CAF, MOVED, FAMILY, ("subject", "new_address", "household", "effective_date"))
    await here.subscribe(CPAM, MOVED, HEALTH, ("subject", "new_address", "phone", "email"))
    await here.subscribe(RENNES, MOVED, TOWN, ("subject", "new_address", "effective_date"), ("35238",))
    await here.subscribe(CAF, BANK, FAMILY, ("subject", "iban", "bic", "holder"))
