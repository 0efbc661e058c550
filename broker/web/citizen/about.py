"""About: the pages that anybody reads: accessibility, data, the language switch, and the files of every page.

Refuses: a file that is none of this version; a place to go on to that is not ours.
Keeps: the accessibility page claims no more than was checked.
Source: RGAA 4.1, declaration of accessibility; decree 2019-768.
"""

from fastapi import APIRouter, Request, Response

from broker.web.citizen import assets, rendering
from broker.web.citizen.rendering import PREFIX, STATIC
from broker.web.citizen.visit import LANGUAGE, YEAR, Visit, here_only, page
from broker.web.citizen.words import LANGUAGES
from broker.web.common.caching import exact
from schemas.errors import Refused

routes = APIRouter()


async def accessibility(visit: Visit) -> Response:
    """How accessible the pages are."""
    return visit.page("accessibility.html")


async def privacy(visit: Visit) -> Response:
    """What becomes of what is typed."""
    return visit.page("privacy.html")


async def language(visit: Visit) -> Response:
    """Another language, and back to the same page."""
    answer = visit.go(here_only(visit.asked("suite")))
    if visit.asked("vers") in LANGUAGES:
        visit.keep(answer, LANGUAGE, visit.asked("vers"), YEAR)
    return answer


@routes.get(f"{STATIC}/{{name}}", include_in_schema=False, response_model=None)
async def file(request: Request, name: str) -> Response:
    """A file of the pages. Raises Refused `api.not-found`."""
    found = assets.by_name().get(name)
    if found is None:
        raise Refused("api.not-found")
    answer = exact(request, found.content, found.media, assets.FOREVER)
    answer.headers["Content-Security-Policy"] = rendering.POLICY
    return answer


page(routes, f"{PREFIX}/accessibilite", accessibility, signed_in=False)
page(routes, f"{PREFIX}/donnees", privacy, signed_in=False)
page(routes, f"{PREFIX}/langue", language, signed_in=False)
