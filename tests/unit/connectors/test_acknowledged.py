"""Answers that the agency's program writes back: each line's own, told once, whatever else stands in the file."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Answered, Applied, Ground, Outcome, Rejected
from connectors.file.acknowledged import read
from connectors.file.connector import FileConnector
from connectors.file.folder import Folder
from connectors.file.handed import Handed
from connectors.kit.bench import Bench
from connectors.kit.rigs import FileRig
from connectors.kit.sftp_rig import SftpRig
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, Reason

A, B, C = (DeliveryId(bytes([number]) * 16) for number in (1, 2, 3))
LINES = {2: A, 3: B, 4: C}
TODAY = "2026-11-02"
REFUSED = Rejected("file.ack-refused", Reason.SYSTEM_REFUSED)
UNKNOWN = Answered(Reason.UNKNOWN_PERSON)


def told(text: str | bytes, encoding: str = "utf-8") -> tuple[Mapping[DeliveryId, Outcome], list[tuple[int, str]]]:
    found = read(text if isinstance(text, bytes) else text.encode(encoding), encoding, LINES, TODAY)
    return found.answers, [(number, fault.code) for number, fault in found.wrong]


class TestALine:
    @pytest.mark.parametrize(
        ("line", "answer"),
        [
            ("2;applied;2026-000123", Applied("2026-000123")),
            ("2;applied;", Applied()),
            ("2;applied", Applied()),
            ('2;applied;"a;b"', Applied("a;b")),
            ("2;refused;Zzyzx", REFUSED),
            ("2;unknown-person;", UNKNOWN),
            ("2;several-persons;", Answered(Reason.SEVERAL_PERSONS)),
            ("2;document-needed;", Answered(Reason.DOCUMENT_NEEDED)),
            ("2;later;2026-12-31", Answered(Reason.AWAITING_HUMAN, "2026-12-31")),
        ],
    )
    @pytest.mark.parametrize("end", ["\n", "\r\n", ""])
    def test_says_what_became_of_ours(self, line: str, answer: Outcome, end: str) -> None:
        assert ({A: answer}, []) == told(line + end)

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b"9;applied;", "file.ack-line"),
            (b"-2;applied;", "file.ack-line"),
            ("²;applied;".encode(), "file.ack-line"),
            (b"9999999999;applied;", "file.ack-line"),
            (b"2;done;", "file.ack-answer"),
            (b"2;;", "file.ack-answer"),
            (b"2", "file.ack-damaged"),
            (b"2;applied;a;b", "file.ack-damaged"),
            (b'2;applied;"a', "file.ack-damaged"),
            (b"2;applied;\xe9", "file.ack-damaged"),
            (b"2;applied;a\0b", "file.ack-damaged"),
            (b"2;applied;" + b"a" * 5000, "file.ack-damaged"),
            (b"2;applied;" + b"a" * 201, "file.ack-detail"),
            (b"2;later;", "file.ack-detail"),
            (b"2;later;tomorrow", "file.ack-detail"),
            (b"2;later;20261231", "file.ack-detail"),
            (b"2;later;2026-11-01", "file.ack-detail"),
            (b"2;later;2027-11-04", "file.ack-detail"),
        ],
    )
    def test_that_is_none_is_refused_and_the_others_count(self, line: bytes, code: str) -> None:
        assert ({B: UNKNOWN}, [(2, code)]) == told(b"line;answer;detail\n" + line + b"\n3;unknown-person;\n")

    def test_counts_once_and_the_first_time(self) -> None:
        text = "\ufeffline;answer;detail\n2;applied;x\n\n2;applied;x\n2;refused;\n"
        assert ({A: Applied("x")}, [(5, "file.ack-twice")]) == told(text)

    def test_is_read_in_the_encoding_of_our_files(self) -> None:
        assert ({A: Applied("Été")}, []) == told("2;applied;Été\n", "iso-8859-1")


class Waiting(FileRig):
    """A folder whose files are answered by files."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"acknowledgement": {"days": 3}}

    def path(self, name: str = "ACK_{}") -> Path:
        return self.place / "out" / name.format("unefois-20261102-000001.csv")

    def names(self) -> list[str]:
        return sorted(one.name for one in (self.place / "out").iterdir() if one.name.startswith("ACK_"))


class WaitingThere(SftpRig):
    """The same on a server."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"acknowledgement": {"days": 3}}

    def path(self, name: str = "ACK_{}") -> Path:
        return self.place / "server" / "in" / name.format("unefois-20261102-000001.csv")

    def names(self) -> list[str]:
        return sorted(one.name for one in (self.place / "server" / "in").iterdir() if one.name.startswith("ACK_"))


def played(place: Path, play: Callable[[Bench, Any], Any], made: type[Any] = Waiting) -> None:
    async def one() -> None:
        async with made(place) as rig:
            await play(Bench(rig), rig)

    asyncio.run(one())


@pytest.mark.parametrize("made", [Waiting, WaitingThere])
def test_what_was_written_waits_for_its_answer_and_is_told_it_once(made: type[Any], tmp_path: Path) -> None:
    async def play(bench: Bench, rig: Any) -> None:
        ids = [bench.declare(name, number) for number, name in enumerate(("Aubin", "Brocely", "Corre"))]
        await bench.pull()
        waits = Answered(Reason.AWAITING_HUMAN, "2026-11-05")
        assert (dict.fromkeys(ids, waits), ["Aubin", "Brocely", "Corre"]) == (bench.inbox.outcomes, list(rig.held()))
        rig.path().write_text("2;applied;R-1\n3;unknown-person;\n4;maybe;\n")
        await bench.pull()  # somebody may still be writing
        assert dict.fromkeys(ids, waits) == bench.inbox.outcomes
        await bench.pull()
        assert {ids[0]: Applied("R-1"), ids[1]: UNKNOWN, ids[2]: waits} == bench.inbox.outcomes
        name = rig.path().name
        assert [f"{name}.refused", f"{name}.refused.report"] == rig.names()
        assert rig.path("ACK_{}.refused.report").read_text("utf-8").startswith("3;file.ack-answer;")
        rig.path().write_text("4;applied;R-3\n2;refused;\n")
        for _ in range(2):
            await bench.pull()
        assert (Applied("R-1"), Applied("R-3")) == (bench.inbox.outcomes[ids[0]], bench.inbox.outcomes[ids[2]])
        assert f"{name}.read" in rig.names()
        writer = await bench.opened()
        assert Applied("R-1") == await writer.find(ids[0])  # what was applied stays so
        rig.path().write_text("3;unknown-person;\n")
        assert [{}, {}] == [await writer.answers() for _ in range(2)]  # and nothing of this is new
        await writer.close()
        assert ["Aubin", "Brocely", "Corre"] == list(rig.held())

    played(tmp_path, play, made)


def test_whose_answer_was_told_and_who_comes_again_is_written_anew(tmp_path: Path) -> None:
    async def play(bench: Bench, rig: Waiting) -> None:
        one = bench.declare("Aubin")
        await bench.pull()
        for answer in ("2;unknown-person;\n", "2;refused;R\n", "2;applied;R-1\n"):
            number = len(list((rig.place / "out").glob("*.csv")))
            rig.path(f"ACK_unefois-20261102-00000{number}.csv").write_text(answer)
            for _ in range(2):
                await bench.pull()
            assert number == len(list(rig.held()))
            if "applied" not in answer:
                del bench.inbox.outcomes[one]  # mended, and planned again
                await bench.pull()
        assert (["Aubin"] * 3, Applied("R-1")) == (list(rig.held()), bench.inbox.outcomes[one])
        del bench.inbox.outcomes[one]
        await bench.pull()
        assert (3, Applied("R-1")) == (len(list(rig.held())), bench.inbox.outcomes[one])

    played(tmp_path, play)


@pytest.mark.parametrize("where", ["answer", "aside", "forget", "heard"])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_step_loses_no_answer_and_tells_none_otherwise(
    where: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = Folder if where == "aside" else Handed
    step = "_aside" if where == "aside" else where
    real = getattr(owner, step)

    class Crash(BaseException):
        pass

    def die(*told: Any) -> None:
        if after:
            real(*told)
        raise Crash

    async def play(bench: Bench, rig: Waiting) -> None:
        one, two = bench.declare("Aubin", 1), bench.declare("Brocely", 2)
        await bench.pull()
        rig.path().write_text("2;applied;R-1\n3;several-persons;\n9;applied;\n")
        await bench.pull()
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, die)
            with pytest.raises(Crash):
                await bench.pull()
        for _ in range(3):
            await bench.pull()
        assert {one: Applied("R-1"), two: Answered(Reason.SEVERAL_PERSONS)} == bench.inbox.outcomes
        assert ["Aubin", "Brocely"] == list(rig.held())
        assert [f"{rig.path().name}.refused", f"{rig.path().name}.refused.report"] == rig.names()

    played(tmp_path, play)


def test_a_mailbox_that_does_not_hear_is_told_again(tmp_path: Path) -> None:
    async def play(bench: Bench, rig: Waiting) -> None:
        one = bench.declare("Aubin")
        await bench.pull()
        rig.path().write_text("2;applied;R-1\n")
        await bench.pull()
        bench.deaf = True
        await bench.pull()
        assert Answered(Reason.AWAITING_HUMAN, "2026-11-05") == bench.inbox.outcomes[one]
        bench.deaf = False
        await bench.pull()
        assert Applied("R-1") == bench.inbox.outcomes[one]

    played(tmp_path, play)


def test_a_delivery_of_which_nothing_was_heard_comes_again_and_is_no_second_line(tmp_path: Path) -> None:
    async def play(bench: Bench, rig: Waiting) -> None:
        one = bench.declare("Aubin")
        bench.deaf = True
        await bench.pull()
        bench.deaf = False
        bench.later(10 * 86_400_000)  # the day is over, and no mailbox takes such a day
        await bench.pull()
        assert Answered(Reason.AWAITING_HUMAN, "2026-11-12") == bench.inbox.outcomes[one]
        assert ["Aubin"] == list(rig.held())

    played(tmp_path, play)


def test_what_is_late_is_said_by_its_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def play(bench: Bench, rig: Waiting) -> None:
        bench.declare("Aubin", 1), bench.declare("Brocely", 2)
        await bench.pull()
        bench.later(3 * 86_400_000)
        await bench.pull()
        assert [] == caplog.messages
        bench.later()
        await bench.pull()
        assert ["file.unanswered lines=2"] == caplog.messages
        rig.path().write_text("2;applied;\n3;later;2026-11-07\n")
        for _ in range(2):
            await bench.pull()
        caplog.clear()
        await bench.pull()
        assert [] == caplog.messages
        bench.later(2 * 86_400_000)
        await bench.pull()
        assert ["file.unanswered lines=1"] == caplog.messages

    played(tmp_path, play)


def test_what_is_none_of_ours_is_moved_aside_or_left(tmp_path: Path) -> None:
    async def play(bench: Bench, rig: Waiting) -> None:
        one = bench.declare("Aubin")
        await bench.pull()
        foreign = "ACK_unefois-20261102-000009.csv"
        rig.path(foreign).write_text("2;applied;\n")
        for other in ("ACK_else.csv", "ACK_"):
            rig.path(other).write_text("2;applied;\n")
        for _ in range(2):
            await bench.pull()
        assert ["ACK_", "ACK_else.csv", f"{foreign}.refused", f"{foreign}.refused.report"] == rig.names()
        assert isinstance(bench.inbox.outcomes[one], Answered)
        assert rig.path(f"{foreign}.refused.report").read_text("utf-8").startswith("0;file.ack-foreign;")
        rig.path(foreign).write_text("2;applied;\n")
        for _ in range(2):
            await bench.pull()
        assert f"{foreign}.refused-2" in rig.names()

    played(tmp_path, play)


def test_nothing_of_a_line_is_in_a_report(tmp_path: Path) -> None:
    async def play(bench: Bench, rig: Waiting) -> None:
        bench.declare("Aubin")
        await bench.pull()
        rig.path().write_text('2;Zzyzx;\nZzyzx;applied;\n2;later;Zzyzx\n2;applied;Zzyzx;"\n')
        for _ in range(2):
            await bench.pull()
        text = rig.path("ACK_{}.refused.report").read_bytes()
        assert (4, False) == (text.count(b"\r\n"), b"Zzyzx" in text)

    played(tmp_path, play)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["{name}", "ACK", "{name}{name}", "../{name}", "ACK_{name}/x", "{other}{name}"])
async def test_a_name_that_would_be_ours_or_leads_elsewhere_is_refused(
    name: str, tmp_path: Path, ground: Ground
) -> None:
    told = {"folder": str(tmp_path), "acknowledgement": {"name": name}}
    with pytest.raises(Refused, match=r"connector.settings at /acknowledgement/name"):
        await FileConnector.open(told, ("NOM",), ground)


@pytest.mark.asyncio
async def test_a_folder_of_answers_that_is_away_hinders_no_delivery(tmp_path: Path, ground: Ground) -> None:
    told = {"folder": str(tmp_path), "acknowledgement": {"folder": str(tmp_path / "none")}}
    connector = await FileConnector.open(told, ("NOM",), ground)
    with pytest.raises(Unavailable, match=r"file.read"):
        await connector.answers()
    await connector.close()
