"""Proxies: whose word counts about where a request came from, and which certificate its client showed: that of a proxy
that the settings name for it, and no other's. A proxy that is believed about addresses may hand on a `Client-Cert` that
the client wrote itself, so the two are named apart.

Refuses: nothing; what a stranger says about themselves is not looked at.
Keeps: the address of a request is that of its connection, unless a trusted proxy has made it; then the last address in
`X-Forwarded-For` that is not a trusted proxy's own. What stands before it was written by whoever came. Whether a
certificate is good is for the proxy to decide, which has seen its key used.
Source: RFC 9440 (`Client-Cert`), RFC 8705, section 3.1 (its thumbprint).
"""

import ssl
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import Scope

FORWARDED: Final = "x-forwarded-for"
CERTIFICATE: Final = "client-cert"
UNKNOWN: Final = "?"
"""Of a connection without an address; all of them are one."""

_V6_PREFIX: Final = 64
"""Bits of an IPv6 address that one subscriber has in common: below it, everybody has as many as they like."""


class Proxies:
    """The proxies that are believed, as addresses or networks; `certifying`: about certificates, too."""

    def __init__(self, trusted: Sequence[str], certifying: Sequence[str] = ()) -> None:
        self._trusted = tuple(ip_network(each) for each in trusted)
        self._certifying = tuple(ip_network(each) for each in certifying)

    def trusts(self, scope: Scope) -> bool:
        """Whether a trusted proxy made the connection of this request."""
        peer = _peer(scope)
        return peer is not None and self._is_proxy(peer)

    def address(self, scope: Scope) -> str:
        """Where a request came from, for counting: an IPv4 address, or the network of an IPv6 address."""
        peer = _peer(scope)
        if peer is not None and self._is_proxy(peer):
            told = [part.strip() for line in Headers(scope=scope).getlist(FORWARDED) for part in line.split(",")]
            for text in reversed(told):
                at = _parsed(text)
                if at is None:
                    break
                if not self._is_proxy(at):
                    return _counted(at)
        return UNKNOWN if peer is None else _counted(peer)

    def certificate(self, scope: Scope) -> str | None:
        """The thumbprint of the certificate that the client showed to a proxy that certifies: SHA-256 in base64url.

        The header is RFC 9440's, or the certificate in PEM, percent-encoded, as nginx has it.
        """
        peer = _peer(scope)
        believed = peer is not None and _within(peer, self._certifying)
        told = Headers(scope=scope).getlist(CERTIFICATE) if believed else []
        if len(told) != 1:
            return None
        try:
            text = told[0].strip()
            inside = len(text) > 2 and text[0] == text[-1] == ":"
            der = b64decode(text[1:-1], validate=True) if inside else ssl.PEM_cert_to_DER_cert(unquote(text))
        except ValueError:
            return None
        return urlsafe_b64encode(sha256(der).digest()).decode().rstrip("=")

    def _is_proxy(self, at: IPv4Address | IPv6Address) -> bool:
        return _within(at, self._trusted)


def _within(at: IPv4Address | IPv6Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(at.version == each.version and at in each for each in networks)


def _peer(scope: Scope) -> IPv4Address | IPv6Address | None:
    client = scope.get("client")
    return _parsed(client[0]) if client else None


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        at = ip_address(text)
    except ValueError:
        return None
    mapped = at.ipv4_mapped if isinstance(at, IPv6Address) else None
    return mapped or at


def _counted(at: IPv4Address | IPv6Address) -> str:
    network: IPv4Network | IPv6Network
    network = ip_network((at, _V6_PREFIX if at.version == 6 else 32), strict=False)
    return str(network.network_address)
