"""Forwarded: a town's own portal hands over what FranceConnect has signed for it; its own word is not enough.

    nonce, from us ──► the portal's own sign-in ──id_token, userinfo, within 60 s──► Proven

Refuses: a nonce that we did not give to this portal with this credential, that is too old, or that was used; tokens for
another client than this portal's; more than its limit; everything that `identity_tokens` refuses.
Keeps: a portal that somebody has taken over signs nobody in who is not there: without a fresh token of FranceConnect
that carries our nonce it can do nothing. Nothing is stored for a nonce that was given; one that was used is remembered
in the journal of endings until it could not count any more.
Source: docs/adr/0056-citizens-sign-in.md.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Final

from broker.access.identity_tokens import (
    Door,
    Proven,
    Publications,
    Wanted,
    check_id_token,
    check_userinfo,
    issuer_in,
    proven,
)
from broker.access.tallies import Tallies, Tally
from broker.ended import Endings
from broker.ports import Entropy
from schemas.errors import Refused
from schemas.names import Instant, PartyId

NONCE_MS: Final = 900_000
"""From a nonce to the tokens: as long as somebody may take at FranceConnect, and a little more."""
_HOUR_MS: Final = 3_600_000
_RANDOM: Final = 16
_LABEL: Final = b"unefois/portal-nonce/v1\x00"


class Forwarding:
    """Nonces for portals, and what they bring. May be called concurrently, in any number of processes."""

    def __init__(
        self,
        issuers: Mapping[Door, str],
        clients: Mapping[PartyId, frozenset[str]],
        *,
        publications: Publications,
        endings: Endings,
        secret: Callable[[], bytes],
        entropy: Entropy,
        tallies: Tallies,
        per_hour: int,
    ) -> None:
        """`clients`: the identifiers under which FranceConnect knows each portal; `secret`: reads what nonces are made
        with, when first needed; `per_hour`: how many one portal may sign in within an hour, 0: as many as come.
        """
        self._issuers = issuers
        self._clients = clients
        self._publications = publications
        self._endings = endings
        self._read = secret
        self._entropy = entropy
        self._tallies = tallies
        self._per_hour = per_hour

    @cached_property
    def _secret(self) -> bytes:
        return hmac.digest(self._read(), _LABEL, sha256)

    def nonce(self, portal: PartyId, credential: bytes, at: Instant) -> tuple[str, Instant]:
        """A nonce for one sign-in at this portal, 54 characters, and until when it counts.

        Raises Refused `citizens.no-client`: nobody has said under which client FranceConnect knows this portal.
        """
        self._mine(portal)
        until = Instant(at + NONCE_MS)
        told = until.to_bytes(8, "big") + self._entropy(_RANDOM)
        return _text(told + self._mac(portal, credential, told)), until

    async def proven(
        self, portal: PartyId, credential: bytes, *, id_token: str, userinfo: str, nonce: str, at: Instant
    ) -> Proven:
        """Who it is. Raises Refused: `citizens.nonce`, `citizens.no-client`, `citizens.portal-limit`,
        `franceconnect.*`; Unavailable.
        """
        mine, until = self._mine(portal), self._check(portal, credential, nonce, at)
        said = issuer_in(id_token)
        door = next((one for one, issuer in self._issuers.items() if issuer == said), None)
        if door is None:
            raise Refused("franceconnect.token", wrong="iss")
        told = await self._publications.claims(self._issuers[door], id_token, door)
        client = next((one for one in sorted(mine) if told.get("aud") in (one, [one])), "")
        wanted = Wanted(door, self._issuers[door], client, nonce, min(door.levels))
        check_id_token(told, wanted, at)
        facts = await self._publications.claims(wanted.issuer, userinfo, door)
        check_userinfo(facts, wanted, told["sub"], at)
        found = proven(wanted, id_token, told, facts)
        await self._count(portal)
        if not await self._endings.spend(sha256(_LABEL + nonce.encode()).digest(), until, at):
            raise Refused("citizens.nonce", "/nonce")
        # Crash here: the nonce is used and nobody is signed in; the portal begins again with another one.
        return found

    def _mine(self, portal: PartyId) -> frozenset[str]:
        found = self._clients.get(portal)
        if not found:
            raise Refused("citizens.no-client")
        return found

    async def _count(self, portal: PartyId) -> None:
        """One more within this hour, in whichever process."""
        if not self._per_hour:
            return
        taken = await self._tallies.take(Tally.PORTAL_SIGN_INS, portal, most=self._per_hour, window_ms=_HOUR_MS)
        if taken.wait:
            raise Refused("citizens.portal-limit", limit=self._per_hour, after=taken.wait)

    def _check(self, portal: PartyId, credential: bytes, nonce: str, at: Instant) -> Instant:
        try:
            raw = urlsafe_b64decode(nonce.encode("ascii") + b"=" * (-len(nonce) % 4))
        except ValueError:
            raise Refused("citizens.nonce", "/nonce") from None
        told, mac = raw[: 8 + _RANDOM], raw[8 + _RANDOM :]
        until = Instant(int.from_bytes(told[:8], "big"))
        given = hmac.compare_digest(mac, self._mac(portal, credential, told)) and nonce == _text(raw)
        if not given or until <= at:
            raise Refused("citizens.nonce", "/nonce")
        return until

    def _mac(self, portal: PartyId, credential: bytes, told: bytes) -> bytes:
        named = portal.encode()
        bound = len(named).to_bytes(2, "big") + named + len(credential).to_bytes(2, "big") + credential
        return hmac.digest(self._secret, _LABEL + bound + told, sha256)[:16]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
