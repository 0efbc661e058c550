"""Refused: what a page says when something is not as it should be: what is wrong, and what to do, in plain words.

Refuses: to show a trace, a code's inside or a word of what was sent.
Keeps: every fault of an address below `/espace` is answered by a page, whoever found it: the frame, a route or the
framework. It asks no database, so it is shown when there is none.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request, Response

from broker.web.citizen import rendering
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.visit import language_of
from broker.web.citizen.words import Words
from schemas.errors import Fault


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


SAID: Final[Mapping[int, tuple[str, str]]] = {
    400: (_("Votre navigateur a envoyé une demande incomplète"), _("Revenez en arrière et recommencez.")),
    403: (
        _("Cette demande ne vient pas de votre page"),
        _("Par sécurité, rien n'a été fait. Revenez à l'accueil, puis recommencez depuis la page."),
    ),
    404: (_("Cette page n'existe pas"), _("Vérifiez l'adresse, ou revenez à l'accueil.")),
    405: (_("Cette page ne s'ouvre pas ainsi"), _("Revenez à l'accueil, puis recommencez.")),
    413: (_("Le texte envoyé est trop long"), _("Revenez en arrière et écrivez moins.")),
    429: (_("Trop de demandes en peu de temps"), _("Attendez une minute, puis rechargez la page.")),
    500: (
        _("Une erreur s'est produite chez nous"),
        _("Rien de ce que vous aviez confirmé n'est perdu. Réessayez plus tard."),
    ),
    503: (
        _("Le service est indisponible pour le moment"),
        _("Rien de ce que vous aviez confirmé n'est perdu. Réessayez dans quelques minutes."),
    ),
}
"""By status: what is wrong, what to do. A refusal that is not here says what its code says."""

OF_CODES: Final[Mapping[str, int]] = {"pages.form-token": 403, "pages.other-site": 403, "tracking.unknown": 404}


def error_page(fault: Fault, status: int, request: Request) -> Response:
    """The page for a fault."""
    words = Words(language_of(request))
    title, remedy = _said(fault, status, words)
    values: dict[str, Any] = {
        "citizen": None,
        "here": PREFIX,
        "home_name": "Unefois",
        "nav": [],
        "title": title,
        "remedy": remedy,
        "trace": request.scope.get("unefois.trace", ""),
    }
    return rendering.render(words, "error.html", values, status)


def _said(fault: Fault, status: int, words: Words) -> tuple[str, str]:
    known = SAID.get(status if status < 500 else 503 if status == 503 else 500)
    return words.refusal(fault) if known is None else (words.say(known[0]), words.say(known[1]))
