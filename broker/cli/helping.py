"""Helping: `--help` in French, and what a shell shows while somebody types. The texts stand in English where the
commands are; `fr.po` beside this has their French.

Refuses: nothing.
Keeps: nothing is read or changed where no help is shown, so a command that works starts as fast as in English.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final

from schemas.translations import french, read

CATALOGUE: Final = "fr.po"
COMPLETING: Final = "_UNEFOIS_COMPLETE"
"""The variable by which a shell asks what may come next (`unefois completion`); Typer answers."""
AROUND: Final = {
    "ARGUMENTS_PANEL_TITLE": "Arguments",
    "OPTIONS_PANEL_TITLE": "Options",
    "COMMANDS_PANEL_TITLE": "Commandes",
    "ERRORS_PANEL_TITLE": "Erreur",
    "DEFAULT_STRING": "[par défaut : {}]",
    "REQUIRED_LONG_STRING": "[obligatoire]",
}
"""What Typer says around the texts, by the name that it has in `typer.rich_utils`."""


def catalogue() -> str:
    """The French of every help text."""
    return (files(__package__) / CATALOGUE).read_text("utf-8")


def answer_shells(environment: Mapping[str, str]) -> None:
    """Where a shell asks, make Typer ready to answer it; it costs nothing where none does."""
    if COMPLETING in environment:
        from typer._completion_classes import completion_init  # Typer has no other name for it

        completion_init()


def wanted(root: Any, words: Sequence[str]) -> bool:
    """Whether this command line shows help: it asks, or names a group and none of its commands."""
    if "--help" in words:
        return True
    at = root
    for word in words:
        at = getattr(at, "commands", {}).get(word, at)
    return hasattr(at, "commands")


@contextmanager
def in_french(root: Any, words: Sequence[str]) -> Iterator[None]:
    """While the block runs, the help of this tree of commands is French. The tree is this call's alone; what Typer
    says is everybody's, and is English again afterwards.
    """
    if not wanted(root, words):
        yield
        return
    from typer import rich_utils

    known = read(catalogue())
    for one in every(root):
        _translate(one, known)
    before = {name: getattr(rich_utils, name) for name in AROUND}
    try:
        vars(rich_utils).update(AROUND)
        yield
    finally:
        vars(rich_utils).update(before)


def every(one: Any) -> Iterator[Any]:
    """A command and all that are below it."""
    yield one
    for below in getattr(one, "commands", {}).values():
        yield from every(below)


def texts(one: Any) -> Iterator[tuple[Any, str]]:
    """The help texts of one command: what has each, and the attribute that it is in."""
    for name in ("help", "short_help", "epilog"):
        yield one, name
    for param in one.get_params(one.make_context(one.name, [], resilient_parsing=True)):
        yield from ((param, name) for name in ("help", "rich_help_panel"))


def _translate(one: Any, known: Mapping[str, str]) -> None:
    for owner, name in texts(one):
        if told := getattr(owner, name, None):
            setattr(owner, name, french(told, known))
    usage = one.get_usage
    vars(one)["get_usage"] = lambda context: usage(context).replace("Usage:", "Utilisation :", 1)
