"""The double on a real port of this machine, which can be told to misbehave as a bad peer does.

Refuses: nothing.
Keeps: what is asked for comes once, in order; the site behind it has done, or not done, what the fault says.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.publik.site import Answered, Site

Fault = Callable[["Handler", Callable[[], Answered]], Answered | None]


@dataclass
class Served:
    """A site, its address, and what is to go wrong at the next requests; None: nothing."""

    site: Site
    url: str
    faults: deque[Fault | None] = field(default_factory=deque)
    late: list[Callable[[], Answered]] = field(default_factory=list)
    """What a worker has begun and not done: call it, and it is done."""


class Handler(BaseHTTPRequestHandler):
    """One request after the other."""

    served: ClassVar[Served]
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}

        def ordinary() -> Answered:
            return self.served.site.answer(self.command, self.path, headers, body)

        fault = self.served.faults.popleft() if self.served.faults else None
        told = ordinary() if fault is None else fault(self, ordinary)
        if told is None:
            self.close_connection = True
            return
        status, more, content = told
        self.send_response_only(status)
        for name, value in ({"content-length": str(len(content))} | more).items():
            self.send_header(name, value)
        self.send_header("date", format_datetime(self.served.site.door.now, usegmt=True))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def serving(site: Site) -> Iterator[Served]:
    """The site on a free port of 127.0.0.1 until the block ends."""
    handler = type("Here", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    handler.served = served = Served(site, site.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lost(handler: Handler, ordinary: Callable[[], Answered]) -> None:
    """Everything is done, and no answer comes."""
    ordinary()


def dead(handler: Handler, ordinary: Callable[[], Answered]) -> None:
    """Nothing is done, and no answer comes."""


def late(handler: Handler, ordinary: Callable[[], Answered]) -> None:
    """It is done later, when the test says so; no answer comes. A worker may take 120 seconds."""
    door = handler.served.site.door
    begun = door.now

    def done() -> Answered:
        now, door.now = door.now, begun  # its signature was looked at when it came
        try:
            return ordinary()
        finally:
            door.now = now

    handler.served.late.append(done)


def half(handler: Handler, ordinary: Callable[[], Answered]) -> Answered:
    """Everything is done, and half of the answer comes."""
    status, headers, content = ordinary()
    handler.close_connection = True
    return status, headers | {"content-length": str(len(content))}, content[: len(content) // 2]


def says(status: int, content: bytes, done: bool = False, **headers: str) -> Fault:
    """This answer, whatever was asked; `done`: the site has done it."""

    def fault(handler: Handler, ordinary: Callable[[], Answered]) -> Answered:
        if done:
            ordinary()
        return status, {name.replace("_", "-"): value for name, value in headers.items()}, content

    return fault


NOW = datetime(2026, 3, 2, 9, 15, 3, tzinfo=UTC)
