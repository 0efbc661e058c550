"""Crash points: named places beside every write where a test can kill this very process.

Refuses: to do anything unless the environment says UNEFOIS_CRASH_AT=<name>[:<n>]; then the n-th passage is SIGKILL:
no clean-up, no flush, no answer, as in a power cut.
Keeps: names are literals, found in the source by `marked()`, so a table over all of them is complete by construction.
"""

import ast
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "UNEFOIS_CRASH_AT"

_NAME = re.compile(r"[a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*")
_ARMED = re.compile(rf"({_NAME.pattern})(?::([1-9][0-9]*))?")


class _Trap:
    """Where to die, and after how many passages; nowhere by default."""

    __slots__ = ("left", "name")

    def __init__(self, setting: str | None) -> None:
        armed = _ARMED.fullmatch(setting or "")
        if setting and not armed:
            raise ValueError(f"{VARIABLE} is <name>[:<n>], for example mailbox.handed-out:2")
        self.name = armed[1] if armed else None
        self.left = int(armed[2] or 1) if armed else 0


_trap = _Trap(os.environ.get(VARIABLE))


def mark(name: str) -> None:
    """A crash here leaves what the comment beside the call says. Costs one comparison when nothing is armed."""
    if _trap.name == name:
        _trap.left -= 1
        if _trap.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def marked(package: Path) -> tuple[str, ...]:
    """Every name marked in a package's source, sorted.

    Raises ValueError where a mark is not a literal, is badly named, or stands twice: then a table over the names would
    miss a place.
    """
    found: dict[str, str] = {}
    for file in sorted(package.rglob("*.py")):
        source = file.read_text("utf-8")
        for call in _marks(ast.parse(source)) if "mark(" in source else ():
            name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
            place = f"{file.relative_to(package)}:{call.lineno}"
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(f"{place}: a crash point needs a literal name like mailbox.handed-out")
            if name in found:
                raise ValueError(f"{place}: {name} stands at {found[name]} already")
            found[name] = place
    return tuple(sorted(found))


def _marks(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (
            (isinstance(node.func, ast.Name) and node.func.id == "mark")
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "mark")
        ):
            yield node
