"""Described: the OpenAPI 3.1 document of the addresses that ask for no token, `GET /openapi.json`.

Refuses: nothing.
Keeps: made of the routes that this process serves, once, when it is first asked for.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from broker.web.common.answered import add_problem, operations, refusals, tidy
from broker.web.common.caching import exact
from broker.web.public.forms import RegistryError
from broker.web.public.registry import KIND
from broker.web.public.registry import PREFIX as REGISTRY

A_WHILE: Final = "public, max-age=300"
_ERROR: Final = {KIND: {"schema": {"$ref": "#/components/schemas/RegistryError"}}}


def document(shown: Sequence[APIRouter]) -> dict[str, Any]:
    """The document of these routers."""
    routes = [route for router in shown for route in router.routes]
    made = get_openapi(title="Unefois: what is public", version="1", openapi_version="3.1.0", routes=routes)
    add_problem(made)
    made["components"]["schemas"]["RegistryError"] = TypeAdapter(RegistryError).json_schema()
    for method, path, operation in operations(made):
        operation["operationId"] = "_".join((method.lower(), *re.findall(r"[A-Za-z0-9]+", path)))
        operation["responses"].pop("422", None)
        operation["responses"].update(refusals(_ERROR if path.startswith(REGISTRY) else None))
        tidy(operation)
    return made


def router(shown: Sequence[APIRouter]) -> APIRouter:
    """One address, without authentication; `shown`: the routers that the document is of."""
    made = APIRouter()

    @cache
    def written() -> bytes:
        return json.dumps(document(shown), ensure_ascii=False, separators=(",", ":")).encode()

    async def openapi(request: Request) -> Response:
        return exact(request, written(), "application/json", A_WHILE)

    made.add_api_route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
    return made
