"""French postal addresses: six lines of 38 characters out of named parts, and parts out of an agency's lines.

Refuses: to shorten beyond the official abbreviations. A line that is still too long is named, never cut; so is a word
         that has no line. Only the second number of `12/14` is left out, as the standard has it.
Keeps: no blank line, no punctuation from line 4 on, the last three lines in unaccented capitals, CEDEX never dropped;
       a seventh line, the country, only abroad. What is too long for line 2 goes on in line 3 where that is free, and
       the other way round; it is parted between words.
Source: NF Z10-011 and La Poste's advice as summarised in docs (the standard's own text is sold): lines 1 person,
        2 flat or floor, 3 building, 4 number and street, 5 place or PO box, 6 postcode and town.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

from connectors.text import ascii_letters, squeeze
from schemas import finding, places
from schemas.errors import Refused

WIDTH = 38
"""Characters of one line, spaces included."""
STREET_WIDTH = 32
"""Characters of a street's label above which it is abbreviated."""

PARTS = (
    *("name", "care_of", "inside", "building", "number", "repetition", "street", "place", "postcode", "city"),
    "country",
)
"""What an address may be made of; `country` is given abroad only, and makes line 7."""

_ABBREVIATIONS = (
    ("ALLEE", "ALL"), ("AVENUE", "AV"), ("BOULEVARD", "BD"), ("CHEMIN", "CHE"), ("COURS", "CRS"), ("FAUBOURG", "FG"),
    ("IMPASSE", "IMP"), ("LOTISSEMENT", "LOT"), ("PASSAGE", "PAS"), ("PLACE", "PL"), ("RESIDENCE", "RES"),
    ("ROUTE", "RTE"), ("SQUARE", "SQ"), ("ZONE ARTISANALE", "ZA"), ("ZONE INDUSTRIELLE", "ZI"), ("CAPITAINE", "CNE"),
    ("COLONEL", "COL"), ("COMMANDANT", "CDT"), ("DOCTEUR", "DR"), ("GENERAL", "GAL"), ("LIEUTENANT", "LT"),
    ("MARECHAL", "MAL"), ("PRESIDENT", "PDT"), ("PROFESSEUR", "PR"), ("SAINTE", "STE"), ("SAINT", "ST"),
)  # fmt: skip
_OF_CATALOGUE = {
    "inside": "dwelling",
    "building": "building",
    "number": "housenumber",
    "repetition": "repetition",
    "street": "street",
    "postcode": "postcode",
    "city": "city",
}
_RANGE = re.compile(r"([0-9]+ ?[A-Z]*) ?[-/] ?[0-9]+ ?[A-Z]*", re.IGNORECASE)
_REPETITIONS = {"BIS": "B", "TER": "T", "QUATER": "Q", "QUINQUIES": "C"}
_NUMBER = re.compile(
    r"([0-9]{1,5})(?:[-/][0-9]{1,5})?(?:\s*(BIS|TER|QUATER|QUINQUIES|[A-Z](?=[\s,])))?[\s,]+(?=\S)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_PLACE = re.compile(r"((?:[0-9]{2}|2[AB])[0-9]{3})\s+(\S.*)", re.IGNORECASE | re.DOTALL)


def address_slots(parts: Mapping[str, object]) -> list[str | None]:
    """Lines 1 to 6 at their fixed places, null where there is nothing to say; a seventh abroad.

    Raises Refused: an unknown part, a line over 38 characters after abbreviation (with its number), no last line.
    """
    told = _texts(parts)
    country = told.get("country")
    lines: list[str | None] = [
        told.get("name"),
        *_fitted(*_upper_lines(told)),
        _street_line(told),
        _saint(_plain(told.get("place"))),
        _saint(_plain(" ".join(part for part in (told.get("postcode"), told.get("city")) if part))),
    ]
    if country is not None:
        lines.append(_plain(country))
    if not lines[5]:
        raise Refused("mapping.address-no-city")
    _check_widths(lines)
    return lines


def _upper_lines(told: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Lines 2 and 3: at whose place and where inside, then the building."""
    care_of, inside, building = (told.get(name) for name in ("care_of", "inside", "building"))
    if care_of is None:
        return inside, building
    if not care_of.lower().startswith("chez "):
        care_of = f"chez {care_of}"
    if inside is not None and building is None and len(f"{care_of} {inside}") > WIDTH:
        return care_of, inside
    return " ".join(part for part in (care_of, inside) if part), building


def _fitted(second: str | None, third: str | None) -> tuple[str | None, str | None]:
    """One of these two lines where the other is free: over both, where it is too long for its own."""
    whole = second or third or ""
    if (second and third) or len(whole) <= WIDTH:
        return second, third
    at = whole.rfind(" ", 0, WIDTH + 1)
    return (second, third) if at < 0 else (whole[:at], whole[at + 1 :])


def _check_widths(lines: Sequence[str | None]) -> None:
    for number, line in enumerate(lines, start=1):
        if line is not None and len(line) > WIDTH:
            raise Refused("mapping.address-line", line=number, length=len(line), limit=WIDTH)


def address_lines(parts: Mapping[str, object]) -> list[str]:
    """The lines to print, without blank ones."""
    return [line for line in address_slots(parts) if line]


def postal_slots(address: Mapping[str, object], name: object = None, care_of: object = None) -> list[str | None]:
    """The slots of an address of the catalogue (`fr.unefois.Address`), with who is written to and at whose place.

    In France by its parts, or by its own `lines` where it has neither street nor place; abroad by its `lines`, with the
    country's French name as line 7.
    """
    if address.get("country") != places.FRANCE:
        return _abroad(address, name, care_of)
    place = " ".join(str(part) for part in (address.get("locality"), address.get("po_box")) if part)
    told = {part: address.get(name) for part, name in _OF_CATALOGUE.items()}
    own = _own_lines(address)
    if own and not place and not told["street"]:
        return _by_lines(told, own, name, care_of)
    slots = address_slots({**told, "name": name, "care_of": care_of, "place": place})
    if own and set(_words(*own)) - set(_words(*slots, *map(str, filter(None, told.values())), place)):
        raise Refused("mapping.address-words")
    return slots


def _own_lines(address: Mapping[str, object]) -> list[str]:
    lines = address.get("lines") or []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Refused("mapping.argument", function="postal_slots", wanted="text")
    return [line for line in map(squeeze, lines) if line]


def _words(*texts: str | None) -> list[str]:
    return (_saint(_plain(" ".join(filter(None, texts)))) or "").split()


def _by_lines(told: Mapping[str, object], own: Sequence[str], name: object, care_of: object) -> list[str | None]:
    """An address in France that has only its lines: they stand above the town, which they may repeat."""
    town = _words(*(str(part) for part in (told["postcode"], told["city"]) if part))
    rest = [line for line in own if _words(line) != town]
    free = [part for part in ("street", "building", "inside") if not told[part]]
    if len(rest) > len(free):
        raise Refused("mapping.address-words")
    return address_slots({**told, **dict(zip(free, reversed(rest), strict=False)), "name": name, "care_of": care_of})


def _abroad(address: Mapping[str, object], name: object, care_of: object) -> list[str | None]:
    """Its own lines, next to one another before the country."""
    found = places.country(str(address.get("country")))
    own = [_plain(line) for line in _own_lines(address)]
    who = _texts({"name": name, "care_of": care_of})
    if "care_of" in who:
        own.insert(0, _plain(_upper_lines(who)[0]))
    if found is None or not 0 < len(own) <= 5:
        raise Refused("mapping.address-abroad")
    slots = [who.get("name"), *[None] * (5 - len(own)), *own, _plain(found.name)]
    _check_widths(slots)
    return slots


def postal_lines(address: Mapping[str, object], name: object = None, care_of: object = None) -> list[str]:
    """The lines to print of an address of the catalogue, without blank ones."""
    return [line for line in postal_slots(address, name, care_of) if line]


def postal_columns(address: Mapping[str, object], name: object = None, care_of: object = None) -> dict[str, str | None]:
    """The same as columns of a table: `l1` to `l6`, and `l7`, the country, null in France."""
    slots = postal_slots(address, name, care_of)
    return {f"l{number}": slots[number - 1] if number <= len(slots) else None for number in range(1, 8)}


def addressee(given: object, family: str) -> str:
    """Line 1 of a person: all given names and the family name where they fit, else the first one, else its initial.

    The family name is whole. Raises Refused where it does not fit even so.
    """
    names = [squeeze(str(name)) for name in (given if isinstance(given, list) else [given]) if name]
    shorter = [" ".join(names), *(names[:1]), *(f"{name[0]}." for name in names[:1] if name)]
    tried = [squeeze(f"{first} {family}") for first in shorter]
    fitting = next((line for line in tried if len(line) <= WIDTH), None)
    if fitting is None:
        raise Refused("mapping.address-line", line=1, length=len(tried[-1]), limit=WIDTH)
    return fitting


def commune_name(code: str) -> str:
    """`Nantes` of `44109`; of a former code, the commune it belongs to now. Raises Refused for an unknown one."""
    return _commune(code).name


def commune_today(code: str) -> str:
    """The code of the commune that a code belongs to now: itself, most often."""
    return _commune(code).today


def commune_code(name: str, postcode: object = None) -> str:
    """The code of the commune of today, or arrondissement, that a name means, in the department of the postcode.

    A former commune's name leads to the one it belongs to now. Raises Refused where none or several are meant.
    """
    found = finding.find(name, postcode if isinstance(postcode, str) else "")
    match found:
        case finding.Found(place) | finding.Joined(_, (place,)):
            return place.code
        case finding.Several(several) | finding.Joined(_, several):
            raise Refused("mapping.place-ambiguous", count=len(several))
        case _:
            raise Refused("mapping.no-such-place")


def country_code(name: str) -> str:
    """`99109` of `Allemagne`, however it is spelled. Raises Refused for an unknown name, and one of several."""
    codes = _countries().get(places.plain(name), ())
    if not codes:
        raise Refused("mapping.no-such-place")
    if len(codes) > 1:
        raise Refused("mapping.place-ambiguous", count=len(codes))
    return codes[0]


@cache
def _countries() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for place in places.all_countries():
        name = places.plain(place.name)
        found[name] = (*found.get(name, ()), place.code)
    return found


def country_name(code: str) -> str:
    """`France` of `99100`. Raises Refused for an unknown code."""
    found = places.country(code)
    if found is None:
        raise Refused("mapping.unknown-place")
    return found.name


def _commune(code: str) -> places.Place:
    found = places.commune(code)
    if found is None:
        raise Refused("mapping.unknown-place")
    return found


def postcode_of(text: str) -> str:
    """`44000` of `44000 NANTES`. Raises Refused when the text does not begin with a postcode."""
    return _split_place(text)[0]


def city_of(text: str) -> str:
    """`NANTES` of `44000 NANTES`."""
    return _split_place(text)[1]


def number_of(text: str) -> str | None:
    """`42` of `42 BIS RUE DE LA PAIX`; of `12/14 RUE` the first; null where there is none."""
    match = _NUMBER.fullmatch(squeeze(text))
    return None if match is None else match[1]


def repetition_of(text: str) -> str | None:
    """`BIS` of `42 BIS RUE DE LA PAIX`; null where there is none."""
    match = _NUMBER.fullmatch(squeeze(text))
    return None if match is None else match[2]


def street_of(text: str) -> str:
    """`RUE DE LA PAIX` of `42 BIS RUE DE LA PAIX`; the whole text where there is no number."""
    plain = squeeze(text)
    match = _NUMBER.fullmatch(plain)
    return plain if match is None else match[3]


def _split_place(text: str) -> tuple[str, str]:
    match = _PLACE.fullmatch(squeeze(text))
    if match is None:
        raise Refused("mapping.place")
    return match[1].upper(), match[2]


def _texts(parts: Mapping[str, object]) -> dict[str, str]:
    """The given parts as squeezed texts; null and empty ones left out."""
    told: dict[str, str] = {}
    for name, part in parts.items():
        if name not in PARTS:
            raise Refused("mapping.address-part", part=name)
        if part is None:
            continue
        if not isinstance(part, str | int) or isinstance(part, bool):
            raise Refused("mapping.argument", function="address_lines", wanted="text")
        text = squeeze(str(part))
        if text:
            told[name] = text
    return told


def _plain(text: str | None) -> str | None:
    """Unaccented capitals without punctuation."""
    if text is None:
        return None
    return squeeze(re.sub(r"[^A-Z0-9 ]", " ", ascii_letters(text).upper())) or None


def _saint(text: str | None) -> str | None:
    if text is None:
        return None
    return re.sub(r"\bSAINT(E?)\b", lambda match: "STE" if match[1] else "ST", text)


def _street_line(told: Mapping[str, str]) -> str | None:
    street = _abbreviated(_plain(told.get("street")) or "")
    number = told.get("number", "")
    of_two = _RANGE.fullmatch(number)
    number = number if of_two is None else of_two[1]
    repetition = told.get("repetition", "").upper()
    label = _plain(f"{number} {_REPETITIONS.get(repetition, repetition)}") or ""
    # A number such as "5 bis" arrives in one piece from many systems.
    label = re.sub(r"^([0-9]+) ?(BIS|TER|QUATER|QUINQUIES)$", lambda m: f"{m[1]} {_REPETITIONS[m[2]]}", label)
    return f"{label} {street}".strip() or None


def _abbreviated(street: str) -> str:
    for long, short in _ABBREVIATIONS:
        if len(street) <= STREET_WIDTH:
            break
        street = re.sub(rf"\b{long}\b", short, street, count=1)
    return street
