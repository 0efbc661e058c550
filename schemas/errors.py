"""The three things that can go wrong, and no more.

    Fault
    ├── Refused       the input is wrong: say which field, what is wrong, what to do; nothing was changed
    ├── Unavailable   something we depend on is away: try the same call again later; nothing was lost
    └── Corrupt       we contradict ourselves: stop, keep the evidence, run `unefois fsck`

Refuses: to carry a citizen's value. Details hold sizes, names of fields, limits and identifiers, never content.
Keeps: every fault has a stable code listed in `codes.toml`; whether to retry is a fact about its type.
"""

from collections.abc import Mapping
from typing import ClassVar

Detail = str | int


class Fault(Exception):
    """A stable code, an RFC 6901 pointer to the field ("" for the whole), and details that fill the sentence."""

    retriable: ClassVar[bool] = False

    def __init__(self, code: str, pointer: str = "", **details: Detail) -> None:
        self.code = code
        self.pointer = pointer
        self.details: Mapping[str, Detail] = details
        super().__init__(code, pointer)

    def __str__(self) -> str:
        place = f" at {self.pointer}" if self.pointer else ""
        told = ", ".join(f"{name}={value}" for name, value in self.details.items())
        return f"{self.code}{place}" + (f" ({told})" if told else "")

    def under(self, prefix: str) -> "Fault":
        """The same fault, seen from the outer record: `/city` under `/address` is `/address/city`."""
        return type(self)(self.code, prefix + self.pointer, **self.details)


class Refused(Fault):
    """The input is wrong."""


class Unavailable(Fault):
    """A dependency is away; the same call may succeed later."""

    retriable: ClassVar[bool] = True


class Corrupt(Fault):
    """Our own state contradicts itself."""
