"""The sample agency of examples/town: its own tests and every case of the conformance kit, with the agency's wheel."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert "3 passed" in done.stdout


def test_it_passes_every_case_of_the_conformance_kit(environment: Environment, project: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    line = [sys.executable, "-m", "broker", "conformance", "run", "--config", str(project / "kit.yaml"), "--json"]
    line += ["--log", str(tmp_path / "log")]
    told = {"PATH": f"{environment.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "TOWN_DATA": str(data)}
    # The broker's program is this checkout's, found by its own folder; the town's knows the wheel and nothing else.
    done = subprocess.run(line, cwd=ROOT, env=plain() | told, capture_output=True, text=True, check=False)

    report = json.loads(done.stdout)
    assert {} == {one["case"]: one["findings"] for one in report["cases"] if "findings" in one}, (
        tmp_path / "log"
    ).read_text("utf-8", errors="replace")
    assert (17, 0) == (report["counts"]["passed"], done.returncode), done.stderr


def test_the_fifteen_lines_are_no_more_than_fifteen() -> None:
    text = (ROOT / "examples/python/receive.py").read_text("utf-8")
    body = [one for one in ast.parse(text).body if not isinstance(one, ast.Import | ast.ImportFrom)][1:]
    lines = text.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]
    assert 10 <= len([line for line in lines if line.strip()]) <= 15
