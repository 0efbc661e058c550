"""An administration elsewhere: the client over HTTP, its own keys, its own table; a source that hands in over HTTP."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from broker.access.credentials import Scope
from broker.runtime.hosting import agency_of
from broker.web.app import build
from connectors import mapping_files
from connectors.access import KeyAccess
from connectors.client import Client
from connectors.contract import Agency, Applied, Ground, Rejected
from connectors.retry import Backoff
from connectors.runner import Route, run_routes
from connectors.table import TableConnector
from schemas.errors import Refused
from schemas.names import DeliveryId, Instant, PartyId, Reason
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, CPAM, DAY, FAMILY, MOVED, PORTAL, World, world

pytestmark = pytest.mark.asyncio

MAPPING = b"""
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {nom: record.subject.family_name, ville: record.new_address.city}
"""


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A furnished broker, clean at the end."""
    async with world(tmp_path) as made:
        yield made
        await made.step()


@asynccontextmanager
async def client_of(here: World, party: PartyId, *scopes: Scope) -> AsyncIterator[Client]:
    """A client with a token of its own, over HTTP to the broker's app."""
    at = here.clock()
    async with here.home.store.begin() as tx:
        issued = await here.home.credentials.issue(
            tx, party, scopes or tuple(Scope), expires_at=Instant(at + DAY), at=at
        )
    transport = httpx2.ASGITransport(build(here.home))
    async with Client.open("http://localhost", issued.token, transport=transport, clock=here.clock) as client:
        yield client


async def test_from_a_source_over_http_into_the_table_of_an_agency_over_http(here: World, tmp_path: Path) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    async with client_of(here, PORTAL, Scope.PUBLISH) as portal:
        first, again = await portal.declare(envelope), await portal.declare(envelope)
    assert (False, True, first.signed) == (first.repeated, again.repeated, again.signed)
    await here.home.router.route()

    hosted = await agency_of(here.home, CAF)
    url = f"sqlite+aiosqlite:///{tmp_path / 'caf.db'}"
    mapping = mapping_files.loaded(MAPPING, "small")
    ground = Ground(here.clock, here.home.entropy)
    connector = await TableConnector.open({"url": url, "table": "t", "create": True}, mapping.targets, ground)
    try:
        async with client_of(here, CAF, Scope.RECEIVE, Scope.READ) as caf:
            assert 1 == (await caf.status())["waiting"]
            mine = Agency(CAF, hosted.sealing_keys, await caf.directory(), here.home.catalogue)
            report = await run_routes(
                caf.inbox(),
                mine,
                [Route(mapping, connector)],
                clock=here.clock,
                limit=10,
                backoff=Backoff(here.home.entropy),
            )
            assert 0 == (await caf.status())["waiting"]
    finally:
        await connector.close()

    database = sqlite3.connect(tmp_path / "caf.db")
    rows = database.execute("SELECT nom, ville FROM t").fetchall()
    database.close()
    assert [("Martin", "Rennes")] == rows
    assert 1 == len(report.applied)
    assert [] == await here.take(CAF)


async def test_what_was_rejected_is_replayed_and_its_keys_are_given_once_more(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    async with client_of(here, CAF) as caf:
        inbox = caf.inbox()
        (locked,) = (await inbox.pull(10)).locked
        alone = await inbox.release([locked.delivery_id])
        assert 1 == len(await here.open(CAF, alone))
        end = Rejected("crm.no-such-file", Reason.SYSTEM_REFUSED)
        assert {} == await inbox.acknowledge_all({locked.delivery_id: end})
        assert {} == await caf.replay([locked.delivery_id])
        (once_more,) = (await inbox.pull(10)).locked
        assert locked.delivery_id == once_more.delivery_id
        assert {} == await inbox.acknowledge_all({locked.delivery_id: Applied("our number 7")})


async def test_the_brokers_refusals_arrive_with_code_and_place(here: World) -> None:
    nobody = DeliveryId(bytes(16))
    async with client_of(here, CPAM, Scope.RECEIVE) as cpam:
        assert {nobody: "mailbox.unknown-delivery"} == {
            one: fault.details["told"]
            for one, fault in (await cpam.inbox().acknowledge_all({nobody: Applied()})).items()
        }
        with pytest.raises(Refused) as refused:
            await cpam.declare(b"no envelope")
        assert ("client.not-let-in", 403) == (refused.value.code, refused.value.details["status"])
        with pytest.raises(Refused) as refused:
            await cpam.inbox().pull(100_000)
        assert ("client.refused", "/max") == (refused.value.code, refused.value.pointer)


async def test_a_source_resolves_a_person_to_a_token_of_its_own(here: World) -> None:
    async with client_of(here, PORTAL, Scope.PUBLISH) as portal:
        token = await portal.resolve(here.moved()["subject"])

    assert here.subject() == here.home.identity.resolve(token, PORTAL, here.clock())


async def test_a_receipt_is_verified_against_the_directory_that_is_pinned(here: World) -> None:
    envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    async with client_of(here, PORTAL, Scope.PUBLISH, Scope.READ) as portal:
        receipt = await portal.declare(envelope)
        told = receipt.verify(await portal.directory())
        await here.home.router.route()
        followed = await portal.follow(receipt.declaration_id)

    assert (PORTAL, receipt.declaration_id, here.clock()) == (told.source, told.declaration_id, told.received_at)
    assert MOVED == followed["event_type"]


async def test_a_key_of_ones_own_gets_tokens_and_replaces_them_before_their_end(here: World) -> None:
    access = KeyAccess(
        CAF, PrivateKey.generate(Algorithm.ED25519), PartyId(here.home.settings.party), here.home.entropy
    )
    async with here.home.store.begin() as tx:
        await here.home.oauth.pin(tx, CAF, access.public_jwk.encode(), [Scope.RECEIVE, Scope.READ], here.clock())
    asked: list[str] = []

    class Counting(httpx2.ASGITransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(request.url.path)
            return await super().handle_async_request(request)

    transport = Counting(build(here.home))
    async with Client.open("http://localhost", access, transport=transport, clock=here.clock) as caf:
        for minutes in (0, 8, 2, 11):
            here.clock.pass_(minutes * 60_000)
            assert CAF == (await caf.status())["party"]

    assert 3 == asked.count("/oauth2/token")
    assert 4 == asked.count("/v1/status")
