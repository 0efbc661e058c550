"""Signing in: OpenID Connect's code flow with PKCE, for a program on this machine: who is it that sits here?

    begin ──► the provider's page, in a browser ──► back to a loopback address ──finish──► Login, proven by an ID token

Refuses: a provider that says it is another; an answer to another question (state, issuer); an ID token that is not
signed by the provider's keys with a method of ALGORITHMS, is for another client, of another time, or without our nonce.
Keeps: the nonce commits to the session's key, so the provider's word is about that key and no other.
Source: OpenID Connect Core 1.0, section 3.1.3.7; RFC 7636 (PKCE), RFC 8252 (programs), RFC 9207 (issuer).
"""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from broker.access.operators import Login
from broker.outbound import Outbound
from broker.ports import Entropy
from schemas.errors import Refused
from schemas.names import Instant
from schemas.signing import Algorithm, PrivateKey

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")
"""Never one with a shared secret, whatever the token's head says."""
SKEW_MS: Final = 60_000
"""How far the provider's clock may be ahead."""
AGE_MS: Final = 600_000
"""How long ago an ID token may have been made."""
_DISCOVERY: Final = "/.well-known/openid-configuration"
_LABEL: Final = b"unefois/session-nonce/v1\x00"


@dataclass(frozen=True, slots=True)
class Client:
    """What the provider knows this broker as."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Provider:
    """Where the provider answers, as it says itself."""

    authorization: str
    token: str
    keys: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in."""

    client: Client
    provider: Provider
    redirect: str
    key: PrivateKey
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)

    @property
    def url(self) -> str:
        """What the browser opens."""
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.redirect,
            "scope": "openid",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": _text(sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        joined = "&" if "?" in self.provider.authorization else "?"
        return f"{self.provider.authorization}{joined}{urlencode(asked, quote_via=quote)}"


async def discover(outbound: Outbound, client: Client) -> Provider:
    """Where the provider of this client answers.

    Raises Refused `login.provider`, `outbound.*`; Unavailable `outbound.*`.
    """
    told = _object((await outbound.fetch(client.issuer.rstrip("/") + _DISCOVERY)).body)
    if told.get("issuer") != client.issuer:
        raise Refused("login.provider", wrong="issuer")
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    for name in names:
        if not isinstance(told.get(name), str):
            raise Refused("login.provider", wrong=name)
        outbound.check(told[name])
    return Provider(*(told[name] for name in names))


def begin(client: Client, provider: Provider, redirect: str, entropy: Entropy) -> Attempt:
    """A new try; `redirect`: the loopback address that the browser comes back to."""
    key = PrivateKey.from_raw(Algorithm.ED25519, entropy(32))
    nonce = _text(sha256(_LABEL + key.public + entropy(16)).digest())
    return Attempt(client, provider, redirect, key, _text(entropy(24)), _text(entropy(32)), nonce)


async def finish(outbound: Outbound, one: Attempt, answer: Mapping[str, str], at: Instant) -> Login:
    """Who it is, by what the browser brought back.

    Raises Refused: `login.state`, `login.refused`, `login.provider`, `login.token`, `outbound.*`; Unavailable.
    """
    if not hmac.compare_digest(answer.get("state", "").encode(), one.state.encode()):
        raise Refused("login.state")
    if answer.get("iss", one.client.issuer) != one.client.issuer:  # mix-up: another provider's answer
        raise Refused("login.state")
    if "code" not in answer:
        raise Refused("login.refused", error=_word(answer.get("error")))
    asked = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": one.redirect,
        "client_id": one.client.client_id,
        "code_verifier": one.verifier,
    }
    if one.client.client_secret is not None:
        asked["client_secret"] = one.client.client_secret
    form = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    reply = await outbound.call("POST", one.provider.token, headers=form, body=urlencode(asked).encode())
    told = _object(reply.body)
    if reply.status != 200 or not isinstance(told.get("id_token"), str):
        raise Refused("login.refused", error=_word(told.get("error")))
    keys = _object((await outbound.fetch(one.provider.keys)).body)
    return _proven(told["id_token"], keys, one, at)


def _proven(token: str, keys: Mapping[str, Any], one: Attempt, at: Instant) -> Login:
    try:
        known = KeySet.import_key_set({"keys": [key for key in keys["keys"] if key.get("use", "sig") == "sig"]})
        claims = jwt.decode(token, known, algorithms=list(ALGORITHMS)).claims
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise Refused("login.token", wrong="signature") from None
    audience: Any = claims.get("aud")
    issued, ends = _instant(claims.get("iat")), _instant(claims.get("exp"))
    parties = [audience] if isinstance(audience, str) else audience
    mine = one.client.client_id
    right = {
        "iss": claims.get("iss") == one.client.issuer,
        "aud": isinstance(parties, list) and mine in parties,
        "azp": claims.get("azp", mine) == mine and (parties == [mine] or "azp" in claims),
        "exp": ends is not None and ends > at,
        "iat": issued is not None and at - AGE_MS <= issued <= at + SKEW_MS,
        "nonce": isinstance(claims.get("nonce"), str) and hmac.compare_digest(claims["nonce"], one.nonce),
        "sub": isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) <= 255,
    }
    wrong = next((name for name, so in right.items() if not so), None)
    if wrong is not None:
        raise Refused("login.token", wrong=wrong)
    return Login(one.client.issuer, claims["sub"])


def _instant(value: object) -> float | None:
    """Seconds since 1970, of a claim, as milliseconds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value * 1000 if number and isinstance(value, int | float) and 0 <= value < 2**40 else None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Refused("login.provider", wrong="JSON")
    return told


def _word(value: object) -> str:
    """An error code of OAuth2, and nothing else that a provider says."""
    return value if isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) < 64 else "-"


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
