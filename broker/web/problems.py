"""Problems: a fault as an answer over HTTP, in the one form that all of our addresses give: RFC 9457.

Refuses: to repeat what was sent; the sentences come from `schemas/codes.toml`, in the language that was asked for.
Keeps: a problem is never cached; `type` opens the documentation at the code's heading.
"""

import json
from typing import Final

from fastapi import Request, Response

from schemas.errors import Fault
from schemas.messages import Language, explain

KIND: Final = "application/problem+json"
DOCUMENTED: Final = "/docs/errors.html#"


def problem(fault: Fault, status: int, request: Request) -> Response:
    """The fault as problem details with this status."""
    language = language_of(request)
    message = explain(fault, language)
    told = {
        "type": f"{DOCUMENTED}{fault.code.replace('.', '-')}",
        "title": message.wrong,
        "status": status,
        "detail": message.remedy,
        "code": fault.code,
    }
    if fault.pointer:
        told["errors"] = [{"pointer": fault.pointer, "code": fault.code, "detail": message.wrong}]
    headers = {"Cache-Control": "no-store", "Content-Language": language, "Vary": "Accept-Language"}
    return Response(json.dumps(told, ensure_ascii=False), status, headers, KIND)


def language_of(request: Request) -> Language:
    """French where `Accept-Language` names it before English, else English."""
    wanted = request.headers.get("Accept-Language", "").lower()
    named = (part.strip()[:2] for part in wanted.split(","))
    return "fr" if next((each for each in named if each in {"fr", "en"}), "en") == "fr" else "en"
