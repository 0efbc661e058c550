"""Exits: the one table of exit codes, for scripts that ask what happened without reading the text.

Refuses: nothing.
Keeps: a fault's exit code follows from its type alone, so a new code of a fault never needs a line here.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from schemas.errors import Corrupt, Fault, Unavailable


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    CORRUPT = 5
    UNEXPECTED = 6


MEANINGS: Final[Mapping[Exit, str]] = {
    Exit.OK: "done",
    Exit.FINDINGS: "checked, and something is wrong: findings, a failed check or test",
    Exit.USAGE: "the command line itself is wrong",
    Exit.REFUSED: "refused: the input is wrong; nothing was changed",
    Exit.UNAVAILABLE: "something it depends on is away: try the same again",
    Exit.CORRUPT: "the stored state contradicts itself: stop and run `unefois fsck`",
    Exit.UNEXPECTED: "a fault of the program: set UNEFOIS_DEBUG=1 to see where",
}


FINAL: Final = frozenset({Exit.USAGE, Exit.REFUSED, Exit.CORRUPT})
"""After which `unefois serve` would end the same way again: a supervisor does not start it once more."""


def exit_of(fault: Fault) -> Exit:
    """The exit code of a fault."""
    if isinstance(fault, Unavailable):
        return Exit.UNAVAILABLE
    return Exit.CORRUPT if isinstance(fault, Corrupt) else Exit.REFUSED
