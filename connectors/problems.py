"""Problems: a fault as RFC 9457 problem details, for the servers of this side: the sidecar, the broker in memory.

Refuses: to repeat what was sent; the sentences come from `schemas/codes.toml`.
Keeps: the same members as the broker's own, so that one reader reads both.
"""

from typing import Any, Final

from schemas.messages import Coded, Language, explain, table

KIND: Final = "application/problem+json"


def problem(coded: Coded, pointer: str, status: int, language: Language = "en") -> dict[str, Any]:
    """The members of a problem. A code of a newer broker, which is not in the table, has no sentences."""
    told: dict[str, Any] = {"status": status, "code": coded.code}
    wrong: dict[str, Any] = {"pointer": pointer, "code": coded.code}
    if coded.code in table():
        message = explain(coded, language)
        told |= {"title": message.wrong, "detail": message.remedy}
        wrong["detail"] = message.wrong
    return told | ({"errors": [wrong]} if pointer else {})


def language_of(header: str) -> Language:
    """French where an `Accept-Language` names it before English, else English."""
    named = (part.strip()[:2] for part in header.lower().split(","))
    return "fr" if next((each for each in named if each in {"fr", "en"}), "en") == "fr" else "en"
