"""Connections: how long one may take to say what it wants and to hear the answer, and how many there may be.

Refuses: a request whose head and body do not come in time (slowloris); an answer that is not fetched in time; what is
no HTTP/1.1, and a body in more chunks than it is worth; more connections than the process has files for: the oldest
that waits for its client makes room.
Keeps: a client's byte now and then buys no time, only as much as SLOWEST_BYTES a second would; who sends nothing holds
a file and nothing else, and who reads nothing one answer besides: nothing waits while it drains, and what was asked
behind it has not begun. A connection whose request is being answered is never closed for another's sake.
Source: RFC 9112, sections 9.3.2 (pipelining) and 9.5.
"""

import asyncio
import resource
from typing import Any, Final

import h11
from fastapi import Request
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from broker.web.common.faults import answer
from broker.web.common.frame import ALWAYS, HEADER_BYTES
from schemas.errors import Refused

SLOW_SECONDS: Final = 30
"""For a head and a small body, from the first moment that they are waited for; for a small answer to be fetched."""
SLOWEST_BYTES: Final = 16_384
"""A second: what a large body may come at, and a large answer go at."""
LINGER_SECONDS: Final = 1
"""For the answer to arrive, where it was given before the request had ended."""
CHUNKS: Final = 4096
"""Of one body, however small they are."""
CHUNK_BYTES: Final = 1024
"""One chunk more for so many bytes that came: each is read at the price of a small request, and sent at that of six
bytes.
"""
SPARE_FILES: Final = 128
"""Of the process's files, for everything that is not a connection from outside."""


def most() -> int:
    """How many connections this process can take; its limit of open files is raised to what it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(64, min(soft, 65_536) - SPARE_FILES)


class _Flow(FlowControl):
    """Whoever answers hands the answer over whole, and waits for nobody: no answer of ours is made while it is sent."""

    async def drain(self) -> None:
        """At once. What limits the memory is that the next request waits: `Connection.handle_events`."""


class _Heard(h11.Connection):
    """What a client says, as h11 reads it. `wrong`: what was wrong with it, once h11 or we raised."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self.wrong: Refused = Refused("api.http")
        self._chunks = self._bytes = 0

    def next_event(self) -> Any:
        """Raises h11.RemoteProtocolError for what is no message, and for one that is made of crumbs."""
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                self.wrong = Refused("api.headers", size=len(self.trailing_data[0]), limit=HEADER_BYTES)
            raise
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            if not event.http_version.startswith(b"1."):
                raise h11.RemoteProtocolError("another version")
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                self.wrong = Refused("api.two-lengths")  # RFC 9112, 6.3: what follows may be anybody's (smuggling)
                raise h11.RemoteProtocolError("two lengths")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_end
            self._bytes += len(event.data)
            if self._chunks > CHUNKS + self._bytes // CHUNK_BYTES:
                self.wrong = Refused("api.chunks", limit=CHUNKS)
                raise h11.RemoteProtocolError("too many chunks")
        return event


class Connection(H11Protocol):
    """One connection: uvicorn's own, watched while its client is to say something, or to fetch what was answered."""

    slow_seconds: float = SLOW_SECONDS
    limit: int = 896

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn: _Heard = _Heard()
        self._refused = False
        self._began: float | None = None
        self._came = 0
        self._timer: asyncio.TimerHandle | None = None
        self._draining: float | None = None
        self._drained: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for its first request; where there are too many, the one that has waited longest goes."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        transport.set_write_buffer_limits(0)  # told of the first byte that the client does not fetch, and of the last
        self._watch()
        if len(self.connections) > self.limit:
            waiting = [one for one in self.connections if isinstance(one, Connection) and one.waits_since is not None]
            min(waiting, key=lambda one: one.waits_since or 0.0).transport.abort()

    @property
    def waits_since(self) -> float | None:
        """Since when it is the client's turn: to say something, or to fetch; None while it is ours."""
        return self._began if self._draining is None else self._draining

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no more."""
        self._rest()
        self._rest_draining()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something of an answer is left here: it has its time, by its size."""
        super().pause_writing()
        self._draining = self.loop.time()
        seconds = self.slow_seconds + self.transport.get_write_buffer_size() / SLOWEST_BYTES
        self._drained = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """All of it is fetched: on to what came behind it, or to waiting for that."""
        super().resume_writing()
        self._rest_draining()
        if self.transport.is_closing() or self.cycle is None or not self.cycle.response_complete:
            return
        self._keep_alive()
        self.flow.resume_reading()
        self.handle_events()
        self._look()

    def handle_events(self) -> None:
        """No request begins before the answer to the one before has been fetched: who pipelines and does not read has
        one of them under way.
        """
        if self.flow.write_paused:
            self.flow.pause_reading()
        elif not self._refused:
            super().handle_events()

    def send_400_response(self, msg: str) -> None:
        """What is no request is refused in the form that every answer has, where none was begun; then nothing more is
        heard here, and the connection lingers until its client has read that.
        """
        self._refused = True
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            told = answer(self.conn.wrong, Request({"type": "http", "headers": []}))
            headers = [*told.raw_headers, *((name.encode(), value.encode()) for name, value in ALWAYS.items())]
            begun = h11.Response(status_code=told.status_code, headers=[*headers, (b"connection", b"close")])
            for event in (begun, h11.Data(data=bytes(told.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:  # whoever waits for the rest of it is told that nobody is there
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._rest()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """Whatever came: is the request whole now?"""
        self._came += len(data)
        if self._refused:
            return
        super().data_received(data)
        if self.cycle is None or not self.cycle.response_complete or self.conn.their_state is not h11.SEND_BODY:
            self._look()

    def on_response_complete(self) -> None:
        """What came meanwhile is the next request, or its beginning. What was answered unread is not read on."""
        super().on_response_complete()
        if self.flow.write_paused:
            self._unset_keepalive_if_required()  # which counts from the moment that it is fetched
        if self.conn.their_state is h11.SEND_BODY:
            self._rest()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        else:
            self._look()

    def _look(self) -> None:
        state = self.conn.their_state
        if self._refused:
            return
        if self.flow.write_paused:
            self._rest()
        elif state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            if self._began is None:
                self._watch()
        else:
            self._rest()

    def _watch(self) -> None:
        self._began, self._came = self.loop.time(), 0
        self._timer = self.loop.call_later(self.slow_seconds, self._late)

    def _late(self) -> None:
        """Time is up, unless a large body comes fast enough."""
        more = (self._began or 0.0) + self.slow_seconds + self._came / SLOWEST_BYTES - self.loop.time()
        if more > 0:
            self._timer = self.loop.call_later(more, self._late)
        else:
            self.transport.abort()

    def _keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _rest_draining(self) -> None:
        self._draining = None
        if self._drained is not None:
            self._drained.cancel()
            self._drained = None

    def _rest(self) -> None:
        self._began = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
