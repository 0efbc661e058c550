"""Audits: a whole ledger judged by its files alone; each thing that may be wrong is found, and nothing else."""

from pathlib import Path

import pytest

from broker.transparency.audits import MOST_TOLD, audit_folder, audit_log, files_in, grown
from schemas import checkpoint, merkle, tiles
from schemas.checkpoint import Checkpoint
from schemas.entry import EntryKind, Opening
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind, Facts
from schemas.names import Instant, PartyId, Reason
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.sealed import sealed

KEY = PrivateKey.from_raw(Algorithm.ED25519, b"l" * 32)
VKEY = VerifierKey.of("log.example", KEY)
APPLIED_ALONE = sealed(2_000, EntryKind.APPLIED)


def log_of(folder: Path, entries: list[bytes], key: PrivateKey = KEY) -> Path:
    """A log in a folder, signed."""
    for path, content in tiles.grow(0, entries, files_in(folder)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    root = merkle.root_of([merkle.leaf_hash(entry) for entry in entries])
    signed = checkpoint.sign(Checkpoint(VKEY.name, len(entries), root), key)
    (folder / "checkpoint").write_bytes(signed.encode())
    (folder / "vkey").write_text(f"{VKEY.text}\n")
    return folder


def codes(folder: Path, key: VerifierKey | None = VKEY) -> list[str]:
    return [fault.code for fault in audit_folder(folder, key).findings]


def test_a_log_in_order_has_no_finding_and_tells_its_size_and_root(tmp_path: Path) -> None:
    entries = [sealed(number) for number in range(300)]
    audited = audit_folder(log_of(tmp_path, entries), VKEY)

    assert () == audited.findings
    assert audited.tree is not None
    assert (300, merkle.root_of([merkle.leaf_hash(each) for each in entries])) == (
        audited.tree.size,
        audited.tree.root,
    )


def test_whether_the_key_lay_beside_the_log_is_told(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(1)])

    assert (True, False) == (audit_folder(tmp_path, VKEY).pinned, audit_folder(tmp_path).pinned)


def test_a_checkpoint_that_another_key_signed_is_the_only_finding(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(1)], PrivateKey.from_raw(Algorithm.ED25519, b"x" * 32))

    audited = audit_folder(tmp_path, VKEY)

    assert ["checkpoint.not-signed"] == [fault.code for fault in audited.findings]
    assert None is audited.tree


def test_one_byte_of_an_entry_is_found_with_its_bundle(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(number) for number in range(3)])
    bundle = tmp_path / "tile/entries/000.p/3"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"\xff")

    (fault,) = audit_folder(tmp_path, VKEY).findings

    assert ("tiles.hash-differs", tiles.ENTRIES) == (fault.code, fault.details["level"])


def test_one_byte_of_a_tile_is_found(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(number) for number in range(3)])
    tile = tmp_path / "tile/0/000.p/3"
    tile.write_bytes(b"\xff" + tile.read_bytes()[1:])

    assert ["merkle.root-differs"] == codes(tmp_path)


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(1)])
    (tmp_path / "tile/entries/000.p/1").unlink()

    assert ["tiles.absent"] == codes(tmp_path)


def test_bytes_that_are_no_entry_are_found_with_their_number(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(1), b"\x02no entry"])

    (fault,) = audit_folder(tmp_path, VKEY).findings

    assert fault.pointer.startswith("/1")


def test_a_broken_rule_of_the_house_is_found_with_its_number_and_name(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(1), APPLIED_ALONE, sealed(3, EntryKind.RELEASED, b"o" * 16)])

    found = audit_folder(tmp_path, VKEY).findings

    assert [
        ("audits.rule", "/1", "applied-without-release"),
        ("audits.rule", "/2", "released-without-plan"),
    ] == [(fault.code, fault.pointer, fault.details["rule"]) for fault in found]


def test_findings_have_an_end(tmp_path: Path) -> None:
    log_of(tmp_path, [APPLIED_ALONE] * (MOST_TOLD + 5))

    assert MOST_TOLD == len(audit_folder(tmp_path, VKEY).findings)


@pytest.mark.parametrize("missing", ["checkpoint", "vkey"])
def test_a_folder_without_checkpoint_or_key_is_no_log(tmp_path: Path, missing: str) -> None:
    log_of(tmp_path, [sealed(1)])
    (tmp_path / missing).unlink()

    with pytest.raises(Refused) as refused:
        audit_folder(tmp_path)

    assert ("audits.no-log", str(tmp_path)) == (refused.value.code, refused.value.details["file"])


def test_a_folder_that_is_none_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Refused, match=r"audits\.no-log"):
        audit_folder(tmp_path / "file")


def test_a_disk_that_does_not_answer_is_no_verdict(tmp_path: Path) -> None:
    log_of(tmp_path, [sealed(1)])
    (tmp_path / "checkpoint").unlink()
    (tmp_path / "checkpoint").mkdir()

    with pytest.raises(Unavailable) as away:
        audit_folder(tmp_path)

    assert ("audits.away", "IsADirectoryError") == (away.value.code, away.value.details["error"])


def test_a_note_that_is_none_is_a_finding() -> None:
    def nothing(path: str) -> bytes:
        raise LookupError(path)

    assert ["note.no-signature"] == [each.code for each in audit_log(b"nothing", VKEY, nothing, pinned=True).findings]


def test_a_ledger_that_only_grew_has_its_proof(tmp_path: Path) -> None:
    entries = [sealed(number) for number in range(7)]
    log_of(tmp_path, entries)
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    old = Checkpoint(VKEY.name, 3, merkle.root_of(leaves[:3]))
    new = Checkpoint(VKEY.name, 7, merkle.root_of(leaves))

    found = grown(old, new, files_in(tmp_path))

    merkle.verify_consistency(3, 7, old.root, new.root, found.proof)


def test_a_ledger_whose_past_was_rewritten_has_none(tmp_path: Path) -> None:
    entries = [sealed(number) for number in range(7)]
    log_of(tmp_path, entries)
    new = Checkpoint(VKEY.name, 7, merkle.root_of([merkle.leaf_hash(entry) for entry in entries]))

    with pytest.raises(Refused, match=r"merkle\.old-root-differs"):
        grown(Checkpoint(VKEY.name, 3, bytes(32)), new, files_in(tmp_path))


def test_a_refusal_in_the_ledger_is_no_finding(tmp_path: Path) -> None:
    at = Instant(1)
    refused = Facts(at=at, kind=FactKind.REFUSED, actor=PartyId("urn:unefois:broker"), reason=Reason.STALE)

    assert [] == codes(log_of(tmp_path, [Opening(bytes(32), None, refused).seal(at).encode()]))
