"""Messages: what each fault code says to a person, in French and English, and what to do about it.

Refuses: an unlisted code: `tests/unit/schemas/test_messages.py` walks the source for every code raised.
Keeps: sentences live in one table (`codes.toml`), so the documentation, the command line and the API say the same.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, Protocol

from schemas.errors import Detail

Language = Literal["fr", "en"]


@dataclass(frozen=True)
class Message:
    """One code's sentences: what is wrong, and what to do."""

    wrong: str
    remedy: str


class Coded(Protocol):
    """What can be told to a person: a fault, a warning (`values`), a break (`evolution`)."""

    @property
    def code(self) -> str:
        """A code of the table."""

    @property
    def details(self) -> Mapping[str, Detail]:
        """What fills the braces."""


@cache
def table() -> dict[str, dict[str, str]]:
    """Every code with its four sentences: `en`, `fr` (what is wrong), `do_en`, `do_fr` (what to do)."""
    loaded: dict[str, dict[str, str]] = tomllib.loads(files("schemas").joinpath("codes.toml").read_text("utf-8"))
    return loaded


class _Unfilled(dict[str, object]):
    def __missing__(self, name: str) -> str:
        return "…"


def explain(coded: Coded, language: Language) -> Message:
    """The sentences of a code in one language; details fill the braces, an ellipsis where nobody has kept them."""
    row = table()[coded.code]
    told = _Unfilled(coded.details)
    return Message(row[language].format_map(told), row[f"do_{language}"].format_map(told))
