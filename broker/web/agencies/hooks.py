"""Hooks: an administration registers where it wants to hear that deliveries wait, and sees what was sent there.

Refuses: another administration's webhook, which is as unknown as one that never was.
Keeps: nothing of its own: `broker.webhooks` decides and sends. A shared secret is shown where it is new,
and to nobody later.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from broker.access.credentials import Credential, Scope
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.web.agencies import forms
from broker.web.agencies.pages import MOST, Limit, page, page_by_id
from broker.web.common.answered import answers
from broker.web.common.bodies import UUID, Body
from broker.web.common.strict import Access, StrictRoute
from broker.webhooks.endpoints import Webhook
from schemas.errors import Refused
from schemas.names import Instant

routes = APIRouter(route_class=StrictRoute, tags=["webhooks"])

Receiver = Annotated[Credential, Depends(Access(Scope.RECEIVE))]


class Register(Body):
    """Where to be told."""

    url: str = Field(max_length=2048, description="https; it answers the challenge.")
    symmetric: bool = Field(False, description="Sign with a shared secret (v1) beside Ed25519 (v1a).")


class Rotate(Body):
    """How long the old keys sign beside the new ones."""

    overlap_hours: int = Field(24, ge=0, le=168)


@routes.post("/webhooks", status_code=201, responses=answers(forms.Webhook, 201))
async def register_webhook(request: Request, caller: Receiver, wanted: Register) -> Json:
    """Register an endpoint. It is sent a challenge; once it has echoed it, it is told that deliveries wait.

    `secret` is shown now and never again.
    """
    home: Home = request.app.state.home
    at = home.clock()
    async with home.store.begin() as tx:
        made = await home.webhooks.add(tx, caller.party, wanted.url, at, symmetric=wanted.symmetric)
    return told_of(home, made, at, show_secret=True)


@routes.get("/webhooks", responses=answers(forms.WebhookList))
async def webhooks(
    request: Request,
    response: Response,
    caller: Receiver,
    limit: Limit = MOST,
    cursor: Annotated[str | None, Query(pattern=UUID)] = None,
) -> Json:
    """Your own, ended ones too. The next page is in the header `Link`."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        shown = page_by_id(request, response, await home.webhooks.list(tx, caller.party), limit, cursor)
    return {"webhooks": [told_of(home, one, home.clock()) for one in shown]}


@routes.get("/webhooks/{webhook}", responses=answers(forms.Webhook))
async def webhook(request: Request, caller: Receiver, webhook: str) -> Json:
    """One of your own: how it is, and the keys to verify with."""
    home: Home = request.app.state.home
    async with home.store.read() as tx:
        return told_of(home, await home.webhooks.one(tx, caller.party, _id(webhook)), home.clock())


@routes.post("/webhooks/{webhook}:prove", responses=answers(forms.Webhook))
async def prove_webhook(request: Request, caller: Receiver, webhook: str) -> Json:
    """Challenge it anew: after it was disabled, or to try it. Until it has echoed, it is told nothing else."""
    home: Home = request.app.state.home
    at = home.clock()
    async with home.store.begin() as tx:
        return told_of(home, await home.webhooks.prove(tx, caller.party, _id(webhook), at), at)


@routes.post("/webhooks/{webhook}:rotate", responses=answers(forms.Webhook))
async def rotate_webhook(request: Request, caller: Receiver, webhook: str, wanted: Rotate) -> Json:
    """New keys from now on; every message is signed by the old ones, too, for as many hours as you say."""
    home: Home = request.app.state.home
    at, of = home.clock(), _id(webhook)
    async with home.store.begin() as tx:
        made = await home.webhooks.rotate(tx, caller.party, of, at, wanted.overlap_hours * 3_600_000)
    return told_of(home, made, at, show_secret=True)


@routes.post("/webhooks/{webhook}:end", responses=answers(forms.Webhook))
async def end_webhook(request: Request, caller: Receiver, webhook: str) -> Json:
    """Tell it nothing more. Deliveries wait for your pull as before."""
    home: Home = request.app.state.home
    at = home.clock()
    async with home.store.begin() as tx:
        return told_of(home, await home.webhooks.end(tx, caller.party, _id(webhook), at), at)


@routes.get("/webhooks/{webhook}/attempts", responses=answers(forms.AttemptList))
async def webhook_attempts(
    request: Request,
    response: Response,
    caller: Receiver,
    *,
    webhook: str,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=20, pattern="^[0-9]+$")] = None,
) -> Json:
    """Everything that was sent there and what was answered, newest first, the last 500. The next page is in `Link`."""
    home: Home = request.app.state.home
    before = None if cursor is None else min(int(cursor), 2**62)
    async with home.store.read() as tx:
        found = await home.webhooks.attempts(tx, caller.party, _id(webhook), before=before, limit=limit + 1)
    return {
        "attempts": [
            {
                "message": uuid_of(one.message),
                "type": one.kind.value,
                "at": time_of(one.at),
                "duration_ms": one.duration_ms,
                "status": one.status,
                "code": one.code,
            }
            for one in page(request, response, found, limit, lambda one: one.seq)
        ]
    }


def told_of(home: Home, one: Webhook, at: Instant, *, show_secret: bool = False) -> dict[str, Any]:
    """A webhook as its administration sees it."""
    keys = home.webhooks.keys(one, at, show_secret=show_secret)
    return {
        "id": uuid_of(one.id),
        "url": one.url,
        "status": one.status.value,
        "reason": one.reason,
        "changed_at": time_of(one.changed_at),
        "attempts": one.attempts,
        "next_at": time_of(one.next_at),
        "mailed_at": time_of(one.mailed_at),
        "mail_code": one.mail_code,
        "symmetric": one.symmetric,
        "public_keys": list(keys.public),
        **({"secret": keys.secret} if keys.secret is not None else {}),
    }


def _id(text: str) -> bytes:
    """Raises Refused `webhooks.unknown`."""
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise Refused("webhooks.unknown", "/webhook")
    return raw
