"""The floor: what the cryptography and the Avro of one declaration cost alone, on one core, with nothing around them.

A broker cannot be faster than this; every figure of the bench stands beside it.
"""

import os
import time
from dataclasses import dataclass

from schemas import catalogue
from schemas.catalogue import EventSchema
from schemas.declaration import Source, declare
from schemas.delivery import open_release, verify_delivery
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.envelope import SignedDeclaration, verify_declaration
from schemas.hpke import SealingKey, Suite
from schemas.names import DeclarationId, GrantId, Instant, LeafHash, PartyId, uuid7
from schemas.release import LockedDelivery, Statement, bitmap, lock, make_release, open_locked, seal_releases
from schemas.signing import Algorithm, PrivateKey
from tests.world import MOVED, PORTAL, START, World

PULL = 100
"""Deliveries in one pull, as in the bench: public-key work of a pull is shared by them."""


@dataclass(frozen=True)
class Floor:
    """Seconds of one declaration to `recipients`: the source's part, the broker's and the recipients'."""

    source: float
    broker: float
    recipients: float
    gate: float
    """Of the broker's seconds, the gate's for one delivery, in a pull of PULL."""

    @property
    def total(self) -> float:
        """Seconds for one declaration from end to end."""
        return self.source + self.broker + self.recipients


def measure(world: World, recipients: int, fields: int, rounds: int) -> Floor:
    """Time the bare functions of `schemas`, in memory."""
    event = catalogue.builtin().by_type(MOVED)
    parts = _Parts(event, recipients)
    record = world.moved()
    declared = [parts.declared(record) for _ in range(rounds)]
    start = time.perf_counter()
    for _ in range(rounds):
        parts.declared(record)
    source = (time.perf_counter() - start) / rounds
    start = time.perf_counter()
    locked = [parts.route(envelope, fields) for envelope in declared]
    routed = time.perf_counter()
    pulls = parts.release(locked)
    released = time.perf_counter()
    for batch, key_release in pulls:
        parts.receive(batch, key_release)
    return Floor(
        source,
        (released - start) / rounds,
        (time.perf_counter() - released) / rounds,
        (released - routed) / rounds / recipients,
    )


class _Parts:
    """Keys and a directory, and the three sides' work without storage."""

    def __init__(self, event: EventSchema, recipients: int) -> None:
        self.event = event
        self.signer, self.broker = (PrivateKey.generate(Algorithm.ED25519) for _ in range(2))
        self.gate = SealingKey.generate(Suite.MLKEM768_X25519)
        self.keys = [SealingKey.generate(Suite.MLKEM768_X25519) for _ in range(recipients)]
        self.parties = [PartyId(f"urn:unefois:r{number}") for number in range(recipients)]
        broker = PartyId("urn:unefois:broker")
        self.gate_entry = SealingKeyEntry(self.gate.kid, broker, self.gate.suite, self.gate.public, START)
        self.directory = Directory.of(
            signing=[
                SigningKeyEntry(self.signer.kid, PORTAL, self.signer.algorithm, self.signer.public, START),
                SigningKeyEntry(self.broker.kid, broker, self.broker.algorithm, self.broker.public, START),
            ],
            sealing=[
                self.gate_entry,
                *(
                    SealingKeyEntry(key.kid, party, key.suite, key.public, START)
                    for key, party in zip(self.keys, self.parties, strict=True)
                ),
            ],
            rights=[PublishingRight(PORTAL, MOVED, START)],
            policies=[PolicyEntry(PORTAL, 1, START)],
            broker=broker,
        )
        self.source = Source(PORTAL, [self.signer], 1)
        self.consent = os.urandom(32)

    def declared(self, record: object) -> bytes:
        """The source's part: check, commit, sign, seal."""
        return declare(
            self.source,
            self.event,
            record,  # type: ignore[arg-type]
            subject_token=bytes(60),
            gate=self.gate_entry,
            at=START,
            lifetime_ms=86_400_000,
            declaration_id=DeclarationId(uuid7(START, os.urandom(10))),
            entropy=os.urandom,
        ).encode()

    def route(self, envelope: bytes, fields: int) -> list[LockedDelivery]:
        """Intake and router: verify twice, lock for each recipient."""
        signed = SignedDeclaration.decode(envelope)
        verify_declaration(signed, self.directory, catalogue.builtin(), START)
        signed = SignedDeclaration.decode(envelope)
        verified = verify_declaration(signed, self.directory, catalogue.builtin(), START)
        grant = GrantId(uuid7(START, os.urandom(10)))
        return [
            lock(
                verified,
                party,
                "family-benefits",
                grant,
                1,
                field_indices=range(fields),
                consent_key=self.consent,
                nonce=os.urandom(12),
            )
            for party in self.parties
        ]

    def release(self, routed: list[list[LockedDelivery]]) -> list[tuple[list[LockedDelivery], bytes]]:
        """The gate: two keys for each delivery, a signed statement, one key release for each pull."""
        pulls = []
        for recipient, key in enumerate(self.keys):
            for first in range(0, len(routed), PULL):
                batch = [locked[recipient] for locked in routed[first : first + PULL]]
                releases = []
                for locked in batch:
                    dek = open_locked(LockedDelivery.decode(locked.encode()), self.consent, self.gate)
                    statement = Statement.of(
                        locked,
                        fields=bitmap(len(self.event.fields), [each.index for each in locked.fields]),
                        basis="consent",
                        pseudonym=bytes(20),
                        pseudonym_version=1,
                        released_at=START,
                        ledger_entry=LeafHash(bytes(32)),
                    )
                    releases.append(make_release(locked, dek, statement, self.broker))
                ids = [locked.delivery_id for locked in batch]
                pulls.append((batch, seal_releases(releases, key.suite, key.public, ids).encode()))
        return pulls

    def receive(self, batch: list[LockedDelivery], key_release: bytes) -> None:
        """The recipient: open, verify, decode."""
        party = batch[0].recipient
        key = self.keys[self.parties.index(party)]
        for released in open_release(batch, key_release, key):
            verify_delivery(
                released,
                recipient=party,
                directory=self.directory,
                catalogue=catalogue.builtin(),
                at=Instant(START),
                seen=lambda *_: None,
            )
