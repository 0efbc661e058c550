"""A signing key that was renewed over the API declares over the API: what the old one signed stays good, a recipient
with a pin from before opens both without a person, and a key that was withdrawn declares nothing any more.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from broker.access.credentials import Scope
from broker.runtime.hosting import agency_of
from connectors.client import Client
from connectors.contract import Agency
from connectors.ends import Ends
from connectors.pinning import Pin
from connectors.renewal import Renewal
from schemas.declaration import Source, declare
from schemas.errors import Refused
from schemas.names import DeclarationId, PartyId, uuid7
from schemas.signing import Algorithm, PrivateKey
from tests.unit.broker.web.agencies.calls import Served
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, YANN

pytestmark = pytest.mark.asyncio
DAY_MS = 86_400_000


@asynccontextmanager
async def client(served: Served, party: PartyId) -> AsyncIterator[Client]:
    """The SDK's client of a party, with a token for everything."""
    caller, transport = await served.caller(party, *Scope), httpx2.ASGITransport(served.app)
    clock = served.here.clock
    async with Client.open("https://broker.example", caller.token or "", transport=transport, clock=clock) as made:
        yield made


class Portal:
    """A source elsewhere, whose key the broker does not have."""

    def __init__(self, served: Served, key: PrivateKey, pin: Path) -> None:
        self.served = served
        self.key = key
        self.pin = Pin(pin)

    async def declare(self, person: dict[str, object], key: PrivateKey | None = None) -> DeclarationId:
        """Sign with this key, hand in over HTTP, route. Raises as the API refuses."""
        home, at = self.served.here.home, self.served.here.clock()
        event, record = home.catalogue.by_type(MOVED), self.served.here.moved(person)
        async with client(self.served, PORTAL) as http:
            directory = await http.pinned_directory(self.pin)
            envelope = declare(
                Source(PORTAL, (key or self.key,), 1),
                event,
                record,
                subject_token=await http.resolve(person),
                gate=directory.current_sealing_key(directory.broker, at),
                at=at,
                lifetime_ms=30 * DAY_MS,
                declaration_id=DeclarationId(uuid7(at, home.entropy(10))),
                entropy=home.entropy,
            )
            receipt = await http.declare(envelope.encode())
            assert PORTAL == receipt.verify(await http.pinned_directory(self.pin)).source
        await home.router.route()
        return receipt.declaration_id

    async def renew(self) -> PrivateKey:
        """List a new key over the API; the present one goes on for an hour."""
        new = PrivateKey.generate(Algorithm.ED25519)
        async with client(self.served, PORTAL) as http:
            renewal = Renewal(PORTAL, self.key)
            told = await http.ask(renewal.challenge(new))
            assert new.kid == await http.ask(renewal.take(new, told, overlap_hours=1))
        return new


@pytest_asyncio.fixture
async def portal(served: Served, tmp_path: Path) -> Portal:
    """The portal with the key that the directory lists."""
    home = served.here.home
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    return Portal(served, home.keyring.signers(directory, PORTAL, served.here.clock())[0], tmp_path / "portal.pin")


async def test_before_and_after_a_renewal_both_declare_and_a_recipient_with_a_pin_opens_both(
    served: Served, portal: Portal, tmp_path: Path
) -> None:
    here = served.here
    for person in (ELISE, YANN):
        await here.give(CAF, MOVED, FAMILY, ["subject"], person=person)
    hosted = await agency_of(here.home, CAF)
    pin, ends = Pin(tmp_path / "caf.pin", here.home.ledger.verifier_key.text), Ends.open(None)
    async with client(served, CAF) as caf:
        before = await caf.pinned_directory(pin)
        mine = Agency(CAF, hosted.sealing_keys, before, here.home.catalogue)
        first = await portal.declare(ELISE)
        new = await portal.renew()
        here.clock.pass_(1)
        second = await portal.declare(YANN, new)
        here.clock.pass_(2 * 3_600_000)  # the old key has ended; what it signed has not

        found = {}
        async for delivery in caf.deliveries(mine, ends, pin=pin, once=True):
            found[delivery.facts.declaration_id] = delivery.facts.record["subject"]["given_names"][0]
            await delivery.applied()
    ends.close()

    assert {first: "Élise", second: "Yann"} == found
    assert new.kid not in [one.kid for one in before.signing]
    assert new.kid in [one.kid for one in pin.directory.signing]


async def test_a_key_that_has_ended_or_was_withdrawn_declares_no_more(served: Served, portal: Portal) -> None:
    here = served.here
    new = await portal.renew()
    here.clock.pass_(3_600_000)
    await portal.declare(ELISE)  # the last instant of its overlap
    here.clock.pass_(1)
    with pytest.raises(Refused) as ended:
        await portal.declare(ELISE)
    assert "directory.key-expired" == ended.value.details["told"]

    await portal.declare(ELISE, new)
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, new.kid, here.clock)
    here.clock.pass_(1)
    with pytest.raises(Refused) as withdrawn:
        await portal.declare(ELISE, new)
    assert ("client.refused", "directory.key-revoked") == (withdrawn.value.code, withdrawn.value.details["told"])
    assert withdrawn.value.details["status"] in {403, 422}
    portal.key = new
    with pytest.raises(Refused) as nobody:  # and hands over to no other
        await portal.renew()
    assert "succession.authorisation" == nobody.value.details["told"]
