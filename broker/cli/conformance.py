"""Commands of the conformance kit: `unefois conformance ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.lab.conformance` plays. It ends with 0 only if every case that was played has passed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command
from broker.cli.session import write_file
from broker.cli.show import answer, line, pairs

if TYPE_CHECKING:
    from broker.lab.conformance.report import Result

app = typer.Typer(no_args_is_help=True, help="Try an administration's receiver, or its source, before it goes live.")

_MARKS = {"passed": "+", "failed": "!", "skipped": "-"}


@command(app, "run")
def run(
    *,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="What to try, and how to see what it did.")],
    only: Annotated[list[str] | None, typer.Option("--case", help="This case alone. Repeatable.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Write here what the program prints.")
    ] = None,
) -> None:
    """Play every case against the program of the file: duplicates, withdrawals, crashes, rotated keys, forged bytes.

    Example: unefois conformance run --config kit.yaml --html report.html
    """
    from broker.cli.serve import run_in_order
    from broker.lab.conformance import render
    from broker.lab.conformance import run as kit
    from broker.lab.conformance.config import load
    from broker.lab.conformance.words import Words
    from broker.observability import observe
    from broker.setup.opening import system_clock
    from schemas.errors import Refused

    words = Words(chosen().language)
    for name in only or ():
        if name not in kit.KNOWN:
            raise Refused("conformance.unknown-case", "/case", known=", ".join(sorted(kit.KNOWN)))
    told = load(config, kit.KNOWN)
    _log_to_stderr(observe, system_clock)
    heard = _quiet if chosen().json else _teller(words)
    folder = config.absolute().parent
    report = run_in_order(kit.run(told, folder, (log or Path("/dev/null")).absolute(), only or (), heard))
    if junit is not None:
        write_file(junit, render.junit(report, words))
    if html is not None:
        write_file(html, render.html(report, words, _version()))
    answer(report.document(words), lambda: line("\n" + render.verdict(report, words)))
    if not report.good:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "cases")
def cases() -> None:
    """Every case, and what it proves.

    Example: unefois conformance cases
    """
    from broker.lab.conformance import cases as receiver
    from broker.lab.conformance import portal_cases as portal
    from broker.lab.conformance import source_cases as source
    from broker.lab.conformance.words import Words

    words = Words(chosen().language)
    found = [
        {"case": name, "role": role, "title": words.case(name, "title"), "proves": words.case(name, "proves")}
        for role, of in (("receiver", receiver.CASES), ("source", source.CASES), ("portal", portal.CASES))
        for name in of
    ]
    answer({"cases": found}, lambda: pairs([(one["case"], one["proves"]) for one in found]))


def _teller(words: Any) -> Any:
    def tell(result: "Result") -> None:
        ended = result.verdict.value
        line(f"{_MARKS[ended]} {result.case:<18} {words.say(ended):<8} {words.case(result.case, 'title')}")
        for one in result.findings:
            line(f"    {words.finding(one)}")
        if result.findings:
            line(f"    {words.say('remedy')}: {words.case(result.case, 'remedy')}")
        if result.skipped is not None:
            line(f"    {result.skipped}")

    return tell


def _quiet(_: "Result") -> None:
    return


def _log_to_stderr(observe: Any, clock: Any) -> None:
    import sys

    observe.configure("error", clock, sys.stderr)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("unefois")
    except PackageNotFoundError:
        return "-"
