"""Founding: a broker for the country: a home in a folder, everybody enrolled, subscribed, and every rule approved.

Refuses: nothing; whatever the environment says of another home does not count here.
Keeps: the broker is the real one, with the delays that are meant: three days before a rule acts, three days before
anybody gets a new bank account, a day before a recall goes out.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.lab.homes import ADDRESS, POLICY, settings_alone, subscribe
from broker.lab.simulation.cast import BY_CITIZENS, BY_REGISTRARS, NUMBER, OFFICES, PORTAL, TOWNS, Office, Wish
from broker.lab.simulation.clock import DAY_MS, CountryClock
from broker.lab.simulation.promises import Law
from broker.services import rules
from broker.settings.choices import Settings
from broker.setup import bootstrap, opening
from broker.setup.wiring import Home
from schemas.errors import Corrupt
from schemas.hpke import Suite
from schemas.names import EventType, PartyId

AUDITOR: Final = PartyId("urn:unefois:auditor")


@asynccontextmanager
async def founded(folder: Path, clock: CountryClock) -> AsyncIterator[Home]:
    """The home of a new country; the clock stands at the first day on which every rule acts."""
    chosen = settings_of(folder)
    await bootstrap.create_home(chosen, clock)
    async with opening.open_home(chosen, clock) as home:
        await _enrol(home, PORTAL, "portal", PartyKind.PORTAL, (*BY_CITIZENS, NUMBER))
        await _enrol(home, AUDITOR, "audit", PartyKind.ADMINISTRATION, ())
        for office in OFFICES:
            publishes = BY_REGISTRARS if office.commune else ()
            await _enrol(home, office.party, office.sector, PartyKind.ADMINISTRATION, publishes)
            for wish in office.wishes:
                await _subscribe(home, office, wish)
        yield home


def settings_of(folder: Path) -> Settings:
    """Everything that an environment could say of another home is said here."""
    return settings_alone(
        folder,
        party="urn:unefois:country-broker",
        name="Unefois, pays simulé",
        contact="country@unefois.example",
        ledger_origin="unefois.example/country",
        ledger_window_seconds=3600,
        civil_status_sources=tuple(office.party for office in TOWNS.values()),
    )


async def _enrol(home: Home, party: PartyId, sector: str, kind: PartyKind, publishes: Iterable[EventType]) -> None:
    told = Party(
        id=party,
        name=party.rpartition(":")[2],
        sector=sector,
        kind=kind,
        address=ADDRESS,
        contact="nobody: this country is simulated",
        retention="until the simulation ends",
        created_at=home.clock(),
    )
    suite = None if party == PORTAL else Suite.X25519
    await home.parties.enrol(Enrolment(told, POLICY, suite, tuple(publishes)))


async def _subscribe(home: Home, office: Office, wish: Wish) -> None:
    commune, legal = office.commune if wish.local else None, wish.law or "CRPA, art. L114-8"
    kind, what_for = wish.event_type, wish.purpose
    await subscribe(home, office.party, kind, what_for, wish.fields, commune=commune, legal=legal)


async def legislate(home: Home, clock: CountryClock) -> list[Law]:
    """Every rule of the cast, approved; the clock passes to when they act."""
    laws = []
    for office, wish in _by_law():
        asked = await rules.ask(
            home,
            recipient=office.party,
            event_type=wish.event_type,
            purpose=wish.purpose,
            fields=wish.fields,
            article=wish.law or "",
            objection=wish.objection,
        )
        rule = await rules.approve(home, asked.id)
        if rule.acts_from is None:
            raise Corrupt("simulation.unheard-of")
        fields, acts = rule.fields, rule.acts_from
        laws.append(Law(rule.id, office.party, wish.event_type, fields, acts, wish.objection))
    clock.pass_(home.settings.rule_delay_hours * 3_600_000 + DAY_MS)
    return laws


def _by_law() -> Iterator[tuple[Office, Wish]]:
    return ((office, wish) for office in OFFICES for wish in office.wishes if wish.law is not None)


def registrar(commune: str) -> PartyId:
    """Who declares what happens in a commune."""
    return TOWNS[commune].party
