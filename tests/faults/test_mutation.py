"""One byte changed, anywhere, in an envelope, a locked delivery, a key release, a receipt: nobody takes it.

With UNEFOIS_PROOF=1 every byte is changed, in several ways; else every STRIDE-th, in one.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from broker.flow.deliveries import Delivery, load
from broker.services import proofs
from broker.services.consent_receipts import receipt_of
from broker.store.tables import deliveries
from consent import registry
from consent.receipt import verify_receipt
from schemas.catalogue import Catalogue
from schemas.delivery import VerifiedDelivery, open_release, verify_delivery
from schemas.directory import Directory
from schemas.envelope import SignedDeclaration, VerifiedDeclaration, verify_declaration
from schemas.errors import Corrupt, Refused
from schemas.hpke import SealingKey
from schemas.locked import LockedDelivery, bitmap, lock, open_locked
from schemas.names import Instant, LeafHash, PartyId, Reason
from schemas.receipt import check
from schemas.release import Statement, make_release, seal_releases
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, FAMILY, MOVED, PORTAL, World, world

pytestmark = pytest.mark.more
PROOF = os.environ.get("UNEFOIS_PROOF") == "1"
STRIDE = 1 if PROOF else 23
MASKS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF) if PROOF else (0x01,)
FIELDS = ("subject", "new_address", "effective_date")


def mutants(sound: bytes) -> Iterator[tuple[int, bytes]]:
    """The bytes with one of them changed, and which."""
    for at in range(0, len(sound), STRIDE):
        for mask in MASKS:
            yield at, sound[:at] + bytes([sound[at] ^ (mask if PROOF else 1 << at % 8)]) + sound[at + 1 :]


def survivors(sound: bytes, take: Callable[[bytes], object]) -> list[int]:
    """Where a change was not noticed by whoever takes the bytes; the bytes as they should be are taken."""
    take(sound)
    found = []
    for at, mutant in mutants(sound):
        try:
            take(mutant)
        except (Refused, Corrupt):
            continue
        found.append(at)
    return found


@dataclass(frozen=True)
class Way:
    """One declaration on its way to the family fund, with everybody's keys, so that each step can be taken again."""

    here: World
    directory: Directory
    envelope: bytes
    delivery: Delivery
    consent_key: bytes
    gate: SealingKey
    broker: PrivateKey
    fund: SealingKey

    @property
    def catalogue(self) -> Catalogue:
        """Everybody's schemas."""
        return self.here.home.catalogue

    @property
    def now(self) -> Instant:
        """It is always now."""
        return self.here.clock()

    def at_the_intake(self, envelope: bytes) -> VerifiedDeclaration:
        """What the intake asks of an envelope: form, signatures, rights, times, and whose it is."""
        verified = verify_declaration(SignedDeclaration.decode(envelope), self.directory, self.catalogue, self.now)
        token = verified.signed.slip.subject_token
        self.here.home.identity.resolve(token, verified.manifest.source, self.now)
        return verified

    def at_the_gate(self, locked: LockedDelivery) -> bytes:
        """What the gate does with a locked delivery: compare it with the plan, open it, sign, seal to the fund."""
        gate = self.here.home.gate
        gate._check_planned(locked, self.delivery)
        dek = open_locked(locked, self.consent_key, self.gate)
        statement = Statement.of(
            locked,
            fields=self.delivery.fields,
            basis="consent",
            pseudonym=bytes(20),
            pseudonym_version=1,
            released_at=self.now,
            ledger_entry=LeafHash(bytes(32)),
        )
        release = make_release(locked, dek, statement, self.broker)
        return seal_releases([release], self.fund.suite, self.fund.public, [locked.delivery_id]).encode()

    def at_the_fund(self, locked: LockedDelivery, key_release: bytes) -> VerifiedDelivery:
        """What the recipient does: open, and the ten steps."""
        (released,) = open_release([locked], key_release, self.fund)
        return verify_delivery(
            released,
            recipient=CAF,
            directory=self.directory,
            catalogue=self.catalogue,
            at=self.now,
            seen=lambda *_: None,
        )

    def to_the_end(self, envelope: bytes) -> VerifiedDelivery:
        """An envelope from the intake to the fund, which was allowed every field."""
        verified = self.at_the_intake(envelope)
        every = range(len(verified.manifest.digests))
        locked = lock(
            verified,
            CAF,
            FAMILY,
            self.delivery.grant_id,
            1,
            field_indices=every,
            consent_key=self.consent_key,
            nonce=bytes(12),
        )
        planned = replace(self.delivery, id=locked.delivery_id, fields=bitmap(len(every), every))
        return self.at_the_fund(locked, replace(self, delivery=planned).at_the_gate(locked))


@pytest_asyncio.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    """A move that was declared, routed and handed out."""
    async with world(tmp_path) as here:
        home = here.home
        granted = await here.give(CAF, MOVED, FAMILY, FIELDS)
        envelope = await home.desk.envelope(PORTAL, MOVED, here.moved())
        await home.intake.accept(envelope)
        await home.router.route()
        await here.inbox(CAF).lease(1)
        async with home.store.read() as tx:
            directory = await home.lookup.directory(tx)
            (delivery,) = await load(tx)
            keys = await registry.consent_keys_of(tx.conn, [granted.grant], home.keyring.consent_epochs())
        gate = home.keyring.gate(directory.sealing_key(delivery.gate_kid))
        assert gate is not None
        yield Way(
            here,
            directory,
            envelope,
            delivery,
            keys[granted.grant.id],
            gate,
            home.keyring.signer(directory, home.party, here.clock()),
            home.keyring.recipient(directory, CAF)[directory.current_sealing_key(CAF, here.clock()).kid],
        )


@pytest.mark.asyncio
async def test_no_byte_of_an_envelope_can_be_changed_and_reach_anybody(way: Way) -> None:
    assert [] == survivors(way.envelope, way.to_the_end)


@pytest.mark.asyncio
async def test_no_byte_of_a_locked_delivery_can_be_changed_before_the_gate(way: Way) -> None:
    def take(raw: bytes) -> VerifiedDelivery:
        locked = LockedDelivery.decode(raw)
        return way.at_the_fund(locked, way.at_the_gate(locked))

    assert [] == survivors(way.delivery.locked, take)


@pytest.mark.asyncio
async def test_after_the_gate_only_what_the_recipient_never_reads_can_be_changed(way: Way) -> None:
    """`gate_kid` and `locked_dek` are the gate's: once it has opened, they say nothing to anybody."""
    sound = LockedDelivery.decode(way.delivery.locked)
    key_release = way.at_the_gate(sound)

    def take(raw: bytes) -> VerifiedDelivery:
        locked = LockedDelivery.decode(raw)
        return way.at_the_fund(replace(locked, gate_kid=sound.gate_kid, locked_dek=sound.locked_dek), key_release)

    start = way.delivery.locked.index(sound.gate_kid)
    length_of_dek = way.delivery.locked.index(sound.locked_dek) - start - len(sound.gate_kid)
    inert = set(range(start, start + len(sound.gate_kid))) | set(
        range(start + len(sound.gate_kid) + length_of_dek, len(way.delivery.locked))
    )
    assert set() == set(survivors(way.delivery.locked, take)) - inert


@pytest.mark.asyncio
async def test_no_byte_of_a_key_release_can_be_changed(way: Way) -> None:
    locked = LockedDelivery.decode(way.delivery.locked)

    assert [] == survivors(way.at_the_gate(locked), lambda raw: way.at_the_fund(locked, raw))


@pytest.mark.asyncio
async def test_no_byte_of_a_statement_or_its_signature_can_be_changed_by_one_who_may_seal(way: Way) -> None:
    """Whoever holds the recipient's public key can seal a release; only the broker can sign one."""
    locked = LockedDelivery.decode(way.delivery.locked)
    (released,) = open_release([locked], way.at_the_gate(locked), way.fund)
    sound = released.release

    def sealed(**changes: bytes) -> bytes:
        bent = replace(sound, **changes)
        return seal_releases([bent], way.fund.suite, way.fund.public, [locked.delivery_id]).encode()

    assert [] == survivors(sound.statement, lambda raw: way.at_the_fund(locked, sealed(statement=raw)))
    assert [] == survivors(sound.signature, lambda raw: way.at_the_fund(locked, sealed(signature=raw)))


@pytest.mark.asyncio
async def test_no_byte_of_a_ledger_receipt_can_be_changed(way: Way) -> None:
    home = way.here.home
    await home.ledger.sequence_unfinished()
    raw = bytes(way.delivery.declaration_id)
    receipt = (await proofs.prove(home, raw, None, "fr")).encode()

    assert [] == survivors(receipt, lambda text: check(text.decode("utf-8", "replace"), home.ledger.verifier_key))


@pytest.mark.asyncio
async def test_no_byte_of_a_consent_receipt_can_be_changed(way: Way) -> None:
    home = way.here.home
    recorded = await way.here.give(CAF, MOVED, FAMILY, FIELDS)
    receipt = await receipt_of(home, recorded)

    assert [] == survivors(receipt, lambda raw: verify_receipt(raw, Algorithm(way.broker.algorithm), way.broker.public))


CHANGES: dict[str, Callable[[LockedDelivery], LockedDelivery]] = {
    "recipient": lambda locked: replace(locked, recipient=PartyId("urn:unefois:cpam")),
    "purpose": lambda locked: replace(locked, purpose="health-insurance"),
    "grant_version": lambda locked: replace(locked, grant_version=2),
    "fields": lambda locked: replace(locked, fields=locked.fields[1:]),
    "delivery_id": lambda locked: replace(locked, delivery_id=type(locked.delivery_id)(bytes(16))),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("part", CHANGES)
async def test_a_mailbox_that_somebody_wrote_into_is_noticed_at_the_gate_and_heals_when_replayed(
    way: Way, part: str
) -> None:
    here, home = way.here, way.here.home
    bent = CHANGES[part](LockedDelivery.decode(way.delivery.locked))
    async with home.store.begin() as tx:
        await tx.execute(update(deliveries).values(locked=bent.encode()))

    pulled = await here.inbox(CAF).release([way.delivery.id])

    assert ((), [Reason.INVALID_ENVELOPE]) == (pulled.locked, [one.reason for one in pulled.withheld])
    (letter,) = await home.dead_letters.list()
    assert "gate.not-as-planned" == letter.code
    assert "deliveries.differs" in {finding.check for finding in await home.fsck.check()}
    assert await home.dead_letters.replay(letter.id) is None
    (delivery,) = await here.take(CAF)
    assert set(FIELDS) == set(delivery.disclosed)
    await here.step()
