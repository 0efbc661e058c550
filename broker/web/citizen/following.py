"""Following: what became of what one has declared: the list, one of them, live, its acknowledgement, and what is to be
mended.

Refuses: a declaration of somebody else, as unknown.
Keeps: without a script a page says what was known when it was asked for, and has a link to ask again; with one it asks
every two seconds while something moves (`follow.js`), and says a change in words. Nothing of a person is in an address:
the id of a declaration is drawn at random, and opens nothing by itself.
"""

import json
from typing import Final

from fastapi import APIRouter, Response

from broker.services.citizens import following
from broker.services.papers.acknowledgement import paper
from broker.shapes import Json
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.told import download
from broker.web.citizen.typed import Wrong, read_text
from broker.web.citizen.visit import Visit, declaration_id, page
from schemas.errors import Fault, Refused, Unavailable
from schemas.names import DeclarationId, PartyId, from_rfc3339

routes = APIRouter()
LIST: Final = f"{PREFIX}/demarches"
ONE: Final = f"{LIST}/{{declaration}}"
PAPER: Final = f"{ONE}/accuse"
REPAIR: Final = f"{ONE}/numero"
MOVING: Final = frozenset({"sent", "received", "in-progress"})
"""What goes on by itself: the page looks again."""
COLOURS: Final = {
    "sent": "info",
    "received": "info",
    "in-progress": "info",
    "done": "success",
    "refused": "danger",
    "withheld": "neutral",
    "to-complete": "warning",
    "technical": "warning",
}


async def mine(visit: Visit) -> Response:
    """The list, the newest first."""
    after = _id(visit.asked("apres")) if visit.asked("apres") else None
    found = await following.mine(visit.home, visit.who, after=after)
    return visit.page("follow/list.html", found=found["declarations"], following=found["next"], moves=_moves)


async def one(visit: Visit) -> Response:
    """One of them; the part that changes alone, for the script."""
    found = await following.track(visit.home, visit.who, _declaration(visit))
    template = "follow/steps.html" if visit.asked("partie") == "etapes" else "follow/one.html"
    return visit.page(template, found=found, moves=_moves(found), colours=COLOURS)


async def acknowledgement(visit: Visit) -> Response:
    """The acknowledgement to keep, as a file: PDF, or with `forme=json` the signed receipt, too. No value is on it."""
    found = await following.acknowledgement(visit.home, visit.who, _declaration(visit))
    if visit.asked("forme") == "json":
        text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
        return download(text.encode(), "application/json", "accuse-de-reception.json")
    return download(paper(found, visit.words.language), "application/pdf", "accuse-de-reception.pdf")


def _moves(found: Json) -> bool:
    """Whether something goes on by itself."""
    repairing = any(one["repairing"] for one in found.get("steps", ()))
    return found["routed_at"] is None or repairing or any(found["progress"][each] for each in MOVING)


def _declaration(visit: Visit) -> DeclarationId:
    return _id(visit.request.path_params["declaration"])


def _id(told: str) -> DeclarationId:
    """Raises Refused `tracking.unknown` for what is none."""
    found = declaration_id(told)
    if found is None:
        raise Refused("tracking.unknown", "/id")
    return found


# ── a number, for an administration that has not found somebody ──────────────────────────────────────────────────────


async def number(visit: Visit) -> Response:
    """Which number, for whom."""
    return await _number_page(visit, visit.asked("pour"))


async def explain_number(visit: Visit) -> Response:
    """What would happen, in the words that are agreed to; nothing is sent."""
    return await _number_page(visit, visit.sent("pour"), sent=True)


async def give_number(visit: Visit) -> Response:
    """Agree, and send it to that administration alone."""
    to, until = visit.sent("pour"), from_rfc3339(visit.sent("jusqua"))
    try:
        if until is None:
            raise Refused("citizens.other-text", "/text_sha256")
        await following.repair(
            visit.home,
            visit.who,
            _declaration(visit),
            PartyId(to),
            number_kind=visit.sent("nom"),
            number=visit.sent("numero"),
            until=until,
            text_sha256=visit.sent("texte"),
        )
    except (Refused, Unavailable) as fault:
        return await _number_page(visit, to, wrong=fault)
    return visit.go(_place(visit))


async def _number_page(visit: Visit, to: str, *, sent: bool = False, wrong: Fault | None = None) -> Response:
    """The form; once it is filled in rightly, with what would happen."""
    declaration = _declaration(visit)
    found = await following.track(visit.home, visit.who, declaration)
    step = next((each for each in found["steps"] if each["recipient"]["party"] == to and each["repairable"]), None)
    if step is None:
        return visit.go(_place(visit))
    kind, told = visit.sent("nom"), visit.sent("numero")
    errors, outlook = [] if wrong is None else [("numero", _told(visit, wrong))], None
    if sent:
        errors = [(each.name, visit.words.say(each.sentence, **each.filled)) for each in _wrong(kind, told)]
        if not errors:
            try:
                outlook = await following.explain_repair(
                    visit.home, visit.who, declaration, PartyId(to), number_kind=kind, number=told
                )
            except Refused as fault:
                errors = [("numero", _told(visit, fault))]
    place = f"{_place(visit)}/numero"
    return visit.page(
        "follow/number.html",
        422 if errors else 200,
        action=place,
        back=_place(visit),
        confirm=f"{place}/envoyer",
        errors=errors,
        kind=kind,
        number=told,
        outlook=outlook,
        step=step,
    )


def _place(visit: Visit) -> str:
    return f"{LIST}/{visit.request.path_params['declaration']}"


def _wrong(kind: str, told: str) -> list[Wrong]:
    found = []
    for name, typed in (("nom", kind), ("numero", told)):
        try:
            read_text(name, typed, 60)
        except Wrong as wrong:
            found.append(wrong)
    return found


def _told(visit: Visit, fault: Fault) -> str:
    return " ".join(visit.words.refusal(fault))


page(routes, LIST, mine)
page(routes, ONE, one)
page(routes, PAPER, acknowledgement)
page(routes, REPAIR, number)
page(routes, REPAIR, explain_number, "POST")
page(routes, f"{REPAIR}/envoyer", give_number, "POST")
