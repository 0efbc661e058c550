"""Opening: makes a sandbox: a home in a folder, everybody enrolled and subscribed, a token, the agency's own file.

    <folder>/home/          the broker
    <folder>/agency.json    what the administration needs: address, token, its private keys; only its owner reads it

Refuses: a folder that holds another home than a sandbox's; a type that the administration cannot receive.
Keeps: whatever the environment says of another home does not count here; a named folder is opened again as it was left.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from broker.access.credentials import Scope
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.lab.homes import ADDRESS, POLICY, settings_alone, subscribe
from broker.lab.sandbox import news
from broker.lab.sandbox.clock import MovedClock
from broker.lab.sandbox.playground import SOURCE, Playground, Wanted
from broker.settings.choices import Settings
from broker.setup import bootstrap as founding
from broker.setup import opening
from broker.setup.opening import system_clock
from broker.setup.wiring import Home
from schemas.errors import Refused
from schemas.names import Instant, PartyId

FILE: Final = "agency.json"
LEGAL_REFERENCE: Final = "sandbox"
TOKEN_DAYS: Final = 30
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Json = dict[str, Any]


@asynccontextmanager
async def opened(
    folder: Path, wanted: Wanted, listen: str, aged_ms: int = 0, settings: Mapping[str, Any] = NOTHING
) -> AsyncIterator[Playground]:
    """A sandbox in this folder, new or as it was left. `aged_ms`: how old a new one and its keys are, so that
    the clock can go back; `settings`: more of them. Raises Refused `sandbox.*`, `settings.*`, `subscribing.*`.
    """
    chosen = settings_of(folder, listen, settings)
    _prepare(folder, chosen.keys_folder)
    clock = MovedClock(system_clock)
    clock.set(-aged_ms)
    await founding.create_home(chosen, clock)
    async with opening.open_home(chosen, clock, events=news.events()) as home:
        await enrol(home, wanted)
        clock.set(0)
        yield Playground(home, clock, wanted)


def _prepare(folder: Path, keys: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not keys.is_dir():
        raise Refused("sandbox.folder", file=str(folder))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def settings_of(folder: Path, listen: str, more: Mapping[str, Any] = NOTHING) -> Settings:
    """Everything that an environment could say of another home is said here, so that it does not count."""
    return settings_alone(
        folder,
        listen=listen,
        party="urn:unefois:sandbox-broker",
        name="Unefois, bac à sable",
        contact="sandbox@unefois.example",
        ledger_origin="unefois.example/sandbox",
        api_tokens=True,
        clock_trust_days=36_600,  # here it is moved on purpose
        bank_hold_hours=0,  # nobody waits here for three days
        recall_hold_hours=0,
        retry_first_seconds=1,
        requests_per_minute=0,  # they count by the clock, which goes back here
        address_requests_per_minute=0,
        declarations_per_minute=0,
        **more,
    )


async def enrol(home: Home, wanted: Wanted) -> None:
    """The source and the administration, with its subscriptions, where they are missing. Raises Refused."""
    async with home.store.read() as tx:
        known = {party.id for party in await home.lookup.parties(tx)}
        subscribed = {(one.recipient, one.event_type) for one in (await home.lookup.subscriptions_by_id(tx)).values()}
    every = tuple(dict.fromkeys(one.event_type for one in home.catalogue))
    if SOURCE not in known:
        party = _party(home, SOURCE, "Source d'essai", PartyKind.PORTAL)
        await home.parties.enrol(Enrolment(party, POLICY, None, every))
    if wanted.party not in known:
        party = _party(home, wanted.party, "Administration à l'essai", PartyKind.ADMINISTRATION)
        await home.parties.enrol(Enrolment(party, POLICY, wanted.suite, every))
    for event_type in wanted.types:
        if (wanted.party, event_type) not in subscribed:
            fields, legal = wanted.asked(event_type), LEGAL_REFERENCE
            await subscribe(home, wanted.party, event_type, wanted.purpose, fields, commune=None, legal=legal)


def _party(home: Home, party: PartyId, name: str, kind: PartyKind) -> Party:
    return Party(
        id=party,
        name=name,
        sector="sandbox",
        kind=kind,
        address=ADDRESS,
        contact="nobody: this is a sandbox",  # no letter goes out, whatever mail server an environment names
        retention="none: nobody here is real",
        created_at=home.clock(),
    )


async def token_of(play: Playground) -> str:
    """A new token of the administration, with every right. Raises Refused `credentials.*`."""
    home, at = play.home, play.clock()
    async with home.store.begin() as tx:
        issued = await home.credentials.issue(
            tx, play.wanted.party, tuple(Scope), expires_at=Instant(at + TOKEN_DAYS * 86_400_000), at=at
        )
    return issued.token


async def agency_of(play: Playground, url: str, token: str) -> Json:
    """What the administration needs to know. Private keys of people who do not exist, in clear on purpose."""
    home, party = play.home, play.wanted.party
    async with home.store.read() as tx:
        pinned = await home.lookup.directory(tx)
    sealing = home.keyring.recipient(pinned, party).values()
    signing = home.keyring.signers(pinned, party, play.clock())
    return {
        "url": url,
        "token": token,
        "party": party,
        "broker": home.party,
        "policy": POLICY,
        "sealing_keys": [
            {"suite": key.suite.name.lower(), "kid": key.kid.hex(), "private": key.to_raw().hex()} for key in sealing
        ],
        "signing_keys": [
            {"algorithm": key.algorithm.name.lower(), "kid": key.kid.hex(), "private": key.to_raw().hex()}
            for key in signing
        ],
    }


async def write_agency(play: Playground, path: Path, url: str, token: str) -> None:
    """The agency's file, whole or not at all, for its owner's eyes."""
    told = json.dumps(await agency_of(play, url, token), indent=1) + "\n"
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(told, "utf-8")
    new.replace(path)
