"""Places typed: the commune, arrondissement or country that somebody writes into a field; where it is not clear, those
to choose from.

Refuses: to choose: a commune that became part of another one, or whose name several have, is chosen by the person.
Keeps: a choice counts only for what was offered for the same words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Final

from broker.web.citizen.typed import NO_COMMUNE, Wrong, read_postcode
from schemas import finding, places
from schemas.places import FRANCE, Place, plain


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


SEVERAL: Final = _("Plusieurs communes portent ce nom. Choisissez la vôtre dans la liste.")
JOINED: Final = _("{name} fait maintenant partie d'une autre commune. Choisissez-la dans la liste.")
NEAR: Final = _("Nous ne trouvons pas cette commune. Choisissez dans la liste, ou corrigez le nom et le code postal.")
NOWHERE: Final = _("Nous ne trouvons pas cette commune. Vérifiez le nom et le code postal.")
NO_COUNTRY: Final = _("Écrivez le nom d'un pays, par exemple Belgique.")
UNKNOWN_COUNTRY: Final = _("Nous ne trouvons pas ce pays. Choisissez un nom de la liste.")
IN_FRANCE: Final = _("Pour une adresse en France, revenez à la question d'avant.")


@dataclass(frozen=True)
class Unclear(Exception):
    """A place that is to be chosen."""

    wrong: Wrong
    offers: tuple[Place, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Town:
    """A commune with its postcode and the name that an address has."""

    place: Place
    postcode: str

    @property
    def city(self) -> str:
        """`Paris`, also for an arrondissement."""
        commune = places.commune(self.place.today)
        return self.place.name if commune is None else commune.name


def read_town(raw: Mapping[str, str], name: str = "commune", postcode: str = "code_postal") -> Town:
    """A commune by its name and postcode. Raises Wrong for a postcode that is none, Unclear for the commune."""
    code = read_postcode(postcode, raw.get(postcode, ""))
    return Town(read_commune(raw, name, code), code)


def read_commune(raw: Mapping[str, str], name: str, postcode: str) -> Place:
    """A commune by its name, in the department of a postcode; "" for the whole country. Raises Unclear."""
    typed = raw.get(name, "")
    found = finding.find(typed, postcode)
    if isinstance(found, finding.Found):
        return found.place
    if isinstance(found, finding.Nothing):
        offers, sentence = found.near, (NEAR if found.near else NOWHERE) if typed else NO_COMMUNE
    else:
        offers, sentence = found.places, SEVERAL if isinstance(found, finding.Several) else JOINED
    chosen = next((one for one in offers if one.code == raw.get(f"{name}_choisie")), None)
    if chosen is not None:
        return chosen
    joined = {"name": found.name} if isinstance(found, finding.Joined) else {}
    raise Unclear(Wrong(name, sentence, joined), offers)


def read_country(name: str, typed: str, *, abroad: bool = True) -> Place:
    """A country of today. Raises Wrong, Unclear. `abroad`: France is none."""
    if not typed:
        raise Wrong(name, NO_COUNTRY)
    known = _countries()
    found = known.get(plain(typed[:60]))
    if found is None:
        near = get_close_matches(plain(typed[:60]), known, 5, 0.7)
        raise Unclear(Wrong(name, UNKNOWN_COUNTRY), tuple(known[each] for each in near))
    if abroad and found.code == FRANCE:
        raise Wrong(name, IN_FRANCE)
    return found


def country_names() -> list[str]:
    """What a field for a country suggests."""
    return sorted(each.name for each in places.all_countries() if each.code != FRANCE)


@cache
def _countries() -> dict[str, Place]:
    return {plain(each.name): each for each in places.all_countries()}
