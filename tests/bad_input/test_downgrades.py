"""Weaker than agreed: a signature taken away, a policy understated, a key or suite that the directory does not list."""

from dataclasses import replace

import pytest

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from connectors.contract import Pulled
from schemas.directory import SealingKeyEntry
from schemas.envelope import SignedDeclaration
from schemas.hpke import SealingKey, Suite, kid_of
from schemas.names import PartyId, Reason
from schemas.release import KeyRelease
from schemas.sealing import sealed_dek_size
from schemas.signing import Algorithm
from tests.bad_input.agency import Fund
from tests.bad_input.door import Door
from tests.world import MOVED

BOTH = PartyId("urn:unefois:both")


async def enrol_both(door: Door) -> None:
    """A source whose policy demands Ed25519 and ML-DSA-44 together."""
    home = door.here.home
    who = Party(BOTH, "both", "portal", PartyKind.PORTAL, "1 place X", "c@x.example", "un an", home.clock())
    await home.parties.enrol(Enrolment(who, 4, None, (MOVED,)))


@pytest.mark.asyncio
@pytest.mark.parametrize("left", [0, 1], ids=["ed25519-alone", "ml-dsa-alone"])
async def test_one_of_two_demanded_signatures_is_not_enough(door: Door, left: int) -> None:
    await enrol_both(door)
    envelope = await door.envelope(source=BOTH, policy=4)
    signed = SignedDeclaration.decode(envelope)
    manifest_signer = signed.signatures[0].kid

    fault = await door.refuses(
        replace(signed, signatures=signed.signatures[left : left + 1]).encode(),
        "manifest.policy-not-met",
        "/signatures",
    )

    missing = (Algorithm.ML_DSA_44, Algorithm.ED25519)[left]
    assert (4, missing.name) == (fault.details["policy"], fault.details["missing"])
    assert manifest_signer == (await door.keys(BOTH))[0].kid
    await door.arrives(lambda: door.here.home.intake.accept(envelope))


@pytest.mark.asyncio
async def test_a_source_that_understates_its_policy_is_held_to_the_directorys(door: Door) -> None:
    await enrol_both(door)
    (ed25519, _) = await door.keys(BOTH)
    envelope = await door.signed_again(
        await door.envelope(source=BOTH, policy=4), [ed25519], signature_policy=1, signer=ed25519.kid
    )

    await door.refuses(envelope, "manifest.policy-not-met", "/signatures")

    await door.arrives()


@pytest.mark.asyncio
async def test_an_unknown_policy_is_refused_at_its_number(door: Door) -> None:
    signed = SignedDeclaration.decode(await door.envelope())
    at = signed.payload.index(signed.slip.commitment()) - 1  # the policy's one byte stands before the commitment
    payload = signed.payload[:at] + b"\x7e" + signed.payload[at + 1 :]

    fault = await door.refuses(
        replace(signed, payload=payload).encode(), "manifest.unknown-policy", "/signature_policy"
    )

    assert 63 == fault.details["policy"]
    await door.arrives()


@pytest.mark.asyncio
async def test_a_key_is_sealed_to_a_gate_key_that_nobody_listed(door: Door) -> None:
    stranger = SealingKey.generate(Suite.X25519)
    now = door.here.clock()
    listed = SealingKeyEntry(stranger.kid, door.here.home.party, stranger.suite, stranger.public, now)

    await door.refuses(await door.envelope(gate=listed), "directory.unknown-sealing-key", "/gate_kid")

    await door.arrives()


@pytest.mark.asyncio
async def test_a_key_that_is_sealed_in_another_suite_than_the_gates_is_refused_by_its_size(door: Door) -> None:
    signed = SignedDeclaration.decode(await door.envelope())
    weaker = replace(signed, sealed_dek=signed.sealed_dek[: sealed_dek_size(Suite.X25519)])

    fault = await door.refuses(weaker.encode(), "envelope.sealed-dek-size", "/sealed_dek")

    suite = door.here.home.settings.hpke_suite
    assert (Suite.MLKEM768_X25519, sealed_dek_size(suite)) == (suite, fault.details["expected"])
    await door.arrives()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("suite", "code"),
    [(Suite.MLKEM768_X25519, "release.other-key"), (0x0010, "release.unknown-suite")],
    ids=["another-suite", "no-suite-of-ours"],
)
async def test_a_release_that_names_another_suite_than_the_recipients_key_is_rejected_and_comes_again(
    door: Door, suite: int, code: str
) -> None:
    here, fund = door.here, Fund(door.here)
    await here.declare(MOVED, door.move())

    def bent(pulled: Pulled) -> Pulled:
        named = KeyRelease.decode(pulled.key_release)
        first = int(named.suite)
        raw = pulled.key_release
        assert raw.startswith(_zigzag(first))
        return replace(pulled, key_release=_zigzag(suite) + raw[len(_zigzag(first)) :])

    report = await fund.run(bent)

    ((_, rejected),) = report.rejected
    assert (code, Reason.INVALID_DELIVERY) == (rejected.code, rejected.reason)
    (letter,) = await here.home.dead_letters.list()
    assert await here.home.dead_letters.replay(letter.id) is None
    await fund.takes()


@pytest.mark.asyncio
async def test_a_release_sealed_to_a_weaker_key_of_the_same_recipient_waits_for_an_operator(door: Door) -> None:
    """The agency does not hold such a key, so whoever sealed to it gains nothing; the delivery comes again."""
    here, fund = door.here, Fund(door.here)
    await here.declare(MOVED, door.move())
    weak = SealingKey.generate(Suite.X25519)
    kid = kid_of(weak.suite, weak.public)

    report = await fund.run(
        lambda pulled: replace(
            pulled, key_release=replace(KeyRelease.decode(pulled.key_release), recipient_kid=kid).encode()
        )
    )

    assert ["runner.no-such-key"] == [code for _, code in report.retried]
    assert {} == fund.shelf.rows
    here.clock.pass_(here.home.settings.retry_most_seconds * 1000)
    await fund.takes()


def _zigzag(number: int) -> bytes:
    """An int as Avro writes it: twice the number, seven bits a byte."""
    left, out = number << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])
