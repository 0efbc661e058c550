"""Succession: how a party shows that it holds a new key, and that a present key of its own hands over to it.

    unefois-key/v1
    <party>
    <signing | sealing>
    <the new key's id, hexadecimal>
    <the broker's challenge, hexadecimal>

The new signing key signs this text under the type POSSESSION; a sealing key cannot sign, so its holder opens what was
sealed to it. A present signing key of the party signs the same text under the type AUTHORISATION.

Refuses: nothing; it makes bytes.
Keeps: the text names party, use and key, so no signature for one serves another; the two types are two domains, so
neither signature passes for the other, nor for a manifest's.
Source: DSSE v1 (the encoding before signing); docs/adr/0026-a-present-key-hands-over.md.
"""

from enum import Enum
from typing import Final

from schemas.names import Kid, PartyId
from schemas.signing import pae

POSSESSION: Final = "application/vnd.unefois.key-possession.v1"
AUTHORISATION: Final = "application/vnd.unefois.key-authorisation.v1"
_SEALED: Final = b"unefois/key-challenge/v1\x00"


class Use(Enum):
    """What a key is for."""

    SIGNING = "signing"
    SEALING = "sealing"


def possession(party: PartyId, use: Use, kid: Kid, challenge: bytes) -> bytes:
    """What the new key signs."""
    return pae(POSSESSION, _text(party, use, kid, challenge))


def authorisation(party: PartyId, use: Use, kid: Kid, challenge: bytes) -> bytes:
    """What a present signing key signs."""
    return pae(AUTHORISATION, _text(party, use, kid, challenge))


def info(kid: Kid) -> bytes:
    """The HPKE `info` under which a challenge is sealed to the new key."""
    return _SEALED + kid


def _text(party: PartyId, use: Use, kid: Kid, challenge: bytes) -> bytes:
    return f"unefois-key/v1\n{party}\n{use.value}\n{kid.hex()}\n{challenge.hex()}\n".encode()
