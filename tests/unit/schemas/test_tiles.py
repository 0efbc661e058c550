"""Tiles: a log grown in any steps is the same files; proofs come out of them; foreign logs are read."""

import base64
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import merkle, tiles
from schemas.errors import Refused
from schemas.tiles import ENTRIES, Tile
from tests.examples import examples

LOG = Path(__file__).parents[3] / "../shared/vectors/tlog/log"
SPOKEN = "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten"
WORDS = [word.encode() for word in SPOKEN.split()]
foreign = pytest.mark.skipif(not LOG.exists(), reason="no foreign log among the vectors")


def refuses(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


def entries_of(start: int, end: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(start, end)]


def grown(*sizes: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    old = 0
    for size in sizes:
        files.update(tiles.grow(old, entries_of(old, size), files.__getitem__))
        old = size
    return files


def root_of(size: int) -> bytes:
    return merkle.root_of(map(merkle.leaf_hash, entries_of(0, size)))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999, 1), "tile/0/999.p/1"),
        (Tile(7, 1000), "tile/7/x001/000"),
        (Tile(1, 1_234_067, 255), "tile/1/x001/x234/067.p/255"),
        (Tile(ENTRIES, 70_000), "tile/entries/x070/000"),
        (Tile(ENTRIES, 0, 12), "tile/entries/000.p/12"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert path == tile.path
    assert tile == Tile.parse(path)


@given(st.integers(-1, 7), st.integers(0, 10**21 - 1), st.integers(1, 256))
@examples(60)
def test_every_tile_comes_back_from_its_path(level: int, index: int, width: int) -> None:
    assert Tile(level, index, width) == Tile.parse(Tile(level, index, width).path)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/x000/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000/",
        "tile/0/٠٠٠",
        "/tile/0/000",
        "tile/0/../0/000",
        "tile/data/000",
        "tile/0/000\n",
        "checkpoint",
        "",
    ],
)
def test_a_path_in_another_spelling_is_refused(path: str) -> None:
    refuses("tiles.path", lambda: Tile.parse(path))


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-2, 0, 1), (8, 0, 1), (0, -1, 1), (0, 10**21, 1), (0, 0, 0), (0, 0, 257)]
)
def test_a_tile_that_no_log_has_is_refused(level: int, index: int, width: int) -> None:
    refuses("tiles.tile", lambda: Tile(level, index, width))


def test_a_log_of_seventy_thousand_entries_has_the_tiles_that_the_specification_counts() -> None:
    found = tiles.tiles_of(70_000)
    hashes = [(0, 256)] * 273 + [(0, 112), (1, 256), (1, 17), (2, 1)]
    bundles = [256] * 273 + [112]
    assert hashes == [(tile.level, tile.width) for tile in found if tile.level != ENTRIES]
    assert bundles == [tile.width for tile in found if tile.level == ENTRIES]


def test_a_log_of_256_entries_has_a_full_tile_and_one_hash_above() -> None:
    expected = ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert expected == [tile.path for tile in tiles.tiles_of(256)]


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        (8, 9, ["tile/entries/000.p/9", "tile/0/000.p/9"]),
        (9, 9, []),
        (300, 500, ["tile/entries/001.p/244", "tile/0/001.p/244"]),
        (255, 256, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]),
        (256, 257, ["tile/entries/001.p/1", "tile/0/001.p/1"]),
        (
            255,
            300,
            ["tile/entries/000", "tile/entries/001.p/44", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"],
        ),
    ],
)
def test_only_what_changed_is_written(old: int, new: int, paths: list[str]) -> None:
    assert paths == [tile.path for tile in tiles.changed(old, new)]
    assert paths == list(tiles.grow(old, entries_of(old, new), grown(old).__getitem__))


def test_a_log_grows_into_its_highest_level() -> None:
    def last_before(path: str) -> bytes:
        tile = Tile.parse(path)
        assert tile.width == 255
        return tiles.encode_bundle([b""] * 255) if tile.level == ENTRIES else bytes(255 * 32)

    written = tiles.grow(2**56 - 1, [b"x"], last_before)
    assert "tile/7/000.p/1" in written
    assert [tile.path for tile in tiles.changed(2**56 - 1, 2**56)] == list(written)


@given(st.lists(st.integers(0, 900), max_size=5))
@examples(25)
def test_however_the_log_grew_the_files_of_its_size_are_the_same(steps: list[int]) -> None:
    sizes = sorted(steps)
    files = grown(*sizes)
    last = sizes[-1] if sizes else 0
    whole = grown(last)
    assert [tile.path for tile in tiles.tiles_of(last)] == list(whole)
    assert whole == {path: files[path] for path in whole}


def test_two_levels_of_tiles_grow_and_prove() -> None:
    size = 66_000
    files = grown(100, 65_500, 65_537, size)
    read = tiles.hash_reader(size, files.__getitem__)
    root = root_of(size)
    assert root == merkle.root_at(size, read)
    for index in (0, 255, 256, 65_535, 65_536, size - 1):
        proof = merkle.inclusion_proof(index, size, read)
        merkle.verify_inclusion(merkle.leaf_hash(b"entry %d" % index), index, size, proof, root)
    for old in (1, 100, 256, 65_536, 65_537):
        proof = merkle.consistency_proof(old, size, read)
        merkle.verify_consistency(old, size, merkle.root_at(old, read), root, proof)
    assert entries_of(0, size) == list(tiles.verified_entries(size, root, files.__getitem__))


def test_a_partial_file_that_was_deleted_is_cut_from_the_full_one() -> None:
    files = grown(256)
    read = tiles.hash_reader(200, files.__getitem__)
    assert root_of(200) == merkle.root_at(200, read)
    assert entries_of(0, 200) == list(tiles.entries_at(Tile(ENTRIES, 0, 200), files.__getitem__))


def test_a_hash_outside_the_tree_is_absent() -> None:
    read = tiles.hash_reader(10, grown(10).__getitem__)
    assert merkle.leaf_hash(b"entry 9") == read(0, 9)
    refuses("tiles.absent", lambda: read(0, 10))
    refuses("tiles.absent", lambda: read(2, 2))
    refuses("tiles.absent", lambda: read(8, 0))
    refuses("tiles.absent", lambda: tiles.tile_at(0, 1, 256))


def test_a_missing_file_is_absent_and_another_failure_passes_through() -> None:
    refuses("tiles.absent", lambda: merkle.root_at(10, tiles.hash_reader(10, {}.__getitem__)))
    refuses("tiles.absent", lambda: tiles.grow(10, [b"x"], {}.__getitem__))

    def broken(path: str) -> bytes:
        raise PermissionError

    with pytest.raises(PermissionError):
        tiles.grow(10, [b"x"], broken)


@pytest.mark.parametrize("length", [0, 31, 319, 321, 8192])
def test_a_tile_of_another_length_is_refused(length: int) -> None:
    refuses("tiles.tile-length", lambda: tiles.hashes_at(Tile(0, 0, 10), lambda path: bytes(length)))


@pytest.mark.parametrize(
    ("content", "width"),
    [(b"", 1), (b"\x00", 1), (b"\x00\x01", 1), (b"\x00\x01ab", 1), (b"\x00\x01a", 2), (b"\x00\x01a\x00\x00", 1)],
)
def test_a_bundle_with_more_or_less_than_its_entries_is_refused(content: bytes, width: int) -> None:
    refuses("tiles.bundle", lambda: tiles.decode_bundle(content, width))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
@examples(40)
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert tuple(entries) == tiles.decode_bundle(tiles.encode_bundle(entries), len(entries))


def test_an_entry_may_be_65535_bytes_and_no_more() -> None:
    assert (bytes(65_535),) == tiles.decode_bundle(tiles.encode_bundle([bytes(65_535)]), 1)
    refuses("tiles.entry-too-long", lambda: tiles.encode_bundle([b"", bytes(65_536)]))
    refuses("tiles.entry-too-long", lambda: tiles.grow(0, [bytes(65_536)], {}.__getitem__))


# Reading a log that somebody may have changed.


def read_all(files: dict[str, bytes], size: int = 600) -> list[bytes]:
    return list(tiles.verified_entries(size, root_of(size), files.__getitem__))


@pytest.mark.parametrize("path", [tile.path for tile in tiles.tiles_of(600)])
def test_one_flipped_bit_anywhere_in_the_log_is_found(path: str) -> None:
    files = grown(600)
    assert entries_of(0, 600) == read_all(files)
    content = bytearray(files[path])
    place = random.Random(path).randrange(len(content))
    content[place] ^= 1 << place % 8
    with pytest.raises(Refused):
        read_all({**files, path: bytes(content)})


def test_a_changed_entry_is_found_against_its_leaf_hash() -> None:
    files = grown(600)
    forged = files["tile/entries/001"].replace(b"entry 300", b"entry 3O0")
    refuses("tiles.hash-differs", lambda: read_all({**files, "tile/entries/001": forged}))


def test_a_tile_that_does_not_fit_the_one_below_is_found() -> None:
    files = grown(600)
    forged = files["tile/1/000.p/2"][:32] + bytes(32)
    refuses("tiles.hash-differs", lambda: read_all({**files, "tile/1/000.p/2": forged}))


def test_another_log_that_fits_together_has_another_root() -> None:
    other = tiles.grow(0, entries_of(1, 601), {}.__getitem__)
    refuses("merkle.root-differs", lambda: read_all(dict(other)))


def test_tiles_are_checked_before_the_first_entry_comes_out() -> None:
    files = grown(600)
    files["tile/0/002.p/88"] = bytes(88 * 32)
    refuses("merkle.root-differs", lambda: tiles.verified_entries(600, root_of(600), files.__getitem__))


def test_a_log_without_entries_has_no_files() -> None:
    assert not tiles.tiles_of(0)
    assert not tiles.grow(0, [], {}.__getitem__)
    assert not list(tiles.verified_entries(0, merkle.EMPTY_ROOT, {}.__getitem__))


# The log of transparency-dev/tessera.


@foreign
def test_a_foreign_log_is_written_byte_for_byte() -> None:
    files: dict[str, bytes] = {}
    for size, word in enumerate(WORDS):
        files.update(tiles.grow(size, [word], files.__getitem__))
    theirs = {str(file.relative_to(LOG)): file.read_bytes() for file in (LOG / "tile").rglob("*") if file.is_file()}
    assert theirs == files


@foreign
@pytest.mark.parametrize("size", [0, 2, 4, 6, 8, 10, 12, 14])
def test_a_foreign_log_is_read_against_its_checkpoints(size: int) -> None:
    root = base64.b64decode((LOG / f"checkpoint.{size}").read_text().split("\n")[2])
    entries = tiles.verified_entries(size, root, lambda path: (LOG / path).read_bytes())
    assert WORDS[:size] == list(entries)
