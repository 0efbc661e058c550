"""Declaring: what a citizen may declare, who would get it, handing it in, and following it to its end.

Refuses: what `broker.services.citizens` refuses; an id that is none, as one that never was.
Keeps: one call is one use case of the services. No values are told back: the broker keeps none that it could open.
"""

from fastapi import APIRouter, Request, Response

from broker.services.citizens import following, households
from broker.services.citizens import forms as filling
from broker.setup.wiring import Home
from broker.shapes import Json, uuid_of
from broker.web.common.answered import answers
from broker.web.common.bodies import named
from broker.web.common.strict import StrictRoute
from broker.web.portals import forms
from broker.web.portals.bodies import (
    Acknowledge,
    Cancel,
    Confirm,
    Declare,
    Decline,
    Filled,
    Household,
    Number,
    Repair,
    instant,
    known,
)
from broker.web.portals.coming import FREE, Caller, Me, Portal, change
from broker.web.portals.queries import Limit, UuidAfter
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, PartyId

routes = APIRouter(route_class=StrictRoute, tags=["declarations"])


@routes.get("/types", responses=answers(forms.TypeList))
async def types(request: Request, caller: Portal) -> Json:
    """What a citizen may declare by themselves, with the fields that are to be filled in. The forms of values are those
    of the type's schema: `GET /v1/schemas/{schema}` (scope `read`).
    """
    return {"types": filling.types(request.app.state.home)}


@routes.post("/forms", status_code=201, responses=answers(forms.FormId, 201))
async def begin_form(request: Request, caller: Caller, me: Me) -> Json:
    """An id for a form that begins. What is sent under it, however often, is one declaration. Nothing is kept of it."""
    return {"form_id": uuid_of(filling.begin(request.app.state.home))}


@routes.post("/declarations:explain", responses=answers(forms.Outlook))
async def explain(request: Request, caller: Caller, me: Me, told: Filled) -> Json:
    """Who would get which fields, on which ground, with the article and what the citizen can do; and who gets nothing,
    and why. Nothing is sent and nothing is written. Show it before you hand anything in.
    """
    return await filling.explain(request.app.state.home, me, told.form())


@routes.post("/declarations", status_code=202, responses=answers(forms.Kept, 202))
async def declare(request: Request, caller: Caller, me: Me, told: Declare) -> Response:
    """Hand in a form. Durable once it is answered, with the signed receipt. Sent again under its id, it is the same
    declaration; other content under the same id is refused.
    """
    home: Home = request.app.state.home
    form, of = told.form(), _form_id(told.form_id)
    return await change(request, caller, me, lambda: filling.declare(home, me, form, of), status=202)


@routes.get("/declarations", responses=answers(forms.Mine))
async def mine(
    request: Request, caller: Caller, me: Me, after: UuidAfter = None, limit: Limit = following.PAGE
) -> Json:
    """The citizen's declarations, the newest first, whoever handed them in. `next` is the `after` of the page that
    follows.
    """
    last = None if after is None else known(DeclarationId.parse, after, Refused("tracking.unknown", "/after"))
    return await following.mine(request.app.state.home, me, after=last, limit=limit)


@routes.get("/declarations/{declaration}", responses=answers(forms.Track))
async def track(request: Request, caller: Caller, me: Me, declaration: str) -> Json:
    """How far one got with every administration, in words; for whom each waits; who got nothing, and why."""
    return await following.track(request.app.state.home, me, _declaration(declaration))


@routes.post("/declarations/{declaration}:correct", status_code=202, responses=answers(forms.Kept, 202))
async def correct(request: Request, caller: Caller, me: Me, declaration: str, told: Declare) -> Response:
    """Put right what the citizen declared: the whole form once more. It reaches all who had the first version."""
    home: Home = request.app.state.home
    of, form, mine = _declaration(declaration), told.form(), _form_id(told.form_id)
    return await change(request, caller, me, lambda: filling.correct(home, me, of, form, mine), status=202)


@routes.post("/declarations/{declaration}:cancel", responses=answers(forms.Cancelled))
async def cancel(request: Request, caller: Caller, me: Me, declaration: str, told: Cancel) -> Response:
    """Take back what the citizen declared, with its corrections: nobody gets it any more, and who has it is told."""
    home: Home = request.app.state.home
    of = _declaration(declaration)
    return await change(request, caller, me, lambda: following.cancel(home, me, of, told.reason), cost=FREE)


@routes.post("/declarations/{declaration}:stop", responses=answers(forms.Taken))
async def stop(request: Request, caller: Caller, me: Me, declaration: str) -> Response:
    """Stop what is held before anybody gets it, whoever declared it. Again, it changes nothing."""
    home: Home = request.app.state.home
    of = known(DeclarationId.parse, declaration, Refused("holds.unknown", "/declaration"))
    return await change(request, caller, me, lambda: following.stop(home, me, of), cost=FREE)


@routes.get("/held", responses=answers(forms.HeldList))
async def held(request: Request, caller: Caller, me: Me) -> Json:
    """What waits before anybody gets it, and can be stopped until then."""
    return {"held": await following.held(request.app.state.home, me)}


@routes.post("/declarations/{declaration}:acknowledgement", responses=answers(forms.Acknowledgement))
async def acknowledgement(request: Request, caller: Caller, me: Me, declaration: str, told: Acknowledge) -> Json:
    """The paper that a citizen keeps (decree 2005-469, article 7). Values are on it only where you send the record."""
    home: Home = request.app.state.home
    return await following.acknowledgement(home, me, _declaration(declaration), told.record)


@routes.post("/declarations/{declaration}:explain-repair", responses=answers(forms.RepairOutlook))
async def explain_repair(request: Request, caller: Caller, me: Me, declaration: str, told: Number) -> Json:
    """What would happen if the citizen adds their number at an administration that has not found them, in the exact
    words that they agree to. Nothing is sent. Show `text`; then `:repair` with its SHA-256.
    """
    home: Home = request.app.state.home
    to = named(PartyId, told.recipient, "/recipient")
    number = {"number_kind": told.number_kind, "number": told.number}
    return await following.explain_repair(home, me, _declaration(declaration), to, **number)


@routes.post("/declarations/{declaration}:repair", responses=answers(forms.Repaired))
async def repair(request: Request, caller: Caller, me: Me, declaration: str, told: Repair) -> Response:
    """Add the number, under a consent for this one use. The declaration is tried again when the administration has it;
    three times at most.
    """
    home: Home = request.app.state.home
    to, until, of = (
        named(PartyId, told.recipient, "/recipient"),
        instant(told.until, "/until"),
        _declaration(declaration),
    )

    async def repaired() -> Json:
        return await following.repair(
            home,
            me,
            of,
            to,
            number_kind=told.number_kind,
            number=told.number,
            until=until,
            text_sha256=told.text_sha256,
        )

    return await change(request, caller, me, repaired)


@routes.post("/households", status_code=202, responses=answers(forms.HouseholdKept, 202))
async def open_household(request: Request, caller: Caller, me: Me, told: Household) -> Response:
    """One form about the citizen and others. The citizen's own and those of whom they represent are kept together, or
    none of them. Each other adult gets a code: give it to that adult alone. They sign in themselves and confirm.
    """
    home: Home = request.app.state.home
    form = filling.Form(named(EventType, told.event_type, "/event_type"), told.record)
    others, of = [one.other() for one in told.others], _form_id(told.form_id)

    async def opened() -> Json:
        return await households.declare_household(home, me, form, others, of)

    return await change(request, caller, me, opened, status=202, cost=1 + len(others))


@routes.post("/households/{household}:confirm", status_code=202, responses=answers(forms.Kept, 202))
async def confirm_household(request: Request, caller: Caller, me: Me, household: str, told: Confirm) -> Response:
    """An adult, in a session of their own, confirms with their code, and declares for themselves."""
    home: Home = request.app.state.home
    of, mine = _household(household), _form_id(told.form_id)
    form = filling.Form(named(EventType, told.event_type, "/event_type"), told.record)

    async def confirmed() -> Json:
        return await households.confirm(home, me, of, form, code=told.code, of=mine)

    return await change(request, caller, me, confirmed, status=202)


@routes.post("/households/{household}:refuse", responses=answers(forms.Declined))
async def refuse_household(request: Request, caller: Caller, me: Me, household: str, told: Decline) -> Response:
    """An adult, in a session of their own, refuses: nothing of theirs goes by this form. Tell nobody else."""
    home: Home = request.app.state.home
    of = _household(household)
    return await change(request, caller, me, lambda: households.decline(home, me, of, told.code), cost=FREE)


def _form_id(text: str) -> DeclarationId:
    return DeclarationId.parse(text)


def _declaration(text: str) -> DeclarationId:
    return known(DeclarationId.parse, text, Refused("tracking.unknown", "/id"))


def _household(text: str) -> DeclarationId:
    return known(DeclarationId.parse, text, Refused("households.unknown"))
