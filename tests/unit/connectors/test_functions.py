"""The closed library of functions."""

import uuid
from decimal import Decimal

import pytest

from connectors.functions import LIBRARY, MAX_ITEMS, MAX_TEXT, WITHHELD_AWARE, Absent, FieldWithheld, Kind, call
from schemas.errors import Refused


def code_of(name: str, *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        call(name, list(arguments))
    return caught.value.code


def withheld() -> object:
    raise FieldWithheld("mapping.withheld", field="phone")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("upper", ["d'Été"], "D'ÉTÉ"),
        ("lower", ["D'ÉTÉ"], "d'été"),
        ("title", ["JEAN-PIERRE D'ARCY"], "Jean-Pierre D'Arcy"),
        ("strip_accents", ["Élodie"], "Elodie"),
        ("ascii", ["Cœur"], "Coeur"),
        ("squeeze", [" a  b "], "a b"),
        ("words", ["A B"], ["A", "B"]),
        ("split", ["a;b;;c", ";"], ["a", "b", "", "c"]),
        ("join", [" ", ["a", None, "", "b", 3]], "a b 3"),
        ("join", [" ", [None, ""]], None),
        ("join", [" ", []], None),
        ("replace", ["a.b.c", ".", "-"], "a-b-c"),
        ("starts_with", ["abc", "ab"], True),
        ("ends_with", ["abc", "ab"], False),
        ("pad_left", ["42", 5, "0"], "00042"),
        ("pad_right", ["42", 5], "42   "),
        ("full_name", [["Lise", "Maëlle"], "AUBÉPIN"], "Lise Maëlle AUBÉPIN"),
        ("full_name", [None, "AUBÉPIN"], "AUBÉPIN"),
        ("full_name", ["Lise", "AUBÉPIN"], "Lise AUBÉPIN"),
        ("to_text", [42], "42"),
        ("to_text", [True], "true"),
        ("to_text", [Decimal("1.50")], "1.50"),
        ("to_text", [None], None),
        ("to_number", ["-042"], -42),
        ("number_fr", [Decimal("1234.505"), 2], "1234,51"),
        ("number_fr", [1234, 0], "1234"),
        ("number_fr", [0.1, 2], "0,10"),
        ("length", [["a", "b"]], 2),
        ("first", [["a", "b"]], "a"),
        ("last", [["a", "b"]], "b"),
        ("first", [[]], None),
        ("last", [[]], None),
        ("one_of", ["a", ["b", "a"]], True),
        ("one_of", [1, [True, "1"]], False),
        ("default", [None, "x"], "x"),
        ("default", ["", "x"], "x"),
        ("default", [[], "x"], "x"),
        ("default", [0, "x"], 0),
        ("default", [False, "x"], False),
        ("date_fr", ["1962-08"], "08/1962"),
        ("date_as", ["1962-08-24", "yyyymmdd"], "19620824"),
        ("date_zeros", ["1962", "ddmmyyyy"], "00001962"),
        ("date_from", ["24081962", "ddmmyyyy"], "1962-08-24"),
        ("paris_day", ["2026-07-01T22:30:00Z"], "2026-07-02"),
        ("address_lines", [{"street": "rue A", "city": "B"}], ["RUE A", "B"]),
        ("address_slots", [{"street": "rue A", "city": "B"}], [None, None, None, "RUE A", None, "B"]),
        ("postcode_of", ["44000 NANTES"], "44000"),
        ("city_of", ["44000 NANTES"], "NANTES"),
        ("number_of", ["5 RUE A"], "5"),
        ("repetition_of", ["5 BIS RUE A"], "BIS"),
        ("street_of", ["5 RUE A"], "RUE A"),
        ("commune_name", ["35238"], "Rennes"),
        ("commune_today", ["35238"], "35238"),
        ("country_name", ["99100"], "France"),
    ],
)
def test_a_function_gives(name: str, arguments: list[object], expected: object) -> None:
    assert repr(expected) == repr(call(name, arguments))


def test_a_function_over_an_address_of_the_catalogue_gives_its_lines() -> None:
    address = {"street": "rue A", "postcode": "35000", "city": "B", "country": "99100"}
    assert ["RUE A", "35000 B"] == call("postal_lines", [address])
    assert 6 == len(call("postal_slots", [address]))


def test_each_item_of_a_list_is_mapped_and_nulls_are_kept() -> None:
    assert ["a1", None] == call("map", [lambda item: item and f"{item}1", ["a", None]])


@pytest.mark.parametrize("false", [None, False, "", [], {}])
def test_when_takes_the_third_where_the_condition_is_null_false_or_empty(false: object) -> None:
    assert "no" == call("when", [lambda: false, lambda: "yes", lambda: "no"])


@pytest.mark.parametrize("true", [True, 0, "0", [None], {"a": None}])
def test_when_takes_the_second_for_anything_else(true: object) -> None:
    assert "yes" == call("when", [lambda: true, lambda: "yes", lambda: "no"])


def test_when_evaluates_only_the_branch_it_takes() -> None:
    assert "yes" == call("when", [lambda: True, lambda: "yes", withheld])


def test_a_code_is_looked_up_by_text_and_one_that_is_not_listed_is_refused() -> None:
    table = {"F": "female", "1": "yes", "true": "on"}
    assert ["female", "yes", "on", None] == [call("code", [table, key]) for key in ("F", 1, True, None)]
    assert "mapping.no-code" == code_of("code", table, "M")
    assert ["?", "?", "female"] == [call("code_or", [table, key, "?"]) for key in ("M", None, "F")]


def test_a_stable_id_is_the_uuid_that_anybody_computes() -> None:
    space = uuid.uuid5(uuid.NAMESPACE_URL, "urn:unefois:stable-id:v1")
    assert str(uuid.uuid5(space, "person\x00seed")) == call("stable_id", ["person", "seed"])
    assert call("stable_id", ["person", "seed"]) != call("stable_id", ["perso", "nseed"])


def test_a_withheld_value_becomes_what_the_file_says() -> None:
    assert "none" == call("withheld_or", [withheld, lambda: "none"])
    assert None is call("null_if_withheld", [withheld])
    assert Absent.LEFT_OUT is call("keep_if_withheld", [withheld])
    assert True is call("is_withheld", [withheld])


@pytest.mark.parametrize("name", sorted(WITHHELD_AWARE))
def test_a_value_that_is_there_is_what_it_is_null_too(name: str) -> None:
    arguments = [lambda: None, lambda: "other"][: len(LIBRARY[name].takes)]
    assert (False if name == "is_withheld" else None) is call(name, list(arguments))


def test_the_fallback_of_a_withheld_value_may_be_withheld_as_well() -> None:
    with pytest.raises(FieldWithheld):
        call("withheld_or", [withheld, withheld])


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, function in LIBRARY.items()
        if {Kind.TEXT, Kind.NUMBER, Kind.LIST, Kind.RECORD} & set(function.takes[:1]) or name in {"map", "full_name"}
    ),
)
def test_null_in_is_null_out(name: str) -> None:
    something = {Kind.NUMBER: 1, Kind.LIST: [], Kind.EACH: str, Kind.ANY: "a"}
    takes = LIBRARY[name].takes
    for place, kind in enumerate(takes):
        if kind in {Kind.TEXT, Kind.NUMBER, Kind.LIST, Kind.RECORD}:
            arguments = [something.get(each, "a") for each in takes]
            arguments[place] = None
            assert None is call(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("upper", [1]),
        ("upper", [True]),
        ("pad_left", ["a", "5", " "]),
        ("pad_left", ["a", True, " "]),
        ("length", ["text"]),
        ("first", [{"a": 1}]),
        ("address_lines", [["a"]]),
        ("join", [" ", [["a"]]]),
        ("join", [" ", [{"a": 1}]]),
        ("to_text", [["a"]]),
        ("to_number", ["4.2"]),
        ("to_number", ["٣"]),
        ("code", [{}, ["a"]]),
    ],
)
def test_an_argument_of_another_kind_is_refused(name: str, arguments: list[object]) -> None:
    assert "mapping.argument" == code_of(name, *arguments)


@pytest.mark.parametrize(("name", "arguments"), [("number_fr", [1, 13]), ("number_fr", [1, -1]), ("split", ["a", ""])])
def test_an_unusable_width_or_separator_is_refused(name: str, arguments: list[object]) -> None:
    assert "mapping.width" == code_of(name, *arguments)


def test_no_text_and_no_list_grows_without_bound() -> None:
    long = "x" * MAX_TEXT
    assert "mapping.too-long" == code_of("join", "", [long, "x"])
    assert "mapping.too-long" == code_of("replace", long, "x", "xx")
    assert "mapping.too-many" == code_of("split", "a" * (MAX_ITEMS + 1), "a")


def test_every_function_says_what_it_does() -> None:
    assert all(function.says.endswith(".") for function in LIBRARY.values())
