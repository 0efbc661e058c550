"""Typed records say what the schemas say, keep what they do not know, and tell withheld from null."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas import avro, catalogue, records, samples, values
from schemas.delivery import WITHHELD
from schemas.errors import Refused
from schemas.names import EventType
from schemas.record_base import Part, PartialDate
from schemas.record_parts import Address, Capacity, Gender, Identity
from schemas.record_types import TYPES, AddressChanged, UnionDissolved
from tests.typed.write import modules

EVENTS = {each.event_type: each for each in catalogue.builtin()}
MOVED = EVENTS[EventType("fr.unefois.address.changed.v1")]


def decoded(event: catalogue.EventSchema) -> dict[str, Any]:
    """A sample, as it comes out of a delivery."""
    record = avro.decode(event.schema, avro.encode(event.schema, samples.sample(event.event_type)))
    assert isinstance(record, dict)
    return record


def test_the_classes_are_what_the_schemas_say() -> None:
    folder = Path(records.__file__).parent

    for name, text in modules().items():
        assert text == (folder / name).read_text("utf-8"), "run python -m tests.typed.write"


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_a_record_becomes_typed_and_plain_again(event: catalogue.EventSchema) -> None:
    typed = records.of(event.schema.type, decoded(event))

    assert typed is not None
    assert event.event_type == typed.event_type
    assert decoded(event) == records.plain(typed)
    assert () == tuple(values.check(event, records.plain(typed)))


def test_dates_symbols_and_decimals_are_what_they_are() -> None:
    moved = records.of(MOVED.schema.type, decoded(MOVED))
    dissolved = records.of(EVENTS[EventType("fr.unefois.union.dissolved.v1")].schema.type,
                           decoded(EVENTS[EventType("fr.unefois.union.dissolved.v1")]))  # fmt: skip

    assert isinstance(moved, AddressChanged)
    assert isinstance(moved.subject, Identity)
    assert isinstance(moved.effective_date, date)
    assert isinstance(moved.subject.birthdate, PartialDate)
    assert isinstance(moved.subject.gender, Gender)
    assert isinstance(dissolved, UnionDissolved)
    assert isinstance(dissolved.child_support, Part)
    assert isinstance(dissolved.child_support.monthly_amount, Decimal)  # type: ignore[attr-defined]


def test_what_was_withheld_is_not_null() -> None:
    told = dict.fromkeys(MOVED.names, WITHHELD) | {"old_commune": None, "occupants": 2}

    moved = records.of(MOVED.schema.type, told)

    assert isinstance(moved, AddressChanged)
    assert WITHHELD is moved.subject
    assert WITHHELD is moved.household
    assert WITHHELD is moved.effective_date
    assert (None, 2) == (moved.old_commune, moved.occupants)


def newer() -> avro.Schema:
    """The change of address of tomorrow: one field and one symbol more."""
    told = json.loads(MOVED.schema.raw)
    capacity = next(each for each in told["fields"] if each["name"] == "capacity")
    capacity["type"]["symbols"].append("notary")
    told["fields"].append({"name": "floor", "type": ["null", "int"], "default": None})
    return avro.parse(json.dumps(told).encode())


def test_a_symbol_and_a_field_of_tomorrow_are_kept() -> None:
    moved = records.of(newer().type, decoded(MOVED) | {"capacity": "notary", "floor": 3})

    assert isinstance(moved, AddressChanged)
    assert "notary" == moved.capacity
    assert not isinstance(moved.capacity, Capacity)
    assert {"floor": 3} == dict(moved.more)
    assert records.plain(moved)["floor"] == 3


def test_a_type_without_a_class_stays_plain() -> None:
    schema = avro.parse(b'{"type":"record","name":"fr.example.x.v1","fields":[{"name":"a","type":"int"}]}')

    assert None is records.of(schema.type, {"a": 1})


@pytest.mark.parametrize("pointer", ["/effective_date", "/subject/birthdate"])
def test_a_text_that_is_no_date_is_refused_with_its_place(pointer: str) -> None:
    told = decoded(MOVED)
    inner = told["subject"] if pointer.startswith("/subject") else told
    inner[pointer.rpartition("/")[2]] = "2026-02-31"

    with pytest.raises(Refused) as refused:
        records.of(MOVED.schema.type, told)

    assert ("records.date", pointer) == (refused.value.code, refused.value.pointer)


@pytest.mark.parametrize(
    ("text", "parts"), [("1962", (1962, 0, 0)), ("1962-08", (1962, 8, 0)), ("1962-08-24", (1962, 8, 24))]
)
def test_a_partial_date_is_as_much_as_is_known(text: str, parts: tuple[int, int, int]) -> None:
    found = PartialDate.parse(text)

    assert parts == (found.year, found.month, found.day)
    assert text == str(found)
    assert text not in repr(found)


@pytest.mark.parametrize("text", ["", "62", "1962-13", "1962-02-30", "1962-8", "1962-00", "1962-08-24T00:00"])
def test_what_is_no_partial_date_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        PartialDate.parse(text)


def test_no_value_is_in_a_repr() -> None:
    moved = records.of(MOVED.schema.type, decoded(MOVED))

    assert isinstance(moved, AddressChanged)
    assert "AddressChanged(...)" == repr(moved)
    assert "Address(...)" == repr(moved.new_address)


def test_what_may_be_null_or_empty_may_be_left_out() -> None:
    subject = Identity(family_name="Martin", birthdate=PartialDate(1985, 4), gender=Gender.FEMALE, birthcountry="99100")
    made = AddressChanged(
        subject=subject,
        capacity=Capacity.SELF,
        effective_date=date(2026, 12, 1),
        new_address=Address(housenumber="12", street="rue de la Monnaie", postcode="35000", city="Rennes",
                            commune="35238", country="99100"),
        new_commune="35238",
        new_country="99100",
        occupants=1,
    )  # fmt: skip

    told = records.plain(made)

    assert list(MOVED.names) == list(told)
    assert "1985-04" == told["subject"]["birthdate"]
    values.check(MOVED, told)


def test_every_type_of_the_catalogue_has_its_class() -> None:
    assert {each.schema.name for each in EVENTS.values()} == set(TYPES)
