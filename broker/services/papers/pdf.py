"""Pdf: a tagged PDF of headings, paragraphs and tables, for people who hear a page as well as for those who see it.

    Document(title, language) ──heading, paragraph, table──► written() ──► bytes

Refuses: letters that the fonts have not (`fonts`): a question mark for each, so that nothing is wrong in silence.
Keeps: every text is in the structure (H1, H2, P, Table, TR, TH with its scope, TD) in the order in which it is read;
what only decorates is an artifact; language and title are told, and the title stands in the window. The letters that
are shown are embedded, and each says which letter it is. The same content is the same bytes. A document calls itself
PDF/UA-1 (ISO 14289-1:2014), and veraPDF, run by hand, agrees; no test of ours runs it.
Source: ISO 32000-1:2008 (PDF 1.7), 9.7, 9.10, 14.7 and 14.8; docs/adr/0054-a-persons-rights.md says why no library.
"""

import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from broker.services.papers.fonts import Font, font, readable
from schemas.messages import Language

WIDTH: Final = 595
HEIGHT: Final = 842
"""A4 in points of 1/72 inch."""
MARGIN: Final = 56
_SIZES: Final = {"H1": 18, "H2": 13, "P": 10, "TH": 9, "TD": 9}
_LEADING: Final = 1.35


@dataclass(slots=True)
class _Element:
    """One element of the structure: its kind, its children, or the marked content that it is (page, number)."""

    kind: str
    parent: "_Element | None" = None
    children: "list[_Element]" = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    number: int = 0


@dataclass(frozen=True, slots=True)
class _Told:
    """What a document says of itself."""

    title: str
    language: Language
    at: str


class Document:
    """One document. `at`: when it was made, as `20261201120000Z`; what its properties say."""

    def __init__(self, title: str, language: Language, at: str) -> None:
        self._told = _Told(title, language, at)
        self._pages: list[list[str]] = []
        self._letters: dict[bool, set[str]] = {False: set(), True: set()}
        self._tagged: list[list[_Element]] = []
        self._root = _Element("Document")
        self._y = 0.0
        self._turn()
        self.heading(title, "H1")

    def heading(self, text: str, kind: str = "H2") -> None:
        """H1 for the title, H2 for a part."""
        size = _SIZES[kind]
        self._y -= size * 0.6
        self._room(size * 4)
        self._block(self._element(kind, self._root), text, MARGIN, WIDTH - 2 * MARGIN, bold=True)
        self._y -= size * 0.3

    def paragraph(self, text: str) -> None:
        """One paragraph; it may go on, on the next page."""
        self._block(self._element("P", self._root), text, MARGIN, WIDTH - 2 * MARGIN)
        self._y -= 4

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table whose first row names the columns. A row stays together; one that is longer than a page does not."""
        table = self._element("Table", self._root)
        self._room(6 * _SIZES["TD"] * _LEADING)  # the names of the columns stay with the first row
        self._row(table, columns, "TH")
        for row in rows:
            self._row(table, row, "TD")
        self._y -= 6

    def written(self) -> bytes:
        """The whole file."""
        return _File(self._told, self._pages, self._tagged, self._root).written(self._letters)

    # ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self) -> None:
        self._pages.append([])
        self._tagged.append([])
        self._y = float(HEIGHT - MARGIN)

    def _room(self, height: float) -> None:
        if self._y - height < MARGIN:
            self._turn()

    def _element(self, kind: str, parent: _Element) -> _Element:
        made = _Element(kind, parent)
        parent.children.append(made)
        return made

    def _row(self, table: _Element, cells: Sequence[str], kind: str) -> None:
        row = self._element("TR", table)
        width = (WIDTH - 2 * MARGIN) / len(cells)
        size, bold = _SIZES[kind], kind == "TH"
        broken = [wrapped(cell, width - 6, size, bold=bold) for cell in cells]
        height = max(map(len, broken)) * size * _LEADING
        self._room(min(height, HEIGHT - 2 * MARGIN))
        page, top = len(self._pages), self._y
        for at, cell in enumerate(cells):
            if len(self._pages) == page:
                self._y = top
            self._block(self._element(kind, row), cell, MARGIN + at * width, width - 6, bold=bold)
        if len(self._pages) == page:
            self._y = top - height
        self._pages[-1].append(f"/Artifact BMC 0.8 G {MARGIN} {self._y:.1f} m {WIDTH - MARGIN} {self._y:.1f} l S EMC")
        self._y -= 3

    def _block(self, element: _Element, text: str, x: float, width: float, *, bold: bool = False) -> None:
        """Lines of one element; on each page that it reaches it is one marked sequence."""
        size = _SIZES[element.kind]
        lines = wrapped(text, width, size, bold=bold)
        while lines:
            self._room(size * _LEADING)
            fit = max(1, int((self._y - MARGIN) / (size * _LEADING)))
            here, lines = lines[:fit], lines[fit:]
            page, number = len(self._pages) - 1, len(self._tagged[-1])
            self._tagged[page].append(element)
            element.marks.append((page, number))
            said = [f"/{element.kind} <</MCID {number}>> BDC BT /F{2 if bold else 1} {size} Tf"]
            said.append(f"{size * _LEADING:.2f} TL {x:.1f} {self._y - size:.1f} Td")
            said += [f"<{self._shown(one, bold=bold)}> Tj T*" for one in here]
            self._pages[page].append(" ".join((*said, "ET EMC")))
            self._y -= len(here) * size * _LEADING

    def _shown(self, line: str, *, bold: bool) -> str:
        """The numbers of a line's glyphs, four digits each."""
        used = self._letters[bold]
        used.update(line)
        return "".join(f"{font(bold=bold).glyph(letter):04X}" for letter in line)


def wrapped(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """The lines of a text in points, as they are shown; a word that is too long is cut. At least one line."""
    scale, measure = size / 1000, font(bold=bold).measure
    lines: list[str] = []
    for paragraph in readable(text).split("\n"):
        line = ""
        for whole in filter(None, paragraph.split(" ")):  # not at a space that does not break
            word = whole
            while measure(word) * scale > width:
                cut = next(n for n in range(len(word), 0, -1) if n == 1 or measure(word[:n]) * scale <= width)
                lines += [line] * bool(line) + [word[:cut]]
                line, word = "", word[cut:]
            longer = f"{line} {word}".strip()
            if measure(longer) * scale <= width:
                line = longer
            else:
                lines.append(line)
                line = word
        lines.append(line)
    return lines


class _File:
    """Objects with their numbers, and where each begins."""

    def __init__(
        self, told: "_Told", pages: Sequence[Sequence[str]], tagged: Sequence[Sequence[_Element]], root: _Element
    ) -> None:
        self._objects: list[bytes] = []
        self._told = told
        self._pages, self._tagged, self._root = pages, tagged, root

    def written(self, letters: Mapping[bool, Set[str]]) -> bytes:
        """`letters`: what is shown in bold, and what is not."""
        catalog, parents, tree = self._reserve(), self._reserve(), self._reserve()
        fonts = [self._font(font(bold=bold), sorted(letters[bold])) for bold in (False, True)]
        pages = [self._reserve() for _ in self._pages]
        for element in _all(self._root):
            element.number = self._reserve()
        for at, page in enumerate(pages):
            content = self._stream("\n".join(self._pages[at]).encode("ascii"))
            self._put(
                page,
                f"<</Type/Page/Parent {parents} 0 R/MediaBox[0 0 {WIDTH} {HEIGHT}]/Contents {content} 0 R/Tabs/S"
                f"/StructParents {at}/Resources<</Font<</F1 {fonts[0]} 0 R/F2 {fonts[1]} 0 R>>>>>>",
            )
        for element in _all(self._root):
            self._put(element.number, self._structured(element, tree, pages))
        owners = " ".join(
            f"{at} [{' '.join(f'{one.number} 0 R' for one in told)}]" for at, told in enumerate(self._tagged)
        )
        self._put(
            tree,
            f"<</Type/StructTreeRoot/K {self._root.number} 0 R/ParentTree<</Nums[{owners}]>>"
            f"/ParentTreeNextKey {len(pages)}>>",
        )
        kids = " ".join(f"{page} 0 R" for page in pages)
        self._put(parents, f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>")
        metadata = self._metadata()
        self._put(
            catalog,
            f"<</Type/Catalog/Pages {parents} 0 R/Lang({self._told.language})/MarkInfo<</Marked true>>"
            f"/StructTreeRoot {tree} 0 R/ViewerPreferences<</DisplayDocTitle true>>/Metadata {metadata} 0 R>>",
        )
        info = self._reserve()
        self._put(info, f"<</Title {_unicode(self._told.title)}/CreationDate(D:{self._told.at})/Producer(Unefois)>>")
        return self._joined(catalog, info)

    def _structured(self, element: _Element, tree: int, pages: Sequence[int]) -> str:
        parent = tree if element.parent is None else element.parent.number
        kids = [f"{one.number} 0 R" for one in element.children]
        kids += [f"<</Type/MCR/Pg {pages[page]} 0 R/MCID {number}>>" for page, number in element.marks]
        scope = "/A<</O/Table/Scope/Column>>" if element.kind == "TH" else ""
        return f"<</Type/StructElem/S/{element.kind}/P {parent} 0 R/K[{' '.join(kids)}]{scope}>>"

    def _metadata(self) -> int:
        title = self._told.title.replace("&", "&amp;").replace("<", "&lt;")
        packet = (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
            ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/"'
            '><pdfuaid:part>1</pdfuaid:part><dc:title><rdf:Alt><rdf:li xml:lang="x-default">'
            f"{title}</rdf:li></rdf:Alt></dc:title><dc:language><rdf:Bag><rdf:li>{self._told.language}</rdf:li></rdf:Bag>"
            '</dc:language></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        ).encode()
        number = self._reserve()
        head = f"<</Type/Metadata/Subtype/XML/Length {len(packet)}>>\nstream\n".encode()
        self._objects[number - 1] = head + packet + b"\nendstream"
        return number

    def _font(self, chosen: Font, letters: Sequence[str]) -> int:
        """A font of these letters, by their glyphs' numbers; and which letter each glyph is."""
        name, glyphs = chosen.tagged(letters), {chosen.glyph(one): one for one in letters}
        program = self._stream(chosen.embedded(letters), lengths=True)
        described, descendant, number = self._reserve(), self._reserve(), self._reserve()
        box, stem, flags = " ".join(map(str, chosen.box)), 160 if chosen.bold else 80, 32  # not symbolic
        self._put(
            described,
            f"<</Type/FontDescriptor/FontName/{name}/Flags {flags}/FontBBox[{box}]/ItalicAngle 0/StemV {stem}"
            f"/Ascent {chosen.ascent}/Descent {chosen.descent}/CapHeight {chosen.capitals}/FontFile2 {program} 0 R>>",
        )
        widths = " ".join(f"{glyph} [{chosen.widths[glyph]}]" for glyph in sorted(glyphs))
        self._put(
            descendant,
            f"<</Type/Font/Subtype/CIDFontType2/BaseFont/{name}/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)"
            f"/Supplement 0>>/FontDescriptor {described} 0 R/W[{widths}]/CIDToGIDMap/Identity>>",
        )
        read = self._stream(_letters_of(glyphs).encode("ascii"))
        self._put(
            number,
            f"<</Type/Font/Subtype/Type0/BaseFont/{name}/Encoding/Identity-H/DescendantFonts[{descendant} 0 R]"
            f"/ToUnicode {read} 0 R>>",
        )
        return number

    def _stream(self, content: bytes, *, lengths: bool = False) -> int:
        """`lengths`: of a font, whose own length is told beside."""
        packed, number = zlib.compress(content, 9), self._reserve()
        own = f"/Length1 {len(content)}" if lengths else ""
        head = f"<</Length {len(packed)}{own}/Filter/FlateDecode>>\nstream\n".encode()
        self._objects[number - 1] = head + packed + b"\nendstream"
        return number

    def _reserve(self) -> int:
        self._objects.append(b"")
        return len(self._objects)

    def _put(self, number: int, text: str) -> None:
        self._objects[number - 1] = text.encode("latin-1")

    def _joined(self, catalog: int, info: int) -> bytes:
        out, places = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), []
        for number, content in enumerate(self._objects, 1):
            places.append(len(out))
            out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
        start = len(out)
        table = "".join(f"{place:010d} 00000 n \n" for place in places)
        out += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}".encode()
        out += f"trailer\n<</Size {len(places) + 1}/Root {catalog} 0 R/Info {info} 0 R>>\n".encode()
        return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def _all(root: _Element) -> list[_Element]:
    """It and everything below it, in the order of reading."""
    return [root, *(one for child in root.children for one in _all(child))]


def _unicode(text: str) -> str:
    return f"<FEFF{text.encode('utf-16-be').hex().upper()}>"


def _letters_of(glyphs: Mapping[int, str]) -> str:
    """A ToUnicode CMap: at most a hundred in each of its lists (ISO 32000-1, 9.10.3)."""
    told = [f"<{glyph:04X}> <{letter.encode('utf-16-be').hex().upper()}>" for glyph, letter in sorted(glyphs.items())]
    lists = [told[at : at + 100] for at in range(0, len(told), 100)]
    chars = "\n".join(f"{len(one)} beginbfchar\n" + "\n".join(one) + "\nendbfchar" for one in lists)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
        "/CIDSystemInfo <</Registry (Adobe) /Ordering (UCS) /Supplement 0>> def\n"
        "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        f"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n{chars}\n"
        "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    )
