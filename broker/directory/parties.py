"""Parties: register an administration and, when it is hosted here, make and keep its keys.

Refuses: what the registrar refuses; a party whose signature policy its keys cannot meet; to make keys for a party that
keeps its own, which would go on with those, while what is sealed to it is sealed to ours.
Keeps: a private key is in the key store before its public half is in the directory, so a crash leaves at most a private
key that nobody knows of, never a public one that nobody holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.directory import reading
from broker.directory.reading import Party, PartyKind
from broker.directory.registrar import Registrar, holding_trust
from broker.observability.crashpoints import mark
from broker.ports import Clock, KeyKind, KeyStore
from broker.store.engine import Store, Transaction
from broker.store.rows.seals import RowReader
from schemas.directory import SealingKeyEntry, SigningKeyEntry
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.names import EventType, Instant, Kid, PartyId
from schemas.signing import POLICIES, Algorithm, PrivateKey


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a new party is and may do: the types it publishes, its signature policy, and the suite it receives with.

    `own`: kinds and raw public keys that it made itself; then none is made here, and `suite` says nothing.
    """

    party: Party
    policy: int
    suite: Suite | None
    publishes: tuple[EventType, ...] = ()
    own: tuple[tuple[Algorithm | Suite, bytes], ...] = ()


class Parties:
    """Enrols and rotates parties hosted here."""

    def __init__(self, store: Store, keys: KeyStore, registrar: Registrar, rows: RowReader, clock: Clock) -> None:
        self._store = store
        self._rows = rows
        self._keys = keys
        self._registrar = registrar
        self._clock = clock

    async def enrol(self, enrolment: Enrolment) -> None:
        """Register a party with fresh keys, or with its own.

        Raises Refused: `registrar.*`, `catalogue.unknown-type`.
        """
        if enrolment.policy not in POLICIES:
            raise Refused("registrar.unknown-policy", "/policy", policy=enrolment.policy)
        party = enrolment.party.id
        keys = enrolment.own or self._made(enrolment)
        async with self._store.begin() as tx:
            at = self._clock()
            await self._registrar.add_party(tx, enrolment.party)
            for kind, public in keys:
                await self._registrar.add_key(tx, party, kind=kind, public=public, at=at)
            await self._registrar.set_policy(tx, party, enrolment.policy, at)
            for event_type in enrolment.publishes:
                await self._registrar.allow_publishing(tx, party, event_type, at)
            mark("parties.enrolled")
            # Crash here: private keys that nobody knows of, and no party; enrol again.

    async def rotate(self, party: PartyId, overlap_ms: int) -> tuple[Kid, ...]:
        """New keys of the same kinds; the old ones are good for `overlap_ms` more. Returns the new key ids.

        Raises Refused: `registrar.overlap`, `registrar.keys-elsewhere`, `directory.unknown-party`.
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

    async def demand(self, party: PartyId, policy: int, valid_from: Instant | None = None) -> tuple[Kid, ...]:
        """From this instant, or from now on, the party's declarations need the signatures of this policy. Keys of the
        algorithms that it has none of are made here, where its others are held here. Returns their ids.

        Raises Refused: `registrar.unknown-policy`, `registrar.policy-without-keys`, `registrar.policy-exists`,
        `directory.unknown-party`.
        """
        if policy not in POLICIES:
            raise Refused("registrar.unknown-policy", "/policy", policy=policy)
        async with self._store.read() as tx:
            await reading.party(tx, self._rows, party)
            pinned, at, held = await reading.snapshot(tx, self._rows), self._clock(), self.held()
        mine = [one for one in pinned.signing if one.party == party and _lives(one.valid_to, at) and not one.revoked_at]
        missing = POLICIES[policy] - {one.algorithm for one in mine}
        here = bool(mine) and all(one.kid.hex() in held for one in mine)
        made = [PrivateKey.generate(algorithm) for algorithm in sorted(missing)] if here else []
        self._keep(made, ())
        async with self._store.begin() as tx:
            await holding_trust(tx)  # before the clock is read: as for `Registrar.revoke_key`
            at = self._clock()
            for key in made:
                await self._registrar.add_key(tx, party, kind=key.algorithm, public=key.public, at=at)
            await self._registrar.set_policy(tx, party, policy, at if valid_from is None else valid_from)
            # Crash here: private keys that nobody knows of, and the policy of before; say it again.
        return tuple(key.kid for key in made)

    def held(self) -> frozenset[str]:
        """The ids, in hexadecimal, of the keys whose private halves are in this key store."""
        kinds = (KeyKind.SIGNING, KeyKind.SEALING, KeyKind.GATE)
        return frozenset(name for kind in kinds for name in self._keys.names(kind))

    def _made(self, enrolment: Enrolment) -> tuple[tuple[Algorithm | Suite, bytes], ...]:
        signing = [PrivateKey.generate(algorithm) for algorithm in sorted(POLICIES[enrolment.policy])]
        sealing = [SealingKey.generate(enrolment.suite)] if enrolment.suite is not None else []
        self._keep(signing, sealing)
        return (*((key.algorithm, key.public) for key in signing), *((key.suite, key.public) for key in sealing))

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
        signing = [one for one in pinned.signing if one.party == party and _lives(one.valid_to, at)]
        sealing = [one for one in pinned.sealing if receives and one.party == party and _lives(one.valid_to, at)]
        self._check_held(party, [*signing, *sealing])
        return sorted({one.algorithm for one in signing}), sorted({one.suite for one in sealing})

    def _check_held(self, party: PartyId, keys: Sequence[SigningKeyEntry | SealingKeyEntry]) -> None:
        """All keys that count are ours to replace; of a party whose keys are all revoked, those that did."""
        held = self.held()
        for one in [one for one in keys if one.revoked_at is None] or keys:
            if one.kid.hex() not in held:
                raise Refused("registrar.keys-elsewhere", "/party", party=party, kid=one.kid.hex())


def _lives(valid_to: Instant | None, at: Instant) -> bool:
    return valid_to is None or valid_to > at
