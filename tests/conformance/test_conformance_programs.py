"""`unefois conformance run` on real processes: careless ones fail, a signal ends all. `make test-conformance` runs
this; it takes minutes. The sound one is the one that an administration copies: tests/agency/test_sample_town.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest
import yaml

from tests.conformance import careless_source

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not os.environ.get("UNEFOIS_CONFORMANCE"), reason="takes minutes: make test-conformance"
)


KIT = [sys.executable, "-m", "broker", "conformance", "run", "--json", "--config"]


def environment(tmp_path: Path) -> dict[str, str]:
    """Where the programs keep what they keep."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SAMPLE_FOLDER": str(tmp_path),
        "LANG": "C",
    }


def kit(tmp_path: Path, config: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Its exit status and its report."""
    line = [*KIT, str(config), *words]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(tmp_path), check=False)
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def findings(report: dict[str, Any]) -> dict[str, set[str]]:
    return {one["case"]: {each["finding"] for each in one["findings"]} for one in report["cases"] if "findings" in one}


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


WITH_A_CHILD = "import os, subprocess, sys, time; told = os.open('alive', os.O_WRONLY); os.write(told, b'+');"
WITH_A_CHILD += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(900)'], pass_fds=[told]);"
WITH_A_CHILD += "time.sleep(900)"


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
@pytest.mark.parametrize("role", ["receiver", "source"])
def test_a_signal_ends_the_kit_with_all_that_it_began(tmp_path: Path, role: str, signal: Signals) -> None:
    program: dict[str, Any] = {"command": ["python", "-c", WITH_A_CHILD]}
    seen = {"observe": {"file": "-"}} if role == "receiver" else {}
    (tmp_path / "kit.yaml").write_text(yaml.safe_dump({"version": 1, role: {**program, **seen}}))
    alive, temporary = tmp_path / "alive", tmp_path / "temporary"
    os.mkfifo(alive)
    temporary.mkdir()
    env = environment(tmp_path) | {"TMPDIR": str(temporary)}
    with subprocess.Popen([*KIT, str(tmp_path / "kit.yaml")], env=env, stderr=subprocess.PIPE) as process:
        with alive.open("rb") as pipe:  # once somebody writes
            assert b"+" == pipe.read(1)
            assert [] != list(temporary.iterdir())
            process.send_signal(signal)
            assert b"" == pipe.read()  # nobody has it open any more: neither the program nor its child
        assert b"" == process.stderr.read()  # type: ignore[union-attr]
    assert 128 + signal == process.returncode
    assert [] == list(temporary.iterdir())


def test_every_careless_source_is_tried() -> None:
    assert 7 == len(careless_source.CARELESS)
