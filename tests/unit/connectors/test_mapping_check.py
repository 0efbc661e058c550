"""What is said about a mapping before it runs, and the packaged mappings themselves."""

import pytest

from connectors.mapping import Mapping, fields_read, load, packaged
from connectors.mapping_check import check_event, check_fields, run_tests, unread
from schemas.catalogue import builtin
from schemas.completing import complete
from schemas.names import EventType

MOVED = builtin().by_type(EventType("fr.unefois.address.changed.v1"))
HEAD = b"name: test\nversion: 1\nevent_type: fr.unefois.address.changed.v1\n"


def out(text: str) -> Mapping:
    return load(HEAD + b"direction: out\n" + text.encode())


def inbound(text: str) -> Mapping:
    return load(HEAD + b"direction: in\n" + text.encode())


def test_each_expression_that_needs_a_field_not_granted_is_a_problem() -> None:
    mapping = out("fields: {A: record.phone, B: 'null_if_withheld(record.email)', C: upper(record.usual_name)}")
    problems = check_fields(mapping, {"phone"})
    assert [("mapping.not-granted", "/fields/C", "usual_name")] == [
        (problem.code, problem.pointer, problem.details["field"]) for problem in problems
    ]
    assert () == check_fields(mapping, {"phone", "usual_name"})


def test_a_granted_field_that_nothing_reads_is_shown() -> None:
    assert {"vehicles"} == unread(out("fields: {A: record.phone, B: is_withheld(record.email)}"), {"phone", "vehicles"})


def test_a_field_that_does_not_exist_is_answered_with_the_nearest_one() -> None:
    (problem,) = check_event(out("fields: {A: record.new_adress.city}"), MOVED)
    assert ("mapping.unknown-field", "/fields/A", "new_address") == (
        problem.code,
        problem.pointer,
        problem.details["near"],
    )


def test_an_inbound_mapping_makes_every_field_that_is_demanded_and_no_other() -> None:
    problems = check_event(inbound("fields: {subject: given.a, new_adress: given.b, phone: given.c}"), MOVED)
    missing = {problem.details["field"] for problem in problems if problem.code == "mapping.field-missing"}
    assert {"new_adress"} == {p.details["field"] for p in problems if p.code == "mapping.unknown-field"}
    assert {field.name for field in MOVED.fields if not field.nullable} - {"subject"} == missing


def test_a_mapping_is_checked_against_its_own_event_type() -> None:
    other = builtin().by_type(EventType("fr.unefois.person.died.v1"))
    assert ["mapping.other-event-type"] == [
        problem.code for problem in check_event(out("fields: {A: delivery.id}"), other)
    ]


def test_absent_nullable_fields_become_null_inside_records_and_lists_too() -> None:
    done = complete(
        {"new_address": {"city": "X"}, "household": [{"identity": {"family_name": "A"}}], "phone": "1"}, MOVED
    )
    address, (member,) = done["new_address"], done["household"]
    assert ("1", None, "absent") == (done["phone"], done["email"], done.get("occupants", "absent"))
    assert (None, "X", "absent") == (address["street"], address["city"], address.get("lines", "absent"))
    assert {"identity": {"family_name": "A", "birthplace": None}} == member


TEST = "fields: {A: upper(record.phone), B: record.occupants}\ntests:\n  - name: one\n    "


@pytest.mark.parametrize(
    ("passed", "test"),
    [
        (True, "given: {record: {phone: a, occupants: 1}}\n    expect: {A: A, B: 1}"),
        (True, "given: {record: {phone: a, occupants: 1}}\n    expect: {B: 1, A: A}"),
        (True, "given: {record: {phone: null, occupants: 1}}\n    expect: {A: null, B: 1}"),
        (True, "given: {record: {occupants: 1}}\n    withheld: [phone]\n    error: mapping.withheld"),
        (True, "given: {record: {phone: 5, occupants: 1}}\n    error: mapping.argument"),
        (False, "given: {record: {phone: a, occupants: 1}}\n    expect: {A: a, B: 1}"),
        (False, "given: {record: {phone: a, occupants: 1}}\n    expect: {A: A}"),
        (False, "given: {record: {phone: a, occupants: 1}}\n    expect: {A: A, B: 1, C: 2}"),
        (False, "given: {record: {phone: a, occupants: 1}}\n    expect: {A: A, B: true}"),
        (False, 'given: {record: {phone: a, occupants: 1}}\n    expect: {A: A, B: "1"}'),
        (False, "given: {record: {phone: a, occupants: 1}}\n    error: mapping.argument"),
        (False, "given: {record: {phone: 5, occupants: 1}}\n    error: mapping.withheld"),
        (False, "given: {record: {phone: 5, occupants: 1}}\n    expect: {A: A, B: 1}"),
    ],
)
def test_a_files_own_test_passes_or_says_what_differs(passed: bool, test: str) -> None:
    (outcome,) = run_tests(out(TEST + test))
    assert ("one", passed, passed) == (outcome.name, outcome.passed, outcome.differences == ())


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("mapping.test-forgets", "given: {record: {phone: a}}\n    expect: {}"),
        ("mapping.test-given", "given: {phone: a}\n    expect: {}"),
        ("mapping.test-given", "given: {record: {phone: a, occupants: 1}, deliver: {}}\n    expect: {}"),
        ("mapping.test-given", "given: {record: [1]}\n    expect: {}"),
        ("mapping.unknown-name", "given: {record: {phone: a, occupants: 1}, delivery: {idd: x}}\n    expect: {}"),
    ],
)
def test_a_test_that_forgets_or_invents_something_fails_with_its_reason(code: str, test: str) -> None:
    (outcome,) = run_tests(out(TEST + test))
    assert not outcome.passed
    assert code in outcome.differences[0]


def test_nested_differences_are_found() -> None:
    text = "fields: {a: {b: given.c}}\ntests: [{name: one, given: {c: [1, {d: 2}]}, expect: {a: {b: [1, {d: 3}]}}}]"
    (outcome,) = run_tests(inbound(text))
    assert not outcome.passed
    (outcome,) = run_tests(inbound(text.replace("d: 3", "d: 2")))
    assert outcome.passed


def test_an_inbound_result_is_checked_as_a_record_of_its_event_type() -> None:
    mapping = inbound("fields: {subject: given.a}\ntests: [{name: one, given: {a: x}, expect: {subject: x}}]")
    assert [True, False] == [run_tests(mapping, event)[0].passed for event in (None, MOVED)]


@pytest.mark.parametrize("name", sorted(packaged()))
def test_a_packaged_mapping_fits_its_event_type_and_passes_its_own_tests(name: str) -> None:
    mapping = load(packaged()[name])
    event = builtin().by_type(mapping.event_type)
    outcomes = run_tests(mapping, event)
    assert () == check_event(mapping, event)
    assert (True, []) == (len(outcomes) > 1, [outcome for outcome in outcomes if not outcome.passed])
    assert name == f"{mapping.name}.{mapping.direction.value}.yaml"


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("commune-table.out.yaml", "subject effective_date old_commune new_commune new_address occupants"),
        ("family-benefits-csv.out.yaml", "subject effective_date new_address household occupants"),
        ("tax-table.out.yaml", "subject effective_date old_commune new_commune new_country new_address"),
        ("family-benefits-bank.out.yaml", "subject effective_date iban holder uses replaces_ending"),
        ("family-benefits-births.out.yaml", "subject birthdate act parents born_together residence_commune"),
        ("tax-deaths.out.yaml", "subject death_date last_commune estate_contact"),
    ],
)
def test_a_packaged_mapping_needs_the_fields_that_its_first_lines_say(name: str, needs: str) -> None:
    assert () == check_fields(load(packaged()[name]), set(needs.split()))
    for field in needs.split():
        assert check_fields(load(packaged()[name]), set(needs.split()) - {field})


def test_an_outbound_files_reads_are_fields_of_the_catalogue() -> None:
    for name, raw in packaged().items():
        mapping = load(raw)
        assert fields_read(mapping) <= set(builtin().by_type(mapping.event_type).names), name
