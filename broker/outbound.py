"""Outbound: the one way by which the broker calls an address that somebody else has told it.

    https only, to port 443 or one above 1023; the name is resolved here, every address that it has is looked at, and
    the connection goes to an address that was looked at: the name is not asked again (no DNS rebinding)

Refuses: credentials in the URL; an address inside (loopback, private, link-local, shared, reserved, multicast, and any
of these dressed up as IPv6), unless the settings allow it by name; plain http, except to this machine and by name.
Keeps: no redirect is followed, no proxy of the environment asked, no cookie kept, nothing decompressed; an answer is
read to a limit and to a deadline, so that a body that never ends costs no more than one that does. One request is one
connection: none is shared by two names that have one address.
Source: OWASP "Server-Side Request Forgery Prevention", case 2; RFC 6890 for what is not public.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Final

import httpx2

from schemas.errors import Refused, Unavailable

URL_CHARACTERS: Final = 2048
BODY_BYTES: Final = 65_536
SECONDS: Final = 15
"""For one call, from the question about its name to the last byte."""
AT_ONCE: Final = 64
"""Calls under way in one process; further ones wait."""
ADDRESSES: Final = 4
"""Addresses of one name that are tried."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and a port to the addresses of the name, as text. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `headers` by lower-case name; `whole`: the body ended within its limit and its time."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    whole: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A URL that may be called."""

    url: httpx2.URL
    host: str
    port: int
    allowed: bool
    """By name: its address may be inside."""


class Outbound:
    """The client; may be called concurrently."""

    def __init__(
        self, allowed: Iterable[str] = (), *, ca_file: Path | None = None, resolve: Resolve | None = None
    ) -> None:
        """`allowed`: names, each with or without its port, that may be inside. `ca_file`: who else signs certificates
        (PEM), besides those whom the system trusts. Nothing is opened before the first call.
        """
        self._allowed = frozenset(allowed)
        self._ca_file = ca_file
        # Threads of its own: a name server that does not answer holds up other calls, and nothing else.
        self._threads = ThreadPoolExecutor(AT_ONCE // 4, "outbound-names")
        self._resolve = resolve or partial(_addresses, self._threads)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._transport: httpx2.AsyncHTTPTransport | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, allowed: Iterable[str] = (), *, ca_file: Path | None = None, resolve: Resolve | None = None
    ) -> "AsyncIterator[Outbound]":
        """A client while the block runs. Raises Refused `outbound.ca-file`."""
        made = cls(allowed, ca_file=ca_file, resolve=resolve)
        try:
            made.ready()
            yield made
        finally:
            made.close()

    def ready(self) -> httpx2.AsyncHTTPTransport:
        """What calls go through, made at the first call or before. Raises Refused `outbound.ca-file`."""
        if self._transport is None:
            limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
            self._transport = httpx2.AsyncHTTPTransport(verify=_trust(self._ca_file), limits=limits, trust_env=False)
        return self._transport

    def close(self) -> None:
        """Ask no more names. No connection is left: each is closed with its call."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check(self, url: str) -> None:
        """Whether this could be called, before anything is asked of the network. Raises Refused `outbound.url`."""
        try:
            _place(url, self._allowed)
        except Refused as fault:
            raise fault.under("/url") from None

    async def fetch(self, url: str, *, limit: int = BODY_BYTES, seconds: float = SECONDS) -> Reply:
        """GET a document of at most `limit` bytes, whole, answered 200.

        Raises Refused: `outbound.url`, `outbound.address`, `outbound.too-long`. Raises Unavailable: `outbound.away`,
        `outbound.late`, `outbound.answer`.
        """
        reply = await self.call("GET", url, limit=limit, seconds=seconds)
        if reply.status != 200:
            raise Unavailable("outbound.answer", status=reply.status)
        if not reply.whole:
            raise Refused("outbound.too-long", limit=limit)
        return reply

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int = BODY_BYTES,
        seconds: float = SECONDS,
    ) -> Reply:
        """One request, whatever its answer says; of the body at most `limit` bytes are read.

        An answer whose head came and whose body did not end in time is an answer that is not whole.
        Raises Refused: `outbound.url`, `outbound.address`. Raises Unavailable: `outbound.away`, `outbound.late`.
        """
        place = _place(url, self._allowed)
        async with self._turn:
            when = asyncio.get_running_loop().time() + seconds
            try:
                async with asyncio.timeout_at(when) as deadline:
                    response = await self._head(place, _request(method, place, headers or {}, body))
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise Unavailable("outbound.late", seconds=round(seconds)) from None
            return await _read(response, limit, when)

    async def _looked_at(self, place: _Place) -> list[Address]:
        """Every address of the name, each of which may be called."""
        try:
            found = [ipaddress.ip_address(text) for text in await self._resolve(place.host, place.port)]
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that cannot be a name
            raise Unavailable("outbound.away", error=type(error).__name__) from None
        if not found:
            raise Unavailable("outbound.away", error="NoAddress")
        for address in found:
            # One address inside condemns the name: who answers for it may mix them on purpose.
            if not (public(address) or (place.allowed and not _nobody(address))):
                raise Refused("outbound.address")
            if place.url.scheme == "http" and not address.is_loopback:
                raise Refused("outbound.address")
        return found[:ADDRESSES]

    async def _head(self, place: _Place, request: httpx2.Request) -> httpx2.Response:
        """The beginning of an answer: one address after the other, until one takes the connection."""
        addresses = await self._looked_at(place)
        for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            request.url = place.url.copy_with(host=str(address))
            try:
                return await self.ready().handle_async_request(request)
            except httpx2.TransportError as error:
                if not left or not isinstance(error, httpx2.ConnectError):
                    raise Unavailable("outbound.away", error=type(error).__name__) from None
        raise Unavailable("outbound.away", error="NoAddress")


def public(address: Address) -> bool:
    """Whether anybody on the Internet could be meant: what hides in an IPv6 address is looked at, too."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return public(inner)
        if address.teredo is not None or address.is_site_local or address.scope_id is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _nobody(address: Address) -> bool:
    """No name makes these a server's."""
    return address.is_multicast or address.is_unspecified


def _place(url: str, allowed: frozenset[str]) -> _Place:
    """Raises Refused `outbound.url`."""
    parts = _parsed(url)
    host = parts.host.rstrip(".").lower()
    port = _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    shown = f"[{host}]" if ":" in host else host
    named = not allowed.isdisjoint({shown, f"{shown}:{port}"})
    if not host or parts.userinfo or parts.fragment:
        raise Refused("outbound.url")
    if parts.scheme != "https" and not (parts.scheme == "http" and named):
        raise Refused("outbound.url")
    if not (port == 443 or 1024 <= port <= 65_535 or (named and 0 < port < 1024)):
        raise Refused("outbound.url")
    return _Place(parts, host, port, named)


def _parsed(url: str) -> httpx2.URL:
    if not url.isprintable() or " " in url or len(url) > URL_CHARACTERS:
        raise Refused("outbound.url")
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise Refused("outbound.url") from None


def _request(method: str, place: _Place, headers: Mapping[str, str], body: bytes) -> httpx2.Request:
    """The URL's host gives way to an address later: name and certificate stay those of the URL."""
    shown = f"[{place.host}]" if ":" in place.host else place.host
    host = shown if place.port == _DEFAULT_PORTS[place.url.scheme] else f"{shown}:{place.port}"
    fixed = {"host": host, "connection": "close", "accept-encoding": "identity", "user-agent": "unefois/1"}
    return httpx2.Request(
        method,
        place.url,
        headers={**fixed, **headers},
        content=body,
        extensions={"sni_hostname": place.host, "timeout": {}},  # the deadline is of the whole call
    )


async def _read(response: httpx2.Response, limit: int, when: float) -> Reply:
    """The body up to its limit and its time; the connection is closed whatever is left of it."""
    content, whole = bytearray(), False
    try:
        async with asyncio.timeout_at(when):
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > limit:
                    break
            else:
                whole = response.headers.get("content-encoding", "identity") == "identity"
    except (httpx2.TransportError, TimeoutError):
        pass  # the head was understood, and that is an answer
    finally:
        await response.aclose()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, bytes(content[:limit]), whole)


async def _addresses(threads: ThreadPoolExecutor, host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, each once."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(threads, ask)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return _system_trust()
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError:  # ssl.SSLError is one too
        raise Refused("outbound.ca-file", "/outbound_ca_file") from None
    return context


@cache
def _system_trust() -> ssl.SSLContext:
    """Read once in a process: a hundred and fifty certificates take their time."""
    return ssl.create_default_context()
