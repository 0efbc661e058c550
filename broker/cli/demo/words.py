"""Words: every sentence of the demo, in French and in English, from one table (`words.toml`).

Refuses: a sentence that is not in the table; the tests walk both languages.
Keeps: the acts hold no sentence, so what is told in one language is told in the other.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from schemas.messages import Language

NO_BREAK = "\u00a0"
_CLOSING = re.compile(" ([:;!?»])")
_OPENING = re.compile("(«) ")
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""In the order in which they count (POSIX, 8.2)."""


def language_of(told: str | None, environment: Mapping[str, str]) -> Language:
    """The language asked for, or that of the environment; English where neither is known here."""
    wanted = told or next((environment[name] for name in _VARIABLES if environment.get(name)), "")
    return "fr" if wanted.lower().startswith("fr") else "en"


@cache
def table() -> dict[str, dict[str, dict[str, str]]]:
    """Every sentence: part -> key -> language -> text."""
    read: dict[str, dict[str, dict[str, str]]] = tomllib.loads(
        files("broker.cli.demo").joinpath("words.toml").read_text("utf-8")
    )
    return read


class Words:
    """The sentences of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language

    def __call__(self, key: str, **told: object) -> str:
        """The sentence `part.key` with its braces filled."""
        part, _, name = key.partition(".")
        text = table()[part][name][self.language].format(**told)
        return _unbroken(text) if self.language == "fr" else text


def _unbroken(text: str) -> str:
    """French marks stand apart from their word, but never on the next line."""
    return _OPENING.sub(f"\\1{NO_BREAK}", _CLOSING.sub(f"{NO_BREAK}\\1", text))
