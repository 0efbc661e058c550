"""Mapping files: what they may say, and what they make."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from connectors.contract import Reject
from connectors.functions import Absent
from connectors.mapping import Direction, Mapping, expressions, fields_read, load, packaged
from connectors.plain import FACTS, MAX_ROWS, facts_of, measure, plain
from schemas.delivery import WITHHELD, VerifiedDelivery
from schemas.errors import Refused

HEAD = b"name: test\nversion: 1\nevent_type: fr.unefois.address.changed.v1\n"
OUT = HEAD + b"direction: out\n"
IN = HEAD + b"direction: in\n"


def refused(call: Callable[..., object], *arguments: object) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value.code, caught.value.pointer


def test_a_delivery_becomes_a_row_in_the_order_of_the_file(declared: Callable[..., VerifiedDelivery]) -> None:
    mapping = load(OUT + b"fields: {B: upper(record.subject.family_name), A: record.occupants, C: delivery.basis}")
    expected = {"B": "AUB\u00c9PIN", "A": 1, "C": "consent"}
    assert list(expected.items()) == list(mapping.row_of(declared()).items())
    assert ("B", "A", "C") == mapping.targets


def test_a_withheld_field_rejects_the_delivery_and_names_column_and_field(
    declared: Callable[..., VerifiedDelivery],
) -> None:
    mapping = load(OUT + b"fields: {TEL: upper(record.phone)}")
    with pytest.raises(Reject) as caught:
        mapping.row_of(declared("phone"))
    assert ("mapping.withheld", "/TEL", "phone") == (
        caught.value.code,
        caught.value.pointer,
        caught.value.details["field"],
    )


def test_a_null_field_is_null_and_a_kept_one_leaves_its_column_alone(
    declared: Callable[..., VerifiedDelivery],
) -> None:
    mapping = load(OUT + b"fields: {TEL: keep_if_withheld(record.phone), MEL: keep_if_withheld(record.email)}")
    assert {"MEL": None} == mapping.row_of(declared("phone"))
    assert {"TEL": "+33600000000", "MEL": None} == mapping.row_of(declared())


def test_no_value_is_told_when_a_mapping_fails(declared: Callable[..., VerifiedDelivery]) -> None:
    mapping = load(OUT + b"fields: {A: 'date_fr(record.subject.family_name)'}")
    with pytest.raises(Refused) as caught:
        mapping.row_of(declared())
    assert "Aub" not in str(caught.value) + repr(caught.value) + repr(mapping)


def test_a_mapping_takes_deliveries_of_its_own_event_type_only(declared: Callable[..., VerifiedDelivery]) -> None:
    mapping = load(OUT.replace(b"address.changed", b"contact.changed") + b"fields: {A: delivery.id}")
    assert ("mapping.other-event-type", "") == refused(mapping.row_of, declared())


def test_an_outbound_mapping_is_given_a_record_and_its_delivery() -> None:
    assert ("mapping.given", "") == refused(load(OUT + b"fields: {A: delivery.id}").apply, [])


def test_an_inbound_mapping_makes_nested_records_with_the_parameters_of_a_person() -> None:
    mapping = load(
        IN
        + b"parameters: {since: {doc: day}, country: {doc: code, default: '99100'}, old: {doc: old, default: null}}\n"
        b"fields:\n  since: parameters.since\n  new_address: {city: given.town.name, country: parameters.country}\n"
        b"  people: 'given.people[*].{n: name}'\n  old: parameters.old\n"
    )
    expected = {
        "since": "2026-11-02",
        "new_address": {"city": "Rennes", "country": "99100"},
        "people": [{"n": "a"}],
        "old": None,
    }
    given = {"town": {"name": "Rennes"}, "people": [{"name": "a"}]}
    assert Direction.IN is mapping.direction
    assert expected == mapping.apply(given, {"since": "2026-11-02"})
    assert "99109" == mapping.apply(given, {"since": "x", "country": "99109"})["new_address"]["country"]


def test_a_parameter_is_declared_and_one_without_default_is_given() -> None:
    mapping = load(IN + b"parameters: {since: {doc: day}}\nfields: {a: parameters.since}")
    assert ("mapping.unknown-parameter", "") == refused(mapping.apply, {}, {"sinse": "x"})
    assert ("mapping.parameter-missing", "/parameters/since") == refused(mapping.apply, {}, {})
    assert ("mapping.parameter-missing", "/parameters/since") == refused(mapping.apply, {}, {"since": None})


def test_what_a_file_reads_is_known_with_the_place_of_each_expression() -> None:
    mapping = load(OUT + b'fields: {"A/B": record.phone, C: "withheld_or(record.email, record.subject.family_name)"}')
    assert {"phone", "email", "subject"} == fields_read(mapping)
    assert [("/fields/A~1B", {"phone"}), ("/fields/C", {"subject"})] == [
        (pointer, set(expression.needs)) for pointer, expression in expressions(mapping)
    ]


@pytest.mark.parametrize(
    ("code", "pointer", "document"),
    [
        ("mapping.not-a-mapping", "", b"[1]"),
        ("mapping.not-a-mapping", "", b""),
        ("yaml.key-twice", "", OUT + b"fields: {A: delivery.id, A: delivery.id}"),
        ("mapping.malformed", "/fields", OUT),
        ("mapping.malformed", "/fields", OUT + b"fields: {}"),
        ("mapping.malformed", "/direction", HEAD + b"direction: both\nfields: {A: delivery.id}"),
        ("mapping.malformed", "/version", OUT.replace(b"1", b"0", 1) + b"fields: {A: delivery.id}"),
        ("mapping.malformed", "/version", OUT.replace(b": 1", b": one") + b"fields: {A: delivery.id}"),
        ("mapping.malformed", "/name", OUT.replace(b"test", b"Te st") + b"fields: {A: delivery.id}"),
        ("mapping.malformed", "/colour", OUT + b"colour: red\nfields: {A: delivery.id}"),
        ("mapping.malformed", "/codes/t/F", OUT + b"codes: {t: {F: [1]}}\nfields: {A: delivery.id}"),
        ("mapping.malformed", "/tests/0", OUT + b"fields: {A: delivery.id}\ntests: [{name: a, given: {}}]"),
        (
            "mapping.malformed",
            "/tests/0",
            OUT + b"fields: {A: delivery.id}\ntests: [{name: a, given: {}, expect: {}, error: mapping.date}]",
        ),
        ("name.event-type", "", OUT.replace(b"changed.v1", b"changed") + b"fields: {A: delivery.id}"),
        ("mapping.parameters-out", "/parameters", OUT + b"parameters: {a: {doc: a}}\nfields: {A: delivery.id}"),
        ("mapping.not-an-expression", "/fields/A", OUT + b"fields: {A: 1}"),
        ("mapping.not-an-expression", "/fields/A", OUT + b"fields: {A: {B: delivery.id}}"),
        ("mapping.not-an-expression", "/fields/a/b", IN + b"fields: {a: {b: {}}}"),
        ("mapping.unknown-function", "/fields/A", OUT + b"fields: {A: uper(record.phone)}"),
        ("mapping.whole-record", "/fields/A", OUT + b"fields: {A: record.*}"),
        ("mapping.unknown-root", "/fields/a/b", IN + b"fields: {a: {b: record.phone}}"),
        ("mapping.unknown-table", "/fields/A", OUT + b"codes: {t: {F: f}}\nfields: {A: \"code('u', record.phone)\"}"),
        (
            "mapping.too-many-targets",
            "/fields/A200",
            OUT + b"fields:\n" + b"".join(b"  A%d: delivery.id\n" % n for n in range(201)),
        ),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused_at_its_place(code: str, pointer: str, document: bytes) -> None:
    assert (code, pointer) == refused(load, document)


@pytest.mark.parametrize(
    ("code", "pointer", "expression"),
    [
        ("mapping.shape", "/a", "[keep_if_withheld(record.phone)]"),
        ("mapping.result-too-large", "/a", "map(&[{many}], [{many}])".format(many=",".join(["'x'"] * 50))),
        ("mapping.result-too-large", "/a", "[" * 13 + "'x'" + "]" * 13),
    ],
)
def test_a_result_keeps_to_its_limits(code: str, pointer: str, expression: str) -> None:
    mapping = load(OUT + f'fields: {{a: "{expression}"}}'.encode())
    assert (code, pointer) == refused(mapping.apply, {"record": {"phone": WITHHELD}, "delivery": {}})


def test_a_result_has_only_so_many_characters() -> None:
    assert ("mapping.result-too-large", "/a") == refused(measure, {"a": ["x" * 4_000] * 17})
    assert None is measure({"a": ["x" * 4_000] * 16})


@pytest.mark.parametrize("strange", [Absent.LEFT_OUT, WITHHELD, b"x", object()])
def test_a_result_holds_plain_data_only(strange: object) -> None:
    assert ("mapping.shape", "/a") == refused(measure, {"a": {"b": strange}})


def test_what_expressions_see_is_plain_data() -> None:
    moment = datetime(2026, 11, 2, 10, 30, tzinfo=timezone(timedelta(hours=1)))
    seen: Any = plain(
        {
            "a": (date(2026, 11, 2), moment, datetime(2026, 1, 1, tzinfo=UTC)),
            "b": b"\x01\xff",
            "c": UUID(int=1),
            "d": Decimal("1.50"),
            "e": WITHHELD,
            "f": None,
        }
    )
    assert ["2026-11-02", "2026-11-02T09:30:00.000Z", "2026-01-01T00:00:00.000Z"] == seen["a"]
    assert {"b": "01ff", "c": str(UUID(int=1)), "d": Decimal("1.50"), "e": WITHHELD, "f": None} == {
        name: seen[name] for name in "bcdef"
    }


def test_the_facts_of_a_delivery_are_text_as_people_copy_it(declared: Callable[..., VerifiedDelivery]) -> None:
    delivery = declared(pseudonym=bytes(range(20)), basis="law:LPF-L10")
    facts = facts_of(delivery)
    assert FACTS == facts.keys()
    assert {
        "id": str(UUID(bytes=bytes(delivery.delivery_id))),
        "pseudonym": "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT",
        "issued_at": "2026-11-02T09:00:00.000Z",
        "basis": "law:LPF-L10",
        "corrects": None,
        "grant_version": 1,
        "manifest": delivery.manifest_digest.hex(),
    }.items() <= facts.items()


def test_a_delivery_without_a_pseudonym_has_none(declared: Callable[..., VerifiedDelivery]) -> None:
    assert None is facts_of(declared(pseudonym=b""))["pseudonym"]


def test_the_packaged_files_are_there() -> None:
    assert {
        "commune-table.out.yaml",
        "family-benefits-bank.out.yaml",
        "family-benefits-births.out.yaml",
        "family-benefits-csv.out.yaml",
        "tax-deaths.out.yaml",
        "tax-table.out.yaml",
    } <= set(packaged())


FAMILY = """
rows: record.household
fields: {DECLARANT: record.subject.family_name, NOM: row.identity.family_name, LIEN: "code('Relation', row.relation)"}
"""


def family(*names: str) -> dict[str, Any]:
    people = [{"relation": "child", "identity": {"family_name": name}} for name in names]
    return {"record": {"subject": {"family_name": "Orsenne"}, "household": people}, "delivery": {}}


def rows_refused(mapping: Mapping, given: object) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        mapping.apply_all(given)
    return caught.value.code, caught.value.pointer


def test_each_item_of_a_list_becomes_a_row_beside_what_is_of_the_whole() -> None:
    mapping = load(HEAD + b"direction: out\n" + FAMILY.encode())
    rows = mapping.apply_all(family("Brocélys", "Roux"))
    assert [("Orsenne", "Brocélys", "Enfant"), ("Orsenne", "Roux", "Enfant")] == [tuple(row.values()) for row in rows]
    assert {"household", "subject"} == fields_read(mapping)
    assert () == mapping.apply_all(family())


def test_a_row_that_fails_is_named_and_there_are_so_many_rows_and_no_more() -> None:
    mapping = load(HEAD + b"direction: out\n" + FAMILY.encode())
    given = family("Brocélys", "Roux")
    given["record"]["household"][1]["relation"] = "robot"
    assert ("mapping.no-code", "/1/LIEN") == rows_refused(mapping, given)
    assert ("mapping.too-many", "/rows") == rows_refused(mapping, family(*["x"] * (MAX_ROWS + 1)))
    given["record"]["household"] = "two"
    assert ("mapping.rows", "/rows") == rows_refused(mapping, given)
    given["record"]["household"] = WITHHELD
    assert ("mapping.withheld", "/rows") == rows_refused(mapping, given)


def test_all_rows_together_cost_no_more_than_one_delivery_may() -> None:
    dear = load(HEAD + b"direction: out\nrows: record.household\nfields: {C: commune_code(row.identity.family_name)}\n")
    assert 40 == len(dear.apply_all(family(*["Rennes"] * 40)))
    assert "mapping.too-much-work" == rows_refused(dear, family(*["Rennes"] * 60))[0]


def test_the_lines_of_one_address_are_not_those_of_another() -> None:
    each = "map(&postal_lines({city: identity.family_name, country: '99100'})[0], record.household)"
    mapping = load(HEAD + f'direction: out\nfields: {{A: "{each}", B: "{each}"}}\n'.encode())
    names = [f"N{number}" for number in range(20)]
    assert {"A": names, "B": names} == mapping.apply(family(*names))


GROUPED = b"direction: in\ngroup_by: [DOSSIER]\nfields: {subject: given.NOM, household: 'given.rows[].ENFANT'}\n"


def test_rows_of_the_same_group_are_one_document_wherever_they_stand() -> None:
    given = [
        {"DOSSIER": "1", "NOM": "Orsenne", "ENFANT": "Inès"},
        {"DOSSIER": "2", "NOM": "Roux", "ENFANT": "Léo"},
        {"DOSSIER": 1, "NOM": "Orsenne", "ENFANT": "Zoé"},
    ]
    assert ({"subject": "Orsenne", "household": ["Inès", "Zoé"]}, {"subject": "Roux", "household": ["Léo"]}) == load(
        HEAD + GROUPED
    ).apply_all(given)


def test_what_the_rows_of_a_group_do_not_agree_on_is_nobodys() -> None:
    given = [{"DOSSIER": "1", "NOM": name, "ENFANT": "x"} for name in ("Orsenne", "Roux")]
    assert None is load(HEAD + GROUPED).apply_all(given)[0]["subject"]


@pytest.mark.parametrize(
    ("code", "pointer", "given"),
    [
        ("mapping.given-rows", "", {"DOSSIER": "1"}),
        ("mapping.given-rows", "/1", [{"DOSSIER": "1"}, {"NOM": "x"}]),
        ("mapping.given-rows", "/0", [{"DOSSIER": ""}]),
        ("mapping.given-rows", "/0", ["1"]),
        ("mapping.too-many", f"/{MAX_ROWS}", [{"DOSSIER": "1"}] * (MAX_ROWS + 1)),
    ],
)
def test_rows_that_belong_to_no_group_are_refused_with_their_number(code: str, pointer: str, given: object) -> None:
    assert (code, pointer) == rows_refused(load(HEAD + GROUPED), given)


@pytest.mark.parametrize(
    ("code", "pointer", "text"),
    [
        ("mapping.rows-direction", "/rows", b"direction: in\nrows: given.a\nfields: {subject: given.b}"),
        ("mapping.rows-direction", "/group_by", b"direction: out\ngroup_by: [A]\nfields: {A: record.phone}"),
        ("mapping.unknown-root", "/fields/A", b"direction: out\nfields: {A: row.phone}"),
        ("mapping.whole-record", "/rows", b"direction: out\nrows: record\nfields: {A: row.phone}"),
    ],
)
def test_rows_are_of_their_direction(code: str, pointer: str, text: bytes) -> None:
    with pytest.raises(Refused) as caught:
        load(HEAD + text)
    assert (code, pointer) == (caught.value.code, caught.value.pointer)
