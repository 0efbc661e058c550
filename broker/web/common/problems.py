"""Problems: a fault as an answer over HTTP, in the one form that all of our addresses give: RFC 9457.

Refuses: to repeat what was sent; the sentences come from `schemas/codes.toml`, in the language that was asked for.
Keeps: a problem is never cached; `type` opens the documentation at the code's heading.
"""

import json
from typing import Any, Final

from fastapi import Request, Response

from schemas.errors import Fault
from schemas.messages import Language, explain

KIND: Final = "application/problem+json"
DOCUMENTED: Final = "/docs/errors.html#"


def problem(fault: Fault, status: int, request: Request) -> Response:
    """The fault as problem details with this status; `errors` lists every place that is wrong."""
    headers = {
        "Cache-Control": "no-store",
        "Content-Language": language_of(request),
        "Vary": "Accept-Language",
    }
    body = told(fault, status, request)
    return Response(json.dumps(body, ensure_ascii=False), status, headers, KIND)


def told(fault: Fault, status: int, request: Request) -> dict[str, Any]:
    """The members of the problem: a whole answer, or the part of a batch that one item gets."""
    language = language_of(request)
    message = explain(fault, language)
    members: dict[str, Any] = {
        "type": f"{DOCUMENTED}{anchor(fault.code)}",
        "title": message.wrong,
        "status": status,
        "detail": message.remedy,
        "code": fault.code,
    }
    wrong = (fault, *fault.also)
    if fault.pointer or fault.also:
        members["errors"] = [
            {"pointer": each.pointer, "code": each.code, "detail": explain(each, language).wrong} for each in wrong
        ]
    if "unefois.trace" in request.scope:
        members["trace_id"] = request.scope["unefois.trace"]
    return members


def anchor(code: str) -> str:
    """Where a code's heading is, in the page that is served and in the site."""
    return code.replace(".", "-")


def language_of(request: Request) -> Language:
    """French where `Accept-Language` names it before English, else English."""
    wanted = request.headers.get("Accept-Language", "").lower()
    named = (part.strip()[:2] for part in wanted.split(","))
    return "fr" if next((each for each in named if each in {"fr", "en"}), "en") == "fr" else "en"
