"""Words: the sentences of the pages in the visitor's language, from a gettext catalogue; dates and numbers as people
there write them.

Refuses: nothing: a sentence that the catalogue does not know stays French. A test holds that it knows each.
Keeps: the source is French, so French needs no catalogue; `locales/en.po` is text that is read at the start, so a
checkout and a wheel need no build step.
"""

import gettext
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import cache
from importlib.resources import files
from typing import Final

from babel.dates import format_time, get_timezone
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from broker.shapes import day_in_words
from schemas.errors import Fault
from schemas.messages import Language, explain
from schemas.names import Instant, from_rfc3339

ZONE: Final = "Europe/Paris"
LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
_LOCALE: Final[Mapping[Language, str]] = {"fr": "fr_FR", "en": "en_GB"}


class _French(gettext.NullTranslations):
    """The source itself. Of zero and of one, French uses the singular."""

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The form for this number."""
        return singular if abs(number) < 2 else plural


@cache
def translations(language: Language) -> gettext.NullTranslations:
    """The sentences of one language, by their French."""
    if language == "fr":
        return _French()
    text = files("broker.web.citizen").joinpath("locales/en.po").read_bytes()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(text)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


OF_SOME: Final[Mapping[str, tuple[str, str]]] = {
    "ledger.not-sequenced-yet": (
        _("Ce reçu n'est pas encore prêt"),
        _("Le registre range ses entrées toutes les minutes. Revenez en arrière et réessayez dans un instant."),
    ),
}
"""Of codes whose own words are for whoever runs this: what is wrong, what to do."""
AGAIN: Final = _("Revenez en arrière et recommencez. Si cela ne change rien, écrivez-nous.")
"""In the place of a remedy that names one of our commands."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a page says in one language."""

    language: Language

    def say(self, french: str, **filled: object) -> str:
        """A sentence, with `{name}` filled."""
        told = translations(self.language).gettext(french)
        return told.format(**filled) if filled else told

    def count(self, singular: str, plural: str, number: int, **filled: object) -> str:
        """A sentence with `{number}`, in the form for it."""
        told = translations(self.language).ngettext(singular, plural, number)
        return told.format(number=self.number(number), **filled)

    def refusal(self, fault: Fault) -> tuple[str, str]:
        """What is wrong, and what to do: nothing that takes one of our commands."""
        if fault.code in OF_SOME:
            wrong, remedy = OF_SOME[fault.code]
            return self.say(wrong), self.say(remedy)
        told = explain(fault, self.language)
        return told.wrong, self.say(AGAIN) if "`unefois" in told.remedy else told.remedy

    def day(self, day: date | str) -> str:
        """A day as people write it: 1er décembre 2026. `day`: a date, or its ISO form."""
        given = date.fromisoformat(day) if isinstance(day, str) else day
        return day_in_words(given, self.language)

    def moment(self, at: Instant) -> str:
        """A day and a time of day in France."""
        when = datetime.fromtimestamp(at / 1000, tz=_zone())
        hour = format_time(when, "short", locale=_LOCALE[self.language])
        return self.say("{day} à {hour}", day=self.day(when.date()), hour=hour)

    def when(self, text: str) -> str:
        """As `moment`, for an instant as RFC 3339 has it."""
        at = from_rfc3339(text)
        return text if at is None else self.moment(at)

    def number(self, number: int) -> str:
        """A whole number with its separators."""
        return format_decimal(number, locale=_LOCALE[self.language])


def today(at: Instant) -> date:
    """The day that an instant falls on in France."""
    return datetime.fromtimestamp(at / 1000, tz=_zone()).date()


@cache
def _zone() -> tzinfo:
    return get_timezone(ZONE)
