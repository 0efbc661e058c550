"""The promises of the journal of endings, held against every adapter."""

import asyncio
import itertools
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from broker.ended import ENDING_BYTES, FOREVER, Ending, Endings, Mark, key_of
from broker.endings.file import JOURNAL, MARK, SPENT, FileEndings
from broker.endings.sql import SqlEndings
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.names import Instant
from tests.memory import MemoryEndings, MemoryKeys

pytestmark = pytest.mark.asyncio


@dataclass
class Place:
    """Where a journal lives, opened any number of times."""

    opened_once: Callable[[], Awaitable[Endings]]
    opened: list[Endings] = field(default_factory=list)
    shared: bool = True

    async def open(self) -> Endings:
        self.opened.append(await self.opened_once())
        return self.opened[-1]


@pytest_asyncio.fixture(params=["memory", "file", "sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    keys, memory = MemoryKeys(), MemoryEndings()
    ending_ = AsyncExitStack()
    url = f"sqlite+aiosqlite:///{tmp_path / 'endings.db'}"
    if request.param == "postgres":
        url = await ending_.enter_async_context(request.getfixturevalue("postgres").empty())

    async def in_sql() -> Endings:
        return await SqlEndings.open(url, keys, secrets.token_bytes)

    async def in_memory() -> Endings:
        return memory

    async def in_file() -> Endings:
        return FileEndings.open(tmp_path / "endings", keys, secrets.token_bytes)

    made = Place({"memory": in_memory, "file": in_file}.get(request.param, in_sql))
    yield made
    for one in made.opened:
        await one.close()
    await ending_.aclose()


def ending(number: int, least: int = FOREVER, at: int = 1000, table: str = "api_tokens") -> Ending:
    return Ending.of(table, number.to_bytes(8, "big"), at=at, least=least, actor="self", revoked_at=at, what="é")


async def code_of(call: Awaitable[object], kind: type[Fault]) -> str:
    with pytest.raises(kind) as raised:
        await call
    return raised.value.code


@pytest.mark.parametrize("how", ["file", "sqlite"])
async def test_what_is_spent_and_over_is_forgotten(how: str, tmp_path: Path) -> None:
    keys = MemoryKeys()
    if how == "file":
        journal: Endings = FileEndings.open(tmp_path / "endings", keys, secrets.token_bytes)
    else:
        journal = await SqlEndings.open(f"sqlite+aiosqlite:///{tmp_path / 'endings.db'}", keys, secrets.token_bytes)
    for number in range(5):
        assert await journal.spend(bytes([number]) * 32, Instant(1000 * number), Instant(0))
    assert await journal.spend(bytes([9]) * 32, Instant(10**6), Instant(70_000))
    await journal.close()
    if how == "file":
        left = [each.name for each in (tmp_path / "endings" / SPENT).iterdir() if not each.name.startswith(".")]
    else:
        with closing(sqlite3.connect(tmp_path / "endings.db")) as there:
            left = [f"{until}-{digest.hex()}" for until, digest in there.execute("SELECT until, digest FROM spent")]
    assert [f"{10**6}-{'09' * 32}"] == left


class TestEndings:
    async def test_what_was_written_has_ended_and_nothing_else_has(self, place: Place) -> None:
        journal = await place.open()
        assert not (await journal.look()).ended("api_tokens", bytes(8))
        await journal.write([ending(0)])
        ended = await journal.look()
        assert ended.ended("api_tokens", bytes(8))
        assert not ended.ended("client_keys", bytes(8))
        assert not ended.ended("api_tokens", bytes([0] * 7 + [1]))

    async def test_what_counts_once_is_spent_once_by_whoever_comes_until_it_is_over(self, place: Place) -> None:
        journal, other, once = await place.open(), await place.open(), bytes(range(32))
        assert [True, False] == [await each.spend(once, Instant(2000), Instant(1000)) for each in (journal, other)]
        assert await other.spend(bytes(32), Instant(90_000), Instant(2000))
        for at in (2000, 90_000, 90_000):
            assert not await journal.spend(bytes(32), Instant(90_000), Instant(at))
        assert not (await journal.look()).position

    async def test_of_many_that_spend_the_same_at_once_one_is_first(self, place: Place) -> None:
        journals = [await place.open() for _ in range(4)]
        spends = [each.spend(bytes(32), Instant(2000), Instant(1000)) for each in journals * 3]
        assert 1 == sum(await asyncio.gather(*spends))

    async def test_a_version_below_the_least_has_ended_and_one_from_there_on_has_not(self, place: Place) -> None:
        journal = await place.open()
        await journal.write([ending(1, least=7, table="grants")])
        ended, key = await journal.look(), (1).to_bytes(8, "big")
        assert [True, False, False] == [ended.ended("grants", key, version) for version in (6, 7, 8)]

    async def test_the_least_version_of_a_grant_never_falls(self, place: Place) -> None:
        journal = await place.open()
        await journal.write([ending(1, least=7, table="grants"), ending(1, least=3, table="grants")])
        assert 7 == (await journal.look()).least("grants", (1).to_bytes(8, "big"))

    async def test_what_was_lifted_has_not_ended(self, place: Place) -> None:
        journal = await place.open()
        await journal.write([ending(1)])
        await journal.write([ending(1, least=0)])
        assert not (await journal.look()).ended("api_tokens", (1).to_bytes(8, "big"))

    async def test_a_record_comes_back_as_it_was_written(self, place: Place) -> None:
        journal = await place.open()
        await journal.write([ending(5, least=-3, at=99)])
        found = (await (await place.open()).look()).newest("api_tokens", (5).to_bytes(8, "big"))
        assert ending(5, least=-3, at=99) == found
        assert {"revoked_at": 99, "what": "é"} == ending(5, at=99).told

    async def test_another_that_is_open_sees_it_at_its_next_look(self, place: Place) -> None:
        one, other = await place.open(), await place.open()
        for number in range(3):
            await one.write([ending(number)])
            assert (await other.look()).ended("api_tokens", number.to_bytes(8, "big"))
            await other.write([ending(number + 10)])
            assert (await one.look()).ended("api_tokens", (number + 10).to_bytes(8, "big"))
        assert 6 == (await one.look()).position == (await other.look()).position
        assert one.journal == other.journal

    async def test_many_tasks_write_at_once_and_every_record_is_there_once(self, place: Place) -> None:
        journals = [await place.open() for _ in range(3)]
        await asyncio.gather(*(journals[number % 3].write([ending(number)]) for number in range(60)))
        ended = await (await place.open()).look()
        assert 60 == ended.position
        assert all(ended.ended("api_tokens", number.to_bytes(8, "big")) for number in range(60))

    async def test_records_are_told_in_their_order_from_any_number_on(self, place: Place) -> None:
        journal = await place.open()
        await journal.write([ending(number) for number in (3, 1, 2, 1)])
        found = [(number, int.from_bytes(one.key, "big")) for number, one in (await journal.look()).after(1)]
        assert [(3, 2), (4, 1)] == found

    async def test_a_record_that_is_too_large_is_refused_and_none_of_its_call_is_there(self, place: Place) -> None:
        journal = await place.open()
        large = Ending.of("api_tokens", b"x", at=1, what="x" * ENDING_BYTES)
        assert "endings.too-large" == await code_of(journal.write([ending(1), large]), Refused)
        assert 0 == (await journal.look()).position

    async def test_the_mark_moves_only_for_who_saw_the_newest(self, place: Place) -> None:
        one, other = await place.open(), await place.open()
        assert None is await one.marked()
        first, second = Mark(3, bytes(32), "note", (5, 9, 7)), Mark(4, bytes([1] * 32), "note", (10,))
        await one.move_mark(first, None)
        assert first == await other.marked()
        assert "endings.marked-meanwhile" == await code_of(other.move_mark(second, None), Unavailable)
        await other.move_mark(second, first)
        assert second == await one.marked() == await (await place.open()).marked()
        assert (0, 3) == (first.before, second.before)

    async def test_the_mark_falls_for_no_ledger_but_that_of_another_takes_its_place(self, place: Place) -> None:
        journal = await place.open()
        first, less = Mark(9, bytes(32), "one.example/log\n9\n"), Mark(8, bytes(32), "one.example/log\n8\n")
        await journal.move_mark(first, None)
        assert "ledger.rolled-back" == await code_of(journal.move_mark(less, first), Corrupt)
        successor = Mark(4, bytes(32), "two.example/log\n4\n")
        await journal.move_mark(successor, first)
        assert successor == await (await place.open()).marked()

    async def test_a_mark_of_a_window_of_100_000_entries_fits_before_and_after_a_small_one(self, place: Place) -> None:
        journal, seen = await place.open(), None
        for size in (1, 100_000, 100_001, 1):
            mark = Mark(2**40, bytes(32), "n" * 2000, tuple(range(2**40, 2**40 + size)))
            await journal.move_mark(mark, seen)
            assert mark == await journal.marked() == await (await place.open()).marked()
            seen = mark

    async def test_marks_that_follow_at_once_are_each_seen_by_the_others(self, place: Place) -> None:
        journals = [await place.open() for _ in range(3)]
        seen = None
        for number in range(60):
            mark = Mark(number, bytes(32), "note", (number,))
            await journals[number % 3].move_mark(mark, seen)
            seen = mark

    async def test_a_compaction_keeps_the_newest_of_each_and_all_that_is_young(self, place: Place) -> None:
        journal, other = await place.open(), await place.open()
        old = [ending(1, least=1, table="grants"), ending(1, least=2, table="grants"), ending(2), ending(2)]
        await journal.write([*old, ending(3, at=5000), ending(3, at=5000)])
        await other.look()
        assert 2 == await journal.compact(Instant(2000), {})
        for each in (journal, other, await place.open()):
            ended = await each.look()
            assert [2, 4, 6] == [number for number, _ in ended.after(0)]
            assert 6 == ended.position
        await other.write([ending(9)])
        assert 7 == (await journal.look()).position
        assert 0 == await journal.compact(Instant(2000), {})

    async def test_a_consent_that_is_over_needs_no_record_once_nothing_can_open_it(self, place: Place) -> None:
        journal = await place.open()
        over = Ending.of("grants", b"over", at=1, least=2, status="revoked")
        paused = Ending.of("grants", b"paused", at=1, least=2, status="paused")
        await journal.write([over, paused, ending(1), ending(2)])
        assert 1 == await journal.compact(Instant(5000), {"grants": Instant(2)})
        ended = await journal.look()
        assert [0, 2] == [ended.least("grants", key) for key in (b"over", b"paused")]
        assert ended.ended("api_tokens", (1).to_bytes(8, "big"))


async def test_a_key_is_the_objects_own_or_made_of_its_parts() -> None:
    assert b"\x01\x02" == key_of(b"\x01\x02")
    assert b"7" == key_of(7)
    assert b"urn:a\x00b\x005" == key_of("urn:a", "b", 5)


# ── the database alone ──────────────────────────────────────────────────────────────────────────────────────────────

TAMPERINGS: dict[str, tuple[str, str]] = {
    "cut out": ("DELETE FROM endings WHERE number = 2", "endings.damaged"),
    "cut off": ("DELETE FROM endings WHERE number = 4", "endings.cut"),
    "edited": (
        "UPDATE endings SET frame = CAST(substr(frame, 1, 40) || x'00' AS BLOB) WHERE number = 3",
        "endings.damaged",
    ),
    "renumbered": ("UPDATE endings SET number = 9 WHERE number = 1", "endings.damaged"),
    "gone": ("DELETE FROM journal", "endings.lost"),
}


@pytest.mark.parametrize("kind", sorted(TAMPERINGS))
async def test_who_administers_the_journals_database_changes_nothing_unseen(tmp_path: Path, kind: str) -> None:
    keys, file = MemoryKeys(), tmp_path / "endings.db"
    url = f"sqlite+aiosqlite:///{file}"
    journal = await SqlEndings.open(url, keys, secrets.token_bytes)
    for number in range(4):
        await journal.write([ending(number)])
    statement, code = TAMPERINGS[kind]
    with closing(sqlite3.connect(file)) as database:
        assert not [row for row in database.execute("SELECT frame FROM endings") if b"api_tokens" in row[0]]
        database.execute(statement)
        database.commit()

    async def looked() -> None:
        seen = journal if kind == "cut off" else await SqlEndings.open(url, keys, secrets.token_bytes)
        try:
            await seen.look()
        finally:
            await seen.close()

    assert code == await code_of(looked(), Corrupt)
    await journal.close()


async def test_a_journal_whose_database_is_away_ends_nothing(tmp_path: Path) -> None:
    keys, file = MemoryKeys(), tmp_path / "endings.db"
    journal = await SqlEndings.open(f"sqlite+aiosqlite:///{file}", keys, secrets.token_bytes)
    await journal.close()
    file.rename(tmp_path / "elsewhere")
    file.mkdir()
    assert "endings.away" == await code_of(journal.write([ending(1)]), Unavailable)
    assert "endings.away" == await code_of(journal.look(), Unavailable)
    await journal.close()


# ── the file alone ──────────────────────────────────────────────────────────────────────────────────────────────────


class Kept:
    """A journal in a file, and its key."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys = folder, MemoryKeys()
        self.file = folder / JOURNAL

    def open(self) -> FileEndings:
        return FileEndings.open(self.folder, self.keys, secrets.token_bytes)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "endings")


def frames(content: bytes) -> list[bytes]:
    """The header, then each frame."""
    found, at = [content[:42]], 42
    while at < len(content):
        size = 4 + int.from_bytes(content[at : at + 4], "big")
        found.append(content[at : at + size])
        at += size
    return found


async def written(kept: Kept, count: int = 4) -> FileEndings:
    journal = kept.open()
    for number in range(count):
        await journal.write([ending(number)])
    return journal


async def test_nothing_of_a_record_can_be_read_in_the_file(kept: Kept) -> None:
    await (kept.open()).write([Ending.of("grants", b"CANARY-key", at=1, actor="CANARY-actor", what="CANARY-act")])
    assert b"CANARY" not in kept.file.read_bytes()
    assert 0o600 == kept.file.stat().st_mode & 0o777
    assert 0o700 == kept.folder.stat().st_mode & 0o777


DAMAGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a record in the middle is cut out": lambda all_: [*all_[:2], *all_[3:]],
    "the first record is cut out": lambda all_: [all_[0], *all_[2:]],
    "two records change places": lambda all_: [all_[0], all_[2], all_[1], *all_[3:]],
    "a record is repeated": lambda all_: [*all_, all_[-1]],
    "a record of the beginning is repeated": lambda all_: [*all_, all_[1]],
    "a byte of a record is another": lambda all_: [*all_[:2], all_[2][:-1] + bytes([all_[2][-1] ^ 1]), *all_[3:]],
    "a byte of the last record is another": lambda all_: [*all_[:-1], all_[-1][:-1] + bytes([all_[-1][-1] ^ 1])],
    "a number is another": lambda all_: [*all_[:2], all_[2][:11] + b"\x09" + all_[2][12:], *all_[3:]],
    "a length is another": lambda all_: [*all_[:2], b"\x00\x00\x00\x20" + all_[2][4:], *all_[3:]],
    "a length is beyond all bounds": lambda all_: [*all_[:2], b"\x7f" + all_[2][1:], *all_[3:]],
    "the header is another": lambda all_: [all_[0][:-1] + bytes([all_[0][-1] ^ 1]), *all_[1:]],
    "the header is none": lambda all_: [b"x" * 42, *all_[1:]],
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
async def test_what_was_edited_moved_or_cut_out_is_found_by_whoever_opens_it(kept: Kept, damage: str) -> None:
    await written(kept)
    whole = frames(kept.file.read_bytes())
    assert 5 == len(whole)
    kept.file.write_bytes(b"".join(DAMAGES[damage](whole)))
    with pytest.raises(Corrupt, match=r"endings\.damaged"):
        kept.open()


async def test_what_was_cut_off_at_the_end_is_found_by_whoever_saw_it(kept: Kept) -> None:
    journal = await written(kept)
    whole = frames(kept.file.read_bytes())
    kept.file.write_bytes(b"".join(whole[:-1]))
    assert "endings.cut" == await code_of(journal.look(), Corrupt)
    assert "endings.cut" == await code_of(journal.write([ending(9)]), Corrupt)


@pytest.mark.parametrize("left", ["1 byte", "its length", "half", "all but a byte", "zeros", "zeros for a tag", "more"])
async def test_a_last_record_that_a_power_cut_tore_is_cut_off_by_the_next_writer(kept: Kept, left: str) -> None:
    journal = await written(kept)
    before, torn = kept.file.read_bytes(), frames(kept.file.read_bytes())[-1]
    rests = {
        "1 byte": torn[:1],
        "its length": torn[:4],
        "half": torn[: len(torn) // 2],
        "all but a byte": torn[:-1],
        "zeros": bytes(100),
        "zeros for a tag": torn[:-16] + bytes(16),
        "more": (50_000).to_bytes(4, "big") + torn[4:] * 9,
    }
    with kept.file.open("ab") as file:
        file.write(rests[left])
    opened = kept.open()
    assert 4 == (await opened.look()).position == (await journal.look()).position
    assert len(before) < kept.file.stat().st_size
    await opened.write([ending(9)])
    assert kept.file.read_bytes().startswith(before)
    assert 5 == (await journal.look()).position == (await kept.open().look()).position


async def test_a_mark_that_a_power_cut_tore_is_not_the_mark(kept: Kept) -> None:
    journal = kept.open()
    first, second = Mark(3, bytes(32), "note", (1,)), Mark(4, bytes(32), "note", (2,))
    await journal.move_mark(first, None)
    torn = kept.folder / ".unfinished"
    torn.write_bytes((kept.folder / MARK).read_bytes()[:40])
    torn.chmod(0o600)
    assert first == await journal.marked() == await kept.open().marked()
    await journal.move_mark(second, first)
    assert second == await kept.open().marked()
    assert sorted(each.name for each in kept.folder.iterdir()) == [JOURNAL, MARK, SPENT]


@pytest.mark.parametrize(
    "damage", [lambda all_: all_[:-1], lambda all_: all_ + b"x", lambda all_: all_[:9], bytes.swapcase]
)
async def test_a_mark_that_was_edited_is_none(kept: Kept, damage: Callable[[bytes], bytes]) -> None:
    journal = kept.open()
    await journal.move_mark(Mark(3, bytes(32), "note", (1,)), None)
    (kept.folder / MARK).write_bytes(damage((kept.folder / MARK).read_bytes()))
    assert "endings.damaged" == await code_of(journal.marked(), Corrupt)


async def test_a_full_disk_ends_nothing_and_spoils_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await written(kept)
    real = os.pwrite

    def full(descriptor: int, content: bytes, offset: int) -> int:
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[: len(content) // 2], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert "endings.away" == await code_of(journal.write([ending(9)]), Unavailable)
    assert 4 == (await journal.look()).position == (await kept.open().look()).position
    await journal.write([ending(10)])
    assert 5 == (await kept.open().look()).position


async def test_a_journal_that_is_gone_is_missed(kept: Kept) -> None:
    await written(kept)
    os.rename(kept.file, kept.folder / "elsewhere")
    with pytest.raises(Corrupt, match=r"endings\.lost"):
        kept.open()


async def test_a_journal_without_its_key_is_not_begun_anew(kept: Kept) -> None:
    await written(kept)
    kept.keys = MemoryKeys()
    with pytest.raises(Corrupt, match=r"endings\.no-key"):
        kept.open()
    assert 5 == len(frames(kept.file.read_bytes()))


async def test_a_journal_that_others_can_open_is_refused(kept: Kept) -> None:
    await written(kept)
    kept.file.chmod(0o640)
    with pytest.raises(Refused, match=r"endings\.readable-by-others"):
        kept.open()


async def test_a_look_at_what_has_not_changed_opens_no_file(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await written(kept)
    monkeypatch.setattr(os, "open", None)
    assert 4 == (await journal.look()).position


WRITER = """
import asyncio, secrets, sys
from pathlib import Path
from broker.ended import Ending
from broker.endings.file import FileEndings
from broker.keys.file import FileKeys

async def main(folder, first):
    keys = FileKeys.open(Path(folder) / "keys", secrets.token_bytes)
    journal = FileEndings.open(Path(folder) / "endings", keys, secrets.token_bytes)
    for number in range(first, first + 40):
        await journal.write([Ending.of("api_tokens", number.to_bytes(8, "big"), at=1)])
        if number % 10 == 0:
            await journal.compact(5, {})

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_processes_that_begin_write_and_compact_at_once_lose_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen([*command, str(first)], cwd=root) for first in itertools.islice(range(0, 1000, 100), 3)]
    assert [0, 0, 0] == [one.wait() for one in running]
    from broker.keys.file import FileKeys

    keys = FileKeys.open(tmp_path / "keys", secrets.token_bytes)
    ended = await FileEndings.open(tmp_path / "endings", keys, secrets.token_bytes).look()
    assert 120 == ended.position
    assert 120 == len(ended.after(0))
