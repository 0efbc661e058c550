"""Sessions: the pages to sign in and out, and to end one's sessions.

    sign in ──POST──► FranceConnect ──► CALLBACK ──► where one wanted to go          sign in ──code──► the same

Refuses: what `broker.services.citizens.signing_in` refuses, in plain words; a session of somebody else, as unknown.
Keeps: a sign-in ends the session of before; the cookie is the one place where a session's token is. What stands in an
address leads nowhere but to a page of ours. FranceConnect away, cancelled or refused: the page says so and has both
ways in again.
"""

from typing import Final

from fastapi import APIRouter, Response

from broker.services.citizens import signing_in
from broker.services.citizens.signing_in import CALLBACK, GOODBYE, SignedIn
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.visit import (
    ATTEMPT,
    ATTEMPT_SECONDS,
    FRANCECONNECT,
    SESSION,
    SIGN_IN,
    Visit,
    here_only,
    page,
    sign_in_for,
)
from schemas.assurance import Assurance
from schemas.errors import Fault, Refused, Unavailable

routes = APIRouter()
WITH_CODE = f"{SIGN_IN}/code"
SESSIONS = f"{PREFIX}/sessions"
END_ONE = f"{SESSIONS}/fermer"
END_OTHERS = f"{SESSIONS}/fermer-les-autres"
SIGN_OUT = f"{PREFIX}/deconnexion"
_LEVELS: Final = {each.value: each for each in (Assurance.LOW, Assurance.SUBSTANTIAL, Assurance.HIGH)}
_ASIDE: Final = ("citizens.", "franceconnect.", "identity.", "outbound.")
"""What keeps somebody out and is told on the page that lets them in."""


async def sign_in(visit: Visit) -> Response:
    """The ways in."""
    then = here_only(visit.asked("suite"))
    return visit.go(then) if visit.citizen is not None else _ways_in(visit, then)


def _ways_in(visit: Visit, then: str, *, wrong: Fault | None = None, typed: str | None = None) -> Response:
    """The page; `typed`: the code that was wrong, None: it was another way."""
    sentence = "" if wrong is None else " ".join(visit.words.refusal(wrong))
    return visit.page(
        "signin.html",
        200 if wrong is None else 503 if isinstance(wrong, Unavailable) else 422,
        code=typed or "",
        errors=[("code", sentence)] if wrong is not None and typed is not None else [],
        franceconnect=FRANCECONNECT if visit.has_franceconnect else "",
        refused=sentence if typed is None else "",
        then=then,
        was_over=visit.is_over and wrong is None,
        with_code=WITH_CODE,
    )


async def to_franceconnect(visit: Visit) -> Response:
    """Begin, and lead the browser there. `niveau`: how surely one has to be known, for an act that needs more."""
    then = here_only(visit.sent("suite"))
    least = _LEVELS.get(visit.sent("niveau"), Assurance.LOW)
    try:
        begun = await signing_in.begin(visit.home, language=visit.words.language, least=least, returns_to=then)
    except (Refused, Unavailable) as fault:
        return _ways_in(visit, then, wrong=fault)
    answer = visit.go(begun.url)
    visit.keep(answer, ATTEMPT, begun.attempt, ATTEMPT_SECONDS)
    return answer


async def back_from_franceconnect(visit: Visit) -> Response:
    """What the browser brings back, once."""
    query = visit.request.query_params.multi_items()
    attempt = visit.attempt
    try:
        if attempt is None or len(dict(query)) != len(query):
            raise Refused("franceconnect.attempt", wrong="absent")
        entered = await signing_in.finish(visit.home, attempt, dict(query), replaces=visit.cookie(SESSION))
    except (Refused, Unavailable) as fault:
        answer = _ways_in(visit, PREFIX, wrong=fault)
    else:
        answer = _in(visit, entered)
    visit.drop(answer, ATTEMPT)
    return answer


def _in(visit: Visit, entered: SignedIn) -> Response:
    """Go on to where one wanted to go; who is known by another name now is told first."""
    then = here_only(entered.returns_to)
    answer = visit.page("renamed.html", then=then) if entered.renamed else visit.go(then)
    visit.keep(answer, SESSION, entered.token)
    return answer


async def with_code(visit: Visit) -> Response:
    """The code that a counter gave."""
    then, typed = here_only(visit.sent("suite")), visit.sent("code")
    try:
        entered = await signing_in.with_code(
            visit.home,
            typed,
            language=visit.words.language,
            address=visit.request.scope["unefois.address"],
            replaces=visit.cookie(SESSION),
        )
    except Refused as fault:
        if not fault.code.startswith(_ASIDE):
            raise
        return _ways_in(visit, then, wrong=fault, typed=typed)
    answer = visit.go(then)
    visit.keep(answer, SESSION, entered.token)
    return answer


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    token = visit.cookie(SESSION)
    elsewhere = None if token is None else await _end(visit, token)
    answer = visit.go(elsewhere or GOODBYE)
    visit.drop(answer, SESSION)
    return answer


async def _end(visit: Visit, token: str) -> str | None:
    """End it here; where FranceConnect is away, here alone."""
    try:
        return await signing_in.sign_out(visit.home, token)
    except (Refused, Unavailable):
        return None


async def goodbye(visit: Visit) -> Response:
    """Signed out."""
    return visit.page("goodbye.html", sign_in=sign_in_for(PREFIX))


async def sessions(visit: Visit) -> Response:
    """Where one is signed in."""
    found = await signing_in.sessions(visit.home, visit.who)
    return visit.page(
        "sessions.html",
        end_one=END_ONE,
        end_others=END_OTHERS,
        ended=visit.asked("fermee") == "1",
        sessions=found,
        this=visit.who.session,
    )


async def end_one(visit: Visit) -> Response:
    """End one of one's own."""
    try:
        session = bytes.fromhex(visit.sent("session"))
    except ValueError:
        raise Refused("citizens.session-unknown") from None
    await signing_in.end(visit.home, visit.who, session)
    if session == visit.who.session:
        answer = visit.go(GOODBYE)
        visit.drop(answer, SESSION)
        return answer
    return visit.go(f"{SESSIONS}?fermee=1")


async def end_others(visit: Visit) -> Response:
    """End all but this one."""
    await signing_in.end_others(visit.home, visit.who)
    return visit.go(f"{SESSIONS}?fermee=1")


page(routes, SIGN_IN, sign_in, signed_in=False)
page(routes, WITH_CODE, with_code, "POST", signed_in=False)
page(routes, FRANCECONNECT, to_franceconnect, "POST", signed_in=False)
page(routes, CALLBACK, back_from_franceconnect, signed_in=False)
page(routes, SIGN_OUT, sign_out, "POST")
page(routes, GOODBYE, goodbye, signed_in=False)
page(routes, SESSIONS, sessions)
page(routes, END_ONE, end_one, "POST")
page(routes, END_OTHERS, end_others, "POST")
