"""Reading: the directory that everybody pins, the event types with their exact schemas, and one's own subscriptions.

Refuses: another administration's subscription, which is as unknown as one that never was; to approve one: that is an
operator's, with the law's name.
Keeps: the directory and the schemas are the exact bytes that their digests are of, with an ETag.
"""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from broker import shapes
from broker.access.credentials import Credential, Scope
from broker.setup.wiring import Home
from broker.shapes import Json, time_of
from broker.store.engine import Transaction
from broker.web.agencies import forms, retiring
from broker.web.agencies.pages import MOST, Limit, page, page_by_id
from broker.web.common.answered import NOT_CHANGED, answers
from broker.web.common.bodies import UUID, Ask, named
from broker.web.common.caching import check_match, exact, tag_of
from broker.web.common.strict import Access, StrictRoute
from consent.policy import Subscription
from schemas import directory_jwks
from schemas.assurance import least_of
from schemas.errors import Refused
from schemas.names import EventType, Instant, Purpose, SchemaId

routes = APIRouter(route_class=StrictRoute, tags=["read"])

Reader = Annotated[Credential, Depends(Access(Scope.READ))]
Subscriber = Annotated[Credential, Depends(Access(Scope.SUBSCRIBE))]

JSON = "application/json"
UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": NOT_CHANGED}}
"""Answered to whoever has the same bytes already."""
TYPE = r"^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$"
Version = Annotated[str | None, Query(max_length=20, pattern="^[0-9]+$")]


@routes.get("/directory", response_class=Response, responses=answers(forms.Directory) | UNCHANGED)
async def directory(request: Request, _caller: Reader) -> Response:
    """Who holds which key and may publish what: the exact JSON that a recipient pins."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        content = (await home.lookup.directory(tx)).to_json().encode()
    return exact(request, content, JSON, "no-cache")


@routes.get("/directory:signed", response_class=Response, responses=answers(forms.SignedDirectory) | UNCHANGED)
async def signed_directory(request: Request, _caller: Reader) -> Response:
    """The directory's exact JSON as text, and the note that the ledger's key signed for it: its version, its digest,
    and that of the document before.
    """
    home: Home = request.app.state.home
    newest = await home.publication.newest()
    told = {"directory": newest.content, "note": newest.note}
    return exact(request, json.dumps(told).encode(), JSON, "no-cache")


@routes.get("/directory/notes", responses=answers(forms.DirectoryNoteList))
async def notes(
    request: Request,
    response: Response,
    _caller: Reader,
    since: Version = None,
    limit: Limit = MOST,
    cursor: Version = None,
) -> Json:
    """The signed notes after a version, the oldest first: each names the document before it, so whoever has pinned one
    follows to the newest. The next page is in the header `Link`.
    """
    home: Home = request.app.state.home
    await home.publication.newest()
    found = await home.publication.since(min(int(cursor or since or 0), 2**62), limit + 1)
    shown = page(request, response, found, limit, lambda one: one[0])
    return {"notes": [{"version": version, "note": note} for version, note in shown]}


@routes.get("/law:signed", response_class=Response, responses=answers(forms.SignedLaw) | UNCHANGED)
async def signed_law(request: Request, _caller: Reader) -> Response:
    """The rules by law and the purposes, exact JSON as text, and the note that the ledger's key signed for them: in a
    chain of its own, with the versions of the directory.
    """
    home: Home = request.app.state.home
    newest = await home.publication.newest_law()
    return exact(request, json.dumps({"law": newest.content, "note": newest.note}).encode(), JSON, "no-cache")


@routes.get("/law/notes", responses=answers(forms.DirectoryNoteList))
async def law_notes(
    request: Request,
    response: Response,
    _caller: Reader,
    since: Version = None,
    limit: Limit = MOST,
    cursor: Version = None,
) -> Json:
    """The signed notes of the law after a version, the oldest first. The next page is in the header `Link`."""
    home: Home = request.app.state.home
    await home.publication.newest_law()
    found = await home.publication.since(min(int(cursor or since or 0), 2**62), limit + 1, law=True)
    shown = page(request, response, found, limit, lambda one: one[0])
    return {"notes": [{"version": version, "note": note} for version, note in shown]}


class JwkSet(JSONResponse):
    """RFC 7517, section 8.5."""

    media_type = "application/jwk-set+json"


@routes.get("/directory/jwks", response_class=JwkSet, responses=answers(forms.JwkSet) | UNCHANGED)
async def jwks(request: Request, _caller: Reader) -> Response:
    """The keys that are good now as a JWK Set (RFC 7517): those of signatures, and those of X25519 for sealing."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        found = await home.lookup.directory(tx)
    content = json.dumps(directory_jwks.jwk_set(found, home.clock())).encode()
    return exact(request, content, JwkSet.media_type, "no-cache")


@routes.get("/schemas", responses=answers(forms.EventTypeList))
async def schemas(
    request: Request,
    response: Response,
    _caller: Reader,
    limit: Limit = MOST,
    cursor: Annotated[str | None, Query(max_length=200, pattern=TYPE)] = None,
) -> Json:
    """Every event type with its schema's id, SHA-256 of its exact bytes. The next page is in the header `Link`."""
    home: Home = request.app.state.home
    found = sorted(
        (one for one in home.catalogue.newest if one.event_type > (cursor or "")), key=lambda x: x.event_type
    )
    return {
        "schemas": [
            {
                "event_type": one.event_type,
                "schema": one.schema.id.hex(),
                "label": dict(one.label),
                **retiring.members(home.catalogue, one.event_type),
            }
            for one in page(request, response, found, limit, lambda one: one.event_type)
        ]
    }


@routes.get("/schemas/{schema}", response_class=Response, responses=answers(forms.AvroSchema) | UNCHANGED)
async def schema(request: Request, _caller: Reader, schema: str) -> Response:
    """The exact bytes of one schema."""
    home: Home = request.app.state.home
    try:
        found = home.catalogue.by_id(SchemaId.parse(schema))
    except Refused:
        raise Refused("api.not-found") from None
    answer = exact(request, found.schema.raw, JSON, "private, max-age=31536000, immutable")
    answer.headers.update(retiring.headers(home.catalogue, found.event_type))
    return answer


@routes.get("/subscriptions", responses=answers(forms.SubscriptionList))
async def subscriptions(
    request: Request,
    response: Response,
    caller: Reader,
    limit: Limit = MOST,
    cursor: Annotated[str | None, Query(pattern=UUID)] = None,
) -> Json:
    """Your own: asked for, approved, ended. The next page is in the header `Link`."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        known = (await home.lookup.subscriptions_by_id(tx)).values()
        mine = [one for one in known if one.recipient == caller.party]
        shown = page_by_id(request, response, mine, limit, cursor)
        paused = await home.subscribing.paused(tx, shown)
    return {"subscriptions": [_subscription(one, paused.get(one.id)) for one in shown]}


@routes.get("/subscriptions/{subscription}", response_class=Response, responses=answers(forms.Subscription) | UNCHANGED)
async def one_subscription(request: Request, caller: Reader, subscription: str) -> Response:
    """One of your own, with an ETag: send it back as `If-Match` with what changes it."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        found = (await home.lookup.subscriptions_by_id(tx)).get(_id(subscription))
        if found is None or found.recipient != caller.party:
            raise Refused("subscribing.unknown", "/subscription")
        content = await _content(home, tx, found)
    answer = exact(request, content, JSON, "private, no-cache")
    answer.headers.update(retiring.headers(home.catalogue, found.event_type))
    return answer


@routes.post("/subscriptions", status_code=201, responses=answers(forms.Subscription, 201))
async def ask_subscription(request: Request, response: Response, caller: Subscriber, wanted: Ask) -> Json:
    """Ask for an event type. Nothing is received before an operator has approved it with its legal reference."""
    home: Home = request.app.state.home
    async with home.store.begin() as tx:
        asked = await home.subscribing.ask(
            tx,
            home.entropy(16),
            recipient=caller.party,
            event_type=named(EventType, wanted.event_type, "/event_type"),
            purpose=named(Purpose, wanted.purpose, "/purpose"),
            fields=frozenset(wanted.fields),
            territories=None if wanted.territories is None else frozenset(wanted.territories),
            least=least_of(wanted.least_assurance, wanted.least_quality),
        )
    response.headers.update(retiring.headers(home.catalogue, asked.event_type))
    return _subscription(asked, None)


@routes.post("/subscriptions/{subscription}:end", response_class=Response, responses=answers(forms.Subscription))
async def end_subscription(request: Request, caller: Subscriber, subscription: str) -> Response:
    """Receive no more; what was not released stays closed."""
    home: Home = request.app.state.home
    return await _change(request, caller, subscription, lambda tx, one: home.subscribing.end(tx, one, home.clock()))


@routes.post("/subscriptions/{subscription}:pause", response_class=Response, responses=answers(forms.Subscription))
async def pause_subscription(request: Request, caller: Subscriber, subscription: str) -> Response:
    """Receive nothing of it for a while: deliveries are planned, and wait. Once more changes nothing."""
    home: Home = request.app.state.home
    return await _change(request, caller, subscription, lambda tx, one: home.subscribing.pause(tx, one, home.clock()))


@routes.post("/subscriptions/{subscription}:resume", response_class=Response, responses=answers(forms.Subscription))
async def resume_subscription(request: Request, caller: Subscriber, subscription: str) -> Response:
    """Receive what waited, oldest first, and what comes. Once more changes nothing."""
    home: Home = request.app.state.home
    return await _change(request, caller, subscription, home.subscribing.resume)


async def _change(
    request: Request, caller: Credential, told: str, change: Callable[[Transaction, bytes], Awaitable[object]]
) -> Response:
    """Change one's own, if it is as `If-Match` says; in one transaction, so nobody comes between."""
    home: Home = request.app.state.home
    async with home.store.begin() as tx:
        before = await home.subscribing.claim(tx, caller.party, _id(told))
        check_match(request, await _content(home, tx, before))
        await change(tx, before.id)
        after = await home.subscribing.claim(tx, caller.party, before.id)
        content = await _content(home, tx, after)
    return Response(content, media_type=JSON, headers={"ETag": tag_of(content)})


def _id(told: str) -> bytes:
    """An id; what is none is as unknown as one that never was."""
    if re.fullmatch(UUID, told) is None:
        raise Refused("subscribing.unknown", "/subscription")
    return bytes.fromhex(told.replace("-", ""))


async def _content(home: Home, tx: Transaction, one: Subscription) -> bytes:
    """A subscription as exact bytes, which its tag is of."""
    paused = await home.subscribing.paused(tx, [one])
    return json.dumps(_subscription(one, paused.get(one.id)), ensure_ascii=False).encode()


def _subscription(one: Subscription, paused_at: Instant | None) -> Json:
    return {name: told for name, told in shapes.subscription(one).items() if name != "recipient"} | {
        "paused_at": time_of(paused_at)
    }
