"""Peers: what every connector that speaks HTTP to an agency's server does alike.

Refuses: plain http except to this machine, credentials in an address, a redirect, a proxy of the environment.
Keeps: an answer is read up to a limit; what a certificate's refusal is, is told apart from a server that is away.
"""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2

from schemas.errors import Refused

NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""What ends a call before anything of it was sent."""
BROKEN: Final = (httpx2.TransportError, httpx2.DecodingError, ssl.SSLError)
"""What ends a call without an answer that can be read; httpx2 lets an alert of TLS 1.3 through as it is."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_WHY: Final = {10: "expired", 9: "not-yet-valid", 62: "other-name", 64: "other-name"}
"""Of OpenSSL's X509_V_ERR_*; the others are a chain that leads to nobody who is trusted."""


def endpoint(url: str) -> str:
    """The address of a server to call. Raises ValueError: no https (except to this machine), credentials in it."""
    if not url.isprintable() or " " in url:
        raise ValueError("not a URL")
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise ValueError("not a URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.host in _LOOPBACK):
        raise ValueError("https is needed, except to this machine")
    if not parts.host or parts.userinfo:
        raise ValueError("a host, and no credentials")
    return url


def trust(ca_file: str | None) -> ssl.SSLContext:
    """The system's certificates, and those of a file (PEM). Raises Refused `webhook.ca-file`."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError:  # ssl.SSLError is one too
            raise Refused("webhook.ca-file", "/ca_file") from None
    return context


def show(context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
    """Let it show this certificate where a server asks for one (mTLS). Raises Refused `rest.certificate-file`."""
    try:
        # A key under a password would otherwise ask for it at the terminal.
        context.load_cert_chain(certificate_file, key_file, password=lambda: "")
    except OSError:
        raise Refused("rest.certificate-file", "/certificate_file") from None


def caller(url: str, timeout_s: float, verify: ssl.SSLContext, name: str) -> httpx2.AsyncClient:
    """A client of one server. A proxy of the environment would see who is told what; a redirect is another server."""
    return httpx2.AsyncClient(
        base_url=url,
        timeout=timeout_s,
        follow_redirects=False,
        verify=verify,
        trust_env=False,
        headers={"user-agent": f"unefois-{name}/1"},
    )


def distrusted(error: BaseException) -> str | None:
    """Why a server's certificate was not believed (`expired`, `not-yet-valid`, `other-name`, `unknown`), or None."""
    found = next((one for one in _causes(error) if isinstance(one, ssl.SSLCertVerificationError)), None)
    return None if found is None else _WHY.get(getattr(found, "verify_code", 0), "unknown")


def turned_away(error: BaseException) -> bool:
    """Whether the server ended the connection for our certificate, or for want of one."""
    return any(
        isinstance(one, ssl.SSLError) and "ALERT" in (one.reason or "")
        for one in _causes(error)
        if not isinstance(one, ssl.SSLCertVerificationError)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The reason lies some causes deep."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def bounded(answer: httpx2.Response, most: int) -> bytes | None:
    """The body, or None over so many bytes."""
    content = bytearray()
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > most:
            return None
    return bytes(content)


def json_of(content: bytes | None) -> Any:
    """What a body says in JSON; None where it is none."""
    try:
        return None if content is None else json.loads(content.decode())
    except (ValueError, RecursionError):
        return None
