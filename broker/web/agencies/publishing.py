"""Publishing: a source asks for a subject's token, hands in what it has signed, and follows what it handed in.

Refuses: what another source has signed; to tell a source who received: whom a citizen lets know is theirs to tell.
Keeps: a 202 says that the declaration is durable, and carries the signed receipt; the same bytes again get the same
receipt, also while the first are under way, and the same id with other bytes is refused: the declaration's id is an
idempotency key. Under a key of the sender's own, the same request gets the same answer. The intake decides, as it does
for the command line.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from broker.access.credentials import Credential, Scope
from broker.flow.arrived import Accepted
from broker.flow.tracking import Progress, Track
from broker.services import proofs
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.web.agencies import arriving, forms, retiring
from broker.web.common import repeating
from broker.web.common.answered import answers
from broker.web.common.bodies import Resolve, b64u
from broker.web.common.faults import status_of
from broker.web.common.limits import Passage
from broker.web.common.problems import language_of, told
from broker.web.common.strict import Access, StrictRoute
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId

routes = APIRouter(route_class=StrictRoute, tags=["publish"])

Publisher = Annotated[Credential, Depends(Access(Scope.PUBLISH))]


@routes.post("/subjects:resolve", responses=answers(forms.SubjectToken))
async def resolve(request: Request, caller: Publisher, wanted: Resolve) -> Json:
    """A token for the person that a declaration will be about: opaque, good for you alone, and soon expired.

    The same person gives another token each time; nothing tells whether anybody has declared about them before. Where
    somebody declares for that person, name them as `declarant`, with the `capacity` in which they do.
    """
    home: Home = request.app.state.home
    if wanted.declarant is None and wanted.capacity not in (None, "agent"):
        raise Refused("representations.no-declarant", "/declarant")
    if wanted.declarant is not None and wanted.capacity is None:
        raise Refused("representations.capacity", "/capacity")
    token, expires_at = await home.desk.token(caller.party, wanted.model_dump())
    return {"subject_token": b64u(token), "expires_at": time_of(expires_at)}


@routes.post(
    "/declarations",
    status_code=202,
    response_class=JSONResponse,
    openapi_extra=arriving.ONE,
    responses=answers(forms.Accepted, 202),
)
async def declare(request: Request, caller: Publisher) -> Response:
    """Hand in one signed envelope (protocol 4). Durable once it is answered, with the signed receipt.

    As it is, or as a CloudEvent in binary or structured mode. `Idempotency-Key` may be left out: the declaration's id
    is one.
    """
    home: Home = request.app.state.home
    key, envelope = repeating.key_of(request), await arriving.one(request)

    request.scope["unefois.passage"].hand_in(caller.party, 1)

    async def declared() -> Response:
        (done,) = await home.intake.accept_all([envelope], caller.party)
        if isinstance(done, Refused):
            raise done
        headers = retiring.headers(home.catalogue, arriving.event_type_of(envelope))
        headers |= {"Location": f"{request.url.path}/{uuid_of(done.declaration_id)}"}
        return JSONResponse(accepted(done), 202, headers)

    own = key is None or arriving.is_id_of(key, envelope)
    return await repeating.once(request, caller, None if own else key, declared)


@routes.post(
    "/declarations:batch",
    response_class=JSONResponse,
    openapi_extra=arriving.MANY,
    responses=answers(forms.BatchResultList),
)
async def declare_all(request: Request, caller: Publisher) -> Response:
    """Hand in several signed envelopes, each in base64url, or a batch of CloudEvents: a result for each, in the same
    order. It costs as many requests of your quota as it holds that are refused, one at least. With an `Idempotency-Key`
    the same batch, sent again within a day, gets the same answer. What is of an event type on its way out says so
    beside its receipt, by the members that `GET /v1/schemas` has.
    """
    home: Home = request.app.state.home
    key, sent = repeating.key_of(request), await arriving.many(request)
    passage: Passage = request.scope["unefois.passage"]
    passage.hand_in(caller.party, len(sent))

    async def declared() -> Response:
        answers = await _accept_all(home, sent, caller)
        passage.owe(sum(isinstance(one, Refused) for one in answers) - 1)  # one by one they would have cost as much
        results = [
            {"ok": True, **accepted(one), **_retiring(home, envelope)}
            if isinstance(one, Accepted)
            else {"ok": False, "problem": told(one, status_of(one), request)}
            for one, envelope in zip(answers, sent, strict=True)
        ]
        return JSONResponse({"results": results})

    return await repeating.once(request, caller, key, declared)


@routes.get("/declarations/{declaration}", responses=answers(forms.Followed))
async def follow(request: Request, caller: Publisher, declaration: str) -> Json:
    """How far a declaration of yours got: how many administrations have it in which state, never which."""
    track = await _own(request.app.state.home, caller, declaration)
    steps = Counter(step.progress for step in track.steps if step.progress is not Progress.WITHHELD)
    return {
        "declaration": uuid_of(track.declaration_id),
        "event_type": track.event_type,
        "corrects": None if track.corrects is None else uuid_of(track.corrects),
        "received_at": time_of(track.received_at),
        "routed_at": time_of(track.routed_at),
        "deliveries": {each.value: steps[each] for each in Progress if each is not Progress.WITHHELD},
    }


@routes.get("/declarations/{declaration}/receipt", response_class=PlainTextResponse)
async def declaration_receipt(request: Request, caller: Publisher, declaration: str) -> PlainTextResponse:
    """That the ledger holds a declaration of yours: a receipt that proves it offline, with a checkpoint that witnesses
    have cosigned where there are any (`unefois audit check`).
    """
    home: Home = request.app.state.home
    track = await _own(home, caller, declaration)
    if track.routed_at is None:
        raise Refused("ledger.not-sequenced-yet", "/declaration")
    kind = FactKind.RECEIVED if track.corrects is None else FactKind.CORRECTED
    return PlainTextResponse(await proofs.show(home, track.declaration_id, kind, language_of(request)))


async def _own(home: Home, caller: Credential, declaration: str) -> Track:
    try:
        of = DeclarationId.parse(declaration)
    except Refused:
        raise Refused("tracking.unknown", "/id") from None
    track = await home.tracking.track(of)
    if track.source != caller.party:  # as unknown as one that never was
        raise Refused("tracking.unknown", "/id")
    return track


async def _accept_all(home: Home, sent: Sequence[bytes | Refused], caller: Credential) -> list[Accepted | Refused]:
    """Those that could be read, together; each answer in its place."""
    answers = iter(await home.intake.accept_all([one for one in sent if isinstance(one, bytes)], caller.party))
    return [next(answers) if isinstance(one, bytes) else one for one in sent]


def _retiring(home: Home, envelope: bytes | Refused) -> Json:
    """Since when and until when, for a type on its way out; nothing for one that stays."""
    if isinstance(envelope, Refused):
        return {}
    members = retiring.members(home.catalogue, arriving.event_type_of(envelope))
    return {} if members["deprecated_at"] is None else members


def accepted(one: Accepted) -> Json:
    """What a source is answered for one declaration that is kept."""
    return {
        "declaration": uuid_of(one.declaration_id),
        "manifest": one.digest.hex(),
        "received_at": time_of(one.received_at),
        "repeated": one.repeated,
        "receipt": json.loads(one.receipt),
    }
