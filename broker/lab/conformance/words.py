"""Words: the kit's sentences in both languages, from one table (`words.toml`).

Refuses: a sentence that is not in the table.
Keeps: the cases hold no sentence, so what is told in one language is told in the other.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from broker.lab.conformance.finding import Finding
from schemas.messages import Language


@cache
def table() -> dict[str, dict[str, Any]]:
    """`case` -> name -> part -> language -> text; `finding` -> key -> language -> text."""
    return tomllib.loads(files("broker.lab.conformance").joinpath("words.toml").read_text("utf-8"))


class Words:
    """The sentences of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language

    def case(self, name: str, part: str) -> str:
        """Title, proves or remedy of a case."""
        return str(table()["case"][name][part][self.language])

    def finding(self, finding: Finding) -> str:
        """What was wrong."""
        return str(table()["finding"][finding.key][self.language].format(**finding.details))

    def say(self, key: str, **told: object) -> str:
        """A sentence of the report itself."""
        return str(table()["report"][key][self.language].format(**told))
