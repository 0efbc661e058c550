"""The closed library of functions."""

import uuid
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.code_tables import CodeTable
from connectors.functions import LIBRARY, MAX_ITEMS, MAX_TEXT, WITHHELD_AWARE, Absent, FieldWithheld, Kind, call
from schemas import finding, places
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
        ("date_day", ["1962-08-24"], "24"),
        ("date_day", ["1962-08"], None),
        ("date_month", ["1962"], None),
        ("date_year", ["1962"], "1962"),
        ("date_of", ["4", "8", 1962], "1962-08-04"),
        ("date_of", [None, 8, "1962"], "1962-08"),
        ("date_of", ["00", "", "1962"], "1962"),
        ("date_of", ["", None, 0], None),
        ("pack", ["|", ["a", None, 3]], "a|3"),
        ("pack", ["|", []], None),
        ("unpack", ["|", "a|3"], ["a", "3"]),
        ("unpack", ["|", None], []),
        ("unpack", ["|", ""], []),
        ("commune_name", ["35238"], "Rennes"),
        ("commune_code", ["ST DENIS", "97400"], "97411"),
        ("commune_code", ["rennes"], "35238"),
        ("commune_code", ["Bellegarde-sur-Valserine", None], "01033"),
        ("country_code", ["ALLEMAGNE"], "99109"),
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
    table = CodeTable("sexe", {"F": "female", "1": "yes", "true": "on"})
    assert ["female", "yes", "on", None] == [call("code", [table, key]) for key in ("F", 1, True, None)]
    assert "mapping.no-code" == code_of("code", table, "M")
    assert ["?", "?", "female"] == [call("code_or", [table, key, "?"]) for key in ("M", None, "F")]


@pytest.mark.parametrize(
    "parts", [("4", None, "1962"), ("4", "8", None), (31, 2, 1962), (None, None, "62"), ("x", 1, 1962)]
)
def test_three_columns_that_are_no_date_are_refused(parts: tuple[object, ...]) -> None:
    assert "mapping.date" == code_of("date_of", *parts)
    assert "mapping.date" == code_of("date_of", None, None, True)


@pytest.mark.parametrize("items", [["a|b"], [""], ["a", "|"]])
def test_a_list_whose_cell_could_not_be_read_again_is_refused(items: list[object]) -> None:
    assert "mapping.separator" == code_of("pack", "|", items)


def test_a_list_parted_by_what_its_items_end_with_is_refused() -> None:
    assert "mapping.separator" == code_of("pack", "||", ["a|", "b"])
    assert "mapping.separator" == code_of("pack", "", ["a"])
    assert "mapping.separator" == code_of("unpack", "", "a")


@given(st.lists(st.text("a|", min_size=1, max_size=4), max_size=4), st.text("|;", min_size=1, max_size=2))
def test_a_list_in_one_cell_is_the_same_list_again_or_refused(items: list[object], separator: str) -> None:
    try:
        cell = call("pack", [separator, items])
    except Refused:
        return
    assert items == call("unpack", [separator, cell])


@given(st.dates())
def test_a_date_in_three_columns_is_the_same_date_again(day: date) -> None:
    for known in (day.isoformat(), day.isoformat()[:7], day.isoformat()[:4]):
        parts = [call(name, [known]) for name in ("date_day", "date_month", "date_year")]
        assert known == call("date_of", parts)


@pytest.mark.parametrize(
    ("code", "name", "arguments"),
    [
        ("mapping.place-ambiguous", "commune_code", ["Saint-Denis"]),
        ("mapping.no-such-place", "commune_code", ["Rennes-la-Grande", "35000"]),
        ("mapping.no-such-place", "country_code", ["Allemagne fédérale"]),
    ],
)
def test_a_name_that_means_none_or_several_is_refused(code: str, name: str, arguments: list[object]) -> None:
    assert code == code_of(name, *arguments)


def test_a_commune_or_country_of_today_is_found_by_its_name_and_postcode() -> None:
    for country in places.all_countries():
        assert country.code == call("country_code", [country.name])
    for place in places.all_current()[::500]:
        for postcode in finding.postcodes(place.code)[:1]:
            assert place.code == call("commune_code", [place.name, postcode])


def test_a_code_leads_back_to_its_one_value() -> None:
    table = CodeTable("sexe", {"F": "2", "M": 1, "X": "3", "Y": "3"})
    assert ["F", "M", None] == [call("code_back", [table, code]) for code in ("2", 1, None)]
    assert "mapping.code-ambiguous" == code_of("code_back", table, "3")
    assert "mapping.no-code" == code_of("code_back", table, "9")


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
        ("number_fr", [float("inf"), 2]),
        ("number_fr", [Decimal("NaN"), 2]),
        ("number_fr", [10**400, 2]),
        ("stable_id", ["person", "\ud800"]),
        ("to_number", ["٣"]),
        ("code", [CodeTable("sexe", {}), ["a"]]),
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
