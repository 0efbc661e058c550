"""Code tables: a value and its code, both ways: out of a mapping file, out of a CSV beside it, out of the catalogue.

    value;code
    female;Mme
    male;M.

Refuses: a CSV without this header, a value twice, a cell that is empty or has spaces around it, other encodings than
         UTF-8, more than `MAX_BYTES` or `MAX_CODES`; all when the file is loaded, with the table's name and the line.
         A value that is not listed is refused with the table's name, and never repeated: it may be a citizen's.
Keeps: a code leads back to a value only where one value alone has it. The enumerations of the catalogue are tables of
       their own names, with their French labels: `Relation` has `child` as `Enfant`.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from schemas.avro_types import Kind, Type
from schemas.catalogue import builtin
from schemas.errors import Refused

MAX_BYTES = 2 * 1024 * 1024
"""Largest CSV of codes, in bytes."""
MAX_CODES = 60_000
"""Most codes of one table: there are fewer communes."""
HEADER = ["value", "code"]
"""The first line of a CSV of codes; between the two stands `;`, `,` or a tab, as in all other lines."""

Code = str | int | float | bool | None


@dataclass(frozen=True)
class CodeTable:
    """One table, by its name in the mapping file."""

    name: str
    codes: Mapping[str, Code] = field(repr=False)

    def code(self, value: str) -> Code:
        """The code of a value. Raises Refused("mapping.no-code")."""
        if value not in self.codes:
            raise Refused("mapping.no-code", table=self.name, entries=len(self.codes))
        return self.codes[value]

    def value(self, code: str) -> str:
        """The one value with this code. Raises Refused("mapping.no-code", "mapping.code-ambiguous")."""
        found = self._values.get(code)
        if found is None:
            raise Refused("mapping.no-code", table=self.name, entries=len(self.codes))
        if len(found) > 1:
            raise Refused("mapping.code-ambiguous", table=self.name, count=len(found))
        return found[0]

    @cached_property
    def _values(self) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for value, code in self.codes.items():
            if isinstance(code, str | int) and not isinstance(code, bool):
                values.setdefault(str(code), []).append(value)
        return values


Tables = Mapping[str, CodeTable]
Read = Callable[[str], bytes | None]
"""The bytes of a file beside the mapping, by its name; None where there is none."""


def read(name: str, document: bytes) -> CodeTable:
    """A table out of its CSV. Raises Refused("mapping.table-*") with its name and, where there is one, the line."""
    if len(document) > MAX_BYTES:
        raise Refused("mapping.table-large", table=name, bytes=len(document), limit=MAX_BYTES)
    try:
        text = document.decode("utf-8-sig")  # what spreadsheets put in front is no part of the header
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        text = None
    if text is None:
        raise Refused("mapping.table-encoding", table=name, line=line)
    delimiter = next((one for one in (";", ",", "\t") if one.join(HEADER) == text.split("\n", 1)[0].rstrip("\r")), None)
    if delimiter is None:
        raise Refused("mapping.table-header", table=name)
    codes: dict[str, Code] = {}
    for line, row in _lines(name, text, delimiter):
        if len(row) != len(HEADER) or any(not cell or cell != cell.strip() or not cell.isprintable() for cell in row):
            raise Refused("mapping.table-line", table=name, line=line)
        if row[0] in codes:
            raise Refused("mapping.table-twice", table=name, line=line)
        codes[row[0]] = row[1]
        if len(codes) > MAX_CODES:
            raise Refused("mapping.table-large", table=name, bytes=len(document), limit=MAX_BYTES)
    return CodeTable(name, codes)


def _lines(name: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The lines after the header, with their numbers; empty ones are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    next(reader)
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            raise Refused("mapping.table-line", table=name, line=reader.line_num) from None
        if row is None:
            return
        if row:
            yield reader.line_num, row


@cache
def of_catalogue() -> Tables:
    """The enumerations of every event type, by their names without namespace: symbols with their French labels."""
    found: dict[str, CodeTable] = {}
    for event in builtin().newest:
        for kind in _enumerations(event.schema.type):
            name = (kind.name or "").rpartition(".")[2]
            labels = kind.properties["labels"]
            found[name] = CodeTable(name, {symbol: labels[symbol]["fr"] for symbol in kind.symbols})
    return found


def _enumerations(kind: Type) -> Iterator[Type]:
    if kind.kind is Kind.ENUM:
        yield kind
    for part in (*kind.parts, *(each.type for each in kind.fields)):
        yield from _enumerations(part)
