"""Lines of a file: one row as CSV, as a JSON object (JSON lines), or with columns of a fixed width.

Refuses: what `csv_line` refuses; in columns of a fixed width a cell that is too long (nothing is cut in silence); JSON
in another encoding than UTF-8.
Keeps: a line is one line for every reader: whatever ends one, U+2028 among it, is refused or escaped. In JSON a decimal
number is a text, so that no reader rounds it; a column that was left out is no member, and null is null.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from connectors.cells import text_of
from connectors.contract import Reject, Row, reference_token
from connectors.file.csv_line import Style, fitting, line_of
from schemas.errors import Refused

WIDEST = 10_000
_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x7f\x85\u2028\u2029"}
"""What JSON leaves as it is, and some readers take for the end of a line."""


@dataclass(frozen=True, slots=True)
class Lines:
    """How a row becomes a line; a `Layout`."""

    format: Literal["csv", "jsonl", "fixed"]
    style: Style
    decimal: Literal["point", "comma"]
    widths: Mapping[str, int]
    """Characters of each column, where the format is `fixed`."""
    headed: bool = True

    @property
    def first(self) -> int:
        """The line of the first row."""
        return 2 if self.headed and self.format == "csv" else 1

    def wrong(self, targets: Sequence[str]) -> Iterator[Refused]:
        """What does not fit these columns: `file.json-encoding`, `file.width`, and for their names as `line` does."""
        if self.format == "jsonl" and self.style.encoding != "utf-8":
            yield Refused("file.json-encoding", "/encoding")
        if self.format == "fixed":
            for name in targets:
                if not 0 < self.widths.get(name, 0) <= WIDEST:
                    yield Refused("file.width", f"/widths/{reference_token(name)}", limit=WIDEST)
        try:
            self.header(targets)
        except Reject as fault:
            yield fault

    def header(self, targets: Sequence[str]) -> bytes:
        """The names of the columns, in CSV; nothing else has any. Raises Reject as `line` does."""
        return line_of(targets, targets, self.style) if self.headed and self.format == "csv" else b""

    def whole(self, targets: Sequence[str], lines: Sequence[bytes], about: object) -> bytes:
        """The mark, the header, and the lines."""
        return b"".join((self.style.mark, self.header(targets), *lines))

    def line(self, targets: Sequence[str], row: Row) -> bytes:
        """One row. Raises Reject("connector.cell", "file.control", "file.encoding", "file.too-long") at the column."""
        if self.format == "jsonl":
            members = {name: _member(row[name], f"/{reference_token(name)}") for name in targets if name in row}
            text = json.dumps(members, ensure_ascii=False, separators=(",", ":")).translate(_ENDS)
            return (text + self.style.line_end).encode()
        cells = [cell_of(row.get(name), f"/{reference_token(name)}", self.decimal) for name in targets]
        if self.format == "csv":
            return line_of(targets, cells, self.style)
        padded = (self._padded(name, cell) for name, cell in zip(targets, cells, strict=True))
        return ("".join(padded) + self.style.line_end).encode(self.style.codec)

    def _padded(self, name: str, cell: str) -> str:
        pointer, width = f"/{reference_token(name)}", self.widths[name]
        text = fitting(pointer, cell, self.style)
        if len(text) > width:  # after `œ` became `oe`
            raise Reject("file.too-long", pointer, length=len(text), limit=width)
        return text.ljust(width)


def cell_of(value: object, pointer: str, decimal: Literal["point", "comma"]) -> str:
    """The text of a value, a decimal number with the agency's sign. Raises Reject("connector.cell")."""
    cell = text_of(value, pointer)
    return cell.replace(".", ",") if isinstance(value, Decimal) and decimal == "comma" else cell


def _member(value: object, pointer: str) -> str | int | bool | None:
    if value is None or isinstance(value, bool | int):
        return value
    return text_of(value, pointer)
