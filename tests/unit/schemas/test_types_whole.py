"""Every event type is whole: nothing is left to fill in, it has a mapping, a line on the page, and every place of its
sample is checked, with the code and the pointer that a person is helped by.
"""

import copy
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from connectors.mapping import Direction, load, packaged
from schemas import values
from schemas.avro_types import Kind, Type
from schemas.catalogue import EventSchema, builtin
from schemas.errors import Refused
from schemas.formats import REFUSALS
from schemas.messages import Language, explain
from schemas.samples import as_json, sample
from schemas.scaffold import PAGE, unfilled

ROOT = Path(__file__).parents[3]
EVENTS = builtin().newest
TEXTS = [
    *((each.name, each.read_text("utf-8")) for each in files("schemas").joinpath("events").iterdir()),
    *((name, raw.decode("utf-8")) for name, raw in packaged().items()),
    ("samples.json", files("schemas").joinpath("samples.json").read_text("utf-8")),
    (PAGE, (ROOT / PAGE).read_text("utf-8")),
]
GROUNDS = ("law", "choice", "consent")


def short(event: EventSchema) -> str:
    return event.event_type.removeprefix("fr.unefois.").removesuffix(".v1")


def test_nothing_is_left_to_fill_in() -> None:
    assert [] == unfilled(TEXTS)


@pytest.mark.parametrize("event", EVENTS, ids=short)
def test_every_type_has_a_mapping_for_who_receives_it(event: EventSchema) -> None:
    made = [load(raw) for raw in packaged().values()]
    assert any(one.event_type == event.event_type and one.direction is Direction.OUT for one in made)


def test_the_page_says_of_each_type_who_hears_what_on_which_ground() -> None:
    table = dict(TEXTS)[PAGE].partition("<!-- who hears -->\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]

    assert [f"`{short(event)}`" for event in EVENTS] == [line[0] for line in cells]
    for event, (_, who, what, ground) in zip(EVENTS, cells, strict=True):
        assert who
        assert set(re.findall(r"`([a-z_]+)`", what)) <= set(event.names), event.event_type
        assert ground.startswith(GROUNDS), event.event_type


def places(kind: Type, value: Any, pointer: str) -> Iterator[tuple[Type, Any, str]]:
    """Every place of a record, with its type; a null one has its type, too."""
    if kind.kind is Kind.UNION:
        kind = next(part for part in kind.parts if part.kind is not Kind.NULL)
    if pointer:
        yield kind, value, pointer
    if kind.kind is Kind.RECORD and value is not None:
        for each in kind.fields:
            yield from places(each.type, value[each.name], f"{pointer}/{each.name}")
    if kind.kind is Kind.ARRAY:
        for number, one in enumerate(value or ()):
            yield from places(kind.parts[0], one, f"{pointer}/{number}")


def wrong(kind: Type, value: Any) -> Iterator[tuple[Any, str]]:
    """What may not stand in such a place, and the code that it is refused with."""
    if kind.kind is Kind.STRING:
        named = kind.properties["format"]
        yield "", "values.empty"
        yield "x" * (kind.properties["maxLength"] + 1), "values.too-long"
        yield ("Rue\u200bMonge", "values.control-character") if named == "text" else ("?", REFUSALS[named])
    elif kind.kind is Kind.INT:
        yield kind.properties["maximum"] + 1, "values.out-of-range"
        yield kind.properties["minimum"] - 1, "values.out-of-range"
    elif kind.kind is Kind.ARRAY and value:
        yield [value[0]] * (kind.properties["maxItems"] + 1), "values.too-many"
    elif kind.kind is Kind.ENUM:
        yield "no-such-symbol", "avro.unknown-symbol"
    yield 3.5 if kind.kind is not Kind.BYTES else "much", "avro.wrong-type"


def put(record: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    told: Any = copy.deepcopy(record)
    top, steps = told, pointer.strip("/").split("/")
    for step in steps[:-1]:
        told = told[int(step) if isinstance(told, list) else step]
    told[int(steps[-1]) if isinstance(told, list) else steps[-1]] = value
    return top  # type: ignore[no-any-return]


def codes(event: EventSchema, record: dict[str, Any]) -> dict[str, Refused]:
    with pytest.raises(Refused) as refused:
        values.check(event, record)
    return {fault.pointer: fault for fault in (refused.value, *refused.value.also)}


@pytest.mark.parametrize("event", EVENTS, ids=short)
def test_whatever_is_wrong_in_a_place_is_refused_there_with_its_code_and_a_remedy(event: EventSchema) -> None:
    told = sample(event.event_type)
    languages: tuple[Language, ...] = ("fr", "en")
    for kind, value, pointer in places(event.schema.type, told, ""):
        for bad, code in wrong(kind, value):
            found = codes(event, put(told, pointer, bad))
            assert pointer in found, (pointer, code, sorted(found))
            assert code == found[pointer].code, pointer
            for language in languages:
                said = explain(found[pointer], language)
                assert said.wrong
                assert said.remedy
                assert "…" not in said.wrong + said.remedy, code


@pytest.mark.parametrize("event", EVENTS, ids=short)
def test_a_field_that_is_missing_or_that_nobody_knows_is_told(event: EventSchema) -> None:
    told = sample(event.event_type)
    for name in event.names:
        found = codes(event, {key: value for key, value in told.items() if key != name})
        assert f"/{name}" in found or "" in found, name
    assert "/nothing" in codes(event, told | {"nothing": 1})


@pytest.mark.parametrize("event", EVENTS, ids=short)
def test_every_field_and_every_symbol_is_named_in_both_languages_and_no_two_fields_alike(event: EventSchema) -> None:
    for language in ("fr", "en"):
        assert len(event.fields) == len({each.label[language] for each in event.fields}), event.event_type  # type: ignore[index]
    for kind, _, pointer in places(event.schema.type, sample(event.event_type), ""):
        if kind.kind is Kind.ENUM:
            assert list(kind.symbols) == list(kind.properties["labels"]), pointer
    assert json.dumps(as_json(sample(event.event_type)))
