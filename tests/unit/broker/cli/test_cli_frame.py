"""The frame: home, JSON and language on every command; every error is code, place, what is wrong, what to do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from broker.cli.app import app, asked
from broker.cli.exits import Exit
from broker.cli.frame import VALUED, Root, command, say
from broker.observability import build
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from tests.program import Program

FAULTS: dict[str, Fault | Exception] = {
    "refused": Refused("values.too-long", "/name", length=120, limit=100),
    "away": Unavailable("store.locked"),
    "corrupt": Corrupt("store.corrupt"),
    "in-a-file": Refused("hosting.malformed", "/party", wrong="missing", file="a.yaml"),
    "bug": RuntimeError("Élise Martin, 12 rue de la Monnaie"),
}


@pytest.fixture
def small() -> typer.Typer:
    """A program with one command, which raises what it is told."""
    small = typer.Typer(cls=Root, add_completion=False)

    @command(small, "raise")
    def raise_(which: str) -> None:
        """Raise."""
        raise FAULTS[which]

    @command(small, "say")
    def say_() -> None:
        """Say."""
        print(say("bonjour", "hello"))

    return small


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            if one.invoke_without_command:
                yield (*path, name), one
            yield from commands(one, (*path, name))
        else:
            yield (*path, name), one


WHOLE: Any = get_command(app)
COMMANDS = dict(commands(WHOLE))


class TestOnlyWhatIsNamed:
    """Typer gets the command or the group that a line names, and no other."""

    def test_each_is_there_alone_and_is_the_same(self) -> None:
        small: Any = {name: get_command(asked([name])) for name in WHOLE.commands}
        assert {name: [shape(one)] for name, one in WHOLE.commands.items()} == {
            name: [shape(below) for below in one.commands.values()] for name, one in small.items()
        }

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            (["--home", "party", "init"], "init"),
            (["--json", "--lang", "fr", "--as", "key", "party", "init"], "party"),
            (["init", "--home", "party"], "init"),
        ],
    )
    def test_a_value_before_the_command_is_not_taken_for_it(self, line: list[str], named: str) -> None:
        small: Any = get_command(asked(line))
        assert [named] == list(small.commands)

    @pytest.mark.parametrize(
        "line",
        [
            [],
            ["--help"],
            ["--version"],
            ["--help", "party"],
            ["--home=party", "init"],
            ["partys"],
            ["--home"],
            ["--", "init"],
        ],
    )
    def test_a_line_that_names_none_gets_all(self, line: list[str]) -> None:
        assert app is asked(line)

    def test_the_options_before_a_command_that_take_a_value_are_known(self) -> None:
        valued = {opt for one in WHOLE.params if not one.is_flag for opt in one.opts}
        assert set(VALUED) == valued


def shape(one: Any) -> Any:
    """What a command takes, and what its help says."""
    taken = [(param.opts, param.secondary_opts, param.required, param.nargs) for param in one.params]
    return one.name, one.help, taken, [shape(below) for below in getattr(one, "commands", {}).values()]


class TestEveryCommand:
    def test_all_that_were_promised_are_there(self) -> None:
        promised = """demo init party_add party_list party_rotate party_revoke-key type_list type_show type_check
            subscribe subscribe_list subscribe_approve subscribe_end grant revoke pause resume narrow grants explain
            declare run track dead_list dead_show dead_replay mapping_test epoch_list epoch_rotate epoch_destroy
            audit_verify audit_prove audit_check audit_export audit_consistency fsck config_check config_show"""
        assert set(promised.split()) <= {"_".join(words) for words in COMMANDS}

    def test_help_teaches_with_an_example_that_begins_with_the_command(self) -> None:
        taught = {words: " ".join((found.help or "").split()) for words, found in COMMANDS.items()}
        assert [] == [words for words, told in taught.items() if f"Example: unefois {' '.join(words)}" not in told]

    def test_home_json_and_language_can_be_given_to_each(self) -> None:
        options = {words: {opt for param in found.params for opt in param.opts} for words, found in COMMANDS.items()}
        assert [] == [words for words, taken in options.items() if not {"--home", "--json", "--lang"} <= taken]

    def test_the_root_s_help_has_the_exit_codes(self, bare: Program) -> None:
        shown = bare.run("--help").stdout
        for code in Exit:
            assert f"{code.value}: " in shown


class TestErrors:
    @pytest.mark.parametrize(("which", "code"), [("refused", 3), ("away", 4), ("corrupt", 5), ("bug", 6)], ids=str)
    def test_the_exit_code_tells_what_kind_it_was(self, small: typer.Typer, which: str, code: int) -> None:
        assert code == CliRunner().invoke(small, ["raise", which]).exit_code

    def test_a_fault_is_its_code_and_place_what_is_wrong_and_what_to_do_on_stderr(self, small: typer.Typer) -> None:
        result = CliRunner().invoke(small, ["raise", "refused"])

        assert "" == result.stdout
        assert (
            "values.too-long  /name\n  This text has 120 characters where at most 100 are taken.\n  Shorten it.\n"
        ) == result.stderr

    def test_a_fault_in_a_file_names_the_file(self, small: typer.Typer) -> None:
        assert CliRunner().invoke(small, ["raise", "in-a-file"]).stderr.startswith("hosting.malformed  a.yaml /party\n")

    def test_with_json_a_fault_is_one_object(self, small: typer.Typer) -> None:
        result = CliRunner().invoke(small, ["raise", "refused", "--json"])

        assert {
            "code": "values.too-long",
            "pointer": "/name",
            "message": "This text has 120 characters where at most 100 are taken.",
            "remedy": "Shorten it.",
            "details": {"length": 120, "limit": 100},
        } == json.loads(result.stderr)["error"]

    def test_a_bug_is_told_by_its_type_alone_for_its_words_may_hold_a_value(self, small: typer.Typer) -> None:
        for words in (["raise", "bug"], ["raise", "bug", "--json"]):
            result = CliRunner().invoke(small, words)
            assert "cli.unexpected" in result.stderr
            assert "RuntimeError" in result.stderr
            assert "UNEFOIS_DEBUG=1" in result.stderr
            assert "Martin" not in result.output
            assert "Traceback" not in result.output

    def test_with_debug_the_trace_is_shown(self, small: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_DEBUG", "1")

        for which, code in (("bug", 6), ("refused", 3)):
            result = CliRunner().invoke(small, ["raise", which])
            assert code == result.exit_code
            assert "Traceback" in result.stderr

    def test_a_wrong_command_line_is_code_2_in_words_and_in_json(self, small: typer.Typer) -> None:
        plain = CliRunner().invoke(small, ["raise"])
        told = CliRunner().invoke(small, ["raise", "--json"])

        assert (2, 2) == (plain.exit_code, told.exit_code)
        assert "Missing argument" in plain.stderr
        assert "cli.usage" == json.loads(told.stderr)["error"]["code"]

    def test_no_home_is_told_with_what_to_do(self, bare: Program) -> None:
        error = bare.error("fsck", code=3)

        assert ("cli.no-home", str(bare.home)) == (error["code"], error["details"]["file"])
        assert "unefois init" in error["remedy"]
        assert not bare.home.exists()


class TestChoices:
    def test_the_home_of_the_option_counts_before_that_of_the_environment(
        self, unefois: Program, tmp_path: Path
    ) -> None:
        assert 0 == unefois.run("fsck").exit_code
        for words in (("fsck", "--home", tmp_path / "none"), ("--home", tmp_path / "none", "fsck")):
            assert str(tmp_path / "none") == unefois.error(*words, code=3)["details"]["file"]

    def test_what_is_said_further_right_counts(self, unefois: Program, tmp_path: Path) -> None:
        assert {"clean": True, "findings": [], "follows": []} == unefois.told(
            "--home", tmp_path / "none", "fsck", "--home", unefois.home
        )

    @pytest.mark.parametrize(
        ("told_by", "words", "expected"),
        [
            ({"LANG": "fr_FR.UTF-8"}, [], "bonjour"),
            ({"LANG": "en_GB.UTF-8"}, [], "hello"),
            ({"LANG": "de_DE.UTF-8"}, [], "hello"),
            ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "fr_FR"}, [], "bonjour"),
            ({"LANG": "en_GB.UTF-8", "LC_ALL": "fr_FR"}, [], "bonjour"),
            ({"LANG": "en_GB.UTF-8"}, ["--lang", "fr"], "bonjour"),
            ({"LANG": "fr_FR.UTF-8"}, ["--lang=en"], "hello"),
            ({"LANG": "en_GB.UTF-8"}, ["--lang", "fr", "--lang", "en"], "hello"),
        ],
    )
    def test_the_language_is_the_option_s_or_the_environment_s(
        self,
        small: typer.Typer,
        monkeypatch: pytest.MonkeyPatch,
        told_by: dict[str, str],
        words: list[str],
        expected: str,
    ) -> None:
        for name, told in told_by.items():
            monkeypatch.setenv(name, told)

        assert f"{expected}\n" == CliRunner().invoke(small, ["say", *words]).stdout

    def test_an_error_before_the_options_were_read_is_in_the_chosen_language_too(self, small: typer.Typer) -> None:
        assert "Raccourcissez-le." in CliRunner().invoke(small, ["raise", "refused", "--lang", "fr"]).stderr

    def test_one_call_s_choices_are_forgotten_by_the_next(self, small: typer.Typer) -> None:
        CliRunner().invoke(small, ["say", "--lang", "fr", "--json"])

        assert "hello\n" == CliRunner().invoke(small, ["say"]).stdout
        assert not CliRunner().invoke(small, ["raise", "refused"]).stderr.startswith("{")


def test_the_demo_gets_the_language_and_its_end_is_the_program_s(
    bare: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []

    def run(**options: object) -> int:
        told.append(options)
        return 1

    monkeypatch.setattr("broker.cli.demo.run", run)

    assert 1 == bare.run("demo", "--lang", "fr", "--keep").exit_code
    assert [{"lang": "fr", "keep": True}] == told


def test_the_version_is_shown_with_its_commit(bare: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "version", lambda name: {"unefois": "7.0"}[name])
    monkeypatch.setattr(build, "commit_of", lambda *_: "c" * 40)

    assert f"unefois 7.0 ({'c' * 40})\n" == bare.run("--version").stdout
