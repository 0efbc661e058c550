"""Territories: the codes in clear are those that the type marks, from the record that is sealed, and no other."""

from typing import Any

import pytest

from schemas import catalogue
from schemas.catalogue import territories_of
from schemas.names import EventType

MOVED = catalogue.builtin().by_type(EventType("fr.unefois.address.changed.v1"))
BANK = catalogue.builtin().by_type(EventType("fr.unefois.bank-account.changed.v1"))


@pytest.mark.parametrize(
    ("record", "codes"),
    [
        ({"old_commune": "44109", "new_commune": "35238"}, ("35238", "44109")),
        ({"old_commune": "35238", "new_commune": "35238"}, ("35238",)),
        ({"old_commune": None, "new_commune": "35238"}, ("35238",)),
        ({"new_commune": "35238"}, ("35238",)),
        ({"old_commune": None, "new_commune": None}, ()),
        ({}, ()),
    ],
)
def test_the_codes_are_sorted_and_each_is_told_once(record: dict[str, Any], codes: tuple[str, ...]) -> None:
    assert codes == territories_of(MOVED, record)


def test_nothing_but_marked_fields_is_told() -> None:
    record = {each.name: f"secret-{each.name}" for each in MOVED.fields}

    told = territories_of(MOVED, record)

    marked = {each.name for each in MOVED.schema.fields if each.properties.get("territory") is True}
    assert {f"secret-{name}" for name in marked} == set(told)
    assert {"old_commune", "new_commune", "old_postal_sector", "new_postal_sector"} == marked


def test_a_type_without_territories_tells_none_whatever_the_record_says() -> None:
    assert () == territories_of(BANK, {"new_commune": "35238", "old_commune": "44109"})


@pytest.mark.parametrize("event", list(catalogue.builtin()), ids=lambda event: event.event_type)
def test_a_type_marks_territories_exactly_where_it_uses_them(event: Any) -> None:
    marked = [each.name for each in event.schema.fields if each.properties.get("territory") is True]

    assert event.uses_territories is bool(marked)
