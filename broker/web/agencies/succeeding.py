"""Succeeding: an administration lists a new key of its own, which its present signing keys authorise.

Refuses: a number that is no algorithm or suite; what `broker.directory.succession` refuses.
Keeps: nothing of its own.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from broker.access.credentials import Credential, Scope
from broker.directory.succession import Answer, Authorisation, NewKey
from broker.setup.wiring import Home
from broker.shapes import Json, time_of
from broker.web.agencies import forms
from broker.web.common.answered import answers
from broker.web.common.bodies import Body, Bytes, b64u, from_b64u
from broker.web.common.strict import Access, StrictRoute
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.names import Kid
from schemas.signing import Algorithm
from schemas.succession import Use

routes = APIRouter(route_class=StrictRoute, tags=["keys"])

KeyHolder = Annotated[Credential, Depends(Access(Scope.KEYS))]


class PublicKey(Body):
    """A new public key (protocol, section 1): `kind` is the number of its algorithm, or of its suite."""

    use: Literal["signing", "sealing"]
    kind: int = Field(ge=1, le=65_535)
    public: Bytes = Field(max_length=2048)


class Other(Body):
    """Another present signing key that hands over: the policy may demand several algorithms."""

    present: str = Field(pattern="^[0-9a-f]{64}$")
    authorisation: Bytes = Field(max_length=4096, description="Its signature.")


class Handed(PublicKey):
    """A new key with the answer to its challenge."""

    challenge: Bytes = Field(max_length=64)
    proof: Bytes = Field(max_length=4096, description="By the new key: its signature, or what it opened.")
    present: str = Field(pattern="^[0-9a-f]{64}$", description="The present signing key that hands over.")
    authorisation: Bytes = Field(max_length=4096, description="Its signature.")
    others: list[Other] = Field([], max_length=3, description="Of each further algorithm of your signature policy.")
    overlap_hours: int = Field(720, ge=1, le=9600, description="How long the old keys go on beside the new one.")


@routes.post("/keys:challenge", responses=answers(forms.Challenge))
async def challenge_key(request: Request, caller: KeyHolder, wanted: PublicKey) -> Json:
    """What to sign, or to open, with a new key of yours, within ten minutes (protocol, section 12)."""
    home: Home = request.app.state.home
    made = home.succession.challenge(caller.party, _key(wanted), home.clock())
    return {
        "challenge": b64u(made.challenge),
        "sealed": None if made.sealed is None else b64u(made.sealed),
        "expires_at": time_of(made.expires_at),
    }


@routes.post("/keys", status_code=201, responses=answers(forms.ListedKey, 201))
async def hand_in_key(request: Request, caller: KeyHolder, handed: Handed) -> Json:
    """List a new key of yours: the proof that you hold it, and the signature of a present signing key of yours, of
    each algorithm of your signature policy, that hands over to it. The others of its kind end after the overlap.
    """
    home: Home = request.app.state.home
    new = _key(handed)
    by = [Authorisation(Kid.parse(handed.present), from_b64u(handed.authorisation, "/authorisation"))]
    for number, other in enumerate(handed.others):
        signature = from_b64u(other.authorisation, f"/others/{number}/authorisation")
        by.append(Authorisation(Kid.parse(other.present), signature))
    answer = Answer(from_b64u(handed.challenge, "/challenge"), from_b64u(handed.proof, "/proof"), by)
    async with home.store.begin() as tx:
        kid, at = await home.succession.take(
            tx, caller.party, new, answer, overlap_ms=handed.overlap_hours * 3_600_000, clock=home.clock
        )
    return {"kid": kid.hex(), "valid_from": time_of(at)}


def _key(told: PublicKey) -> NewKey:
    kinds: type[Algorithm] | type[Suite] = Algorithm if told.use == "signing" else Suite
    if told.kind not in {int(each) for each in kinds}:
        raise Refused("succession.kind", "/kind")
    return NewKey(Use(told.use), kinds(told.kind), from_b64u(told.public, "/public"))
