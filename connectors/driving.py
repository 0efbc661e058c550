"""Driving: what both clients do alike with the steps of a core: how they are set up, how an answer becomes a step.

    conversation, receiving (pure)  ◄── driving ──►  client (async), blocking (not): they send, sleep, and nothing else

Refuses: plain http except to this machine, an answer that is too large.
Keeps: no network and no waiting of its own; a rule that holds for one client holds for the other.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from secrets import token_bytes
from typing import Any, Final

import httpx2

from connectors.access import Access, ApiToken
from connectors.contract import Agency
from connectors.conversation import Conversation, Failed
from connectors.peers import endpoint, trust
from connectors.pinning import Pin
from connectors.receiving import Receiving
from connectors.retry import Backoff
from connectors.steps import Steps, Taker, Together, Watch
from schemas.errors import Refused
from schemas.names import Instant

ANSWER_BYTES: Final = 64 * 1024 * 1024
WAIT_SECONDS: Final = 20
"""The longest that one pull waits for something to come."""
TRIES: Final = 4
TIMEOUT: Final = httpx2.Timeout(30, read=WAIT_SECONDS + 30)
BACKOFF: Final = Backoff(token_bytes, base_ms=500, cap_ms=20_000)
UNANSWERED: Final = (httpx2.TransportError, httpx2.DecodingError)
"""What a request ends with when no answer came that could be read."""


def now() -> Instant:
    """This machine's clock."""
    return Instant(time.time_ns() // 1_000_000)


def talk(access: str | Access, clock: Callable[[], Instant], tries: int) -> Conversation:
    """How a client talks: a text is an API token."""
    return Conversation(ApiToken(access) if isinstance(access, str) else access, clock, BACKOFF, tries)


def settings(url: str, ca_file: str | None) -> dict[str, Any]:
    """What the HTTP clients of both kinds are made with. Raises Refused `client.url`."""
    try:
        endpoint(url)
    except ValueError as wrong:
        raise Refused("client.url", "/url", wrong=str(wrong)) from None
    verify: ssl.SSLContext = trust(ca_file)
    return {"base_url": url, "timeout": TIMEOUT, "follow_redirects": False, "trust_env": False, "verify": verify}


def receiving(
    agency: Agency, taker: Taker, clock: Callable[[], Instant], pin: Pin | None, limit: int, *, once: bool, watch: Watch
) -> Receiving:
    """The loop of an agency, as both clients run it."""
    return Receiving(agency, taker, clock, BACKOFF, pin=pin, limit=limit, wait=WAIT_SECONDS, once=once, watch=watch)


def failed(error: Exception) -> Failed:
    """A request without an answer; some errors say that it cannot have arrived."""
    unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return Failed(type(error).__name__, unsent)


def within(content: bytes | bytearray) -> None:
    """Raises Refused `client.answer` for an answer without end."""
    if len(content) > ANSWER_BYTES:
        raise Refused("client.answer", limit=ANSWER_BYTES)


async def at_once(step: Together, take: Callable[[Steps], Awaitable[None]]) -> None:
    """Every lane to its end. None is broken off because of a neighbour's fault; then the first fault is raised."""
    for wrong in await asyncio.gather(*(take(lane) for lane in step.lanes), return_exceptions=True):
        if wrong is not None:
            raise wrong
