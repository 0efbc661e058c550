"""Town: the home behind the pages: a broker in a folder, the cast enrolled, its rules approved, a provider to sign in.

Refuses: nothing; whatever the environment says of another home does not count here.
Keeps: the broker is the real one. Rules act at once, and what takes two persons elsewhere takes one here; a new bank
account still waits three days, so that it can be stopped.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.lab.franceconnect.demo import demo
from broker.lab.homes import ADDRESS, POLICY, settings_alone, subscribe
from broker.lab.web_demo.cast import ACCOUNT, BROKER, CONTACT, LEGAL, MOVE, NUMBER, OFFICES, PORTAL, Hears, Office
from broker.ports import Clock
from broker.services import rules
from broker.settings.choices import Settings
from broker.setup import bootstrap, opening
from broker.setup.opening import system_clock
from broker.setup.wiring import Home
from schemas.hpke import Suite
from schemas.names import EventType, PartyId

FICTIONAL: Final = "/fictif"
"""Where the fictional FranceConnect is, below the address of the pages."""


@asynccontextmanager
async def founded(folder: Path, url: str, clock: Clock = system_clock) -> AsyncIterator[tuple[Home, Starlette]]:
    """The home of a new town, whose pages answer at `url` (`http://127.0.0.1:8480`), and the fictional FranceConnect
    that they are a client of, to be mounted at FICTIONAL.
    """
    provider, known = demo(url + FICTIONAL, url, clock=clock, entropy=secrets.token_bytes)
    chosen = settings_of(folder, url, known)
    await bootstrap.create_home(chosen, clock)
    async with opening.open_home(chosen, clock) as home:
        await _enrol(home, PORTAL, "Espace des usagers (fictif)", "portal", (MOVE, CONTACT, ACCOUNT, NUMBER))
        for office in OFFICES:
            await _enrol(home, office.party, office.name, office.sector, ())
            for one in office.hears:
                await _subscribe(home, office, one)
        yield home, provider


def settings_of(folder: Path, url: str, provider: Mapping[str, Any]) -> Settings:
    """Everything that an environment could say of another home is said here."""
    return settings_alone(
        folder,
        listen=url.partition("://")[2],
        party=BROKER,
        name="Unefois, démonstration",
        contact="demonstration@unefois.example",
        ledger_origin="unefois.example/demonstration",
        ledger_window_seconds=1,
        rule_delay_hours=0,
        citizen_source=PORTAL,
        **provider,
    )


async def _enrol(home: Home, party: PartyId, name: str, sector: str, publishes: tuple[EventType, ...]) -> None:
    told = Party(
        id=party,
        name=name,
        sector=sector,
        kind=PartyKind.PORTAL if publishes else PartyKind.ADMINISTRATION,
        address=ADDRESS,
        contact="personne : ceci est une démonstration",
        retention="le temps de la démonstration",
        created_at=home.clock(),
    )
    await home.parties.enrol(Enrolment(told, POLICY, None if publishes else Suite.X25519, publishes))


async def _subscribe(home: Home, office: Office, one: Hears) -> None:
    kind, what_for, fields = one.event_type, one.purpose, frozenset(one.fields)
    await subscribe(home, office.party, kind, what_for, fields, commune=one.commune, legal=LEGAL)
    if one.article is None:
        return
    rule = await rules.ask(
        home,
        recipient=office.party,
        event_type=kind,
        purpose=what_for,
        fields=fields,
        article=one.article,
        objection=one.objection,
    )
    await rules.approve(home, rule.id)
