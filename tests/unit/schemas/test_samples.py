"""Each event type has a sample that would be accepted as it stands."""

import json
from decimal import Decimal

import pytest

from schemas import avro, catalogue, values
from schemas.catalogue import EventSchema
from schemas.errors import Refused
from schemas.names import EventType
from schemas.samples import as_json, sample

EVENTS = catalogue.builtin().newest


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event_type)
def test_a_sample_has_every_field_and_would_be_accepted_without_a_warning(event: EventSchema):
    record = sample(event.event_type)

    assert event.names == tuple(record)
    assert () == values.check(event, record)
    assert record == avro.decode(event.schema, avro.encode(event.schema, record))


def test_a_type_without_a_sample_is_refused():
    with pytest.raises(Refused, match=r"samples\.none"):
        sample(EventType("fr.unefois.nothing.v1"))


def test_a_sample_is_the_callers_own():
    sample(EVENTS[0].event_type)["subject"]["family_name"] = "Other"

    assert "Other" != sample(EVENTS[0].event_type)["subject"]["family_name"]


def test_as_json_leaves_out_what_is_null_and_tells_a_decimal_as_a_number():
    told = {"a": None, "b": [{"c": Decimal("180.50"), "d": None}], "e": []}

    assert {"b": [{"c": 180.5}], "e": []} == as_json(told)
    assert {"a": None, "b": [{"c": 180.5, "d": None}], "e": []} == as_json(told, nulls=True)
    assert '{"a": 180.5}' == json.dumps(as_json({"a": Decimal("180.50")}))
