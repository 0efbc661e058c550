"""`unefois conformance run` on real processes: the sample agency passes all of it, careless ones fail. `make
test-conformance` runs this; it takes minutes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.conformance import careless_source

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "sample"

pytestmark = pytest.mark.skipif(
    not os.environ.get("UNEFOIS_CONFORMANCE"), reason="takes minutes: make test-conformance"
)


def kit(tmp_path: Path, config: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Its exit status and its report."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SAMPLE_FOLDER": str(tmp_path),
        "LANG": "C",
    }
    done = subprocess.run(
        [sys.executable, "-m", "broker", "conformance", "run", "--config", str(config), "--json", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def findings(report: dict[str, Any]) -> dict[str, set[str]]:
    return {one["case"]: {each["finding"] for each in one["findings"]} for one in report["cases"] if "findings" in one}


def test_the_sample_agency_passes_as_receiver_and_as_source(tmp_path: Path) -> None:
    page, xml = tmp_path / "report.html", tmp_path / "report.xml"
    code, report = kit(tmp_path, SAMPLE / "kit.yaml", "--html", str(page), "--junit", str(xml))

    assert {} == findings(report)
    assert (0, True, 24) == (code, report["conformant"], report["counts"]["passed"])
    suites = ElementTree.parse(xml).getroot()  # our own file
    assert [("receiver", "17", "0"), ("source", "7", "0")] == [
        (one.get("name"), one.get("tests"), one.get("failures")) for one in suites
    ]
    assert 24 == page.read_text().count('class="passed"')


def test_a_receiver_that_is_called_again_and_again_passes_too(tmp_path: Path) -> None:
    told = yaml.safe_load((SAMPLE / "kit.yaml").read_text())
    receiver = {**told["receiver"], "runs": "once", "command": ["python", str(SAMPLE / "receiver.py"), "once"]}
    receiver["observe"] = {"command": ["python", str(SAMPLE / "receiver.py"), "show"]}
    config = tmp_path / "kit.yaml"
    config.write_text(yaml.safe_dump({**told, "receiver": receiver, "source": None}))
    code, report = kit(tmp_path, config)

    assert ({}, 0) == (findings(report), code)


@pytest.mark.parametrize(
    ("name", "case", "found"),
    [
        ("AcknowledgesFirst", "crash", "acknowledged-before-writing"),
        ("AppliesTwice", "crash", "applied-twice"),
        ("StopsAtUnknownSchemas", "new-schema", "ended"),
    ],
)
def test_a_careless_process_is_caught_when_it_is_killed_or_ends(
    tmp_path: Path, name: str, case: str, found: str
) -> None:
    command = ["python", "-m", "tests.conformance.process", name]
    receiver = {
        "command": [*command, "run", str(tmp_path)],
        "observe": {"command": [*command, "show", str(tmp_path)]},
    }
    config = tmp_path / "kit.yaml"
    config.write_text(yaml.safe_dump({"version": 1, "receiver": receiver, "patience_seconds": 60}))
    code, report = kit(tmp_path, config, "--case", case)

    assert 1 == code
    assert found in findings(report)[case]


@pytest.mark.parametrize(
    ("name", "case", "found"),
    [
        ("signs_again", "source-retry", "several-declarations"),
        ("believes_any_receipt", "source-receipt", "unverified-receipt"),
        ("forgets_a_field", "source-schema", "wrong-record"),
        ("forgets_corrects", "source-correction", "no-correction"),
        ("swallows_refusals", "source-clock", "silent-refusal"),
        ("signs_with_another_key", "source-signature", "refused-declaration"),
        ("numbers_by_content", "source-once", "refused-declaration"),
    ],
)
def test_a_careless_source_fails_for_the_right_reason(tmp_path: Path, name: str, case: str, found: str) -> None:
    config = tmp_path / "kit.yaml"
    command = ["python", "-m", "tests.conformance.careless_source", name]
    config.write_text(yaml.safe_dump({"version": 1, "source": {"command": command}, "patience_seconds": 60}))
    cases = ["source-signature", case] if case != "source-signature" else [case]
    code, report = kit(tmp_path, config, *(word for one in cases for word in ("--case", one)))

    assert {case: {found}} == findings(report)
    assert 1 == code


def test_every_careless_source_is_tried() -> None:
    assert 7 == len(careless_source.CARELESS)
