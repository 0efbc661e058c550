"""Repeating: a request that says its key in `Idempotency-Key` is done once, however often it is sent.

Refuses: a key that is none, or that is said twice; what `broker.access.idempotency` refuses.
Keeps: only an answer that says that it was done is kept: what was refused, or could not be done now, may be mended and
sent again under its key. A declaration's own id needs no keeping: the intake knows it.
Source: draft-ietf-httpapi-idempotency-key-header-07; RFC 8941, section 3.3.3 (the key is a string in quotes).
"""

import json
import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from fastapi import Request, Response

from broker.access.credentials import Credential
from broker.access.idempotency import Answer, Claim
from broker.observability.observe import logger
from broker.setup.wiring import Home
from schemas.errors import Refused, Unavailable

HEADER: Final = "idempotency-key"
_KEY: Final = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~]{1,255})')
_KEPT: Final = ("content-type", "location", "deprecation", "sunset", "link")
_ABOUT: Final = ("content-type", "ce-")
"""The headers, or their beginnings, that are part of what was sent."""


def key_of(request: Request) -> str | None:
    """The key of a request, None when there is none. Raises Refused `api.idempotency-key`."""
    told = request.headers.getlist(HEADER)
    if not told:
        return None
    found = _KEY.fullmatch(told[0].strip()) if len(told) == 1 else None
    if found is None:
        raise Refused("api.idempotency-key")
    return found[1] or found[2]


async def once(
    request: Request, caller: Credential, key: str | None, answered: Callable[[], Awaitable[Response]]
) -> Response:
    """The answer that was given under this key, or a new one. Raises as `IdempotencyKeys.claim` and `answered` do."""
    if key is None:
        return await answered()
    home: Home = request.app.state.home
    claim = await home.idempotency_keys.claim(caller.party, key, _digest(request, await request.body()))
    if isinstance(claim, Answer):
        return Response(claim.body, claim.status, json.loads(claim.headers))
    try:
        response = await answered()
    except (Refused, Unavailable):
        await home.idempotency_keys.release(claim)
        raise
    await _keep(home, claim, response)
    return response


async def _keep(home: Home, claim: Claim, response: Response) -> None:
    headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
    try:
        await home.idempotency_keys.keep(claim, Answer(response.status_code, json.dumps(headers), bytes(response.body)))
    except Unavailable as fault:  # it is done and durable, and whoever asked is told so; sent again it is done again
        logger().warning("api.answer-not-kept", party=claim.party, code=fault.code)


def _digest(request: Request, body: bytes) -> bytes:
    """SHA-256 of everything that makes it this request: where to, in which form, and what."""
    told = sorted((name, value) for name, value in request.headers.items() if name.startswith(_ABOUT))
    return sha256(json.dumps([request.method, request.url.path, told]).encode() + b"\x00" + body).digest()
