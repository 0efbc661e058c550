"""Proof files: read as written, in one spelling only, and each step of the specification alone."""

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import checkpoint, merkle, proof
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused
from schemas.names import Instant
from schemas.note import KeyType, VerifierKey
from schemas.proof import Proof
from schemas.signing import Algorithm, PrivateKey
from tests.examples import examples

ORIGIN = "example.org/ledger"
LOG_KEY, WITNESS = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG_VKEY = VerifierKey.of(ORIGIN, LOG_KEY)
W1 = VerifierKey.of("witness.example/w1", WITNESS, KeyType.COSIGNATURE_ED25519)
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(11)]


def read(level: int, index: int) -> bytes:
    return merkle.root_of(LEAVES[index << level : (index + 1) << level])


SIGNED = checkpoint.sign(Checkpoint(ORIGIN, 11, merkle.root_of(LEAVES)), LOG_KEY)
FOUND = Proof(6, merkle.inclusion_proof(6, 11, read), SIGNED)
RAW = FOUND.encode()


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


def test_a_proof_is_the_lines_of_the_specification() -> None:
    path = "".join(base64.b64encode(line).decode() + "\n" for line in FOUND.hashes)
    head = f"c2sp.org/tlog-proof@v1\nindex 6\n{path}\n".encode()
    assert head + SIGNED.encode() == RAW
    with_extra = replace(FOUND, extra=b"\x00more").encode()
    assert head.replace(b"index", b"extra AG1vcmU=\nindex") + SIGNED.encode() == with_extra


@given(
    st.integers(0, 2**63 - 2),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(max_size=80),
)
@examples(50)
def test_proofs_round_trip(index: int, hashes: list[bytes], extra: bytes) -> None:
    made = Proof(index, tuple(hashes), SIGNED, extra)
    assert made == Proof.parse(made.encode())


def test_the_first_entry_of_a_log_of_one_needs_no_hashes() -> None:
    signed = checkpoint.sign(Checkpoint(ORIGIN, 1, LEAVES[0]), LOG_KEY)
    made = Proof.parse(Proof(0, (), signed).encode())
    assert proof.verify(made, LEAVES[0], LOG_VKEY).index == 0


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("proof.header", b"@v1\n", b"@v2\n"),
        ("proof.header", b"c2sp", b" c2sp"),
        ("proof.malformed", b"index 6\n", b""),
        ("proof.malformed", b"index 6", b"Index 6"),
        ("proof.malformed", b"index 6\n", b"index 6\r\n\xe9"),
        ("proof.malformed", b"index 6\n", b"index\n"),
        ("proof.malformed", b"index 6\n", b"extra QQ==\nextra QQ==\nindex 6\n"),
        ("proof.index", b"index 6", b"index 06"),
        ("proof.index", b"index 6", b"index -6"),
        ("proof.index", b"index 6", b"index "),
        ("proof.index", b"index 6", b"index 6 "),
        ("proof.index", b"index 6", b"index 9223372036854775807"),
        ("proof.index", b"index 6", b"index 9223372036854775808"),
        ("proof.extra", b"index 6", b"extra \nindex 6"),
        ("proof.extra", b"index 6", b"extra Q\nindex 6"),
        ("proof.extra", b"index 6", b"extra QR==\nindex 6"),
        ("proof.hash", b"index 6\n", b"index 6\nQQ==\n"),
        ("proof.hash", b"index 6\n", b"index 6\n?\n"),
        ("proof.hash", b"index 6\n", b"index 6\nextra QQ==\n"),
        ("note.no-signature", SIGNED.encode(), SIGNED.text.encode()),
    ],
)
def test_another_spelling_is_refused(code: str, old: bytes, new: bytes) -> None:
    assert RAW.count(old) == 1
    refuses(code, lambda: Proof.parse(RAW.replace(old, new)))


def test_a_file_without_a_checkpoint_is_refused() -> None:
    refuses("proof.malformed", lambda: Proof.parse(b""))
    refuses("proof.malformed", lambda: Proof.parse(RAW.partition(b"\n\n")[0]))
    refuses("proof.malformed", lambda: Proof.parse(b"c2sp.org/tlog-proof@v1\n\n" + SIGNED.encode()))


def test_more_hashes_than_a_tree_is_high_are_refused() -> None:
    assert len(Proof.parse(Proof(6, (bytes(32),) * 63, SIGNED).encode()).hashes) == 63
    line = base64.b64encode(bytes(32)) + b"\n"
    for count in (60, 70, 200):
        raw = RAW.replace(b"index 6\n", b"index 6\n" + line * count)
        refuses("proof.too-many-hashes", lambda raw=raw: Proof.parse(raw))


def test_a_file_that_is_too_long_is_refused() -> None:
    refuses("proof.malformed", lambda: Proof.parse(bytes(proof.PROOF_BYTES)))
    refuses("proof.too-long", lambda: Proof.parse(bytes(proof.PROOF_BYTES + 1)))


def test_a_proof_is_not_made_of_other_things() -> None:
    refuses("proof.index", lambda: replace(FOUND, index=-1))
    refuses("proof.hash", lambda: replace(FOUND, hashes=(bytes(31),)))


# The specification's steps: 1 is the caller's.


def test_a_true_proof_is_believed() -> None:
    line = checkpoint.cosign(SIGNED, W1.name, WITNESS, W1.type, Instant(1_790_000_000_000))
    seen = proof.verify(replace(FOUND, signed=SIGNED.plus([line])), LEAVES[6], LOG_VKEY, [W1], 1)
    assert LEAVES[6] == seen.leaf
    assert (6, 11, W1.name) == (seen.index, seen.at.checkpoint.size, seen.at.witnesses[0].name)


def test_step_2_another_log_is_refused() -> None:
    other = VerifierKey.of("example.org/other", LOG_KEY)
    refuses("checkpoint.other-log", lambda: proof.verify(FOUND, LEAVES[6], other))
    stranger = VerifierKey.of(ORIGIN, WITNESS)
    refuses("checkpoint.not-signed", lambda: proof.verify(FOUND, LEAVES[6], stranger))


def test_step_3_a_missing_witness_is_refused() -> None:
    refuses("checkpoint.quorum", lambda: proof.verify(FOUND, LEAVES[6], LOG_VKEY, [W1], 1))


def test_step_4_another_entry_or_place_is_refused() -> None:
    refuses("merkle.root-differs", lambda: proof.verify(FOUND, LEAVES[5], LOG_VKEY))
    refuses("merkle.root-differs", lambda: proof.verify(replace(FOUND, index=7), LEAVES[6], LOG_VKEY))
    refuses("merkle.index", lambda: proof.verify(replace(FOUND, index=11), LEAVES[6], LOG_VKEY))
    refuses("merkle.proof-length", lambda: proof.verify(replace(FOUND, hashes=FOUND.hashes[1:]), LEAVES[6], LOG_VKEY))
