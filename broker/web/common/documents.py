"""Documents: the OpenAPI 3.1 document of routes, as FastAPI makes it of them, and what FastAPI does not know.

Refuses: nothing.
Keeps: every answer has its form, so that a client that a program makes of this document is typed; what is refused is
told as it is answered, as problem details; every operation has an example that the tests run. An operation is called
after its function, in every document of the same version: generated clients call it so, too.
Source: OpenAPI 3.1 ("Security Requirement Object": what a bearer token needs is named there), RFC 9457, RFC 6750.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from broker.web.common.answered import JSON, add_problem, operations, refusals, tidy
from broker.web.common.strict import StrictRoute

Examples = Mapping[tuple[str, str], Mapping[str, Any]]
"""(method, path with its prefix) -> `path`, `query`, `media`, `request`, `response`, as far as there are any."""
NOTHING: Final[Mapping[str, Any]] = {}


def document(
    title: str,
    prefix: str,
    included: Iterable[APIRouter],
    examples: Examples,
    *,
    refused: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> dict[str, Any]:
    """The document of these routers, whose paths begin after `prefix`. `refused`: of some paths, other forms in which
    they refuse.
    """
    routes = [route for router in included for route in router.routes]
    names = {
        (method, one.path): one.name for one in routes if isinstance(one, APIRoute) for method in one.methods or ()
    }
    made = get_openapi(title=title, version="1", openapi_version="3.1.0", routes=routes, servers=[{"url": prefix}])
    add_problem(made)
    scopes = _scopes(routes)
    for method, path, operation in operations(made):
        operation["operationId"] = names[method, path]
        operation["responses"].pop("422", None)
        operation["responses"].update(refusals(refused.get(path)))
        if (method, path) in scopes:
            _scope(scopes[method, path], operation)
        tidy(operation)
        _example(operation, examples.get((method, prefix + path), NOTHING))
    return made


def _scopes(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], str]:
    """(method, path) -> the scope that a token needs there."""
    return {
        (method, route.path): route.access.scope.value
        for route in routes
        if isinstance(route, StrictRoute) and route.access is not None
        for method in route.methods or ()
    }


def _scope(scope: str, operation: dict[str, Any]) -> None:
    """What a token needs, where a reader and a program look for it; what else is needed is needed beside it."""
    needed = {name for each in operation["security"] for name in each}
    operation["security"] = [{name: [scope] if name == "token" else [] for name in sorted(needed, reverse=True)}]
    told = f"`api.scope`: the token does not have the scope `{scope}`; `WWW-Authenticate` names it, too."
    operation["responses"]["403"] = {"description": told, "content": operation["responses"]["4XX"]["content"]}
    operation["description"] = f"{operation['description']}\n\nScope: `{scope}`.".lstrip()


def _example(operation: dict[str, Any], example: Mapping[str, Any]) -> None:
    """What is sent and what comes back, where a route takes or gives JSON."""
    if "request" in example:
        media = example.get("media", JSON)
        operation["requestBody"]["content"][media]["example"] = example["request"]
    if "response" in example:
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        good["content"][JSON]["example"] = example["response"]
    for parameter in operation.get("parameters", ()):
        given = example.get(parameter["in"], NOTHING)
        if parameter["name"] in given:
            parameter["example"] = given[parameter["name"]]
