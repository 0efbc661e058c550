"""Lines: CSV, JSON, fixed width; each row one line for every reader, and nothing cut or rounded in silence."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Reject
from connectors.file.csv_line import Encoding, Style
from connectors.file.lines import Lines

NAMES = ("nom", "sexe")


def fixed(encoding: Encoding = "iso-8859-1", lacking: Any = "refuse", **widths: int) -> Lines:
    style = Style(encoding=encoding, lacking=lacking, line_end="\n")
    return Lines("fixed", style, "comma", widths or {"nom": 6, "sexe": 1})


JSONL = Lines("jsonl", Style(line_end="\n"), "comma", {})


def refused(layout: Lines, row: Mapping[str, object]) -> tuple[str, str]:
    with pytest.raises(Reject) as caught:
        layout.line(NAMES, row)
    assert "Zzyzx" not in f"{caught.value!r}{caught.value}"
    return caught.value.code, caught.value.pointer


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"nom": "Ève", "sexe": "F"}, "Ève   F\n"),
        ({"nom": None, "sexe": "M"}, "      M\n"),
        ({"sexe": "M"}, "      M\n"),
        ({"nom": "Lefèvr", "sexe": 1}, "Lefèvr1\n"),
        ({"nom": Decimal("12.50"), "sexe": None}, "12,50  \n"),
        ({"nom": "=1+1", "sexe": "F"}, "=1+1  F\n"),
    ],
)
def test_a_column_has_its_width_whatever_stands_in_it(row: Mapping[str, object], line: str) -> None:
    assert line.encode("iso-8859-1") == fixed().line(NAMES, row)


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"nom": "Zzyzxxx", "sexe": "F"}, ("file.too-long", "/nom")),
        ({"nom": "Zzy\nx", "sexe": "F"}, ("file.control", "/nom")),
        ({"nom": "cœur", "sexe": "F"}, ("file.encoding", "/nom")),
        ({"nom": ["Zzyzx"], "sexe": "F"}, ("connector.cell", "/nom")),
        ({"nom": "Ève", "sexe": True}, ("connector.cell", "/sexe")),
    ],
)
def test_nothing_is_cut_or_left_out_in_silence(row: Mapping[str, object], wrong: tuple[str, str]) -> None:
    assert wrong == refused(fixed(), row)


def test_a_letter_that_becomes_two_has_to_fit_as_two() -> None:
    layout = fixed(lacking="transliterate", nom=5, sexe=1)
    assert b"coeurF\n" == layout.line(NAMES, {"nom": "cœur", "sexe": "F"})
    assert ("file.too-long", "/nom") == refused(layout, {"nom": "cœurs", "sexe": "F"})


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"nom": 'Ève "L\'"', "sexe": None}, '{"nom":"Ève \\"L\'\\"","sexe":null}\n'),
        ({"sexe": True}, '{"sexe":true}\n'),
        ({"sexe": 2, "nom": "Ève", "more": 1}, '{"nom":"Ève","sexe":2}\n'),
        ({"nom": Decimal("12.50"), "sexe": 2}, '{"nom":"12.50","sexe":2}\n'),
        ({"nom": "a\u2028b\x85c\n", "sexe": "="}, '{"nom":"a\\u2028b\\u0085c\\n","sexe":"="}\n'),
    ],
)
def test_a_json_line_says_what_the_row_says(row: Mapping[str, object], line: str) -> None:
    assert line.encode() == JSONL.line(NAMES, row)
    assert b"" == JSONL.header(NAMES)


def test_a_list_is_no_member() -> None:
    assert ("connector.cell", "/nom") == refused(JSONL, {"nom": ["Zzyzx"]})


@given(st.text(), st.one_of(st.none(), st.integers(), st.booleans(), st.text()))
def test_whatever_stands_in_it_a_json_line_is_one_line_and_comes_back(name: str, more: object) -> None:
    row = {"nom": name.encode("utf-8", "replace").decode(), "sexe": more}
    if isinstance(more, str):
        row["sexe"] = more.encode("utf-8", "replace").decode()
    text = JSONL.line(NAMES, row).decode()
    assert (row, 1) == (json.loads(text), len(text.splitlines()))


@pytest.mark.parametrize(
    ("layout", "found"),
    [
        (fixed(nom=3), [("file.width", "/widths/sexe")]),
        (fixed(nom=0, sexe=10_001), [("file.width", "/widths/nom"), ("file.width", "/widths/sexe")]),
        (Lines("jsonl", Style(encoding="cp1252"), "point", {}), [("file.json-encoding", "/encoding")]),
        (Lines("jsonl", Style(encoding="utf-8-sig"), "point", {}), [("file.json-encoding", "/encoding")]),
        (fixed(), []),
        (JSONL, []),
    ],
)
def test_what_does_not_fit_the_columns_is_found_before_the_first_row(
    layout: Lines, found: list[tuple[str, str]]
) -> None:
    assert found == [(each.code, each.pointer) for each in layout.wrong(NAMES)]
