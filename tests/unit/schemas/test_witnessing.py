"""What a log sends to a witness: one spelling; and what a witness finds before it signs."""

from dataclasses import replace

import pytest

from schemas import checkpoint, merkle, witnessing
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused
from schemas.note import Note, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Submission, judge

ORIGIN = "example.org/log"
KEY, OTHER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG = VerifierKey.of(ORIGIN, KEY)


def leaves(size: int, salt: bytes = b"") -> list[bytes]:
    return [merkle.leaf_hash(salt + bytes([number])) for number in range(size)]


def tree(size: int, salt: bytes = b"") -> Checkpoint:
    return Checkpoint(ORIGIN, size, merkle.root_of(leaves(size, salt)))


def proof(old: int, new: int, salt: bytes = b"") -> tuple[bytes, ...]:
    hashes = leaves(new, salt)
    return merkle.consistency_proof(
        old, new, lambda level, index: merkle.root_of(hashes[index << level : (index + 1) << level])
    )


def submission(old: int, new: int, salt: bytes = b"", key: PrivateKey = KEY) -> Submission:
    return Submission(old, proof(old, new, salt), checkpoint.sign(tree(new, salt), key))


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (3, 7), (8, 9), (9, 9)])
def test_a_submission_is_read_as_it_was_written_and_its_tree_continues_the_last(old: int, new: int):
    told = submission(old, new)

    assert told == Submission.parse(told.encode())
    assert tree(new) == judge(told, LOG, tree(old) if old else None)
    assert ORIGIN == witnessing.origin_of(told)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: body.replace(b"old 3", b"old 03"),
        lambda body: body.replace(b"old 3", b"old  3"),
        lambda body: body.replace(b"old 3", b"old -3"),
        lambda body: body.replace(b"old 3", b"old 9223372036854775808"),
        lambda body: body.replace(b"old 3", b"new 3"),
        lambda body: body.replace(b"old 3\n", b"old 3\r\n"),
        lambda body: body.replace(b"old 3\n", b"old 3\nAAAA\n"),
        lambda body: body.replace(b"old 3\n", b"old 3\n" + b"A" * 43 + b"\n"),
        lambda body: body.replace(b"old 3\n", b"old 3\n" + (b"A" * 43 + b"=\n") * 64),
        lambda body: body.replace(b"old 3\n", b"old 3\n\xc3\xa9\n"),
        lambda body: body.replace(b"\n\n", b"\n", 1),
        lambda body: b"\n" + body,
        lambda body: body[:-1],
        lambda body: body + b"x",
        lambda body: body + b"\n" * 70_000,
    ],
)
def test_another_spelling_is_refused(change):
    with pytest.raises(Refused):
        Submission.parse(change(submission(3, 7).encode()))


@pytest.mark.parametrize(
    ("told", "last", "code"),
    [
        (submission(3, 7, key=OTHER), tree(3), "checkpoint.not-signed"),
        (submission(3, 7), tree(4), "witnessing.other-size"),
        (submission(3, 7), None, "witnessing.other-size"),
        (submission(0, 7), tree(3), "witnessing.other-size"),
        (submission(0, 2), tree(3), "witnessing.other-size"),
        (replace(submission(2, 2), old=3), tree(3), "witnessing.old-size"),
        (submission(7, 7, b"other"), tree(7), "witnessing.fork"),
        (submission(3, 7, b"other"), tree(3), "witnessing.not-consistent"),
        (replace(submission(3, 7), proof=()), tree(3), "witnessing.not-consistent"),
        (replace(submission(0, 7), proof=(bytes(32),)), None, "witnessing.not-consistent"),
        (replace(submission(7, 7), proof=(bytes(32),)), tree(7), "witnessing.not-consistent"),
    ],
)
def test_a_tree_that_does_not_continue_the_last_one_is_not_cosigned(told: Submission, last, code: str):
    with pytest.raises(Refused) as refused:
        judge(told, LOG, last)
    assert code == refused.value.code


def test_a_broken_signature_of_the_log_is_refused_and_one_of_a_stranger_is_ignored():
    told = submission(0, 3)
    stranger = checkpoint.sign(tree(3), OTHER).signatures[0]
    broken = replace(told.signed.signatures[0], signature=bytes(64))

    assert tree(3) == judge(replace(told, signed=told.signed.plus([stranger])), LOG, None)
    with pytest.raises(Refused, match=r"note\.bad-signature"):
        judge(replace(told, signed=Note(told.signed.text, (broken,))), LOG, None)


@pytest.mark.parametrize("answer", [b"", b"\n", b"x\n", b"\xff\n", b"\xe2\x80\x94 w AAAAAAAA", b"a\n" * 200])
def test_an_answer_that_holds_no_signature_lines_is_refused(answer: bytes):
    with pytest.raises(Refused):
        witnessing.cosignatures(answer)
