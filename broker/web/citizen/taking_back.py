"""Taking back: what one has declared is taken back, stopped while it waits, or put right; everybody who had it hears.

Refuses: a declaration of somebody else, as unknown; what was not the citizen's own word, or was declared elsewhere.
Keeps: what it means stands before it; sent twice, it is done once. A correction is the same form once more: what was
typed the first time is sealed, and nobody here can read it.
"""

from typing import Final

from fastapi import APIRouter, Response

from broker.services.citizens import following
from broker.shapes import Json
from broker.web.citizen import moving_draft as drafts
from broker.web.citizen.following import LIST, ONE
from broker.web.citizen.moving import START
from broker.web.citizen.told import id_of, told
from broker.web.citizen.visit import Visit, page
from schemas.errors import Refused
from schemas.names import DeclarationId

routes = APIRouter()
TAKE: Final = f"{ONE}/annuler"
STOP: Final = f"{ONE}/arreter"
CORRECT: Final = f"{ONE}/corriger"
MOVED: Final = "fr.unefois.address.changed.v1"
"""What can be put right in a page of ours: the one form that there is."""


async def asking(visit: Visit) -> Response:
    """Why, and what it means."""
    return await _ask(visit)


async def take(visit: Visit) -> Response:
    """Take it back."""
    reason = visit.sent("raison")
    if reason not in following.REASONS:
        return await _ask(visit, missing=True)
    await following.cancel(visit.home, visit.who, _declaration(visit), reason)
    # Crash here: it is taken back, and its page says so; sent again, it changes nothing.
    return visit.go(_place(visit))


async def _ask(visit: Visit, *, missing: bool = False) -> Response:
    found = await following.track(visit.home, visit.who, _declaration(visit))
    if found["taken_back"] and found["taken_back"]["stands"]:
        return visit.go(_place(visit))
    return visit.page(
        "follow/taking_back.html",
        422 if missing else 200,
        **told(visit),
        found=found,
        back=_place(visit),
        missing=missing,
    )


async def stopping(visit: Visit) -> Response:
    """Before something that waits is stopped."""
    found = await _held(visit)
    if found is None:
        await following.track(visit.home, visit.who, _declaration(visit))  # another's is unknown here, too
        return visit.go(_place(visit))
    return visit.page("follow/stopping.html", **told(visit), found=found, back=_place(visit))


async def stop(visit: Visit) -> Response:
    """Stop it: nobody gets it."""
    await following.stop(visit.home, visit.who, _declaration(visit))
    # Crash here: it is stopped, and its page says so; sent again, it changes nothing.
    return visit.go(_place(visit))


async def correcting(visit: Visit) -> Response:
    """Before a correction: the form is filled in once more."""
    found = await _correctable(visit)
    begun = await drafts.find(visit.home, visit.who)
    other = begun is not None and begun.corrects != _declaration(visit)
    return visit.page(
        "follow/correcting.html", **told(visit), found=found, back=_place(visit), other=other, start=START
    )


async def correct(visit: Visit) -> Response:
    """Begin it."""
    await _correctable(visit)
    await drafts.correct(visit.home, visit.who, _declaration(visit))
    return visit.go(f"{START}/qui")


async def _correctable(visit: Visit) -> Json:
    found = await following.track(visit.home, visit.who, _declaration(visit))
    if found["event_type"] != MOVED:
        raise Refused("tracking.unknown", "/id")
    return found


async def _held(visit: Visit) -> Json | None:
    of = _declaration(visit)
    for one in await following.held(visit.home, visit.who):
        if DeclarationId.parse(one["declaration"]) == of and not one["stopped"]:
            return one
    return None


def _declaration(visit: Visit) -> DeclarationId:
    return id_of(visit, "declaration", DeclarationId.parse, Refused("tracking.unknown", "/id"))


def _place(visit: Visit) -> str:
    return f"{LIST}/{visit.request.path_params['declaration']}"


page(routes, TAKE, asking)
page(routes, TAKE, take, "POST")
page(routes, STOP, stopping)
page(routes, STOP, stop, "POST")
page(routes, CORRECT, correcting)
page(routes, CORRECT, correct, "POST")
