"""Strict: a route that lets in who may come before it reads what they send, and reads only what it was made for.

Refuses: a request without a credential or without the route's scope; a query parameter that the route does not have, or
twice; a body of another media type.
Keeps: who is not let in learns nothing about what they sent, and nothing of it was parsed.
"""

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from broker.access.credentials import Credential, Scope
from broker.setup.wiring import Home
from broker.web.common.bodies import read_json
from broker.web.common.limits import Passage
from schemas.errors import Refused

_BEARER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/=-]{1,4096})")

_UTF8: Final = re.compile(r"""charset="?utf-8"?\s*(;|$)""")


class Access(HTTPBearer):
    """The dependency that names a route's scope and gives the route its caller."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(
            scheme_name="token",
            description="An access token, or an API token: `unefois token issue`.",
            auto_error=False,
        )
        self.scope = scope

    async def __call__(self, request: HTTPConnection) -> Any:
        """The caller, whom `admit` let in before the body was read."""
        return request.scope["unefois.caller"]

    async def admit(self, request: Request) -> None:
        """Raises Refused `api.no-credential`, `credentials.*`, `oauth.*`, `api.rate`, `api.scope`."""
        told = request.headers.getlist("authorization")
        found = _BEARER.fullmatch(told[0]) if len(told) == 1 else None
        if found is None:
            raise Refused("api.no-credential")
        caller = await _caller(request.app.state.home, found[1], request.scope["unefois.certificate"])
        passage: Passage = request.scope["unefois.passage"]
        passage.admit(caller.party)
        if not _is_access_token(found[1]):  # those are noted where they are given, with their client's key
            await request.app.state.home.uses.note(caller.id, request.scope["unefois.address"])
        if self.scope not in caller.scopes:
            raise Refused("api.scope", scope=self.scope.value)
        request.scope["unefois.caller"] = caller


async def _caller(home: Home, token: str, certificate: str | None) -> Credential:
    """An access token is verified as it is, an API token in the database."""
    if _is_access_token(token):
        return home.oauth.verify(token, home.clock(), certificate)
    async with home.store.read_one() as tx:
        return await home.credentials.verify(tx, token, home.clock())


def _is_access_token(token: str) -> bool:
    return token.count(".") == 2


class StrictRoute(APIRoute):
    """A route of the agencies' API."""

    @property
    def access(self) -> Access | None:
        """Who may come; None for everybody."""
        calls = (each.call for each in self.dependant.dependencies)
        return next((call for call in calls if isinstance(call, Access)), None)

    @property
    def media(self) -> tuple[str, ...]:
        """The media types that the route takes; none when it takes no body."""
        told = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})
        return tuple(told) or (("application/json",) if self.body_field is not None else ())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, behind our checks."""
        answered = super().get_route_handler()
        query = {field.alias for field in self.dependant.query_params}
        access, media = self.access, self.media

        async def strict(request: Request) -> Response:
            if access is not None:
                await access.admit(request)
            _check_query(request, query)
            _check_media(request, media)
            return await answered(_Strict(request.scope, request.receive))

        return strict


class _Strict(Request):
    """A request whose JSON has one reading."""

    async def json(self) -> Any:
        """What FastAPI reads a body with; whatever it raises is told as `api.json`."""
        return read_json(await self.body())


def _check_query(request: Request, known: set[str]) -> None:
    told = [name for name, _ in request.query_params.multi_items()]
    if not known.issuperset(told):
        raise Refused("api.query-unknown", known=", ".join(sorted(known)) or "-")
    if len(set(told)) < len(told):
        raise Refused("api.query-twice")


def _check_media(request: Request, media: tuple[str, ...]) -> None:
    told = request.headers.getlist("content-type")
    sent, _, more = told[0].lower().partition(";") if told else ("", "", "")
    other = "charset" in more and _UTF8.search(more) is None  # read as what it says it is not, it would be garbled
    if media and (len(told) != 1 or sent.strip() not in media or other):
        raise Refused("api.media-type", media=", ".join(media))
