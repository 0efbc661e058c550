"""Finding: the commune that somebody means by what they type: a name with or without accents, "St" for Saint, an
arrondissement, a commune that has become part of another one, a slip of the pen.

    find("st malo", "35400") ──► Found(Saint-Malo)        find("Bellegarde-sur-Valserine", "01200") ──► Joined(...)
    find("Saint-Denis", "")  ──► Several(...)             find("Renes", "35000") ──► Nothing(near = Rennes)

Refuses: nothing; it never chooses between two.
Keeps: what is found is a commune of today, or an arrondissement of Paris, Lyon or Marseille.
Source: `schemas/cog/README.md`.
"""

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Final

from schemas import places
from schemas.places import Place, Standing, departments_of, plain

MOST: Final = 8
"""How many places are offered to choose from."""
LONGEST: Final = 60
"""Characters of the longest name, with room; a longer one is no commune's."""
_POSTCODE: Final = re.compile(r"[0-9]{5}")
_CITIES: Final = {"PARIS": ("75056", "751"), "LYON": ("69123", "693"), "MARSEILLE": ("13055", "132")}
"""The communes with arrondissements, and how the codes of these begin; Lyon's are 69381 and on."""
_ARRONDISSEMENT: Final = re.compile(r"(PARIS|LYON|MARSEILLE) ([0-9]{1,2})(?: ?(?:E|EME|ER|ERE))?(?: ARRONDISSEMENT)?")
_ALIKE: Final = 0.78


@dataclass(frozen=True, slots=True)
class Found:
    """The one commune that is meant."""

    place: Place


@dataclass(frozen=True, slots=True)
class Several:
    """Communes of this name, or of this postcode, of which one is to be chosen."""

    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """`name` is part of one of these communes now."""

    name: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """No commune of this name there; `near`: those that may be meant."""

    near: tuple[Place, ...]


Finding = Found | Several | Joined | Nothing


def find(name: str, postcode: str = "") -> Finding:
    """The commune of a name, in the department of the postcode where one is told."""
    asked = plain(name[:LONGEST])
    if len(name) > LONGEST or not asked:
        return Nothing(of_postcode(postcode))
    within = departments_of(postcode) if _POSTCODE.fullmatch(postcode) else ("",)
    part = _part(asked, postcode)
    if part is not None:
        return Found(part)
    found = _of_name(asked, within)
    if len(found) > 1:
        same = [one for one in found if postcode in postcodes(one.code)]
        found = same if len(same) == 1 else found
    if found:
        return Found(found[0]) if len(found) == 1 else Several(tuple(found[:MOST]))
    joined = [(told, today) for told, today in _former().get(asked, ()) if today.code.startswith(within)]
    if joined:
        return Joined(joined[0][0], _once(today for _, today in joined))
    return Nothing(_near(asked, within, postcode))


def of_postcode(postcode: str) -> tuple[Place, ...]:
    """The communes of a postcode, the first ones by name."""
    codes = _by_postcode().get(postcode, ())
    found = [place for code in codes if (place := places.commune(code)) is not None and place.code == place.today]
    return tuple(sorted(found, key=lambda one: one.name)[:MOST])


def postcodes(code: str) -> tuple[str, ...]:
    """The postcodes of a commune of today or an arrondissement; none where we know none."""
    return _postcodes().get(code, ())


def _part(asked: str, postcode: str) -> Place | None:
    """An arrondissement, by its number or by its postcode."""
    told = _ARRONDISSEMENT.fullmatch(asked)
    if told is not None:
        city, number = told[1], int(told[2])
    elif asked in _CITIES and _POSTCODE.fullmatch(postcode):
        if postcode == "75116":
            return places.commune("75116")
        city, number = asked, int(postcode[3:])
    else:
        return None
    begins = _CITIES[city][1]
    code = f"{begins}{80 + number if city == 'LYON' else number:02}"
    found = places.commune(code)
    right = found is not None and (not _POSTCODE.fullmatch(postcode) or postcode in postcodes(code))
    return found if right else None


def _of_name(asked: str, within: tuple[str, ...]) -> list[Place]:
    return [place for place in _current().get(asked, ()) if place.code.startswith(within)]


def _near(asked: str, within: tuple[str, ...], postcode: str) -> tuple[Place, ...]:
    """By how alike the names are; where the whole country is asked, the first letter has to be right."""
    names = _beginning(asked[:1]) if within == ("",) else _names_in(within)
    begun = [name for name in names if name.startswith(f"{asked} ")][:MOST]
    alike = get_close_matches(asked, names, MOST, _ALIKE)
    found = [one for name in (*alike, *begun) for one in _of_name(name, within)]
    return _once([*found, *of_postcode(postcode)])


def _once(found: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(dict.fromkeys(found))[:MOST]


def _lines(name: str) -> list[list[str]]:
    text = gzip.decompress(files("schemas").joinpath(f"cog/{name}").read_bytes()).decode("utf-8")
    return [line.split("\t") for line in text.splitlines()]


@cache
def _current() -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place in places.all_current():
        found.setdefault(plain(place.name), []).append(place)
    return found


@cache
def _names_in(within: tuple[str, ...]) -> tuple[str, ...]:
    """The plain names of the communes of some departments."""
    return tuple(name for name, there in _current().items() if any(one.code.startswith(within) for one in there))


@cache
def _beginning(letter: str) -> tuple[str, ...]:
    """Those that begin with a letter."""
    return tuple(name for name in _current() if name[:1] == letter)


@cache
def _former() -> dict[str, list[tuple[str, Place]]]:
    """Communes that are part of another one, by their plain name: the name, and the commune of today."""
    found: dict[str, list[tuple[str, Place]]] = {}
    for _, today, name in _lines("former.tsv.gz"):
        place = places.commune(today)
        if place is not None and place.standing is Standing.CURRENT:
            found.setdefault(plain(name), []).append((name, place))
    return found


@cache
def _postcodes() -> dict[str, tuple[str, ...]]:
    return {code: tuple(told.split(" ")) for code, told in _lines("postcodes.tsv.gz")}


@cache
def _by_postcode() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for code, told in _postcodes().items():
        for postcode in told:
            found.setdefault(postcode, []).append(code)
    return {postcode: tuple(codes) for postcode, codes in found.items()}
