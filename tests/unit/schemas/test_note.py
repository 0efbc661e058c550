"""Signed notes: the specification's example, foreign checkpoints, and each refusal alone."""

import base64
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from schemas import note
from schemas.errors import Refused
from schemas.note import KeyType, Note, SignatureLine, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.examples import examples

LOG = Path(__file__).parents[3] / "../shared/vectors/tlog/log"

# c2sp.org/signed-note, section "Verifier keys", example.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlT"
    "gK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

KEY = PrivateKey.from_raw(Algorithm.ED25519, bytes(range(32)))
OTHER = PrivateKey.from_raw(Algorithm.ED25519, bytes(range(1, 33)))
NAME = "example.org/ledger"
TEXT = "first\n\nthird\n"
SIGNED = note.sign(TEXT, NAME, KEY).encode()


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


def vkey(name: bytes, type_: int, public: bytes) -> str:
    """A verifier key written by hand."""
    key_id = sha256(name + b"\n" + bytes([type_]) + public).hexdigest()[:8]
    return f"{name.decode()}+{key_id}+{base64.b64encode(bytes([type_]) + public).decode()}"


def test_the_specifications_example_verifies() -> None:
    key, parsed = VerifierKey.parse(EXAMPLE_KEY), Note.parse(EXAMPLE_NOTE)
    assert note.verify(parsed, key)
    expected = (EXAMPLE_KEY, EXAMPLE_NOTE)
    assert expected == (key.text, parsed.encode())


@pytest.mark.skipif(not LOG.exists(), reason="no foreign log among the vectors")
@pytest.mark.parametrize("size", [0, 2, 4, 6, 8, 10, 12, 14])
def test_foreign_checkpoints_verify_and_come_out_byte_for_byte(size: int) -> None:
    key = VerifierKey.parse((LOG / "vkey").read_text().strip())
    raw = (LOG / f"checkpoint.{size}").read_bytes()
    assert note.verify(Note.parse(raw), key)
    assert raw == Note.parse(raw).encode()


def test_a_note_is_signed_as_another_library_would() -> None:
    theirs = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = theirs.public_key().public_bytes_raw()
    key_id = sha256(NAME.encode() + b"\n\x01" + public).digest()[:4]
    line = base64.b64encode(key_id + theirs.sign(TEXT.encode())).decode()
    assert f"{TEXT}\n— {NAME} {line}\n".encode() == SIGNED


@given(
    st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20), max_size=40),
    st.lists(st.sampled_from(["", "one", "— x y"]), max_size=4),
)
@examples(60)
def test_whatever_a_note_says_it_reads_as_it_was_written(first: str, more: list[str]) -> None:
    text = "\n".join([first, *more]) + "\n"
    signed = note.sign(text, NAME, KEY)
    assert signed == Note.parse(signed.encode())
    assert note.verify(signed, VerifierKey.of(NAME, KEY))


def test_a_verifier_key_round_trips_for_each_type() -> None:
    pq = PrivateKey.from_raw(Algorithm.ML_DSA_44, bytes(32))
    for key, type_ in ((KEY, KeyType.ED25519), (KEY, KeyType.COSIGNATURE_ED25519), (pq, KeyType.COSIGNATURE_ML_DSA_44)):
        made = VerifierKey.of("witness.example/w1", key, type_)
        assert made == VerifierKey.parse(made.text)
        assert vkey(b"witness.example/w1", type_, key.public) == made.text


def test_one_key_has_another_id_for_another_type() -> None:
    ids = {VerifierKey.of(NAME, KEY, type_).id for type_ in (KeyType.ED25519, KeyType.COSIGNATURE_ED25519)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        EXAMPLE_KEY.replace("+530d903a+", "+530D903A+"),
        EXAMPLE_KEY.replace("+530d903a+", "+530d903+"),
        EXAMPLE_KEY.replace("+530d903a+", "+"),
        EXAMPLE_KEY + "=",
        EXAMPLE_KEY + "\n",
        EXAMPLE_KEY[:-1],
        "example.com/foo+530d903a+",
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    refuses("note.key-malformed", lambda: VerifierKey.parse(text))


def test_a_verifier_key_whose_id_is_not_its_own_is_refused() -> None:
    refuses("note.key-id-differs", lambda: VerifierKey.parse(EXAMPLE_KEY.replace("530d903a", "530d903b")))
    refuses("note.key-id-differs", lambda: VerifierKey.parse(EXAMPLE_KEY.replace("foo", "bar")))


@pytest.mark.parametrize("type_", [0, 2, 3, 5, 0xFA, 0xFF])
def test_a_key_of_an_unknown_type_is_refused(type_: int) -> None:
    refuses("note.key-type", lambda: VerifierKey.parse(vkey(b"example.com", type_, KEY.public)))


def test_a_key_of_another_algorithm_than_its_type_is_refused() -> None:
    pq = PrivateKey.from_raw(Algorithm.ML_DSA_44, bytes(32))
    refuses("note.key-type", lambda: note.sign(TEXT, NAME, pq))
    refuses("note.key-type", lambda: VerifierKey.of(NAME, KEY, KeyType.COSIGNATURE_ML_DSA_44))
    refuses("note.key-type", lambda: note.verify(Note.parse(SIGNED), VerifierKey.of(NAME, KEY, KeyType(4))))


def test_a_key_under_which_anything_verifies_is_refused() -> None:
    refuses("signing.small-order-key", lambda: VerifierKey.parse(vkey(b"example.com", 1, b"\x01" + bytes(31))))
    refuses("signing.public-key-length", lambda: VerifierKey.parse(vkey(b"example.com", 1, bytes(31))))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2003", "a\tb", "é" * 128])
def test_a_key_name_with_spaces_or_plus_signs_or_too_long_is_refused(name: str) -> None:
    assert VerifierKey.of("a" + "é" * 127, KEY)
    refuses("note.name", lambda: VerifierKey.of(name, KEY))
    if name != "é" * 128:
        refuses("note.name", lambda: SignatureLine(name, bytes(4), b"x"))


def test_a_stranger_s_name_may_be_as_long_as_it_likes() -> None:
    """The source sets no limit; only who has a key here has to fit into a cosignature's length byte."""
    mine, key = note.sign("text\n", NAME, KEY), VerifierKey.of(NAME, KEY)
    stranger = SignatureLine("n" * 256, bytes(4), b"x")
    assert note.verify(note.Note.parse(mine.plus([stranger]).encode()), key)


def test_a_changed_text_or_signature_condemns_the_note() -> None:
    key = VerifierKey.of(NAME, KEY)
    assert note.verify(Note.parse(SIGNED), key)
    refuses("note.bad-signature", lambda: note.verify(Note.parse(SIGNED.replace(b"first", b"First")), key))
    line = Note.parse(SIGNED).signatures[0]
    for wrong in (line.signature[:-1], line.signature + b"x", bytes(64)):
        forged = Note(TEXT, (SignatureLine(NAME, line.key_id, wrong),))
        refuses("note.bad-signature", lambda forged=forged: note.verify(forged, key))


def test_a_true_signature_beside_a_false_one_of_the_same_key_does_not_save_the_note() -> None:
    key = VerifierKey.of(NAME, KEY)
    twice = Note.parse(SIGNED).plus([SignatureLine(NAME, key.id, bytes(64))])
    refuses("note.bad-signature", lambda: note.verify(twice, key))


def test_signatures_of_unknown_keys_say_nothing() -> None:
    key = VerifierKey.of(NAME, KEY)
    strangers = [
        SignatureLine("stranger.example", bytes(4), b"anything"),
        SignatureLine(NAME, VerifierKey.of(NAME, OTHER).id, bytes(64)),  # our name, not our id
        SignatureLine("stranger.example", key.id, bytes(64)),  # our id, not our name
    ]
    assert note.verify(Note.parse(SIGNED).plus(strangers), key)
    assert not note.verify(Note(TEXT, tuple(strangers)), key)


@pytest.mark.parametrize("code", [*range(10), *range(11, 32)])
def test_a_control_character_is_refused(code: int) -> None:
    refuses("note.control-character", lambda: Note.parse(SIGNED.replace(b"first", b"fir%cst" % code)))
    refuses("note.control-character", lambda: Note.parse(SIGNED.replace(b"ledger ", b"ledger%c " % code)))
    refuses("note.control-character", lambda: note.sign(f"fir{chr(code)}st\n", NAME, KEY))


def test_text_that_is_not_utf8_is_refused() -> None:
    refuses("note.not-utf8", lambda: Note.parse(SIGNED.replace(b"first", b"fir\xffst")))


@pytest.mark.parametrize("raw", [b"", b"text\n", b"text\n\n", b"\n\n", b"text\n" + SIGNED.split(b"\n\n")[-1]])
def test_a_note_without_a_signature_below_an_empty_line_is_refused(raw: bytes) -> None:
    refuses("note.no-signature", lambda: Note.parse(raw))


def test_a_note_is_not_made_without_a_signature_or_a_last_newline() -> None:
    refuses("note.no-signature", lambda: Note(TEXT, ()))
    refuses("note.text", lambda: note.sign("no newline", NAME, KEY))


@pytest.mark.parametrize(
    "line",
    [
        "- name AAAAAAA=\n",
        "—name AAAAAAA=\n",
        "— name\n",
        "— name \n",
        "— name AAAA\n",
        "— name AAAAAA==\n",
        "— name AAAAAAB=\n",
        "— name AAAAAAA\n",
        "— name  AAAAAAA=\n",
        "— name AAAAAAA= \n",
        "— name AAAA_-A=\n",
        "— name AAAAAAA=",
        "— name AAAAAAA=x",
        "— name AAAAAAA=\nmore",
        "more\n— name AAAAAAA=\n",
    ],
)
def test_a_malformed_signature_line_is_refused(line: str) -> None:
    assert Note.parse("text\n\n— name AAAAAAA=\n".encode())
    refuses("note.signature-line", lambda: Note.parse(f"text\n\n{line}".encode()))


def test_a_hundred_signatures_are_read_and_no_more() -> None:
    line = "— name AAAAAAA=\n"
    assert len(Note.parse(f"text\n\n{line * 100}".encode()).signatures) == 100
    for count in (101, 102, 200):
        raw = f"text\n\n{line * count}".encode()
        refuses("note.too-many-signatures", lambda raw=raw: Note.parse(raw))
    refuses("note.too-many-signatures", lambda: Note.parse(f"text\n\n{line * 100}".encode()).plus([line_of()]))


def line_of() -> SignatureLine:
    return SignatureLine("name", bytes(4), b"x")


def test_a_note_of_more_than_a_megabyte_is_refused() -> None:
    long = b"x" * (1_000_000 - len(SIGNED)) + SIGNED
    assert Note.parse(long)
    refuses("note.too-long", lambda: Note.parse(b"x" + long))


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "Q Q==", "QQ==\n", "-_==", "é===", "="])
def test_base64_has_one_spelling(text: str) -> None:
    assert note.from_base64(text) is None
    assert note.from_base64("QQ==") == b"A"
