"""List sources for the pages of Publik: what a field of a form may say, by the codes that a declaration needs.

    communes, countries                INSEE codes; 35 000 communes, so at most 50 for what was typed
    event-types                        every type, by its name
    address.changed/occupancy          the symbols of a field that has some, wherever it stands in the record

Refuses: another name, with those that there are.
Keeps: an entry is {"id", "text"}, as Publik reads it; `id=` gives one, `q=` those whose text has every word.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from schemas import described, places
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.messages import Language
from schemas.places import Place

MOST: Final = 50
Entry = dict[str, str]


def entries(name: str, query: Mapping[str, str], language: Language) -> list[Entry]:
    """The entries that `id` or `q` ask for, at most 50 communes. Raises Refused `publik.no-list`."""
    wanted, typed = query.get("id"), places.plain(query.get("q", ""))
    if name == "communes":
        known: Iterable[Place] = places.all_current()
        return _chosen(({"id": one.code, "text": f"{one.name} ({one.code[:2]})"} for one in known), wanted, typed)
    if name == "countries":
        return _chosen(({"id": one.code, "text": one.name} for one in places.all_countries()), wanted, typed, most=None)
    told = _symbols(name, language)
    return _chosen(told, wanted, typed, most=None)


def _symbols(name: str, language: Language) -> list[Entry]:
    known = builtin()
    if name == "event-types":
        return [{"id": each.event_type, "text": each.label[language]} for each in known.newest]
    type_name, _, field = name.partition("/")
    try:
        event = described.describe(known, described.find(known, type_name))
    except Refused:
        event = {"fields": []}
    found = next((one["symbols"] for one in _fields(event) if one["name"] == field and one["symbols"]), None)
    if found is None:
        raise Refused("publik.no-list", known="communes, countries, event-types, address.changed/occupancy")
    return [{"id": one["symbol"], "text": one["label"][language]} for one in found]


def _fields(of: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for one in of["fields"] or ():
        yield one
        yield from _fields(one)
        yield from _fields(one["items"] or {"fields": None})


def _chosen(known: Iterable[Entry], wanted: str | None, typed: str, most: int | None = MOST) -> list[Entry]:
    if wanted is not None:
        return [one for one in known if one["id"] == wanted]
    words = typed.split()
    found = [one for one in known if all(word in places.plain(one["text"]) for word in words)]
    if typed:
        found.sort(key=lambda one: _rank(places.plain(one["text"]), typed))
    return found[:most]


def _rank(text: str, typed: str) -> tuple[bool, int, str]:
    """The commune itself comes before longer names that begin with it, and those that only have it somewhere."""
    return not text.startswith(typed), len(text), text
