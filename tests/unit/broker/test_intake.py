"""The intake: what was answered with a receipt is kept, once; what is refused is refused with its place."""

import asyncio
import json
from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.arrived import ENVELOPE_BYTES
from broker.flow.router import TOPIC
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from schemas.declaration import Source, declare
from schemas.directory import Directory
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.intake_receipt import RECEIPT_TYPE
from schemas.names import DeclarationId, Instant, PartyId, Reason, uuid7
from schemas.signing import pae, verify
from tests.world import BANK, CAF, DAY, FAMILY, MINUTE, MOVED, PORTAL, YANN, World

pytestmark = pytest.mark.asyncio


async def envelope(here: World, **more: Any) -> bytes:
    """A signed envelope of a move, not handed in."""
    return await here.home.desk.envelope(PORTAL, MOVED, here.moved(), **more)


async def enrol_source(here: World, party: PartyId) -> None:
    """Another party that may declare moves."""
    office = Party(
        id=party,
        name="État civil",
        sector="registry",
        kind=PartyKind.ADMINISTRATION,
        address="1 place de la République",
        contact="contact@example.fr",
        retention="un an",
        created_at=here.clock(),
    )
    await here.home.parties.enrol(Enrolment(office, 1, None, (MOVED,)))


async def revoke_keys(here: World, party: PartyId, clock: Clock | None = None) -> None:
    """From the next millisecond on nothing that this party signs counts."""
    async with here.home.store.begin() as tx:
        directory = await here.home.lookup.directory(tx)
        for key in directory.signing:
            if key.party == party:
                await here.home.registrar.revoke_key(tx, key.kid, clock or here.clock)


async def in_log(here: World) -> int:
    """Records in the one partition of the log."""
    return await here.home.log.end(TOPIC, 0)


async def refusal(here: World, raw: bytes) -> Refused:
    """The refusal of an envelope; nothing of it is in the log."""
    before = await in_log(here)
    with pytest.raises(Refused) as refused:
        await here.home.intake.accept(raw)
    assert before == await in_log(here)
    return refused.value


async def test_the_receipt_says_what_was_received_and_when_under_the_brokers_signature(here: World) -> None:
    accepted = await here.home.intake.accept(await envelope(here))

    receipt = json.loads(accepted.receipt)
    body = b64decode(receipt["payload"])
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    (key,) = (one for one in directory.signing if one.kid.hex() == receipt["signatures"][0]["keyid"])
    assert here.home.party == key.party
    assert verify(key.algorithm, key.public, b64decode(receipt["signatures"][0]["sig"]), pae(RECEIPT_TYPE, body))
    assert {
        "broker": here.home.party,
        "declaration": accepted.declaration_id.hex(),
        "manifest": accepted.digest.hex(),
        "received_at": here.clock(),
        "source": PORTAL,
    } == json.loads(body)


async def test_the_same_bytes_again_get_the_same_receipt_and_one_effect(here: World) -> None:
    raw = await envelope(here)
    first = await here.home.intake.accept(raw)
    await here.home.router.route()
    here.clock.pass_(MINUTE)

    again = await here.home.intake.accept(raw)

    assert (first.receipt, False, True) == (again.receipt, first.repeated, again.repeated)
    assert 1 == await in_log(here)
    assert 1 == len(await here.entries(FactKind.RECEIVED))


async def test_the_same_bytes_get_their_receipt_even_when_the_token_has_expired_meanwhile(here: World) -> None:
    raw = await envelope(here)
    first = await here.home.intake.accept(raw)
    here.clock.pass_(here.home.settings.subject_token_minutes * MINUTE + 1)

    assert first.receipt == (await here.home.intake.accept(raw)).receipt


async def test_the_same_bytes_get_their_receipt_even_when_the_key_has_ended_meanwhile(here: World) -> None:
    raw = await envelope(here)
    first = await here.home.intake.accept(raw)
    await here.home.router.route()
    await revoke_keys(here, PORTAL)
    here.clock.pass_(1)

    again = await here.home.intake.accept(raw)

    assert (first.receipt, True) == (again.receipt, again.repeated)
    assert 1 == await in_log(here)


async def test_the_same_id_with_other_bytes_is_refused(here: World) -> None:
    one = DeclarationId(uuid7(here.clock(), bytes(10)))
    await here.home.intake.accept(await envelope(here, declaration_id=one))

    refused = await refusal(here, await envelope(here, declaration_id=one))

    assert ("intake.id-reused", "/payload/declaration_id") == (refused.code, refused.pointer)
    assert Reason.REPLAYED == (await here.entries(FactKind.REFUSED))[-1].reason


async def test_of_one_batch_each_id_is_kept_once_and_each_gets_its_own_answer(here: World) -> None:
    one, other = (DeclarationId(uuid7(here.clock(), bytes([number] * 10))) for number in (1, 2))
    first, again = [await envelope(here, declaration_id=one) for _ in range(2)]
    original = await envelope(here, declaration_id=other)
    correction = await envelope(here, corrects=other)

    told = await here.home.intake.accept_all([correction, first, first, again, original, correction, b"x"])

    said = [answer.code if isinstance(answer, Refused) else answer.repeated for answer in told]
    reused, unknown = "intake.id-reused", "intake.unknown-original"
    assert [unknown, False, True, reused, False, False] == said[:6]
    assert isinstance(told[6], Refused)
    refused = {one.reason: one.count for one in await here.entries(FactKind.REFUSED)}
    assert {Reason.INVALID_ENVELOPE: 2, Reason.REPLAYED: 1} == refused  # one entry for each reason, which says how many
    await here.home.router.route()
    assert (2, 1) == (len(await here.entries(FactKind.RECEIVED)), len(await here.entries(FactKind.CORRECTED)))


async def test_what_is_refused_of_one_batch_is_one_entry_for_each_reason_with_the_sender_and_what_came(
    here: World,
) -> None:
    reused = DeclarationId(uuid7(here.clock(), bytes(10)))
    await here.home.intake.accept(await envelope(here, declaration_id=reused))
    again = await envelope(here, declaration_id=reused)
    noise = [bytes([number]) * 9 for number in range(7)]

    told = await here.home.intake.accept_all([*noise[:3], again, *noise[3:]], PORTAL)

    assert all(isinstance(answer, Refused) for answer in told)
    digests = [sha256(one).digest() for one in noise]
    expected = {
        (PORTAL, Reason.INVALID_ENVELOPE, 7, sha256(b"".join(digests)).digest()),
        (PORTAL, Reason.REPLAYED, 1, sha256(again).digest()),
    }
    refused = await here.entries(FactKind.REFUSED)
    assert (2, expected) == (len(refused), {(one.actor, one.reason, one.count, one.detail) for one in refused})


async def test_a_refusal_of_nobody_known_is_told_in_the_brokers_name(here: World) -> None:
    await here.home.intake.accept_all([b"x"])

    (refused,) = await here.entries(FactKind.REFUSED)
    assert (here.home.party, 1, sha256(b"x").digest()) == (refused.actor, refused.count, refused.detail)


async def test_a_correction_whose_original_is_refused_in_the_same_batch_is_refused(here: World) -> None:
    one = DeclarationId(uuid7(here.clock(), bytes(10)))
    original = await envelope(here, declaration_id=one)
    signature = SignedDeclaration.decode(original).signatures[0].signature
    forged = original.replace(signature, bytes(len(signature)))
    correction = await envelope(here, corrects=one)

    told = await here.home.intake.accept_all([forged, correction, original, correction])

    said = [answer.code if isinstance(answer, Refused) else answer.repeated for answer in told]
    assert ["manifest.signature", "intake.unknown-original", False, False] == said
    assert [Reason.INVALID_SIGNATURE, Reason.INVALID_ENVELOPE] == [
        entry.reason for entry in await here.entries(FactKind.REFUSED)
    ]
    assert 2 == await in_log(here)


async def test_an_id_that_another_source_has_used_is_refused(here: World) -> None:
    other = PartyId("urn:unefois:registry-office")
    await enrol_source(here, other)
    one = DeclarationId(uuid7(here.clock(), bytes(10)))
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)

    refused = await refusal(here, await here.home.desk.envelope(other, MOVED, here.moved(), declaration_id=one))
    await here.home.router.route()

    assert ("intake.id-reused", "/payload/declaration_id") == (refused.code, refused.pointer)
    assert [PORTAL] == [delivery.source for delivery in await here.take(CAF)]


async def test_a_token_that_has_expired_is_refused_at_its_place(here: World) -> None:
    raw = await envelope(here)
    here.clock.pass_(here.home.settings.subject_token_minutes * MINUTE + 1)

    refused = await refusal(here, raw)

    assert ("identity.token-expired", "/slip/subject_token") == (refused.code, refused.pointer)
    assert Reason.UNKNOWN_SUBJECT == (await here.entries(FactKind.REFUSED))[-1].reason


async def dated_back(here: World, age_ms: int) -> bytes:
    """A declaration of the portal's, signed with its keys and a fresh token, that says that it is so old."""
    home, at = here.home, here.clock()
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    event, issued_at = home.catalogue.by_type(MOVED), Instant(at - age_ms)
    return declare(
        Source(PORTAL, home.keyring.signers(directory, PORTAL, at), 1),
        event,
        here.moved(),
        subject_token=(await here.home.desk.token(PORTAL, here.moved()))[0],
        gate=directory.current_sealing_key(directory.broker, at),
        at=issued_at,
        lifetime_ms=366 * DAY,
        declaration_id=DeclarationId(uuid7(at, home.entropy(10))),
        entropy=home.entropy,
    ).encode()


async def test_what_is_dated_back_for_longer_than_the_setting_is_refused(here: World) -> None:
    limit = here.home.settings.declaration_age_hours
    here.clock.pass_(30 * DAY)
    refused = await refusal(here, await dated_back(here, limit * 60 * MINUTE + 1))
    assert ("intake.issued-too-long-ago", "/payload/issued_at") == (refused.code, refused.pointer)
    assert {"hours": limit, "limit": limit} == refused.details
    assert Reason.STALE == (await here.entries(FactKind.REFUSED))[-1].reason
    await here.home.intake.accept(await dated_back(here, limit * 60 * MINUTE))
    await here.home.router.route()
    here.clock.pass_(30 * DAY)  # what was accepted grows old without becoming wrong
    assert [] == await here.home.fsck.check()


async def test_a_revoked_key_is_refused(here: World) -> None:
    raw = await envelope(here)
    await revoke_keys(here, PORTAL)
    here.clock.pass_(1)

    refused = await refusal(here, raw)

    assert "directory.key-revoked" == refused.code
    assert Reason.INVALID_SIGNATURE == (await here.entries(FactKind.REFUSED))[-1].reason


@pytest.mark.parametrize("routed", [True, False], ids=["routed-before", "routed-later"])
async def test_what_was_accepted_in_the_millisecond_of_the_revocation_stays_good(here: World, routed: bool) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.intake.accept(await envelope(here))
    if routed:
        await here.home.router.route()
    await revoke_keys(here, PORTAL)

    await here.home.router.route()

    assert [] == await here.home.fsck.check()
    assert 1 == len(await here.take(CAF))


class _Overtaken:
    """A lookup during whose answer a key is revoked, by a clock that was read just before ours."""

    def __init__(self, here: World) -> None:
        self._here, self._lookup = here, here.home.lookup

    async def in_force(self, tx: Transaction) -> Directory:
        return await self._lookup.in_force(tx)

    async def at_hand(self, store: Store) -> Directory:
        before = await self._lookup.at_hand(store)
        await revoke_keys(self._here, PORTAL, lambda: Instant(self._here.clock() - 1))
        return before


async def test_a_key_that_is_revoked_while_its_declaration_is_verified_does_not_count(here: World) -> None:
    raw = await envelope(here)
    here.home.intake._lookup = _Overtaken(here)  # type: ignore[assignment]  # a moment that no real lookup hits on demand

    refused = await refusal(here, raw)

    assert ("directory.key-revoked", "/signatures/0/kid") == (refused.code, refused.pointer)
    assert Reason.INVALID_SIGNATURE == (await here.entries(FactKind.REFUSED))[-1].reason
    assert [] == await here.home.fsck.check()


class _Contested:
    """A lookup after whose answer, inside the transaction, somebody else revokes a key."""

    def __init__(self, here: World) -> None:
        self._here, self._lookup = here, here.home.lookup
        self._inside = False
        self.early: list[bool] = []
        self.revoking: asyncio.Task[None] | None = None

    async def at_hand(self, store: Store) -> Directory:
        return await self._lookup.at_hand(store)

    async def in_force(self, tx: Transaction) -> Directory:
        directory = await self._lookup.in_force(tx)
        self._inside = True
        self.revoking = asyncio.create_task(revoke_keys(self._here, PORTAL, self._clock))
        for _ in range(400):  # whoever does not wait has revoked it by now
            await tx.execute(select(1))
        self._inside = False
        return directory

    def _clock(self) -> Instant:
        self.early.append(self._inside)
        return self._here.clock()


@pytest.mark.databases
@pytest.mark.proof
async def test_a_revocation_reads_its_clock_when_what_is_being_written_down_is_committed(here: World) -> None:
    raw = await envelope(here)
    contested = _Contested(here)
    here.home.intake._lookup = contested  # type: ignore[assignment]  # as above

    await here.home.intake.accept(raw)
    assert contested.revoking is not None
    await contested.revoking
    await here.home.router.route()

    assert [False] == contested.early
    assert 1 == len(await here.entries(FactKind.RECEIVED))
    assert [] == await here.home.fsck.check()


async def test_a_source_without_the_right_to_a_type_is_refused(here: World) -> None:
    async with here.home.store.begin() as tx:
        await here.home.registrar.end_publishing(tx, PORTAL, MOVED, here.clock)
    here.clock.pass_(1)

    refused = await refusal(here, await envelope(here))

    assert "directory.not-entitled" == refused.code
    assert Reason.NOT_ENTITLED == (await here.entries(FactKind.REFUSED))[-1].reason


async def test_what_is_no_envelope_is_refused_and_its_digest_is_in_the_ledger(here: World) -> None:
    refused = await refusal(here, b"\x00" * 40)

    (entry,) = await here.entries(FactKind.REFUSED)
    assert refused.code.startswith("avro.")
    assert (Reason.INVALID_ENVELOPE, None) == (entry.reason, entry.subject)


async def test_an_envelope_over_the_limit_is_refused_before_it_is_read(here: World) -> None:
    assert "intake.too-large" == (await refusal(here, bytes(ENVELOPE_BYTES + 1))).code


async def test_a_correction_of_another_type_than_the_original_is_refused(here: World) -> None:
    moved = await here.declare(MOVED, here.moved())

    refused = await refusal(
        here, await here.home.desk.envelope(PORTAL, BANK, here.bank(), corrects=moved.declaration_id)
    )

    assert "intake.unknown-original" == refused.code


async def test_a_correction_of_what_was_never_declared_is_refused(here: World) -> None:
    refused = await refusal(here, await envelope(here, corrects=DeclarationId(bytes(16))))

    assert ("intake.unknown-original", "/payload/corrects") == (refused.code, refused.pointer)


async def test_a_correction_of_what_was_declared_about_somebody_else_is_refused(here: World) -> None:
    other = await here.declare(MOVED, here.moved(YANN))

    refused = await refusal(here, await envelope(here, corrects=other.declaration_id))

    assert "intake.unknown-original" == refused.code


async def test_every_bit_that_the_signature_or_the_form_covers_counts(here: World) -> None:
    raw = bytearray(await envelope(here))
    sealed = SignedDeclaration.decode(bytes(raw)).sealed_fields
    first = bytes(raw).index(sealed[0])  # what follows is ciphertext: the recipient's eighth step, not the intake's
    for at in range(0, first - 4, 7):
        raw[at] ^= 1 << (at % 8)
        await refusal(here, bytes(raw))
        raw[at] ^= 1 << (at % 8)


class _Away:
    """A log that took the record and could not say so."""

    def __init__(self, log: Any) -> None:
        self._log, self.failures = log, 1

    async def append_all(self, topic: str, records: Any) -> Any:
        positions = await self._log.append_all(topic, records)
        if self.failures:
            self.failures -= 1
            raise Unavailable("store.away")
        return positions


async def test_an_append_that_persisted_but_failed_is_repeated_and_routed_once(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    raw = await envelope(here)
    here.home.intake._log = _Away(here.home.log)  # type: ignore[assignment]  # the one failure that no real log gives on demand

    with pytest.raises(Unavailable):
        await here.home.intake.accept(raw)
    accepted = await here.home.intake.accept(raw)
    await here.home.router.route()

    assert accepted.repeated
    assert 2 == await in_log(here)
    assert 1 == len(await here.take(CAF))


async def test_an_unknown_type_is_refused_before_anything_is_sealed(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.desk.declare(PORTAL, BANK, here.bank(iban="FR7630006000011234567890188"))

    assert "/iban" == refused.value.pointer


async def test_ballast_in_a_sealed_field_is_refused_by_the_size_that_its_schema_allows(here: World) -> None:
    signed = SignedDeclaration.decode(await envelope(here))
    padded = replace(signed, sealed_fields=(bytes(230 * 4096 + 16), *signed.sealed_fields[1:]))

    refused = await refusal(here, padded.encode())

    assert ("envelope.sealed-too-large", "/sealed_fields/0") == (refused.code, refused.pointer)
