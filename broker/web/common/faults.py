"""Faults over HTTP: one status for each, the challenge that a 401 owes, and what the framework itself refuses in our
words.

Refuses: to show what the framework says about a value; a field is told by its place and by what was expected there.
Keeps: whatever goes wrong below `/v1` is answered as RFC 9457 problem details with one of our codes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from broker.observability.measures import HTTP_PROBLEMS
from broker.observability.observe import logger
from broker.web.common.problems import problem
from schemas.errors import MOST, Corrupt, Fault, Refused, Unavailable, together

STATUS: Final[Mapping[str, int]] = {
    "api.chunks": 400,
    "api.http": 400,
    "api.json": 400,
    "api.query-unknown": 400,
    "api.query-twice": 400,
    "api.two-lengths": 400,
    "api.no-credential": 401,
    "api.scope": 403,
    "api.not-found": 404,
    "api.method": 405,
    "api.idempotency-key": 400,
    "api.idempotency-busy": 409,
    "api.changed-meanwhile": 412,
    "api.too-large": 413,
    "api.media-type": 415,
    "api.encoded": 415,
    "api.rate": 429,
    "api.rate-declarations": 429,
    "api.too-many-waiting": 429,
    "api.headers": 431,
    "catalogue.unknown-schema": 404,
    "citizens.changed-meanwhile": 409,
    "citizens.level-too-low": 403,
    "citizens.no-client": 403,
    "citizens.other-text": 409,
    "citizens.portal-cap": 429,
    "citizens.session-over": 403,
    "citizens.portal-limit": 429,
    "citizens.session-unknown": 404,
    "citizens.signed-out": 403,
    "citizens.too-many-attempts": 429,
    "consents.unknown-grant": 404,
    "credentials.expired": 401,
    "credentials.forbidden": 401,
    "credentials.revoked": 401,
    "credentials.unknown": 401,
    "dead.applied": 409,
    "dead.replayed": 409,
    "dead.unknown": 404,
    "directory.no-sealing-key": 409,
    "directory.not-entitled": 403,
    "gate.ended": 409,
    "gate.not-handed": 409,
    "gate.unknown-delivery": 404,
    "holds.over": 409,
    "holds.unknown": 404,
    "households.another-form": 409,
    "households.decided": 409,
    "households.expired": 409,
    "households.unknown": 404,
    "intake.other-source": 403,
    "intake.too-large": 413,
    "ledger.not-sequenced-yet": 409,
    "links.not-routed-yet": 409,
    "mailbox.already-applied": 409,
    "mailbox.other-answer": 409,
    "mailbox.not-handed": 409,
    "mailbox.not-released": 409,
    "mailbox.unknown-delivery": 404,
    "oauth.bound": 401,
    "oauth.expired": 401,
    "oauth.token": 401,
    "pages.form": 400,
    "pages.form-token": 403,
    "pages.other-site": 403,
    "pages.signed-out": 401,
    "representations.stands": 409,
    "representations.unknown": 404,
    "proofs.unknown-id": 404,
    "rules.unknown": 404,
    "subscribing.ended": 409,
    "subscribing.running": 409,
    "subscribing.unknown": 404,
    "tracking.unknown": 404,
    "webhooks.ended": 409,
    "webhooks.too-many": 409,
    "webhooks.unknown": 404,
    "webhooks.url-twice": 409,
}
"""What is not here follows from the fault's type: 422 refused, 503 unavailable, 500 a contradiction of our own."""

Renderer = Callable[[Fault, int, Request], Response]
"""Answers a fault, with this status, for people."""

_SAFE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SOON: Final = frozenset({"api.idempotency-busy", "ledger.not-sequenced-yet", "links.not-routed-yet"})
"""What is no fault of the asker's: the same request is good a little later."""
_LATER: Final = "5"
"""Seconds until a client may ask an unavailable broker again."""


def status_of(fault: Fault) -> int:
    """The HTTP status of a fault."""
    if isinstance(fault, Unavailable):
        return 503
    return STATUS.get(fault.code, 422) if isinstance(fault, Refused) else 500


def answer(fault: Fault, request: Request) -> Response:
    """The fault as problem details; as a page where people read, with the frame's word (`unefois.page`)."""
    status = status_of(fault)
    HTTP_PROBLEMS.labels(fault.code).inc()
    page: Renderer | None = request.scope.get("unefois.page")
    response = problem(fault, status, request) if page is None else page(fault, status, request)
    if status == 401:
        told = "" if fault.code == "api.no-credential" else ' error="invalid_token"'
        response.headers["WWW-Authenticate"] = f"Bearer{told}"
    if status == 403 and fault.code == "api.scope":
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{fault.details["scope"]}"'
    if status in {429, 503} or fault.code in _SOON:
        response.headers["Retry-After"] = str(fault.details.get("after", _LATER))
    return response


def register(app: FastAPI) -> None:
    """Let the app answer every fault, its own and ours, in this form."""

    async def on_fault(request: Request, error: Exception) -> Response:
        fault = error if isinstance(error, Fault) else Fault("api.unexpected")
        if isinstance(fault, Corrupt):
            logger().error("api.contradiction", code=fault.code, exc_info=error)
        return answer(fault, request)

    async def on_invalid(request: Request, error: Exception) -> Response:
        found = _fields(error.errors()) if isinstance(error, RequestValidationError) else []
        return answer(together(found) if found else Refused("api.json"), request)

    async def on_http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            return answer(Fault("api.unexpected"), request)
        response = answer(_told_by_framework(error.status_code, request), request)
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    async def on_gone(_: Request, __: Exception) -> Response:
        """Before the body had ended: nobody hears the answer, and nothing of ours went wrong."""
        return Response(status_code=400)

    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(Fault, on_fault)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _told_by_framework(status: int, request: Request) -> Refused:
    """What Starlette or FastAPI refuse by themselves."""
    if status == 405:
        return Refused("api.method", method=request.method if request.method.isalpha() else "?")
    if status == 413:
        return Refused("api.too-large", limit=request.scope.get("unefois.body", 0))
    return Refused("api.not-found") if status == 404 else Refused("api.json")


def _fields(errors: Sequence[Mapping[str, Any]]) -> list[Refused]:
    """Each field that does not have its form. A key that nobody asked for is told by the object that it is in: the key
    itself is the sender's word.
    """
    found = []
    for error in errors[: MOST + 1]:
        place = list(error["loc"])
        if error["type"] == "json_invalid":
            return [Refused("api.json")]
        if error["type"] == "extra_forbidden":
            found.append(Refused("api.unknown-member", _pointer(place[1:-1])))
        elif error["type"] == "missing" and len(place) > 1:
            found.append(Refused("api.missing", _pointer(place[1:])))
        else:
            found.append(Refused("api.field", _pointer(place[1:]), expected=str(error["type"])))
    return found


def _pointer(place: Sequence[str | int]) -> str:
    safe = (str(part) if isinstance(part, int) or _SAFE.fullmatch(part) else "?" for part in place)
    return "".join(f"/{part}" for part in safe)
