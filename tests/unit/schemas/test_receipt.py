"""Receipts: what a citizen holds proves itself, and each numbered step refuses alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas import checkpoint, merkle, proof, receipt
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.messages import Language
from schemas.names import DeliveryId, EventType, GrantId, Instant, ManifestDigest, PartyId, Purpose, Reason
from schemas.note import KeyType, VerifierKey
from schemas.proof import Proof
from schemas.signing import Algorithm, PrivateKey

ORIGIN = "example.org/ledger"
LOG_KEY, WITNESS = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG_VKEY = VerifierKey.of(ORIGIN, LOG_KEY)
W1 = VerifierKey.of("witness.example/w1", WITNESS, KeyType.COSIGNATURE_ED25519)
AT = Instant(1_788_264_000_007)
GATE = PartyId("urn:unefois:gate")
ENTRY = Entry(
    at=AT,
    kind=FactKind.RELEASED,
    actor=GATE,
    recipient=PartyId("urn:fr:siret:12345678901234"),
    event_type=EventType("fr.unefois.address.changed.v1"),
    purpose=Purpose("family-benefits"),
    declaration=ManifestDigest(b"\xab" * 32),
    delivery=DeliveryId(b"\xcd" * 16),
    grant=GrantId(bytes.fromhex("0190d3a47b6c7e8f9a0b1c2d3e4f5061")),
    grant_version=3,
    fields=b"\xa0\x01",
)
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(11)]
LEAVES[6] = ENTRY.leaf_hash()


def read(level: int, index: int) -> bytes:
    return merkle.root_of(LEAVES[index << level : (index + 1) << level])


SIGNED = checkpoint.sign(Checkpoint(ORIGIN, 11, merkle.root_of(LEAVES)), LOG_KEY)
FOUND = Proof(6, merkle.inclusion_proof(6, 11, read), SIGNED)
FRENCH = receipt.make(ENTRY, FOUND)
ENGLISH = receipt.make(ENTRY, FOUND, "en")


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


@pytest.mark.parametrize("text", [FRENCH, ENGLISH])
def test_a_receipt_proves_itself_with_nothing_but_the_logs_key(text: str) -> None:
    expected = receipt.CheckedReceipt(ENTRY, 6, 11, ORIGIN, ())
    assert expected == receipt.check(text, LOG_VKEY)


def test_a_receipt_reads_as_sentences_above_and_as_a_foreign_proof_below() -> None:
    above, mark, below = ENGLISH.partition("c2sp.org/tlog-proof@v1\n")
    assert above == (
        "Unefois receipt, version 1\n"
        "\n"
        "This file proves that the ledger example.org/ledger holds, as number 6, the following fact.\n"
        "To check it, without a network: unefois audit check THIS-FILE --key KEY-OF-THE-LEDGER\n"
        "\n"
        "  fact          released: the recipient was enabled to read these fields\n"
        "  instant       2026-09-01T12:00:00.007Z\n"
        "  actor         urn:unefois:gate\n"
        "  recipient     urn:fr:siret:12345678901234\n"
        "  type          fr.unefois.address.changed.v1\n"
        "  purpose       family-benefits\n"
        f"  declaration   {'ab' * 32}\n"
        f"  delivery      {'cd' * 16}\n"
        "  consent       0190d3a4-7b6c-7e8f-9a0b-1c2d3e4f5061\n"
        "  version       3\n"
        "  fields        0, 2, 15\n"
        "\n"
        "The proof, to be kept as it is:\n"
        "\n"
    )
    foreign = Proof.parse((mark + below).encode())
    assert ENTRY.encode() == foreign.extra
    assert proof.verify(foreign, ENTRY.leaf_hash(), LOG_VKEY)


def test_what_an_entry_does_not_name_is_left_out_and_its_reason_is_named() -> None:
    refused = Entry(AT, FactKind.REFUSED, GATE, reason=Reason.NOT_ENTITLED)
    told = dict(receipt.meaning(refused, "fr"))
    expected = ["fait", "instant", "acteur", "raison"]
    assert expected == list(told)
    assert "not-entitled" in told["raison"]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_kind_has_its_sentence(language: Language) -> None:
    sentences = {dict(receipt.meaning(replace(WHOLE, kind=kind), language))[FACT[language]] for kind in FactKind}
    assert len(FactKind) == len(sentences)


FACT: dict[Language, str] = {"fr": "fait", "en": "fact"}
WHOLE = replace(ENTRY, reason=Reason.NO_GRANT, detail=bytes(32))


def test_line_ends_and_a_mark_that_an_editor_added_are_forgiven() -> None:
    edited = "\ufeff" + FRENCH.replace("\n", "\r\n")
    assert receipt.check(FRENCH, LOG_VKEY) == receipt.check(edited, LOG_VKEY)


# The numbered steps.


@pytest.mark.parametrize("text", ["", FRENCH[1:], "\n" + FRENCH, FRENCH.replace("version 1", "version 2")])
def test_step_1_another_file_is_no_receipt(text: str) -> None:
    refuses("receipt.not-a-receipt", lambda: receipt.check(text, LOG_VKEY))


def test_step_1_a_file_that_is_too_long_is_refused() -> None:
    refuses("receipt.not-a-receipt", lambda: receipt.check("x" * receipt.RECEIPT_BYTES, LOG_VKEY))
    refuses("receipt.too-long", lambda: receipt.check("x" * (receipt.RECEIPT_BYTES + 1), LOG_VKEY))


def test_step_2_sentences_without_a_proof_are_refused() -> None:
    refuses("receipt.no-proof", lambda: receipt.check(FRENCH.partition("c2sp.org")[0], LOG_VKEY))
    refuses("proof.index", lambda: receipt.check(FRENCH.replace("\nindex 6", "\nindex 06"), LOG_VKEY))


def test_step_3_a_proof_that_does_not_carry_its_entry_is_refused() -> None:
    without = "\n".join(line for line in FRENCH.split("\n") if not line.startswith("extra "))
    refuses("receipt.no-entry", lambda: receipt.check(without, LOG_VKEY))


def test_step_3_bytes_that_are_no_entry_are_refused_though_the_log_holds_them() -> None:
    raw = replace(FOUND, index=5, hashes=merkle.inclusion_proof(5, 11, read), extra=b"5").encode().decode()
    text = FRENCH.partition("c2sp.org")[0] + raw
    with pytest.raises(Refused) as caught:
        receipt.check(text, LOG_VKEY)
    assert caught.value.code.startswith("avro.")


def test_step_4_another_log_is_refused() -> None:
    refuses("checkpoint.other-log", lambda: receipt.check(FRENCH, VerifierKey.of("example.org/other", LOG_KEY)))
    refuses("checkpoint.not-signed", lambda: receipt.check(FRENCH, VerifierKey.of(ORIGIN, WITNESS)))


def test_step_5_a_missing_witness_is_refused_and_a_present_one_is_told() -> None:
    refuses("checkpoint.quorum", lambda: receipt.check(FRENCH, LOG_VKEY, [W1], 1))
    line = checkpoint.cosign(SIGNED, W1.name, WITNESS, W1.type, AT)
    cosigned = receipt.make(ENTRY, replace(FOUND, signed=SIGNED.plus([line])))
    assert receipt.check(cosigned, LOG_VKEY, [W1], 1).witnesses[0].name == W1.name


def test_step_6_an_entry_that_the_log_does_not_hold_is_refused() -> None:
    made_up = receipt.make(replace(ENTRY, fields=b"\xff\xff"), FOUND)
    refuses("merkle.root-differs", lambda: receipt.check(made_up, LOG_VKEY))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-09-01T12", "2026-09-01T13"),
        ("0, 2, 15", "0"),
        ("numéro 6,", "numéro 7,"),
        ("Pour le vérifier", "Inutile de vérifier"),
        ("example.org/ledger contient", "example.org/other contient"),
        ("  version       3\n", ""),
        ("  version       3\n", "  version       3 \n"),
    ],
)
def test_step_7_a_false_sentence_above_a_true_proof_is_refused(old: str, new: str) -> None:
    assert old in FRENCH
    refuses("receipt.meaning-differs", lambda: receipt.check(FRENCH.replace(old, new, 1), LOG_VKEY))


def test_step_7_text_that_is_not_unicode_is_refused() -> None:
    refuses("receipt.meaning-differs", lambda: receipt.check(FRENCH.replace("fait", "fa\udc80t", 1), LOG_VKEY))
