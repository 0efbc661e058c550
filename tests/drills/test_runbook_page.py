"""The runbook itself: what it names exists, what it shows is drilled, and a drill runs nothing else."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from broker.cli.app import app
from tests.drills.runbook import RUNBOOK, Operator, sections
from tests.world import CAF

pytestmark = pytest.mark.sqlite


@cache
def root() -> Any:
    """The program, as its words are looked up."""
    return typer.main.get_command(app)


def named() -> list[list[str]]:
    """Every command of the page, in its blocks and in its sentences, as words."""
    text = RUNBOOK.read_text("utf-8")
    shown = [command for section in sections().values() for command, _ in section.left]
    inside = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    found = [each.removeprefix("unefois ").split() for each in (*shown, *inside) if each.startswith("unefois ")]
    return found + [words for words in map(str.split, inside) if words[0] in root().commands]


def wrong_with(words: list[str]) -> str | None:
    """What the program does not know of a command."""
    one = root()
    while getattr(one, "commands", None) and words and words[0] in one.commands:
        one, words = one.commands[words[0]], words[1:]
    group = getattr(one, "commands", None) and not getattr(one, "invoke_without_command", False)
    if group and words and not words[0].startswith("--"):
        return f"no command {words[0]}"
    options = {option for each in one.params for option in each.opts}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    return f"no option {unknown[0]} of {one.name}" if unknown else None


def test_every_command_that_the_page_names_exists_with_its_options() -> None:
    commands = named()
    assert len(commands) > 100
    assert [] == [(words, wrong) for words in commands if (wrong := wrong_with(words)) is not None]


@pytest.mark.parametrize(
    "words", ["party frobnicate", "party forbid --hard", "frobnicate", "subscribe released ID --soon"]
)
def test_a_command_that_is_none_is_found(words: str) -> None:
    assert wrong_with(words.split()) is not None


def test_every_section_with_commands_has_its_drill() -> None:
    drills = "".join(path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("test_runbook*.py")))
    drilled = re.findall(r'with operator\.follows\("([^"]+)"\)', drills)
    assert sorted(sections()) == sorted(drilled)


def test_what_is_in_capitals_is_told_by_the_drill(operator: Operator) -> None:
    with pytest.raises(AssertionError, match="what is it"), operator.follows("A token has leaked"):
        operator.does("unefois token list")


def test_a_command_that_is_not_the_next_of_the_page_cannot_be_run(operator: Operator) -> None:
    with pytest.raises(AssertionError, match="the page says"), operator.follows("A token has leaked"):
        operator.does("unefois token revoke", PARTY=CAF, TOKEN="0" * 16)


def test_a_section_is_followed_to_its_end(operator: Operator) -> None:
    with pytest.raises(AssertionError, match="not followed to its end"), operator.follows("The clock is wrong"):
        pass
