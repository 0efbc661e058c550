"""Frame: what every command shares: --home, --json, --lang and --as, and the one place where faults become answers.

Refuses: to show a stack trace, unless UNEFOIS_DEBUG is set; to repeat what an exception says, for it may hold a value.
Keeps: an error is its code, its pointer, what is wrong and what to do, on stderr; with --json the same as one object,
which lists every fault of the input in `errors` where there are several.
"""

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer
from typer.core import TyperGroup

from broker.cli.exits import MEANINGS, Exit, exit_of
from broker.cli.helping import COMPLETING, answer_shells, in_french
from schemas.errors import Fault
from schemas.messages import Language, explain
from schemas.translations import spoken

DEBUG: Final = "UNEFOIS_DEBUG"
EVERYWHERE: Final = "Everywhere"
_CONTEXT: Final = "context_of_the_call"
EXIT_CODES: Final = "Exit codes:\n\n" + "\n".join(f"* {code.value}: {meaning}" for code, meaning in MEANINGS.items())

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The broker's folder. Default: UNEFOIS_HOME, else ~/.local/share/unefois.",
        rich_help_panel=EVERYWHERE,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Answer and errors as JSON, for programs.", rich_help_panel=EVERYWHERE)
]
LangOption = Annotated[
    Language | None,
    typer.Option("--lang", help="Language of the sentences. Default: from LANG.", rich_help_panel=EVERYWHERE),
]

KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--as",
        metavar="FILE",
        help="Your key, where accounts are kept. Default: UNEFOIS_OPERATOR_KEY, else your session of `unefois login`.",
        rich_help_panel=EVERYWHERE,
    ),
]
VALUED: Final = ("--home", "--lang", "--as")
"""Those of them that take a value."""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen for this call of the program."""

    home: Path | None = None
    json: bool = False
    language: Language = "en"
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Called:
    """The command that runs: its words after `unefois`, and what it was given."""

    act: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)


_CALLED: ContextVar[Called] = ContextVar("unefois-called")
_CHOSEN: ContextVar[Choices] = ContextVar("unefois-choices")


def chosen() -> Choices:
    """The choices of this call."""
    return _CHOSEN.get(Choices())


def called() -> Called:
    """The command of this call."""
    return _CALLED.get(Called())


def say(french: str, english: str) -> str:
    """The text in the chosen language."""
    return french if chosen().language == "fr" else english


def choose(home: Path | None, as_json: bool, lang: Language | None, as_key: Path | None = None) -> None:
    """Take over what was given here; what was not stays as it was given further left."""
    now = chosen()
    language, json_too = lang or now.language, as_json or now.json
    _CHOSEN.set(replace(now, home=home or now.home, json=json_too, language=language, key=as_key or now.key))


def command(app: typer.Typer, name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a function as a command that also takes --home, --json, --lang and --as."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        app.command(name)(with_choices(function))
        return function

    return register


def with_choices(function: Callable[P, None]) -> Callable[..., None]:
    """The function with four more options, which it need not know."""
    shared: dict[str, tuple[Any, Any]] = {
        "home": (HomeOption, None),
        "as_json": (JsonOption, False),
        "lang": (LangOption, None),
        "as_key": (KeyOption, None),
    }
    own = inspect.signature(function)
    context = next((name for name, one in own.parameters.items() if one.annotation is typer.Context), None)
    if context is None:
        shared[_CONTEXT] = (typer.Context, inspect.Parameter.empty)

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        given = {name: told for name, told in kwargs.items() if name not in shared}
        choose(**{name: kwargs[name] for name in shared if name != _CONTEXT})
        words = kwargs[context or _CONTEXT].command_path.split(" ")[1:]
        _CALLED.set(Called(" ".join(words), {name: told for name, told in given.items() if name != context}))
        function(*args, **given)

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in shared.items()
    ]
    vars(run)["__signature__"] = own.replace(parameters=[*own.parameters.values(), *more])
    run.__annotations__ = {**function.__annotations__, **{one.name: one.annotation for one in more}}
    return run


class Root(TyperGroup):
    """The root command: it begins each call afresh and ends each with an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line to its end; raises SystemExit with one of `Exit`."""
        words = list(sys.argv[1:] if args is None else args)
        _CHOSEN.set(Choices(json="--json" in words, language=spoken(words, os.environ)))
        _CALLED.set(Called())
        answer_shells(os.environ)
        ordinary = super().main

        def run() -> int:
            plain = not chosen().json  # Typer tells usage errors in its own way; with --json they are ours to tell
            with in_french(self, words) if chosen().language == "fr" else nullcontext():
                ended = ordinary(words, "unefois", complete_var or COMPLETING, plain, windows_expand_args, **extra)
            return ended if isinstance(ended, int) else Exit.OK

        sys.exit(_ended(run))


def _ended(run: Callable[[], int]) -> int:
    """The exit code of a run, after telling what stopped it."""
    try:
        return run()
    except Fault as fault:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        tell_fault(fault)
        return exit_of(fault)
    except typer.TyperException as wrong:
        _print_error({"code": "cli.usage", "pointer": "", "message": wrong.format_message(), "remedy": "--help"})
        return wrong.exit_code
    except typer.Abort:
        return Exit.USAGE
    except Exception as error:
        # Broad on purpose: this is the one place where a fault of the program itself becomes an answer, without the
        # exception's own words, which may hold a value.
        if os.environ.get(DEBUG):
            traceback.print_exc()
        tell_fault(Fault("cli.unexpected", kind=type(error).__name__))
        return Exit.UNEXPECTED


def tell_fault(fault: Fault) -> None:
    """A fault on stderr: code and pointer, what is wrong, what to do; and what else is wrong with the same input."""
    faults = (fault, *fault.also)
    if chosen().json:
        told = [_as_json(each) for each in faults]
        _print_error(told[0] | ({"errors": told} if fault.also else {}))
        return
    for each in faults:
        message = explain(each, chosen().language)
        place = " ".join(str(part) for part in (each.details.get("file"), each.pointer) if part)
        print(f"{each.code}  {place}".rstrip(), file=sys.stderr)
        print(f"  {message.wrong}\n  {message.remedy}", file=sys.stderr)


def _as_json(fault: Fault) -> dict[str, Any]:
    message = explain(fault, chosen().language)
    told = {"code": fault.code, "pointer": fault.pointer, "message": message.wrong, "remedy": message.remedy}
    return told | ({"details": dict(fault.details)} if fault.details else {})


def _print_error(told: dict[str, Any]) -> None:
    print(json.dumps({"error": told}, ensure_ascii=False, indent=2), file=sys.stderr)
