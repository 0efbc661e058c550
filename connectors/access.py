"""Access: how a client shows who it is. An API token as it is, or a key of its own that gets tokens of ten minutes.

Refuses: an answer of the token endpoint that holds no token; a key of a kind that the endpoint does not take.
Keeps: a token is asked for once and used until shortly before its end; an assertion is made anew for each request; no
token and no assertion is in a repr.
Source: RFC 7523 (private_key_jwt), RFC 7638 (thumbprints), RFC 6749, section 4.4 (client_credentials).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from schemas.errors import Refused
from schemas.names import Instant, PartyId
from schemas.signing import Algorithm, PrivateKey

EARLY_MS: Final = 60_000
"""A token is replaced so long before its end: a request takes its time, and clocks differ."""
ASSERTION_SECONDS: Final = 120
_FORM: Final = "application/x-www-form-urlencoded"
_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWS: Final = {Algorithm.ED25519: "Ed25519", Algorithm.ECDSA_P256: "ES256"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the token endpoint."""

    path: str
    media: str
    body: bytes = field(repr=False)


class Access(Protocol):
    """A client's credential. `renewable`: a token that is refused may be replaced by another one."""

    @property
    def renewable(self) -> bool:
        """Whether asking again helps."""
        ...

    def ask(self, at: Instant, fresh: bool) -> "str | Ask":
        """The token for a request now, or what to ask the token endpoint first; `fresh`: not the one of before."""
        ...

    def told(self, content: bytes, at: Instant) -> str:
        """The token in the endpoint's answer. Raises Refused `client.answer`."""
        ...


class ApiToken:
    """A token that an operator issued: `unefois token issue`."""

    renewable = False

    def __init__(self, token: str) -> None:
        self._token = token

    def ask(self, at: Instant, fresh: bool) -> str:
        """The token, always."""
        return self._token

    def told(self, content: bytes, at: Instant) -> str:
        """Nobody is asked."""
        raise Refused("client.answer", "/access_token")


class KeyAccess:
    """A key whose public half was pinned: `unefois token pin`. `audience` is the broker's own name.

    `scopes`: what to ask for; empty for all that the key may have. Raises Refused `client.key-kind`.
    """

    renewable = True

    def __init__(
        self,
        party: PartyId,
        key: PrivateKey,
        audience: PartyId,
        entropy: Callable[[int], bytes],
        scopes: tuple[str, ...] = (),
    ) -> None:
        self._party = party
        self._algorithm = _JWS.get(key.algorithm, "")
        self._key = _jwk(key)
        self._audience = audience
        self._entropy = entropy
        self._scopes = scopes
        self._token = ""
        self._until = Instant(0)

    @property
    def public_jwk(self) -> str:
        """What the operator pins: the public key as a JWK."""
        return json.dumps(self._key.as_dict(private=False), sort_keys=True)

    def ask(self, at: Instant, fresh: bool) -> str | Ask:
        """The token that is held, or a request with a new assertion."""
        if self._token and not fresh and at < self._until - EARLY_MS:
            return self._token
        seconds = at // 1000
        claims = {
            "iss": self._party,
            "sub": self._party,
            "aud": self._audience,
            "iat": seconds,
            "exp": seconds + ASSERTION_SECONDS,
            "jti": self._entropy(16).hex(),
        }
        header = {"alg": self._algorithm, "kid": self._key.thumbprint()}
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": _BEARER,
            "client_assertion": jwt.encode(header, claims, self._key, algorithms=[self._algorithm]),
        } | ({"scope": " ".join(self._scopes)} if self._scopes else {})
        return Ask("/oauth2/token", _FORM, urlencode(form).encode("ascii"))

    def told(self, content: bytes, at: Instant) -> str:
        """The token, held until shortly before its end."""
        try:
            answer = json.loads(content)
            token, seconds = answer["access_token"], answer["expires_in"]
        except (ValueError, KeyError, TypeError):
            token, seconds = "", 0
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or type(seconds) is not int:
            raise Refused("client.answer", "/access_token")
        if not token:
            raise Refused("client.answer", "/access_token")
        self._token, self._until = token, Instant(at + seconds * 1000)
        return token


def _jwk(key: PrivateKey) -> OKPKey | ECKey:
    if key.algorithm is Algorithm.ED25519:
        return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(key.to_raw()))
    if key.algorithm is Algorithm.ECDSA_P256:
        made = ec.derive_private_key(int.from_bytes(key.to_raw(), "big"), ec.SECP256R1())
        return ECKey.import_key(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    raise Refused("client.key-kind")
