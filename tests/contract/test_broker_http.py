"""One API, two brokers: the real one and the one in memory that agencies test with give the same answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
import pytest_asyncio

from broker.access.credentials import Scope
from broker.runtime.hosting import agency_of
from broker.web.app import build
from connectors import calls
from connectors.client import Client
from connectors.contract import Agency, Applied, Rejected
from connectors.opening import open_pulled
from connectors.pinning import Pin
from connectors.testing import SOURCE, TestBroker
from schemas.delivery import ReleasedDelivery
from schemas.errors import Refused
from schemas.manifest import Manifest
from schemas.names import DeclarationId, DeliveryId, GrantId, Instant, PartyId, Reason
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, MOVED, PORTAL, VOICE, YANN, World, world

pytestmark = pytest.mark.asyncio
FIELDS = ("subject", "new_address")


class Broker(Protocol):
    """What both are asked to do."""

    source: PartyId

    async def grant(self) -> GrantId: ...
    async def revoke(self, grant: GrantId) -> None: ...
    async def declare(self, person: dict[str, Any], corrects: DeclarationId | None = None) -> DeclarationId: ...
    async def agency(self) -> Agency: ...
    async def lease_runs_out(self) -> None: ...
    def client(self, party: PartyId) -> Any: ...


@dataclass
class Real:
    """The broker."""

    here: World
    source: PartyId = PORTAL

    async def grant(self) -> GrantId:
        for person in (YANN, ELISE):
            given = await self.here.give(CAF, MOVED, FAMILY, FIELDS, person=person)
        return given.grant.id

    async def revoke(self, grant: GrantId) -> None:
        await self.here.home.consents.revoke(grant, VOICE)

    async def declare(self, person: dict[str, Any], corrects: DeclarationId | None = None) -> DeclarationId:
        accepted = await self.here.declare(MOVED, self.here.moved(person), corrects=corrects)
        return accepted.declaration_id

    async def agency(self) -> Agency:
        hosted = await agency_of(self.here.home, CAF)
        return Agency(CAF, hosted.sealing_keys, hosted.directory, self.here.home.catalogue)

    async def lease_runs_out(self) -> None:
        self.here.clock.pass_(61_000)

    @asynccontextmanager
    async def client(self, party: PartyId) -> AsyncIterator[Client]:
        home, at = self.here.home, self.here.clock()
        async with home.store.begin() as tx:
            issued = await home.credentials.issue(tx, party, tuple(Scope), expires_at=Instant(at + DAY), at=at)
        transport = httpx2.ASGITransport(build(home))
        async with Client.open(
            "http://localhost", issued.token, transport=transport, clock=self.here.clock, tries=1
        ) as made:
            yield made


@dataclass
class InMemory:
    """The broker of the agency's own tests."""

    broker: TestBroker
    moved: Any
    mine: Agency
    source: PartyId = SOURCE

    async def grant(self) -> GrantId:
        return self.broker.grant(CAF, MOVED, FIELDS)

    async def revoke(self, grant: GrantId) -> None:
        self.broker.revoke(grant)

    async def declare(self, person: dict[str, Any], corrects: DeclarationId | None = None) -> DeclarationId:
        return self.broker.declare(self.moved(person), MOVED, corrects=corrects)

    async def agency(self) -> Agency:
        return self.mine

    async def lease_runs_out(self) -> None:
        self.broker.advance(61_000)

    @asynccontextmanager
    async def client(self, party: PartyId) -> AsyncIterator[Client]:
        broker = self.broker
        async with Client.open(
            broker.url, broker.token(party), transport=broker.transport, clock=lambda: broker.now, tries=1
        ) as made:
            yield made


@pytest_asyncio.fixture(params=["real", "in-memory"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    """One of them."""
    async with world(tmp_path) as here:
        if request.param == "real":
            yield Real(here)
            await here.step()
        else:
            made = TestBroker()
            yield InMemory(made, here.moved, made.agency(CAF))


async def test_the_directory_is_believed_from_a_first_use_on_and_told_anew_only_where_it_changed(
    broker: Broker, tmp_path: Path
) -> None:
    pin = Pin(tmp_path / "directory.pin")
    async with broker.client(CAF) as caf:
        first = await caf.pinned_directory(pin)
        assert first is await caf.pinned_directory(pin)
        assert first == await caf.directory()
        assert first == await caf.pinned_directory(Pin(tmp_path / "directory.pin"))  # after a restart
        assert () == await caf.ask(calls.directory_notes(pin.version or 0))
        other = await caf.ask(calls.ledger_key())
    assert other == Pin(tmp_path / "directory.pin").ledger.text  # type: ignore[union-attr]


async def test_what_is_pulled_opens_and_is_acknowledged_once(broker: Broker) -> None:
    await broker.grant()
    await broker.declare(ELISE)
    mine = await broker.agency()
    async with broker.client(CAF) as caf:
        assert 1 == (await caf.status())["waiting"]
        pulled = await caf.inbox().pull(10)
        (released,) = open_pulled(mine, pulled)
        of = released.locked.delivery_id
        assert {of: 0} == pulled.attempts
        assert {} == await caf.inbox().acknowledge_all({of: Applied()})
        assert {} == await caf.inbox().acknowledge_all({of: Applied()})
        assert () == (await caf.inbox().pull(10)).locked
        refused = await caf.inbox().acknowledge_all({of: Rejected("crm.no", Reason.SYSTEM_REFUSED)})
        assert "mailbox.already-applied" == refused[of].details["told"]


async def test_a_lease_is_for_one_and_runs_out(broker: Broker) -> None:
    await broker.grant()
    await broker.declare(ELISE)
    async with broker.client(CAF) as caf:
        (first,) = (await caf.inbox().pull(10)).locked
        assert () == (await caf.inbox().pull(10)).locked
        await broker.lease_runs_out()
        again = await caf.inbox().pull(10)
        assert first.delivery_id == again.locked[0].delivery_id
        assert {first.delivery_id: 1} == again.attempts


async def test_a_citizens_next_comes_after_the_end_of_the_one_before(broker: Broker) -> None:
    await broker.grant()
    first, second, other = [await broker.declare(person) for person in (ELISE, ELISE, YANN)]
    async with broker.client(CAF) as caf:
        mine = await broker.agency()
        before = open_pulled(mine, await caf.inbox().pull(10))
        assert [first, other] == [_declared(one) for one in before]
        await caf.inbox().acknowledge_all({before[0].locked.delivery_id: Applied()})
        assert [second] == [_declared(one) for one in open_pulled(mine, await caf.inbox().pull(10))]


async def test_what_a_consent_ended_before_is_withheld(broker: Broker) -> None:
    grant = await broker.grant()
    await broker.declare(ELISE)
    async with broker.client(CAF) as caf:
        (held,) = (await caf.inbox().pull(10)).locked
        await broker.revoke(grant)
        again = await caf.inbox().release([held.delivery_id])
        assert () == again.locked
        assert [(held.delivery_id, Reason.REVOKED)] == [(one.delivery_id, one.reason) for one in again.withheld]
        await broker.lease_runs_out()
        assert () == (await caf.inbox().pull(10)).locked


async def test_a_rejected_one_is_replayed_and_an_applied_one_is_not(broker: Broker) -> None:
    await broker.grant()
    await broker.declare(ELISE)
    async with broker.client(CAF) as caf:
        (one,) = (await caf.inbox().pull(10)).locked
        await caf.inbox().acknowledge_all({one.delivery_id: Rejected("crm.no", Reason.SYSTEM_REFUSED)})
        assert {} == await caf.replay([one.delivery_id])
        assert one.delivery_id == (await caf.inbox().pull(10)).locked[0].delivery_id
        await caf.inbox().acknowledge_all({one.delivery_id: Applied()})
        assert one.delivery_id in await caf.replay([one.delivery_id])


async def test_a_code_that_has_not_its_form_is_refused_with_its_place(broker: Broker) -> None:
    await broker.grant()
    await broker.declare(ELISE)
    async with broker.client(CAF) as caf:
        (one,) = (await caf.inbox().pull(10)).locked
        with pytest.raises(Refused) as refused:
            await caf.inbox().acknowledge_all({one.delivery_id: Rejected("No file", Reason.SYSTEM_REFUSED)})

    assert ("api.field", "/acknowledgements/0/code") == (refused.value.details["told"], refused.value.pointer)


async def test_anothers_delivery_is_as_unknown_as_none(broker: Broker) -> None:
    await broker.grant()
    await broker.declare(ELISE)
    async with broker.client(CAF) as caf, broker.client(CPAM) as cpam:
        (one,) = (await caf.inbox().pull(10)).locked
        told = {}
        for of in (one.delivery_id, DeliveryId(bytes(16))):
            refused = await cpam.inbox().acknowledge_all({of: Applied()})
            told[of] = refused[of].details["told"]
            with pytest.raises(Refused) as fault:
                await cpam.inbox().release([of])
            assert ("gate.unknown-delivery", "/deliveries/0") == (fault.value.details["told"], fault.value.pointer)
        assert {"mailbox.unknown-delivery"} == set(told.values())


async def test_a_correction_goes_where_the_first_went(broker: Broker) -> None:
    await broker.grant()
    first = await broker.declare(ELISE)
    mine = await broker.agency()
    async with broker.client(CAF) as caf:
        (one,) = open_pulled(mine, await caf.inbox().pull(10))
        await caf.inbox().acknowledge_all({one.locked.delivery_id: Applied()})
        await broker.declare(ELISE, corrects=first)
        assert 1 == len((await caf.inbox().pull(10)).locked)


async def test_a_limit_that_is_none_is_refused_with_its_place(broker: Broker) -> None:
    async with broker.client(CAF) as caf:
        with pytest.raises(Refused) as refused:
            await caf.inbox().pull(100_000)

    assert ("client.refused", "/max") == (refused.value.code, refused.value.pointer)


def _declared(released: ReleasedDelivery) -> DeclarationId:
    return Manifest.decode(released.locked.payload).declaration_id
