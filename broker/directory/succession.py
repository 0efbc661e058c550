"""Succession: an administration lists a new key of its own, without an operator: its present keys authorise it.

    challenge(new key) ──► signed by the new key (or opened with it), and signed by present ones ──► take

Refuses: a key whose holder did not show that they hold it; one that no present signing key of the same party hands over
to: a token alone, stolen or not, changes no key; what is handed over without one of the algorithms that the party's
signature policy demands: the thief of half of a hybrid key would list the other half; a signing key of an algorithm
that the party has none of, for what its declarations must be signed with is an operator's to decide.
Keeps: a challenge counts for its party, use and key, for CHALLENGE_MS, and is stored nowhere. The old keys go on for
the overlap, which is never 0; the new key has its ledger entry, as one that an operator lists.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.directory import reading
from broker.directory.registrar import Registrar, holding_trust
from broker.ports import Clock
from broker.store.engine import Transaction
from broker.store.rows.seals import RowReader
from schemas import hpke, signing, succession
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.names import Instant, Kid, PartyId
from schemas.signing import Algorithm
from schemas.succession import Use

CHALLENGE_MS: Final = 600_000
OVERLAP_LEAST_MS: Final = 3_600_000
"""The shortest: what is under way with the old keys arrives, and only an operator ends a key at once."""
_AT: Final = 8
_SIZE: Final = _AT + 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """A public key: an algorithm or a suite, and its raw bytes."""

    use: Use
    kind: Algorithm | Suite
    public: bytes

    @property
    def kid(self) -> Kid:
        """Its id, which commits to its kind."""
        if isinstance(self.kind, Algorithm):
            return signing.kid_of(self.kind, self.public)
        return hpke.kid_of(self.kind, self.public)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is to be answered until `expires_at`. `sealed`: the answer itself, sealed to a sealing key."""

    challenge: bytes
    sealed: bytes | None
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A present signing key that hands over, and its signature."""

    present: Kid
    signature: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The challenge, the proof by the new key, and who hands over: a present key of each algorithm of the policy."""

    challenge: bytes
    proof: bytes
    authorisations: Sequence[Authorisation]


class Succession:
    """Inside the caller's transaction. `seed`: 32 secret bytes that every process has."""

    def __init__(self, registrar: Registrar, rows: RowReader, seed: bytes) -> None:
        self._registrar = registrar
        self._rows = rows
        self._secret = hmac.digest(seed, b"unefois/key-challenge/v1", "sha256")

    def challenge(self, party: PartyId, new: NewKey, at: Instant) -> Challenge:
        """Raises Refused `hpke.*`, `signing.*` for a key that nobody should trust."""
        expires_at = Instant(at + CHALLENGE_MS)
        made = self._challenge(party, new, expires_at)
        if isinstance(new.kind, Algorithm):
            signing.check_public(new.kind, new.public)
            return Challenge(made, None, expires_at)
        sealed = hpke.seal(new.kind, new.public, self._answer(made), succession.info(new.kid))
        return Challenge(made, sealed, expires_at)

    async def take(
        self, tx: Transaction, party: PartyId, new: NewKey, answer: Answer, *, overlap_ms: int, clock: Clock
    ) -> tuple[Kid, Instant]:
        """List the key from now on; the party's others of this kind end after the overlap. Returns since when.

        `clock` is read under the lock, as for `Registrar.revoke_key`.
        Raises Refused: `succession.challenge`, `succession.possession`, `succession.authorisation`,
        `succession.policy-not-met`, `succession.algorithm`, `succession.overlap`, and what `Registrar.rotate_signing`
        and `rotate_sealing` do.
        """
        if overlap_ms < OVERLAP_LEAST_MS:
            hours, least = overlap_ms // 3_600_000, OVERLAP_LEAST_MS // 3_600_000
            raise Refused("succession.overlap", "/overlap_hours", hours=hours, least=least)
        self._check_challenge(party, new, answer.challenge, clock())
        await holding_trust(tx)  # nobody revokes the present key meanwhile
        at = clock()
        directory = await reading.snapshot(tx, self._rows)
        _check_authorised(directory, party, new, answer, at)
        self._check_possession(party, new, answer)
        if isinstance(new.kind, Algorithm):
            _check_algorithm(directory, party, new.kind, at)
            kid = await self._registrar.rotate_signing(
                tx, party, algorithm=new.kind, public=new.public, at=at, overlap_ms=overlap_ms
            )
        else:
            kid = await self._registrar.rotate_sealing(
                tx, party, suite=new.kind, public=new.public, at=at, overlap_ms=overlap_ms
            )
        return kid, at

    def _challenge(self, party: PartyId, new: NewKey, expires_at: int) -> bytes:
        when = expires_at.to_bytes(_AT, "big")
        bound = when + new.kid + new.use.value.encode() + b"\x00" + party.encode()
        return when + hmac.digest(self._secret, bound, "sha256")

    def _answer(self, challenge: bytes) -> bytes:
        return hmac.digest(self._secret, b"answer" + challenge, "sha256")

    def _check_challenge(self, party: PartyId, new: NewKey, told: bytes, at: Instant) -> None:
        expires_at = int.from_bytes(told[:_AT], "big")
        ours = self._challenge(party, new, expires_at)
        if len(told) != _SIZE or not hmac.compare_digest(ours, told) or at >= expires_at:
            raise Refused("succession.challenge", "/challenge")

    def _check_possession(self, party: PartyId, new: NewKey, answer: Answer) -> None:
        if isinstance(new.kind, Algorithm):
            message = succession.possession(party, new.use, new.kid, answer.challenge)
            held = signing.verify(new.kind, new.public, answer.proof, message)
        else:
            held = hmac.compare_digest(self._answer(answer.challenge), answer.proof)
        if not held:
            raise Refused("succession.possession", "/proof")


def _check_authorised(directory: Directory, party: PartyId, new: NewKey, answer: Answer, at: Instant) -> None:
    """Every signature is of a present key of the party, and together they are of every algorithm that is demanded.

    Demanded is what declarations need: the policy in force, and each that is announced, so that nobody exchanges the
    half that does not count yet.
    """
    message = succession.authorisation(party, new.use, new.kid, answer.challenge)
    held: set[Algorithm] = set()
    for number, each in enumerate(answer.authorisations):
        pointer = f"/others/{number - 1}" if number else ""
        try:
            present = directory.check_signer(party, each.present, at)
        except Refused:
            raise Refused("succession.authorisation", f"{pointer}/present") from None
        if not signing.verify(present.algorithm, present.public, each.signature, message):
            raise Refused("succession.authorisation", f"{pointer}/authorisation")
        held.add(present.algorithm)
    policies = {directory.policy(party, at)}
    policies |= {one.policy for one in directory.policies if one.party == party and one.valid_from > at}
    for policy in sorted(policies):
        missing = signing.POLICIES[policy] - held
        if missing:
            raise Refused("succession.policy-not-met", "/others", policy=policy, missing=min(missing).name)


def _check_algorithm(directory: Directory, party: PartyId, wanted: Algorithm, at: Instant) -> None:
    held = {
        one.algorithm
        for one in directory.signing
        if one.party == party and one.valid_from <= at and one.revoked_at is None
        if one.valid_to is None or at <= one.valid_to
    }
    if wanted not in held:
        raise Refused("succession.algorithm", "/kind")
