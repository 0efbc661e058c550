"""Formats: what a text must look like beyond being text. A schema names one by its property `format`.

Refuses: what is not written in its one canonical form. Nothing is mended: what is signed is what was meant, and the
    mapping that prepares a declaration is the place for tidying.
Keeps: one function for each format, pure, that raises `Refused` without the value; a former code of a place, which is
    right for a birth and doubtful for an address, is reported and not refused.
Source: INSEE COG; ISO 13616 (IBAN), ISO 9362 (BIC), E.164 (telephone), RFC 5321 (e-mail), SIREN/SIRET, NIR; BAN keys.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from stdnum import bic, iban
from stdnum.exceptions import ValidationError
from stdnum.fr import nir, siret

from schemas import areas, places
from schemas.errors import Detail, Refused

MIN_YEAR, MAX_YEAR = 1800, 2199
"""Years outside are typing errors: 0206-11-24."""


@dataclass(frozen=True, slots=True)
class Warning:
    """Something to look at, and no reason to refuse: a code listed in `codes.toml`, and the field's pointer."""

    code: str
    pointer: str = ""

    @property
    def details(self) -> Mapping[str, Detail]:
        """A warning holds no details; it is told like a fault (`messages.explain`)."""
        return {}


Format = Callable[[str], Warning | None]
"""Takes a text, gives a warning or None, raises Refused with an empty pointer."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PARTIAL = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN_PART = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z]{2})?")
_POSTCODE = re.compile(r"[A-Z0-9](?:[A-Z0-9 -]{0,8}[A-Z0-9])?")
_PLATE = re.compile(r"[A-Z]{2}-[0-9]{3}-[A-Z]{2}|[0-9]{1,4} [A-Z]{1,3} (?:[0-9]{2,3}|2[AB])")
_BAN_KEY = re.compile(r"(?:[0-9]{2}|2[AB])[0-9]{3}_[0-9a-z]{4,6}(?:_[0-9]{5}(?:_[0-9a-z]+)*)?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BAN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_ENDING = re.compile(r"[A-Z0-9]{4}")
_NIR = re.compile(r"[1-478](?:[0-9]{2})(?:0[1-9]|1[0-2]|[23][0-9]|4[0-2]|[5-9][0-9])(?:[0-9]{2}|2[AB])[0-9]{8}")


def _text(text: str) -> None:
    """Any text; `values` checks length and characters for every format."""


def _date(text: str) -> None:
    if not _DAY.fullmatch(text) or not _exists(text):
        raise Refused("values.date")


def _partial_date(text: str) -> None:
    if not _PARTIAL.fullmatch(text) or not _exists(text + "-01-01"[len(text) - 4 :]):
        raise Refused("values.partial-date")


def _exists(text: str) -> bool:
    try:
        return MIN_YEAR <= date.fromisoformat(text).year <= MAX_YEAR
    except ValueError:
        return False


def _iban(text: str) -> None:
    """With its check digits from 02 to 98: the library takes 01 for 98 and 99 for 02, which ISO 13616 does not."""
    try:
        canonical = iban.validate(text)
    except ValidationError:
        raise Refused("values.iban") from None
    if canonical != text or iban.calc_check_digits(text) != text[2:4]:
        raise Refused("values.iban")


def _bic(text: str) -> None:
    try:
        canonical = bic.validate(text)
    except ValidationError:
        raise Refused("values.bic") from None
    if canonical != text:
        raise Refused("values.bic")


def _siret(text: str) -> None:
    try:
        canonical = siret.validate(text)
    except ValidationError:
        raise Refused("values.siret") from None
    if canonical != text:
        raise Refused("values.siret")


def _nir(text: str) -> None:
    """15 characters with the key; the library checks the key alone, so sex and month are checked here."""
    if not _NIR.fullmatch(text):
        raise Refused("values.nir")
    try:
        nir.validate(text)
    except ValidationError:
        raise Refused("values.nir") from None


def _commune(text: str) -> Warning | None:
    if _commune_at_any_time(text).standing is places.Standing.FORMER:
        return Warning("values.former-commune")
    return None


def _commune_at_any_time(text: str) -> places.Place:
    place = places.commune(text)
    if place is None:
        raise Refused("values.commune")
    return place


def _country(text: str) -> Warning | None:
    if _country_at_any_time(text).standing is places.Standing.FORMER:
        return Warning("values.former-country")
    return None


def _country_at_any_time(text: str) -> places.Place:
    place = places.country(text)
    if place is None:
        raise Refused("values.country")
    return place


def _birth_commune(text: str) -> None:
    _commune_at_any_time(text)


def _birth_country(text: str) -> None:
    _country_at_any_time(text)


def _email(text: str) -> None:
    """An ASCII mailbox with a domain of two parts or more, in lower case, at most 254 characters."""
    local, _, domain = text.rpartition("@")
    parts = domain.split(".")
    sound = len(text) <= 254 and len(local) <= 64 and _EMAIL_LOCAL.fullmatch(local) and len(parts) > 1
    if not sound or not all(_DOMAIN_PART.fullmatch(part) for part in parts) or parts[-1].isdigit():
        raise Refused("values.email")


def _phone(text: str) -> None:
    if not _PHONE.fullmatch(text):
        raise Refused("values.phone")


def _postcode(text: str) -> None:
    if not _POSTCODE.fullmatch(text):
        raise Refused("values.postcode")


def _language(text: str) -> None:
    if not _LANGUAGE.fullmatch(text):
        raise Refused("values.language")


def _plate(text: str) -> None:
    if not _PLATE.fullmatch(text):
        raise Refused("values.vehicle-plate")


def _ban_key(text: str) -> None:
    if not _BAN_KEY.fullmatch(text):
        raise Refused("values.ban-key")


def _uuid(text: str) -> None:
    if not _UUID.fullmatch(text):
        raise Refused("values.uuid")


def _ban_id(text: str) -> None:
    if not _BAN_ID.fullmatch(text):
        raise Refused("values.ban-id")


def _military_sector(text: str) -> None:
    if not areas.is_military_sector(text):
        raise Refused("values.military-sector")


def _ending(text: str) -> None:
    if not _ENDING.fullmatch(text):
        raise Refused("values.iban-ending")


FORMATS: Mapping[str, Format] = {
    "text": _text,
    "date": _date,
    "partial-date": _partial_date,
    "iban": _iban,
    "iban-ending": _ending,
    "bic": _bic,
    "siret": _siret,
    "nir": _nir,
    "cog-commune": _commune,
    "cog-commune-ever": _birth_commune,
    "cog-country": _country,
    "cog-country-ever": _birth_country,
    "email": _email,
    "phone": _phone,
    "postcode": _postcode,
    "language": _language,
    "vehicle-plate": _plate,
    "ban-key": _ban_key,
    "uuid": _uuid,
    "ban-id": _ban_id,
    "military-sector": _military_sector,
}
"""Every format that a schema may name. `-ever`: a code of any time, as for a place of birth."""

PATTERNS: Mapping[str, str] = {
    "date": _DAY.pattern,
    "partial-date": _PARTIAL.pattern,
    "iban-ending": _ENDING.pattern,
    "nir": _NIR.pattern,
    "phone": _PHONE.pattern,
    "postcode": _POSTCODE.pattern,
    "language": _LANGUAGE.pattern,
    "vehicle-plate": _PLATE.pattern,
    "ban-key": _BAN_KEY.pattern,
    "uuid": _UUID.pattern,
    "ban-id": _BAN_ID.pattern,
    "military-sector": areas.SECTOR.pattern,
}
"""The pattern of a whole text, where a format has one. A date must also exist, a number have its check digits."""

REFUSALS: Mapping[str, str] = {
    **{name: f"values.{name}" for name in FORMATS if name != "text" and not name.startswith("cog-")},
    "cog-commune": "values.commune",
    "cog-commune-ever": "values.commune",
    "cog-country": "values.country",
    "cog-country-ever": "values.country",
}
"""The code of a text that does not have the format; its sentences say how to write one."""
