"""Signed URLs of Publik: what is sent is signed anew each time, what comes is believed once.

    orig=..&algo=sha256&timestamp=2026-03-02T09%3A15%3A03Z&nonce=..&signature=<base64 of HMAC(key, all before)>

Refuses: what is appended after the signature, a name twice, another digest than SHA-256 or a stronger one, a call of
30 seconds ago or ahead, a nonce that was seen, a call without one.
Keeps: method, host, path, headers and body are not covered by the signature: TLS is needed, and the body is believed
no more than its sender.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from schemas.errors import Refused
from schemas.names import Instant

WINDOW_MS: Final = 30_000
ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})
NONCE_CHARACTERS: Final = 128
_NONCE_BYTES: Final = 16


def signed(query: Mapping[str, str], orig: str, key: str, at: Instant, entropy: Callable[[int], bytes]) -> str:
    """The query string to send now, percent-encoded, its signature last. `query`: names and values, no name of ours."""
    told = {
        **query,
        "orig": orig,
        "algo": "sha256",
        "timestamp": datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "nonce": entropy(_NONCE_BYTES).hex(),
    }
    base = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in told.items())
    return f"{base}&signature={quote(_signature(base, key, 'sha256'), safe='')}"


def _signature(base: str, key: str, algorithm: str) -> str:
    return b64encode(hmac.new(key.encode(), base.encode(), algorithm).digest()).decode()


class Nonces:
    """Those that were seen in a window, in memory: after a restart what comes again is found by its own number."""

    def __init__(self) -> None:
        self._seen: dict[str, Instant] = {}

    def take(self, nonce: str, at: Instant) -> bool:
        """Whether it is new; it is not new again before its call is too old by its time."""
        for old in [one for one, seen in self._seen.items() if at - seen > 2 * WINDOW_MS]:
            del self._seen[old]
        cut = nonce[:NONCE_CHARACTERS]
        if cut in self._seen:
            return False
        self._seen[cut] = at
        return True


def verify(query: str, keys: Mapping[str, str], at: Instant, nonces: Nonces) -> Mapping[str, str]:
    """What a signed query says, by names, without what signs it. `query`: as it came, not decoded. `keys`: the key of
    each `orig`; that of "" is of calls that name none.

    Raises Refused `publik.signature` (with `wrong`, one word for it), `publik.late`, `publik.again`.
    """
    base, mark, signature = query.rpartition("&signature=")
    # 1 the last signature is of all before it, and no name comes twice: else a stranger adds to a call that they saw
    if not mark:
        raise Refused("publik.signature", wrong="signature")
    pairs = parse_qsl(base, keep_blank_values=True)
    told = dict(pairs)
    if len(told) != len(pairs):
        raise Refused("publik.signature", wrong="twice")
    # 2 by the key of who says to call
    key = keys.get(told.get("orig", ""))
    if key is None:
        raise Refused("publik.signature", wrong="orig")
    algorithm = told.get("algo", "")
    if algorithm not in ALGORITHMS:
        raise Refused("publik.signature", wrong="algo")
    if not hmac.compare_digest(_signature(base, key, algorithm).encode(), unquote(signature).encode()):
        raise Refused("publik.signature", wrong="key")
    # 3 now, and once (replay)
    off = at - _instant(told.get("timestamp", ""))
    if abs(off) > WINDOW_MS:
        raise Refused("publik.late", seconds=off // 1000)
    if not told.get("nonce") or not nonces.take(told["nonce"], at):
        raise Refused("publik.again")
    return {name: value for name, value in told.items() if name not in {"orig", "algo", "timestamp", "nonce"}}


def _instant(text: str) -> int:
    try:
        made = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("publik.signature", wrong="timestamp") from None
    return int(made.timestamp()) * 1000
