"""The kit on every connector that comes with the program; and the kit itself, on connectors that are careless."""

import json
import os
import subprocess
import sys
import tomllib
from itertools import count
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import pytest

from connectors import notify, registry, table, webhook
from connectors.description import Case
from connectors.kit import cases
from connectors.kit.rest_rig import RestRig
from connectors.kit.rig import Rig, rig
from connectors.kit.rigs import FileRig, TableRig, WebhookRig
from connectors.kit.sftp_rig import SftpRig
from tests.announced import announce, site
from tests.publik.rig import PublikRig

ROOT = Path(__file__).parents[2]
RIGS = (FileRig, RestRig, SftpRig, TableRig, WebhookRig, PublikRig)
OURS = {"publik": PublikRig}
"""Rigs that no installed program has: their system is a double among these tests."""


class JsonLines(FileRig):
    """A folder of JSON lines."""

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "format": "jsonl", "name": "kit-{number}.jsonl"}

    def held(self) -> list[str]:
        files = sorted((self.place / "out").glob("*.jsonl"))
        return [json.loads(line)["name"] for file in files for line in file.read_text("utf-8").splitlines()]


class FixedWidth(FileRig):
    """A folder of files with columns of a fixed width, with a marker for each."""

    def settings(self) -> dict[str, Any]:
        widths = {"name": 12, "phone": 16}
        more = {"format": "fixed", "widths": widths, "encoding": "iso-8859-1", "name": "kit-{number}.txt"}
        return {**super().settings(), **more, "marker": ".ok"}

    def held(self) -> list[str]:
        files = sorted((self.place / "out").glob("*.txt"))
        lines = [line for file in files for line in file.read_text("iso-8859-1").splitlines()]
        assert {28} >= {len(line) for line in lines}
        assert len(files) == len(list((self.place / "out").glob("*.txt.ok")))
        return [line[:12].rstrip() for line in lines]


class Xml(FileRig):
    """A folder of XML documents, each checked by an XSD."""

    async def __aenter__(self) -> Self:
        (self.place / "t.xml").write_text(
            '<Lot xmlns:u="urn:unefois:template"><P u:each="row" tel="{phone}"><Nom>{name}</Nom></P></Lot>'
        )
        (self.place / "t.xsd").write_text(
            '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="Lot"><xs:complexType>'
            '<xs:sequence><xs:element name="P" maxOccurs="unbounded"><xs:complexType><xs:sequence>'
            '<xs:element name="Nom" type="xs:token"/></xs:sequence><xs:attribute name="tel"/></xs:complexType>'
            "</xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"
        )
        return await super().__aenter__()

    def settings(self) -> dict[str, Any]:
        files = {"template": str(self.place / "t.xml"), "xsd": str(self.place / "t.xsd")}
        return {**super().settings(), **files, "format": "xml", "name": "kit-{number}.xml", "encoding": "iso-8859-1"}

    def held(self) -> list[str]:
        files = sorted((self.place / "out").glob("*.xml"))
        return [str(one.text) for file in files for one in ElementTree.parse(file).getroot().iter("Nom")]


@pytest.mark.parametrize(
    ("made", "case"),
    [
        pytest.param(made, case, id=f"{made.__name__}-{case}")
        for made in (*RIGS, JsonLines, FixedWidth, Xml)
        for case in Case
        if case not in cases.spared(made)
    ],
)
def test_a_connector_passes_the_case(made: type[Rig], case: Case, tmp_path: Path) -> None:
    cases.play(case, made, tmp_path)


def test_every_connector_that_is_announced_has_its_rig_and_no_case_is_left_out_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    announce(monkeypatch)
    assert announced[registry.GROUP].keys() == announced[registry.RIGS].keys() | OURS.keys()
    for name in announced[registry.GROUP]:
        made = OURS.get(name) or rig(name)
        assert (made in RIGS, registry.kind(name), ()) == (True, made.connector, cases.undeclared(made))
    assert set(Case) == set(cases.CASES)


async def nothing(*_: Any) -> None:
    return None


def forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table.TableConnector, "find", nothing)


def tells_under_another_id(monkeypatch: pytest.MonkeyPatch) -> None:
    told = count()
    monkeypatch.setattr(webhook, "uuid_text", lambda _: f"{next(told):032x}")


def does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "retry_after_ms", lambda *_: None)


def believes_that_it_was_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_fault", lambda _: table.Reject("table.failed"))


def creates_when_it_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(cls: Any, settings: Any, targets: Any, ground: Any) -> tuple[()]:
        (cls.place / "left").touch()
        return ()

    monkeypatch.setattr(table.TableConnector, "check", classmethod(check))


def says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(table.TableConnector, "about")


def hears_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify.Journal, "told", lambda *_: None)


def answers_as_if_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "Otherwise", lambda _: table.Reject("table.key-null"))


@pytest.mark.parametrize(
    ("made", "case", "careless"),
    [
        (TableRig, Case.REDELIVERY, forgets),
        (TableRig, Case.CRASH_BEFORE_ACKNOWLEDGEMENT, forgets),
        (WebhookRig, Case.ANSWER_LOST, tells_under_another_id),
        (WebhookRig, Case.TRUNCATED_ANSWER, tells_under_another_id),
        (WebhookRig, Case.TOO_MANY, does_not_wait),
        (TableRig, Case.ANSWER_LOST, believes_that_it_was_not_done),
        (TableRig, Case.CHECK, creates_when_it_checks),
        (TableRig, Case.CHECK, says_nothing),
        (WebhookRig, Case.PEER_AWAY, hears_everything),
        (TableRig, Case.UNKNOWN_PERSON, answers_as_if_refused),
        (TableRig, Case.SEVERAL_PERSONS, answers_as_if_refused),
    ],
)
def test_a_careless_connector_does_not_pass(
    made: type[Rig], case: Case, careless: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table.TableConnector, "place", tmp_path, raising=False)
    careless(monkeypatch)
    with pytest.raises((AssertionError, AttributeError)):
        cases.play(case, made, tmp_path)


def test_a_case_of_which_nothing_is_said_is_named() -> None:
    class Silent(FileRig):
        plays = frozenset()

    class Both(FileRig):
        plays = frozenset({*FileRig.plays, Case.TOO_MANY})

    assert ((Case.PEER_AWAY, Case.ANSWER_LOST), (Case.TOO_MANY,)) == (cases.undeclared(Silent), cases.undeclared(Both))


@pytest.mark.proof
def test_pytest_runs_it_by_the_connectors_name_and_says_what_is_spared(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-p", "connectors.kit.plugin", "-p", "no:cacheprovider", "-rs"]
    paths = os.pathsep.join((str(site(tmp_path / "site")), str(ROOT)))
    place = {**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [*words, "--connector=file"], cwd=tmp_path, env=place, capture_output=True, text=True, check=False
    )
    assert (0, True) == (done.returncode, "10 passed, 6 skipped" in done.stdout), done.stdout + done.stderr
    assert "A folder does not ask to come back later." in done.stdout
