"""The file connector: complete files, each row once for ever, whatever crashes."""

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Applied, Ground, Reject, Retry
from connectors.file.connector import FileConnector
from connectors.file.folder import Folder as Place
from connectors.journal import Journal
from connectors.rehearsal import Rehearsal
from schemas.delivery import VerifiedDelivery
from schemas.errors import Corrupt, Refused, Unavailable

TARGETS = ("NOM", "VILLE")
NAME = "unefois-20261102-000001.csv"


class Crash(Exception):
    """The process dies here."""


class Folder:
    """A folder, and a connector that can be opened again and again on it."""

    def __init__(self, path: Path, ground: Ground) -> None:
        self.path, self.ground = path, ground

    async def open(self, **settings: Any) -> FileConnector:
        return await FileConnector.open({"folder": str(self.path)} | settings, TARGETS, self.ground)

    async def run(self, *written: tuple[VerifiedDelivery, dict[str, object]], **settings: Any) -> list[str | None]:
        """One run: open, write each, flush, close."""
        connector = await self.open(**settings)
        try:
            references = [await connector.write(delivery, row) for delivery, row in written]
            await connector.flush()
        finally:
            await connector.close()
        return references

    def names(self) -> list[str]:
        return sorted(each.name for each in self.path.iterdir() if not each.name.startswith(".unefois-journal"))

    def text(self, name: str = NAME) -> str:
        return (self.path / name).read_bytes().decode()


@pytest.fixture
def folder(tmp_path: Path, ground: Ground) -> Folder:
    return Folder(tmp_path, ground)


def row(name: str, town: str | None = "Rennes") -> dict[str, object]:
    return {"NOM": name, "VILLE": town}


@pytest.mark.asyncio
async def test_a_run_gives_one_complete_file_with_a_header_and_numbered_lines(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    references = await folder.run((declared(), row("Aubépin")), (declared(), row("Brocélys", None)))
    assert [f"{NAME}:2", f"{NAME}:3"] == references
    assert [NAME] == folder.names()
    assert "NOM;VILLE\r\nAubépin;Rennes\r\nBrocélys;\r\n" == folder.text()
    assert 0o640 == stat.S_IMODE((folder.path / NAME).stat().st_mode)


@pytest.mark.asyncio
async def test_a_call_that_is_given_up_ends_before_the_next_one_begins(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    connector, ordinary = await folder.open(), os.fsync
    inside, go = threading.Event(), threading.Event()

    def held(descriptor: int) -> None:
        inside.set()
        go.wait()
        ordinary(descriptor)

    delivery = declared()
    await connector.write(delivery, row("Aubépin"))
    monkeypatch.setattr(os, "fsync", held)
    late = asyncio.create_task(connector.flush())
    await asyncio.to_thread(inside.wait)
    late.cancel()
    next_one = asyncio.create_task(connector.write(delivery, row("Aubépin")))
    for _ in range(10):
        await asyncio.sleep(0)
    states = late.done(), next_one.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await late
    await next_one
    await connector.flush()
    await connector.close()
    assert ((False, False), "NOM;VILLE\r\nAubépin;Rennes\r\n") == (states, folder.text())


@pytest.mark.asyncio
async def test_a_run_without_rows_gives_no_file(folder: Folder) -> None:
    await folder.run()
    assert [] == folder.names()


@pytest.mark.asyncio
async def test_nothing_is_visible_before_the_flush(folder: Folder, declared: Callable[..., VerifiedDelivery]) -> None:
    connector = await folder.open()
    delivery = declared()
    await connector.write(delivery, row("Aubépin"))
    assert [] == folder.names()
    assert None is await connector.find(delivery.delivery_id)
    assert delivery.manifest_digest == await connector.seen(delivery.source, delivery.declaration_id)
    await connector.close()
    assert [] == folder.names()


@pytest.mark.asyncio
async def test_each_run_has_its_own_numbered_file(folder: Folder, declared: Callable[..., VerifiedDelivery]) -> None:
    await folder.run((declared(), row("a")))
    await folder.run((declared(), row("b")))
    assert [NAME, NAME.replace("1.csv", "2.csv")] == folder.names()


@pytest.mark.asyncio
async def test_a_delivery_is_one_row_for_ever_even_when_the_agency_has_taken_the_file(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    delivery = declared()
    (first,) = await folder.run((delivery, row("a")))
    (folder.path / NAME).unlink()
    again = await folder.run((delivery, row("changed")), (delivery, row("changed")))
    assert ([first, first], []) == (again, folder.names())
    connector = await folder.open()
    assert Applied(first) == await connector.find(delivery.delivery_id)
    assert delivery.manifest_digest == await connector.seen(delivery.source, delivery.declaration_id)
    await connector.close()


@pytest.mark.asyncio
async def test_a_delivery_written_twice_in_one_run_is_one_row(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    delivery = declared()
    references = await folder.run((delivery, row("a")), (delivery, row("a")))
    assert (1, 2) == (len(set(references)), folder.text().count("\r\n"))


@pytest.mark.asyncio
async def test_a_row_that_cannot_be_written_is_rejected_and_the_others_are_written(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    connector = await folder.open(encoding="iso-8859-1")
    await connector.write(declared(), row("Aubépin"))
    bad = declared()
    with pytest.raises(Reject) as caught:
        await connector.write(bad, row("Cœur"))
    assert ("file.encoding", "/NOM") == (caught.value.code, caught.value.pointer)
    with pytest.raises(Reject) as caught:
        await connector.write(bad, row("x") | {"VILLE": True})
    assert ("connector.cell", "/VILLE") == (caught.value.code, caught.value.pointer)
    await connector.flush()
    await connector.close()
    assert b"NOM;VILLE\r\nAub\xe9pin;Rennes\r\n" == (folder.path / NAME).read_bytes()


@pytest.mark.asyncio
async def test_a_delivery_already_written_is_found_even_if_its_row_would_now_be_rejected(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    delivery = declared()
    (first,) = await folder.run((delivery, row("Cœur")))
    assert [first] == await folder.run((delivery, row("Cœur")), encoding="iso-8859-1")


@pytest.mark.asyncio
async def test_the_settings_shape_the_file(folder: Folder, declared: Callable[..., VerifiedDelivery]) -> None:
    (reference,) = await folder.run(
        (declared(), {"NOM": "=1+1"}),
        name="A{number}.txt",
        header=False,
        line_end="lf",
        delimiter="\t",
        quote="all",
        encoding="utf-8-sig",
        permissions="0600",
        guard=False,
    )
    path = folder.path / "A000001.txt"
    assert "A000001.txt:1" == reference
    assert b'\xef\xbb\xbf"=1+1"\t""\n' == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.asyncio
async def test_each_step_is_on_the_disk_before_the_next_begins(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def watched(owner: Any, name: str, step: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def spy(*arguments: Any) -> object:
            steps.append(step(*arguments))
            return real(*arguments)

        monkeypatch.setattr(owner, name, spy)

    watched(os, "fsync", lambda descriptor: "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
    watched(Path, "rename", lambda *_: "rename")
    watched(Journal, "record", lambda *_: "record")
    watched(Journal, "publish", lambda *_: "publish")
    await folder.run((declared(), row("one")))
    assert ["file", "folder", "record", "rename", "folder", "publish"] == steps


STEPS = ("temporary", "recorded", "renamed")


def dying(monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool) -> None:
    """Make the process die before or after one step of a flush."""
    owner, name = {
        "temporary": (Place, "_hide"),
        "recorded": (Journal, "record"),
        "renamed": (Path, "rename"),
    }[step]
    real = getattr(owner, name)

    def die(*arguments: object) -> object:
        if after:
            real(*arguments)
        raise Crash

    monkeypatch.setattr(owner, name, die)


@pytest.mark.asyncio
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_leaves_each_row_written_exactly_once(
    step: str, after: bool, folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = declared(), declared()
    with monkeypatch.context() as patch:
        dying(patch, step, after=after)
        with pytest.raises(Crash):
            await folder.run((one, row("one")))
    # The broker hands out again what was not acknowledged, and something new.
    await folder.run((one, row("one")), (two, row("two")))
    lines = [line for name in folder.names() for line in folder.text(name).splitlines() if line != "NOM;VILLE"]
    assert ["one;Rennes", "two;Rennes"] == sorted(lines)
    assert all(name.endswith(".csv") and not name.startswith(".") for name in folder.names())


@pytest.mark.asyncio
async def test_a_file_whose_name_was_given_and_taken_before_the_crash_is_not_written_again(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = declared()
    with monkeypatch.context() as patch:
        dying(patch, "renamed", after=True)
        with pytest.raises(Crash):
            await folder.run((delivery, row("one")))
    (folder.path / NAME).unlink()
    assert [f"{NAME}:2"] == await folder.run((delivery, row("one")))
    assert [] == folder.names()


OK = f"{NAME}.ok"


@pytest.mark.asyncio
async def test_a_marker_is_made_last_and_is_empty(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    real = os.open

    def watched(path: Any, *told: Any) -> int:
        if str(path).endswith(".ok"):
            made.append(folder.names())
        return real(path, *told)

    monkeypatch.setattr(os, "open", watched)
    await folder.run((declared(), row("one")), marker=".ok")
    assert ([[NAME]], [NAME, OK], b"") == (made, folder.names(), (folder.path / OK).read_bytes())
    assert 0o640 == stat.S_IMODE((folder.path / OK).stat().st_mode)


@pytest.mark.asyncio
@pytest.mark.parametrize("after", [False, True])
async def test_a_marker_that_a_crash_prevented_is_made_at_the_next_opening(
    after: bool, folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Place._mark

    def die(*told: Any) -> None:
        if after:
            real(*told)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Place, "_mark", die)
        with pytest.raises(Crash):
            await folder.run((declared(), row("one")), marker=".ok")
    await folder.run(marker=".ok")
    assert [NAME, OK] == folder.names()


@pytest.mark.asyncio
async def test_a_file_that_was_taken_before_the_crash_gets_no_marker_any_more(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, "renamed", after=True)
        with pytest.raises(Crash):
            await folder.run((declared(), row("one")), marker=".ok")
    (folder.path / NAME).unlink()
    await folder.run(marker=".ok")
    assert [] == folder.names()


@pytest.mark.asyncio
async def test_a_name_whose_marker_lies_there_is_passed_over(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    (folder.path / OK).touch()
    assert [f"{NAME.replace('1.csv', '2.csv')}:2"] == await folder.run((declared(), row("one")), marker=".ok")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("decimal", "value", "cell"),
    [
        ("comma", Decimal("-12.50"), "-12,50"),
        ("point", Decimal("12.50"), "12.50"),
        ("comma", "12.50", "12.50"),
        ("comma", 1250, "1250"),
    ],
)
async def test_a_decimal_number_has_the_sign_that_the_agency_reads(
    decimal: str, value: object, cell: str, folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    await folder.run((declared(), {"NOM": value, "VILLE": None}), decimal=decimal)
    assert f"{cell};" == folder.text().splitlines()[1]


@pytest.mark.asyncio
async def test_a_format_that_its_settings_do_not_fit_is_refused_at_the_opening(folder: Folder) -> None:
    with pytest.raises(Refused, match=r"file.json-encoding at /encoding"):
        await folder.open(format="jsonl", encoding="cp1252")
    with pytest.raises(Refused, match=r"file.width at /widths/VILLE"):
        await folder.open(format="fixed", widths={"NOM": 80})
    assert [] == folder.names()


@pytest.mark.asyncio
@pytest.mark.parametrize("marker", ["ok", ".", "../ok", ".OK", ".a/b", "." + "a" * 9])
async def test_a_marker_is_an_ending_and_nothing_else(marker: str, folder: Folder) -> None:
    with pytest.raises(Refused, match=r"connector.settings at /marker"):
        await folder.open(marker=marker)


@pytest.mark.asyncio
async def test_a_recorded_file_is_published_by_the_next_open_alone(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = declared()
    with monkeypatch.context() as patch:
        dying(patch, "recorded", after=True)
        with pytest.raises(Crash):
            await folder.run((delivery, row("one")))
    assert [f".{NAME}.tmp"] == folder.names()
    connector = await folder.open()
    assert Applied(f"{NAME}:2") == await connector.find(delivery.delivery_id)
    await connector.close()
    assert [NAME] == folder.names()


@pytest.mark.asyncio
async def test_a_failed_write_is_retried_and_nothing_of_it_is_found_as_written(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = declared()
    connector = await folder.open()
    await connector.write(delivery, row("one"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(Retry) as caught:
            await connector.flush()
    assert ("file.write", 28) == (caught.value.code, caught.value.details["errno"])
    assert None is await connector.find(delivery.delivery_id)
    await connector.write(delivery, row("one"))
    await connector.flush()
    await connector.close()
    assert [NAME] == folder.names()


@pytest.mark.asyncio
async def test_a_rename_that_fails_leaves_the_delivery_unfound_until_it_succeeds(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = declared()
    connector = await folder.open()
    await connector.write(delivery, row("one"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda self, target: (_ for _ in ()).throw(OSError(5, "away")))
        with pytest.raises(Retry):
            await connector.flush()
    assert None is await connector.find(delivery.delivery_id)
    assert f"{NAME}:2" == await connector.write(delivery, row("one"))
    await connector.flush()
    assert Applied(f"{NAME}:2") == await connector.find(delivery.delivery_id)
    await connector.close()
    assert "NOM;VILLE\r\none;Rennes\r\n" == folder.text()


@pytest.mark.asyncio
async def test_a_name_that_the_agency_uses_itself_is_skipped_and_never_replaced(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    (folder.path / NAME).write_text("theirs")
    assert [NAME.replace("1.csv", "2.csv") + ":2"] == await folder.run((declared(), row("one")))
    assert "theirs" == folder.text()


@pytest.mark.asyncio
async def test_a_name_taken_between_record_and_rename_waits_for_the_agency_to_move_it(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, "recorded", after=True)
        with pytest.raises(Crash):
            await folder.run((declared(), row("one")))
    (folder.path / NAME).write_text("theirs")
    with pytest.raises(Retry) as caught:
        await folder.open()
    assert ("file.name-taken", "theirs") == (caught.value.code, folder.text())
    (folder.path / NAME).unlink()
    await folder.run()
    assert "NOM;VILLE\r\none;Rennes\r\n" == folder.text()


@pytest.mark.asyncio
async def test_a_temporary_file_that_is_not_what_was_written_stops_us(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, "recorded", after=True)
        with pytest.raises(Crash):
            await folder.run((declared(), row("one")))
    (folder.path / f".{NAME}.tmp").write_text("NOM;VILLE\r\nother;Rennes\r\n")
    for _ in range(2):  # and the lock was let go each time
        with pytest.raises(Corrupt) as caught:
            await folder.open()
        assert "file.temporary-changed" == caught.value.code


@pytest.mark.asyncio
async def test_only_our_own_forgotten_temporary_files_are_deleted(folder: Folder) -> None:
    for name in (f".{NAME}.tmp", ".other.csv.tmp", "unefois-20261102-000009.csv.tmp", ".unefois-2026-1.csv.tmp"):
        (folder.path / name).write_text("x")
    await folder.run()
    assert [".other.csv.tmp", ".unefois-2026-1.csv.tmp", "unefois-20261102-000009.csv.tmp"] == folder.names()


@pytest.mark.asyncio
async def test_one_process_writes_into_a_folder_at_a_time(folder: Folder) -> None:
    connector = await folder.open()
    with pytest.raises(Unavailable) as caught:
        await folder.open()
    assert "journal.in-use" == caught.value.code
    await connector.close()
    await connector.close()
    await folder.run()


@pytest.mark.asyncio
async def test_the_journal_may_live_elsewhere(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, declared: Callable[..., VerifiedDelivery]
) -> None:
    journal = tmp_path_factory.mktemp("elsewhere") / "journal.sqlite"
    await folder.run((declared(), row("one")), journal=str(journal))
    assert (True, [NAME]) == (journal.exists(), [each.name for each in folder.path.iterdir()])


@pytest.mark.asyncio
async def test_no_value_of_a_citizen_is_in_the_journal(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    await folder.run((declared(), row("Aubépin")))
    assert "Aubépin".encode() not in (folder.path / ".unefois-journal.sqlite").read_bytes()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("pointer", "settings"),
    [
        ("/folder", {"folder": 5}),
        ("/folder", {}),
        ("/name", {"folder": "/tmp", "name": "a.csv"}),
        ("/name", {"folder": "/tmp", "name": "../{number}.csv"}),
        ("/name", {"folder": "/tmp", "name": ".{number}.csv"}),
        ("/name", {"folder": "/tmp", "name": "{number}-{number}.csv"}),
        ("/name", {"folder": "/tmp", "name": "{date}{date}{number}"}),
        ("/name", {"folder": "/tmp", "name": "{number}{other}.csv"}),
        ("/encoding", {"folder": "/tmp", "encoding": "latin-1"}),
        ("/permissions", {"folder": "/tmp", "permissions": "0777"}),
        ("/colour", {"folder": "/tmp", "colour": "red"}),
    ],
)
async def test_a_wrong_setting_is_refused_at_its_place(pointer: str, settings: dict[str, Any], ground: Ground) -> None:
    with pytest.raises(Refused) as caught:
        await FileConnector.open(settings, TARGETS, ground)
    assert ("connector.settings", pointer) == (caught.value.code, caught.value.pointer)


@pytest.mark.asyncio
async def test_a_folder_that_is_not_there_is_refused(folder: Folder) -> None:
    folder.path = folder.path / "nowhere"
    with pytest.raises(Refused) as caught:
        await folder.open()
    assert ("file.folder", "/folder") == (caught.value.code, caught.value.pointer)


@pytest.mark.asyncio
async def test_rows_written_at_the_same_time_are_all_there(folder: Folder, rehearsal: Rehearsal, declared: Any) -> None:
    deliveries = [declared() for _ in range(5)]
    connector = await folder.open()
    references = await asyncio.gather(*(connector.write(each, row("x")) for each in deliveries))
    await connector.flush()
    await connector.close()
    assert (5, 6) == (len(set(references)), len(folder.text().splitlines()))


@pytest.mark.asyncio
async def test_a_file_has_no_more_rows_than_it_may_and_the_next_one_takes_the_rest(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    deliveries = [declared() for _ in range(5)]
    references = await folder.run(*((one, row(name)) for one, name in zip(deliveries, "abcde", strict=True)), rows=2)
    names = [NAME.replace("1.csv", f"{number}.csv") for number in (1, 2, 3)]
    assert [f"{names[0]}:2", f"{names[0]}:3", f"{names[1]}:2", f"{names[1]}:3", f"{names[2]}:2"] == references
    assert names == folder.names()
    assert [["a", "b"], ["c", "d"], ["e"]] == [
        [line.partition(";")[0] for line in folder.text(name).splitlines()[1:]] for name in names
    ]


@pytest.mark.asyncio
async def test_a_crash_between_two_files_of_a_run_leaves_each_row_written_exactly_once(
    folder: Folder, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [(declared(), row(name)) for name in "abc"]
    real, left = Journal.record, [1]

    def die(*told: Any) -> None:
        if not left:
            raise Crash
        left.pop()
        real(*told)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", die)
        with pytest.raises(Crash):
            await folder.run(*written, rows=1)
    await folder.run(*written, rows=1)
    assert ["a", "b", "c"] == sorted(folder.text(name).splitlines()[1].partition(";")[0] for name in folder.names())


@pytest.mark.asyncio
async def test_letters_that_had_to_be_respelled_are_counted_and_not_told(
    folder: Folder, declared: Callable[..., VerifiedDelivery], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(declared(), row("Cœur’")), (declared(), row("Œuf")), (declared(), row("Été"))]
    await folder.run(*rows, lacking="transliterate", encoding="iso-8859-1")
    assert ["file.respelled characters=3 files=1"] == [one.getMessage() for one in caplog.records]
    assert b"Coeur';Rennes\r\nOEuf;Rennes\r\n\xc9t\xe9;" in (folder.path / NAME).read_bytes()
    caplog.clear()
    await folder.run((declared(), row("Été")), lacking="transliterate", encoding="iso-8859-1")
    assert [] == caplog.records


@pytest.mark.asyncio
async def test_several_rows_of_a_delivery_are_lines_of_one_file(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    connector, first, second = await folder.open(), declared(), declared()
    try:
        references = [
            await connector.write_rows(first, [row("Aubépin"), row("Brocélys")]),
            await connector.write(second, row("Orsenne")),
            await connector.write_rows(first, [row("Aubépin"), row("Brocélys")]),
        ]
        await connector.flush()
        assert [f"{NAME}:2", f"{NAME}:4", f"{NAME}:2"] == references
        assert ["NOM;VILLE", "Aubépin;Rennes", "Brocélys;Rennes", "Orsenne;Rennes"] == folder.text().splitlines()
        third = declared()
        assert "000002.csv:2" == str(await connector.write(third, row("Roux")))[-12:]
    finally:
        await connector.close()


@pytest.mark.asyncio
async def test_the_rows_of_a_delivery_are_in_one_file_or_refused(
    folder: Folder, declared: Callable[..., VerifiedDelivery]
) -> None:
    connector = await folder.open(rows=3)
    try:
        await connector.write_rows(declared(), [row("a"), row("b")])
        await connector.write_rows(declared(), [row("c"), row("d")])
        with pytest.raises(Reject, match=r"file.too-many-rows"):
            await connector.write_rows(declared(), [row(name) for name in "efgh"])
        await connector.flush()
    finally:
        await connector.close()
    rows = [[line[0] for line in folder.text(name).splitlines()[1:]] for name in folder.names()]
    assert [["a", "b"], ["c", "d"]] == rows
