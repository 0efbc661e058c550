"""The agencies' API below `/v1`, with the token endpoint beside it and the description of both.

Refuses: what its routes refuse.
Keeps: version in the path; every route of `ROUTES` is below it, and no other. Limits, headers and the form of a problem
are those of the whole app (`broker.web.app`).
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, Final

from fastapi import FastAPI, Response

from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.web.agencies import families, hooks, publishing, reading, receiving, succeeding, tokens
from broker.web.agencies.described import document
from broker.web.agencies.waiting import Waiting

PREFIX: Final = "/v1"
OAUTH: Final = "/oauth2"
ROUTES: Final = (publishing.routes, families.routes, receiving.routes, reading.routes, hooks.routes, succeeding.routes)
RELEASING: Final = (receiving.routes,)
"""Those behind which values are released: a process that has the gate's keys answers them, and nothing else."""
BODIES: Final[Mapping[str, int]] = {
    f"{PREFIX}/declarations": 1_048_576,
    f"{PREFIX}/declarations:batch": 8 * 1_048_576,
    f"{PREFIX}/households": 8 * 1_048_576,
}
"""Bytes of the bodies that may weigh more than the others."""


def mount(app: FastAPI, home: Home, waiting: Waiting | None = None, role: ProcessRole = ProcessRole.ALL) -> None:
    """Serve what a role answers of the API, below `/v1` of this app, and the token endpoint beside it."""
    app.state.home = home
    app.state.waiting = waiting or Waiting()
    for routes in ROUTES:
        if role in {ProcessRole.ALL, ProcessRole.GATE if routes in RELEASING else ProcessRole.API}:
            app.include_router(routes, prefix=PREFIX)
    if role not in {ProcessRole.ALL, ProcessRole.API}:
        return
    app.include_router(tokens.routes, prefix=OAUTH)
    for prefix, described in ((PREFIX, describe), (OAUTH, describe_oauth)):
        app.add_api_route(f"{prefix}/openapi.json", _telling(described), include_in_schema=False)


@cache
def describe() -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document; its paths begin after `/v1`."""
    return document("Unefois: the agencies' API", PREFIX, ROUTES)


@cache
def describe_oauth() -> dict[str, Any]:
    """The token endpoint, likewise; its path begins after `/oauth2`."""
    return document("Unefois: OAuth2", OAUTH, (tokens.routes,))


@cache
def written(described: Callable[[], Mapping[str, Any]]) -> bytes:
    """A document as it is sent, written once for a process: nobody proves anything to be sent it."""
    return json.dumps(described(), ensure_ascii=False, separators=(",", ":")).encode()


def _telling(described: Callable[[], Mapping[str, Any]]) -> Callable[[], Awaitable[Response]]:
    async def openapi() -> Response:
        return Response(written(described), media_type="application/json")

    return openapi
