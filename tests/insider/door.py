"""The door: the agencies' API, and who knocks at it with a token."""

import httpx2

from broker.access.credentials import Scope
from broker.web.agencies.waiting import Waiting
from broker.web.app import build
from schemas.names import Instant, PartyId
from tests.insider.open import LET_IN
from tests.insider.watch import Watch
from tests.world import CAF, DAY


async def issued(watch: Watch, *scopes: Scope, party: PartyId = CAF, days: int = 1) -> tuple[bytes, str]:
    """A token of the operator's: its id, and what is shown once."""
    home, at = watch.here.home, watch.here.clock()
    async with home.store.begin() as tx:
        token = await home.credentials.issue(tx, party, scopes, expires_at=Instant(at + days * DAY), at=at)
    return token.credential.id, token.token


async def knocks(watch: Watch, token: str) -> None:
    """Ask at the API of a process that has just begun; whoever is answered was let in. What they got is sealed to the
    recipient's key, which a thief of a token does not have: it is a release, and no value.
    """
    watch.restart()
    app = build(watch.here.home, waiting=Waiting())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://broker.example") as client:
        answer = await client.post("/v1/deliveries:pull", json={}, headers={"authorization": f"Bearer {token}"})
    if answer.status_code == 200:
        watch.gained.add(LET_IN)
