"""Crash points: they kill where they are told to, and nowhere else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import broker
from broker.observability.crashpoints import mark, marked

PACKAGE = Path(broker.__file__).parent
SCRIPT = """
from broker.observability.crashpoints import mark
for passage in range(1, 4):
    print(passage, flush=True)
    mark("flow.step")
    mark("flow.other")
"""


def run(setting: str | None) -> "subprocess.CompletedProcess[str]":
    environment = {name: told for name, told in os.environ.items() if name != "UNEFOIS_CRASH_AT"}
    if setting is not None:
        environment["UNEFOIS_CRASH_AT"] = setting
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("setting", "printed", "code"),
    [
        (None, ["1", "2", "3"], 0),
        ("", ["1", "2", "3"], 0),
        ("flow.absent", ["1", "2", "3"], 0),
        ("flow.step", ["1"], -signal.SIGKILL),
        ("flow.step:1", ["1"], -signal.SIGKILL),
        ("flow.step:3", ["1", "2", "3"], -signal.SIGKILL),
        ("flow.step:4", ["1", "2", "3"], 0),
    ],
)
def test_the_process_dies_at_the_passage_it_was_told(setting: str | None, printed: list[str], code: int) -> None:
    ended = run(setting)
    assert (printed, code) == (ended.stdout.split(), ended.returncode)


@pytest.mark.parametrize("setting", ["flow.step:0", "flow", "flow.step:x", "Flow.step"])
def test_a_setting_that_could_never_fire_is_an_error(setting: str) -> None:
    ended = run(setting)
    assert ([], 1) == (ended.stdout.split(), ended.returncode)
    assert "UNEFOIS_CRASH_AT" in ended.stderr


def test_nothing_happens_when_nothing_is_armed() -> None:
    mark("flow.step")


def test_every_name_in_a_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text('def f():\n    mark("flow.b")\n')
    (tmp_path / "inner" / "b.py").write_text('crashpoints.mark("flow.a-step")\n')
    assert ("flow.a-step", "flow.b") == marked(tmp_path)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("mark(name)", "literal"),
        ("mark()", "literal"),
        ('mark(f"flow.{name}")', "literal"),
        ('mark("flow")', "literal"),
        ('mark("flow.a")\nmark("flow.a")', "already"),
    ],
)
def test_a_name_that_a_table_would_miss_is_an_error(tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "a.py").write_text(source)
    with pytest.raises(ValueError, match=why):
        marked(tmp_path)


def test_the_brokers_own_crash_points_are_well_named() -> None:
    assert sorted(set(marked(PACKAGE))) == list(marked(PACKAGE))
