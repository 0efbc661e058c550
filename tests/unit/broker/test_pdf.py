"""Pdf: another's reader finds every text in the order in which it is read, under its tag, with title and language."""

import re
import struct
import unicodedata
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from broker.services.papers import fonts
from broker.services.papers.fonts import font
from broker.services.papers.pdf import HEIGHT, MARGIN, WIDTH, Document, wrapped

AT = "20261201120000Z"
VENDORED = Path(fonts.__file__).parent / "vendor" / "dejavu"


def read(document: Document) -> PdfReader:
    return PdfReader(BytesIO(document.written()), strict=True)


def structure(reader: PdfReader) -> list[tuple[str, str]]:
    """Kind and text of each element that has text, in the order of the tree: as a screen reader has it."""
    texts = [_marked(page) for page in reader.pages]
    numbers = {page.indirect_reference.idnum: at for at, page in enumerate(reader.pages) if page.indirect_reference}
    found: list[tuple[str, str]] = []

    def walk(element: Any) -> None:
        said = []
        for kid in element["/K"]:
            one = kid.get_object()
            if one["/Type"] == "/MCR":
                said.append(texts[numbers[one.raw_get("/Pg").idnum]][one["/MCID"]])
            else:
                assert one.raw_get("/P").idnum == element.indirect_reference.idnum
                walk(one)
        if said:
            found.append((element["/S"], " ".join(said)))

    walk(reader.trailer["/Root"]["/StructTreeRoot"]["/K"].get_object())
    return found


def _marked(page: Any) -> dict[int, str]:
    """The text of each marked sequence of a page."""
    told: dict[int, str] = {}
    number: list[int | None] = []
    fonts, chosen = {name: _letters(one) for name, one in page["/Resources"]["/Font"].items()}, ""
    for operands, operator in page.get_contents().operations:
        if operator == b"Tf":
            chosen = operands[0]
        elif operator == b"BDC":
            number.append(operands[1]["/MCID"])
        elif operator == b"BMC":
            number.append(None)
        elif operator == b"EMC":
            number.pop()
        elif operator == b"Tj":
            assert number[-1:] != [None]
            assert number, "a text that no structure has"
            said = "".join(fonts[chosen][glyph] for (glyph,) in struct.iter_unpack(">H", operands[0].original_bytes))
            told[number[-1]] = f"{told.get(number[-1], '')} {said}".strip()
    return told


def _letters(font: Any) -> dict[int, str]:
    """Which letter each glyph of a font says that it is."""
    told = font.get_object()["/ToUnicode"].get_object().get_data().decode("ascii")
    pairs = re.findall(r"<([0-9A-F]{4})> <((?:[0-9A-F]{4})+)>\n", told.partition("beginbfchar")[2])
    return {int(glyph, 16): bytes.fromhex(letter).decode("utf-16-be") for glyph, letter in pairs}


def whole() -> Document:
    document = Document("Ce qui est à vous (œuf)", "fr", AT)
    document.paragraph("Une première phrase, à 12 €.")
    document.heading("Transmis")
    document.table(["quand", "à qui"], [["hier", "Rennes (35)"], ["demain", "Brest"]])
    return document


def test_each_text_is_in_the_structure_in_the_order_of_reading() -> None:
    expected = [
        ("/H1", "Ce qui est à vous (œuf)"),
        ("/P", "Une première phrase, à 12 €."),
        ("/H2", "Transmis"),
        *(("/TH", "quand"), ("/TH", "à qui")),
        *(("/TD", "hier"), ("/TD", "Rennes (35)"), ("/TD", "demain"), ("/TD", "Brest")),
    ]
    assert expected == structure(read(whole()))


def test_it_says_its_language_its_title_and_that_it_is_tagged() -> None:
    reader = read(whole())
    root: Any = reader.trailer["/Root"]

    assert ("fr", True, True) == (
        root["/Lang"],
        root["/MarkInfo"]["/Marked"],
        root["/ViewerPreferences"]["/DisplayDocTitle"],
    )
    assert reader.metadata is not None
    assert "Ce qui est à vous (œuf)" == reader.metadata.title == reader.xmp_metadata.dc_title["x-default"]  # type: ignore[union-attr]


def test_a_heading_of_a_column_says_that_it_is_of_its_column() -> None:
    written = whole().written()

    assert 2 == written.count(b"/S/TH") == written.count(b"/Scope/Column")


def test_the_parent_tree_leads_from_each_mark_to_its_element() -> None:
    reader = read(long())
    tree: Any = reader.trailer["/Root"]["/StructTreeRoot"]
    numbers = tree["/ParentTree"]["/Nums"]

    assert list(range(len(reader.pages))) == [page["/StructParents"] for page in reader.pages] == list(numbers[0::2])
    for page, owners in zip(reader.pages, numbers[1::2], strict=True):
        assert page.indirect_reference is not None
        for mark, owner in enumerate(owners):
            kids = [one.get_object() for one in owner.get_object()["/K"]]
            same = [one for one in kids if one.raw_get("/Pg").idnum == page.indirect_reference.idnum]
            assert mark in [one["/MCID"] for one in same]


def long() -> Document:
    document = Document("Long", "en", AT)
    document.paragraph("word " * 3000)
    document.table(["a", "b"], [["x " * 900, "y"], ["z " * 3000, "w"]])
    return document


def test_what_is_longer_than_a_page_goes_on_and_nothing_is_lost_or_outside() -> None:
    reader = read(long())
    told = dict(structure(reader))

    assert len(reader.pages) > 3
    assert ["word"] * 3000 == told["/P"].split()
    assert 900 == sum(text.split().count("x") for kind, text in structure(reader) if kind == "/TD")
    for page in reader.pages:
        places = _places(page)
        assert all(MARGIN <= x < WIDTH - MARGIN and MARGIN - 12 <= y < HEIGHT - MARGIN for x, y in places)


def _places(page: Any) -> list[tuple[float, float]]:
    """Where each text stands."""
    found: list[tuple[float, float]] = []

    def take(text: str, _: Any, matrix: Any, *rest: Any) -> None:
        if text.strip():
            found.append((matrix[4], matrix[5]))

    page.extract_text(visitor_text=take)
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((one, one) for one in ("Łódź", "Škoda", "Nguyễn Thị", "Çelik İğdır", "Ελλάδα", "Київ", "Ærø ß €")),
        ("nai\u0308f \u202f!", "naïf \u00a0!"),
        ("日本", "??"),
        ("محمد", "????"),
        ("\x07\ud800", "??"),
    ],
)
def test_names_of_europe_are_shown_and_what_the_fonts_have_not_is_a_question_mark(text: str, shown: str) -> None:
    document = Document("t", "fr", AT)
    document.paragraph(text)

    assert shown == structure(read(document))[-1][1]
    assert shown in document_text(document)


def document_text(document: Document) -> str:
    """As pypdf has it, by the fonts alone."""
    return unicodedata.normalize("NFC", " ".join(page.extract_text() for page in read(document).pages))


def test_the_fonts_are_embedded_with_the_letters_that_are_shown_and_no_others() -> None:
    (page,) = read(whole()).pages
    resources: Any = page["/Resources"]
    for chosen, shown in (("/F1", "première hiRB(35)"), ("/F2", "quandœuf()")):
        told = resources["/Font"][chosen].get_object()
        descendant = told["/DescendantFonts"][0].get_object()
        program = TTFont(BytesIO(descendant["/FontDescriptor"]["/FontFile2"].get_data()))
        order = program.getGlyphOrder()
        outlined = {at for at, name in enumerate(order) if program["glyf"][name].numberOfContours}
        parts = {
            program.getGlyphID(part)
            for name in order
            for part in program["glyf"][name].getComponentNames(program["glyf"])
        }
        letters = _letters(told)
        assert set(shown) <= set(letters.values())
        assert outlined - {0} - parts == {glyph for glyph, letter in letters.items() if not letter.isspace()} - parts
        assert {glyph: descendant["/W"][at + 1][0] for at, glyph in enumerate(descendant["/W"]) if at % 2 == 0} == {
            glyph: round(program["hmtx"].metrics[program.getGlyphName(glyph)][0] * 1000 / 2048) for glyph in letters
        }
        assert len(program.reader.file.getvalue()) < 25_000


def test_it_says_that_it_is_pdf_ua() -> None:
    assert b"<pdfuaid:part>1</pdfuaid:part>" in whole().written()


def test_the_fonts_are_unchanged() -> None:
    told = dict(line.split("  ")[::-1] for line in (VENDORED / "SHA256SUMS").read_text().splitlines())
    there = {one.name: sha256(one.read_bytes()).hexdigest() for one in VENDORED.iterdir()}

    assert told == {name: digest for name, digest in there.items() if name not in {"SHA256SUMS", "README.md"}}
    assert font().glyphs.keys() == font(bold=True).glyphs.keys()


def test_what_could_end_a_text_of_the_file_does_not() -> None:
    document = Document("t) Tj (", "en", AT)
    document.paragraph("\\ ) EMC ( endstream \\")

    assert [("/H1", "t) Tj ("), ("/P", "\\ ) EMC ( endstream \\")] == structure(read(document))


def test_a_word_longer_than_a_line_is_cut_and_a_narrow_column_ends() -> None:
    assert "x" * 500 == "".join(wrapped("x" * 500, 100, 10))
    assert ["M"] * 4 == wrapped("MMMM", 9, 10)
    assert [""] == wrapped("", 100, 10)


def test_the_same_content_is_the_same_bytes() -> None:
    assert whole().written() == whole().written()
