"""The signing sidecar: HTTP on this machine alone, for a source's systems that cannot sign yet.

    POST /v1/declarations           {"event_type": ..., "record": {...}}, header Idempotency-Key: a number of yours
        201 {declaration, state: received, receipt}      the broker has it
        202 {declaration, state: waiting, code, problem} kept here; the broker is away, and gets it later
        202 {declaration, state: parked, code, problem}  kept here; the broker does not let you, until somebody mends it
        422 problem with pointers                        nothing was kept
        4xx problem, as the broker told it               the broker refuses it for good
    GET  /v1/declarations/{id}      what became of it
    GET  /v1/status                 how many wait, how many are parked
    GET  /v1/parked                 the oldest hundred of them, each with the broker's code
    POST /v1/parked:retry           try them again

Refuses: whoever does not call from this machine, calls it by another name, comes from a browser's page, or does not
show the local token; any body but JSON of a modest size.
Keeps: what was answered with 201 or 202 is on the disk; no value of a citizen is logged. What the broker said is passed
on whole (`problem`): status, code, every pointer, text, how long to wait.
Source: RFC 9457; the rules against browsers are Fetch's: a page's request to another origin carries Origin or
Sec-Fetch-Site, and a name that was rebound to this machine carries another Host.
"""

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from decimal import Decimal
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final

from connectors.outbox import Item
from connectors.problems import KIND, language_of, problem, translated
from connectors.source_desk import SourceDesk
from schemas.errors import Fault, Refused, Unavailable
from schemas.messages import Language
from schemas.names import DeclarationId, uuid_text

BODY_BYTES: Final = 256 * 1024
_KEY: Final = re.compile(r"[!-~]{1,128}")
_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "sidecar.not-local": 403,
        "sidecar.host": 403,
        "sidecar.browser": 403,
        "sidecar.token": 401,
        "sidecar.no-route": 404,
        "source.unknown": 404,
        "sidecar.media-type": 415,
        "sidecar.too-large": 413,
        "sidecar.json": 400,
        "sidecar.key": 400,
        "outbox.key-reused": 422,
    }
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Sidecar:
    """An ASGI app. `token`: what local systems show; `port`: where it listens, as a Host header names it."""

    def __init__(self, desk: SourceDesk, token: str, port: int) -> None:
        self._desk = desk
        self._token = token.encode()
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._admit(scope, headers)
            status, told = await self._routed(scope, headers, receive)
        except Fault as fault:
            status = 503 if isinstance(fault, Unavailable) else _STATUS.get(fault.code, 422)
            told = problem(fault, status, language_of(headers.get("accept-language", "")))
        except Exception as error:
            # Broad on purpose: what an exception says may hold a value; it is told by its kind.
            wrong = Fault("sidecar.unexpected", kind=type(error).__name__)
            status, told = 500, problem(wrong, 500)
        await _answer(send, status, told)

    def _admit(self, scope: Scope, headers: Mapping[str, str]) -> None:
        client = scope.get("client")
        if client is None or not ip_address(client[0]).is_loopback:
            raise Refused("sidecar.not-local")
        if headers.get("host") not in self._hosts:
            raise Refused("sidecar.host")
        if "origin" in headers or any(name.startswith("sec-fetch-") for name in headers):
            raise Refused("sidecar.browser")
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(shown.encode("latin-1"), self._token):
            raise Refused("sidecar.token")

    async def _routed(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> tuple[int, dict[str, Any]]:
        path, method = str(scope["path"]), scope["method"]
        language = language_of(headers.get("accept-language", ""))
        if (method, path) == ("POST", "/v1/declarations"):
            return await self._declare(headers, receive, language)
        if (method, path) == ("GET", "/v1/status"):
            return 200, {"waiting": self._desk.waiting(), "parked": self._desk.parked()[0]}
        if (method, path) == ("GET", "/v1/parked"):
            return 200, {"parked": [_shown(item, language) for item in self._desk.parked()[1]]}
        if (method, path) == ("POST", "/v1/parked:retry"):
            return 200, {"retried": self._desk.retry()}
        if method == "GET" and path.startswith("/v1/declarations/"):
            try:
                item = self._desk.of(DeclarationId.parse(path.rpartition("/")[2]))
            except Refused:
                item = None
            if item is None:
                raise Refused("source.unknown", "/id")
            return 200, _shown(item, language)
        raise Refused("sidecar.no-route")

    async def _declare(
        self, headers: Mapping[str, str], receive: Receive, language: Language
    ) -> tuple[int, dict[str, Any]]:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused("sidecar.media-type")
        key = headers.get("idempotency-key", "").strip('"')
        if not _KEY.fullmatch(key):
            raise Refused("sidecar.key")
        item = self._desk.accept(await json_body(receive, BODY_BYTES), key)
        if item.state == "waiting":
            item = await self._desk.publish(item.declaration_id)
        if item.state != "refused":
            return (201 if item.state == "received" else 202), _shown(item, language)
        told = problem_of(item, language)
        return told["status"], told | {"declaration": uuid_text(item.declaration_id)}


async def json_body(receive: Receive, limit: int) -> object:
    """The body of a request, decimals exact. Raises Refused `sidecar.too-large` over `limit` bytes, `sidecar.json`."""
    content, more = bytearray(), True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False) and message["type"] == "http.request"
        if len(content) > limit:
            raise Refused("sidecar.too-large", limit=limit)
    try:
        return json.loads(content.decode(), parse_float=Decimal, object_pairs_hook=_once, parse_constant=_not_a_number)
    except (ValueError, RecursionError):
        raise Refused("sidecar.json") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _not_a_number(text: str) -> float:
    raise ValueError("no number")


def _shown(item: Item, language: Language) -> dict[str, Any]:
    told: dict[str, Any] = {"declaration": uuid_text(item.declaration_id), "state": item.state}
    if item.receipt is not None:
        told["receipt"] = json.loads(item.receipt)
    if item.code is not None:
        told |= {"code": item.code, "pointer": item.pointer or ""}
    if item.problem is not None:
        told["problem"] = problem_of(item, language)
    return told


def problem_of(item: Item, language: Language) -> dict[str, Any]:
    """What the broker said of a declaration; of what was refused before its words were kept, the code and the place."""
    told = {"status": 422, "code": item.code or "-"}
    if item.pointer:
        told["errors"] = [{"pointer": item.pointer, "code": item.code or "-"}]
    return translated(told if item.problem is None else json.loads(item.problem), language)


async def _answer(send: Send, status: int, told: Mapping[str, Any]) -> None:
    content = json.dumps(told, ensure_ascii=False).encode()
    kind = KIND if status >= 400 else "application/json"
    headers = [("content-type", kind), ("cache-control", "no-store"), ("content-length", str(len(content)))]
    if status == 401:
        headers.append(("www-authenticate", "Bearer"))
    if "retry_after" in told:
        headers.append(("retry-after", str(told["retry_after"])))
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
