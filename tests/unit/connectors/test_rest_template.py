"""Templates of the rest connector: a row's columns in an address and in a body, and nothing else than these."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Reject
from connectors.rest.template import body_of, cells_of, path_of, path_template, problems

ID = "0192f0c1-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("template", "row", "path"),
    [
        ("/moves", {}, "/moves"),
        ("/persons/{n}/moves", {"n": "A 1/é"}, "/persons/A%201%2F%C3%A9/moves"),
        ("/p/{a}-{b}", {"a": 7, "b": Decimal("1.50")}, "/p/7-1.50"),
        ("/moves?ref={delivery_id}&x=1", {"delivery_id": ID}, f"/moves?ref={ID}&x=1"),
        ("/m?q={a}", {"a": "..&y=2#?"}, "/m?q=..%26y%3D2%23%3F"),
        ("/a/{a}", {"a": "..."}, "/a/..."),
    ],
)
def test_a_column_stands_encoded_in_its_part_of_the_address(template: str, row: dict[str, Any], path: str) -> None:
    assert path == path_of(path_template(template), row)


@pytest.mark.parametrize(
    "value", ["..", ".", "../admin", "a/../b", "a\\..\\b", "", "a\nb", "a\x00", None, True, [], 1.5]
)
def test_a_value_that_would_lead_elsewhere_is_refused_by_its_column(value: object) -> None:
    with pytest.raises(Reject, match=r"rest.path-value") as refused:
        path_of("/persons/{n}", {"n": value})
    assert "/n" == refused.value.pointer


def test_two_columns_do_not_walk_up_together_either() -> None:
    with pytest.raises(Reject, match=r"rest.path-value"):
        path_of("/persons/{a}{b}", {"a": ".", "b": "."})


@given(st.text(), st.text())
def test_no_value_changes_how_many_segments_there_are(one: str, other: str) -> None:
    try:
        path = path_of("/a/{one}/b{other}?q={one}", {"one": one, "other": other})
    except Reject:
        return
    before, _, query = path.partition("?")
    assert (3, False, False) == (before.count("/"), "/../" in f"{before}/", "&" in query or "#" in path)


@pytest.mark.parametrize(
    "text", ["moves", "//host/x", "/a/../b", "/a/./b", "/a#b", "/a b", "/a{", "/a?b?c", "/a\\b", "/é"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"path"):
        path_template(text)


TEMPLATE = {
    "person": {"name": "{name}", "phone": "{phone}", "tags": ["{tag}", "fixed", {"n": "{n}"}]},
    "text": "to {name}",
    "ref": "{delivery_id}",
    "none": None,
}


def test_a_text_that_is_a_column_becomes_its_value_and_what_is_left_out_is_left_out() -> None:
    body = json.loads(body_of(TEMPLATE, {"name": "{phone}", "n": 3, "phone": None}, ID))
    person = {"name": "{phone}", "phone": None, "tags": ["fixed", {"n": 3}]}
    assert {"person": person, "text": "to {name}", "ref": ID, "none": None} == body


def test_without_a_template_the_row_is_sent_flat_and_nothing_is_added() -> None:
    assert {"name": "Élise", "n": 1.5} == json.loads(body_of(None, cells_of({"name": "Élise", "n": 1.5}, ()), ID))


@pytest.mark.parametrize(
    ("value", "nested", "told"),
    [
        (Decimal("12.30"), False, 12.3),
        (Decimal("0.1"), False, 0.1),
        (2**70, False, 2**70),
        (True, False, True),
        ([{"a": Decimal("1.5")}], True, [{"a": 1.5}]),
        (Decimal("0.12345678901234567890"), False, "rest.number"),
        (Decimal("NaN"), False, "rest.number"),
        (float("inf"), False, "rest.number"),
        ([1], False, "connector.cell"),
        ({"a": 1}, False, "connector.cell"),
        ([b"x"], True, "connector.cell"),
    ],
)
def test_a_number_stays_exact_and_a_list_belongs_where_it_is_awaited(value: object, nested: bool, told: object) -> None:
    def told_of(given: object) -> object:
        try:
            return cells_of({"x": given}, ("x",) if nested else ())["x"]
        except Reject as fault:
            return fault.code if fault.pointer == "/x" else fault.pointer

    assert told == told_of(value)


def test_a_column_that_the_mapping_does_not_fill_is_told_with_the_nearest() -> None:
    found = list(problems({"a": ["{nmae}"], "b": "{nmae}", "c": "{delivery_id}"}, ["name"], "/body"))
    assert [("rest.unknown-column", "/body", "name")] == [(one.code, one.pointer, one.details["near"]) for one in found]
