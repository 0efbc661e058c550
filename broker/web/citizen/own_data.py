"""Own data: everything that this broker holds about the citizen, to read and to take along, and what can be erased.

Refuses: an erasure while something is on its way, with how much.
Keeps: handing everything out is entered in the ledger, so it is asked for by a form and not by a link; what an erasure
takes away, and what stays, until when and why, stands on the page before it.
"""

import json
from typing import Final

from fastapi import APIRouter, Response

from broker.services.citizens import erasing, history
from broker.services.papers.person import paper
from broker.services.person_words import GONE, NAMES
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.told import download, told
from broker.web.citizen.visit import Visit, page
from schemas.errors import Refused

routes = APIRouter()
PLACE: Final = f"{PREFIX}/mes-donnees"


async def front(visit: Visit) -> Response:
    """What one can do with one's data."""
    return visit.page("data/front.html", **told(visit), place=PLACE, erased=visit.asked("fait") == "efface")


async def take(visit: Visit) -> Response:
    """Everything, as a file: JSON, or PDF."""
    found = await history.export(visit.home, visit.who)
    if visit.sent("forme") == "pdf":
        return download(paper(found, visit.words.language), "application/pdf", "mes-donnees.pdf")
    text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    return download(text.encode(), "application/json", "mes-donnees.json")


async def back(visit: Visit) -> Response:
    """Somebody who signed in again to take it comes back to the page with the buttons."""
    return visit.go(PLACE)


async def erasure(visit: Visit) -> Response:
    """What would go, and what would stay."""
    found = await erasing.look(visit.home, visit.who)
    return visit.page("data/erasure.html", **told(visit), place=PLACE, found=found, names=_names(), waits=False)


async def erase(visit: Visit) -> Response:
    """Let it go. Killed on the way, the same again goes on."""
    try:
        await erasing.erase(visit.home, visit.who)
    except Refused as fault:
        if fault.code != "rights.under-way":
            raise
        found = await erasing.look(visit.home, visit.who)
        return visit.page("data/erasure.html", 409, **told(visit), place=PLACE, found=found, names=_names(), waits=True)
    # Crash here: it is gone, and the page says so when it is opened again.
    return visit.go(f"{PLACE}?fait=efface")


def _names() -> dict[str, dict[str, dict[str, str]]]:
    return {
        "held": {name: dict(zip(("fr", "en"), pair, strict=True)) for name, pair in NAMES.items()},
        "gone": {name: dict(zip(("fr", "en"), pair, strict=True)) for name, pair in GONE.items()},
    }


page(routes, PLACE, front)
page(routes, f"{PLACE}/telecharger", back)
page(routes, f"{PLACE}/telecharger", take, "POST")
page(routes, f"{PLACE}/effacer", erasure)
page(routes, f"{PLACE}/effacer", erase, "POST")
