"""The stage: a home of its own in a temporary folder, six administrations with their own systems, and a book of claims.

Refuses: to touch any other home: whatever the environment names as database or key folder, this one brings its own.
Keeps: the broker runs as it would anywhere, opened by `opening`, with agencies found as YAML files by `hosting`.

    <root>/home/              the broker: database, keys, agencies/*.yaml
    <root>/nantes/town.db     a table; so too rennes/ and tax/
    <root>/family/            CSV files in moves/ and accounts/
    <root>/health/            what the fund's own program keeps
"""

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from broker.cli.demo import cast
from broker.cli.demo.cast import ADMINISTRATIONS, Administration, Wanted
from broker.cli.demo.claims import Book, Claim
from broker.cli.demo.facts import facts_of
from broker.cli.demo.receiver import Doorbell, HealthFund
from broker.cli.demo.telling import Telling
from broker.cli.demo.words import Words
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.runtime import hosting
from broker.runtime.hosting import Hosted
from broker.settings.choices import Settings, load
from broker.settings.home_file import Setting, write_settings
from broker.setup import bootstrap as founding
from broker.setup import opening
from broker.setup.opening import system_clock
from broker.setup.wiring import Home
from broker.store.move import copy
from connectors.runner import RunReport
from schemas.hpke import Suite
from schemas.names import PartyId
from schemas.webhooks import public_key_of

ORIGIN = "unefois.example/demo"
"""The name of the demo's ledger."""


@dataclass(slots=True)
class Stage:
    """What every act stands on."""

    root: Path
    settings: Settings
    home: Home
    words: Words
    telling: Telling
    book: Book
    hosted: Mapping[PartyId, Hosted]
    doorbell: Doorbell
    health: HealthFund
    number: int = 0

    @asynccontextmanager
    async def act(self, key: str) -> AsyncIterator[None]:
        """One act: its head before, the state's own check after it. A fault inside ends the story."""
        self.number += 1
        self.telling.act(self.number, self.words(f"{key}.title"), self.words(f"{key}.text"))
        yield
        await self.home.ledger.sequence_unfinished()
        findings = await self.home.fsck.check()
        entries = len(await facts_of(self.home))
        shown = self.words("stage.entries", count=entries)
        wrong = "; ".join(f"{each.check} {each.place}" for each in findings[:3])
        self.claim("stage.fsck", held=not findings, evidence=wrong or shown)

    def claim(self, key: str, *, held: bool, evidence: str = "", **told: object) -> None:
        """Write down and tell one claim with its verdict."""
        claim = Claim(key, self.words(key, **told), held, evidence)
        self.book.add(claim)
        self.telling.claim(claim)

    def folder(self, key: str) -> Path:
        """An administration's own folder."""
        return self.root / key

    async def back_up(self, file: Path) -> Path:
        """A copy of the broker's database in one new file, as a nightly backup would make it."""
        self._clear(file)
        await copy(self.settings.database_url, f"sqlite+aiosqlite:///{file}")
        return file

    @staticmethod
    def _clear(file: Path) -> None:
        file.unlink(missing_ok=True)

    async def run(self, key: str) -> RunReport:
        """One turn of a hosted administration's connectors."""
        return await hosting.run_hosted(self.home, self.hosted[cast.by_key(key).party])

    async def deliver(self) -> dict[str, RunReport]:
        """One turn of every hosted administration, and the health fund told, and fetching if it was."""
        reports = {key: await self.run(key) for key in ("nantes", "rennes", "family", "tax")}
        await self.ring()
        return reports

    async def ring(self) -> int:
        """Tell the health fund what waits; when its server heard, its program fetches. Returns how many it fetched."""
        before = len(self.doorbell.heard)
        await hosting.tell_hosted(self.home, self.hosted[cast.by_key("health").party])
        if len(self.doorbell.heard) == before:
            return 0
        return len((await self.health.fetch()).locked)


@asynccontextmanager
async def set_up(
    root: Path, words: Words, telling: Telling, book: Book, servers: Mapping[str, Any]
) -> AsyncIterator[Stage]:
    """A new home below `root`, everybody enrolled and subscribed, nobody granted anything yet.

    `servers`: settings of a database and a log elsewhere; without, both are in the home.
    """
    write_settings(root / "home", _written_down(words))
    chosen = _settings(root / "home", words, servers)
    await founding.create_home(chosen)
    webhook_key = f"whsk_{b64encode(secrets.token_bytes(32)).decode()}"
    doorbell = Doorbell(public_key_of(webhook_key), system_clock)
    try:
        async with opening.open_home(chosen) as home:
            await _enrol(home, words)
            agencies = root / "home" / "agencies"
            _write_agencies(root, agencies, doorbell.url, webhook_key)
            health = cast.by_key("health").party
            yield Stage(
                root=root,
                settings=chosen,
                home=home,
                words=words,
                telling=telling,
                book=book,
                hosted={each.party: each for each in hosting.load(agencies)},
                doorbell=doorbell,
                health=HealthFund(
                    home.inbox(health), await hosting.agency_of(home, health), root / "health", system_clock
                ),
            )
    finally:
        doorbell.close()


def _written_down(words: Words) -> dict[str, Setting]:
    """What `unefois init` would write into `unefois.toml`, so that a kept home opens like any other."""
    return {
        "language": words.language,
        "party": cast.BROKER,
        "name": "Unefois",
        "address": words("stage.address"),
        "contact": "contact@unefois.example",
        "ledger_origin": ORIGIN,
    }


def _settings(home: Path, words: Words, servers: Mapping[str, Any]) -> Settings:
    """Everything that an environment could say of another home is said here, so that it does not count."""
    return load(
        **{"database_url": f"sqlite+aiosqlite:///{home / 'unefois.db'}", "log": "sql", **servers},
        home=home,
        keys_folder=home / "keys",
        signature_policy=1,
        hpke_suite=Suite.MLKEM768_X25519,
        delivery_attempts=12,
        rule_delay_hours=0,  # a rule by law waits three days where it is meant
        bank_hold_hours=0,  # and so does a change of bank account
        **_written_down(words),
    )


async def _enrol(home: Home, words: Words) -> None:
    """The portal, which declares, and the administrations, which receive what an operator approves."""
    portal = _party(home, words, id=cast.PORTAL, name=words("stage.portal"), sector="portal", kind=PartyKind.PORTAL)
    await home.parties.enrol(Enrolment(portal, cast.SIGNED_TWICE, Suite.X25519, (cast.ADDRESS, cast.BANK, cast.NUMBER)))
    for each in ADMINISTRATIONS:
        told = {"name": each.name[words.language], "sector": each.sector, "kind": PartyKind.ADMINISTRATION}
        party = _party(home, words, id=each.party, **told)
        declares = (cast.BIRTH, cast.DEATH) if each.key == cast.REGISTRAR else ()
        await home.parties.enrol(Enrolment(party, 1, Suite.MLKEM768_X25519, declares))
        for wanted in each.wants:
            await _subscribe(home, each, wanted)
    for key, wanted in (*cast.CIVIL, cast.ASKED_FOR):
        await _subscribe(home, cast.by_key(key), wanted)


def _party(home: Home, words: Words, **told: Any) -> Party:
    return Party(
        **told,
        address=words("stage.address"),
        contact=f"{told['id'].rpartition(':')[2]}@unefois.example",
        retention=words("stage.retention"),
        created_at=home.clock(),
    )


async def _subscribe(home: Home, administration: Administration, wanted: Wanted) -> None:
    async with home.store.begin() as tx:
        asked = await home.subscribing.ask(
            tx,
            home.entropy(16),
            recipient=administration.party,
            event_type=wanted.event_type,
            purpose=wanted.purpose,
            fields=frozenset(wanted.asks),
            territories=None if wanted.territory is None else frozenset({wanted.territory}),
        )
        await home.subscribing.approve(tx, asked.id, wanted.legal_reference, home.clock())


def _write_agencies(root: Path, folder: Path, url: str, webhook_key: str) -> None:
    """Each administration's file, as an operator would write it, and its own folder."""
    folder.mkdir()
    own = ("nantes", "rennes", "tax", "health", "energy", "family/moves", "family/accounts", "family/births")
    for key in (*own, "receipts"):
        (root / key).mkdir(parents=True)
    documents = {
        "nantes": _table(root / "nantes" / "town.db", "commune-departure-table", "departs", "reference_usager"),
        "rennes": _table(
            root / "rennes" / "town.db", "commune-table", "arrivees", "reference_usager", {"occupants": "integer"}
        ),
        "tax": {
            "routes": [
                *_table(root / "tax" / "tax.db", "tax-table", "residences", None)["routes"],
                *_table(root / "tax" / "tax.db", "tax-deaths", "deces", None)["routes"],
            ]
        },
        "family": {
            "routes": [
                _file(root / "family" / "moves", "family-benefits-csv", "adresses-{number}.csv"),
                _file(root / "family" / "accounts", "family-benefits-bank", "comptes-{number}.csv"),
                _file(root / "family" / "births", "family-benefits-births", "naissances-{number}.csv"),
            ]
        },
        "health": {"routes": [], "notify": {"kind": "webhook", "settings": {"url": url, "keys": [webhook_key]}}},
    }
    for key, document in documents.items():
        content = {"party": str(cast.by_key(key).party), **document}
        path = folder / f"{key}.yaml"
        path.touch(mode=0o600)  # before anything is in it: the webhook's key is a secret
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


def _table(
    database: Path, mapping: str, table: str, key: str | None, types: Mapping[str, str] | None = None
) -> dict[str, Any]:
    chosen: dict[str, Any] = {"url": f"sqlite+aiosqlite:///{database}", "table": table, "create": True}
    if key is not None:
        chosen |= {"mode": "upsert", "key": [key]}
    if types:
        chosen |= {"types": types}
    return {"routes": [{"mapping": mapping, "connector": "table", "settings": chosen}]}


def _file(folder: Path, mapping: str, name: str) -> dict[str, Any]:
    chosen = {"folder": str(folder), "name": name, "encoding": "iso-8859-1", "delimiter": ";"}
    return {"mapping": mapping, "connector": "file", "settings": chosen}
