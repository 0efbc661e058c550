"""connector: what there is, what is wrong with a file's connectors, the kit, and a new one; in both programs alike."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors import trying
from connectors.description import Case
from connectors.kit import cases
from connectors.program import main
from tests.announced import announce
from tests.program import Program


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)


@pytest.fixture
def agencies(tmp_path: Path) -> Path:
    """A file with one sound route and three with mistakes."""
    (tmp_path / "out").mkdir()
    url = f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    routes = [
        {"mapping": "commune-table", "connector": "file", "settings": {"folder": str(tmp_path / "out")}},
        {"mapping": "commune-table", "connector": "table", "settings": {"url": url, "table": "t", "mod": "upsert"}},
        {"mapping": "commune-tabel", "connector": "file", "settings": {"folder": str(tmp_path / "out")}},
        {"mapping": "commune-table", "connector": "file", "limits": {"deadline_s": 0},
         "settings": {"folder": str(tmp_path / "none")}},
    ]  # fmt: skip
    path = tmp_path / "rennes.yaml"
    path.write_text(json.dumps({"party": "urn:x", "routes": routes, "notify": {"kind": "pigeon"}}))
    return path


FOUND = [
    ("/routes/0", "file", []),
    ("/routes/1", "table", [("connector.settings", "/routes/1/settings/mod")]),
    ("/routes/2", "file", [("mapping.no-such-file", "/routes/2")]),
    (
        "/routes/3",
        "file",
        [("file.folder", "/routes/3/settings/folder"), ("connector.settings", "/routes/3/limits/deadline_s")],
    ),
    ("/notify", "pigeon", [("connector.unknown-kind", "/notify")]),
]


def told(checked: list[dict[str, Any]]) -> list[Any]:
    return [
        (one["place"], one["kind"], [(each["code"], each["pointer"]) for each in one["problems"]]) for one in checked
    ]


def agency(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code and output of `unefois-agency`."""
    try:
        main(["connector", *words])
    except SystemExit as end:
        return int(str(end.code)), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_every_kind_is_listed_with_its_guarantee(bare: Program, capsys: pytest.CaptureFixture[str]) -> None:
    known = bare.told("connector", "list")["connectors"]
    assert ["file", "publik", "rest", "sftp", "table", "webhook"] == [one["kind"] for one in known]
    assert [("writes", 1), ("writes", 1), ("writes", 8), ("writes", 1), ("writes", 4), ("tells", 1)] == [
        (one["does"], one["at_once"]) for one in known
    ]
    lines = bare.run("connector", "list").stdout
    assert "table       The row and the note that it was written are one transaction" in lines
    assert (0, lines) == agency(capsys, "list", "--lang", "en")


def test_a_kind_is_described_with_what_a_form_is_made_from(bare: Program, capsys: pytest.CaptureFixture[str]) -> None:
    about = bare.told("connector", "describe", "file")
    assert "Where the files go" in about["settings"]["properties"]["folder"]["description"]
    assert "folder" in about["settings"]["required"]
    lines = bare.run("connector", "describe", "file", "--lang", "fr").stdout
    assert "De l'autre côté : Qui prend les fichiers" in lines
    assert "  folder (obligatoire)  Where the files go" in lines
    assert (0, lines) == agency(capsys, "describe", "file", "--lang", "fr")


def test_a_kind_that_is_not_installed_is_refused_with_the_nearest(bare: Program) -> None:
    assert "connector.unknown-kind" in bare.run("connector", "describe", "tabel").stderr


def test_each_route_of_a_file_is_tried_and_nothing_changes(
    bare: Program, agencies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bare.run("connector", "check", agencies, "--json")
    assert (1, FOUND) == (result.exit_code, told(json.loads(result.stdout)["checked"]))
    lines = bare.run("connector", "check", agencies).stdout
    assert "✓ /routes/0  file\n✗ /routes/1  table\n    connector.settings  /routes/1/settings/mod\n" in lines
    assert "Create it, and let this program's user write there." in lines
    assert (1, lines) == agency(capsys, "check", str(agencies), "--lang", "en")
    assert ([], False) == (list((tmp_path / "out").iterdir()), (tmp_path / "new.db").exists())


def test_a_sound_file_is_code_0_and_one_without_routes_is_refused(bare: Program, agencies: Path) -> None:
    document = json.loads(agencies.read_text())
    agencies.write_text(json.dumps({"routes": document["routes"][:1]}))
    assert 0 == bare.run("connector", "check", agencies).exit_code
    agencies.write_text("party: urn:x")
    for path in (agencies, agencies.with_name("none.yaml")):
        assert "connector.no-route" in bare.run("connector", "check", path).stderr


def test_the_kit_says_of_each_case_how_it_ended(
    bare: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(case: Case, *_: Any) -> None:
        if case is Case.ORDER:
            raise AssertionError("one person's deliveries are not there in their order, each once")

    monkeypatch.setattr(cases, "play", play)
    result = bare.run("connector", "test", "file")
    assert 1 == result.exit_code
    assert "✓ redelivery\n" in result.stdout
    assert "– too-many  A folder does not ask to come back later.\n" in result.stdout
    assert "✗ order  AssertionError: one person's deliveries are not there in their order, each once\n" in result.stdout
    assert (1, result.stdout) == agency(capsys, "test", "file", "--lang", "en")


def test_a_case_of_which_nothing_is_said_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "play", lambda *_: None)
    monkeypatch.setattr(cases, "undeclared", lambda _: (Case.ORDER,))
    assert {"failed": 1, "passed": 9, "spared": 6} == {
        state: sum(one.state == state for one in trying.tried("file")) for state in ("failed", "passed", "spared")
    }


def test_a_new_one_is_written_where_it_is_told_to(
    bare: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "town-crm-connector/pyproject.toml" == bare.run("connector", "new", "town_crm").stdout.splitlines()[0]
    code, lines = agency(capsys, "new", "town_crm", "--folder", "elsewhere", "--json")
    assert (0, 5) == (code, len(json.loads(lines)["written"]))
    assert "connector.new-folder" in bare.run("connector", "new", "town_crm").stderr
