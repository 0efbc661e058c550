"""Families: a source hands in a form about a household, and says that one person may act for another.

Refuses: what another source has signed, opened or recorded: it is as unknown as what never was.
Keeps: one call is one use case of `broker.services`. No answer tells what another adult of the household has decided.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from broker.access.credentials import Credential, Scope
from broker.services import households, identities, representations
from broker.services.households import Awaited, Declared, Member
from broker.setup.wiring import Home
from broker.shapes import Json, representation, time_of, uuid_of
from broker.web.agencies import forms
from broker.web.agencies.publishing import accepted
from broker.web.common import repeating
from broker.web.common.answered import answers
from broker.web.common.bodies import Confirm, Decline, Form, FormMember, Renamed, Represent, from_b64u
from broker.web.common.strict import Access, StrictRoute
from schemas.errors import Refused
from schemas.names import DeclarationId, Instant, RepresentationId, from_rfc3339

routes = APIRouter(route_class=StrictRoute, tags=["publish"])

Publisher = Annotated[Credential, Depends(Access(Scope.PUBLISH))]


@routes.post("/households", status_code=202, response_class=JSONResponse, responses=answers(forms.Household, 202))
async def open_household(request: Request, caller: Publisher, form: Form) -> Response:
    """Hand in one form about several people, the declarant first. The declarant's declaration and those of the minors
    are kept together, or none of them. Each other adult comes as a subject token: a code comes back, which you give to
    that adult alone. Their declaration is signed and handed in when they confirm.

    The same form, sent again, gets the same receipts and codes.
    """
    home: Home = request.app.state.home
    members = [_member(one, f"/members/{number}") for number, one in enumerate(form.members)]
    request.scope["unefois.passage"].hand_in(caller.party, len(members))

    async def opened() -> Response:
        done = await households.open_form(home, caller.party, members)
        told: Json = {
            "household": uuid_of(done.household),
            "declarations": [accepted(one) for one in done.accepted],
            "waiting": [
                {"member": one.number, "code": one.code, "expires_at": time_of(one.expires_at)} for one in done.codes
            ],
        }
        return JSONResponse(told, 202)

    return await repeating.once(request, caller, repeating.key_of(request), opened)


@routes.post("/households/{household}:confirm", responses=answers(forms.Accepted))
async def confirm_household(request: Request, caller: Publisher, household: str, told: Confirm) -> Json:
    """An adult confirms: hand in their own declaration, signed now, with their code. The same again gets the same
    receipt. A code of somebody else, or a declaration about somebody else, is as unknown as one that never was.
    """
    home: Home = request.app.state.home
    request.scope["unefois.passage"].hand_in(caller.party, 1)
    envelope = from_b64u(told.declaration, "/declaration")
    return accepted(await households.confirm(home, caller.party, _household(household), told.code, envelope))


@routes.post("/households/{household}:refuse", responses=answers(forms.Refused))
async def refuse_household(request: Request, caller: Publisher, household: str, told: Decline) -> Json:
    """An adult refuses: nothing of theirs is sent by this form. Tell nobody else: that is theirs to tell."""
    home: Home = request.app.state.home
    of = _household(household)
    await households.refuse(home, caller.party, of, told.code)
    return {"household": uuid_of(of), "confirmed": False}


@routes.post("/representations", status_code=201, responses=answers(forms.Representation, 201))
async def represent(request: Request, caller: Publisher, told: Represent) -> Json:
    """Write down that one person may act for another, on the ground of an act whose reference you give. You need the
    right to declare `representation.started`. Names are not kept.
    """
    home: Home = request.app.state.home
    done = await representations.start(
        home,
        representative=told.representative.model_dump(),
        subject=told.subject.model_dump(),
        measure=told.measure,
        proof=told.proof,
        event_types=told.event_types,
        purposes=told.purposes,
        begins_at=_instant(told.begins_at, "/begins_at"),
        ends_at=_instant(told.ends_at, "/ends_at"),
        by=caller.party,
    )
    return representation(done.representation)


@routes.post("/representations/{represented}:end", responses=answers(forms.Representation))
async def end_representation(request: Request, caller: Publisher, represented: str) -> Json:
    """End a representation that you have recorded: from now on it opens nothing. You need the right to declare
    `representation.ended`.
    """
    home: Home = request.app.state.home
    try:
        of = RepresentationId.parse(represented)
    except Refused:
        raise Refused("representations.unknown", "/id") from None
    done = await representations.end(home, of, by=caller.party)
    return representation(done.representation)


@routes.post("/declarations/{declaration}:link", status_code=202, responses=answers(forms.LinkAsked, 202))
async def ask_for_link(request: Request, caller: Publisher, declaration: str, told: Renamed) -> Json:
    """Say who the person of your change of name, or corrected identity, was and is, so that what stands under the old
    identity is found under the new one. Nobody here can read that out of the sealed declaration. Names are not kept.
    The answer is the same whether somebody is known here or not, and it may be asked for again.
    """
    home: Home = request.app.state.home
    try:
        of = DeclarationId.parse(declaration)
    except Refused:
        raise Refused("tracking.unknown", "/id") from None
    await identities.ask_beside(home, caller.party, of, told.old.model_dump(), told.new.model_dump())
    return {"declaration": uuid_of(of)}


def _member(one: FormMember, place: str) -> Member:
    if (one.declaration is None) == (one.subject_token is None):
        raise Refused("households.member", place)
    if one.declaration is not None:
        return Declared(from_b64u(one.declaration, f"{place}/declaration"))
    return Awaited(from_b64u(one.subject_token or "", f"{place}/subject_token"))


def _household(text: str) -> DeclarationId:
    try:
        return DeclarationId.parse(text)
    except Refused:
        raise Refused("households.unknown") from None


def _instant(text: str | None, pointer: str) -> Instant | None:
    if text is None:
        return None
    at = from_rfc3339(text)
    if at is None:
        raise Refused("api.instant", pointer)
    return at
