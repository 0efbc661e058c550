"""Translations: sentences by their English, from a gettext catalogue (`.po`), and the language of a command line.

Refuses: nothing: what a catalogue does not know stays English. The tests hold that each knows all.
Keeps: a catalogue is text that gettext's own tools read, one line for each sentence, so nothing has to be compiled.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from schemas.messages import Language

_ENTRY: Final = re.compile(r'^msgid (".+")\nmsgstr (".+")$', re.MULTILINE)
_BREAK: Final = re.compile(r"(\n\n|\n(?=\* ))")
"""Between two paragraphs, and before each line of a list."""
_EXAMPLE: Final = "Example: "


def read(catalogue: str) -> Mapping[str, str]:
    """The French of each English sentence."""
    return {json.loads(english): json.loads(french) for english, french in _ENTRY.findall(catalogue)}


def parts(text: str) -> list[str]:
    """The paragraphs of a help text, each as a catalogue has it: one line, without examples, which are commands."""
    found = (" ".join(each.split()) for each in _BREAK.split(text))
    return [each for each in found if each and not each.startswith(_EXAMPLE)]


def french(text: str, known: Mapping[str, str]) -> str:
    """A help text in French, paragraph by paragraph; what begins with `Example:` is a command, and stays."""

    def told(part: str) -> str:
        if part.startswith(_EXAMPLE):
            return part.replace(_EXAMPLE, "Exemple : ", 1)
        return known.get(" ".join(part.split()), part)

    return "".join(map(told, _BREAK.split(text)))


def spoken(words: Sequence[str], environment: Mapping[str, str]) -> Language:
    """The language of a command line: `--lang` wherever it stands, for usage errors and help too; else the locale's."""
    if "--lang=fr" in words or ("--lang", "fr") in pairwise(words):
        return "fr"
    if "--lang=en" in words or ("--lang", "en") in pairwise(words):
        return "en"
    locale = next((told for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (told := environment.get(name))), "")
    return "fr" if locale.lower().startswith("fr") else "en"
