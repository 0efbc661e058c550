"""The portals' API below `/v1/citizens`: for towns' own portals, whose citizens sign in there by FranceConnect.

Refuses: what its routes refuse.
Keeps: every route needs a token of the scope `citizens`; every one but those of `signing` that open and end sessions,
and the list of types, needs a citizen's session. Limits, headers and the form of a problem are those of the whole app.
Source: docs/portals.md; docs/adr/0057-the-citizens-api.md.
"""

import json
from functools import cache
from typing import Any, Final

from fastapi import FastAPI, Response

from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.web.common.documents import document
from broker.web.portals import allowing, declaring, looking, signing
from broker.web.portals.examples import EXAMPLES

PREFIX: Final = "/v1/citizens"
ROUTES: Final = (signing.routes, declaring.routes, allowing.routes, looking.routes)


def mount(app: FastAPI, home: Home, role: ProcessRole = ProcessRole.ALL) -> None:
    """Serve it, in a process whose role answers it."""
    if role not in {ProcessRole.ALL, ProcessRole.PORTAL}:
        return
    app.state.home = home
    app.add_api_route(f"{PREFIX}/openapi.json", _openapi, include_in_schema=False)
    for routes in ROUTES:
        app.include_router(routes, prefix=PREFIX)


@cache
def describe() -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document; its paths begin after `/v1/citizens`."""
    return document("Unefois: the portals' API", PREFIX, ROUTES, EXAMPLES)


@cache
def _written() -> bytes:
    """Written once for a process: nobody proves anything to be sent it."""
    return json.dumps(describe(), ensure_ascii=False, separators=(",", ":")).encode()


async def _openapi() -> Response:
    return Response(_written(), media_type="application/json")
