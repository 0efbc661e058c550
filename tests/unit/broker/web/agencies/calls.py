"""Calls of the agencies' API: who makes them, with which token, and what is read from the answers."""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI

from broker.access.credentials import Scope
from broker.web.agencies.waiting import Waiting
from connectors.contract import Pulled
from schemas.delivery import VerifiedDelivery
from schemas.locked import LockedDelivery
from schemas.names import Instant, PartyId
from tests.world import DAY, World


@dataclass
class Caller:
    """One administration at the API; without a party, a stranger."""

    client: httpx2.AsyncClient
    token: str | None = None

    async def asks(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """One request with a JSON body."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            told.setdefault("authorization", f"Bearer {self.token}")
        content = None
        if body is not None:
            told.setdefault("content-type", "application/json")
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.request(method, path, content=content, headers=told)

    async def told(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The answer, which has this status."""
        response = await self.asks(method, path, body)
        assert status == response.status_code, response.text
        return response.json()

    async def problem(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and code of an answer that is a problem."""
        response = await self.asks(method, path, body, **headers)
        assert "application/problem+json" == response.headers["content-type"], response.text
        told = response.json()
        assert response.status_code == told["status"]
        return told["status"], told["code"]


@dataclass
class Served:
    """The world, its app, and who calls."""

    here: World
    app: FastAPI
    client: httpx2.AsyncClient
    waiting: Waiting

    async def caller(self, party: PartyId, *scopes: Scope) -> Caller:
        """Somebody with a token of this party, for all scopes unless told."""
        home, at = self.here.home, self.here.clock()
        async with home.store.begin() as tx:
            issued = await home.credentials.issue(
                tx, party, scopes or tuple(Scope), expires_at=Instant(at + DAY), at=at
            )
        return Caller(self.client, issued.token)

    @property
    def stranger(self) -> Caller:
        """Somebody without a token."""
        return Caller(self.client)


def raw(text: str) -> bytes:
    """base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def opened(here: World, party: PartyId, told: dict[str, Any]) -> list[VerifiedDelivery]:
    """What a pull over HTTP gave, opened with the party's key and verified."""
    locked = tuple(LockedDelivery.decode(raw(one["locked"])) for one in told["deliveries"])
    return await here.open(party, Pulled(locked, raw(told["key_release"]))) if locked else []
