"""Asking: one request as bytes over a connection of its own, and what came of it, with what it cost the server.

What it cost is the processor time of the server's process, all its threads, which a loaded machine does not stretch as
it stretches a wall clock. Work that the server does beside it (its loops) is in it, too: who is over a limit is asked
again, and the least counts.
"""

import http.client
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.fuzz.town import Served

DEADLINE = 30.0
"""Seconds that the product gives a client to say what it wants, and an answer to be fetched (`docs/agency/api.md`)."""


@dataclass(frozen=True)
class Answer:
    """What came back. `status` None: the connection ended without an answer. `spent`: processor seconds."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    spent: float = 0.0


@dataclass(frozen=True)
class Request:
    """One request that is written by hand. `may_end`: the server may hang up on it without a word."""

    label: str
    nasty: str
    parts: Sequence[bytes]
    method: str = "GET"
    half: bool = False
    may_end: bool = False


def spent(served: Served) -> float:
    """Processor seconds of the process so far, those of threads that ended too (the clock of clock_getcpuclockid)."""
    return time.clock_gettime(~served.pid << 3 | 2)


def ask(served: Served, request: Request) -> Answer:
    """Send it as it is, and hear the answer; `half`: say that nothing more comes."""
    before, began = spent(served), time.perf_counter()
    with socket.create_connection(served.place, timeout=DEADLINE) as made:
        with suppress(OSError):  # it hung up, as it may
            for part in request.parts:
                made.sendall(part)
            if request.half:
                made.shutdown(socket.SHUT_WR)
        heard = http.client.HTTPResponse(made, method=request.method)
        try:
            heard.begin()
            body = heard.read()
            told = {name.lower(): value for name, value in heard.getheaders()}
            status: int | None = heard.status
        except TimeoutError:
            status, told, body = None, {"x-fuzz": "nothing came within the deadline"}, b""
        except (http.client.HTTPException, OSError):
            status, told, body = None, {}, b""
        finally:
            heard.close()
    return Answer(status, told, body, time.perf_counter() - began, spent(served) - before)


def trivial(served: Served) -> Answer:
    """The floor: the smallest request that there is, over a connection of its own as well."""
    head = b"GET /health/live HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\n\r\n"
    return ask(served, Request("GET /health/live", "floor", [head]))
