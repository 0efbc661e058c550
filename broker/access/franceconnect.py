"""FranceConnect: a relying party for FranceConnect v2 and FranceConnect+, two clients of one protocol.

    begin ──► FranceConnect's page ──► our callback ──finish: code, token, userinfo──► Proven        logout_url

Refuses: an answer to another question (state), one that took too long, one that says no; what `identity_tokens`
refuses.
Keeps: the userinfo is fetched inside the callback, for an access token lives 60 seconds and a code 30. The nonce ties
the ID token to this browser's attempt, so a code that was planted or stolen opens nothing (RFC 9700, 4.5.3.2); there is
no PKCE, of which FranceConnect's documentation says nothing. Never HTTP basic: it is refused there.
Source: FranceConnect v2, partner documentation (November 2026); OpenID Connect Core 1.0; RFC 7523; RFC 9207.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from joserfc import jwt

from broker.access.identity_tokens import (
    Door,
    Proven,
    Publications,
    Wanted,
    check_id_token,
    check_userinfo,
    document,
    private_key,
    proven,
)
from broker.outbound import Outbound, Reply
from broker.ports import Entropy
from schemas.errors import Refused, Unavailable
from schemas.names import Instant

SCOPE: Final = "openid identite_pivot preferred_username rep_scope"
ATTEMPT_MS: Final = 600_000
"""How long somebody may take at FranceConnect."""
_ASSERTION_SECONDS: Final = 60
_FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Client:
    """What one of the two services knows this broker as. A `secret` (client_secret_post) or a `key` (private_key_jwt,
    ES256, PEM); `decryption`: a private key (PEM), where it encrypts for us.
    """

    door: Door
    issuer: str
    client_id: str
    secret: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    decryption: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, which only the browser that began it brings back."""

    door: Door
    least: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    begun_at: Instant


@dataclass(frozen=True, slots=True)
class Answered:
    """An attempt, and the code that its own browser brought back."""

    attempt: Attempt
    code: str = field(repr=False)


class FranceConnect:
    """Our clients, at most one for each door. May be called concurrently."""

    def __init__(
        self, clients: Mapping[Door, Client], publications: Publications, outbound: Outbound, entropy: Entropy
    ) -> None:
        self._clients = clients
        self._publications = publications
        self._outbound = outbound
        self._entropy = entropy

    @property
    def doors(self) -> frozenset[Door]:
        """Those that we are a client of."""
        return frozenset(self._clients)

    def client(self, door: Door) -> Client:
        """Raises Refused `franceconnect.not-configured`."""
        found = self._clients.get(door)
        if found is None:
            raise Refused("franceconnect.not-configured", door=door.value)
        return found

    async def begin(self, door: Door, least: str, redirect: str, at: Instant) -> tuple[str, Attempt]:
        """The address to which the browser goes, and the attempt. `least`: `eidas1`, or at FranceConnect+ `eidas2` or
        `eidas3`; `redirect`: our callback, as it is registered there.

        Raises Refused: `franceconnect.not-configured`, `franceconnect.provider`, `outbound.*`; Unavailable.
        """
        client = self.client(door)
        places = await self._publications.places(client.issuer)
        attempt = Attempt(door, least, _text(self._entropy(24)), _text(self._entropy(24)), at)
        asked = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": redirect,
            "scope": SCOPE,
            "acr_values": least,
            "state": attempt.state,
            "nonce": attempt.nonce,
        }
        return _with(places.authorization, asked), attempt

    def answered(self, one: Attempt, answer: Mapping[str, str], at: Instant) -> Answered:
        """What the browser brought back, held against the attempt that it carries.

        Raises Refused: `franceconnect.not-configured`, `franceconnect.attempt` (another's, too late),
        `franceconnect.cancelled`, `franceconnect.refused`.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), one.state.encode()):  # a planted sign-in
            raise Refused("franceconnect.attempt", wrong="state")
        issuer = self.client(one.door).issuer
        if answer.get("iss", issuer) != issuer:  # mix-up: another provider's answer
            raise Refused("franceconnect.attempt", wrong="iss")
        if not 0 <= at - one.begun_at < ATTEMPT_MS:
            raise Refused("franceconnect.attempt", wrong="late")
        if answer.get("error") == "access_denied":
            raise Refused("franceconnect.cancelled")
        if not answer.get("code"):
            raise Refused("franceconnect.refused", error=_word(answer.get("error")))
        return Answered(one, answer["code"])

    async def finish(self, came: Answered, redirect: str, at: Instant) -> Proven:
        """Who it is. The caller lets one answer in once.

        Raises Refused: `franceconnect.refused`, `franceconnect.token`, `franceconnect.level`, `franceconnect.identity`,
        `franceconnect.provider`, `outbound.*`; Unavailable: FranceConnect is away, begin again.
        """
        one = came.attempt
        client = self.client(one.door)
        wanted = Wanted(one.door, client.issuer, client.client_id, one.nonce, one.least)
        places = await self._publications.places(client.issuer)
        tokens = await self._tokens(client, places.token, {"code": came.code, "redirect_uri": redirect}, at)
        told = await self._publications.claims(client.issuer, tokens["id_token"], one.door, client.decryption)
        check_id_token(told, wanted, at)
        bearer = {"authorization": f"Bearer {tokens['access_token']}", "accept": "application/jwt"}
        reply = await self._outbound.call("GET", places.userinfo, headers=bearer)
        signed = _answered(reply).decode("ascii", "replace").strip()
        facts = await self._publications.claims(client.issuer, signed, one.door, client.decryption)
        check_userinfo(facts, wanted, told["sub"], at)
        return proven(wanted, tokens["id_token"], told, facts)

    async def logout_url(self, door: Door, id_token: str, redirect: str) -> str | None:
        """Where the browser goes to be signed out there, too; None where there is no such place, or it is away."""
        try:
            client = self.client(door)
            places = await self._publications.places(client.issuer)
        except (Refused, Unavailable):
            return None
        if places.end is None:
            return None
        asked = {
            "id_token_hint": id_token,
            "post_logout_redirect_uri": redirect,
            "state": _text(self._entropy(24)),
        }
        return _with(places.end, asked)

    async def _tokens(self, client: Client, place: str, code: Mapping[str, str], at: Instant) -> dict[str, str]:
        asked = {"grant_type": "authorization_code", **code, **self._proof(client, place, at)}
        reply = await self._outbound.call("POST", place, headers=_FORM, body=urlencode(asked).encode())
        if reply.status >= 500:
            raise Unavailable("outbound.answer", status=reply.status)
        told = document(reply.body)
        if reply.status != 200:
            raise Refused("franceconnect.refused", error=_word(told.get("error")))
        for name in ("access_token", "id_token"):
            if not isinstance(told.get(name), str):
                raise Refused("franceconnect.provider", wrong=name)
        if not told["access_token"].isascii() or not told["access_token"].isprintable():
            raise Refused("franceconnect.provider", wrong="access_token")  # it would end the line of a header
        return told

    def _proof(self, client: Client, place: str, at: Instant) -> dict[str, str]:
        """That it is us who ask."""
        told = {"client_id": client.client_id}
        if client.key is None:
            return told if client.secret is None else told | {"client_secret": client.secret}
        now = at // 1000
        claims: dict[str, Any] = {"iss": client.client_id, "sub": client.client_id, "aud": place}
        claims |= {"iat": now, "exp": now + _ASSERTION_SECONDS, "jti": _text(self._entropy(16))}
        key = private_key(client.key)
        head = {"alg": "ES256", "kid": key.thumbprint()}
        return told | {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(head, claims, key, algorithms=["ES256"]),
        }


def _answered(reply: Reply) -> bytes:
    """What the userinfo address says: a JWT and nothing else."""
    if reply.status >= 500:
        raise Unavailable("outbound.answer", status=reply.status)
    if reply.status != 200:
        raise Refused("franceconnect.refused", error="userinfo")
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/jwt" or not reply.whole:  # what is not signed, anybody on the way may have written
        raise Refused("franceconnect.token", wrong="userinfo-form")
    return reply.body


def _with(place: str, asked: Mapping[str, str]) -> str:
    return f"{place}{'&' if '?' in place else '?'}{urlencode(asked, quote_via=quote)}"


def _word(value: object) -> str:
    """An error code of OAuth2, and nothing else that a provider says."""
    return value if isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) < 64 else "-"


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
