"""Export: a folder that any reader of tlog-tiles can serve and verify, brought up to date and never written over."""

import os
from pathlib import Path

import pytest

from broker.ports import KeyKind
from broker.transparency import export as exporting
from broker.transparency.audits import audit_folder
from broker.transparency.export import export
from schemas import checkpoint, tiles
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, FAMILY, MOVED, World

pytestmark = pytest.mark.asyncio


async def out(here: World, folder: Path) -> exporting.Exported:
    await here.home.ledger.sequence_unfinished()
    return await export(here.home.store, here.home.ledger.verifier_key, folder)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_the_folder_is_a_whole_log_that_verifies_with_its_own_key(here: World, tmp_path: Path) -> None:
    done = await out(here, tmp_path / "log")

    audited = audit_folder(tmp_path / "log")

    assert () == audited.findings
    assert audited.tree is not None
    assert done.size == audited.tree.size == len(await here.entries())
    width = done.size
    assert {"checkpoint", "vkey", f"tile/0/000.p/{width}", f"tile/entries/000.p/{width}"} == files(tmp_path / "log")
    assert here.home.ledger.verifier_key == VerifierKey.parse((tmp_path / "log" / "vkey").read_text().strip())


async def test_exporting_again_writes_what_is_new_and_keeps_what_a_reader_may_be_reading(
    here: World, tmp_path: Path
) -> None:
    first = await out(here, tmp_path)
    await here.give(CAF, MOVED, FAMILY, ["subject"])

    again = await out(here, tmp_path)

    assert (first.size, first.size + 1) == (again.before, again.size)
    assert {f"tile/0/000.p/{first.size}", f"tile/0/000.p/{again.size}"} <= files(tmp_path)
    assert () == audit_folder(tmp_path).findings


async def test_without_news_nothing_of_the_tiles_is_written(here: World, tmp_path: Path) -> None:
    done = await out(here, tmp_path)
    (tmp_path / f"tile/0/000.p/{done.size}").unlink()

    again = await out(here, tmp_path)

    assert 2 == again.files
    assert f"tile/0/000.p/{done.size}" not in files(tmp_path)


async def test_a_tile_that_came_full_takes_the_place_of_its_partial_ones(here: World, tmp_path: Path) -> None:
    first = await out(here, tmp_path)
    async with here.home.store.begin() as tx:
        for _ in range(tiles.WIDTH + 5):
            here.home.recorder.record(tx, FactKind.VIEWED, here.clock())

    await out(here, tmp_path)

    found = files(tmp_path)
    assert {"tile/0/000", "tile/entries/000"} <= found
    assert f"tile/0/000.p/{first.size}" not in found
    assert () == audit_folder(tmp_path).findings


async def test_another_log_is_not_written_over(here: World, tmp_path: Path) -> None:
    await out(here, tmp_path)
    stranger = VerifierKey.of("other.example/log", PrivateKey.generate(Algorithm.ED25519))

    for leave in ("vkey", "checkpoint"):
        kept = (tmp_path / leave).read_bytes()
        (tmp_path / ({"vkey", "checkpoint"} - {leave}).pop()).unlink()
        with pytest.raises(Refused, match=r"export\.other-log"):
            await export(here.home.store, stranger, tmp_path)
        assert kept == (tmp_path / leave).read_bytes()
        await out(here, tmp_path)


async def test_a_history_that_ours_does_not_continue_is_evidence_and_stays(here: World, tmp_path: Path) -> None:
    key = PrivateKey.from_raw(Algorithm.ED25519, here.home.keys.read(KeyKind.LEDGER, "ledger"))
    rewritten = Checkpoint(here.home.ledger.verifier_key.name, 2, bytes(32))
    (tmp_path / "checkpoint").write_bytes(checkpoint.sign(rewritten, key).encode())

    with pytest.raises(Refused) as refused:
        await out(here, tmp_path)

    assert ("export.other-history", {"size": 2}) == (refused.value.code, refused.value.details)


async def test_a_longer_history_than_ours_is_another_one(here: World, tmp_path: Path) -> None:
    key = PrivateKey.from_raw(Algorithm.ED25519, here.home.keys.read(KeyKind.LEDGER, "ledger"))
    longer = Checkpoint(here.home.ledger.verifier_key.name, 10_000, bytes(32))
    (tmp_path / "checkpoint").write_bytes(checkpoint.sign(longer, key).encode())

    with pytest.raises(Refused, match=r"export\.other-history"):
        await out(here, tmp_path)


async def test_an_export_that_was_interrupted_before_its_checkpoint_is_gone_on_with(
    here: World, tmp_path: Path
) -> None:
    await out(here, tmp_path)
    (tmp_path / "checkpoint").unlink()

    done = await out(here, tmp_path)

    assert 0 == done.before
    assert () == audit_folder(tmp_path).findings


async def test_the_checkpoint_appears_after_every_file_that_it_tells_of(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    ordinary = Path.replace

    def replace(self: Path, target: Path) -> Path:
        written.append(target.name)
        return ordinary(self, target)

    monkeypatch.setattr(Path, "replace", replace)

    await out(here, tmp_path)

    assert "vkey" == written[0]
    assert "checkpoint" == written[-1]


async def test_a_folder_that_cannot_be_written_is_tried_again_later(here: World, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")

    with pytest.raises(Unavailable) as away:
        await out(here, tmp_path / "log")

    assert ("export.away", {"error": "FileExistsError"}) == (away.value.code, away.value.details)
    assert ["log"] == [name for name in os.listdir(tmp_path) if name == "log"]
