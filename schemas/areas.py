"""Areas: which territories hold a place: commune, intercommunality, department, region, France.

Administrations subscribe to areas; a declaration names places. `holding` leads from a place to every area that hears
of it, so that a subscription to a department is found by its code, and nobody goes through all subscriptions.

Refuses: to subscribe to a code that no place has (`areas.unknown`), or that none has any more (`areas.former`, with
the code of today); a place that is unknown is held by itself alone.
Keeps: an area hears what lies in it, never the other way: Paris hears of its arrondissements, and each of them of
itself alone. Codes of different kinds never coincide: a region has an R before its two digits, for 11 is a department.
Source: `schemas/cog/README.md`; docs/adr/0047. Military postal sectors: postcodes 00200 to 00899, ARMEES.
"""

import gzip
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from schemas import places
from schemas.errors import Refused
from schemas.places import FRANCE, Standing

MILITARY: Final = "00"
"""All military postal sectors together."""
CODE: Final = re.compile(r"[0-9A-Z]{2,9}")
"""What the code of an area looks like."""
SECTOR: Final = re.compile(r"00[2-8][0-9]{2}")
"""The postcode of a military postal sector."""


class AreaKind(Enum):
    """From the smallest to the largest."""

    COMMUNE = "commune"
    ARRONDISSEMENT = "arrondissement"
    """Municipal: of Paris, Lyon or Marseille."""
    SECTOR = "military-sector"
    INTERCOMMUNALITY = "intercommunality"
    """An EPCI with its own taxes, or the metropolis of Lyon, by its SIREN."""
    DEPARTMENT = "department"
    COLLECTIVITY = "overseas-collectivity"
    REGION = "region"
    COUNTRY = "country"


@dataclass(frozen=True, slots=True)
class Area:
    """A territory of today that an administration can subscribe to, with its French name."""

    code: str
    kind: AreaKind
    name: str


def area(code: str) -> Area | None:
    """The area of today with this code, or None."""
    found = _above().get(code) or _intercommunalities().get(code)
    if found is not None:
        return found
    if is_military_sector(code):
        return Area(code, AreaKind.SECTOR, f"Secteur postal militaire {code}")
    commune, country = places.commune(code), places.country(code)
    if commune is not None and commune.standing is not Standing.FORMER:
        part = commune.standing is Standing.PART
        return Area(code, AreaKind.ARRONDISSEMENT if part else AreaKind.COMMUNE, commune.name)
    if country is not None and country.standing is Standing.CURRENT:
        return Area(code, AreaKind.COUNTRY, country.name)
    return None


def is_military_sector(postcode: str) -> bool:
    """Whether this is the postcode of a military postal sector, 00200 to 00899."""
    return SECTOR.fullmatch(postcode) is not None


def subscribable(code: str) -> Area:
    """The area that an administration means by this code.

    Raises Refused `areas.former`, which tells the code of today, or `areas.unknown`.
    """
    found = area(code)
    if found is not None:
        return found
    before = places.commune(code) or places.country(code)
    if before is not None and before.today:
        today = places.commune(before.today) or places.country(before.today)
        name = before.name if today is None else today.name
        raise Refused("areas.former", territory=code, today=before.today, name=name)
    raise Refused("areas.unknown", territory=code)


@lru_cache(maxsize=50_000)
def holding(place: str) -> frozenset[str]:
    """Every area that hears of this place: its own code and those of all that it lies in."""
    if is_military_sector(place):
        return frozenset({place, MILITARY, FRANCE})
    commune = places.commune(place)
    if commune is None:
        country = places.country(place)
        return frozenset({place, country.today or place}) if country is not None else frozenset({place})
    today = commune.today
    department = department_of(today)
    above = _regions().get(department, "")
    found = {place, today, department, above, _members().get(today, ""), FRANCE}
    return frozenset(found - {""})


def heard_by(territories: Iterable[str]) -> frozenset[str]:
    """Every area that hears of one of these places."""
    return frozenset().union(*(holding(place) for place in territories))


def within(code: str, among: Collection[str]) -> bool:
    """Whether all of this area lies in these: every place of it is heard of by one of them. A code that no area has
    lies in itself alone.
    """
    if code in among or FRANCE in among:
        return True
    if code in _regions():
        return _regions()[code] in among
    if code in _intercommunalities():
        members = (commune for commune, of in _members().items() if of == code)
        return all(within(commune, among) for commune in members)
    if code in _above():
        parts = [department for department, region in _regions().items() if region == code]
        return bool(parts) and all(part in among for part in parts)
    return not holding(code).isdisjoint(among)


def department_of(commune: str) -> str:
    """The department or overseas collectivity of a commune of today: the first two characters, overseas three."""
    return commune[: 3 if commune.startswith(("97", "98")) else 2]


@cache
def _rows() -> tuple[tuple[str, str, str], ...]:
    text = files("schemas").joinpath("cog/areas.tsv").read_text("utf-8")
    return tuple((code, above, name) for code, above, name in (line.split("\t") for line in text.splitlines()))


@cache
def _above() -> MappingProxyType[str, Area]:
    found = {MILITARY: Area(MILITARY, AreaKind.SECTOR, "Secteurs postaux militaires")}
    for code, above, name in _rows():
        kind = AreaKind.DEPARTMENT if above else AreaKind.REGION if code[0] == "R" else AreaKind.COLLECTIVITY
        found[code] = Area(code, kind, name)
    return MappingProxyType(found)


@cache
def _regions() -> MappingProxyType[str, str]:
    """The region of each department."""
    return MappingProxyType({code: above for code, above, _ in _rows() if above})


@cache
def _lines() -> tuple[tuple[str, str, str], ...]:
    text = gzip.decompress(files("schemas").joinpath("cog/epci.tsv.gz").read_bytes()).decode("utf-8")
    return tuple((code, name, members) for code, name, members in (line.split("\t") for line in text.splitlines()))


@cache
def _intercommunalities() -> MappingProxyType[str, Area]:
    return MappingProxyType({code: Area(code, AreaKind.INTERCOMMUNALITY, name) for code, name, _ in _lines()})


@cache
def _members() -> MappingProxyType[str, str]:
    """The intercommunality of each commune that is in one."""
    return MappingProxyType({commune: code for code, _, members in _lines() for commune in members.split(" ")})
