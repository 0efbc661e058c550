"""Pivot identity: the six facts by which French administrations recognise a person, in one canonical form.

Refuses: what is no name, no date, no code, with the field's pointer; letters of another alphabet, with a sentence of
their own; a person without a family name and without given names. It never guesses and never repairs.
Keeps: two administrations that write the same person with other accents, case, hyphens, apostrophes or spaces get the
same bytes; canonical bytes of a version never change, for every subject reference is made from them. Nothing here
shows a value: no repr, no error.
Source: FranceConnect v2, "identité pivot"; COG (INSEE) for birthplace and country; UAX #15 (NFKD); docs/adr/0051.

Canonical bytes: "unefois/pivot/v2" 0x00, then u16 length and ASCII text of each of family_name, given_names, birthdate,
gender, birthplace, birthcountry.

* Names: NFKD; œ and æ as two letters, ß as SS, letters with a stroke without it; accents dropped; upper case; spaces,
  hyphens (one or two), apostrophes, full stops and invisible characters dropped. Only A to Z remain. So LE GOFF is
  LEGOFF, D'ALMEIDA is DALMEIDA, DUPONT--MARTIN is DUPONT MARTIN, and Anne-Marie is Annemarie.
* All given names count, in their order: who knows only the first one speaks of somebody else.
* Who has no family name has an empty one, who has no given name has none; registers write SANS NOM, SNP, SANS PRENOM,
  SP or X. An empty name among the given names is a mistake.
* A birthdate may be partial (`1962`, `1962-08`); `1962-08-00` is `1962-08`.
* A birthplace is the commune of today that its code belongs to: 75114 is 75056, 20004 is 2A004, and 78646 before 1968
  what it became. A code that the shipped COG does not know stays as it is. 99999, 99100 and none: unknown, in France.
* Born abroad, the birthplace is empty: FranceConnect gives none, and other sources repeat the country there. A former
  country is the one of today, where that is one.

Version 1 ("unefois/pivot/v1") kept one space where version 2 has none, took the codes as they were, and wanted a family
name and a commune. It is made still, to find what is stored under it (`broker.directory.kin`).
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

from schemas import places
from schemas.errors import Refused

FRANCE: Final = "99100"
NAME_CHARACTERS: Final = 200

_FIRST: Final = b"unefois/pivot/v1\x00"
_SECOND: Final = b"unefois/pivot/v2\x00"
_LETTERS: Final = str.maketrans(
    {"œ": "OE", "Œ": "OE", "æ": "AE", "Æ": "AE", "ø": "O", "Ø": "O", "đ": "D", "Đ": "D", "ð": "D", "Ð": "D"}
    | {"ł": "L", "Ł": "L", "ħ": "H", "Ħ": "H", "þ": "TH", "Þ": "TH", "ı": "I", "ŧ": "T", "Ŧ": "T"}
)
_SEPARATORS: Final = re.compile(r"[\s\-‐‑‒–—―−'’‘ʼʹ`´.]+")
_DROPPED: Final = re.compile(r"[\s\-‐‑‒–—―−⁃'’‘‛ʼʹʻ′`´.\u00ad\u200b-\u200f\u2060\ufeff]+")
_NAME: Final = re.compile(r"[A-Z]+(?: [A-Z]+)*")
_BARE: Final = re.compile(r"[A-Z]+")
_BIRTHDATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_GENDERS: Final = frozenset({"male", "female", "unspecified"})
_COMMUNE: Final = re.compile(r"(?!99)[0-9][0-9AB][0-9]{3}")
_UNKNOWN: Final = frozenset({"", FRANCE, "99999"})
_NO_FAMILY_NAME: Final = frozenset({"", "SANSNOM", "SNP", "X", "XX", "XXX"})
_NO_GIVEN_NAME: Final = frozenset({"", "SANSPRENOM", "SP", "X", "XX", "XXX"})
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
    """The canonical bytes, version 2. Raises Refused: `identity.name`, `.alphabet`, `.nameless`, `.birthdate`,
    `.gender`, `.birthplace`, `.birthcountry`.
    """
    given = [_given(name, f"/given_names/{index}") for index, name in enumerate(identity.given_names)]
    family = _bare(identity.family_name, "/family_name")
    family = "" if family in _NO_FAMILY_NAME else family
    names = "".join(given)
    names = "" if names in _NO_GIVEN_NAME else names
    if not family and not names:
        raise Refused("identity.nameless", "/family_name")
    return _told(
        _SECOND,
        family,
        names,
        _birthdate(identity.birthdate),
        _gender(identity.gender),
        _birthplace_today(identity.birthplace, identity.birthcountry),
        _country_today(_birthcountry(identity.birthcountry)),
    )


def canonical_v1(identity: PivotIdentity) -> bytes | None:
    """The canonical bytes of version 1; None for who had none in it."""
    try:
        return _told(
            _FIRST,
            _name_v1(identity.family_name),
            " ".join(_name_v1(name) for name in identity.given_names),
            _birthdate(identity.birthdate),
            _gender(identity.gender),
            _birthplace_v1(identity.birthplace, identity.birthcountry),
            _birthcountry(identity.birthcountry),
        )
    except Refused:
        return None


def same_birth(one: PivotIdentity, other: PivotIdentity) -> bool:
    """Whether two identities have the same date of birth. Raises Refused `identity.birthdate`."""
    return _birthdate(one.birthdate) == _birthdate(other.birthdate)


def _told(domain: bytes, *facts: str) -> bytes:
    return domain + b"".join(len(fact).to_bytes(2, "big") + fact.encode("ascii") for fact in facts)


def _ascii(name: str, pointer: str) -> str:
    """Upper case, without accents: what is not of the Latin alphabet stays in it."""
    if len(name) > NAME_CHARACTERS:
        raise Refused("identity.name", pointer, limit=NAME_CHARACTERS)
    decomposed = unicodedata.normalize("NFKD", name).translate(_LETTERS)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).upper()


def _bare(name: str, pointer: str) -> str:
    """A to Z; nothing for a name of separators alone."""
    shown = _DROPPED.sub("", _ascii(name, pointer))
    if any(character.isalpha() and not character.isascii() for character in shown):
        raise Refused("identity.alphabet", pointer)
    if shown and not _BARE.fullmatch(shown):
        raise Refused("identity.name", pointer, limit=NAME_CHARACTERS)
    return shown


def _given(name: str, pointer: str) -> str:
    """One of the given names; who has none has no empty one."""
    shown = _bare(name, pointer)
    if not shown:
        raise Refused("identity.name", pointer, limit=NAME_CHARACTERS)
    return shown


def _name_v1(name: str) -> str:
    shown = _SEPARATORS.sub(" ", _ascii(name, "")).strip()
    if not _NAME.fullmatch(shown):
        raise Refused("identity.name")
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


def _birthplace_v1(text: str, country: str) -> str:
    if country != FRANCE:
        if text not in ("", country):
            raise Refused("identity.birthplace", "/birthplace")
        return ""
    if not _COMMUNE.fullmatch(text):
        raise Refused("identity.birthplace", "/birthplace")
    return text


def _birthplace_today(text: str, country: str) -> str:
    if country == FRANCE and text in _UNKNOWN:
        return ""
    place = places.commune(_birthplace_v1(text, country))
    return text if place is None and country == FRANCE else "" if place is None else place.today


def _country_today(code: str) -> str:
    place = places.country(code)
    return place.today if place is not None and place.today else code


def _birthcountry(text: str) -> str:
    if not _COUNTRY.fullmatch(text):
        raise Refused("identity.birthcountry", "/birthcountry")
    return text
