"""Show: answers on stdout, for a person in lines and tables, for a program as JSON.

Refuses: to read markup in what it prints: a name with brackets is a name.
Keeps: what goes through a pipe is not cut to a terminal's width; JSON keys are those of the document given.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from broker.cli.frame import chosen, say

Shown = TypeVar("Shown")

PIPE_COLUMNS: Final = 400
"""Where there is no terminal, whose width would cut an identifier in two."""


def answer(document: Mapping[str, Any], text: Callable[[], None]) -> None:
    """The document with --json, else what `text` prints."""
    if chosen().json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        text()


def line(text: str) -> None:
    """One line."""
    print(text)


def each(found: Sequence[Shown], show: Callable[[Shown], None]) -> None:
    """One after another, an empty line between two; a word where there is none."""
    for number, one in enumerate(found):
        if number:
            line("")
        show(one)
    if not found:
        line(say("(rien)", "(nothing)"))


def pairs(rows: Sequence[tuple[str, object]], indent: int = 0) -> None:
    """Names and values, one below the other; what is None is left out."""
    told = [(name, value) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        print(f"{'':{indent}}{name:<{width}}  {value}".rstrip())


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows below their column names; a dash where there is nothing to tell."""
    if not rows:
        print(say("(rien)", "(nothing)"))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, show_edge=False)
    for name in columns:
        shown.add_column(Text(name, style="bold"), overflow="fold")
    for row in rows:
        shown.add_row(*(Text("-" if cell is None or cell == "" else str(cell)) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(shown)
