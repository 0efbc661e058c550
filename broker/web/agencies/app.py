"""The agencies' API as one app below `/v1`: its own errors, limits and headers, whatever else the process serves.

Refuses: what its frame and its routes refuse.
Keeps: version in the path; every route of `ROUTES` is below it, and no other.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from fastapi import APIRouter, FastAPI

from broker.web.agencies import faults, publishing, reading, receiving, tokens
from broker.web.agencies.frame import Frame
from broker.web.agencies.waiting import Waiting
from broker.wiring import Home

PREFIX: Final = "/v1"
ROUTES: Final = (publishing.routes, receiving.routes, reading.routes)
BODIES: Final[Mapping[str, int]] = {"/declarations": 1_048_576, "/declarations:batch": 8 * 1_048_576}
"""Bytes of the bodies that may weigh more than the others."""


def mount(app: FastAPI, home: Home, waiting: Waiting | None = None) -> None:
    """Serve the API below `/v1` of this app, and the token endpoint beside it."""
    app.mount(PREFIX, agencies(home, waiting))
    app.mount("/oauth2", _made(home, "Unefois: OAuth2", (tokens.routes,)))


def agencies(home: Home, waiting: Waiting | None = None) -> FastAPI:
    """The API itself; its paths begin after `/v1`."""
    made = _made(home, "Unefois: the agencies' API", ROUTES)
    made.state.waiting = waiting or Waiting()
    return made


def _made(home: Home, title: str, included: Sequence[APIRouter]) -> FastAPI:
    made = FastAPI(
        title=title,
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/openapi.json",
    )
    made.state.home = home
    for routes in included:
        made.include_router(routes)
    faults.register(made)
    made.add_middleware(Frame, entropy=home.entropy, bodies=BODIES)
    return made
