"""Described: the OpenAPI 3.1 document of the API, as FastAPI makes it of the routes, and what FastAPI does not know.

Refuses: nothing.
Keeps: what is refused is told as it is answered, as problem details; every operation has an example that the tests run.
Source: OpenAPI 3.1 ("Security Requirement Object": what a bearer token needs is named there), RFC 9457, RFC 6750.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from broker.web.agencies.examples import EXAMPLES
from broker.web.common.problems import KIND
from broker.web.common.strict import StrictRoute

_JSON: Final = "application/json"
_TEXT: Final = {"type": "string"}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT,
        "trace_id": _TEXT,
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"pointer": _TEXT, "code": _TEXT, "detail": _TEXT}},
        },
    },
}
_OAUTH: Final = {"type": "object", "required": ["error", "code"], "properties": {"error": _TEXT, "code": _TEXT}}
_TAGGED: Final = {"/directory", "/directory/jwks", "/schemas/{schema}", "/subscriptions/{subscription}"}
"""Answered 304 to whoever has them already."""


def document(title: str, prefix: str, included: Iterable[APIRouter]) -> dict[str, Any]:
    """The document of these routers, whose paths begin after `prefix`."""
    routes = [route for router in included for route in router.routes]
    made = get_openapi(title=title, version="1", openapi_version="3.1.0", routes=routes, servers=[{"url": prefix}])
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form, which nobody gets here
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    scopes = _scopes(routes)
    for method, path, operation in operations(made):
        _refusals(path, operation)
        if (method, path) in scopes:
            _scope(scopes[method, path], operation)
        _example(operation, EXAMPLES.get((method, prefix + path), {}))
    return made


def operations(made: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation with its method, in capitals, and its path."""
    for path, item in made["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def _refusals(path: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    for answer in answers.values():
        answer.setdefault("content", {_JSON: {}})
    if path in _TAGGED and "get" in operation["operationId"]:
        answers["304"] = {"description": "Not changed since the ETag that `If-None-Match` names."}
    problem = {KIND: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refused = problem | ({_JSON: {"schema": _OAUTH}} if path == "/token" else {})
    answers["4XX"] = {"description": "Refused: `code` says why, `errors` where.", "content": refused}
    answers["5XX"] = {"description": "Not now, or a fault of the broker's own.", "content": problem}


def _scopes(routes: Iterable[BaseRoute]) -> dict[tuple[str, str], str]:
    """(method, path) -> the scope that a token needs there."""
    return {
        (method, route.path): route.access.scope.value
        for route in routes
        if isinstance(route, StrictRoute) and route.access is not None
        for method in route.methods or ()
    }


def _scope(scope: str, operation: dict[str, Any]) -> None:
    """What a token needs, where a reader and a program look for it."""
    operation["security"] = [{name: [scope] for name in each} for each in operation["security"]]
    told = f"`api.scope`: the token does not have the scope `{scope}`; `WWW-Authenticate` names it, too."
    operation["responses"]["403"] = {"description": told, "content": operation["responses"]["4XX"]["content"]}
    operation["description"] = f"{operation['description']}\n\nScope: `{scope}`.".lstrip()


def _example(operation: dict[str, Any], example: Mapping[str, Any]) -> None:
    """What is sent and what comes back, where a route takes or gives JSON."""
    if "request" in example:
        media = example.get("media", _JSON)
        operation["requestBody"]["content"][media]["example"] = example["request"]
    if "response" in example:
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        good["content"][_JSON]["example"] = example["response"]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in example.get("path", {}):
            parameter["example"] = example["path"][parameter["name"]]
