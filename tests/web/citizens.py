"""A browser without a window for the citizen's pages: it keeps cookies and sends what a browser sends with a form."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI
from httpx2 import Response

from broker.citizens.citizen import Citizen
from broker.web.app import build
from broker.web.citizen import guard
from tests.citizens import sign_in
from tests.world import ELISE, World

HOST = "https://unefois.example"
COOKIE = "__Host-session"


class Browser:
    """Asks for pages and sends their forms."""

    def __init__(self, client: httpx2.AsyncClient, here: World, app: FastAPI) -> None:
        self.client, self.here, self.app = client, here, app

    async def sign_in(self, person: dict[str, Any] = ELISE, **more: Any) -> Citizen:
        """Come in as somebody."""
        token, citizen = await sign_in(self.here, person, **more)
        self.client.cookies.set(COOKIE, token, domain="unefois.example")
        return citizen

    @property
    def session(self) -> str:
        """The token in the cookie."""
        return self.client.cookies[COOKIE]

    async def get(self, path: str, **more: Any) -> Response:
        """A page, not following where it leads."""
        return await self.client.get(path, **more)

    async def send(self, path: str, fields: Mapping[str, Any], *, at: str | None = None, **more: Any) -> Response:
        """The form for `path` that the page `at` has, with these fields."""
        page = await self.client.get(at or path)
        return await self.post(path, {"jeton": token_in(page.text, path), **fields}, **more)

    async def post(self, path: str, fields: Mapping[str, Any], **more: Any) -> Response:
        """A form as it is, from our own page."""
        headers = {"sec-fetch-site": "same-origin", "origin": HOST}
        return await self.client.post(path, data=fields, headers=headers, **more)

    def token(self, path: str, session: str | None = None) -> str:
        """The token for a form of a session."""
        return guard.token(session or self.session, path)


def token_in(text: str, path: str) -> str:
    """The token of the form that is sent to this path; empty where the page has none."""
    form = re.search(rf'<form method="post" action="{re.escape(path)}"[^>]*>(.*?)</form>', text, re.DOTALL)
    found = form and re.search(r'name="jeton" value="([^"]+)"', form[1])
    return found[1] if found else ""


@asynccontextmanager
async def browser(here: World) -> AsyncIterator[Browser]:
    """A browser before a furnished home, nobody signed in."""
    app = build(here.home)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=HOST) as client:
        yield Browser(client, here, app)
