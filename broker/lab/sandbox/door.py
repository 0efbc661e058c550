"""Door: stands before the agencies' API of the sandbox, does the mischief, and remembers what was asked.

Refuses: nothing by itself.
Keeps: what is asked is answered by the real API; the door changes, delays, repeats or loses answers, and nothing else.
It remembers which addresses were asked, with which status; no body, no header.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.lab.sandbox.mischief import Mischief, Mischiefs
from broker.web.common.faults import answer
from schemas.errors import Fault, Unavailable

API: Final = ("/v1/", "/oauth2/")
PULL: Final = "/v1/deliveries:pull"
ACK: Final = "/v1/deliveries:ack"
DECLARE: Final = "/v1/declarations"
SIGNED: Final = "/v1/directory:signed"
NOTES: Final = "/v1/directory/notes"
CHANGED: Final = (PULL, DECLARE, SIGNED, NOTES)
"""Whose answers may be changed; every other one goes out byte for byte."""
REMEMBERED: Final = 1000
LOOK_SECONDS: Final = 0.25
"""How often a pull that waits looks again, where nobody tells it that something came."""

Json = dict[str, Any]
Hook = Callable[[], Awaitable[bool]]


class Behind(Protocol):
    """What the door asks of the sandbox."""

    async def change(self, path: str, told: Json) -> Json:
        """The mischief of one good answer."""

    async def settled(self) -> None:
        """An acknowledgement was answered."""

    async def waiting(self) -> bool:
        """Whether anything may be handed out now."""

    async def end_leases(self) -> None:
        """What is handed out comes again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered: 0 where the answer was lost on purpose."""

    method: str
    path: str
    status: int
    code: str | None = None
    """Ours, where it was refused."""


@dataclass(slots=True)
class _Answer:
    """What the API answered, held back."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")

    def json(self) -> Json | None:
        """The body of a good answer, if it is an object."""
        told = json.loads(self.body) if self.status in {200, 202} and self.body[:1] == b"{" else None
        return told if isinstance(told, dict) else None

    def code(self) -> str | None:
        """The code of a refusal."""
        told = json.loads(self.body) if self.status >= 400 and self.body[:1] == b"{" else None
        return str(told["code"]) if isinstance(told, dict) and "code" in told else None

    def replace(self, told: Json) -> None:
        self.body = json.dumps(told).encode()
        MutableHeaders(raw=self.headers)["content-length"] = str(len(self.body))

    async def give(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})

    async def lose(self, send: Send) -> None:
        """Begin, and never end: the server closes the connection in the middle."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body[:1], "more_body": True})


class Door:
    """ASGI middleware; `app` is set once there is one."""

    app: ASGIApp

    def __init__(self, mischiefs: Mischiefs, behind: Behind) -> None:
        self._mischiefs = mischiefs
        self._behind = behind
        self._stirred = asyncio.Condition()
        self._asking = asyncio.Lock()
        self._last_pull: Json | None = None
        self.queued: deque[Json] = deque()
        """Answers that the next pulls get, whatever waits."""
        self.seen: deque[Asked] = deque(maxlen=REMEMBERED)
        self.before: dict[str, Hook] = {}
        """Path -> what is done when it is asked for; the request goes on if it says so, else it is never answered."""
        self.losing: set[str] = set()
        """Paths whose next answer is lost."""
        self.idle_pulls = 0
        """How often somebody came to pull when nothing waited: they had finished with what they had got before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self.app(scope, receive, send)
            return
        status, code = 0, None
        try:
            status, code = await self._answer(scope, receive, send)
        finally:
            self.seen.append(Asked(scope["method"], scope["path"], status, code))
            await self.stir()

    async def stir(self) -> None:
        """Something may have changed: whoever waits looks again."""
        async with self._stirred:
            self._stirred.notify_all()

    async def until(self, reached: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        """Wait until it is reached, at most so long; whether it was."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not await reached():
            left = end - loop.time()
            if left <= 0:
                return False
            await self._wait(min(left, LOOK_SECONDS))
        return True

    async def _wait(self, seconds: float) -> None:
        async with self._stirred:
            try:
                await asyncio.wait_for(self._stirred.wait(), seconds)
            except TimeoutError:
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> tuple[int, str | None]:
        path, made = scope["path"], self._mischiefs
        if made.slow_ms:
            await asyncio.sleep(made.slow_ms / 1000)
        hook = self.before.get(path)
        if hook is not None and not await hook():
            await _Answer(200, [(b"content-length", b"9")], b"{").lose(send)
            return 0, None
        fault = await self._fault(path)
        if fault is not None:
            response = answer(fault, Request(scope))
            if response.status_code == 503:
                response.headers["Retry-After"] = "1"
            await response(scope, receive, send)
            return response.status_code, fault.code
        held = await (self._pulled(scope, receive) if path == PULL else self._asked(scope, receive))
        told = held.json() if path in CHANGED else None
        if told is not None and (changed := await self._behind.change(path, told)) is not told:
            held.replace(changed)
        if path == ACK:
            await self._behind.settled()
        if path in self.losing or (scope["method"] == "POST" and made.take(Mischief.LOST_ANSWER)):
            self.losing.discard(path)
            await held.lose(send)
            return 0, None
        await held.give(send)
        return held.status, held.code()

    async def _fault(self, path: str) -> Fault | None:
        if self._mischiefs.take(Mischief.SERVER_ERROR):
            return Fault("sandbox.server-error")
        if self._mischiefs.take(Mischief.UNAVAILABLE):
            return Unavailable("sandbox.unavailable")
        if path == ACK and self._mischiefs.take(Mischief.EXPIRED_LEASE):
            await self._behind.end_leases()
            return Unavailable("sandbox.unavailable")
        return None

    async def _asked(self, scope: Scope, receive: Receive) -> _Answer:
        held = _Answer()
        await self.app(scope, receive, held.take)
        return held

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nobody pulls while the block runs; who comes waits until it ends."""
        async with self._asking:
            yield
        await self.stir()

    async def _pulled(self, scope: Scope, receive: Receive) -> _Answer:
        """One pull. It waits here and not at the API, so that it ends when an answer is queued."""
        body = await _body(receive)
        gone = asyncio.ensure_future(receive())
        try:
            return await self._looked(scope, body, gone)
        finally:
            gone.cancel()

    async def _looked(self, scope: Scope, body: bytes, gone: "asyncio.Future[Message]") -> _Answer:
        """Look until something is there, or the wait is over. Who has hung up takes nothing from who comes next."""
        wait = _waits(body)
        loop = asyncio.get_running_loop()
        end, first = loop.time() + (wait or 0), True
        while True:
            async with self._asking:
                if gone.done():
                    return _Answer(200, [(b"content-length", b"2")], b"{}")
                if first:
                    await self._count_idle()
                held = await self._asked(*_at_once(scope, gone, body, waits=wait is not None))
                told = self._instead(held)
            left, first = end - loop.time(), False
            if told is None or told["deliveries"] or told["withheld"] or left <= 0:
                return held
            await self._wait(min(left, LOOK_SECONDS))

    async def _count_idle(self) -> None:
        if not (self.queued or self._mischiefs.wanted(Mischief.DUPLICATE) or await self._behind.waiting()):
            self.idle_pulls += 1
            await self.stir()

    def _instead(self, held: _Answer) -> Json | None:
        """What is answered: what the API says, or what is queued, or what it said before. None: it refuses."""
        told = held.json()
        if told is None:
            return None
        other = None
        if not told["deliveries"]:
            if self.queued:
                other = self.queued.popleft()
            elif self._last_pull is not None and self._mischiefs.take(Mischief.DUPLICATE):
                other = self._last_pull
        if other is not None:
            held.replace(other)
            told = other
        if told["deliveries"]:
            self._last_pull = told
        return told


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


def _waits(body: bytes) -> int | None:
    """How long a pull wants to wait; None where it does not say so in a way that the API would take."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    wait = told.get("wait", 0) if isinstance(told, dict) else None
    return wait if type(wait) is int and 0 <= wait <= 20 else None


def _at_once(scope: Scope, gone: "asyncio.Future[Message]", body: bytes, *, waits: bool) -> tuple[Scope, Receive]:
    """The same request once more; if it `waits`, without the wait."""
    sent = json.dumps({**json.loads(body), "wait": 0}).encode() if waits else body
    headers = Headers(scope=scope).mutablecopy()
    headers["content-length"] = str(len(sent))
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await asyncio.shield(gone)
        given = True
        return {"type": "http.request", "body": sent, "more_body": False}

    return {**scope, "headers": headers.raw}, once
