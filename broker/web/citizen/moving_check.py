"""Moving check: everything once more before it is sent, with who will hear what; and sending it, once.

Refuses: to send while a page is open; under another content what was sent under the same id.
Keeps: an adult of the household is declared by themselves alone: they get a code. A child is declared where a record
says that the citizen acts for them; else the child is named in the citizen's own declaration, and the page says so.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Response

from broker.people.pivot import PivotIdentity
from broker.services.citizens import forms, households
from broker.services.citizens.forms import Form
from broker.services.citizens.households import Person
from broker.web.citizen import moving_draft as drafts
from broker.web.citizen.moving import CHECK, HOUSEHOLD, START, SUMMARY, first_open
from broker.web.citizen.moving_answers import read_person, read_step, record_of, steps_of
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.visit import Visit, declaration_id, page
from broker.web.citizen.words import today
from schemas.errors import Refused
from schemas.names import Capacity, DeclarationId, EventType

routes = APIRouter()
MOVED: Final = EventType("fr.unefois.address.changed.v1")
SENT: Final = f"{START}/envoye"
JOIN: Final = f"{START}/rejoindre"
_STEPS: Final[Mapping[str, str]] = {
    "effective_date": "date",
    "old_commune": "depart",
    "old_country": "depart",
    "new_address": "adresse",
    "new_commune": "adresse",
    "new_country": "arrivee",
    "household": "foyer",
    "occupants": "foyer",
    "occupancy": "logement",
    "phone": "contact",
    "email": "contact",
}
"""The page on which each field is typed."""


@dataclass(frozen=True)
class Member:
    """Somebody who moves along. `capacity`: in which the citizen declares for them; `named`: a child for whom no record
    says so.
    """

    name: str
    person: PivotIdentity = field(repr=False)
    capacity: Capacity | None
    named: bool = False


async def check(visit: Visit) -> Response:
    """All answers, and who will hear what."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:
        return visit.go(START)
    missing = await first_open(visit, begun)
    if missing is not None:
        return visit.go(f"{START}/{missing}?revoir=1{SUMMARY}")
    return await _page(visit, begun)


async def _page(visit: Visit, begun: drafts.Begun, refused: Refused | None = None) -> Response:
    found, already, members = None, None, []
    form = await _form(visit, begun)
    try:
        found = await forms.explain(visit.home, visit.who, form)
        already = None if begun.corrects else await forms.earlier(visit.home, visit.who, form)
        members = await _members(visit, begun, form)
    except Refused as fault:
        refused = fault
    return visit.page(
        "move/check.html",
        422 if refused else 200,
        action=CHECK,
        already=already,
        corrects=begun.corrects is not None,
        answers=await _answers(visit, begun),
        back=f"{START}/contact",
        errors=_told(visit, refused),
        found=found,
        members=members,
    )


async def send(visit: Visit) -> Response:
    """Hand it in. Sent twice, it is the same declaration."""
    begun = await drafts.find(visit.home, visit.who)
    if begun is None:  # sent already, in another window or by a second click
        return visit.go(SENT if await drafts.sent(visit.home, visit.who) else START)
    missing = await first_open(visit, begun)
    if missing is not None:
        return visit.go(f"{START}/{missing}?revoir=1{SUMMARY}")
    form = await _form(visit, begun)
    try:
        members = await _members(visit, begun, form)
        told = await _declare(visit, begun, form, members)
    except Refused as fault:
        return await _page(visit, begun, fault)
    # Crash here: it is declared and the draft is still there; sent again, it is the same declaration.
    await drafts.keep_sent(visit.home, visit.who, begun, told)
    return visit.go(SENT)


async def _declare(visit: Visit, begun: drafts.Begun, form: Form, members: list[Member]) -> dict[str, Any]:
    if begun.joins is not None:
        joins = begun.joins
        kept = await households.confirm(visit.home, visit.who, joins.household, form, code=joins.code, of=begun.id)
        return {"declaration": kept["declaration"], "waiting": []}
    if begun.corrects is not None:
        kept = await forms.correct(visit.home, visit.who, begun.corrects, form, begun.id)
        return {"declaration": kept["declaration"], "waiting": []}
    others = [each for each in members if not each.named]
    if not others:
        kept = await forms.declare(visit.home, visit.who, form, begun.id)
        return {"declaration": kept["declaration"], "waiting": []}
    opened = await households.declare_household(
        visit.home,
        visit.who,
        form,
        [Person(each.person, each.capacity, {"household": [], "phone": None, "email": None}) for each in others],
        begun.id,
    )
    waiting = [
        {"name": others[one["member"] - 1].name, "code": one["code"], "expires_at": one["expires_at"]}
        for one in opened["waiting"]
    ]
    return {
        "declaration": opened["declarations"][0]["declaration"],
        "household": opened["household"],
        "waiting": waiting,
    }


async def sent(visit: Visit) -> Response:
    """What was sent, and what happens next."""
    told = await drafts.sent(visit.home, visit.who)
    if told is None:
        return visit.go(START)
    join = f"{visit.home.settings.citizen_url or ''}{JOIN}/{told.get('household', '')}"
    follow = f"{PREFIX}/demarches/{told['declaration']}"
    return visit.page("move/sent.html", follow=follow, join=join, waiting=told["waiting"])


async def join(visit: Visit) -> Response:
    """Somebody has named this person in their form, and gave them a code."""
    return _join_page(visit)


def _join_page(visit: Visit, fault: Refused | None = None) -> Response:
    errors = [] if fault is None else [("code", " ".join(visit.words.refusal(fault)))]
    place = visit.path.removesuffix("/refuser")
    return visit.page(
        "move/join.html",
        422 if errors else 200,
        action=place,
        decline=f"{place}/refuser",
        errors=errors,
        typed=visit.sent("code"),
    )


async def accept(visit: Visit) -> Response:
    """Answer the same questions for oneself, and confirm with the code at the end."""
    if not visit.sent("code"):
        return _join_page(visit, Refused("households.unknown", "/code"))
    await drafts.join(visit.home, visit.who, _household(visit), visit.sent("code"))
    return visit.go(START)


async def decline(visit: Visit) -> Response:
    """Nothing is declared for this person by that form."""
    try:
        await households.decline(visit.home, visit.who, _household(visit), visit.sent("code"))
    except Refused as fault:
        return _join_page(visit, fault)
    return visit.page("move/declined.html")


def _household(visit: Visit) -> DeclarationId:
    """Raises Refused `households.unknown` for what is none."""
    found = declaration_id(visit.request.path_params["household"])
    if found is None:
        raise Refused("households.unknown", "/household")
    return found


async def _form(visit: Visit, begun: drafts.Begun) -> Form:
    day = today(visit.home.clock())
    return Form(MOVED, await asyncio.to_thread(record_of, begun.answers, begun.people, day))


async def _members(visit: Visit, begun: drafts.Begun, form: Form) -> list[Member]:
    """Who moves along, and who declares for each. Raises Refused, with a pointer into `/others`."""
    if "foyer" not in steps_of(begun.answers):
        return []
    day, found = today(visit.home.clock()), []
    for number, raw in enumerate(begun.people):
        read = await asyncio.to_thread(read_person, raw, day)
        told = read.values["identity"]
        person = PivotIdentity(
            **{**told, "given_names": tuple(told["given_names"]), "birthplace": told["birthplace"] or ""}
        )
        name = " ".join((*told["given_names"], told["family_name"]))
        named = False
        if read.values["minor"]:
            mine = Form(MOVED, {**form.record, "household": []}, person, Capacity.PARENT)
            try:
                await forms.explain(visit.home, visit.who, mine)
            except Refused as fault:
                if not fault.code.startswith("representations."):
                    raise fault.under(f"/others/{number}") from None
                named = True
        found.append(Member(name, person, Capacity.PARENT if read.values["minor"] else None, named))
    return found


async def _answers(visit: Visit, begun: drafts.Begun) -> dict[str, Any]:
    """Each page as it was read, by its name."""
    day = today(visit.home.clock())
    return {
        step: (await asyncio.to_thread(read_step, step, begun.answers, begun.people, day)).values
        for step in steps_of(begun.answers)
    }


def _told(visit: Visit, refused: Refused | None) -> list[tuple[str, str]]:
    """What was refused, each with the page where it was typed."""
    if refused is None:
        return []
    found = []
    for fault in (refused, *refused.also):
        parts = fault.pointer.split("/")
        name = parts[2] if len(parts) > 2 and parts[1] == "record" else parts[1] if len(parts) > 1 else ""
        step = "foyer" if name == "others" else _STEPS.get(name)
        place = CHECK if step is None else HOUSEHOLD if step == "foyer" else f"{START}/{step}?depuis=verifier"
        found.append((place, " ".join(visit.words.refusal(fault))))
    return found


page(routes, CHECK, check)
page(routes, CHECK, send, "POST")
page(routes, SENT, sent)
page(routes, f"{JOIN}/{{household}}", join)
page(routes, f"{JOIN}/{{household}}", accept, "POST")
page(routes, f"{JOIN}/{{household}}/refuser", decline, "POST")
