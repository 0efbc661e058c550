"""`unefois-agency`: its help in French, by option or locale, and what bash completes of it."""

import contextlib
import shutil
import subprocess
from importlib.resources import files

import pytest

from connectors import completing
from connectors.program import main, parser
from schemas.translations import read

KNOWN = read((files("connectors") / "fr.po").read_text("utf-8"))


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What it prints, on one line."""
    with contextlib.suppress(SystemExit):
        main(words)
    return " ".join(capsys.readouterr().out.split())


def helps(language: str) -> dict[str, list[str | None]]:
    """Every text of every command, by the command's words."""
    told = parser("fr" if language == "fr" else "en")
    found = {}
    for path, one in completing.every(told):
        below = [each.help for action in one._actions for each in getattr(action, "_choices_actions", ())]
        titles = [one._positionals.title, one._optionals.title]
        found[path] = [one.description, *titles, *(each.help for each in one._actions), *below]
    return found


def test_every_help_text_has_its_french() -> None:
    english = {text for texts in helps("en").values() for text in texts if text}
    assert set() == english - set(KNOWN)
    assert {"GROUP", "COMMAND"} == set(KNOWN) - english
    assert {KNOWN[text] for text in english} == {text for texts in helps("fr").values() for text in texts if text}


@pytest.mark.parametrize("words", [("--help", "--lang", "fr"), ("--lang=fr", "--help")])
def test_help_is_french_by_the_option(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    told = shown(capsys, *words)
    assert told.startswith("utilisation\u00a0: unefois-agency" if "\u00a0" in told else "utilisation : unefois-agency")
    assert "les clés privées dans des fichiers" in told


@pytest.mark.parametrize(
    ("name", "locale", "begins"), [("LC_ALL", "fr_FR.UTF-8", "utilisation"), ("LANG", "C", "usage")]
)
def test_help_is_in_the_locale_s_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, locale: str, begins: str
) -> None:
    for each in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, locale)
    assert shown(capsys, "key", "--help").startswith(begins)
    assert shown(capsys, "key", "--help", "--lang", "en").startswith("usage")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ke", {"key"}),
        ("key ''", {"new", "show", "--help"}),
        ("key new --k", {"--kind"}),
        ("key new --kind x", {"x25519"}),
        ("completion z", {"zsh"}),
        ("--lang fr receipt c", {"check"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_bash_completes(capsys: pytest.CaptureFixture[str], shell: str, words: str, offered: set[str]) -> None:
    main(["completion", shell])
    script = capsys.readouterr().out.replace("autoload -U +X bashcompinit && bashcompinit\n", "")
    line = f"COMP_WORDS=(unefois-agency {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))"
    asked = f"{line}; _unefois_agency; echo ${{COMPREPLY[*]}}"

    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)

    assert offered == set(done.stdout.split())


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
def test_fish_takes_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "fish"])
    told = capsys.readouterr().out
    line = ["fish", "-c", f"{told}\ncomplete -C 'unefois-agency key n'"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (0, "new") == (done.returncode, done.stdout.strip())
