"""One line of an agency's CSV: cells into bytes, or a refusal that names the column.

Refuses: line breaks and control characters inside a cell (naive readers split there), and by default a character that
         the encoding lacks: a name is not respelled unless the agency has said so.
Keeps: a cell never runs as a formula in a spreadsheet. A cell that starts like one gets an apostrophe in front, except
       plain numbers and telephone numbers (`-12,50`, `+33 6 12 34 56 78`), which no spreadsheet executes.
Source: RFC 4180 for quoting; OWASP, "CSV Injection", for the formula characters.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from connectors.contract import Reject, reference_token
from connectors.text import encodable, transliterate

Encoding = Literal["utf-8", "utf-8-sig", "iso-8859-1", "iso-8859-15", "cp1252"]

_FORMULA = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[+-][0-9][0-9 .,]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Style:
    """How the agency's program reads lines."""

    encoding: Encoding = "utf-8"
    lacking: Literal["refuse", "transliterate"] = "refuse"
    delimiter: Literal[";", ",", "\t", "|"] = ";"
    line_end: Literal["\r\n", "\n"] = "\r\n"
    quote: Literal["needed", "all"] = "needed"
    guard: bool = True

    @property
    def codec(self) -> str:
        """The encoding of a line; the byte order mark of `utf-8-sig` stands once, before the first."""
        return "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    @property
    def mark(self) -> bytes:
        """What the file begins with."""
        return b"\xef\xbb\xbf" if self.encoding == "utf-8-sig" else b""


def line_of(names: Sequence[str], cells: Sequence[str], style: Style) -> bytes:
    """The line with its end, in the style's encoding.

    Raises Reject("file.control") or ("file.encoding") with the column as pointer.
    """
    ready = [_cell(f"/{reference_token(name)}", cell, style) for name, cell in zip(names, cells, strict=True)]
    text = io.StringIO()
    quoting: Literal[0, 1] = csv.QUOTE_ALL if style.quote == "all" else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=style.delimiter, quoting=quoting, lineterminator=style.line_end).writerow(ready)
    return text.getvalue().encode(style.codec)


def _cell(pointer: str, cell: str, style: Style) -> str:
    text = fitting(pointer, cell, style)
    if style.guard and _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None:
        return "'" + text
    return text


def fitting(pointer: str, cell: str, style: Style) -> str:
    """A cell in letters that the encoding has. Raises Reject("file.control", "file.encoding")."""
    if _CONTROL.search(cell) is not None:
        raise Reject("file.control", pointer)
    text = transliterate(cell, style.codec) if style.lacking == "transliterate" else cell
    if not encodable(text, style.codec):
        raise Reject("file.encoding", pointer, encoding=style.encoding)
    return text
