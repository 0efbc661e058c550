"""The tree: against the RFC's own recursive definitions, against foreign vectors, and each verification step alone."""

import base64
import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import merkle
from schemas.errors import Refused
from tests.examples import examples

VECTORS = Path(__file__).parents[3] / "../shared/vectors/merkle"


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def leaves_of(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"entry %d" % number) for number in range(count)]


# RFC 9162, sections 2.1.1, 2.1.3.1 and 2.1.4.1, word by word: slow, and written without the code under test.


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def reader(leaves: Sequence[bytes]) -> merkle.HashReader:
    def read(level: int, index: int) -> bytes:
        part = leaves[index << level : (index + 1) << level]
        assert len(part) == 1 << level, "a subtree that is not full was asked for"
        return mth(part)

    return read


def test_a_leaf_and_a_node_of_the_same_bytes_have_different_hashes() -> None:
    left, right = leaves_of(2)
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_the_root_without_entries_is_the_hash_of_nothing() -> None:
    nothing = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert nothing == merkle.EMPTY_ROOT
    assert nothing == merkle.Frontier().root()
    assert nothing == merkle.root_at(0, reader([]))


@pytest.mark.parametrize("size", range(1, 40))
def test_roots_and_proofs_are_those_of_the_rfc(size: int) -> None:
    leaves = leaves_of(size)
    read = reader(leaves)
    assert mth(leaves) == merkle.root_of(leaves) == merkle.root_at(size, read)
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, read)
        assert tuple(path(index, leaves)) == proof
        merkle.verify_inclusion(leaves[index], index, size, proof, mth(leaves))
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(old, size, read)
        assert tuple(subproof(old, leaves, True)) == proof
        merkle.verify_consistency(old, size, mth(leaves[:old]), mth(leaves), proof)


@given(st.lists(st.integers(0, 70), max_size=5))
@examples(40)
def test_however_the_entries_come_in_batches_the_tree_is_the_same(batches: list[int]) -> None:
    frontier, leaves = merkle.Frontier(), leaves_of(sum(batches))
    for count in batches:
        frontier = frontier.extend(leaves[frontier.size : frontier.size + count])
    assert (len(leaves), mth(leaves)) == (frontier.size, frontier.root())
    whole = merkle.Frontier().extend(leaves)
    assert whole == frontier


def test_one_entry_appended_is_a_batch_of_one() -> None:
    frontier = merkle.Frontier()
    for leaf in leaves_of(9):
        frontier = frontier.append(leaf)
    assert merkle.root_of(leaves_of(9)) == frontier.root()


@given(st.integers(1, 300), st.data())
@examples(60)
def test_no_changed_proof_passes(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    read, root = reader(leaves), mth(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, read)
    other = data.draw(st.integers(0, size - 1).filter(lambda at: at != index)) if size > 1 else None
    if other is not None:
        assert refusal(lambda: merkle.verify_inclusion(leaves[index], other, size, proof, root)).startswith("merkle.")
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        flipped = (*proof[:place], bytes(32), *proof[place + 1 :])
        refuses("merkle.root-differs", lambda: merkle.verify_inclusion(leaves[index], index, size, flipped, root))
        refuses("merkle.proof-length", lambda: merkle.verify_inclusion(leaves[index], index, size, proof[:-1], root))
    refuses("merkle.proof-length", lambda: merkle.verify_inclusion(leaves[index], index, size, (*proof, root), root))


# One refusal each.

EIGHT = leaves_of(8)
READ = reader(EIGHT)
ROOT = mth(EIGHT)
PROOF = merkle.inclusion_proof(5, 8, READ)
SIX_EIGHT = merkle.consistency_proof(6, 8, READ)


@pytest.mark.parametrize("index", [-1, 8, 2**63])
def test_an_index_outside_the_tree_is_refused(index: int) -> None:
    refuses("merkle.index", lambda: merkle.verify_inclusion(EIGHT[5], index, 8, PROOF, ROOT))
    refuses("merkle.index", lambda: merkle.inclusion_proof(index, 8, READ))


def test_a_tree_larger_than_any_reader_can_hold_is_refused() -> None:
    refuses("merkle.index", lambda: merkle.verify_inclusion(EIGHT[5], 5, 2**63, PROOF, ROOT))
    refuses("merkle.size-order", lambda: merkle.verify_consistency(6, 2**63, ROOT, ROOT, SIX_EIGHT))


def test_the_largest_tree_that_readers_can_hold_is_judged_like_any_other() -> None:
    largest = 2**63 - 1
    assert merkle.Frontier(largest, (ROOT,) * 63).root()
    refuses("merkle.proof-length", lambda: merkle.verify_inclusion(EIGHT[5], 5, largest, PROOF, ROOT))
    refuses("merkle.proof-length", lambda: merkle.verify_consistency(6, largest, ROOT, ROOT, SIX_EIGHT))


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_a_hash_of_another_length_is_refused_wherever_it_stands(wrong: bytes) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: merkle.verify_inclusion(wrong, 5, 8, PROOF, ROOT),
        lambda: merkle.verify_inclusion(EIGHT[5], 5, 8, PROOF, wrong),
        lambda: merkle.verify_inclusion(EIGHT[5], 5, 8, (*PROOF[:2], wrong), ROOT),
        lambda: merkle.verify_consistency(6, 8, wrong, ROOT, SIX_EIGHT),
        lambda: merkle.verify_consistency(6, 8, ROOT, wrong, SIX_EIGHT),
        lambda: merkle.verify_consistency(6, 8, ROOT, ROOT, (wrong,)),
        lambda: merkle.Frontier().append(wrong),
        lambda: merkle.Frontier(1, (wrong,)),
    ]
    assert ["merkle.hash-length"] * len(attempts) == [refusal(attempt) for attempt in attempts]


def test_an_inclusion_proof_is_refused_when_too_long_too_short_or_for_another_root() -> None:
    merkle.verify_inclusion(EIGHT[5], 5, 8, PROOF, ROOT)
    refuses(
        "merkle.proof-length",
        lambda: merkle.verify_inclusion(EIGHT[5], 5, 8, (*PROOF, ROOT), merkle.node_hash(ROOT, ROOT)),
    )
    inner = mth(EIGHT[4:])
    refuses("merkle.proof-length", lambda: merkle.verify_inclusion(EIGHT[5], 5, 8, PROOF[:2], inner))
    refuses("merkle.root-differs", lambda: merkle.verify_inclusion(EIGHT[4], 5, 8, PROOF, ROOT))


def test_a_consistency_proof_is_refused_when_too_long_or_too_short() -> None:
    six = mth(EIGHT[:6])
    merkle.verify_consistency(6, 8, six, ROOT, SIX_EIGHT)
    for proof in [(), SIX_EIGHT[:-1], (*SIX_EIGHT, ROOT)]:
        refuses("merkle.proof-length", lambda proof=proof: merkle.verify_consistency(6, 8, six, ROOT, proof))


def test_a_rewritten_history_differs_at_the_old_root_and_another_future_at_the_new_one() -> None:
    six = mth(EIGHT[:6])
    refuses("merkle.old-root-differs", lambda: merkle.verify_consistency(6, 8, mth(EIGHT[1:7]), ROOT, SIX_EIGHT))
    refuses("merkle.root-differs", lambda: merkle.verify_consistency(6, 8, six, bytes(32), SIX_EIGHT))
    four = merkle.consistency_proof(4, 8, READ)
    refuses("merkle.root-differs", lambda: merkle.verify_consistency(4, 8, six, ROOT, four))


def test_everything_continues_the_empty_tree_without_a_proof() -> None:
    assert not merkle.consistency_proof(0, 8, READ)
    merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, ROOT, ())
    refuses("merkle.old-root-differs", lambda: merkle.verify_consistency(0, 8, ROOT, ROOT, ()))
    refuses("merkle.proof-length", lambda: merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, ROOT, (ROOT,)))


def test_a_tree_continues_itself_only_with_the_same_root() -> None:
    merkle.verify_consistency(8, 8, ROOT, ROOT, ())
    refuses("merkle.root-differs", lambda: merkle.verify_consistency(8, 8, ROOT, bytes(32), ()))
    refuses("merkle.proof-length", lambda: merkle.verify_consistency(8, 8, ROOT, ROOT, (ROOT,)))


def test_a_tree_does_not_continue_a_larger_one() -> None:
    refuses("merkle.size-order", lambda: merkle.verify_consistency(9, 8, ROOT, ROOT, ()))
    refuses("merkle.size-order", lambda: merkle.consistency_proof(9, 8, READ))
    refuses("merkle.size-order", lambda: merkle.root_at(-1, READ))


@pytest.mark.parametrize(
    ("size", "hashes"), [(1, ()), (0, (ROOT,)), (2, (ROOT, ROOT)), (-1, (ROOT,)), (2**63, (ROOT,))]
)
def test_a_frontier_has_one_hash_for_each_full_subtree(size: int, hashes: tuple[bytes, ...]) -> None:
    refuses("merkle.frontier", lambda: merkle.Frontier(size, hashes))


# Vectors of transparency-dev/merkle.


def cases(name: str) -> list[Any]:
    file = VECTORS / f"{name}.json"
    if not file.exists():
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=f"no foreign vectors: {name}.json"))]
    return [pytest.param(case, id=case["name"]) for case in json.loads(file.read_text())]


def raw(case: dict[str, Any], *names: str) -> list[bytes]:
    return [base64.b64decode(case[name]) for name in names]


def agrees(case: dict[str, Any], check: Callable[[], None]) -> None:
    if case["wantErr"]:
        assert refusal(check).startswith("merkle.")
    else:
        check()


@pytest.mark.parametrize("case", cases("inclusion"))
def test_foreign_inclusion_proofs_are_judged_alike(case: dict[str, Any]) -> None:
    leaf, root = raw(case, "leafHash", "root")
    proof = [base64.b64decode(line) for line in case["proof"] or ()]
    agrees(case, lambda: merkle.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root))


@pytest.mark.parametrize("case", cases("consistency"))
def test_foreign_consistency_proofs_are_judged_alike(case: dict[str, Any]) -> None:
    old, new = raw(case, "root1", "root2")
    proof = [base64.b64decode(line) for line in case["proof"] or ()]
    agrees(case, lambda: merkle.verify_consistency(case["size1"], case["size2"], old, new, proof))
