"""Completion: a real bash completes commands, options and values of `unefois`; no other command pays for it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli import helping
from tests.program import Program

ROOT = Path(__file__).parents[4]


@pytest.fixture
def unefois(tmp_path: Path) -> Path:
    """The program in a folder of its own, as a shell starts it."""
    made = tmp_path / "unefois"
    made.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m broker "$@"\n')
    made.chmod(0o755)
    return made


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [(("subs",), {"subscribe"}), (("party", "add", "--s"), {"--sector", "--suite"}), (("completion", "f"), {"fish"})],
)
def test_bash_completes(bare: Program, unefois: Path, words: tuple[str, ...], offered: set[str]) -> None:
    script = bare.run("completion", "bash").stdout
    line = " ".join(("unefois", *words))
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _unefois_completion '{unefois}'; echo ${{COMPREPLY[*]}}"

    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)

    assert offered == set(done.stdout.split())


@pytest.mark.parametrize(("shell", "begins"), [("bash", "_unefois"), ("zsh", "#compdef unefois"), ("fish", "complete")])
def test_each_shell_is_told_in_its_own_words(bare: Program, shell: str, begins: str) -> None:
    told = bare.run("completion", shell)

    assert told.stdout.startswith(begins)
    assert f"{helping.COMPLETING}=complete_{shell}" in told.stdout


def test_another_shell_is_a_wrong_command_line(bare: Program) -> None:
    assert bare.run("completion", "tcsh").exit_code == 2


def test_no_other_command_makes_anything_ready(bare: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("made ready for nothing")

    monkeypatch.setattr("typer._completion_classes.completion_init", never)
    assert bare.run("type", "list").exit_code == 0


def test_what_a_shell_shows_beside_a_word_is_french_where_the_locale_is(
    bare: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, told in {
        helping.COMPLETING: "complete_fish",
        "_TYPER_COMPLETE_ARGS": "unefois par",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "LANG": "fr_FR.UTF-8",
    }.items():
        monkeypatch.setenv(name, told)

    assert "party\tLes administrations, le portail" in bare.run().stdout
