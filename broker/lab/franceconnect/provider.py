"""Provider: one of the two services, as strict as FranceConnect is published to be; what it knows is in memory.

    authorize ──► Asked ──choose──► code, 30 s ──token──► id_token, access token, 60 s ──userinfo──► a JWT

Refuses: no `acr_values` or one that this door does not have, a nonce below 22 characters, no state, another grant,
`prompt` but `login` and `consent`, a redirect that is not registered; HTTP basic; a code or a token too late or twice.
Keeps: `sub` is pairwise: another one for each client, and for FranceConnect and FranceConnect+. There is no session of
its own: each sign-in is one click.
Source: FranceConnect v2, partner documentation (November 2026).
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from broker.access.identity_tokens import Door
from broker.lab.franceconnect.people import PEOPLE, Person
from broker.lab.franceconnect.tokens import public, signed, text
from broker.ports import Clock, Entropy
from schemas.names import Instant

NONCE_CHARACTERS: Final = 22
CODE_MS: Final = 30_000
TOKEN_MS: Final = 60_000
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Wrong(Exception):
    """A request that is not as it has to be: an OAuth2 error code, what is wrong, the status."""

    def __init__(self, error: str, about: str, status: int = 400) -> None:
        super().__init__(error, about)
        self.error, self.about, self.status = error, about, status


@dataclass(frozen=True, slots=True)
class Registered:
    """A client. `secret` or `key` (public, P-256, PEM); `encrypts_to`: a public key (PEM), where its userinfo is
    encrypted: P-256 or RSA.
    """

    client_id: str
    redirects: frozenset[str]
    goodbyes: frozenset[str] = frozenset()
    secret: str | None = field(default=None, repr=False)
    key: str | None = None
    encrypts_to: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A sign-in that has begun: the page shows who may be chosen."""

    client: Registered
    redirect: str
    state: str
    nonce: str
    acr: str


@dataclass(frozen=True, slots=True)
class _Granted:
    asked: Asked
    person: Person
    until: Instant


class Provider:
    """One door. A test that wants it to say something wrong overrides `id_claims`, `user_claims` or `sign`."""

    def __init__(
        self,
        door: Door,
        issuer: str,
        clients: Sequence[Registered],
        *,
        clock: Clock,
        entropy: Entropy,
        people: Sequence[Person] = PEOPLE,
    ) -> None:
        self.door = door
        self.issuer = issuer
        self.people = {one.key: one for one in people}
        self._clients = {one.client_id: one for one in clients}
        self.clock = clock
        self._entropy = entropy
        self._codes: dict[str, _Granted] = {}
        self._tokens: dict[str, _Granted] = {}
        self._asked: dict[str, Asked] = {}
        self._used: set[str] = set()
        self.rotate()

    def rotate(self) -> None:
        """Another key: tokens of before verify with nothing any more."""
        self.key = ec.derive_private_key(int.from_bytes(self._entropy(31), "big") + 1, ec.SECP256R1())
        self.kid = text(self._entropy(8))

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        places = {"authorization": "authorize", "token": "token", "userinfo": "userinfo", "end_session": "session/end"}
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            **{f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in places.items()},
            "acr_values_supported": sorted(self.door.levels),
            "grant_types_supported": ["authorization_code"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "id_token_signing_alg_values_supported": list(self.door.signs_with),
            "userinfo_signing_alg_values_supported": list(self.door.signs_with),
        }

    def jwks(self) -> dict[str, Any]:
        """Its keys."""
        return {"keys": [public(self.key, self.kid)]}

    # ── the browser ─────────────────────────────────────────────────────────────────────────────────────────────────

    def authorize(self, told: Mapping[str, str]) -> str:
        """The number of a sign-in that has begun. Raises Wrong."""
        client = self._clients.get(told.get("client_id", ""))
        if client is None:
            raise Wrong("invalid_client", "client_id")
        if told.get("redirect_uri") not in client.redirects:
            raise Wrong("invalid_redirect_uri", "redirect_uri")
        right = {
            "response_type": told.get("response_type") == "code",
            "scope": "openid" in told.get("scope", "").split(),
            "state": bool(told.get("state")),
            "nonce": len(told.get("nonce", "")) >= NONCE_CHARACTERS,
            "acr_values": told.get("acr_values") in self.door.levels,
            "prompt": told.get("prompt", "login") in {"login", "consent"},
        }
        for name, so in right.items():
            if not so:
                raise Wrong("invalid_request", name)
        number = text(self._entropy(16))
        self._asked[number] = Asked(client, told["redirect_uri"], told["state"], told["nonce"], told["acr_values"])
        return number

    def choose(self, number: str, key: str | None) -> str:
        """Where the browser goes: back, as this person, or as nobody. Raises Wrong."""
        asked = self._asked.pop(number, None)
        if asked is None:
            raise Wrong("invalid_request", "sign-in")
        if key is None:
            back = {"error": "access_denied", "error_description": "User auth aborted", "state": asked.state}
            return f"{asked.redirect}?{urlencode(back | {'iss': self.issuer})}"
        chosen = self.people.get(key)
        if chosen is None or chosen.most < asked.acr:
            raise Wrong("invalid_request", "person")
        code = text(self._entropy(32))
        self._codes[code] = _Granted(asked, chosen, Instant(self.clock() + CODE_MS))
        return f"{asked.redirect}?{urlencode({'code': code, 'state': asked.state, 'iss': self.issuer})}"

    def logout(self, told: Mapping[str, str]) -> str:
        """Where the browser goes after it was signed out. Raises Wrong."""
        try:
            hint = jwt.decode(told.get("id_token_hint", ""), ECKey.import_key(self.jwks()["keys"][0]), ["ES256"])
        except (JoseError, ValueError):
            raise Wrong("invalid_request", "id_token_hint") from None
        client = self._clients.get(hint.claims["aud"])
        place = told.get("post_logout_redirect_uri")
        if client is None or place not in client.goodbyes:
            raise Wrong("invalid_request", "post_logout_redirect_uri")
        return f"{place}?{urlencode({'state': told['state']})}" if "state" in told else str(place)

    # ── the relying party ───────────────────────────────────────────────────────────────────────────────────────────

    def token(self, told: Mapping[str, str], authorization: str | None = None) -> dict[str, Any]:
        """The answer of the token endpoint. Raises Wrong."""
        client = self._known(told, authorization)
        if told.get("grant_type") != "authorization_code":
            raise Wrong("unsupported_grant_type", "grant_type")
        granted = self._codes.pop(told.get("code", ""), None)
        if granted is None or granted.asked.client != client or granted.until <= self.clock():
            raise Wrong("invalid_grant", "code")
        if told.get("redirect_uri") != granted.asked.redirect:
            raise Wrong("invalid_grant", "redirect_uri")
        access = text(self._entropy(32))
        self._tokens[access] = replace(granted, until=Instant(self.clock() + TOKEN_MS))
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": TOKEN_MS // 1000,
            "id_token": self.sign(self.id_claims(granted.asked, granted.person), client),
        }

    def userinfo(self, authorization: str | None) -> str:
        """The facts, as a JWT; encrypted where the client asks for it. Raises Wrong."""
        granted = self._tokens.get((authorization or "").removeprefix("Bearer "))
        if granted is None or granted.until <= self.clock():
            raise Wrong("invalid_token", "access token", 401)
        client = granted.asked.client
        inner = self.sign(self.user_claims(granted.asked, granted.person), client)
        if client.encrypts_to is None:
            return inner
        key, alg = _recipient(client.encrypts_to)
        head = {"alg": alg, "enc": "A256GCM", "cty": "JWT"}
        return jwe.encrypt_compact(head, inner.encode(), key, algorithms=[alg, "A256GCM"])

    def id_claims(self, asked: Asked, person: Person) -> dict[str, Any]:
        """What an ID token says."""
        now = self.clock() // 1000
        return {
            "iss": self.issuer,
            "aud": asked.client.client_id,
            "sub": self.sub(asked.client, person),
            "iat": now,
            "auth_time": now,
            "exp": now + TOKEN_MS // 1000,
            "nonce": asked.nonce,
            "acr": asked.acr,
            "amr": ["pwd"],
        }

    def user_claims(self, asked: Asked, person: Person) -> dict[str, Any]:
        """What the userinfo says."""
        helped = {"rep_scope": list(person.helped)} if person.helped else {}
        return {
            "iss": self.issuer,
            "aud": asked.client.client_id,
            "sub": self.sub(asked.client, person),
            **person.told,
            **helped,
        }

    def sub(self, client: Registered, person: Person) -> str:
        """Pairwise: of this door, client and person."""
        told = f"{self.door.value}\x00{client.client_id}\x00{person.key}".encode()
        return hmac.digest(b"fictional", told, sha256).hex() + "v1"

    def sign(self, claims: Mapping[str, Any], client: Registered) -> str:
        """A JWS of this door's key."""
        return signed(claims, self.key, self.kid)

    def _known(self, told: Mapping[str, str], authorization: str | None) -> Registered:
        """Which client asks, by its secret or its key. Raises Wrong."""
        if authorization is not None:
            raise Wrong("invalid_client", "basic", 401)
        client = self._clients.get(told.get("client_id", ""))
        if client is None:
            raise Wrong("invalid_client", "client_id", 401)
        if client.key is not None:
            self._check_assertion(client.key, client.client_id, told)
        elif client.secret is None or not hmac.compare_digest(client.secret, told.get("client_secret", "")):
            raise Wrong("invalid_client", "client_secret", 401)
        return client

    def _check_assertion(self, key: str, client_id: str, told: Mapping[str, str]) -> None:
        try:
            claims = jwt.decode(told.get("client_assertion", ""), ECKey.import_key(key), ["ES256"]).claims
        except (JoseError, ValueError):
            raise Wrong("invalid_client", "client_assertion", 401) from None
        right = (
            told.get("client_assertion_type") == _ASSERTION,
            claims.get("iss") == claims.get("sub") == client_id,
            claims.get("aud") == f"{self.issuer}/token",
            claims.get("exp", 0) * 1000 > self.clock(),
            claims.get("jti") not in self._used,
        )
        if not all(right):
            raise Wrong("invalid_client", "client_assertion", 401)
        self._used.add(claims["jti"])


def _recipient(pem: str) -> tuple[ECKey | RSAKey, str]:
    try:
        return ECKey.import_key(pem), "ECDH-ES"
    except (JoseError, ValueError):
        return RSAKey.import_key(pem), "RSA-OAEP"
