"""An event type as plain data and as lines: what is told is what a record is held to."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from schemas import values
from schemas.catalogue import Catalogue, EventSchema, builtin
from schemas.described import describe, find, lines
from schemas.errors import Refused
from schemas.names import EventType
from schemas.samples import sample

MOVED = builtin().by_type(EventType("fr.unefois.address.changed.v1"))
NEXT = json.dumps(json.loads(MOVED.schema.raw) | {"doc": "The same, said otherwise."}).encode()
TWO = Catalogue.of([MOVED.schema.raw, NEXT])
TYPES = pytest.mark.parametrize("event", builtin().newest, ids=lambda each: each.event_type)


def _fields(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every field, nested ones too."""
    for each in told["fields"]:
        yield each
        inner = each
        while inner is not None:
            yield from _fields(inner) if inner["fields"] else ()
            inner = inner["items"]


def _field(path: str, told: dict[str, Any] | None = None) -> dict[str, Any]:
    return {each["path"]: each for each in _fields(told or describe(builtin(), MOVED))}[path]


def _places(record: Any, path: list[str], pointer: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Where a path leads in a record: what holds the place, its key, its pointer."""
    step, *rest = path
    keys = range(len(record)) if step == "*" else [step]
    for key in keys:
        if not rest:
            yield record, key, f"{pointer}/{key}"
        elif record[key] is not None:
            yield from _places(record[key], rest, f"{pointer}/{key}")


def _refusal(event: EventSchema, path: str, value: object) -> set[tuple[str, str]]:
    """What a sample is refused for with another value at this path, wherever the sample has it."""
    found = set()
    places = list(_places(sample(event.event_type), path.split("/")[1:]))
    for number in range(len(places)):
        record = sample(event.event_type)
        holder, key, pointer = list(_places(record, path.split("/")[1:]))[number]
        holder[key] = value
        try:
            values.check(event, record)
        except Refused as fault:
            found.add((fault.code, str(fault.pointer == pointer)))
        else:
            found.add(("", ""))
    return found


@TYPES
def test_the_fields_are_those_of_the_schema_in_its_order(event: EventSchema) -> None:
    told = describe(builtin(), event)

    assert list(event.names) == [each["name"] for each in told["fields"]]
    assert [each.sensitivity.value for each in event.fields] == [each["sensitivity"] for each in told["fields"]]
    assert event.schema.id.hex() == told["schema"]
    assert json.loads(json.dumps(told)) == told


@TYPES
def test_what_may_be_absent_may_and_what_may_not_is_refused_there(event: EventSchema) -> None:
    for each in _fields(describe(builtin(), event)):
        codes = {code for code, _ in _refusal(event, each["path"], None)}
        assert ("avro.wrong-type" in codes) is (not each["optional"] and bool(codes)), each["path"]


@TYPES
def test_a_text_of_one_character_more_is_refused_there(event: EventSchema) -> None:
    for each in _fields(describe(builtin(), event)):
        if each["max_length"]:
            assert _refusal(event, each["path"], "x" * (each["max_length"] + 1)) <= {("values.too-long", "True")}
            assert _refusal(event, each["path"], "") <= {("values.empty", "True")}


@TYPES
def test_a_number_beyond_its_range_and_an_unknown_symbol_are_refused_there(event: EventSchema) -> None:
    for each in _fields(describe(builtin(), event)):
        if each["minimum"] is not None:
            for beyond in (each["minimum"] - 1, each["maximum"] + 1):
                (refused,) = _refusal(event, each["path"], beyond)
                assert ("values.out-of-range", "True") == refused
        if each["symbols"]:
            assert _refusal(event, each["path"], "no-such-word") <= {("avro.unknown-symbol", "True")}
            for symbol in each["symbols"]:
                assert ("avro.unknown-symbol", "True") not in _refusal(event, each["path"], symbol["symbol"])
                assert {"fr", "en"} == set(symbol["label"])


@TYPES
def test_a_pattern_is_one_that_the_samples_have(event: EventSchema) -> None:
    for each in _fields(describe(builtin(), event)):
        for holder, key, _ in _places(sample(event.event_type), each["path"].split("/")[1:]):
            if each["pattern"] and holder[key] is not None:
                assert re.fullmatch(each["pattern"], holder[key])


def test_items_are_told_with_their_number_and_their_own_limits() -> None:
    vehicles, household = _field("/vehicles"), _field("/household")

    assert (0, 20) == (vehicles["min_items"], vehicles["max_items"])
    plate = vehicles["items"]
    assert ("string", "vehicle-plate", 12) == (plate["type"], plate["format"], plate["max_length"])
    assert ["/household/*/identity", "/household/*/relation"] == [each["path"] for each in household["items"]["fields"]]


def test_what_a_field_has_to_agree_with_is_told() -> None:
    ended = describe(builtin(), builtin().by_type(EventType("fr.unefois.union.dissolved.v1")))

    assert "/new_address/commune" == _field("/new_commune")["equals"]
    assert "/children" == _field("/children_count", ended)["counts"]
    assert "/new_housing=domiciliation" == _field("/domiciliation")["only_with"]
    assert "/new_housing=boat,travelling,domiciliation" == _field("/new_address")["streetless_with"]
    assert "/new_address/postcode" == _field("/new_postal_sector")["sector_of"]
    renamed = describe(builtin(), builtin().by_type(EventType("fr.unefois.address.renamed.v1")))
    assert "/old_address" == _field("/new_address", renamed)["differs"]
    assert any("no street with /new_housing" in line for line in lines(describe(builtin(), MOVED), "en"))
    assert _field("/subject/birthdate")["past"]
    assert not _field("/effective_date")["past"]
    amount = _field("/child_support/monthly_amount", ended)
    assert ("decimal", 9, 2) == (amount["type"], amount["precision"], amount["scale"])


class TestFind:
    @pytest.mark.parametrize("word", ["address.changed", "fr.unefois.address.changed.v1", "address.changed/2"])
    def test_a_type_is_found_by_its_short_and_its_full_name(self, word: str) -> None:
        assert MOVED == find(builtin(), word)

    def test_another_version_of_the_name_is_another_type(self) -> None:
        assert "fr.unefois.person.born.v2" == find(builtin(), "person.born.v2").event_type
        assert "fr.unefois.person.born.v1" == find(builtin(), "person.born").event_type

    def test_without_a_version_it_is_the_newest(self) -> None:
        first, second = TWO.schemas

        assert (second, first, second) == tuple(find(TWO, f"address.changed{each}") for each in ("", "/1", "/2"))
        assert (1, 2) == tuple(describe(TWO, first)[name] for name in ("version", "versions"))

    @pytest.mark.parametrize("version", ["0", "3", "-1", "x", "", "²", "9" * 11])
    def test_a_version_that_is_not_there_is_refused(self, version: str) -> None:
        with pytest.raises(Refused, match=r"catalogue.unknown-version .*count=2") as refused:
            find(TWO, f"address.changed/{version}")
        assert "" == refused.value.pointer


class TestLines:
    @pytest.mark.parametrize("language", ["fr", "en"])
    @TYPES
    def test_every_path_every_symbol_and_every_pattern_is_shown(self, event: EventSchema, language: Any) -> None:
        told = describe(builtin(), event)
        shown = list(lines(told, language))
        words = {word for line in shown for word in line.split()}

        for each in _fields(told):
            assert each["path"] in words
            assert any(each["path"] in line and each["label"][language] in line for line in shown)
            for symbol in each["symbols"] or ():
                assert any(symbol["symbol"] in line and symbol["label"][language] in line for line in shown)
            assert each["pattern"] is None or any(each["pattern"] in line for line in shown)

    def test_what_is_nested_stands_further_in(self) -> None:
        shown = "\n".join(lines(describe(builtin(), MOVED), "en"))

        assert re.search(r"^/old_address +record +yes +personal +Old address$", shown, re.M)
        assert re.search(r"^  /old_address/city +text, 1 to 100 characters +Town$", shown, re.M)
        assert re.search(r"^    /household/\*/identity/family_name +text, 1 to 100 characters +Family", shown, re.M)
        assert re.search(r"^/vehicles +list of 0 to 20: text \(vehicle-plate\), 1 to 12 char", shown, re.M)
        assert re.search(r"^/occupants +whole number, 1 to 100 +low", shown, re.M)

    def test_it_is_french_where_french_is_asked_for(self) -> None:
        shown = "\n".join(lines(describe(builtin(), MOVED), "fr"))

        assert re.search(r"^nom +Changement d'adresse$", shown, re.M)
        assert re.search(r"^champ +type +facultatif +sensibilité +nom$", shown, re.M)
        assert re.search(r"^/occupancy +un mot parmi 6 +oui +personal +Statut d'occupation$", shown, re.M)
        assert "Écrivez-la comme jeanne@exemple.fr" in shown
