"""Receipts: what a citizen holds proves itself, and each numbered step refuses alone."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas import checkpoint, facts_v1, merkle, proof, receipt
from schemas.checkpoint import Checkpoint
from schemas.entry import Entry, Opening, opened
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.messages import Language
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
)
from schemas.note import KeyType, VerifierKey
from schemas.proof import Proof
from schemas.signing import Algorithm, PrivateKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "protocol" / "ledger-v1.json").read_text("utf-8")
)
ORIGIN = "example.org/ledger"
LOG_KEY, WITNESS = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG_VKEY = VerifierKey.of(ORIGIN, LOG_KEY)
W1 = VerifierKey.of("witness.example/w1", WITNESS, KeyType.COSIGNATURE_ED25519)
AT = Instant(1_788_264_000_007)
WINDOW = Instant(1_788_264_000_000)
TAG = b"t" * 16
GATE = PartyId("urn:unefois:gate")
FACTS = Facts(
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
    basis="consent",
    sealed_to=Kid(b"\xef" * 32),
    subject=b"\x55" * 32,
)
OPENING = Opening(b"b" * 32, b"p" * 32, FACTS)
ENTRY = OPENING.seal(WINDOW, TAG)
ADDED = Facts(AT, FactKind.KEY_ADDED, GATE, recipient=FACTS.recipient, detail=b"\xef" * 32)
OPEN = opened(WINDOW, ADDED)
PLANNED = replace(OPENING, facts=replace(FACTS, kind=FactKind.PLANNED, sealed_to=None))
BEFORE = PLANNED.seal(WINDOW, TAG)
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(11)]
LEAVES[3], LEAVES[4], LEAVES[6] = OPEN.leaf_hash(), BEFORE.leaf_hash(), ENTRY.leaf_hash()


def read(level: int, index: int) -> bytes:
    return merkle.root_of(LEAVES[index << level : (index + 1) << level])


SIGNED = checkpoint.sign(Checkpoint(ORIGIN, 11, merkle.root_of(LEAVES)), LOG_KEY)


def found(index: int) -> Proof:
    return Proof(index, merkle.inclusion_proof(index, 11, read), SIGNED)


FOUND = found(6)
FRENCH = receipt.make(ENTRY, OPENING, FOUND)
ENGLISH = receipt.make(ENTRY, OPENING, FOUND, "en")
OF_OPEN = receipt.make(OPEN, None, found(3), "en")
SPELLED = b64encode(OPENING.encode()).decode()


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert code == caught.value.code


@pytest.mark.parametrize("text", [FRENCH, ENGLISH])
def test_a_receipt_proves_itself_with_nothing_but_the_logs_key(text: str) -> None:
    expected = receipt.CheckedReceipt(FACTS, ENTRY, 6, 11, ORIGIN, ())
    assert expected == receipt.check(text, LOG_VKEY)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_receipt_of_before_whose_delivery_had_no_dashes_still_proves_itself(language: Language) -> None:
    older = receipt.make(ENTRY, OPENING, FOUND, language, older=True)
    assert f"  {'cd' * 16}\n" in older
    assert receipt.check(older, LOG_VKEY) == receipt.check(FRENCH, LOG_VKEY)
    refuses("receipt.meaning-differs", lambda: receipt.check(older.replace("cdcd\n", "cdce\n"), LOG_VKEY))


def test_an_open_entry_needs_no_opening_in_its_receipt() -> None:
    assert receipt.CheckedReceipt(ADDED, OPEN, 3, 11, ORIGIN, ()) == receipt.check(OF_OPEN, LOG_VKEY)
    assert "What opens" not in OF_OPEN


def test_a_receipt_reads_as_sentences_above_and_as_a_foreign_proof_below() -> None:
    above, mark, below = ENGLISH.partition("c2sp.org/tlog-proof@v1\n")
    assert above == (
        "Unefois receipt, version 2\n"
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
        "  delivery      cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd\n"
        "  consent       0190d3a4-7b6c-7e8f-9a0b-1c2d3e4f5061\n"
        "  version       3\n"
        "  fields        0, 2, 15\n"
        "  basis         consent\n"
        f"  key           {'ef' * 32}\n"
        f"  person        {'55' * 32}\n"
        "\n"
        "What opens the ledger's entry, which without it tells nobody anything:\n"
        "\n"
        f"{SPELLED}\n"
        "\n"
        "The proof, to be kept as it is:\n"
        "\n"
    )
    foreign = Proof.parse((mark + below).encode())
    assert ENTRY.encode() == foreign.extra
    assert proof.verify(foreign, ENTRY.leaf_hash(), LOG_VKEY)


def test_what_facts_do_not_name_is_left_out_and_their_reason_is_named() -> None:
    refused = Facts(AT, FactKind.REFUSED, GATE, reason=Reason.NOT_ENTITLED, count=12)
    told = dict(receipt.meaning(refused, "fr"))
    assert ["fait", "instant", "acteur", "raison", "nombre"] == list(told)
    assert "not-entitled" in told["raison"]
    assert told["nombre"] == "12"


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_kind_has_its_sentence(language: Language) -> None:
    sentences = {dict(receipt.meaning(replace(WHOLE, kind=kind), language))[FACT[language]] for kind in FactKind}
    assert len(FactKind) == len(sentences)


FACT: dict[Language, str] = {"fr": "fait", "en": "fact"}
WHOLE = replace(FACTS, reason=Reason.NO_GRANT, count=1, detail=bytes(32))


@pytest.mark.parametrize("language", ["fr", "en"])
def test_whatever_facts_name_has_its_line(language: Language) -> None:
    assert len(Facts.__dataclass_fields__) == len(receipt.meaning(WHOLE, language))


def test_line_ends_and_a_mark_that_an_editor_added_are_forgiven() -> None:
    edited = "\ufeff" + FRENCH.replace("\n", "\r\n")
    assert receipt.check(FRENCH, LOG_VKEY) == receipt.check(edited, LOG_VKEY)


def test_nothing_is_made_of_a_sealed_entry_without_its_opening() -> None:
    refuses("receipt.no-opening", lambda: receipt.make(ENTRY, None, FOUND))


# The first format.


@pytest.mark.parametrize("told", VECTORS["receipts"], ids=lambda told: told["language"])
def test_a_receipt_of_the_first_format_still_proves_its_fact(told: dict[str, Any]) -> None:
    checked = receipt.check(told["text"], VerifierKey.parse(VECTORS["vkey"]))

    raw = bytes.fromhex(VECTORS["entries"][told["entry"]]["entry"])
    expected = receipt.CheckedReceipt(facts_v1.decode(raw), None, told["index"], told["size"], VECTORS["origin"], ())
    assert expected == checked


@pytest.mark.parametrize("told", VECTORS["receipts"], ids=lambda told: told["language"])
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("2026-09-21", "2026-09-22", "receipt.meaning-differs"),
        (" 1\n\n", " 2\n\n", "entry.version"),
        ("\n\n  ", f"\n\n{SPELLED}\n\n  ", "receipt.meaning-differs"),
        ("0, 2, 15", "0, 2, 15\n  basis         consent", "receipt.meaning-differs"),
    ],
)
def test_nothing_is_changed_in_it_either(told: dict[str, Any], old: str, new: str, code: str) -> None:
    assert old in told["text"]
    changed = told["text"].replace(old, new, 1)
    with pytest.raises(Refused) as caught:
        receipt.check(changed, VerifierKey.parse(VECTORS["vkey"]))
    assert caught.value.code.startswith(code)


# The numbered steps.


@pytest.mark.parametrize("text", ["", FRENCH[1:], "\n" + FRENCH, FRENCH.replace("version 2", "version 3")])
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
    raw = replace(found(5), extra=b"5").encode().decode()
    refuses("entry.version", lambda: receipt.check(FRENCH.partition("c2sp.org")[0] + raw, LOG_VKEY))


def test_step_3_neither_format_passes_for_the_other() -> None:
    for text in (FRENCH.replace("version 2", "version 1", 1), OF_OPEN.replace("version 2", "version 1", 1)):
        with pytest.raises(Refused) as caught:
            receipt.check(text, LOG_VKEY)
        assert caught.value.code.startswith("avro.")


def test_step_4_a_receipt_without_its_opening_is_refused() -> None:
    block = f"What opens the ledger's entry, which without it tells nobody anything:\n\n{SPELLED}\n\n"
    assert block in ENGLISH
    refuses("receipt.no-opening", lambda: receipt.check(ENGLISH.replace(block, ""), LOG_VKEY))
    refuses("receipt.no-opening", lambda: receipt.check(ENGLISH.replace(f"{SPELLED}\n\n", f"{SPELLED}\n"), LOG_VKEY))
    refuses("receipt.no-opening", lambda: receipt.check(ENGLISH.replace(SPELLED, SPELLED[:-1] + "é"), LOG_VKEY))


def test_step_4_an_opening_that_is_none_is_refused() -> None:
    for told in (OPENING.encode()[:-1], OPENING.encode() + b"\0", b""):
        with pytest.raises(Refused) as caught:
            receipt.check(ENGLISH.replace(SPELLED, b64encode(told).decode()), LOG_VKEY)
        assert caught.value.code.startswith("avro.")


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (PLANNED, "entry.other-opening"),
        (replace(OPENING, blind=b"B" * 32), "entry.other-opening"),
        (replace(OPENING, facts=replace(FACTS, fields=b"\xff\xff")), "entry.other-opening"),
        (replace(OPENING, plan_blind=None), "entry.shape"),
        (Opening(b"b" * 32, None, ADDED), "entry.shape"),
    ],
    ids=["of the plan", "another blind", "other fields", "half of it", "of a public fact"],
)
def test_step_4_an_opening_of_another_entry_is_refused(other: Opening, code: str) -> None:
    text = receipt.make(ENTRY, other, FOUND)  # sentences and opening agree with each other, not with the entry
    refuses(code, lambda: receipt.check(text, LOG_VKEY))


def test_step_5_another_log_is_refused() -> None:
    refuses("checkpoint.other-log", lambda: receipt.check(FRENCH, VerifierKey.of("example.org/other", LOG_KEY)))
    refuses("checkpoint.not-signed", lambda: receipt.check(FRENCH, VerifierKey.of(ORIGIN, WITNESS)))


def test_step_6_a_missing_witness_is_refused_and_a_present_one_is_told() -> None:
    refuses("checkpoint.quorum", lambda: receipt.check(FRENCH, LOG_VKEY, [W1], 1))
    line = checkpoint.cosign(SIGNED, W1.name, WITNESS, W1.type, AT)
    cosigned = receipt.make(ENTRY, OPENING, replace(FOUND, signed=SIGNED.plus([line])))
    assert [W1.name] == [one.name for one in receipt.check(cosigned, LOG_VKEY, [W1], 1).witnesses]


def test_step_7_an_entry_that_the_log_does_not_hold_is_refused() -> None:
    other = replace(OPENING, facts=replace(FACTS, fields=b"\xff\xff"))
    made_up = receipt.make(other.seal(WINDOW, TAG), other, FOUND)
    refuses("merkle.root-differs", lambda: receipt.check(made_up, LOG_VKEY))


@pytest.mark.parametrize("changed", [{"window": Instant(WINDOW + 60_000)}, {"tag": b"T" * 16}])
def test_step_7_window_and_tag_are_the_entrys_and_so_the_logs(changed: dict[str, Any]) -> None:
    made_up = receipt.make(replace(ENTRY, **changed), OPENING, FOUND)
    refuses("merkle.root-differs", lambda: receipt.check(made_up, LOG_VKEY))


def test_step_7_a_true_entry_at_another_place_is_refused() -> None:
    text = receipt.make(BEFORE, PLANNED, found(4))
    assert receipt.check(text, LOG_VKEY).facts.kind is FactKind.PLANNED
    refuses("merkle.root-differs", lambda: receipt.check(receipt.make(BEFORE, PLANNED, FOUND), LOG_VKEY))


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
        ("qui sans cela ne dit rien à personne", "qui le dit à tout le monde"),
        ("La preuve, à conserver", f"{SPELLED}\n\nLa preuve, à conserver"),
    ],
)
def test_step_8_a_false_sentence_above_a_true_proof_is_refused(old: str, new: str) -> None:
    assert old in FRENCH
    wrong = "receipt.no-opening" if old.startswith("qui sans") else "receipt.meaning-differs"
    refuses(wrong, lambda: receipt.check(FRENCH.replace(old, new, 1), LOG_VKEY))


def test_step_8_an_opening_has_one_spelling() -> None:
    padded = SPELLED.rstrip("=")
    other = {"A": "B", "Q": "R", "g": "h", "w": "x"}.get(padded[-1], "B")
    loose = padded[:-1] + other + "=" * (len(SPELLED) - len(padded))
    if len(padded) == len(SPELLED):
        pytest.fail("the opening of this test has to end in the middle of a group")
    refuses("receipt.meaning-differs", lambda: receipt.check(FRENCH.replace(SPELLED, loose), LOG_VKEY))
    for spelled in (SPELLED[:76] + "\n" + SPELLED[76:], f" {SPELLED}", padded):
        refuses("receipt.no-opening", lambda spelled=spelled: receipt.check(FRENCH.replace(SPELLED, spelled), LOG_VKEY))


def test_step_8_a_second_opening_is_refused_whichever_is_the_right_one() -> None:
    block = f"What opens the ledger's entry, which without it tells nobody anything:\n\n{SPELLED}\n\n"
    refuses("receipt.meaning-differs", lambda: receipt.check(ENGLISH.replace(block, block + block), LOG_VKEY))
    other = block.replace(SPELLED, b64encode(PLANNED.encode()).decode())
    refuses("receipt.meaning-differs", lambda: receipt.check(ENGLISH.replace(block, block + other), LOG_VKEY))
    refuses("entry.other-opening", lambda: receipt.check(ENGLISH.replace(block, other + block), LOG_VKEY))


def test_step_8_an_open_entry_with_an_opening_beside_it_is_refused() -> None:
    block = f"What opens the ledger's entry, which without it tells nobody anything:\n\n{SPELLED}\n\n"
    text = OF_OPEN.replace("The proof, to be", f"{block}The proof, to be")
    refuses("receipt.meaning-differs", lambda: receipt.check(text, LOG_VKEY))
    refuses("receipt.meaning-differs", lambda: receipt.check(receipt.make(OPEN, OPENING, found(3)), LOG_VKEY))


def test_step_8_text_that_is_not_unicode_is_refused() -> None:
    refuses("receipt.meaning-differs", lambda: receipt.check(FRENCH.replace("fait", "fa\udc80t", 1), LOG_VKEY))


def test_the_entry_in_a_receipt_is_what_anybody_reads_in_the_log() -> None:
    assert Entry.decode(Proof.parse(("c2sp.org" + FRENCH.partition("c2sp.org")[2]).encode()).extra) == ENTRY
