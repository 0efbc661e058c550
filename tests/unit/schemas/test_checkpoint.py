"""Checkpoints and cosignatures: foreign ones, messages signed by other code, and each numbered step alone."""

import base64
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from schemas import checkpoint, merkle, note
from schemas.checkpoint import Checkpoint, Cosigned
from schemas.errors import Refused
from schemas.names import Instant
from schemas.note import KeyType, Note, SignatureLine, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.examples import examples

LOG = Path(__file__).parents[3] / "../shared/vectors/tlog/log"
ORIGIN = "example.org/ledger"
AT = Instant(1_790_000_000_123)
ROOT = bytes(range(32))

LOG_KEY, WITNESS_1, WITNESS_2 = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2, 3))
WITNESS_PQ = PrivateKey.from_raw(Algorithm.ML_DSA_44, bytes([4] * 32))
LOG_VKEY = VerifierKey.of(ORIGIN, LOG_KEY)
W1 = VerifierKey.of("witness.example/w1", WITNESS_1, KeyType.COSIGNATURE_ED25519)
W2 = VerifierKey.of("witness.example/w2", WITNESS_2, KeyType.COSIGNATURE_ED25519)
WPQ = VerifierKey.of("witness.example/pq", WITNESS_PQ, KeyType.COSIGNATURE_ML_DSA_44)

TREE = Checkpoint(ORIGIN, 42, ROOT)
SIGNED = checkpoint.sign(TREE, LOG_KEY)
LINE_1 = checkpoint.cosign(SIGNED, W1.name, WITNESS_1, W1.type, AT)
LINE_2 = checkpoint.cosign(SIGNED, W2.name, WITNESS_2, W2.type, Instant(AT + 5000))
LINE_PQ = checkpoint.cosign(SIGNED, WPQ.name, WITNESS_PQ, WPQ.type, AT)
COSIGNED = SIGNED.plus([LINE_1, LINE_2, LINE_PQ])


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


def test_a_checkpoint_is_three_lines() -> None:
    body = f"{ORIGIN}\n42\n{base64.b64encode(ROOT).decode()}\n"
    assert body == TREE.body
    assert body == SIGNED.text
    expected = TREE
    assert expected == Checkpoint.parse(body)


@given(
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=30),
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9), max_size=3),
)
@examples(60)
def test_checkpoints_round_trip(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    made = Checkpoint(origin, size, root, tuple(extensions))
    assert made == Checkpoint.parse(made.body)


@pytest.mark.parametrize("body", ["", "o\n", "o\n1\n", f"o\n1\n{'A' * 43}=", "o\n1"])
def test_a_checkpoint_of_fewer_than_three_whole_lines_is_refused(body: str) -> None:
    refuses("checkpoint.lines", lambda: Checkpoint.parse(body))


@pytest.mark.parametrize(
    "size", ["", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "١", "9223372036854775808", "9" * 20, "00"]
)
def test_a_size_in_another_spelling_is_refused(size: str) -> None:
    refuses("checkpoint.size", lambda: Checkpoint.parse(TREE.body.replace("\n42\n", f"\n{size}\n")))


def test_the_largest_size_is_read_and_a_negative_one_is_not_made() -> None:
    assert Checkpoint.parse(TREE.body.replace("\n42\n", f"\n{2**63 - 1}\n")).size == 2**63 - 1
    refuses("checkpoint.size", lambda: Checkpoint(ORIGIN, -1, ROOT))


@pytest.mark.parametrize("root", ["", "AAAA", "A" * 43, "A" * 42 + "B=", "A" * 44, "*" * 43 + "="])
def test_a_root_that_is_not_32_bytes_in_base64_is_refused(root: str) -> None:
    refuses("checkpoint.root", lambda: Checkpoint.parse(f"{ORIGIN}\n42\n{root}\n"))


def test_an_empty_tree_has_the_root_of_nothing() -> None:
    assert Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)
    refuses("checkpoint.root", lambda: Checkpoint(ORIGIN, 0, ROOT))


def test_an_origin_that_is_empty_or_unprintable_is_refused() -> None:
    refuses("checkpoint.origin", lambda: Checkpoint.parse(TREE.body.removeprefix(ORIGIN)))
    refuses("checkpoint.origin", lambda: Checkpoint("a\nb", 42, ROOT))


def test_extension_lines_are_kept_and_must_not_be_empty() -> None:
    assert Checkpoint.parse(TREE.body + "more\n").extensions == ("more",)
    refuses("checkpoint.extension", lambda: Checkpoint.parse(TREE.body + "\nmore\n"))
    refuses("checkpoint.extension", lambda: replace(TREE, extensions=("a\nb",)))


@pytest.mark.skipif(not LOG.exists(), reason="no foreign log among the vectors")
@pytest.mark.parametrize("size", [0, 2, 4, 6, 8, 10, 12, 14])
def test_foreign_checkpoints_are_believed(size: int) -> None:
    key = VerifierKey.parse((LOG / "vkey").read_text().strip())
    seen = checkpoint.verify(Note.parse((LOG / f"checkpoint.{size}").read_bytes()), key)
    spoken = b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten"
    root = merkle.root_of(merkle.leaf_hash(word) for word in spoken.split()[:size])
    assert seen.checkpoint == Checkpoint("example.com/log/testdata", size, root)


# What a cosignature signs, written here from the specification without our code.


def test_an_ed25519_cosignature_signs_header_time_and_body() -> None:
    seconds, signature = struct.unpack(">Q64s", LINE_1.signature)
    assert seconds == 1_790_000_000
    message = f"cosignature/v1\ntime 1790000000\n{TREE.body}".encode()
    Ed25519PublicKey.from_public_bytes(WITNESS_1.public).verify(signature, message)


def test_an_ml_dsa_cosignature_signs_names_time_and_tree() -> None:
    seconds, signature = struct.unpack(">Q2420s", LINE_PQ.signature)
    name, origin = WPQ.name.encode(), ORIGIN.encode()
    message = b"subtree/v1\n\0" + struct.pack(
        f">B{len(name)}sQB{len(origin)}sQQ32s", len(name), name, seconds, len(origin), origin, 0, 42, ROOT
    )
    MLDSA44PublicKey.from_public_bytes(WITNESS_PQ.public).verify(signature, message)


def test_cosignatures_of_known_witnesses_are_believed_in_the_callers_order() -> None:
    seen = checkpoint.verify(COSIGNED, LOG_VKEY, [W2, WPQ, W1], 3)
    witnesses = (Cosigned(W2.name, 1_790_000_005), Cosigned(WPQ.name, 1_790_000_000), Cosigned(W1.name, 1_790_000_000))
    assert checkpoint.VerifiedCheckpoint(TREE, witnesses) == seen


def test_extension_lines_are_under_an_ed25519_cosignature() -> None:
    signed = checkpoint.sign(replace(TREE, extensions=("more",)), LOG_KEY)
    line = checkpoint.cosign(signed, W1.name, WITNESS_1, W1.type, AT)
    assert checkpoint.verify(signed.plus([line]), LOG_VKEY, [W1], 1).witnesses
    refuses("checkpoint.bad-cosignature", lambda: checkpoint.verify(SIGNED.plus([line]), LOG_VKEY, [W1]))


# The numbered steps.


def test_step_1_a_key_that_would_count_twice_is_refused() -> None:
    twin = VerifierKey.of("witness.example/twin", WITNESS_1, KeyType.COSIGNATURE_ED25519)
    itself = VerifierKey.of("witness.example/log", LOG_KEY, KeyType.COSIGNATURE_ED25519)
    assert checkpoint.verify(COSIGNED, LOG_VKEY, [W1, W2], 2)
    refuses("checkpoint.witness-repeated", lambda: checkpoint.verify(COSIGNED, LOG_VKEY, [W1, twin], 1))
    refuses("checkpoint.witness-repeated", lambda: checkpoint.verify(COSIGNED, LOG_VKEY, [W1, W1], 1))
    refuses("checkpoint.witness-repeated", lambda: checkpoint.verify(COSIGNED, LOG_VKEY, [itself], 0))


@pytest.mark.parametrize("needed", [-1, 3])
def test_step_1_a_quorum_that_cannot_be_reached_is_refused(needed: int) -> None:
    refuses("checkpoint.quorum-impossible", lambda: checkpoint.verify(COSIGNED, LOG_VKEY, [W1, W2], needed))


def test_step_1_a_witness_with_a_log_key_is_refused() -> None:
    plain = VerifierKey.of("witness.example/w1", WITNESS_1)
    refuses("checkpoint.cosignature-type", lambda: checkpoint.verify(COSIGNED, LOG_VKEY, [plain]))


def test_step_2_a_note_that_is_no_checkpoint_is_refused() -> None:
    refuses("checkpoint.lines", lambda: checkpoint.verify(note.sign(f"{ORIGIN}\n", ORIGIN, LOG_KEY), LOG_VKEY))


def test_step_3_the_checkpoint_of_another_log_is_refused_though_the_key_signed_it() -> None:
    other = note.sign(replace(TREE, origin="example.org/other").body, ORIGIN, LOG_KEY)
    assert note.verify(other, LOG_VKEY)
    refuses("checkpoint.other-log", lambda: checkpoint.verify(other, LOG_VKEY))


def test_step_4_a_checkpoint_that_only_witnesses_signed_is_refused() -> None:
    refuses("checkpoint.not-signed", lambda: checkpoint.verify(Note(TREE.body, (LINE_1,)), LOG_VKEY, [W1], 1))


def test_step_4_a_changed_checkpoint_is_refused() -> None:
    forged = replace(SIGNED, text=SIGNED.text.replace("\n42\n", "\n43\n"))
    refuses("note.bad-signature", lambda: checkpoint.verify(forged, LOG_VKEY))


@pytest.mark.parametrize("line", [LINE_1, LINE_PQ])
def test_step_5_a_false_cosignature_of_a_known_witness_condemns_the_checkpoint(line: SignatureLine) -> None:
    witness = W1 if line is LINE_1 else WPQ
    flipped = bytearray(line.signature)
    flipped[7] ^= 1  # another second than the one that was signed
    later = replace(line, signature=bytes(flipped))
    for wrong in (later, replace(line, signature=line.signature[:-1]), replace(line, signature=line.signature[:8])):
        signed = SIGNED.plus([line, wrong])
        refuses("checkpoint.bad-cosignature", lambda signed=signed: checkpoint.verify(signed, LOG_VKEY, [witness]))
    assert checkpoint.verify(SIGNED.plus([later]), LOG_VKEY).witnesses == ()


def cosigned_at(seconds: int) -> Note:
    message = f"cosignature/v1\ntime {seconds}\n{TREE.body}".encode()
    return SIGNED.plus([SignatureLine(W1.name, W1.id, seconds.to_bytes(8, "big") + WITNESS_1.sign(message))])


@pytest.mark.parametrize("seconds", [0, 2**63])
def test_step_5_a_cosignature_of_no_time_is_refused(seconds: int) -> None:
    assert checkpoint.verify(cosigned_at(1), LOG_VKEY, [W1]).witnesses
    assert checkpoint.verify(cosigned_at(2**63 - 1), LOG_VKEY, [W1]).witnesses
    refuses("checkpoint.bad-cosignature", lambda: checkpoint.verify(cosigned_at(seconds), LOG_VKEY, [W1]))


def test_step_6_too_few_witnesses_are_refused_however_often_one_signs() -> None:
    again = checkpoint.cosign(SIGNED, W1.name, WITNESS_1, W1.type, Instant(AT + 9000))
    signed = SIGNED.plus([LINE_1, again])
    assert checkpoint.verify(signed, LOG_VKEY, [W1, W2], 1).witnesses == (Cosigned(W1.name, 1_790_000_009),)
    refuses("checkpoint.quorum", lambda: checkpoint.verify(signed, LOG_VKEY, [W1, W2], 2))
    refuses("checkpoint.quorum", lambda: checkpoint.verify(SIGNED, LOG_VKEY, [W1], 1))


# Making.


def test_a_cosignature_needs_a_time_a_cosigning_key_and_a_checkpoint() -> None:
    refuses("checkpoint.cosignature-time", lambda: checkpoint.cosign(SIGNED, W1.name, WITNESS_1, W1.type, Instant(999)))
    refuses(
        "checkpoint.cosignature-type",
        lambda: checkpoint.cosign(SIGNED, W1.name, WITNESS_1, KeyType.ED25519, AT),
    )
    text = note.sign("text\n", ORIGIN, LOG_KEY)
    refuses("checkpoint.lines", lambda: checkpoint.cosign(text, W1.name, WITNESS_1, W1.type, AT))


def test_an_origin_too_long_for_an_ml_dsa_cosignature_is_refused() -> None:
    fitting, long = (note.sign(Checkpoint("o" * size, 42, ROOT).body, ORIGIN, LOG_KEY) for size in (255, 256))
    assert checkpoint.cosign(fitting, WPQ.name, WITNESS_PQ, WPQ.type, AT)
    refuses("checkpoint.origin", lambda: checkpoint.cosign(long, WPQ.name, WITNESS_PQ, WPQ.type, AT))
