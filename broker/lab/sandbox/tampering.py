"""Tampering: what a pull answers, changed as an attacker or a broken broker would change it.

Refuses: nothing; a receiver has to.
Keeps: each change leaves everything right but the one thing that it is named after, so that what refuses it has looked
at that. The form of the answer is that of `broker.web.agencies.receiving`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from broker.web.common.bodies import b64u, from_b64u
from schemas import note
from schemas.hpke import SealingKey
from schemas.locked import LockedDelivery
from schemas.names import PartyId
from schemas.release import STATEMENT_TYPE, KeyRelease, Release, Statement, open_releases, seal_releases
from schemas.signing import Algorithm, PrivateKey, pae

Json = dict[str, Any]

SOMEBODY_ELSE: Final = PartyId("urn:unefois:somebody-else")


def bad_signature(told: Json) -> Json:
    """The source's signature does not fit what it signed: one bit of it is another. Protocol 7, step 3."""

    def changed(locked: LockedDelivery) -> LockedDelivery:
        first, *others = locked.signatures
        raw = bytes([first.signature[0] ^ 1]) + first.signature[1:]
        return replace(locked, signatures=(replace(first, signature=raw), *others))

    taken = [{**one, "locked": b64u(changed(_locked(one)).encode())} for one in told["deliveries"]]
    return {**told, "deliveries": taken}


def wrong_statement(told: Json, keys: Sequence[SealingKey], broker: PrivateKey) -> Json:
    """The broker's statement, well signed, is about another recipient. Protocol 7, step 7."""

    def changed(release: Release) -> Release:
        statement = replace(Statement.decode(release.statement), recipient=SOMEBODY_ELSE).encode()
        return replace(release, statement=statement, kid=broker.kid, signature=_signed(broker, statement))

    return _resealed(told, keys, changed)


def forged_statement(told: Json, keys: Sequence[SealingKey]) -> Json:
    """The statement says what it should, but a stranger has signed it. Protocol 7, step 7."""
    stranger = PrivateKey.generate(Algorithm.ED25519)

    def changed(release: Release) -> Release:
        return replace(release, signature=_signed(stranger, release.statement))

    return _resealed(told, keys, changed)


def forged_directory(told: Json) -> Json:
    """The signed directory, or the notes about it, as somebody gives them who does not have the ledger's key: the notes
    say what they should, and a stranger has signed them in the ledger's name. Protocol 13, check 2.
    """
    stranger = PrivateKey.generate(Algorithm.ED25519)

    def forged(text: str) -> str:
        true = note.Note.parse(text.encode())
        return note.sign(true.text, true.text.split("\n")[1], stranger).encode().decode()

    if "notes" in told:
        return {**told, "notes": [{**one, "note": forged(one["note"])} for one in told["notes"]]}
    return {**told, "note": forged(told["note"])}


def _resealed(told: Json, keys: Sequence[SealingKey], change: Callable[[Release], Release]) -> Json:
    """The key release opened with the recipient's own key, changed, and sealed again."""
    if not told["deliveries"]:
        return told
    sealed = KeyRelease.decode(from_b64u(told["key_release"], "/key_release"))
    key = next(one for one in keys if one.kid == sealed.recipient_kid)
    ids = [_locked(one).delivery_id for one in told["deliveries"]]
    releases = [change(one) for one in open_releases(sealed, key, ids)]
    return {**told, "key_release": b64u(seal_releases(releases, key.suite, key.public, ids).encode())}


def _signed(key: PrivateKey, statement: bytes) -> bytes:
    return key.sign(pae(STATEMENT_TYPE, statement))


def _locked(one: Json) -> LockedDelivery:
    return LockedDelivery.decode(from_b64u(one["locked"], "/locked"))
