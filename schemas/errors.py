"""The three things that can go wrong, and no more.

    Fault
    ├── Refused       the input is wrong: say which field, what is wrong, what to do; nothing was changed
    ├── Unavailable   something we depend on is away: try the same call again later; nothing was lost
    └── Corrupt       we contradict ourselves: stop, keep the evidence, run `unefois fsck`

Refuses: to carry a citizen's value. Details hold sizes, names of fields, limits and identifiers, never content.
Keeps: every fault has a stable code listed in `codes.toml`; whether to retry is a fact about its type. Where several
    places of one input are wrong, the fault that is raised is the first, and has the others with it.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import ClassVar, Final

Detail = str | int

MOST: Final = 50
"""How many faults of one input are told at once."""


class Fault(Exception):
    """A stable code, an RFC 6901 pointer to the field ("" for the whole), and details that fill the sentence.

    `also`: what else is wrong with the same input (`together`). `problem`: where another program answered with a fault,
    its whole answer, by the members of RFC 9457.
    """

    retriable: ClassVar[bool] = False
    also: "tuple[Fault, ...]" = ()
    problem: Mapping[str, object] | None = None

    def __init__(self, code: str, pointer: str = "", **details: Detail) -> None:
        self.code = code
        self.pointer = pointer
        self.details: Mapping[str, Detail] = details
        super().__init__(code, pointer)

    def __str__(self) -> str:
        place = f" at {self.pointer}" if self.pointer else ""
        told = ", ".join(f"{name}={value}" for name, value in self.details.items())
        return f"{self.code}{place}" + (f" ({told})" if told else "") + (f" +{len(self.also)}" if self.also else "")

    def under(self, prefix: str) -> "Fault":
        """The same fault, seen from the outer record: `/city` under `/address` is `/address/city`."""
        moved = type(self)(self.code, prefix + self.pointer, **self.details)
        moved.also, moved.problem = tuple(each.under(prefix) for each in self.also), self.problem
        return moved


class Refused(Fault):
    """The input is wrong."""


class Unavailable(Fault):
    """A dependency is away; the same call may succeed later."""

    retriable: ClassVar[bool] = True


class Corrupt(Fault):
    """Our own state contradicts itself."""


def together(faults: Iterable[Refused]) -> Refused:
    """The first of these faults, with the others in `also`: `MOST` in all; where there are more, a last one says so.

    Raises ValueError where there is none.
    """
    first, *others = islice(faults, MOST + 1)
    cut = len(others) >= MOST
    first.also = (*others[: MOST - 1], *([Refused("faults.more", limit=MOST)] if cut else []))
    return first
