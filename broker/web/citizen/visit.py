"""Visit: one request of a browser: who sits there, in which language, what they sent, and how they are answered.

Refuses: a form that does not come from our own page (`guard`), that is no form, or that has too many fields.
Keeps: a page that needs somebody is shown to somebody alone; who is not signed in is led to where they can, and back.
Cookies hold no word about a person: `session` a secret, `visite` another one for whoever has not signed in, `langue`
the language.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Request, Response

from broker.citizens.citizen import Citizen
from broker.services.citizens import signing_in
from broker.setup.wiring import Home
from broker.web.citizen import guard, rendering
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.words import LANGUAGES, Words
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import DeclarationId

SESSION: Final = "session"
VISIT: Final = "visite"
LANGUAGE: Final = "langue"
YEAR: Final = 365 * 24 * 3600
SIGN_IN: Final = f"{PREFIX}/connexion"
FRANCECONNECT: Final = f"{SIGN_IN}/franceconnect"
ATTEMPT: Final = "attempt"
ATTEMPT_SECONDS: Final = 600
"""The cookie of a sign-in that is under way, and how long it may take."""
FIELDS: Final = 200
"""In one form."""
MOST: Final = 2000
"""Characters of one field that are kept; every field takes fewer, and says so."""
FORM: Final = "application/x-www-form-urlencoded"
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEALED: Final = re.compile(r"[A-Za-z0-9_.-]{16,3500}")
_PLACE: Final = re.compile(r"/espace(/[a-z0-9_-]+(\.[a-z0-9_-]+)*)*/?")


@dataclass(kw_only=True)
class Visit:
    """One request. `citizen`: who is signed in, None for nobody; `form`: what was sent, each field's values."""

    request: Request
    home: Home
    words: Words
    secret: str
    """Of the cookie that form tokens are bound to."""
    fresh: bool = False
    """Whether that cookie is new."""
    citizen: Citizen | None = None
    form: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where the browser is."""
        return str(self.request.url.path)

    @cached_property
    def who(self) -> Citizen:
        """Who is signed in, on a page that needs somebody."""
        if self.citizen is None:
            raise Refused("pages.signed-out")
        return self.citizen

    def sent(self, name: str) -> str:
        """What was typed into a field, tidied; empty where it was not sent."""
        told = self.form.get(name, [])
        return told[-1] if told else ""

    def asked(self, name: str) -> str:
        """A parameter of the address; empty where there is none."""
        return self.request.query_params.get(name, "")[:MOST]

    def cookie(self, name: str) -> str | None:
        """A cookie of ours that looks like one."""
        return _cookie(self.request, name)

    @property
    def attempt(self) -> str | None:
        """What the cookie of a sign-in that is under way carries."""
        told = self.request.cookies.get(guard.cookie_name(self.request, ATTEMPT))
        return told if told is not None and _SEALED.fullmatch(told) else None

    @property
    def has_franceconnect(self) -> bool:
        """Whether FranceConnect is a way in."""
        return self.home.settings.citizen_url is not None and bool(self.home.franceconnect.doors)

    @property
    def is_over(self) -> bool:
        """Whether the browser still has the cookie of a session that ended."""
        return self.citizen is None and self.cookie(SESSION) is not None

    def page(
        self, template: str, status: int = 200, *, form_to: tuple[str, ...] = (), silent: bool = False, **values: Any
    ) -> Response:
        """The answer with a page."""
        around = self._around() | values
        form_to = (*form_to, *providers(self.home))  # to sign in and out a form leads there
        return rendering.render(self.words, template, around, status, form_to=form_to, silent=silent)

    def _around(self) -> dict[str, Any]:
        return {
            "citizen": self.citizen,
            "contact": self.home.settings.contact,
            "here": self.path,
            "home_name": self.home.settings.name,
            "nav": NAVIGATION,
            "token": lambda path: guard.token(self.secret, path),
            "token_field": guard.FIELD,
        }

    def go(self, place: str) -> Response:
        """To another page of ours, which the browser asks for by GET."""
        return Response(status_code=303, headers={**rendering.HEADERS, "Location": place})

    def keep(self, answer: Response, name: str, value: str, seconds: int | None = None) -> None:
        """Give the browser a cookie: for so many seconds, or until it is closed."""
        answer.set_cookie(
            guard.cookie_name(self.request, name),
            value,
            max_age=seconds,
            path="/",
            secure=not guard.is_plain(self.request),
            httponly=True,
            samesite="lax",
        )

    def drop(self, answer: Response, name: str) -> None:
        """Take a cookie away."""
        self.keep(answer, name, "", 0)


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


NAVIGATION: Final = (
    (PREFIX, _("Accueil")),
    (f"{PREFIX}/demenager", _("Je déménage")),
    (f"{PREFIX}/demarches", _("Mes démarches")),
    (f"{PREFIX}/autorisations", _("Autorisations")),
    (f"{PREFIX}/historique", _("Historique")),
    (f"{PREFIX}/mes-donnees", _("Mes données")),
    (f"{PREFIX}/sessions", _("Mes connexions")),
)
"""The pages that the header leads to, each with its French name: whoever adds one adds it here."""

Show = Callable[[Visit], Awaitable[Response]]


def here_only(place: str) -> str:
    """A place of ours to go on to; the first page where it is none (open redirect)."""
    path = place.partition("?")[0]
    return path if _PLACE.fullmatch(path) and "//" not in path else PREFIX


def declaration_id(told: str) -> DeclarationId | None:
    """The id of a declaration or a form in an address; None for what is none."""
    return DeclarationId(bytes.fromhex(told.replace("-", ""))) if _UUID.fullmatch(told) else None


def sign_in_for(place: str) -> str:
    """The address of the sign-in page that leads on to this one."""
    return f"{SIGN_IN}?suite={quote(here_only(place), safe='/')}"


def page(
    routes: APIRouter,
    path: str,
    show: Show,
    method: Literal["GET", "POST"] = "GET",
    *,
    signed_in: bool = True,
) -> None:
    """Serve a page. `signed_in`: whether it needs somebody."""

    async def answered(request: Request) -> Response:
        if method == "POST":
            guard.check_source(request)
        visit = await arrive(request)
        if method == "POST":
            visit.form = await read_form(request)
        if signed_in and visit.citizen is None:
            return _over(visit) if method == "POST" else visit.go(sign_in_for(visit.path))
        if method == "POST":
            guard.check_token(visit.secret, visit.path, visit.sent(guard.FIELD))
        try:
            answer = await show(visit)
        except Refused as fault:
            if fault.code != "citizens.level-too-low":
                raise
            answer = visit.page("level.html", 403, action=FRANCECONNECT, level=str(fault.details["needed"]))
        if visit.fresh:
            visit.keep(answer, VISIT, visit.secret)
        return answer

    methods = ["GET", "HEAD"] if method == "GET" else ["POST"]
    routes.add_api_route(path, answered, methods=methods, include_in_schema=False, response_model=None)


def providers(home: Home) -> tuple[str, ...]:
    """The origins of FranceConnect and FranceConnect+, where they are a way in."""
    told = (home.settings.franceconnect_issuer, home.settings.franceconnect_plus_issuer)
    parts = [urlsplit(each) for each in told if each is not None]
    return tuple(dict.fromkeys(f"{each.scheme}://{each.netloc}" for each in parts))


async def arrive(request: Request) -> Visit:
    """Who asks, and in which language."""
    home: Home = request.app.state.home
    told = _cookie(request, SESSION)
    citizen = None if told is None else await _citizen_of(home, told)
    secret = told if citizen is not None else _cookie(request, VISIT)
    fresh = secret is None
    return Visit(
        request=request,
        home=home,
        words=Words(language_of(request, citizen, home.settings.language)),
        secret=secret or home.entropy(32).hex(),
        fresh=fresh,
        citizen=citizen,
    )


async def _citizen_of(home: Home, token: str) -> Citizen | None:
    """Whose a session is; None where it is over, or was none."""
    try:
        return await signing_in.current(home, token)
    except Refused:
        return None


def language_of(request: Request, citizen: Citizen | None = None, default: Language = "fr") -> Language:
    """The language that was chosen, else the citizen's, else the first of the browser's that we have."""
    chosen = request.cookies.get(guard.cookie_name(request, LANGUAGE))
    wanted = request.headers.get("accept-language", "").lower().split(",")
    told = [chosen, None if citizen is None else citizen.language, *(each.strip()[:2] for each in wanted)]
    return next((each for one in told for each in LANGUAGES if one == each), default)


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a form, tidied. Raises Refused `api.media-type`, `pages.form`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Refused("api.media-type", media=FORM)
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:
        raise Refused("pages.form") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(tidy(value))
    return found


def tidy(text: str) -> str:
    """What was typed, without what nobody types: control characters, and marks that turn the writing direction."""
    kept = "".join(
        " " if each in "\t\r\n" else each
        for each in unicodedata.normalize("NFC", text[: 2 * MOST])
        if each in "\t\r\n" or unicodedata.category(each) not in _UNTYPED
    )
    return " ".join(kept.split())[:MOST]


_UNTYPED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def _cookie(request: Request, name: str) -> str | None:
    told = request.cookies.get(guard.cookie_name(request, name))
    return told if told is not None and _SECRET.fullmatch(told) else None


def _over(visit: Visit) -> Response:
    """The session ended while a form was open: what was typed is shown again, for it was not kept."""
    typed = [value for name, told in visit.form.items() if name != guard.FIELD for value in told if value]
    answer = visit.page("over.html", 401, typed=typed, sign_in=sign_in_for(visit.path))
    if visit.fresh:
        visit.keep(answer, VISIT, visit.secret)
    return answer
