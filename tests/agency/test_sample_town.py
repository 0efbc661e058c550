"""The sample agency of examples/town: its own tests and every case of the conformance kit, with the agency's wheel."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.agency.conftest import ROOT, Environment, needed, plain

SAMPLE = ROOT / "examples/town"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy, as an administration would take it."""
    shutil.copytree(SAMPLE, tmp_path / "town", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "town"


def test_its_own_tests_pass_where_the_agencys_wheel_is_installed(
    environment: Environment, project: Path, tmp_path: Path
) -> None:
    extra = tmp_path / "pytest"
    extra.mkdir()
    for path in needed(["pytest"]):
        if not (extra / path.name).exists():
            (extra / path.name).symlink_to(path)
    line = ["make", "--silent", "test", f"PYTHON={environment.python}"]
    env = plain() | {"PYTHONPATH": str(extra)}
    done = subprocess.run(line, cwd=project, env=env, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "10 passed" in done.stdout


def kit(environment: Environment, config: Path, tmp_path: Path, *more: object) -> dict[str, Any]:
    """The kit's report on the town; it has to pass all that is played."""
    data, log = tmp_path / "data", tmp_path / "log"
    data.mkdir()
    line = [sys.executable, "-m", "broker", "conformance", "run", "--config", config, "--json", "--log", log, *more]
    told = {"PATH": f"{environment.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "TOWN_DATA": str(data)}
    told |= {"SAMPLE_FOLDER": str(data)}
    # The broker's program is this checkout's, found by its own folder; the town's knows the wheel and nothing else.
    words = list(map(str, line))
    done = subprocess.run(words, cwd=ROOT, env=plain() | told, capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    assert {} == {one["case"]: one["findings"] for one in report["cases"] if "findings" in one}, log.read_text(
        "utf-8", errors="replace"
    )
    assert ("", 0) == (done.stderr, done.returncode)
    return report


def test_it_passes_every_case_of_the_conformance_kit_as_does_a_source(
    environment: Environment, project: Path, tmp_path: Path
) -> None:
    told = yaml.safe_load((project / "kit.yaml").read_text())
    source = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.conformance.sample_source"]
    config, page, xml = project / "both.yaml", tmp_path / "report.html", tmp_path / "report.xml"
    receiver = {**told["receiver"], "batch": 200}
    config.write_text(yaml.safe_dump({**told, "receiver": receiver, "source": {"command": source}}))

    report = kit(environment, config, tmp_path, "--html", page, "--junit", xml)

    assert (True, 31) == (report["conformant"], report["counts"]["passed"])
    assert [("receiver", "24", "0"), ("source", "7", "0")] == [
        (one.get("name"), one.get("tests"), one.get("failures"))
        for one in ElementTree.parse(xml).getroot()  # our own file
    ]
    assert 31 == page.read_text().count('class="passed"')


def test_called_again_and_again_it_passes_too(environment: Environment, project: Path, tmp_path: Path) -> None:
    told = yaml.safe_load((project / "kit.yaml").read_text())
    receiver = {**told["receiver"], "runs": "once", "command": ["python3", "-m", "town", "once"]}
    (project / "once.yaml").write_text(yaml.safe_dump({**told, "receiver": receiver}))

    assert 24 == kit(environment, project / "once.yaml", tmp_path)["counts"]["passed"]


def test_the_fifteen_lines_are_no_more_than_fifteen() -> None:
    text = (ROOT / "examples/python/receive.py").read_text("utf-8")
    body = [one for one in ast.parse(text).body if not isinstance(one, ast.Import | ast.ImportFrom)][1:]
    lines = text.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]
    assert 10 <= len([line for line in lines if line.strip()]) <= 15
