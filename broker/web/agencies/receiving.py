"""Receiving: an administration takes its deliveries, says what became of them, and sees what waits.

Refuses: another administration's delivery, which is as unknown as one that never was.
Keeps: nothing of its own: mailbox, gate and dead letters decide, as they do for a hosted administration. One pull has
one sealed key release; what leaves is ciphertext and keys sealed to the recipient.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse

from broker.access.credentials import Credential, Scope
from broker.flow import backlog
from broker.flow.answers import Answered, End, Later, Partly, Rejection
from broker.flow.deliveries import load_own
from broker.flow.gate import Released
from broker.services import proofs
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.web.agencies import forms
from broker.web.agencies.pages import Limit, page
from broker.web.agencies.waiting import Waiting
from broker.web.common.answered import answers
from broker.web.common.bodies import BATCH, Acknowledge, Acknowledgement, Pull, Release, Replay, b64u
from broker.web.common.faults import status_of
from broker.web.common.problems import language_of, told
from broker.web.common.strict import Access, StrictRoute
from broker.webhooks.endpoints import Status
from schemas.errors import Fault, Refused
from schemas.names import DeliveryId, PartyId, Reason, from_rfc3339

routes = APIRouter(route_class=StrictRoute, tags=["receive"])

Receiver = Annotated[Credential, Depends(Access(Scope.RECEIVE))]


@routes.post("/deliveries:pull", responses=answers(forms.Pulled))
async def pull(request: Request, caller: Receiver, wanted: Pull) -> Json:
    """Take deliveries for one lease, with the keys to open them: one key release, sealed to your current key.

    `deliveries` is in the order that the key release was sealed for: open them together, in this order. What is not
    acknowledged before the lease ends comes again.
    """
    home: Home = request.app.state.home
    waiting: Waiting = request.app.state.waiting
    inbox = home.inbox(caller.party)
    if wanted.wait:
        gone = request.is_disconnected
        bell, most = home.store.wake_signal, wanted.max
        due = await waiting.until(caller.party, bell, inbox.due, gone, most=most, seconds=wanted.wait)
        if await gone():  # what it would take would come again only when its lease is over
            due = ()
    else:
        due = await inbox.due(wanted.max)
    return _pulled(await home.gate.pull(caller.party, due), home.settings.lease_seconds)


@routes.post("/deliveries:release", responses=answers(forms.Pulled))
async def release(request: Request, caller: Receiver, wanted: Release) -> Json:
    """The keys of deliveries that you hold, once more, under one key release of their own and under today's consent."""
    home: Home = request.app.state.home
    ids = [DeliveryId.parse(text) for text in wanted.deliveries]
    if len(set(ids)) < len(ids):
        raise Refused("api.repeated", "/deliveries")
    return _pulled(await home.gate.release(caller.party, ids), home.settings.lease_seconds)


@routes.post("/deliveries:ack", responses=answers(forms.ResultList))
async def acknowledge(request: Request, caller: Receiver, ends: Acknowledge) -> Json:
    """Say what became of deliveries. Durable once it is answered; the same end again changes nothing.

    What is not applied holds up nothing that comes after it. `applied` and `partly` are final; `awaiting-human` is
    answered once more; what is the person's to repair may be answered otherwise until then.

    `later` gives one back because your own system is away: it comes again after its back-off, and after `after` seconds
    at the least. Each has its own result: one that cannot be acknowledged does not hinder the others.
    """
    outcomes: dict[DeliveryId, End] = {}
    for number, one in enumerate(ends.acknowledgements):
        delivery = DeliveryId.parse(one.delivery)
        if delivery in outcomes:
            raise Refused("api.repeated", f"/acknowledgements/{number}/delivery")
        outcomes[delivery] = _outcome(one, f"/acknowledgements/{number}")
    home: Home = request.app.state.home
    async with home.store.begin() as tx:
        refused = await home.mailbox.acknowledge(tx, caller.party, outcomes, home.clock())
    return {"results": [_result(request, delivery, refused.get(delivery)) for delivery in outcomes]}


@routes.post("/deliveries:replay", responses=answers(forms.ReplayResultList))
async def replay(request: Request, caller: Receiver, wanted: Replay) -> Json:
    """Try own dead letters again, under the consent of today: on their way, or withheld for a reason.

    Name them, or the instant since when they died: then the hundred oldest; ask again while some of them went.
    """
    home: Home = request.app.state.home
    results = []
    for delivery in await _to_replay(home, caller.party, wanted):
        try:
            reason = await home.dead_letters.replay_own(caller.party, delivery)
        except Refused as fault:
            results.append(_result(request, delivery, fault))
        else:
            results.append(_result(request, delivery, None) | {"withheld": None if reason is None else reason.value})
    return {"results": results}


async def _to_replay(home: Home, party: PartyId, wanted: Replay) -> list[DeliveryId]:
    if (wanted.deliveries is None) == (wanted.since is None):
        raise Refused("api.replay-which")
    if wanted.deliveries is not None:
        return [DeliveryId.parse(text) for text in dict.fromkeys(wanted.deliveries)]
    since = from_rfc3339(wanted.since or "")
    if since is None:
        raise Refused("api.instant", "/since")
    found = await home.dead_letters.list(recipient=party, since=since, limit=BATCH)
    return list(dict.fromkeys(one.delivery for one in found if one.delivery is not None))


@routes.get("/dead-letters", responses=answers(forms.DeadLetterList))
async def dead_letters(
    request: Request,
    response: Response,
    caller: Receiver,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=20, pattern="^[0-9]+$")] = None,
) -> Json:
    """What you rejected, or what was tried too often, oldest first. The next page is in the header `Link`."""
    home: Home = request.app.state.home
    after = min(int(cursor or 0), 2**62)
    found = await home.dead_letters.list(recipient=caller.party, after=after, limit=limit + 1)
    return {
        "dead_letters": [
            {
                "delivery": uuid_of(one.delivery) if one.delivery is not None else None,
                "event_type": one.event_type,
                "reason": one.reason.value,
                "code": one.code,
                "attempts": one.attempts,
                "at": time_of(one.at),
            }
            for one in page(request, response, found, limit, lambda one: one.id)
        ]
    }


@routes.get("/deliveries/{delivery}/receipt", response_class=PlainTextResponse)
async def delivery_receipt(request: Request, caller: Receiver, delivery: str) -> PlainTextResponse:
    """The newest fact that the ledger holds of a delivery of yours: a receipt that proves it offline, with a checkpoint
    that witnesses have cosigned where there are any (`unefois audit check`).
    """
    home: Home = request.app.state.home
    try:
        of = DeliveryId.parse(delivery)
    except Refused:
        raise Refused("mailbox.unknown-delivery", "/delivery") from None
    async with home.store.read() as tx:
        if of not in await load_own(tx, caller.party, [of]):
            raise Refused("mailbox.unknown-delivery", "/delivery")
    return PlainTextResponse(await proofs.show(home, of, None, language_of(request)))


@routes.get("/status", responses=answers(forms.Status))
async def status(request: Request, caller: Receiver) -> Json:
    """How much waits for you, and since when; how your webhooks are."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        now = await backlog.of(tx, caller.party)
        hooks = [one for one in await home.webhooks.list(tx, caller.party) if one.status is not Status.ENDED]
    return {
        "party": caller.party,
        "waiting": now.waiting,
        "handed": now.handed,
        "oldest_at": time_of(now.oldest_at),
        "dead_letters": now.dead_letters,
        "webhooks": [{"id": uuid_of(one.id), "status": one.status.value, "reason": one.reason} for one in hooks],
        "at": time_of(home.clock()),
    }


def _pulled(taken: Released, lease_seconds: int) -> Json:
    return {
        "deliveries": [
            {
                "id": uuid_of(one.delivery_id),
                "attempts": taken.attempts.get(one.delivery_id, 0),
                "locked": b64u(one.encode()),
            }
            for one in taken.locked
        ],
        "key_release": b64u(taken.key_release) if taken.locked else None,
        "withheld": [{"id": uuid_of(delivery), "reason": reason.value} for delivery, reason in taken.withheld],
        "lease_seconds": lease_seconds,
    }


def _outcome(one: Acknowledgement, pointer: str) -> End:
    _check_members(one, pointer)
    if one.outcome == "later":
        return Later(one.code or "", None if one.after is None else one.after * 1000)
    if one.code is not None:
        return Rejection(one.code, Reason(one.reason or Reason.TECHNICAL))
    if one.outcome == "applied":
        return None
    return Answered(Reason(one.outcome), one.until) if one.fields is None else Partly(tuple(one.fields))


def _check_members(one: Acknowledgement, pointer: str) -> None:
    """Each outcome has its own members, and no others."""
    if one.outcome != "later" and one.after is not None:
        raise Refused("api.after-without-later", pointer)
    if (one.until is not None) is not (one.outcome == "awaiting-human"):
        raise Refused("api.until-of-awaiting-human", pointer)
    if (one.fields is not None) is not (one.outcome == "partly"):
        raise Refused("api.fields-of-partly", pointer)
    told = (one.code is not None, one.reason is not None)
    if one.outcome == "rejected" and told != (True, True):
        raise Refused("api.rejected-without-code", pointer)
    if one.outcome == "later" and told != (True, False):
        raise Refused("api.later-with-code-alone", pointer)
    if one.outcome == "technical" and told != (True, False):
        raise Refused("api.technical-with-code-alone", pointer)
    if one.outcome not in ("rejected", "later", "technical") and told != (False, False):
        raise Refused("api.applied-with-code", pointer)


def _result(request: Request, delivery: DeliveryId, fault: Fault | None) -> dict[str, Any]:
    if fault is None:
        return {"delivery": uuid_of(delivery), "ok": True}
    return {"delivery": uuid_of(delivery), "ok": False, "problem": told(fault, status_of(fault), request)}
