"""Settings of files: what every file has, and what a folder adds.

Refuses: a name by which two files could be one, or which leads out of its folder.
Keeps: nothing of a row is in a name: it has a day and a number.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from connectors.contract import Settings
from connectors.file.csv_line import Encoding

Format = Literal["csv", "jsonl", "fixed", "xml"]
Marker = Annotated[str, StringConstraints(pattern=r"^\.[a-z]{1,8}$")]
ROWS_MOST = 1_000_000


def _name_pattern(name: str) -> str:
    if name.count("{number}") != 1 or name.count("{date}") > 1:
        raise ValueError("a name has {number} once, and {date} at most once")
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name.replace("{number}", "1").replace("{date}", "1")) is None:
        raise ValueError("letters, digits, dots, dashes and underscores only")
    return name


class FormatSettings(Settings):
    """How a file is called, and what stands in it."""

    name: Annotated[str, AfterValidator(_name_pattern)] = "unefois-{date}-{number}.csv"
    """`{number}` is the sequence, six digits; `{date}` the day in UTC, yyyymmdd."""
    rows: Annotated[int, Field(ge=1, le=ROWS_MOST)] | None = None
    """The most rows of one file; the next one takes what comes beyond. 1: a file for each delivery. By default all of a
    run."""
    format: Format = "csv"
    """`csv`; `jsonl`, a JSON object on each line; `fixed`, columns of a fixed width; `xml`, by a template. `name` has
    the ending."""
    template: Path | None = None
    """The XML document that is filled, where the format is `xml`."""
    xsd: Path | None = None
    """The XML Schema that every document is checked against before it is visible."""
    widths: Mapping[str, int] = Field(default_factory=dict)
    """Characters of each column, where the format is `fixed`: `{NOM: 80, SEXE: 1}`, in the order of the mapping."""
    encoding: Encoding = "utf-8"
    lacking: Literal["refuse", "transliterate"] = "refuse"
    """What happens to a character that the encoding lacks: œ, € and ’ in Latin-1. `transliterate`: it is written with
    letters that there are, and counted in the log."""
    delimiter: Literal[";", ",", "\t", "|"] = ";"
    line_end: Literal["crlf", "lf"] = "crlf"
    quote: Literal["needed", "all"] = "needed"
    header: bool = True
    decimal: Literal["point", "comma"] = "point"
    """How a decimal number is written: `12.50` or `12,50`. Texts stay as they are."""
    guard: bool = True
    """An apostrophe before cells that a spreadsheet would take for a formula."""


class FileSettings(FormatSettings):
    """Settings of a `file` connector."""

    folder: Path
    """Where the files go; it must exist, on one file system with itself (no network drive without rename)."""
    marker: Marker | None = None
    """The ending of an empty file that is made last, beside each file: `.ok`. Its taker removes it after the file."""
    permissions: Annotated[str, StringConstraints(pattern=r"^0[46][0-7]{2}$")] = "0640"
    journal: Path | None = None
    """Where the journal is; by default hidden in the folder. Move it where the agency's program clears the folder."""
