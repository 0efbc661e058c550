"""Telling: how the story looks, in a terminal of any width and in a log that has none.

Refuses: colours and widths that the output cannot show; `rich` decides that, and this module asks it nothing twice.
Keeps: nothing is wider than the terminal or 100 columns, and 80 where there is no terminal; each act begins with its
number, and every claim with its verdict.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TextIO, cast

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from broker.cli.demo.claims import Claim, marks
from broker.cli.demo.words import NO_BREAK

WIDEST = 100
"""Columns; a line longer than this is hard to read."""
IN_A_LOG = 80
"""Columns, where no terminal says otherwise."""

Cell = str | Text

_JOINT = "\ue000"
_TRAILING = re.compile(" +\n")


class _Page:
    """The stream below the console: keeps together what must not be parted, and ends no line in spaces.

    rich takes a no-break space for a space. So it gets a character of private use instead, and the page turns it back.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        """Write what the console has laid out."""
        return self._stream.write(_TRAILING.sub("\n", text).replace(_JOINT, NO_BREAK))

    def flush(self) -> None:
        """Show it now."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor, from which rich learns the width."""
        return self._stream.fileno()


def console_of(stream: TextIO | None = None) -> Console:
    """The console of the standard output, or of another stream."""
    out = stream or sys.stdout
    console = Console(file=cast("IO[str]", _Page(out)), highlight=False, soft_wrap=False)
    console.width = min(console.width, WIDEST) if console.is_terminal else IN_A_LOG
    return console


def _joined(text: str) -> str:
    return text.replace(NO_BREAK, _JOINT)


def _plain_table(gap: int) -> Table:
    """A rule below the heads, and one space and a gap between columns."""
    padding = (0, gap, 0, 0)
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=padding, pad_edge=False, header_style="bold cyan")


class Telling:
    """Writes the story to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def act(self, number: int, title: str, text: str) -> None:
        """The head of an act: its number, its title, and what happens in it."""
        self._console.print()
        self._console.print(
            Rule(Text.assemble((f"{number} ", "bold cyan"), (_joined(title), "bold")), align="left", style="cyan")
        )
        self.say(text)

    def say(self, text: str) -> None:
        """A paragraph."""
        self._console.print(Padding(Text(_joined(text)), (0, 1, 1, 2), expand=False))

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[Cell]], widest: Sequence[int | None] = ()) -> None:
        """A table whose cells wrap, but in a first column without a limit. `widest`: characters, column by column."""
        table = _plain_table(gap=1)
        limits = [*widest, *[None] * len(heads)]
        for number, (head, limit) in enumerate(zip(heads, limits, strict=False)):
            table.add_column(head, no_wrap=number == 0 and limit is None, max_width=limit)
        for row in rows:
            table.add_row(*(_joined(cell) if isinstance(cell, str) else cell for cell in row))
        self._framed(table)

    def matrix(self, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """A table with one line for each row; all columns but the first are equally wide, and what is longer is cut."""
        others = max(8, (self._console.width - 30) // (len(heads) - 1) - 1)
        first = self._console.width - 2 - (len(heads) - 1) * (others + 1)
        table = _plain_table(gap=0)
        for number, head in enumerate(heads):
            width = first if number == 0 else others
            table.add_column(head, no_wrap=True, overflow="ellipsis", width=width)
        for row in rows:
            table.add_row(*(_joined(cell) if isinstance(cell, str) else cell for cell in row))
        self._framed(table)

    def show(self, content: RenderableType) -> None:
        """Anything that rich can show, indented like the rest."""
        self._console.print(Padding(content, (0, 0, 0, 2), expand=False))

    def _framed(self, table: Table) -> None:
        self.show(table)
        self._console.print()

    def steps(self, rows: Iterable[tuple[str, str]]) -> None:
        """What happened one after the other: when, and what."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column()
        for at, what in rows:
            grid.add_row(at, Text(_joined(what)))
        self.show(grid)
        self._console.print()

    def lines(self, rows: Iterable[str]) -> None:
        """Lines as they stand in somebody's file, cut where the screen ends."""
        for row in rows:
            self.show(Text(row, style="dim", no_wrap=True, overflow="ellipsis"))
        self._console.print()

    def claim(self, claim: Claim) -> None:
        """A claim with its verdict; the evidence is dim behind it."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column()
        held, failed = marks(self._console.encoding)
        mark = Text(held, "bold green") if claim.held else Text(failed, "bold red")
        told = Text(_joined(claim.sentence), "" if claim.held else "bold red")
        if claim.evidence:
            told.append(f"  {claim.evidence}", "dim")
        grid.add_row(mark, told)
        self.show(grid)

    def verdict(self, head: str, lines: Sequence[str], good: bool) -> None:
        """The last word: everything held, or what did not."""
        body = Text(_joined("\n".join([head, *lines])))
        body.stylize("bold", 0, len(head))
        self._console.print()
        self._console.print(Panel(body, border_style="green" if good else "red", box=box.ROUNDED, padding=(0, 2)))

    def next(self, head: str, commands: Iterable[tuple[str, str]]) -> None:
        """What to type next: each command on a line of its own, never broken, and what it does."""
        self._console.print()
        self.show(Text(head, style="bold"))
        told = list(commands)
        width = max(len(command) for command, _ in told)
        for command, does in told:
            line = Text.assemble("  ", (command.ljust(width), "bold cyan"), (f"   # {_joined(does)}", "dim"))
            self._console.print(line, soft_wrap=True)
        self._console.print()
