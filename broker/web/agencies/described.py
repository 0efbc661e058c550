"""Described: the OpenAPI 3.1 document of the agencies' API, with the forms in which the token endpoint refuses.

Refuses: nothing.
Keeps: as `broker.web.common.documents`.
Source: RFC 6749, section 5.2.
"""

from collections.abc import Iterable
from typing import Any, Final

from fastapi import APIRouter
from pydantic import TypeAdapter

from broker.web.agencies.examples import EXAMPLES
from broker.web.agencies.forms import TokenError
from broker.web.common import documents
from broker.web.common.answered import JSON

_TOKEN_ERROR: Final = {JSON: {"schema": {"$ref": "#/components/schemas/TokenError"}}}


def document(title: str, prefix: str, included: Iterable[APIRouter]) -> dict[str, Any]:
    """The document of these routers, whose paths begin after `prefix`."""
    made = documents.document(title, prefix, included, EXAMPLES, refused={"/token": _TOKEN_ERROR})
    if "/token" in made["paths"]:
        made["components"]["schemas"]["TokenError"] = TypeAdapter(TokenError).json_schema()
    return made
