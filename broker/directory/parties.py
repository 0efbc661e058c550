"""Parties: register an administration and, when it is hosted here, make and keep its keys.

Refuses: what the registrar refuses; a party whose signature policy its keys cannot meet.
Keeps: a private key is in the key store before its public half is in the directory, so a crash leaves at most a private
key that nobody knows of, never a public one that nobody holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from broker.crashpoints import mark
from broker.directory import reading
from broker.directory.reading import Party, PartyKind
from broker.directory.registrar import Registrar, holding_trust
from broker.ports import Clock, KeyKind, KeyStore
from broker.rows.seals import RowReader
from broker.store.engine import Store, Transaction
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.names import EventType, Instant, Kid, PartyId
from schemas.signing import POLICIES, Algorithm, PrivateKey


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a new party is and may do: the types it publishes, its signature policy, and the suite it receives with."""

    party: Party
    policy: int
    suite: Suite | None
    publishes: tuple[EventType, ...] = ()


class Parties:
    """Enrols and rotates parties hosted here."""

    def __init__(self, store: Store, keys: KeyStore, registrar: Registrar, rows: RowReader, clock: Clock) -> None:
        self._store = store
        self._rows = rows
        self._keys = keys
        self._registrar = registrar
        self._clock = clock

    async def enrol(self, enrolment: Enrolment) -> None:
        """Register a party with fresh keys. Raises Refused: `registrar.*`, `catalogue.unknown-type`."""
        if enrolment.policy not in POLICIES:
            raise Refused("registrar.unknown-policy", "/policy", policy=enrolment.policy)
        party = enrolment.party.id
        signing = [PrivateKey.generate(algorithm) for algorithm in sorted(POLICIES[enrolment.policy])]
        sealing = [SealingKey.generate(enrolment.suite)] if enrolment.suite is not None else []
        self._keep(signing, sealing)
        async with self._store.begin() as tx:
            at = self._clock()
            await self._registrar.add_party(tx, enrolment.party)
            for key in signing:
                await self._registrar.add_signing_key(
                    tx, party, algorithm=key.algorithm, public=key.public, valid_from=at, at=at
                )
            for sealing_key in sealing:
                await self._registrar.add_sealing_key(
                    tx, party, suite=sealing_key.suite, public=sealing_key.public, valid_from=at, at=at
                )
            await self._registrar.set_policy(tx, party, enrolment.policy, at)
            for event_type in enrolment.publishes:
                await self._registrar.allow_publishing(tx, party, event_type, at)
            mark("parties.enrolled")
            # Crash here: private keys that nobody knows of, and no party; enrol again.

    async def rotate(self, party: PartyId, overlap_ms: int) -> tuple[Kid, ...]:
        """New keys of the same kinds; the old ones are good for `overlap_ms` more. Returns the new key ids.

        Raises Refused: `registrar.overlap`, `directory.unknown-party`.
        """
        async with self._store.read() as tx:
            algorithms, suites = await self._kinds(tx, party)
        signing = [PrivateKey.generate(algorithm) for algorithm in algorithms]
        sealing = [SealingKey.generate(suite) for suite in suites]
        self._keep(signing, sealing)
        async with self._store.begin() as tx:
            await holding_trust(tx)  # before the clock is read: as for `Registrar.revoke_key`
            at = self._clock()
            for key in signing:
                await self._registrar.rotate_signing(
                    tx, party, algorithm=key.algorithm, public=key.public, at=at, overlap_ms=overlap_ms
                )
            for sealing_key in sealing:
                await self._registrar.rotate_sealing(
                    tx, party, suite=sealing_key.suite, public=sealing_key.public, at=at, overlap_ms=overlap_ms
                )
            mark("parties.rotated")
            # Crash here: private keys that nobody knows of; the old ones go on. Rotate again.
        return (*(key.kid for key in signing), *(key.kid for key in sealing))

    def _keep(self, signing: Iterable[PrivateKey], sealing: Iterable[SealingKey]) -> None:
        for key in signing:
            self._keys.write(KeyKind.SIGNING, key.kid.hex(), key.to_raw())
        for sealing_key in sealing:
            self._keys.write(KeyKind.SEALING, sealing_key.kid.hex(), sealing_key.to_raw())
        mark("parties.keys-written")

    async def _kinds(self, tx: Transaction, party: PartyId) -> tuple[list[Algorithm], list[Suite]]:
        """The kinds of keys that the party uses now: one new key of each. What is sealed to the broker is sealed to its
        gate, whose keys `epochs` opens and destroys: one made here would never be found by the gate.
        """
        receives = (await reading.party(tx, self._rows, party)).kind is not PartyKind.BROKER
        pinned = await reading.snapshot(tx, self._rows)
        at = self._clock()
        signing = {one.algorithm for one in pinned.signing if one.party == party and _lives(one.valid_to, at)}
        sealing = {one.suite for one in pinned.sealing if receives and one.party == party and _lives(one.valid_to, at)}
        return sorted(signing), sorted(sealing)


def _lives(valid_to: Instant | None, at: Instant) -> bool:
    return valid_to is None or valid_to > at
