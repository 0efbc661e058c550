"""AsyncAPI over HTTP: `GET /asyncapi.json`, the catalogue's document for tools that read messages' contracts.

Refuses: nothing.
Keeps: made once for a process; it changes with the program only.
"""

import json
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, Response

from broker.web.public.forms import bytes_of
from schemas import asyncapi
from schemas.catalogue import Catalogue

_DOCUMENT: Final = bytes_of("application/json", tagged=False)


def router(catalogue: Catalogue) -> APIRouter:
    """One address, without authentication: the catalogue is public."""
    made = APIRouter(tags=["registry"])
    content = json.dumps(asyncapi.document(catalogue, version("unefois")), ensure_ascii=False).encode()

    async def get_asyncapi() -> Response:
        """The event types as an AsyncAPI 3.0 document."""
        return Response(content, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    made.add_api_route("/asyncapi.json", get_asyncapi, methods=["GET"], response_class=Response, responses=_DOCUMENT)
    return made
