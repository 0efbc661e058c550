"""Moving code: going on with "I am moving" on another machine, or after a counter has begun it, by a code.

Refuses: a code that is wrong, over, closed or another person's, all in one word; another try from an address or of a
session with too many wrong ones.
Keeps: a code is shown once, to whoever is signed in, and a new one ends the one before; it opens the draft for the same
person alone.
"""

from typing import Final

from fastapi import APIRouter, Response

from broker.services.citizens import drafts as codes
from broker.web.citizen import moving_draft as drafts
from broker.web.citizen.moving import BEGIN, CODE, GIVE_UP, RESUME, START, first_open
from broker.web.citizen.visit import Visit, page
from schemas.errors import Refused

routes = APIRouter()
_TOLD: Final = ("drafts.code", "drafts.too-many", "citizens.too-many-attempts")


async def give_code(visit: Visit) -> Response:
    """A code for what was typed so far."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:
        return visit.go(START)
    saved = await codes.save_as_code(visit.home, visit.who, begun.draft)
    return visit.page("move/code.html", back=START, saved=saved)


async def resume(visit: Visit) -> Response:
    """Go on with what a code opens."""
    typed = visit.sent("code")
    try:
        await codes.resume(visit.home, visit.who, typed, address=visit.request.scope["unefois.address"])
    except Refused as fault:
        if fault.code not in _TOLD:
            raise
        begun = await drafts.find(visit.home, visit.who)
        errors = [("code", " ".join(visit.words.refusal(fault)))]
        places = {"begin": BEGIN, "code": CODE, "give_up": GIVE_UP, "resume": RESUME}
        return visit.page("move/start.html", 422, begun=begun, errors=errors, places=places, typed=typed)
    begun = await drafts.find(visit.home, visit.who)
    return visit.go(START if begun is None else f"{START}/{await first_open(visit, begun) or 'verifier'}")


page(routes, CODE, give_code, "POST")
page(routes, RESUME, resume, "POST")
