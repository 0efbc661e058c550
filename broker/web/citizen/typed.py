"""Typed: what people write into a field, read as what they mean: a day, a street with its number, a telephone, a name.

    read_day("12 mars", today)     ──► 2027-03-12         read_phone("06 12 34 56 78") ──► "+33612345678"
    read_street("12 bis rue X")    ──► ("12", "bis", "rue X")

Refuses: what can be read in two ways, or in none, with `Wrong`: the sentence says what to write.
Keeps: pure; nothing is guessed that the person does not see again before they send it.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from schemas.errors import Refused
from schemas.formats import FORMATS


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


@dataclass(frozen=True)
class Wrong(Exception):
    """What is wrong with a field of this name, in French (the catalogue has the English), with what fills it."""

    name: str
    sentence: str
    filled: Mapping[str, object] = field(default_factory=dict)


_MONTHS: Final[Mapping[str, int]] = {
    name: number
    for names in (
        "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
        "january february march april may june july august september october november december",
        "janv fevr mar avr mai juin juil aou sept oct nov dec",
        "jan feb mar apr may jun jul aug sep oct nov dec",
    )
    for number, name in enumerate(names.split(), 1)
}
_NEAR_DAYS: Final = {
    "aujourd'hui": 0,
    "aujourdhui": 0,
    "today": 0,
    "demain": 1,
    "tomorrow": 1,
    "hier": -1,
    "yesterday": -1,
}
_BESIDE: Final = frozenset(
    {"le", "the", "of"}
    | {"lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"}
    | {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
)
"""Words of a date that say nothing more about it."""
_ISO: Final = re.compile(r"(\d{4})[-/. ](\d{1,2})[-/. ](\d{1,2})")
_NUMBERS: Final = re.compile(r"(\d{1,2})(?:er)?[-/. ]+(\d{1,2})(?:[-/. ]+(\d{4}|\d{2}))?")
_RUN: Final = re.compile(r"(\d{2})(\d{2})(\d{4})")
_WORDS: Final = re.compile(r"(\d{1,2})(?:er|st|nd|rd|th)? ?([a-z]+)\.?,?(?: (\d{4}|\d{2}))?")
_MONTH_FIRST: Final = re.compile(r"([a-z]+)\.? (\d{1,2})(?:st|nd|rd|th)?,?(?: (\d{4}|\d{2}))?")

EMPTY_DAY: Final = _("Écrivez une date, par exemple 12/3/2026 ou 12 mars 2026.")
NO_DAY: Final = _("Cette date n'est pas lisible. Écrivez le jour, le mois et l'année, par exemple 12/3/2026.")
NEVER: Final = _("Ce jour n'existe pas. Vérifiez le jour et le mois.")
SHORT_YEAR: Final = _("Écrivez l'année en quatre chiffres, par exemple 1985.")
FAR: Final = _("Cette date est trop éloignée. Vérifiez l'année.")
FUTURE: Final = _("Cette date est dans le futur. Vérifiez l'année.")


def read_day(name: str, typed: str, today: date, *, birth: bool = False) -> date:
    """A day. Without a year: the nearest to today. `birth`: it is past, and its year has four digits. Raises Wrong."""
    told = _plain(typed)
    if not told:
        raise Wrong(name, EMPTY_DAY)
    if told in _NEAR_DAYS and not birth:
        return today + timedelta(days=_NEAR_DAYS[told])
    year, month, day = _parts(name, told)
    if birth and (year is None or len(year) < 4):
        raise Wrong(name, SHORT_YEAR)
    if year is None:
        return _nearest(name, month, day, today)
    made = _day(name, int(year) + (2000 if len(year) == 2 else 0), month, day)
    if birth and made > today:
        raise Wrong(name, FUTURE)
    if abs((made - today).days) > (130 if birth else 5) * 366:
        raise Wrong(name, FAR)
    return made


def _parts(name: str, told: str) -> tuple[str | None, int, int]:
    if found := _ISO.fullmatch(told):
        return found[1], int(found[2]), int(found[3])
    if found := _NUMBERS.fullmatch(told) or _RUN.fullmatch(told):
        return found[3], int(found[2]), int(found[1])
    if (found := _WORDS.fullmatch(told)) and found[2] in _MONTHS:
        return found[3], _MONTHS[found[2]], int(found[1])
    if (found := _MONTH_FIRST.fullmatch(told)) and found[1] in _MONTHS:
        return found[3], _MONTHS[found[1]], int(found[2])
    raise Wrong(name, NO_DAY)


def _day(name: str, year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise Wrong(name, NEVER) from None


def _nearest(name: str, month: int, day: int, today: date) -> date:
    found = []
    for year in (today.year - 1, today.year, today.year + 1):
        try:
            found.append(date(year, month, day))
        except ValueError:
            continue  # 29 February
    if not found:
        raise Wrong(name, NEVER)
    return min(found, key=lambda one: abs((one - today).days))


def _plain(typed: str) -> str:
    letters = unicodedata.normalize("NFKD", typed.replace("’", "'").lower())
    told = "".join(each for each in letters if not unicodedata.combining(each))
    return " ".join(each for each in told.split() if each.rstrip(",.") not in _BESIDE)


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────

_HOUSE: Final = re.compile(
    r"(?:n°|n ?o|no|numero)? ?(\d{1,5}) ?(bis|ter|quater|quinquies|[a-z])?[ ,]+(.*\S)", re.IGNORECASE
)
NO_STREET: Final = _("Écrivez le numéro et la rue, ou le nom du lieu-dit.")
ONLY_NUMBER: Final = _("Écrivez le nom de la rue après le numéro.")
NO_POSTCODE: Final = _("Écrivez le code postal en cinq chiffres, par exemple 35000.")
NO_COMMUNE: Final = _("Écrivez le nom de la commune.")


def read_street(name: str, typed: str) -> tuple[str | None, str | None, str]:
    """Number, repetition and street. Raises Wrong."""
    if not typed:
        raise Wrong(name, NO_STREET)
    if re.fullmatch(r"[\d ,.]+(bis|ter|quater)?", typed, re.IGNORECASE):
        raise Wrong(name, ONLY_NUMBER)
    found = _HOUSE.fullmatch(typed)
    if found is None:
        return None, None, read_text(name, typed, 100)
    return found[1], found[2] or None, read_text(name, found[3], 100)


def read_postcode(name: str, typed: str) -> str:
    """Five digits. Raises Wrong."""
    told = typed.replace(" ", "").upper().removeprefix("F-")
    if re.fullmatch(r"[0-9]{5}", told) is None:
        raise Wrong(name, NO_POSTCODE)
    return told


# ── texts, names, telephones ────────────────────────────────────────────────────────────────────────────────────────

MISSING: Final = _("Ce champ est vide. Écrivez une réponse.")
TOO_LONG: Final = _("Ce texte est trop long : {limit} caractères au plus.")
MANY_NAMES: Final = _("Écrivez {limit} prénoms au plus.")
MANY_LINES: Final = _("Écrivez {limit} lignes au plus.")
SYMBOL: Final = _("Écrivez avec des lettres et des chiffres, sans image ni symbole.")
NO_PHONE: Final = _("Écrivez un numéro de téléphone, par exemple 06 12 34 56 78 ou +32 470 12 34 56.")
NO_EMAIL: Final = _("Écrivez une adresse électronique, par exemple nom@exemple.fr.")
NO_NAME: Final = _("Écrivez un nom avec des lettres, comme sur la pièce d'identité.")
_ANGLES: Final = frozenset('<>{}[]\\^`|~"')


def read_text(name: str, typed: str, limit: int) -> str:
    """A text of letters, numbers and punctuation. Raises Wrong."""
    if not typed:
        raise Wrong(name, MISSING)
    if len(typed) > limit:
        raise Wrong(name, TOO_LONG, {"limit": limit})
    if any(not _is_word(each) for each in typed):
        raise Wrong(name, SYMBOL)
    return typed


def _is_word(character: str) -> bool:
    return character not in _ANGLES and (unicodedata.category(character)[0] in "LMNPZ" or character in "°+№")


def read_name(name: str, typed: str, limit: int = 100) -> str:
    """A name of a person. Raises Wrong."""
    told = read_text(name, typed, limit)
    if not any(each.isalpha() for each in told) or any(each.isdigit() for each in told):
        raise Wrong(name, NO_NAME)
    return told


def read_given_names(name: str, typed: str) -> list[str]:
    """Given names, between which people write spaces or commas; a hyphen joins. Raises Wrong."""
    told = [each for each in re.split(r"[,;\s]+", typed) if each]
    if not told:
        raise Wrong(name, MISSING)
    if len(told) > 20:
        raise Wrong(name, MANY_NAMES, {"limit": 20})
    return [read_name(name, each, 60) for each in told]


def read_phone(name: str, typed: str) -> str:
    """With + and the country's prefix; ten digits are French. Raises Wrong."""
    told = re.sub(r"[\s.\-()/]", "", typed)
    if re.fullmatch(r"0[1-9][0-9]{8}", told):
        told = f"+33{told[1:]}"
    told = f"+{told[2:]}" if told.startswith("00") else told.replace("+330", "+33", 1)
    return _formatted(name, "phone", told, NO_PHONE)


def read_email(name: str, typed: str) -> str:
    """With its domain in small letters. Raises Wrong."""
    local, at, domain = typed.rpartition("@")
    return _formatted(name, "email", f"{local}{at}{domain.lower()}", NO_EMAIL)


def _formatted(name: str, form: str, told: str, sentence: str) -> str:
    if len(told) > 254:
        raise Wrong(name, TOO_LONG, {"limit": 254})
    try:
        FORMATS[form](told)
    except Refused:
        raise Wrong(name, sentence) from None
    return told
