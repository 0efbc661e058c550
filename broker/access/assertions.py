"""Assertions: what a client signs with its own key to say who it is, and what is believed of it.

    Named, by its header ──prove──► Proven ──redeem (`oauth`)──► an access token

Refuses: an assertion by any other key than the one named, for somebody else's party, for another audience, without an
end or far from it; any algorithm but the one of the key's own kind; an access token shown as an assertion.
Keeps: nothing; that an assertion counts once is `oauth`'s to see to, in its transaction.
Source: RFC 7523 (private_key_jwt), RFC 7519, RFC 9864 (Ed25519).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, isfinite
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import JoseError

from broker.access.credentials import Scope
from broker.access.jwks import ALGORITHMS, Key, curve, thumbprint
from broker.access.keysets import KeySet
from schemas.errors import Refused
from schemas.names import Instant, Kid, PartyId
from schemas.text import check_unicode

ASSERTION_SECONDS: Final = 300
"""How far ahead an assertion may end."""
SKEW_SECONDS: Final = 30
"""How far another's clock may be from ours."""
ASSERTION_BYTES: Final = 8192
JTI_CHARACTERS: Final = 128
TYPE: Final = "at+jwt"
"""What an access token calls itself, RFC 9068."""

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """Whose key an assertion says that it was signed with. It proves nothing yet."""

    party: PartyId
    scopes: frozenset[Scope]
    kid: str
    source: Key | KeySet
    """The pinned key itself, or where it has to be among those that are published."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An assertion that holds, and was not spent yet as far as anybody looked."""

    kid: Kid
    """The thumbprint of the key that it was signed with."""
    followed: KeySet | None
    """Where that key was published, when it was not pinned."""
    party: PartyId
    scope: str
    """What a token for it is good for, separated by spaces."""
    jti: bytes
    """SHA-256 of its id."""
    until: Instant
    """When it could not count any more."""


def prove(
    named: Named, key: Key | None, assertion: str, scopes: Sequence[str], *, audience: PartyId, at: Instant
) -> Proven:
    """Whose assertion this is, and the scopes of a token for it; without any asked for, all that the key may have.

    `key`: the one that is named, or None when there is none; `audience`: whom it has to be for. Raises Refused:
    `oauth.assertion` for whatever is wrong with it, `oauth.audiences`, `oauth.scope`.
    """
    if key is None:
        raise Refused("oauth.assertion")
    claims = _verified(assertion, key)
    if claims.get("iss") != named.party or claims.get("sub") != named.party:
        raise Refused("oauth.assertion")
    _check_audience(claims.get("aud"), audience)
    _check_times(claims, at)
    granted, jti = _granted(named.scopes, scopes), claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= JTI_CHARACTERS:
        raise Refused("oauth.assertion")
    until = Instant(ceil((claims["exp"] + SKEW_SECONDS) * 1000))
    followed = named.source if isinstance(named.source, KeySet) else None
    return Proven(thumbprint(key), followed, named.party, granted, sha256(jti.encode()).digest(), until)


def _verified(assertion: str, key: Key) -> Claims:
    try:
        header, claims = decoded(assertion, key, ALGORITHMS[curve(key)])
    except Refused:
        raise Refused("oauth.assertion") from None
    if str(header.get("typ", "JWT")).lower().endswith(TYPE):  # an access token is no proof of who shows it
        raise Refused("oauth.assertion")
    return claims


class _Algorithms(jws.JWSRegistry):
    """The allowed algorithms; the older name of Ed25519 means Ed25519, and nothing that another curve could do."""

    def get_alg(self, name: str) -> Any:
        """Raises JoseError for what is not allowed."""
        older = name == "EdDSA" and "EdDSA" in (self.allowed or ())
        return super().get_alg("Ed25519" if older else name)


def decoded(token: str, key: Key, algorithms: Sequence[str]) -> tuple[Mapping[str, Any], Claims]:
    """Header and claims of a JWT that this key has signed, by one of these algorithms. Raises Refused `oauth.token`."""
    try:
        read = jwt.decode(token.encode("ascii"), key, registry=_Algorithms(algorithms=algorithms))
    except (JoseError, ValueError, TypeError, RecursionError):
        raise Refused("oauth.token") from None
    if not isinstance(read.claims, dict) or "crit" in read.header or "b64" in read.header or not _is_text(read):
        raise Refused("oauth.token")
    return read.header, read.claims


def _is_text(read: jwt.Token) -> bool:
    """No half of a character, which JSON can say and nothing can keep."""
    try:
        check_unicode([read.header, read.claims])
    except (ValueError, RecursionError):
        return False
    return True


def _check_times(claims: Claims, at: Instant) -> None:
    now = at // 1000
    expires, begins, issued = claims.get("exp"), claims.get("nbf", now), claims.get("iat", now)
    if not all(_is_date(each) for each in (expires, begins, issued)):
        raise Refused("oauth.assertion")
    early = max(begins, issued) > now + SKEW_SECONDS
    if early or not now - SKEW_SECONDS < claims["exp"] <= now + ASSERTION_SECONDS + SKEW_SECONDS:
        raise Refused("oauth.assertion")


def _is_date(told: Any) -> bool:
    """A NumericDate: seconds, and a fraction where somebody likes (RFC 7519, section 2)."""
    return type(told) is int or (type(told) is float and isfinite(told))


def _check_audience(told: Any, audience: PartyId) -> None:
    """Us, and nobody besides: whoever else is meant gets the assertion, too, and would spend it here.

    A list of one is that one (RFC 7519, 4.1.3); draft-ietf-oauth-rfc7523bis wants no list at all.
    """
    if isinstance(told, list) and audience in told and len(told) > 1:
        raise Refused("oauth.audiences")
    if told not in (audience, [audience]):
        raise Refused("oauth.assertion")


def _granted(may: frozenset[Scope], wanted: Sequence[str]) -> str:
    allowed = {scope.value for scope in may}
    if not allowed.issuperset(wanted):
        raise Refused("oauth.scope")
    return " ".join(sorted(set(wanted) or allowed))
