"""Renewal: an agency's own next key, listed with the broker: proven to be held, and authorised by present ones.

    renewal = Renewal(party, *present)
    told = await client.ask(renewal.challenge(new))
    kid = await client.ask(renewal.take(new, told))

Refuses: an answer that is none; a challenge that is sealed to another key.
Keeps: no private key leaves: what is sent are signatures, and for a sealing key the opened challenge.
Source: `schemas/succession.py`.
"""

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from connectors.calls import Call, Json, posted, raw
from schemas import hpke, succession
from schemas.errors import Refused
from schemas.hpke import SealingKey
from schemas.names import Kid, PartyId
from schemas.signing import PrivateKey
from schemas.succession import Use

OVERLAP_HOURS: Final = 720


@dataclass(frozen=True, slots=True)
class Told:
    """What the broker asked."""

    challenge: bytes
    sealed: bytes | None


class Renewal:
    """By a party whose present signing keys are listed: one of each algorithm of its signature policy."""

    def __init__(self, party: PartyId, present: PrivateKey, *others: PrivateKey) -> None:
        self._party = party
        self._present = present
        self._others = others

    def challenge(self, new: PrivateKey | SealingKey) -> Call[Told]:
        """Ask what to prove."""

        def read(told: Json) -> Told:
            return Told(raw(told, "challenge"), raw(told, "sealed") if told.get("sealed") is not None else None)

        return posted("/v1/keys:challenge", _public(new), read)

    def take(self, new: PrivateKey | SealingKey, told: Told, overlap_hours: int = OVERLAP_HOURS) -> Call[Kid]:
        """Hand the new key in; its id. Raises Refused `hpke.cannot-open`, `client.answer`."""
        use, about = _use(new), (self._party, _use(new), new.kid, told.challenge)
        if isinstance(new, PrivateKey):
            proof = new.sign(succession.possession(*about))
        elif told.sealed is None:
            raise Refused("client.answer", "/sealed")
        else:
            proof = hpke.open_(new, told.sealed, succession.info(new.kid))
        message = succession.authorisation(*about)
        body = _public(new) | {
            "use": use.value,
            "challenge": _text(told.challenge),
            "proof": _text(proof),
            **_authorised(self._present, message),
            "others": [_authorised(each, message) for each in self._others],
            "overlap_hours": overlap_hours,
        }
        return posted("/v1/keys", body, lambda answer: Kid.parse(str(answer.get("kid"))), again=False)


def _use(new: PrivateKey | SealingKey) -> Use:
    return Use.SIGNING if isinstance(new, PrivateKey) else Use.SEALING


def _authorised(present: PrivateKey, message: bytes) -> Json:
    return {"present": present.kid.hex(), "authorisation": _text(present.sign(message))}


def _public(new: PrivateKey | SealingKey) -> Json:
    kind = new.algorithm if isinstance(new, PrivateKey) else new.suite
    return {"use": _use(new).value, "kind": int(kind), "public": _text(new.public)}


def _text(told: bytes) -> str:
    return urlsafe_b64encode(told).decode().rstrip("=")
