"""Template: an XML document of the agency's, in which columns stand for their values; filled, and checked by its XSD.

    <m:Lot xmlns:m="urn:ville:mutations" xmlns:u="urn:unefois:template" jour="{$date}" numero="{$number}">
      <m:Mutation u:each="row">
        <m:Nom>{NOM}</m:Nom>
        <m:Telephone u:omit="TEL">{TEL}</m:Telephone>
      </m:Mutation>
    </m:Lot>

`{NOM}` is a column's text, in an element or in an attribute; `{{` and `}}` are braces. `u:each="row"` is said by the
element that comes once for each row; where none says it, the document is of one row. `u:omit="TEL"`: without a value
the element is left out; else it is there and empty. An attribute that is nothing but a column is left out without a
value. Outside of the rows `{$date}` (2026-11-02), `{$number}` and `{$rows}` are those of the file.

Refuses: a column that is not there, one that is not used, a document type, an XSD that leads out of its own folder;
of a row, characters that the encoding or XML lacks, and what the XSD refuses.
Keeps: a value is text: no mark-up of its own, no reference (`&#339;`) in the place of a letter. The document is filled
as text, so that thousands of rows cost what their text does; only the XSD reads it again, before anybody sees it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self
from xml.sax.saxutils import escape

from lxml import etree

from connectors.contract import Reject, Retry, Row, reference_token
from connectors.expression import nearest
from connectors.file.csv_line import Style, fitting
from connectors.file.layout import About
from connectors.file.lines import cell_of
from connectors.file.xsd import Names, Xsd, names_of, tree_of
from schemas.errors import Refused

OURS: Final = "{urn:unefois:template}"
OF_THE_FILE: Final = ("$date", "$number", "$rows")
_CALLED: Final = {"utf-8-sig": "UTF-8", "cp1252": "windows-1252"}
_BRACES: Final = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
_CELL, _OMIT, _END, _EACH, _LAST = _MARKS = ("\ue000", "\ue001", "\ue002", "\ue003", "\ue004")
"""Marks of ours in the document while it is taken apart: private letters, which a template may not have."""
_NUMBER: Final = "([0-9]+);"
_ATTRIBUTE: Final = re.compile(rf' [^\s=<>"]+="{_CELL}{_NUMBER}"')
_MARK: Final = re.compile(rf"({_CELL}{_NUMBER}|{_OMIT}{_NUMBER}|{_END})")
_NO_XML: Final = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class _Part:
    """A column's place; with parts, what is left out where the column has no value."""

    name: str
    inside: "tuple[str | _Part, ...] | None" = None


_Parts = tuple[str | _Part, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A document taken apart; a `Layout`."""

    style: Style
    decimal: Literal["point", "comma"]
    head: _Parts
    row: _Parts
    foot: _Parts
    each: Names
    """The way to the element of a row; (): the document is of one row."""
    columns: frozenset[str]
    places: Mapping[Names, str]
    """A column by the way to its element."""
    xsd: Xsd | None

    @classmethod
    def read(cls, template: Path | None, xsd: Path | None, style: Style, decimal: Literal["point", "comma"]) -> Self:
        """From its file, with its XSD. Raises Refused("file.template", "file.xsd")."""
        if template is None:
            raise Refused("file.template", "/template", why="none")
        tree = tree_of(template)
        if isinstance(tree, str):
            raise Refused("file.template", "/template", why=tree)
        root, marker = tree.getroot(), _Marker()
        marker.mark(root)
        each, names = _bordered(root), marker.names
        ours = [prefix for prefix, uri in root.nsmap.items() if prefix and f"{{{uri}}}" == OURS]
        kept = {prefix for one in root.iter() for prefix in one.nsmap if prefix} - set(ours)
        etree.cleanup_namespaces(tree, keep_ns_prefixes=sorted(kept))
        text = etree.tostring(root, encoding="unicode")
        text = _ATTRIBUTE.sub(lambda found: f"{_OMIT}{found[1]};{found[0]}{_END}", text)
        text = text.replace("\n", style.line_end)
        try:
            text.translate({ord(mark): "" for mark in _MARKS}).encode(style.codec)
        except UnicodeEncodeError:
            raise Refused("file.template", "/template", why="encoding") from None
        before, _, rest = text.partition(_EACH) if each else ("", "", text)
        one, _, after = rest.partition(_LAST) if each else (rest, "", "")
        head, row, foot = (_parts(part, names) for part in (before, one, after))
        inner, outer = set(_names(row)), {*_names(head), *_names(foot)}
        if wrong := sorted(outer.difference(OF_THE_FILE) | inner.intersection(OF_THE_FILE)):
            raise Refused("file.template", "/template", why="place", name=wrong[0])
        schema = None if xsd is None else Xsd.read(xsd)
        return cls(style, decimal, head, row, foot, each, frozenset(inner), marker.places, schema)

    @property
    def first(self) -> int:
        """Rows count from 1."""
        return 1

    def wrong(self, targets: Sequence[str]) -> Iterator[Refused]:
        """Columns that are not there or not used: `file.template-column`, `file.template-unused`."""
        for name in sorted(self.columns.difference(targets) if targets else ()):
            yield Refused("file.template-column", "/template", name=name, near=nearest(name, targets))
        for name in targets:
            if name not in self.columns:
                yield Refused("file.template-unused", f"/{reference_token(name)}")

    def line(self, targets: Sequence[str], row: Row) -> bytes:
        """One row. Raises Reject("connector.cell", "file.control", "file.encoding", "file.xsd-row") at the column, and
        Retry("file.xsd-template") where what stands around the rows does not fit the XSD.
        """
        cells = {name: self._cell(row.get(name), f"/{reference_token(name)}") for name in targets}
        line = "".join(_filled(self.row, cells)).encode(self.style.codec)
        if self.xsd is not None and (wrong := self.xsd.first_wrong(self._around([line], About(1, "20000101")))):
            path, rule, names = wrong
            if names and names[: len(self.each)] != self.each:
                raise Retry("file.xsd-template", path=path, rule=rule)
            column = self.places.get(names)
            pointer = "" if column is None else f"/{reference_token(column)}"
            raise Reject("file.xsd-row", pointer, path=path, rule=rule)
        return line

    def whole(self, targets: Sequence[str], lines: Sequence[bytes], about: About) -> bytes:
        """The document. Raises Retry("file.xsd-whole")."""
        made = self._around(lines, about)
        if self.xsd is not None and (wrong := self.xsd.first_wrong(made)):
            raise Retry("file.xsd-whole", number=about.number, path=wrong[0], rule=wrong[1])
        return made

    def _around(self, lines: Sequence[bytes], about: About) -> bytes:
        day = f"{about.day[:4]}-{about.day[4:6]}-{about.day[6:]}"
        cells = {"$date": day, "$number": str(about.number), "$rows": str(len(lines))}
        called = _CALLED.get(self.style.encoding, self.style.encoding.upper())
        before = f'<?xml version="1.0" encoding="{called}"?>{self.style.line_end}' + "".join(_filled(self.head, cells))
        after = "".join(_filled(self.foot, cells)) + self.style.line_end
        codec = self.style.codec
        return b"".join((self.style.mark, before.encode(codec), *lines, after.encode(codec)))

    def _cell(self, value: object, pointer: str) -> str | None:
        if value is None:
            return None
        text = fitting(pointer, cell_of(value, pointer, self.decimal), self.style)
        if _NO_XML.search(text) is not None:
            raise Reject("file.control", pointer)
        return escape(text, {'"': "&quot;"})


class _Marker:
    """Puts a mark at each place of a column. `names` are the columns by the numbers of the marks."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.places: dict[Names, str] = {}

    def mark(self, root: Any) -> None:
        """Raises Refused("file.template")."""
        for element in root.iter():
            way = names_of(element)
            element.text, element.tail = self._text(element.text, way), self._text(element.tail, way[:-1])
            for name, value in element.attrib.items():
                if not name.startswith(OURS):
                    element.set(name, self._text(value, way))
        for element in root.iter():
            omitted = element.attrib.pop(f"{OURS}omit", None)
            if omitted is not None:
                _border(element, f"{_OMIT}{self._numbered(omitted)};", _END)

    def _text(self, text: str | None, way: Names) -> str | None:
        if text is None:
            return None
        if any(mark in text for mark in _MARKS):
            raise Refused("file.template", "/template", why="letters")

        def one(found: re.Match[str]) -> str:
            if found[0] in {"{{", "}}"}:
                return found[0][0]
            if found[1] is None:
                raise Refused("file.template", "/template", why="brace")
            self.places.setdefault(way, found[1])
            return f"{_CELL}{self._numbered(found[1])};"

        return _BRACES.sub(one, text)

    def _numbered(self, name: str) -> int:
        self.names.append(name)
        return len(self.names) - 1


def _bordered(root: Any) -> Names:
    """Mark where the rows are: the way there; () where no element says it. Raises Refused for two, and for a word that
    is not ours.
    """
    found = [one for one in root.iter() if one.attrib.pop(f"{OURS}each", None) == "row"]
    left = [name for one in root.iter() for name in one.attrib if str(name).startswith(OURS)]
    if left or len(found) > 1 or root in found:
        raise Refused("file.template", "/template", why="each")
    for one in found:
        _border(one, _EACH, _LAST)
    return names_of(found[0]) if found else ()


def _border(element: Any, before: str, after: str) -> None:
    """Put marks around an element and the white space in front of it."""
    parent, previous = element.getparent(), element.getprevious()
    if parent is None:
        raise Refused("file.template", "/template", why="each")
    text = (parent.text if previous is None else previous.tail) or ""
    bare = text.rstrip(" \t\n")
    marked = bare + before + text[len(bare) :]
    if previous is None:
        parent.text = marked
    else:
        previous.tail = marked
    element.tail = after + (element.tail or "")


def _parts(text: str, names: Sequence[str]) -> _Parts:
    """The text between the marks, and the marks as parts."""
    open_: list[tuple[str, list[str | _Part]]] = [("", [])]
    at = 0
    for found in _MARK.finditer(text):
        open_[-1][1].append(text[at : found.start()])
        at = found.end()
        if found[0][0] == _CELL:
            open_[-1][1].append(_Part(names[int(found[2])]))
        elif found[0][0] == _OMIT:
            open_.append((names[int(found[3])], []))
        else:
            name, inside = open_.pop()
            open_[-1][1].append(_Part(name, tuple(inside)))
    open_[-1][1].append(text[at:])
    return tuple(one for one in open_[0][1] if one != "")


def _names(parts: _Parts) -> Iterator[str]:
    for part in parts:
        if isinstance(part, _Part):
            yield part.name
            yield from _names(part.inside or ())


def _filled(parts: _Parts, cells: Mapping[str, str | None]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif part.inside is None:
            yield cells[part.name] or ""
        elif cells[part.name] is not None:
            yield from _filled(part.inside, cells)
