"""Frame: what surrounds every request of the agencies' API, before any route is looked for.

Refuses: a URL, headers and bodies beyond their limits, before anything reads them; a body that is compressed, for its
size cannot be known; an address that has spent its quota without proving anything.
Keeps: every answer has its trace id and the security headers, and nothing of an unexpected fault but that it happened.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.observability.measures import HTTP_ANSWERS
from broker.observability.observe import bound, logger
from broker.observability.tracing import CURRENT, HEADER, TraceId
from broker.ports import Entropy
from broker.web.common.faults import Renderer, answer
from broker.web.common.limits import Limits, Passage
from broker.web.common.proxies import Proxies
from schemas.errors import Fault, Refused, Unavailable

HEADER_BYTES: Final = 16 * 1024
HEADERS: Final = 64
BODY_BYTES: Final = 256 * 1024
"""What a body may weigh where its route does not say more."""

REQUESTS: Final = 512
"""Under way at once in one process; one more is told to come again."""

ALWAYS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer, unless the route says otherwise itself: what is not said to be public is kept by nobody."""

NO_PAGES: Final[Mapping[str, Renderer]] = MappingProxyType({})

UNCOUNTED: Final = ("/health/", "/metrics")
"""Who watches the machine is never told to wait."""


class Frame:
    """ASGI middleware; `bodies` holds the limits of paths that take more than BODY_BYTES, and of all below a path that
    ends with a slash.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        entropy: Entropy,
        bodies: Mapping[str, int],
        proxies: Proxies,
        limits: Limits,
        begun: Callable[[], Awaitable[bool]] | None = None,
        pages: Mapping[str, Renderer] = NO_PAGES,
    ) -> None:
        """`begun`: waits a little until the database is known to be ours; nothing is asked of another one. `pages`:
        below these paths people read, and a fault is a page.
        """
        self._begun = begun
        self._pages = pages
        self._app = app
        self._entropy = entropy
        self._bodies = bodies
        self._proxies = proxies
        self._limits = limits
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace = TraceId.read(headers.get(HEADER)) or TraceId(self._entropy(16))
        scope["unefois.trace"] = trace.hex()
        scope["unefois.page"] = next((page for below, page in self._pages.items() if _is_below(scope, below)), None)
        token = CURRENT.set(trace)
        try:
            with bound(trace):
                await self._framed(scope, headers, receive, send)
        finally:
            CURRENT.reset(token)

    async def _framed(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        limit = scope["unefois.body"] = self._limit(scope["path"])
        reply = _Reply(send, scope["unefois.trace"])
        try:
            _check_size(scope, headers, limit)
            scope["unefois.certificate"] = self._proxies.certificate(scope)
            if self._under_way >= REQUESTS:
                raise Unavailable("api.busy", limit=REQUESTS)
            if not scope["path"].startswith(UNCOUNTED):
                address = scope["unefois.address"] = self._proxies.address(scope)
                scope["unefois.passage"] = reply.passage = self._limits.passage(address)
                if self._begun is not None and not await self._begun():
                    raise Unavailable("health.not-begun")
        except (Refused, Unavailable) as fault:
            await answer(fault, Request(scope))(scope, receive, reply.send)
            return
        self._under_way += 1
        try:
            await self._app(scope, _counted(receive, limit), reply.send)
        except Exception as error:
            # Broad on purpose: here a fault of the program becomes an answer, without the exception's own words, which
            # may hold a value.
            logger().error("api.unexpected", exc_info=error)
            if reply.started:
                raise
            await answer(Fault("api.unexpected"), Request(scope))(scope, receive, reply.send)
        finally:
            self._under_way -= 1

    def _limit(self, path: str) -> int:
        """Bytes that a body for this path may have."""
        exact = self._bodies.get(path)
        above = (most for place, most in self._bodies.items() if place.endswith("/") and path.startswith(place))
        return exact or next(above, BODY_BYTES)


def _is_below(scope: Scope, place: str) -> bool:
    path: str = scope["path"]
    return path == place or path.startswith(f"{place}/")


class _Reply:
    """What goes out: it adds the headers, and knows whether anything went out."""

    def __init__(self, send: Send, trace: str) -> None:
        self._send = send
        self._trace = trace
        self.started = False
        self.passage: Passage | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            HTTP_ANSWERS.labels(str(message["status"])).inc()
            headers = MutableHeaders(scope=message)
            for name, value in ALWAYS.items():
                headers.setdefault(name, value)
            headers["Trace-Id"] = self._trace
            standing = None if self.passage is None else self.passage.standing
            if standing is not None and not headers["Cache-Control"].startswith("public"):  # else others would read it
                headers.update(standing.headers())
        await self._send(message)


def _check_size(scope: Scope, headers: Headers, limit: int) -> None:
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    size += len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if len(scope["headers"]) > HEADERS or size > HEADER_BYTES:
        raise Refused("api.headers", size=size, limit=HEADER_BYTES)
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > limit:
        raise Refused("api.too-large", limit=limit)
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused("api.encoded")


def _counted(receive: Receive, limit: int) -> Receive:
    """What comes in, until it is more than its limit: a length that was not told is counted."""
    came = 0

    async def counting() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise HTTPException(413)
        return message

    return counting
