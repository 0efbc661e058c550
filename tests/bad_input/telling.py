"""What a person is told when something is refused, waits or is damaged, and what must never be in it.

The citizen of these tests has values that occur nowhere else: wherever one is found, something has leaked.
"""

import string
import traceback
from collections.abc import Iterator
from typing import Any

from schemas.errors import Fault
from schemas.messages import Language, explain, table
from tests.world import address

CANARIES = (
    *("quenouil", "phyrienne", "zibeline", "z!bel", "+33699887766", "0500013m026"),
    *("1971-03-17", "1971-02-30", "2027-02-30"),
)
"""Parts of the values below and of what the tests make of them, in lower case. None is in a text by chance: no number,
digest, id or base64 is spelled so, and no such day is today.
"""
LANGUAGES: tuple[Language, ...] = ("fr", "en")

CITIZEN: dict[str, Any] = {
    "family_name": "Quenouillard",
    "given_names": ["Zéphyrienne"],
    "birthdate": "1971-03-17",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
HOME = address(
    housenumber="7", street="impasse Zibeline", postcode="35000", city="Rennes", commune="35238", country="99100"
)
REACHED: dict[str, Any] = {"phone": "+33699887766", "email": "zephyrienne@quenouillard.example"}
IBAN = "FR1420041010050500013M02606"
MOVE: dict[str, Any] = {"new_address": HOME, **REACHED}
"""What a move of this citizen says beyond what every move says."""


def leaks(text: str) -> list[str]:
    """Every value of the citizen that is in a text, as written or as Python would escape it."""
    plain = text.lower()
    return [canary for canary in CANARIES if canary in plain]


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything that hangs on it, also what was suppressed: a debugger or a collector shows it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]


def said_by(error: BaseException) -> str:
    """All that an exception and its chain say, in every usual way to print them."""
    spelled = [str(part) + repr(part) + repr(part.args) for part in chain(error)]
    return "\n".join([*traceback.format_exception(error), *spelled])


def assert_told(fault: Fault, code: str, pointer: str) -> None:
    """The code and the place are these; both languages say what is wrong and what to do, whole; no value is in it."""
    assert (code, pointer) == (fault.code, fault.pointer)
    sentences = [sentence for language in LANGUAGES for sentence in sentences_of(fault, language)]
    assert len(set(sentences)) == 4
    assert [] == leaks(said_by(fault) + "".join(sentences))


def sentences_of(fault: Fault, language: Language) -> tuple[str, str]:
    """What is wrong and what to do; every brace of the two is filled from the fault's own details."""
    message = explain(fault, language)
    for row, sentence in ((language, message.wrong), (f"do_{language}", message.remedy)):
        asked = {name for _, name, _, _ in string.Formatter().parse(table()[fault.code][row]) if name is not None}
        assert asked <= fault.details.keys(), (fault.code, row, sorted(asked - fault.details.keys()))
        assert sentence.strip()
        assert "{" not in sentence
    return message.wrong, message.remedy
