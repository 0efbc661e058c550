"""Carried: a sign-in that has begun, as the citizen's browser carries it to FranceConnect and back.

    cookie   base64url(u8 1 | nonce 12 | AES-256-GCM(key of the house, JSON, aad = label))

Refuses: one that we did not make, or that somebody changed.
Keeps: the browser that comes back is the one that went, so nobody signs another person in (login CSRF); and nothing is
stored for whoever begins and never comes back. It holds no fact about a person.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.access.franceconnect import Attempt
from broker.access.identity_tokens import Door
from broker.citizens.sealed import key_from
from broker.ports import Entropy
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Instant

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_LABEL: Final = b"unefois/citizen-attempt/v1\x00"
_LONGEST: Final = 2048


@dataclass(frozen=True, slots=True)
class Carried:
    """What is carried. `returns_to`: a path of our own pages."""

    attempt: Attempt
    returns_to: str
    language: Language


class Carrying:
    """Seals and opens. Calls are local."""

    def __init__(self, entropy: Entropy, secret: Callable[[], bytes]) -> None:
        """`secret`: reads what the key is made of, when first needed; replaced, sign-ins under way begin again."""
        self._entropy = entropy
        self._read = secret

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(key_from(self._read(), _LABEL))

    def seal(self, carried: Carried) -> str:
        """The value of a cookie."""
        one = carried.attempt
        told = [one.door.value, one.least, one.state, one.nonce, one.begun_at, carried.returns_to, carried.language]
        nonce = self._entropy(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, json.dumps(told).encode(), _LABEL)
        return urlsafe_b64encode(_VERSION + nonce + sealed).decode().rstrip("=")

    def open(self, cookie: str) -> Carried:
        """The inverse. Raises Refused `franceconnect.attempt`."""
        try:
            raw = urlsafe_b64decode(cookie[:_LONGEST].encode("ascii") + b"=" * (-len(cookie) % 4))
            if raw[:1] != _VERSION:
                raise ValueError("another version")
            opened = self._cipher.decrypt(raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :], _LABEL)
        except (InvalidTag, ValueError):
            raise Refused("franceconnect.attempt", wrong="cookie") from None
        door, least, state, nonce, begun_at, returns_to, language = json.loads(opened)
        return Carried(Attempt(Door(door), least, state, nonce, Instant(begun_at)), returns_to, language)
