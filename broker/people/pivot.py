"""Pivot identity: the six facts by which French administrations recognise a person, in one canonical form.

Refuses: what is no name, no date, no code, with the field's pointer; it never guesses and never repairs.
Keeps: two administrations that write the same person with other accents, case, hyphens, apostrophes or spaces get the
same bytes; canonical bytes never change between versions, for every subject reference is made from them. Nothing here
shows a value: no repr, no error.
Source: FranceConnect v2, "identité pivot"; COG (INSEE) for birthplace and country; UAX #15 (NFKD).

Canonical bytes: "unefois/pivot/v1" 0x00, then u16 length and ASCII text of each of family_name, given_names, birthdate,
gender, birthplace, birthcountry.

* Names: NFKD; œ and æ as two letters, ß as SS, letters with a stroke without it; accents dropped; upper case; every
  run of spaces, hyphens, apostrophes and full stops is one space. Only A to Z and single spaces remain; anything else
is refused. * All given names count, in their order: who knows only the first one speaks of somebody else.
* A birthdate may be partial (`1962`, `1962-08`); `1962-08-00` is `1962-08`.
* Born abroad, the birthplace is empty: FranceConnect gives none, and other sources repeat the country there.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

from schemas.errors import Refused

FRANCE: Final = "99100"
NAME_CHARACTERS: Final = 200

_DOMAIN: Final = b"unefois/pivot/v1\x00"
_LETTERS: Final = str.maketrans(
    {"œ": "OE", "Œ": "OE", "æ": "AE", "Æ": "AE", "ø": "O", "Ø": "O", "đ": "D", "Đ": "D", "ð": "D", "Ð": "D"}
    | {"ł": "L", "Ł": "L", "ħ": "H", "Ħ": "H", "þ": "TH", "Þ": "TH", "ı": "I", "ŧ": "T", "Ŧ": "T"}
)
_SEPARATORS: Final = re.compile(r"[\s\-‐‑‒–—―−'’‘ʼʹ`´.]+")
_NAME: Final = re.compile(r"[A-Z]+(?: [A-Z]+)*")
_BIRTHDATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_GENDERS: Final = frozenset({"male", "female", "unspecified"})
_COMMUNE: Final = re.compile(r"(?!99)[0-9][0-9AB][0-9]{3}")
_COUNTRY: Final = re.compile(r"99[0-9]{3}")


@dataclass(frozen=True, slots=True, repr=False)
class PivotIdentity:
    """A person as the civil registry knows them. `family_name` is the name at birth; `given_names` are all of them."""

    family_name: str
    given_names: tuple[str, ...]
    birthdate: str
    gender: str
    birthplace: str
    birthcountry: str


def canonical(identity: PivotIdentity) -> bytes:
    """The canonical bytes. Raises Refused: `identity.name`, `.birthdate`, `.gender`, `.birthplace`, `.birthcountry`."""
    names = [_name(name, f"/given_names/{index}") for index, name in enumerate(identity.given_names)]
    facts = (
        _name(identity.family_name, "/family_name"),
        " ".join(names),
        _birthdate(identity.birthdate),
        _gender(identity.gender),
        _birthplace(identity.birthplace, identity.birthcountry),
        _birthcountry(identity.birthcountry),
    )
    return _DOMAIN + b"".join(len(fact).to_bytes(2, "big") + fact.encode("ascii") for fact in facts)


def _name(name: str, pointer: str) -> str:
    if len(name) > NAME_CHARACTERS:
        raise Refused("identity.name", pointer, limit=NAME_CHARACTERS)
    decomposed = unicodedata.normalize("NFKD", name).translate(_LETTERS)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    shown = _SEPARATORS.sub(" ", bare.upper()).strip()
    if not _NAME.fullmatch(shown):
        raise Refused("identity.name", pointer, limit=NAME_CHARACTERS)
    return shown


def _birthdate(text: str) -> str:
    found = _BIRTHDATE.fullmatch(text)
    if not found:
        raise Refused("identity.birthdate", "/birthdate")
    year, month, day = found[1], found[2] or "00", found[3] or "00"
    if month == "00" and day != "00":
        raise Refused("identity.birthdate", "/birthdate")
    try:
        date(int(year), int(month) or 1, int(day) or 1)
    except ValueError:
        raise Refused("identity.birthdate", "/birthdate") from None
    return "-".join(part for part in (year, month, day) if part != "00")


def _gender(text: str) -> str:
    if text not in _GENDERS:
        raise Refused("identity.gender", "/gender")
    return text


def _birthplace(text: str, country: str) -> str:
    if country != FRANCE:
        if text not in ("", country):
            raise Refused("identity.birthplace", "/birthplace")
        return ""
    if not _COMMUNE.fullmatch(text):
        raise Refused("identity.birthplace", "/birthplace")
    return text


def _birthcountry(text: str) -> str:
    if not _COUNTRY.fullmatch(text):
        raise Refused("identity.birthcountry", "/birthcountry")
    return text
