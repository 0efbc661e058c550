"""Change: the steps of docs/change.md, done in a copy of this checkout as the page shows them.

A section of the page is one change. Its steps are headings with a number, `### 1. The schema`. A block below a step is

    diff          lines of the file that its first line names: what stands there, what goes (-), what comes (+)
    yaml python   a whole new file, whose path is its first line: `# connectors/documents.py`
    console       commands, each behind `$ `

Below `### It works when` stand the commands that must pass; below `### What turns red` a table: which step is left out,
and which test then fails.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.docs.pages import DOCS, ROOT, Block, blocks

PAGE: Final = DOCS / "change.md"
WHOLE: Final = ("yaml", "python")
_LEFT_OUT: Final = re.compile(r"^\| (\d+) \| `(tests/[^`]+)` \|", re.MULTILINE)
_APART: Final = shutil.ignore_patterns(".?*", "build", "*.egg-info")


@dataclass(frozen=True)
class Change:
    """One worked change: its steps, what must pass then, and which test misses which step."""

    name: str
    steps: dict[int, list[Block]]
    checks: list[Block]
    misses: list[tuple[int, str]]


def changes() -> dict[str, Change]:
    """Every section of the page that has steps, by its heading."""
    text = PAGE.read_text("utf-8")
    heads = [(text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _headings(text)]
    made = {name: Change(name, {}, [], []) for _, level, name in heads if level == "##"}
    for block in blocks(PAGE):
        name = [name for line, level, name in heads if level == "##" and line < block.line][-1]
        part = [name for line, _, name in heads if line < block.line][-1]
        number = re.match(r"(\d+)\. ", part)
        of = made[name].checks if number is None else made[name].steps.setdefault(int(number[1]), [])
        of.append(block)
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        found = [(int(step), test) for step, test in _LEFT_OUT.findall(section)]
        made[section.partition("\n")[0]].misses.extend(found)
    return {name: change for name, change in made.items() if change.steps}


def _headings(text: str) -> Iterator[re.Match[str]]:
    return re.finditer(r"^(##|###) (.+)$", text, re.MULTILINE)


@dataclass(frozen=True)
class Copy:
    """A copy of this checkout, where changes may be made."""

    folder: Path

    @classmethod
    def into(cls, folder: Path) -> "Copy":
        """All but what is hidden; what is compiled already comes along, and need not be compiled again."""
        shutil.copytree(ROOT, folder, ignore=_APART, symlinks=True)
        return cls(folder)

    def make(self, change: Change, without: int | None = None) -> None:
        """Every step of a change in its order, but one. Raises AssertionError where a step cannot be done."""
        for number in sorted(change.steps.keys() - {without}):
            for block in change.steps[number]:
                self.follow(block)

    def follow(self, block: Block) -> None:
        """One block of a step."""
        if block.kind == "console":
            for command in commands(block):
                done = self.run(command)
                assert done.returncode == 0, f"{block.place}: $ {command}\n{done.stdout}"
            return
        head, _, text = block.text.partition("\n")
        path = self.folder / head.removeprefix("# ")
        assert head.startswith("# "), f"{block.place}: the first line is the file's path"
        if block.kind in WHOLE:
            path.write_text(text, "utf-8")
        else:
            path.write_text(patched(path.read_text("utf-8"), text, block.place), "utf-8")

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """A command of the page in this copy, with this Python."""
        kept = {name: told for name, told in os.environ.items() if not name.startswith(("PYTEST_", "UNEFOIS_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=kept | {"PATH": path, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": ""},
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def commands(block: Block) -> list[str]:
    """The commands of a block."""
    lines = block.text.splitlines()
    assert all(line.startswith("$ ") for line in lines), f"{block.place}: only commands, each behind `$ `"
    return [line.removeprefix("$ ") for line in lines]


def patched(text: str, hunk: str, place: str) -> str:
    """A file with one change: `hunk` says which lines stand there, once and no more, and what comes in their place."""
    lines = [line or " " for line in hunk.splitlines()]
    assert all(line[0] in " +-" for line in lines), f"{place}: a line of a change begins with a space, + or -"
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
    after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
    whole = text if text.endswith("\n") else f"{text}\n"
    count = len(re.findall(f"^(?={re.escape(before)})", whole, re.MULTILINE))
    assert count == 1, f"{place}: the file has these lines {count} times"
    return f"\n{whole}".replace(f"\n{before}", f"\n{after}")[1:]
