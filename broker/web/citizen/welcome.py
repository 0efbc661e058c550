"""Welcome: the first page: what this is for whoever is not signed in, and what one can do for whoever is.

Refuses: nothing.
Keeps: nothing.
"""

from fastapi import APIRouter, Response

from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.visit import SIGN_IN, Visit, page

routes = APIRouter()


async def front(visit: Visit) -> Response:
    """The first page."""
    return visit.page("welcome.html", sign_in=SIGN_IN)


page(routes, PREFIX, front, signed_in=False)
