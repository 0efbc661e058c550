"""top: what waits, where and since when."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from broker.cli import frame, top
from tests.program import FIELDS, Program, grant_and_declare
from tests.world import CAF


def test_one_look_tells_what_waits(unefois: Program, elise: Path, move: Path) -> None:
    grant_and_declare(unefois, elise, move, *FIELDS)

    told = unefois.told("top", "--once")

    assert 1 == sum(told["lag"].values())
    assert (0, 0) == (told["dead_letters"], told["routers"])
    assert told["ledger_waiting"] > 0
    assert None is told["undelivered_age_ms"]


def test_what_ends_soon_is_told_with_its_party_and_its_day(unefois: Program) -> None:
    assert [] == unefois.told("top", "--once")["expiring"]
    unefois.told("token", "issue", CAF, "--scope", "read", "--days", "3")

    (told,) = unefois.told("top", "--once")["expiring"]
    assert (CAF, "token", "read") == (told["party"], told["what"], told["kind"])
    assert f"{CAF}  token read  {told['at']}" in unefois.run("top", "--once").stdout


def test_in_a_pipe_it_is_one_look_in_the_language_asked_for(unefois: Program) -> None:
    result = unefois.run("top", "--lang", "fr")

    assert 0 == result.exit_code
    assert "lettres mortes                    0\n" in result.stdout


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(None, "-"), (999, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (7_200_000, "2 h"), (172_800_000, "2 d")],
)
def test_an_age_is_told_in_the_unit_that_is_read_at_once(milliseconds: int | None, words: str) -> None:
    frame.choose(None, False, "en")

    assert words == top._age(milliseconds)


def test_in_a_terminal_it_looks_again_and_again_until_it_is_asked_to_stop(unefois: Program) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "broker", "top", "--every", "0.2", "--lang", "en"]
    environment = {**os.environ, "TERM": "xterm", "UNEFOIS_HOME": str(unefois.home), "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        while shown.count(b"dead letters") < 2:  # drawn, and drawn again
            shown += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # the end of a terminal that nobody holds any more
            while part := os.read(ours, 65_536):
                shown += part
        assert process.stderr is not None
        assert (b"", 0) == (process.stderr.read(), process.wait(30))
    os.close(ours)

    assert b"unefois top" in shown
    assert b"\x1b[?1049h" in shown  # a screen of its own,
    assert b"\x1b[?1049l" in shown  # which is given back
