"""Problems: RFC 9457 problem details on this side: a fault as an answer of ours, and a broker's answer as it came.

Refuses: to repeat what was sent; the sentences come from `schemas/codes.toml`. Of a broker's answer only the members
that its API promises are kept, each of a bounded length.
Keeps: the same members as the broker's own, so that one reader reads both; what a broker said is passed on whole.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import MOST, Fault
from schemas.messages import Language, explain, table

KIND: Final = "application/problem+json"
_TEXTS: Final[Mapping[str, int]] = {"type": 200, "title": 500, "detail": 500, "code": 64, "trace_id": 64}
"""The members that are texts, with their longest, in characters."""
_WRONG: Final[Mapping[str, int]] = {"pointer": 200, "code": 64, "detail": 500}
"""Those of one place that is wrong."""


def problem(fault: Fault, status: int, language: Language = "en") -> dict[str, Any]:
    """The members of a problem; `errors` lists every place that is wrong."""
    message = explain(fault, language)
    told: dict[str, Any] = {"status": status, "code": fault.code, "title": message.wrong, "detail": message.remedy}
    wrong = [
        {"pointer": each.pointer, "code": each.code, "detail": explain(each, language).wrong}
        for each in (fault, *fault.also)
    ]
    return told | ({"errors": wrong} if fault.pointer or fault.also else {})


def read(content: bytes, status: int, wait_ms: int | None) -> dict[str, Any]:
    """A broker's problem, with the status of its answer and, in seconds, its `retry_after` where it asked for a wait.

    What is no problem has its status alone.
    """
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    kept = members(told, status)
    return kept if wait_ms is None else kept | {"retry_after": -(-wait_ms // 1000)}


def members(told: object, status: int) -> dict[str, Any]:
    """A broker's problem: what it may say, and no longer than it may be."""
    kept: dict[str, Any] = {"status": status} | _texts(told, _TEXTS)
    errors = told.get("errors") if isinstance(told, dict) else None
    wrong = [_texts(each, _WRONG) for each in (errors if isinstance(errors, list) else [])[: MOST + 1]]
    return kept | ({"errors": wrong} if wrong else {})


def translated(told: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """A broker's problem in this language: this side's sentences of a code where they need no details, else its own."""
    errors = [each | _sentences(each, language, {"detail": language}) for each in told.get("errors", ())]
    own = _sentences(told, language, {"title": language, "detail": f"do_{language}"})
    return {**told, **own} | ({"errors": errors} if errors else {})


def _sentences(told: Mapping[str, Any], language: Language, members: Mapping[str, str]) -> dict[str, str]:
    row = table().get(str(told.get("code")), {})
    whole = {name: row[column] for name, column in members.items() if column in row}
    return whole if not any("{" in text for text in whole.values()) else {}


def _texts(told: object, longest: Mapping[str, int]) -> dict[str, str]:
    known = told if isinstance(told, dict) else {}
    found = ((name, known.get(name), most) for name, most in longest.items())
    return {name: text[:most] for name, text, most in found if isinstance(text, str)}


def language_of(header: str) -> Language:
    """French where an `Accept-Language` names it before English, else English."""
    named = (part.strip()[:2] for part in header.lower().split(","))
    return "fr" if next((each for each in named if each in {"fr", "en"}), "en") == "fr" else "en"
