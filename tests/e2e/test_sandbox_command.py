"""`unefois sandbox`, as a process: what it tells to try works as it is printed, and Ctrl-C leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program

ROOT = Path(__file__).parents[2]


@contextmanager
def started(folder: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """A process in whose temporary folder everything has to be that it leaves."""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "LANG": "C"}
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def greeting(process: "subprocess.Popen[str]") -> list[str]:
    """What it prints until it says how to end it."""
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if "Ctrl-C" in line:
            return told
    raise AssertionError(process.communicate()[1])


def shell(line: str) -> Any:
    """What a command answers."""
    return json.loads(subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True).stdout)


def test_what_it_tells_to_try_works_as_printed_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    words = ("-m", "broker", "sandbox", "--listen", "127.0.0.1:0", "--fault", "duplicate=1")
    with started(tmp_path, *words) as process:
        event, pull = (line for line in greeting(process) if line.startswith("  curl"))
        made, pulled, again = shell(event), shell(pull), shell(pull)
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=30)

    assert [made["deliveries"][0]["delivery"]] == [one["id"] for one in pulled["deliveries"]]
    assert pulled == again  # the fault that was asked for
    assert (0, "Ended.\n", "") == (process.returncode, told, errors)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("--listen", "0.0.0.0:0"), "sandbox.listen", 3),
        (("--listen", "example.org:80"), "sandbox.listen", 3),
        (("--fault", "slow"), "cli.usage", 2),
        (("--fault", "no-such=1"), "sandbox.mischief", 3),
        (("--type", "no.such"), "catalogue.unknown-type", 3),
        (("--folder", "."), "sandbox.folder", 3),
    ],
)
def test_what_cannot_be_played_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "somebody's").touch()
    error = Program(tmp_path).error("sandbox", "--listen", "127.0.0.1:0", *words, code=exit_code)

    assert code == error["code"]
    assert ["somebody's"] == [path.name for path in tmp_path.iterdir()]
