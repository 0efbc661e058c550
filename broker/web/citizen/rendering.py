"""Rendering: a page from its template, in one language, with the headers that every page has.

Refuses: a template that names what nobody gave it; a script or a style inside a page (the policy names no exception).
Keeps: whatever is filled in is escaped; a page of a person is kept by no cache; a form may be sent here alone, and to
who signs people in, where a page says so.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from broker.web.citizen import assets
from broker.web.citizen.words import Words, translations
from schemas.messages import Language

PREFIX: Final = "/espace"
STATIC: Final = f"{PREFIX}/fichiers"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
"""Designsystemet draws its icons in its style sheet (`data:`)."""

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a browser says `Origin: null` of our own forms
    "X-Frame-Options": "DENY",
}


SILENT: Final = POLICY.replace("connect-src 'self'", "connect-src 'none'")
"""Of a page whose script talks to nobody."""


def render(
    words: Words,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    *,
    form_to: tuple[str, ...] = (),
    silent: bool = False,
) -> Response:
    """A page as an answer. `form_to`: other origins to which a form of it may lead; `silent`: it talks to nobody."""
    said = {"words": words, "say": words.say, "count": words.count}
    text = environment(words.language).get_template(template).render(said | dict(values))
    policy = SILENT if silent else " ".join((POLICY, *form_to))
    headers = {**HEADERS, "Content-Language": words.language, "Content-Security-Policy": policy}
    return Response(text, status, headers, "text/html; charset=utf-8")


@cache
def environment(language: Language) -> Environment:
    """The templates of one language."""
    made = Environment(
        loader=PackageLoader("broker.web.citizen"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install: Callable[..., None] = made.install_gettext_translations  # type: ignore[attr-defined]
    install(translations(language), newstyle=True)
    made.policies["ext.i18n.trimmed"] = True
    made.globals.update(asset=_address_of, prefix=PREFIX)
    return made


def _address_of(name: str) -> str:
    return f"{STATIC}/{assets.name_of(name)}"
