"""Identity tokens: what FranceConnect has signed about a person, checked, as facts.

    token ──1 decrypt, where it is encrypted──2 signature, by a published key──3 claims──► Proven

Refuses: a method that FranceConnect does not use, `none` and shared secrets among them; a key that is not published;
another issuer, audience, time, nonce, person; a level below what was asked; plain JSON where a JWT is due.
Keeps: keys are read again when one is unknown, at most every APART_MS, so that nobody makes this broker ask and ask.
Source: OpenID Connect Core 1.0, sections 3.1.3.7 and 5.3.2; FranceConnect v2, partner documentation; RFC 8725.
"""

import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from broker.outbound import Outbound
from broker.people.pivot import PivotIdentity
from broker.ports import Clock
from schemas.errors import Refused
from schemas.names import Instant

SKEW_MS: Final = 60_000
"""How far the provider's clock may be ahead."""
AGE_MS: Final = 60_000
"""How long ago an ID token may have been made: as long as FranceConnect lets one live."""
FRESH_MS: Final = 3_600_000
"""How long what the provider publishes is believed without another look."""
APART_MS: Final = 10_000
ENCRYPTED_BY: Final = ("ECDH-ES", "RSA-OAEP", "A256GCM")
ORDER: Final[Mapping[str, int]] = MappingProxyType({"eidas1": 1, "eidas2": 2, "eidas3": 3})
"""Levels, from the lowest on."""

_DISCOVERY: Final = "/.well-known/openid-configuration"


class Door(Enum):
    """Which of the two services: each has clients, keys and identifiers (`sub`) of its own."""

    FRANCECONNECT = "franceconnect"
    PLUS = "franceconnect-plus"

    @property
    def levels(self) -> frozenset[str]:
        """What it can vouch for."""
        return frozenset({"eidas1"} if self is Door.FRANCECONNECT else {"eidas2", "eidas3"})

    @property
    def signs_with(self) -> tuple[str, ...]:
        """Never one with a shared secret, whatever a token's head says."""
        return ("ES256", "RS256") if self is Door.FRANCECONNECT else ("ES256",)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a provider answers, as it says itself."""

    authorization: str
    token: str
    userinfo: str
    keys: str
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose token, for whom, and in answer to what. `least`: the lowest level that will do, of ORDER."""

    door: Door
    issuer: str
    client: str
    nonce: str = field(repr=False)
    least: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Who somebody is, as FranceConnect has signed it. `acr`: one of ORDER; `scopes`: what Aidants Connect's agent may
    help with, None where nobody helps; `agent`: that agent's identifier, where the provider tells one.
    """

    door: Door
    issuer: str
    client: str
    sub: str = field(repr=False)
    acr: str
    identity: PivotIdentity = field(repr=False)
    id_token: str = field(repr=False)
    scopes: frozenset[str] | None = None
    agent: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Known:
    places: Places
    at: Instant
    keys: tuple[dict[str, Any], ...] = ()
    keys_at: Instant | None = None


class Publications:
    """What providers publish: where they answer, and their keys. In memory, of this process."""

    def __init__(self, outbound: Outbound, clock: Clock) -> None:
        self._outbound = outbound
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def places(self, issuer: str) -> Places:
        """Raises Refused `franceconnect.provider`, `outbound.*`; Unavailable `outbound.*`."""
        return (await self._look(issuer)).places

    async def claims(self, issuer: str, token: str, door: Door, decryption: str | None = None) -> dict[str, Any]:
        """The claims of a token that this provider has signed. `decryption`: a private key (PEM), where it encrypts.

        Raises Refused `franceconnect.token`, and as `places`.
        """
        signed = _decrypted(token, decryption) if token.count(".") == 4 else token
        key = await self._key(issuer, _head(signed))
        try:
            return jwt.decode(signed, KeySet.import_key_set({"keys": [key]}), algorithms=list(door.signs_with)).claims
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            raise Refused("franceconnect.token", wrong="signature") from None

    async def _key(self, issuer: str, head: Mapping[str, Any]) -> dict[str, Any]:
        """By its name, or the only one. One that is unknown may be new, so the keys are read again."""
        known, at = await self._look(issuer), self._clock()
        for again in (False, True):
            if known.keys_at is None or not 0 <= at - known.keys_at < (APART_MS if again else FRESH_MS):
                told = document((await self._outbound.fetch(known.places.keys)).body)
                listed = told.get("keys")
                if not isinstance(listed, list):
                    raise Refused("franceconnect.provider", wrong="keys")
                known.keys, known.keys_at = tuple(one for one in listed if isinstance(one, dict)), at
            signing = [one for one in known.keys if one.get("use", "sig") == "sig"]
            found = [one for one in signing if "kid" not in head or one.get("kid") == head["kid"]]
            if len(found) == 1:
                return found[0]
        raise Refused("franceconnect.token", wrong="key")

    async def _look(self, issuer: str) -> _Known:
        at, known = self._clock(), self._known.get(issuer)
        if known is not None and 0 <= at - known.at < FRESH_MS:
            return known
        told = document((await self._outbound.fetch(issuer.rstrip("/") + _DISCOVERY)).body)
        if told.get("issuer") != issuer:
            raise Refused("franceconnect.provider", wrong="issuer")
        names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        for name in names:
            if not isinstance(told.get(name), str):
                raise Refused("franceconnect.provider", wrong=name)
            self._outbound.check(told[name])
        end = told.get("end_session_endpoint")
        authorization, token, userinfo, keys = (told[name] for name in names)
        places = Places(authorization, token, userinfo, keys, end if isinstance(end, str) else None)
        self._known[issuer] = made = _Known(places, at)
        return made


def check_id_token(claims: Mapping[str, Any], wanted: Wanted, at: Instant) -> None:
    """Each claim, with the attack that it stops. Raises Refused `franceconnect.token`, `franceconnect.level`."""
    issued, ends = _instant(claims.get("iat")), _instant(claims.get("exp"))
    right = {
        "iss": claims.get("iss") == wanted.issuer,  # another provider's word
        "aud": _is_for(claims, wanted.client),  # a token that was made for another service
        "exp": ends is not None and ends > at,  # one that was kept
        "iat": issued is not None and at - AGE_MS <= issued <= at + SKEW_MS,
        "nonce": _same(claims.get("nonce"), wanted.nonce),  # one of another sign-in
        "sub": isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) <= 255,
    }
    _all_right(right)
    said: object = claims.get("acr")
    acr = said if isinstance(said, str) and said in wanted.door.levels else None  # never more than this door can know
    if acr is None or ORDER[acr] < ORDER[wanted.least]:  # nor less than what the act needs
        raise Refused("franceconnect.level", asked=wanted.least, got=acr or "-")


def check_userinfo(claims: Mapping[str, Any], wanted: Wanted, sub: str, at: Instant) -> None:
    """That these facts are of the same provider, client and person. Raises Refused `franceconnect.token`."""
    ends = _instant(claims.get("exp"))
    _all_right(
        {
            "userinfo-iss": claims.get("iss") == wanted.issuer,
            "userinfo-aud": _is_for(claims, wanted.client),
            "userinfo-exp": "exp" not in claims or (ends is not None and ends > at),
            "userinfo-sub": _same(claims.get("sub"), sub),  # the facts of somebody else
        }
    )


def identity_in(claims: Mapping[str, Any]) -> PivotIdentity:
    """The six facts. Raises Refused `franceconnect.identity` with the name of what is missing; what they are worth,
    `broker.people.pivot` says.
    """
    given = claims.get("given_name_array")
    if given is None and isinstance(claims.get("given_name"), str):
        given = claims["given_name"].split()
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise Refused("franceconnect.identity", wrong="given_name")
    told: dict[str, str] = {}
    for name in ("family_name", "birthdate", "gender", "birthplace", "birthcountry"):
        value = claims.get(name, "" if name == "birthplace" else None)  # born abroad: no commune
        if not isinstance(value, str):
            raise Refused("franceconnect.identity", wrong=name)
        told[name] = value
    return PivotIdentity(given_names=tuple(given), **told)


def proven(wanted: Wanted, id_token: str, told: Mapping[str, Any], facts: Mapping[str, Any]) -> Proven:
    """Of claims that were checked. Raises Refused `franceconnect.identity`, `franceconnect.token`."""
    scopes = facts.get("rep_scope", told.get("rep_scope"))
    if isinstance(scopes, str):
        scopes = scopes.split()
    if scopes is not None and not (isinstance(scopes, list) and all(isinstance(one, str) for one in scopes)):
        raise Refused("franceconnect.token", wrong="rep_scope")
    actor: object = told.get("act")
    agent = actor.get("sub") if isinstance(actor, Mapping) else None
    return Proven(
        door=wanted.door,
        issuer=wanted.issuer,
        client=wanted.client,
        sub=told["sub"],
        acr=told["acr"],
        identity=identity_in(facts),
        id_token=id_token,
        scopes=None if scopes is None else frozenset(scopes),
        agent=agent if isinstance(agent, str) and 0 < len(agent) <= 255 else None,
    )


def document(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises Refused `franceconnect.provider`."""
    try:
        told = json.loads(raw)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Refused("franceconnect.provider", wrong="JSON")
    return told


def _decrypted(token: str, pem: str | None) -> str:
    """The token inside. Raises Refused `franceconnect.token`."""
    if pem is None:
        raise Refused("franceconnect.token", wrong="encrypted")
    try:
        opened = jwe.decrypt_compact(token, private_key(pem), algorithms=list(ENCRYPTED_BY)).plaintext
        inner = (opened or b"").decode("ascii")
    except (JoseError, ValueError, KeyError, TypeError):
        raise Refused("franceconnect.token", wrong="decryption") from None
    if inner.count(".") != 2:
        raise Refused("franceconnect.token", wrong="decryption")
    return inner


def private_key(pem: str) -> ECKey | RSAKey:
    """Of our own. Raises Refused `franceconnect.key`."""
    for kind in (ECKey, RSAKey):
        try:
            key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            return key
    raise Refused("franceconnect.key")


def _head(token: str) -> dict[str, Any]:
    """What a token says of itself, of which nothing but the name of its key is used before it is checked."""
    try:
        told = _part(token, 0)
    except ValueError:
        told = None
    if token.count(".") != 2 or not isinstance(told, dict) or not isinstance(told.get("kid", ""), str):
        raise Refused("franceconnect.token", wrong="form")
    return told


def issuer_in(token: str) -> str | None:
    """Who a signed token says has made it: to choose whose keys it is held against, and for nothing else."""
    try:
        told = _part(token, 1)
    except (ValueError, IndexError):
        return None
    found: object = told.get("iss") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None


def _part(token: str, number: int) -> Any:
    raw = token.split(".", maxsplit=2)[number]
    return json.loads(urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))


def _is_for(claims: Mapping[str, Any], client: str) -> bool:
    audience = claims.get("aud")
    return audience in (client, [client]) and claims.get("azp", client) == client


def _same(told: object, wanted: str) -> bool:
    return isinstance(told, str) and hmac.compare_digest(told.encode(), wanted.encode())


def _all_right(right: Mapping[str, bool]) -> None:
    wrong = next((name for name, so in right.items() if not so), None)
    if wrong is not None:
        raise Refused("franceconnect.token", wrong=wrong)


def _instant(value: object) -> float | None:
    """Seconds since 1970, of a claim, as milliseconds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value * 1000 if number and isinstance(value, int | float) and 0 <= value < 2**40 else None
