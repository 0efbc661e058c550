"""One line of an agency's CSV."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Reject
from connectors.file.csv_line import Style, line_of


def line(cell: str, **style: Any) -> bytes:
    return line_of(["A"], [cell], Style(**style))


def test_cells_are_separated_by_semicolons_and_quoted_where_needed() -> None:
    assert b'a;"b;c";"d""e";;f\r\n' == line_of("ABCDE", ["a", "b;c", 'd"e', "", "f"], Style())


def test_every_cell_is_quoted_where_the_agency_wants_it() -> None:
    assert b'"a";""\n' == line_of("AB", ["a", ""], Style(quote="all", line_end="\n"))


def test_a_lone_empty_cell_is_no_empty_line() -> None:
    assert b'""\r\n' == line("")


def test_a_line_is_in_the_agencys_encoding() -> None:
    assert b"\xc9t\xe9\r\n" == line("Été", encoding="iso-8859-1")
    assert b"\x9cuf 5 \x80\r\n" == line("œuf 5 €", encoding="cp1252")
    assert b"\xbduf 5 \xa4\r\n" == line("œuf 5 €", encoding="iso-8859-15")
    assert (b"\xc3\x89t\xc3\xa9\r\n", b"\xef\xbb\xbf") == (line("Été", encoding="utf-8-sig"), Style("utf-8-sig").mark)


@pytest.mark.parametrize(("encoding", "cell"), [("iso-8859-1", "cœur"), ("iso-8859-15", "l’été"), ("cp1252", "Łódź")])
def test_a_character_that_the_encoding_lacks_is_rejected_with_its_column_by_default(encoding: str, cell: str) -> None:
    with pytest.raises(Reject) as caught:
        line(cell, encoding=encoding)
    assert ("file.encoding", "/A", encoding) == (
        caught.value.code,
        caught.value.pointer,
        caught.value.details["encoding"],
    )


def test_a_character_that_the_encoding_lacks_is_respelled_where_the_agency_says_so() -> None:
    assert b"coeur d'\xe9t\xe9, L\xf3dz\r\n" == line("cœur d’été, Łódź", encoding="iso-8859-1", lacking="transliterate")


def test_a_character_without_counterpart_is_rejected_even_then() -> None:
    with pytest.raises(Reject) as caught:
        line("Иван", encoding="iso-8859-1", lacking="transliterate")
    assert "file.encoding" == caught.value.code


@pytest.mark.parametrize("cell", ["a\nb", "a\r", "a\tb", "a\x00", "a\x85", "a\u2028b"])
def test_a_line_break_or_control_character_is_rejected(cell: str) -> None:
    with pytest.raises(Reject) as caught:
        line(cell)
    assert ("file.control", "/A") == (caught.value.code, caught.value.pointer)


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|x", "-2+3+cmd", "@SUM(A1)", " =1", "＝1", "+", "-", "- tiret", "+33 6 (0)"]
)
def test_a_cell_that_would_run_in_a_spreadsheet_gets_an_apostrophe(cell: str) -> None:
    assert f"'{cell}\r\n".encode() == line(cell)
    assert f"{cell}\r\n".encode() == line(cell, guard=False)


@pytest.mark.parametrize("cell", ["-12,50", "+33600000000", "+33 6 00 00 00 00", "-5", "a=b", "1-2", "'=1"])
def test_numbers_and_telephones_stay_as_they_are(cell: str) -> None:
    assert f"{cell}\r\n".encode() == line(cell)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12), min_size=1, max_size=5)
)
def test_a_strict_reader_gets_the_cells_back(cells: list[str]) -> None:
    names = [str(number) for number in range(len(cells))]
    written = line_of(names, cells, Style(guard=False)).decode()
    assert [cells] == list(csv.reader(io.StringIO(written, newline=""), delimiter=";", strict=True))
