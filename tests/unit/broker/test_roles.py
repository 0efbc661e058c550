"""Roles: each process does its part with the secrets of its role, and reaches no other."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.access.credentials import Scope
from broker.keys.restricted import RestrictedKeys
from broker.ports import KeyKind, KeyStore
from broker.runtime import turns
from broker.runtime.hosting import run_hosted, tell_hosted
from broker.runtime.serving import Serving
from broker.services import identities
from broker.services.citizens import codes, signing_in
from broker.settings.choices import Settings
from broker.setup.opening import open_keys
from broker.setup.roles import ProcessRole, check_secrets, hand_out, secrets_of
from broker.setup.wiring import Home
from broker.store import migrate
from broker.web.app import build
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import uuid_text
from schemas.retractions import CANCELLED, RECALLED
from tests.beside import answered, short_folder
from tests.franceconnect import doors
from tests.told import EMAIL, Taken, by_mail, held
from tests.two_agencies import count, two_agencies
from tests.unit.broker.citizens.test_forwarded import at_portal
from tests.unit.broker.citizens.walk import walked
from tests.unit.broker.web.agencies.calls import Caller
from tests.world import (
    CAF,
    CPAM,
    DAY,
    ELISE,
    FAMILY,
    MOVED,
    PORTAL,
    RENNES,
    TOWN,
    YANN,
    Entropy,
    World,
    settings,
)

OF_EVERYBODY = {"home", "rows-public", "endings", "rows/mac", "opening", "salts"}
"""Whose home it is, public halves, what has ended; and what it takes to write a row and an entry that count."""
RELEASING = {"gate", "consent-epoch", "pseudonym", "signing"}
REACHED: Mapping[ProcessRole, set[str]] = {
    ProcessRole.ROUTER: {"consent-epoch"},
    ProcessRole.LEDGER: {"ledger"},
    ProcessRole.UPKEEP: {"rows/1", "gate", "consent-epoch"},
    ProcessRole.GATE: RELEASING,
    ProcessRole.CONNECTORS: {*RELEASING, "sealing"},
    ProcessRole.NOTIFY: {"identity/webhooks", "channels"},
    ProcessRole.RELAY: set(),
    ProcessRole.INTAKE: {"signing", "identity/token"},
    ProcessRole.API: {
        *("rows/1", "signing"),
        *("identity/reference", "identity/token", "identity/access", "identity/webhooks"),
    },
    ProcessRole.PORTAL: {"signing", "drafts", "identity/reference", "identity/token"},
    ProcessRole.CONSENTS: {"rows/1", "consent-epoch", "pseudonym", "signing", "identity/reference"},
}
"""What each role can read beside that."""


class Watched(KeyStore):
    """The key store of a home, and what somebody did with it."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self.reached: set[str] = set()

    def _reach(self, kind: KeyKind, name: str) -> None:
        by_name = kind in {KeyKind.ROWS, KeyKind.IDENTITY}
        self.reached.add(f"{kind.value}/{name}" if by_name else kind.value)

    def _read(self, kind: KeyKind, name: str) -> bytes:
        self._reach(kind, name)
        return self._keys.read(kind, name)

    def _names(self, kind: KeyKind) -> tuple[str, ...]:
        return self._keys.names(kind)

    def _write(self, kind: KeyKind, name: str, secret: bytes) -> None:
        self._reach(kind, name)
        self._keys.write(kind, name, secret)

    def _destroy(self, kind: KeyKind, name: str) -> None:
        self._reach(kind, name)
        self._keys.destroy(kind, name)


class Town:
    """One home, and a process for each role, which share its database, its log and its clock."""

    def __init__(self, here: World, socket: Path) -> None:
        hand_out(here.home.keys)
        self.here = here
        self.socket = socket
        self.watched = {role: Watched(here.home.keys) for role in ProcessRole}

    @property
    def settings(self) -> Settings:
        """Those of the home, with a socket whose path is short."""
        return self.here.home.settings.model_copy(update={"consents_socket": self.socket})

    def process(self, role: ProcessRole) -> Home:
        """A process of a role, as `serve --role` opens one."""
        whole = self.here.home
        home = Home(
            self.settings,
            store=whole.store,
            log=whole.log,
            keys=RestrictedKeys(self.watched[role], role.value, secrets_of(role)),
            endings=whole.endings,
            clock=whole.clock,
            entropy=whole.entropy,
        )
        check_secrets(home.keys)
        return home

    @asynccontextmanager
    async def answering(self, role: ProcessRole) -> AsyncIterator[httpx2.AsyncClient]:
        """What such a process answers over HTTP."""
        home = self.process(role)
        serving = Serving(home, role, (), asyncio.Event(), lambda *_: None)
        serving._seen.set()
        transport = httpx2.ASGITransport(build(home, serving))
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as client:
            yield client

    async def token(self, *scopes: Scope, party: Any) -> str:
        home, at = self.here.home, self.here.clock()
        async with home.store.begin() as tx:
            return (await home.credentials.issue(tx, party, scopes, expires_at=at + 400 * DAY, at=at)).token


@pytest.fixture
def town(here: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    async def current(_: object) -> None:
        return

    monkeypatch.setattr(migrate, "check", current)  # the world's tables are made without a revision
    with short_folder() as folder:
        yield Town(here, folder / "consents.sock")


def test_a_role_reaches_these_secrets_and_no_other() -> None:
    told = {
        role: {
            told
            for kind, names in secrets_of(role).items()
            for told in ([kind.value] if names is None else [f"{kind.value}/{name}" for name in names])
        }
        for role in ProcessRole
        if role is not ProcessRole.ALL
    }
    told[ProcessRole.API] = told[ProcessRole.API] - {"identity"} | {
        f"identity/{name}" for name in ("reference", "token", "access", "webhooks")
    }

    assert {role: OF_EVERYBODY | more for role, more in REACHED.items()} == told
    assert set(KeyKind) == set(secrets_of(ProcessRole.ALL))


@pytest.mark.asyncio
async def test_a_declaration_goes_its_way_through_processes_each_of_which_has_only_its_own_secrets(
    town: Town, tmp_path: Path
) -> None:
    here = town.here
    hosted = two_agencies(tmp_path)
    await held(here, by_mail(here, Taken()))
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.give(RENNES, MOVED, TOWN, ["subject"])
    source, recipient = [await town.token(*Scope, party=party) for party in (PORTAL, CAF)]

    async with town.answering(ProcessRole.API) as client:
        portal = Caller(client, source)
        await portal.told("POST", "/v1/subjects:resolve", {"subject": ELISE})
        envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
        kind = {"content_type": "application/avro"}
        accepted = await portal.asks("POST", "/v1/declarations", envelope, **kind)
        assert 202 == accepted.status_code, accepted.text
        await portal.told("GET", accepted.headers["location"])
        caf = Caller(client, recipient)
        await caf.told("GET", "/v1/directory")
        assert (503, "directory.not-signed-yet") == await caf.problem("GET", "/v1/directory:signed")
        await turns.publish(town.process(ProcessRole.LEDGER), turns.Turn())
        await caf.told("GET", "/v1/directory:signed")
        for path in ("directory/notes", "directory/jwks", "schemas", "subscriptions", "webhooks"):
            await caf.told("GET", f"/v1/{path}")
        kid_of = {"algorithm": "ed25519", "public": "A" * 43}
        assert "keys.not-of-role" not in await caf.problem("POST", "/v1/keys:challenge", kid_of)
        hook = {"url": "https://caf.example/hook"}
        assert 201 == (await Caller(client, recipient).asks("POST", "/v1/webhooks", hook)).status_code
    other = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    (taken_in,) = await town.process(ProcessRole.INTAKE).intake.take_all([other], PORTAL)
    assert not isinstance(taken_in, Refused)
    assert 2 == await town.process(ProcessRole.ROUTER).router.route()
    mistake = (await here.declare(MOVED, here.moved())).declaration_id
    record = {"declaration": uuid_text(mistake), "reason": "mistake"}
    notice = await here.home.desk.envelope(PORTAL, CANCELLED, record, corrects=mistake, subject=here.subject())
    (taken_in,) = await town.process(ProcessRole.INTAKE).intake.take_all([notice], PORTAL)
    assert not isinstance(taken_in, Refused)
    assert 1 == await town.process(ProcessRole.ROUTER).router.route()
    async with town.answering(ProcessRole.API) as client:
        mistake = (await here.declare(MOVED, here.moved())).declaration_id
        record = {"declaration": uuid_text(mistake), "reason": "wrong_person"}
        notice = await here.home.desk.envelope(PORTAL, RECALLED, record, corrects=mistake, subject=here.subject())
        told = await Caller(client, source).asks("POST", "/v1/declarations", notice, content_type="application/avro")
        assert 202 == told.status_code, told.text
    assert 1 == await town.process(ProcessRole.ROUTER).router.route()
    async with town.answering(ProcessRole.GATE) as client:
        caf = Caller(client, recipient)
        (taken,) = (await caf.told("POST", "/v1/deliveries:pull", {"max": 10}))["deliveries"]
        await caf.told("POST", "/v1/deliveries:release", {"deliveries": [taken["id"]]})
        ends = {"acknowledgements": [{"delivery": taken["id"], "outcome": "applied"}]}
        assert [True] == [one["ok"] for one in (await caf.told("POST", "/v1/deliveries:ack", ends))["results"]]
        await caf.told("GET", "/v1/status")
        await caf.told("GET", "/v1/dead-letters")
        await caf.told("POST", "/v1/deliveries:replay", {"since": "2026-01-01T00:00:00Z"})
        receipt = await caf.asks("GET", f"/v1/deliveries/{taken['id']}/receipt")
        assert (409, True) == (receipt.status_code, "ledger.not-sequenced-yet" in receipt.text)
    await as_citizen(town)
    for one in hosted:
        await run_hosted(town.process(ProcessRole.CONNECTORS), one)
        await tell_hosted(town.process(ProcessRole.NOTIFY), one)
    await turns.tell_webhooks(town.process(ProcessRole.NOTIFY), turns.Turn())
    await turns.mail(town.process(ProcessRole.NOTIFY), turns.Turn())
    await town.process(ProcessRole.RELAY).relay.relay(CAF)
    await turns.sequence_unfinished(town.process(ProcessRole.LEDGER), turns.Turn())
    notify, told = town.process(ProcessRole.NOTIFY), Taken()
    notify.__dict__["ways"] = {EMAIL: told}
    await turns.tell_citizens(notify, turns.Turn())
    assert {"elise@example.fr"} == {one.to for one in told.taken}
    here.clock.pass_(200 * DAY)
    kept = turns.Turn()
    await turns.keep(town.process(ProcessRole.UPKEEP), kept)
    await here.step()

    assert (1, 1) == (count(tmp_path, "caf"), count(tmp_path, "rennes"))
    assert 3 == len(await here.told(FactKind.RELEASED))
    assert kept.epochs > 0
    for role, watched in town.watched.items():
        reached = REACHED.get(role, set())
        assert reached <= watched.reached <= OF_EVERYBODY | reached, role


async def as_citizen(town: Town) -> None:
    """All that a citizen does, in a process that has no key of a consent."""
    here, me = town.here, town.here.subject(YANN)
    async with answered(town.process(ProcessRole.CONSENTS)):
        portal = town.process(ProcessRole.PORTAL)
        grant = await walked(here, portal, town.process(ProcessRole.ROUTER).router.route)
        other = {**YANN, "family_name": "Moreau"}
        link = await here.home.linking.ask(me, here.subject(other), evidence="2026-1", asked_by=PORTAL)
        await identities.refuse(portal, me, link.id)
        assert [grant] == [one.id for one in await portal.consents.of(me) if one.recipient == CPAM]
    await town.process(ProcessRole.ROUTER).router.route()


@pytest.mark.asyncio
@pytest.mark.parametrize("role", [role for role in ProcessRole if role is not ProcessRole.ALL])
async def test_each_answers_its_own_addresses_and_its_health(town: Town, role: ProcessRole) -> None:
    reader = await town.token(*Scope, party=CAF)
    async with town.answering(role) as client:
        caf = Caller(client, reader)
        pull = (await caf.asks("POST", "/v1/deliveries:pull", {"max": 1})).status_code
        directory = (await caf.asks("GET", "/v1/directory")).status_code
        checkpoint = (await caf.asks("GET", "/log/vkey")).status_code
        page = (await client.get("/espace/connexion", headers={"host": "localhost"})).status_code
        portals = (await client.get("/v1/citizens/openapi.json")).status_code
        ready, metrics = await client.get("/health/ready"), await client.get("/metrics")

    assert (200 if role is ProcessRole.GATE else 404) == pull
    assert (200 if role is ProcessRole.API else 404) == directory == checkpoint
    assert (404 != page) is (200 == portals) is (role is ProcessRole.PORTAL)
    assert 200 == ready.status_code
    assert "\nunefois_up 1.0\n" in metrics.text
    assert (role in {ProcessRole.UPKEEP, ProcessRole.GATE, ProcessRole.CONNECTORS}) == (
        "unefois_unknown_keys" in metrics.text
    )


def test_what_is_no_secret_of_the_role_is_refused_and_never_looks_as_if_it_were_not_there(town: Town) -> None:
    keys = town.process(ProcessRole.ROUTER).keys
    (name,) = town.here.home.keys.names(KeyKind.GATE)

    for act in (
        lambda: keys.names(KeyKind.GATE),
        lambda: keys.read(KeyKind.GATE, name),
        lambda: keys.write(KeyKind.GATE, "another", b"secret"),
        lambda: keys.destroy(KeyKind.GATE, name),
        lambda: keys.read(KeyKind.IDENTITY, "reference"),
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert ("keys.not-of-role", "router") == (refused.value.code, refused.value.details["role"])
    assert (name,) == town.here.home.keys.names(KeyKind.GATE)


@pytest.mark.parametrize("role", ProcessRole)
def test_a_process_opens_the_folders_of_its_role_and_the_others_need_not_be_there(
    tmp_path: Path, role: ProcessRole
) -> None:
    chosen = settings(tmp_path)

    with closing(open_keys(chosen, Entropy(), role)):
        there = {path.name for path in chosen.keys_folder.iterdir() if path.is_dir()}

    assert {kind.value for kind in secrets_of(role)} == there - {"in-use"}  # who has the store open says so there


@pytest.mark.asyncio
async def test_citizens_come_in_through_a_process_that_answers_which_reaches_nothing_more_for_it(town: Town) -> None:
    """Neither gate, nor ledger, nor epochs: whoever takes over what faces the Internet opens no declaration."""
    await citizens_come_in(town)


async def citizens_come_in(town: Town) -> None:
    """By each way; they are seen, and go."""
    here = town.here
    them = doors(here)
    code = await codes.give(here.home, YANN)
    portal = town.process(ProcessRole.PORTAL)
    portal.outbound = them.outbound

    begun = await signing_in.begin(portal, language="fr")
    came = await signing_in.finish(portal, begun.attempt, await them.click(begun.url, "elise"))
    nonce, _ = signing_in.nonce(portal, PORTAL, b"token-id")
    brought = at_portal(them.fc, nonce)
    through = await signing_in.forwarded(portal, PORTAL, b"token-id", nonce=nonce, language="fr", **brought)
    await signing_in.with_code(portal, code.code, language="fr", address="192.0.2.1")
    here.clock.pass_(60_000)
    await signing_in.current(portal, came.token)
    await signing_in.end(portal, came.citizen, through.citizen.session)
    await signing_in.sign_out(portal, came.token)

    reached = town.watched[ProcessRole.PORTAL].reached
    assert {"identity/reference", "rows/mac"} <= reached
    assert reached <= OF_EVERYBODY | REACHED[ProcessRole.PORTAL]
