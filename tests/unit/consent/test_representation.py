"""What a record of a representation allows, and when somebody is of age."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consent.representation import Measure, Representation, of_age_at, of_voice
from schemas.errors import Refused
from schemas.names import Capacity, EventType, Instant, Purpose, RepresentationId, SubjectRef

MOVED, NAMED = EventType("fr.unefois.address.changed.v1"), EventType("fr.unefois.name.changed.v1")
FAMILY, HEALTH = Purpose("family-benefits"), Purpose("health-insurance")
RECORD = Representation(
    id=RepresentationId(bytes(15) + b"\x01"),
    representative=SubjectRef(b"r" * 32),
    subject=SubjectRef(b"s" * 32),
    measure=Measure.GUARDIANSHIP,
    proof="TJ Rennes 25/01234",
    event_types=frozenset({MOVED}),
    purposes=frozenset({FAMILY}),
    begins_at=Instant(10),
    ends_at=Instant(20),
    given_by="urn:unefois:broker",
    recorded_at=Instant(5),
)


def refusal(record: Representation, at: int, *, event_type: EventType = MOVED, purpose: Purpose | None = None) -> str:
    """The code, or nothing."""
    try:
        record.check(event_type, Instant(at), purpose)
    except Refused as fault:
        return fault.code.removeprefix("representations.")
    return ""


def test_it_allows_from_its_beginning_until_its_end_and_not_at_its_end() -> None:
    assert ["not-yet", "", "", "ended"] == [refusal(RECORD, at) for at in (9, 10, 19, 20)]
    assert "ended" == refusal(RECORD.end(Instant(12)), 13)
    assert "" == refusal(replace(RECORD, ends_at=None), 2**50)


def test_it_allows_its_types_and_purposes_and_all_where_none_is_named() -> None:
    assert "out-of-scope" == refusal(RECORD, 10, event_type=NAMED)
    assert "out-of-scope" == refusal(RECORD, 10, purpose=HEALTH)
    assert "" == refusal(RECORD, 10, purpose=FAMILY)
    everything = replace(RECORD, event_types=None, purposes=None)
    assert "" == refusal(everything, 10, event_type=NAMED, purpose=HEALTH)


def test_what_has_ended_does_not_end_again() -> None:
    with pytest.raises(Refused, match=r"representations\.ended"):
        RECORD.end(Instant(12)).end(Instant(13))


@pytest.mark.parametrize("measure", list(Measure))
def test_each_ground_has_its_capacity(measure: Measure) -> None:
    told = {"parental_authority": "parent", "assistance_mandate": "agent", "power_of_attorney": "agent"}
    assert Capacity(told.get(measure.value, "guardian")) is measure.capacity


def test_a_consent_says_which_record_it_rests_on() -> None:
    assert RECORD.id == of_voice(RECORD.voice)
    assert of_voice("self") is None
    with pytest.raises(Refused, match=r"name\.representation-id"):
        of_voice("representation:mine")


@pytest.mark.parametrize(
    ("born", "day"),
    [
        ("2008-12-01", "2026-12-01"),
        ("2008-02-29", "2026-03-01"),
        ("2008-02-28", "2026-02-28"),
        ("2008-12", "2026-12-01"),
        ("2008-12-00", "2026-12-01"),
        ("2008", "2026-01-01"),
        ("2008-00-00", "2026-01-01"),
        ("1900-01-01", "1970-01-01"),
    ],
)
def test_somebody_is_of_age_from_the_beginning_of_the_eighteenth_birthday(born: str, day: str) -> None:
    assert datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000 == of_age_at(born)


@pytest.mark.parametrize("wrong", ["", "yesterday", "2008-13-01", "2008-02-30", "9999-01-01", "2008-1x-01", "2008--01"])
def test_a_birthdate_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(Refused) as fault:
        of_age_at(wrong)
    assert ("identity.birthdate", "/birthdate") == (fault.value.code, fault.value.pointer)


@pytest.mark.parametrize("told", [{"proof": "x" * 121}, {"proof": "a\tb c"}, {"proof": "§"}])
def test_a_proof_is_a_reference_in_one_line(told: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"representations\.proof"):
        replace(RECORD, **told)
