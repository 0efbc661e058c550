"""Calls of the portals' API: who asks, for which citizen, and how somebody signs in at a portal."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2
from fastapi import FastAPI

from broker.access.credentials import Scope
from broker.web.portals.coming import HEADER
from schemas.names import Instant, PartyId
from tests.franceconnect import PORTALS, Doors
from tests.unit.broker.citizens.test_forwarded import at_portal
from tests.unit.broker.web.agencies.calls import Caller
from tests.world import DAY, PORTAL, World

PREFIX = "/v1/citizens"


@dataclass
class Town(Caller):
    """A portal at the API, for one citizen; without a session, for nobody. Paths begin after `PREFIX`."""

    session: str | None = None

    async def asks(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """As `Caller.asks`, with the citizen's session."""
        if self.session is not None:
            headers.setdefault(HEADER, self.session)
        return await super().asks(method, PREFIX + path, body, **headers)


@dataclass
class Portals:
    """The world, its app, FranceConnect beside it, and who calls."""

    here: World
    app: FastAPI
    client: httpx2.AsyncClient
    doors: Doors
    tokens: dict[PartyId, str] = field(default_factory=dict)

    async def token(self, party: PartyId = PORTAL, *scopes: Scope) -> str:
        """An API token of a party; for the scope `citizens` unless told."""
        home, at = self.here.home, self.here.clock()
        wanted = scopes or (Scope.CITIZENS,)
        async with home.store.begin() as tx:
            issued = await home.credentials.issue(tx, party, wanted, expires_at=Instant(at + 10 * DAY), at=at)
        return issued.token

    async def portal(self, party: PartyId = PORTAL) -> Town:
        """A portal for whom nobody has signed in; the same token each time."""
        if party not in self.tokens:
            self.tokens[party] = await self.token(party)
        return Town(self.client, self.tokens[party])

    @property
    def stranger(self) -> Town:
        """Somebody without a token."""
        return Town(self.client)

    async def citizen(self, person: str = "elise", *, sure: bool = True, language: str = "fr") -> Town:
        """The portal, for somebody who has signed in there; `sure`: by FranceConnect+."""
        town = await self.portal()
        told = await self.signed_in(town, person, sure=sure, language=language)
        return Town(self.client, town.token, told["session_token"])

    async def signed_in(self, town: Town, person: str, *, sure: bool = True, language: str = "fr") -> dict[str, Any]:
        """What is answered to a portal that brings what FranceConnect has signed."""
        nonce = (await town.told("POST", "/nonces", status=201))["nonce"]
        sent = {**at_portal(self.doors.plus if sure else self.doors.fc, nonce, person), "nonce": nonce}
        told: dict[str, Any] = await town.told("POST", "/sessions", {**sent, "language": language}, 201)
        return told


def read(response: httpx2.Response) -> Any:
    """The JSON of an answer."""
    return json.loads(response.content)


__all__ = ["PORTALS", "PREFIX", "Portals", "Town", "read"]
