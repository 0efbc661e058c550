"""Layout: what a file is made of, whatever its format: rows, each in the bytes of its line, and a whole around them.

Refuses: nothing itself; a format raises what it refuses at the column.
Keeps: a row is judged alone, when it is written; what one holds does not change what becomes of the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.cells import text_of
from connectors.contract import Row
from connectors.text import encodable
from schemas.errors import Refused


@dataclass(frozen=True, slots=True)
class About:
    """What a file may say of itself: its number, its day (`20261102`)."""

    number: int
    day: str


class Layout(Protocol):
    """One format with its settings. Lines and wholes are in the encoding of the settings."""

    @property
    def first(self) -> int:
        """The number of the first row: its line in a file of lines, else 1."""
        ...

    def wrong(self, targets: Sequence[str]) -> Iterator[Refused]:
        """What stands in the way of rows with these columns, with the pointer to the setting or the column."""
        ...

    def line(self, targets: Sequence[str], row: Row) -> bytes:
        """One row. Raises Reject with the column as pointer."""
        ...

    def whole(self, targets: Sequence[str], lines: Sequence[bytes], about: About) -> bytes:
        """The file. Raises Retry("file.xsd-whole") where the rows, each good, make no good document together."""
        ...


def respelled(row: Row, encoding: str) -> int:
    """How many characters of a row the encoding lacks."""
    texts = (text_of(value, "") for value in row.values() if isinstance(value, str))
    return sum(1 for text in texts if not encodable(text, encoding) for one in text if not encodable(one, encoding))
