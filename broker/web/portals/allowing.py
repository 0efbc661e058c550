"""Allowing: what a citizen may allow, what they have allowed, and the rules by law with their objections.

Refuses: what `broker.services.citizens` refuses; an id that is none, as one that never was.
Keeps: one call is one use case of the services. What is agreed to is held by the SHA-256 of what was shown, what is
changed by the version that was shown; an end always counts.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from broker.services.citizens import choices, history, laws
from broker.services.citizens.choices import Wish
from broker.setup.wiring import Home
from broker.shapes import Json
from broker.web.common.answered import answers
from broker.web.common.bodies import named
from broker.web.common.strict import StrictRoute
from broker.web.portals import bodies, forms
from broker.web.portals.bodies import Agree, Narrow, Objection, Version, instant, known
from broker.web.portals.coming import FREE, Caller, Me, change
from broker.web.portals.queries import Limit, Territory, TypeName, UuidAfter
from schemas.errors import Refused
from schemas.names import EventType, GrantId, PartyId, Purpose, RuleId

routes = APIRouter(route_class=StrictRoute, tags=["choices"])

Ended = Annotated[bool, Query(description="With those that are over.")]
VersionNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Left out: the newest.")]


@routes.get("/offers", responses=answers(forms.OfferList))
async def offers(
    request: Request,
    *,
    caller: Caller,
    me: Me,
    event_type: TypeName,
    territory: Territory = None,
    after: UuidAfter = None,
    limit: Limit = choices.PAGE,
) -> Json:
    """What may be allowed of one type: who asks for it, what for, which fields. With `territory`, only those who hear
    of that commune.
    """
    return await choices.offers(
        request.app.state.home,
        me,
        named(EventType, event_type, "/event_type"),
        territories=() if territory is None else (territory,),
        after=None if after is None else bytes.fromhex(after.replace("-", "")),
        limit=limit,
    )


@routes.post("/consents:preview", responses=answers(forms.Preview))
async def preview(request: Request, caller: Caller, me: Me, told: bodies.Wish) -> Json:
    """The exact words that the citizen would agree to, in the language of the session. Show them as they are; then
    `POST /consents` with `until` and their SHA-256.
    """
    return await choices.preview(request.app.state.home, me, _wish(told))


@routes.post("/consents", status_code=201, responses=answers(forms.Change, 201))
async def give(request: Request, caller: Caller, me: Me, told: Agree) -> Response:
    """Allow it, under the text that was shown; the receipt is the citizen's. The same again answers with the grant that
    there is. The citizen is told on their own channels.
    """
    home: Home = request.app.state.home
    wish = _wish(told)
    return await change(request, caller, me, lambda: choices.give(home, me, wish, told.text_sha256), status=201)


@routes.get("/consents", responses=answers(forms.GrantList))
async def grants(request: Request, caller: Caller, me: Me, ended: Ended = False) -> Json:
    """What the citizen has allowed, and what goes out by a law: the text that was shown, and what can be done."""
    return {"consents": await choices.mine(request.app.state.home, me, ended=ended)}


@routes.get("/consents/{grant}", responses=answers(forms.GrantWithVersions))
async def grant(request: Request, caller: Caller, me: Me, grant: str) -> Json:
    """One of them, with every version that it ever had."""
    return await choices.one(request.app.state.home, me, _grant(grant))


@routes.get("/consents/{grant}/receipt", responses=answers(forms.ConsentReceipt))
async def consent_receipt(request: Request, caller: Caller, me: Me, grant: str, version: VersionNumber = None) -> Json:
    """The signed receipt of a version, once more; it can be verified without us (`unefois receipt verify`)."""
    return {"receipt": await history.receipt(request.app.state.home, me, _grant(grant), version)}


@routes.post("/consents/{grant}:pause", responses=answers(forms.Change))
async def pause(request: Request, caller: Caller, me: Me, grant: str, told: Version) -> Response:
    """Hold everything back. Of the version that was shown: one that has changed meanwhile is refused."""
    home: Home = request.app.state.home
    of = _grant(grant)
    return await change(request, caller, me, lambda: choices.pause(home, me, of, told.version), cost=FREE)


@routes.post("/consents/{grant}:resume", responses=answers(forms.Change))
async def resume(request: Request, caller: Caller, me: Me, grant: str, told: Version) -> Response:
    """End a pause: what waited goes out."""
    home: Home = request.app.state.home
    of = _grant(grant)
    return await change(request, caller, me, lambda: choices.resume(home, me, of, told.version))


@routes.post("/consents/{grant}:narrow", responses=answers(forms.Change))
async def narrow(request: Request, caller: Caller, me: Me, grant: str, told: Narrow) -> Response:
    """Keep only these fields."""
    home: Home = request.app.state.home
    of, fields = _grant(grant), frozenset(told.fields)
    return await change(request, caller, me, lambda: choices.narrow(home, me, of, told.version, fields), cost=FREE)


@routes.post("/consents/{grant}:end", responses=answers(forms.Change))
async def end(request: Request, caller: Caller, me: Me, grant: str) -> Response:
    """End it for good, whichever version was shown. When this is answered, nothing more goes out under it."""
    home: Home = request.app.state.home
    of = _grant(grant)
    return await change(request, caller, me, lambda: choices.end(home, me, of), cost=FREE)


@routes.post("/consents:end-all", responses=answers(forms.ChangeList))
async def end_all(request: Request, caller: Caller, me: Me) -> Response:
    """End every consent and choice that stands. What rests on a law stays: see `GET /rules`."""
    home: Home = request.app.state.home

    async def ended() -> Json:
        return {"ended": await choices.end_all(home, me)}

    return await change(request, caller, me, ended, cost=FREE)


@routes.get("/rules", responses=answers(forms.RuleList))
async def rules(
    request: Request,
    *,
    caller: Caller,
    me: Me,
    event_type: TypeName | None = None,
    territory: Territory = None,
    after: UuidAfter = None,
    limit: Limit = laws.PAGE,
) -> Json:
    """The rules by law under which administrations hear of everybody: their articles, and what the citizen has said."""
    return await laws.by_law(
        request.app.state.home,
        me,
        event_type=None if event_type is None else named(EventType, event_type, "/event_type"),
        territory=territory,
        after=None if after is None else RuleId.parse(after),
        limit=limit,
    )


@routes.post("/rules/{rule}:object", responses=answers(forms.Objected))
async def object_to(request: Request, caller: Caller, me: Me, rule: str, told: Objection) -> Response:
    """Object to a rule by law, where its text lets a citizen: from now on nothing of theirs goes out under it."""
    home: Home = request.app.state.home
    of = _rule(rule)
    return await change(request, caller, me, lambda: laws.object_to(home, me, of, told.reason), cost=FREE)


@routes.post("/rules/{rule}:withdraw", responses=answers(forms.Objected))
async def withdraw(request: Request, caller: Caller, me: Me, rule: str) -> Response:
    """Withdraw an objection: the rule counts again, for what comes."""
    home: Home = request.app.state.home
    of = _rule(rule)
    return await change(request, caller, me, lambda: laws.withdraw(home, me, of))


def _wish(told: bodies.Wish) -> Wish:
    return Wish(
        recipient=named(PartyId, told.recipient, "/recipient"),
        event_type=named(EventType, told.event_type, "/event_type"),
        purpose=named(Purpose, told.purpose, "/purpose"),
        fields=frozenset(told.fields),
        until=None if told.until is None else instant(told.until, "/until"),
        once=told.once,
        by_choice=told.by_choice,
        include_latest=told.include_latest,
    )


def _grant(text: str) -> GrantId:
    return known(GrantId.parse, text, Refused("consents.unknown-grant", "/grant"))


def _rule(text: str) -> RuleId:
    return known(RuleId.parse, text, Refused("rules.unknown", "/rule"))
