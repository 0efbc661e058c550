"""Places: the official codes of French communes (INSEE COG) and of countries, with what became of the former ones.

Refuses: nothing; an unknown code is None, and `formats` says what that means for a field.
Keeps: every former, delegated or associated code and every arrondissement leads to exactly one commune of today.
Source: `schemas/cog/README.md`.
"""

import gzip
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

FRANCE = "99100"
"""France with its overseas territories, in the codes of countries."""


class Standing(Enum):
    """What a code is today."""

    CURRENT = "current"
    PART = "part"
    """A municipal arrondissement of Paris, Lyon or Marseille: in use, inside a commune."""
    FORMER = "former"
    """Once a commune or a country of its own; valid for a place of birth, not for an address of today."""


@dataclass(frozen=True, slots=True)
class Place:
    """A commune or a country. `today` is the code of the commune or country it belongs to now ("" if to several)."""

    code: str
    today: str
    name: str
    """French name; for a former commune, the name of the commune it belongs to now."""
    standing: Standing


def commune(code: str) -> Place | None:
    """The commune or municipal arrondissement with this 5-character code, at any time since 1943, or None."""
    return _communes().get(code)


def country(code: str) -> Place | None:
    """The country with this 5-digit code (99100 is France), at any time since 1943, or None."""
    return _countries().get(code)


def commune_named(name: str, postcode: str) -> Place | None:
    """The one commune of today with this name in the postcode's department, or None if there is none or several.

    Case, accents, punctuation, ST for SAINT and a CEDEX behind do not matter: `("ST-DENIS CEDEX", "97400")`.
    """
    found = [place for place in _named().get(plain(name), ()) if place.code.startswith(departments_of(postcode))]
    return found[0] if len(found) == 1 else None


def all_current() -> tuple[Place, ...]:
    """Every commune of today."""
    return tuple(place for place in _communes().values() if place.standing is Standing.CURRENT)


def all_countries() -> tuple[Place, ...]:
    """Every country and territory of today."""
    return tuple(place for place in _countries().values() if place.standing is Standing.CURRENT)


def departments_of(postcode: str) -> tuple[str, ...]:
    """First characters of the commune codes that a postcode can belong to."""
    if postcode.startswith("20"):
        return ("2A", "2B")
    if postcode in ("97133", "97150"):  # Saint-Barthélemy and Saint-Martin kept the postcodes of Guadeloupe
        return ("977", "978")
    return (postcode[: 3 if postcode.startswith(("97", "98")) else 2].ljust(2, "?"),)


def plain(name: str) -> str:
    """A name as it is compared: without case, accents or punctuation, SAINT written out, and no CEDEX behind."""
    letters = unicodedata.normalize("NFKD", name.replace("œ", "oe").replace("Œ", "OE").replace("æ", "ae"))
    words = re.findall(r"[A-Z0-9]+", "".join(each for each in letters if not unicodedata.combining(each)).upper())
    if "CEDEX" in words:
        words = words[: words.index("CEDEX")]
    return " ".join({"ST": "SAINT", "STE": "SAINTE"}.get(word, word) for word in words)


@cache
def _named() -> dict[str, list[Place]]:
    named: dict[str, list[Place]] = {}
    for place in _communes().values():
        if place.standing is Standing.CURRENT:
            named.setdefault(plain(place.name), []).append(place)
    return named


@cache
def _communes() -> dict[str, Place]:
    text = gzip.decompress(files("schemas").joinpath("cog/communes.tsv.gz").read_bytes()).decode("utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    names = {code: name for code, today, name in rows if not today}
    return {code: _commune(code, today, name, names) for code, today, name in rows}


def _commune(code: str, today: str, name: str, names: dict[str, str]) -> Place:
    if not today:
        return Place(code, code, name, Standing.CURRENT)
    if name:
        return Place(code, today, name, Standing.PART)
    return Place(code, today, names[today], Standing.FORMER)


@cache
def _countries() -> dict[str, Place]:
    text = files("schemas").joinpath("cog/countries.tsv").read_text("utf-8")
    found = {}
    for line in text.splitlines():
        code, today, name = line.split("\t")
        standing = Standing.CURRENT if today == code else Standing.FORMER
        found[code] = Place(code, "" if today == "-" else today, name, standing)
    return found
