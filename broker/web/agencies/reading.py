"""Reading: the directory that everybody pins, the event types with their exact schemas, and one's own subscriptions.

Refuses: another administration's subscription, which is as unknown as one that never was; to approve one: that is an
operator's, with the law's name.
Keeps: the directory and the schemas are the exact bytes that their digests are of, with an ETag.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from broker.credentials import Credential, Scope
from broker.web.agencies.bodies import Ask, Json, time_of, uuid_of
from broker.web.agencies.strict import Access, StrictRoute
from broker.web.caching import exact
from broker.wiring import Home
from consent.policy import Subscription
from schemas.errors import Refused
from schemas.names import EventType, Purpose, SchemaId

routes = APIRouter(route_class=StrictRoute, tags=["read"])

Reader = Annotated[Credential, Depends(Access(Scope.READ))]
Subscriber = Annotated[Credential, Depends(Access(Scope.SUBSCRIBE))]

JSON = "application/json"


@routes.get("/directory", response_class=Response)
async def directory(request: Request, _caller: Reader) -> Response:
    """Who holds which key and may publish what: the exact JSON that a recipient pins."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        content = (await home.lookup.directory(tx)).to_json().encode()
    return exact(request, content, JSON, "no-cache")


@routes.get("/schemas")
async def schemas(request: Request, _caller: Reader) -> Json:
    """Every event type with its schema's id, SHA-256 of its exact bytes."""
    home: Home = request.app.state.home
    return {
        "schemas": [
            {"event_type": one.event_type, "schema": one.schema.id.hex(), "label": dict(one.label)}
            for one in home.catalogue
        ]
    }


@routes.get("/schemas/{schema}", response_class=Response)
async def schema(request: Request, _caller: Reader, schema: str) -> Response:
    """The exact bytes of one schema."""
    home: Home = request.app.state.home
    try:
        found = home.catalogue.by_id(SchemaId.parse(schema)).schema
    except Refused:
        raise Refused("api.not-found") from None
    return exact(request, found.raw, JSON, "private, max-age=31536000, immutable")


@routes.get("/subscriptions")
async def subscriptions(request: Request, caller: Reader) -> Json:
    """Your own: asked for, approved, ended."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        found = await home.lookup.subscriptions_by_id(tx)
    return {"subscriptions": [_subscription(one) for one in found.values() if one.recipient == caller.party]}


@routes.post("/subscriptions", status_code=201)
async def ask(request: Request, caller: Subscriber, wanted: Ask) -> Json:
    """Ask for an event type. Nothing is received before an operator has approved it with its legal reference."""
    home: Home = request.app.state.home
    async with home.store.begin() as tx:
        asked = await home.subscribing.ask(
            tx,
            home.entropy(16),
            recipient=caller.party,
            event_type=EventType(wanted.event_type),
            purpose=Purpose(wanted.purpose),
            fields=frozenset(wanted.fields),
            territories=None if wanted.territories is None else frozenset(wanted.territories),
        )
    return _subscription(asked)


@routes.post("/subscriptions/{subscription}:end")
async def end(request: Request, caller: Subscriber, subscription: str) -> Json:
    """Receive no more; what was not released stays closed."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        found = await home.lookup.subscriptions_by_id(tx)
    mine = {uuid_of(one.id): one for one in found.values() if one.recipient == caller.party}
    if subscription not in mine:
        raise Refused("subscribing.unknown", "/subscription")
    async with home.store.begin() as tx:
        return _subscription(await home.subscribing.end(tx, mine[subscription].id, home.clock()))


def _subscription(one: Subscription) -> Json:
    return {
        "id": uuid_of(one.id),
        "event_type": one.event_type,
        "purpose": one.purpose,
        "fields": sorted(one.fields),
        "territories": None if one.territories is None else sorted(one.territories),
        "status": one.status.value,
        "legal_reference": one.legal_reference or None,
        "approved_at": time_of(one.approved_at),
        "ended_at": time_of(one.ended_at),
    }
