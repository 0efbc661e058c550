"""A log that we write is read, and a log that was changed is refused, by code that is not ours."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import checkpoint, merkle, tiles
from schemas.checkpoint import Checkpoint
from schemas.entry import Opening, opened
from schemas.facts import FactKind, Facts
from schemas.names import Instant, PartyId
from schemas.note import KeyType, VerifierKey
from schemas.signing import Algorithm, PrivateKey

ORIGIN = "example.org/ledger"
KEY, WITNESS = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
Readlog = Callable[..., "subprocess.CompletedProcess[str]"]
FOREIGN = Path(__file__).parents[2] / "../shared/vectors/tlog/log"


PORTAL = PartyId("urn:unefois:portal")


def entry(number: int) -> bytes:
    """Every hundredth one is open, the others are sealed."""
    if number % 100 == 0:
        return opened(Instant(number), Facts(Instant(number), FactKind.EPOCH_DESTROYED, PORTAL)).encode()
    blind = number.to_bytes(32, "big")
    return Opening(blind, None, Facts(Instant(number), FactKind.VIEWED, PORTAL)).seal(Instant(number)).encode()


def write(directory: Path, *sizes: int, first: int = 0) -> None:
    """A log that grew through these sizes, with the checkpoint of each; the last one is `checkpoint`."""
    files: dict[str, bytes] = {}
    frontier = merkle.Frontier()
    for size in sizes:
        entries = [entry(first + number) for number in range(frontier.size, size)]
        files.update(tiles.grow(frontier.size, entries, files.__getitem__))
        frontier = frontier.extend(map(merkle.leaf_hash, entries))
        signed = checkpoint.sign(Checkpoint(ORIGIN, size, frontier.root()), KEY)
        cosigned = signed.plus([checkpoint.cosign(signed, "w.example", WITNESS, KeyType(4), Instant(10**12))])
        files[f"checkpoint.{size}"] = files["checkpoint"] = cosigned.encode()
    files["vkey"] = f"{VerifierKey.of(ORIGIN, KEY).text}\n".encode()
    for path, content in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@pytest.mark.parametrize(
    "sizes",
    [
        *[(0, 1), (1, 255), (255, 256), (1, 256, 257), (256, 511, 513)],
        pytest.param((3, 65_535, 65_536), marks=pytest.mark.proof),
        pytest.param((257, 65_536, 70_000), marks=pytest.mark.proof),
    ],
)
def test_every_entry_and_every_older_checkpoint_is_proven(
    readlog: Readlog, tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    write(tmp_path, *sizes)
    for old in sizes:
        result = readlog(tmp_path, tmp_path / f"checkpoint.{old}")
        assert (f"{sizes[-1]} entries included, consistent from {old}\n", "") == (result.stdout, result.stderr)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 600 entries, not to be written to."""
    directory = tmp_path_factory.mktemp("log")
    write(directory, 300, 600)
    return directory


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("path", ["checkpoint", "vkey", *(tile.path for tile in tiles.tiles_of(600))])
def test_one_flipped_byte_in_any_file_is_found(
    readlog: Readlog, exported: Path, tmp_path: Path, path: str, place: int
) -> None:
    copy = shutil.copytree(exported, tmp_path / "log")
    content = bytearray((copy / path).read_bytes())
    content[place] ^= 1
    (copy / path).write_bytes(content)
    result = readlog(copy, exported / "checkpoint.300")
    assert result.returncode == 1
    assert result.stderr
    assert not result.stdout


@pytest.mark.parametrize("path", ["checkpoint", "vkey", *(tile.path for tile in tiles.tiles_of(600))])
def test_a_missing_file_is_found(readlog: Readlog, exported: Path, tmp_path: Path, path: str) -> None:
    copy = shutil.copytree(exported, tmp_path / "log")
    (copy / path).unlink()
    assert readlog(copy).returncode == 1


def test_a_rewritten_history_is_found_though_each_checkpoint_is_signed(readlog: Readlog, tmp_path: Path) -> None:
    write(tmp_path / "before", 300)
    write(tmp_path / "after", 300, 600, first=1)
    assert readlog(tmp_path / "after", tmp_path / "after/checkpoint.300").returncode == 0
    result = readlog(tmp_path / "after", tmp_path / "before/checkpoint")
    assert result.returncode == 1
    assert "from 300 to 600" in result.stderr


def test_a_checkpoint_of_another_key_is_not_opened(readlog: Readlog, exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "log")
    (copy / "vkey").write_text(VerifierKey.of(ORIGIN, WITNESS).text)
    assert readlog(copy).returncode == 1


@pytest.mark.skipif(not FOREIGN.exists(), reason="no foreign log among the vectors")
def test_the_reader_reads_a_foreign_log_too(readlog: Readlog, tmp_path: Path) -> None:
    copy = tmp_path / "log"
    for file in FOREIGN.rglob("*"):
        if file.is_file():
            target = copy / file.relative_to(FOREIGN)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    shutil.copy(copy / "checkpoint.14", copy / "checkpoint")
    result = readlog(copy, copy / "checkpoint.8")
    assert (result.stdout, result.stderr) == ("14 entries included, consistent from 8\n", "")
