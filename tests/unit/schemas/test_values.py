import copy
import io
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import avro.io as avro_io
import avro.schema as avro_schema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import avro, places, values
from schemas.avro_types import Kind, Type
from schemas.catalogue import EventSchema, builtin, event_schema
from schemas.errors import Refused
from schemas.formats import Warning
from schemas.names import EventType, Instant, event_name
from schemas.samples import sample
from tests.examples import examples


def identity(**told: Any) -> dict[str, Any]:
    known = {
        "family_name": "Kerouédan",
        "given_names": ["Maïwenn", "Anne"],
        "birthdate": "1988-03-14",
        "gender": "female",
        "birthplace": "29232",
        "birthcountry": places.FRANCE,
    }
    return known | told


def address(**told: Any) -> dict[str, Any]:
    known = {
        "dwelling": "Appartement 12",
        "building": None,
        "housenumber": "5",
        "repetition": "bis",
        "street": "Rue de la Monnaie",
        "locality": None,
        "po_box": None,
        "postcode": "35000",
        "city": "Rennes",
        "commune": "35238",
        "country": places.FRANCE,
        "lines": [],
        "ban_key": None,
    }
    return known | told


ABROAD = address(
    dwelling=None,
    housenumber=None,
    repetition=None,
    street=None,
    postcode="10115",
    city="Berlin",
    commune=None,
    country="99109",
    lines=["Invalidenstraße 43", "10115 Berlin"],
)
ACT = {"commune": "35238", "country": places.FRANCE, "number": "1042", "drawn_up_on": "2026-11-20"}
DECISION = {"authority": "Tribunal judiciaire de Rennes", "date": "2026-10-02", "reference": None}
SPOKEN = {"subject": identity(), "declarant": None, "capacity": "self"}

RECORDS: dict[str, dict[str, Any]] = {
    "address.changed": {
        **SPOKEN,
        "effective_date": "2026-12-01",
        "old_address": address(postcode="44000", city="Nantes", commune="44109"),
        "new_address": address(),
        "old_commune": "44109",
        "new_commune": "35238",
        "old_country": places.FRANCE,
        "new_country": places.FRANCE,
        "household": [{"identity": identity(given_names=["Léo"], gender="male"), "relation": "child"}],
        "occupants": 2,
        "occupancy": "tenant",
        "usual_name": None,
        "phone": "+33612345678",
        "email": None,
        "vehicles": ["AB-123-CD"],
        **dict.fromkeys(("old_postal_sector", "new_postal_sector", "old_ban_id", "new_ban_id", "new_care_of")),
        "new_housing": None,
        "domiciliation": None,
    },
    "contact.changed": {
        **SPOKEN,
        "effective_date": "2026-12-01",
        "usual_name": None,
        "email": "maiwenn@exemple.fr",
        "mobile_phone": None,
        "landline_phone": None,
        "withdrawn": ["landline_phone"],
        "preferred": "email",
        "language": "fr",
        "paperless": True,
    },
    "name.changed": {
        **SPOKEN,
        "effective_date": "2026-12-01",
        "nature": "usual_name_taken",
        "new_family_name": None,
        "new_given_names": None,
        "new_usual_name": "Kerouédan-Roux",
        "new_gender": None,
        "act": ACT,
        "decision": DECISION,
    },
    "person.born": {
        "subject": identity(birthdate="2026-11-19", birthplace="35238"),
        "declarant": identity(),
        "capacity": "parent",
        "birthdate": "2026-11-19",
        "act": ACT,
        "parents": [{"identity": identity(), "role": "mother", "usual_name": None}],
        "born_together": 1,
        "residence": address(),
        "residence_commune": "35238",
        "phone": None,
        "email": None,
    },
    "person.died": {
        **SPOKEN,
        "capacity": "agent",
        "death_date": "2026-11",
        "death_place": "35238",
        "death_country": places.FRANCE,
        "act": ACT,
        "usual_name": None,
        "last_address": address(),
        "last_commune": "35238",
        "surviving_partner": identity(),
        "estate_contact": {"name": "Étude Roux", "is_notary": True, "phone": None, "email": None, "address": None},
    },
    "union.registered": {
        **SPOKEN,
        "partner": identity(),
        "union": "pacs",
        "date": "2026-11-20",
        "act": ACT,
        "notary": None,
        "property_regime": "separation",
        "usual_name": None,
        "partner_usual_name": None,
        "common_address": address(),
    },
    "union.dissolved": {
        **SPOKEN,
        "partner": identity(),
        "union": "marriage",
        "cause": "divorce_by_deed",
        "date": "2026-11-20",
        "decision": DECISION,
        "act": None,
        "keeps_usual_name": False,
        "children": [{"identity": identity(), "custody": "alternating"}],
        "children_count": 1,
        "child_support": {"monthly_amount": Decimal("180.50"), "payer": "partner", "from_date": "2026-12-01"},
    },
    "bank-account.changed": {
        **SPOKEN,
        "effective_date": "2026-12-01",
        "iban": "FR7630006000011234567890189",
        "bic": "AGRIFRPP",
        "holder": "Maïwenn Kerouédan",
        "joint": False,
        "bank": None,
        "uses": ["payments"],
        "replaces_ending": "0042",
    },
    "person.reference": {
        **SPOKEN,
        "effective_date": "2026-12-01",
        "number_kind": "numéro allocataire",
        "number": "1234567",
        "repairs": "019ad63c-7c00-7000-8000-000000000001",
    },
    "declaration.cancelled": {"declaration": "0192f3a1-7b2c-7d4e-8f50-61728394a5b6", "reason": "mistake"},
    "declaration.recalled": {"declaration": "0192f3a1-7b2c-7d4e-8f50-61728394a5b6", "reason": "fraud"},
}


def event(name: str) -> EventSchema:
    return builtin().by_type(EventType(event_name(name)))


RECORDS |= {
    name: sample(each.event_type)
    for each in builtin().newest
    if (name := each.event_type.removeprefix("fr.unefois.").removesuffix(".v1")) not in RECORDS
}
"""A record of every other type: its sample."""


def changed(name: str, pointer: str, value: Any) -> dict[str, Any]:
    """The record of a type with one place changed."""
    record: Any = copy.deepcopy(RECORDS[name])
    *steps, last = pointer.strip("/").split("/")
    place = record
    for step in steps:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return dict(record)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_each_type_is_taken_without_a_warning_and_survives(name):
    assert () == values.check(event(name), RECORDS[name])
    encoded = avro.encode(event(name).schema, RECORDS[name])
    assert RECORDS[name] == avro.decode(event(name).schema, encoded)


@pytest.mark.parametrize("name", RECORDS)
def test_another_avro_library_writes_the_same_bytes_and_reads_them(name):
    schema = avro_schema.parse(event(name).schema.raw.decode())
    out = io.BytesIO()
    avro_io.DatumWriter(schema).write(RECORDS[name], avro_io.BinaryEncoder(out))
    assert out.getvalue() == avro.encode(event(name).schema, RECORDS[name])
    out.seek(0)
    assert RECORDS[name] == avro_io.DatumReader(schema).read(avro_io.BinaryDecoder(out))


BAD: dict[str, tuple[str, str, Any, str]] = {
    "not-nfc": ("address.changed", "/subject/family_name", "Keroue\u0301dan", "values.not-nfc"),
    "line-break": ("address.changed", "/new_address/street", "Rue de la\nMonnaie", "values.control-character"),
    "direction-mark": ("address.changed", "/new_address/street", "Rue \u202eeiannoM", "values.control-character"),
    "zero-width": ("address.changed", "/subject/family_name", "Ker\u200bouédan", "values.control-character"),
    "line-separator": ("address.changed", "/subject/family_name", "Ker\u2028ouédan", "values.control-character"),
    "private-use": ("address.changed", "/subject/family_name", "Ker\ue000", "values.control-character"),
    "empty": ("address.changed", "/subject/family_name", "", "values.empty"),
    "space-before": ("address.changed", "/subject/family_name", " Roux", "values.padded"),
    "space-behind": ("address.changed", "/subject/given_names/1", "Anne ", "values.padded"),
    "no-break-space-behind": ("address.changed", "/subject/given_names/1", "Anne\u00a0", "values.padded"),
    "two-spaces": ("address.changed", "/new_address/street", "Rue  Monge", "values.padded"),
    "too-long": ("address.changed", "/subject/family_name", "x" * 101, "values.too-long"),
    "too-many": ("address.changed", "/vehicles", ["AB-123-CD"] * 21, "values.too-many"),
    "too-few": ("bank-account.changed", "/uses", [], "values.too-few"),
    "below": ("address.changed", "/occupants", 0, "values.out-of-range"),
    "above": ("address.changed", "/occupants", 101, "values.out-of-range"),
    "impossible-date": ("address.changed", "/effective_date", "2026-02-30", "values.date"),
    "zeros-in-birthdate": ("address.changed", "/subject/birthdate", "1962-00-00", "values.partial-date"),
    "unknown-commune-of-birth": ("address.changed", "/subject/birthplace", "35999", "values.commune"),
    "unknown-country-of-birth": ("address.changed", "/subject/birthcountry", "99999", "values.country"),
    "vehicle": ("address.changed", "/vehicles/0", "AB123CD", "values.vehicle-plate"),
    "in-the-household": ("address.changed", "/household/0/identity/birthdate", "hier", "values.partial-date"),
    "phone-with-spaces": ("address.changed", "/phone", "06 12 34 56 78", "values.phone"),
    "iban": ("bank-account.changed", "/iban", "FR7630006000011234567890188", "values.iban"),
    "bic": ("bank-account.changed", "/bic", "AGRIFRP", "values.bic"),
    "language": ("contact.changed", "/language", "fra-FR-x", "values.too-long"),
    "born-abroad-in-a-commune": ("address.changed", "/subject/birthcountry", "99352", "values.birthplace-abroad"),
    "no-postcode": ("address.changed", "/new_address/postcode", None, "values.french-postcode"),
    "short-postcode": ("address.changed", "/new_address/postcode", "3500", "values.french-postcode"),
    "foreign-postcode-in-france": ("address.changed", "/new_address/postcode", "SW1A1", "values.french-postcode"),
    "no-commune-in-france": ("address.changed", "/new_address/commune", None, "values.no-commune"),
    "no-street-at-all": ("address.changed", "/new_address/street", None, "values.no-street"),
    "commune-abroad": ("address.changed", "/new_address/country", "99109", "values.commune-abroad"),
    "told-apart-and-different": ("address.changed", "/new_commune", "35047", "values.disagree"),
    "told-apart-as-null": ("address.changed", "/new_commune", None, "values.disagree"),
    "other-country-told-apart": ("address.changed", "/old_country", "99109", "values.disagree"),
    "count": ("union.dissolved", "/children_count", 2, "values.count"),
    "parent-without-a-name": ("address.changed", "/capacity", "parent", "values.no-declarant"),
    "self-with-a-declarant": ("address.changed", "/declarant", identity(), "values.declarant-and-self"),
}
POINTERS = {
    "born-abroad-in-a-commune": "/subject/birthplace",
    "commune-abroad": "/new_address/commune",
    "parent-without-a-name": "/declarant",
    "self-with-a-declarant": "/capacity",
}


@pytest.mark.parametrize("name", BAD)
def test_one_wrong_place_is_refused_with_its_pointer_and_without_its_value(name):
    kind, pointer, value, code = BAD[name]
    with pytest.raises(Refused) as caught:
        values.check(event(kind), changed(kind, pointer, value))
    assert (code, POINTERS.get(name, pointer)) == (caught.value.code, caught.value.pointer)
    assert not (isinstance(value, str) and len(value) > 4 and value in str(caught.value))


@pytest.mark.parametrize(
    ("text", "position"),
    [("rue du 🎉 Lac", 8), ("rue ★", 5), ("5 €", 3), ("1\u20e3", 2), ("❤\ufe0f", 1), ("a\ufe0f", 2), ("a\u0378", 2)],
)
def test_a_symbol_in_a_text_is_refused_with_its_place(text, position):
    with pytest.raises(Refused) as caught:
        values.check(event("address.changed"), changed("address.changed", "/new_address/street", text))
    assert ("values.symbol", "/new_address/street") == (caught.value.code, caught.value.pointer)
    assert {"position": position} == caught.value.details


@pytest.mark.parametrize(
    "text",
    ["rue de l’Église – n° 5 (bât. A/B)", "Straße & Söhne, «Łódź»", "№ 3", "ул. Ленина", "Ngô Thị Mỹ", "A+B", "نور"],
)
def test_letters_marks_digits_and_punctuation_of_any_script_are_texts(text):
    assert () == values.check(event("address.changed"), changed("address.changed", "/new_address/street", text))


DAY_OF = Instant(1_795_521_493_000)  # 2026-11-24, noon


@pytest.mark.parametrize(
    ("kind", "pointer", "last", "first"),
    [
        ("address.changed", "/subject/birthdate", "2026-11-25", "2026-11-26"),  # it is tomorrow already east of here
        ("address.changed", "/subject/birthdate", "2026-11", "2026-12"),
        ("address.changed", "/subject/birthdate", "2026", "2030"),
        ("address.changed", "/household/0/identity/birthdate", "2026", "2027"),
        ("person.died", "/death_date", "2026-11-24", "2026-12-24"),
        ("union.registered", "/date", "2026-11-24", "2026-12-24"),
    ],
)
def test_a_fact_of_the_future_is_refused_where_somebody_says_which_day_it_is(kind, pointer, last, first):
    values.check(event(kind), changed(kind, pointer, last), DAY_OF)
    with pytest.raises(Refused) as caught:
        values.check(event(kind), changed(kind, pointer, first), DAY_OF)
    assert ("values.future", pointer) == (caught.value.code, caught.value.pointer)
    values.check(event(kind), changed(kind, pointer, first))


def test_what_is_planned_may_lie_in_the_future():
    record = changed("address.changed", "/effective_date", "2027-11-25")
    assert () == values.check(event("address.changed"), record, DAY_OF)
    planned = changed("bank-account.changed", "/effective_date", "2040-01-01")
    assert () == values.check(event("bank-account.changed"), planned, DAY_OF)


@pytest.mark.parametrize(("near", "distant", "far"), [
    ("2025-11-23", "2025-11-22", "2016-11-10"), ("2027-11-25", "2027-11-26", "2036-12-03"),
])  # fmt: skip
def test_a_move_is_looked_at_twice_after_a_year_and_refused_after_ten(near, distant, far):
    def told(day):
        return values.check(event("address.changed"), changed("address.changed", "/effective_date", day), DAY_OF)

    assert () == told(near)
    assert [("values.distant-date", "/effective_date")] == [(one.code, one.pointer) for one in told(distant)]
    with pytest.raises(Refused) as caught:
        told(far)
    assert ("values.far-date", "/effective_date") == (caught.value.code, caught.value.pointer)


@pytest.mark.parametrize(
    ("holder", "codes"),
    [
        ("MME KEROUEDAN MAIWENN", []),
        ("M. et Mme Le Goff-Kerouédan", []),
        ("Maïwenn Le Goff", []),
        ("MME M DUPONT", ["values.other-holder"]),  # an initial, and a name that is used
        ("M OU MME DUPONT", None),  # M is a title
        ("Dupont, É.", None),
        ("SARL Bonne Affaire", None),
        ("X", None),
    ],
)
def test_an_account_of_another_name_is_looked_at_twice_or_refused(holder, codes):
    record = changed("bank-account.changed", "/holder", holder) | {"joint": False}
    if codes is None:
        with pytest.raises(Refused) as caught:
            values.check(event("bank-account.changed"), record)
        assert ("values.not-the-holder", "/holder") == (caught.value.code, caught.value.pointer)
    else:
        assert codes == [one.code for one in values.check(event("bank-account.changed"), record)]


OTHER = {"family_name": "Durand", "given_names": ["Yves"], "birthdate": "1960", "gender": "male",
         "birthplace": None, "birthcountry": "99109"}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "right"),
    [
        ({"joint": True}, True),
        ({"declarant": OTHER, "capacity": "guardian"}, True),
        ({"declarant": OTHER, "capacity": "parent"}, True),
        ({"declarant": OTHER, "capacity": "next_of_kin"}, False),
        ({"declarant": OTHER, "capacity": "agent"}, False),
        ({"declarant": OTHER | {"family_name": "Martin", "given_names": ["Zoé"]}, "capacity": "guardian"}, False),
    ],
)
def test_an_account_of_another_name_needs_a_stated_reason(told, right):
    record = changed("bank-account.changed", "/holder", "M YVES DURAND") | {"joint": False} | told
    if right:
        found = values.check(event("bank-account.changed"), record)
        assert [("values.other-holder", "/holder")] == [(one.code, one.pointer) for one in found]
        return
    with pytest.raises(Refused) as caught:
        values.check(event("bank-account.changed"), record)
    assert ("values.not-the-holder", "/holder") == (caught.value.code, caught.value.pointer)


@pytest.mark.parametrize(
    ("kind", "pointer", "first", "last"),
    [
        ("union.registered", "/date", "1896-11-25", "1823-06-01"),
        ("person.died", "/death_date", "1896-11-25", "1896-11-24"),
        ("address.changed", "/subject/birthdate", "1896", "1895"),
        ("address.changed", "/subject/birthdate", "1896-11", "1896-10"),
    ],
)
def test_nobody_tells_news_of_generations_ago(kind, pointer, first, last):
    values.check(event(kind), changed(kind, pointer, first), DAY_OF)
    with pytest.raises(Refused) as caught:
        values.check(event(kind), changed(kind, pointer, last), DAY_OF)
    assert ("values.long-past", pointer) == (caught.value.code, caught.value.pointer)
    values.check(event(kind), changed(kind, pointer, last))


def test_an_address_abroad_needs_lines_and_no_commune():
    record = RECORDS["address.changed"] | {"new_address": ABROAD, "new_commune": None, "new_country": "99109"}
    assert () == values.check(event("address.changed"), record)
    with pytest.raises(Refused) as caught:
        values.check(event("address.changed"), record | {"new_address": ABROAD | {"lines": []}})
    assert ("values.no-address-lines", "/new_address/lines") == (caught.value.code, caught.value.pointer)


@pytest.mark.parametrize("part", ["locality", "po_box"])
def test_a_named_place_or_a_box_stands_for_a_street(part):
    record = changed("address.changed", "/new_address", address(street=None) | {part: "Le Bourg"})
    assert () == values.check(event("address.changed"), record)


def test_an_address_told_by_lines_alone_is_taken():
    record = changed("address.changed", "/new_address", address(street=None, lines=["5 bis rue de la Monnaie"]))
    assert () == values.check(event("address.changed"), record)


def test_what_is_told_apart_needs_nothing_to_agree_with_when_the_whole_is_not_told():
    record = changed("address.changed", "/old_address", None)
    assert () == values.check(event("address.changed"), record)


def test_a_birth_in_france_without_a_commune_is_told_and_not_refused():
    record = changed("address.changed", "/subject/birthplace", None)
    assert (Warning("values.no-birthplace", "/subject/birthplace"),) == values.check(event("address.changed"), record)


def test_a_former_commune_of_birth_is_right_as_it_was_then():
    assert () == values.check(event("address.changed"), changed("address.changed", "/subject/birthplace", "75001"))


def test_a_former_commune_in_an_address_is_told_at_each_of_its_places():
    record = changed("address.changed", "/old_address/commune", "20004") | {"old_commune": "20004"}
    told = values.check(event("address.changed"), record)
    assert [
        Warning("values.former-commune", "/old_address/commune"),
        Warning("values.former-commune", "/old_commune"),
    ] == list(told)


def test_a_death_in_a_country_that_is_gone_is_told():
    record = RECORDS["person.died"] | {"death_country": "99141", "death_place": None}
    assert (Warning("values.former-country", "/death_country"),) == values.check(event("person.died"), record)


def test_what_avro_refuses_is_refused_first():
    with pytest.raises(Refused) as caught:
        values.check(event("address.changed"), changed("address.changed", "/occupants", "2"))
    assert ("avro.wrong-type", "/occupants") == (caught.value.code, caught.value.pointer)


def small(kind: Any) -> EventSchema:
    label = {"fr": "Champ", "en": "Field"}
    field = {"name": "a", "type": kind, "doc": "A.", "label": label, "sensitivity": "low"}
    top = {"type": "record", "name": "fr.test.thing.v1", "doc": "T.", "label": label, "fields": [field]}
    return event_schema(avro.parse(json.dumps(top).encode()))


def test_a_schema_without_limits_has_the_limits_of_the_house():
    assert () == values.check(small("string"), {"a": "x" * values.MAX_LENGTH})
    assert () == values.check(small({"type": "array", "items": "string"}), {"a": ["x"] * values.MAX_ITEMS})
    for kind, value, code in (
        ("string", "x" * (values.MAX_LENGTH + 1), "values.too-long"),
        ("bytes", bytes(values.MAX_LENGTH + 1), "values.too-long"),
        ({"type": "array", "items": "string"}, ["x"] * (values.MAX_ITEMS + 1), "values.too-many"),
    ):
        with pytest.raises(Refused) as caught:
            values.check(small(kind), {"a": value})
        assert code == caught.value.code


def test_a_nullable_text_is_checked_whichever_branch_comes_first():
    for union in (["null", "string"], ["string", "null"]):
        assert () == values.check(small(union), {"a": None})
        with pytest.raises(Refused) as caught:
            values.check(small(union), {"a": ""})
        assert "values.empty" == caught.value.code


class TestEveryFault:
    """All that is wrong is told at once; the first is the one that was told before there were others."""

    def test_missing_unknown_of_another_type_and_too_long_are_told_together_each_with_its_place(self):
        record = changed("address.changed", "/subject/family_name", "x" * 101)
        del record["new_address"]["city"]
        record["new_adress"] = None
        record["capacity"] = "king"
        record["occupants"] = "2"
        record["household"][0]["identity"]["birthdate"] = "hier"
        record["old_commune"] = "35999"

        assert [
            ("avro.unknown-field", "/new_adress"),
            ("avro.unknown-symbol", "/capacity"),
            ("avro.missing-field", "/new_address/city"),
            ("avro.wrong-type", "/occupants"),
            ("values.too-long", "/subject/family_name"),
            ("values.commune", "/old_commune"),
            ("values.partial-date", "/household/0/identity/birthdate"),
        ] == told(record)

    def test_what_could_be_content_is_told_by_the_record_that_it_is_in(self):
        record = RECORDS["address.changed"] | {"Mme Roux": 1, "M. Roux": 2, "ville": 3}

        assert [("avro.unknown-field", ""), ("avro.unknown-field", "/ville")] == told(record)

    def test_a_rule_between_fields_is_asked_of_fields_that_are_sound(self):
        record = changed("address.changed", "/new_address/commune", "x")
        record["new_commune"] = "y"
        record["capacity"] = "parent"
        record["subject"] = "Roux"

        assert [
            ("avro.wrong-type", "/subject"),
            ("values.commune", "/new_address/commune"),
            ("values.commune", "/new_commune"),
            ("values.no-declarant", "/declarant"),
        ] == told(record)

    def test_too_many_items_are_told_beside_what_is_wrong_in_them(self):
        record = changed("address.changed", "/vehicles", ["AB-123-CD"] * 20 + ["?"]) | {"phone": "06"}
        record["vehicles"][1] = "AB"

        assert [
            ("values.phone", "/phone"),
            ("values.too-many", "/vehicles"),
            ("values.vehicle-plate", "/vehicles/1"),
        ] == told(record)

    @pytest.mark.parametrize(("count", "listed"), [(50, 50), (51, 51), (999, 51)])
    def test_fifty_are_told_and_then_that_there_are_more(self, count, listed):
        whole = small({"type": "array", "items": "string"})

        for wrong in ([""] * count, [1] * count, ([""] * (count - 1) + [1])):
            found = told({"a": wrong}, whole)
            assert listed == len(found)
            assert (("faults.more", "") == found[-1]) is (count > 50)
            assert all(code != "faults.more" for code, _ in found[:50])

    def test_the_future_is_told_with_the_rest(self):
        record = changed("address.changed", "/subject/birthdate", "2027-01-01") | {"email": "?"}

        assert [("values.email", "/email"), ("values.future", "/subject/birthdate")] == told(record, at=DAY_OF)

    def test_what_is_too_large_as_a_whole_is_told_alone(self):
        whole = small("string")

        assert [("avro.too-large", "/a")] == told({"a": "x" * 2_000_000}, whole)
        assert [("avro.wrong-type", "")] == told(["no record"], whole)

    def test_no_value_is_told(self):
        record = changed("address.changed", "/subject/family_name", "Roux\n") | {"phone": "0612345678"}
        with pytest.raises(Refused) as caught:
            values.check(event("address.changed"), record)
        assert "values.control-character at /subject/family_name +1" == str(caught.value)

    @given(
        st.lists(st.sampled_from([name for name, (kind, *_) in BAD.items() if kind == "address.changed"]), unique=True)
    )
    def test_faults_at_places_of_their_own_are_told_as_each_is_alone(self, names):
        """Those of one field, or of fields that have to agree, hide one another."""
        chosen = {}
        for name in names:
            field = BAD[name][1].split("/")[1]
            together = {"new_commune": "new_address", "old_country": "old_address", "declarant": "capacity"}
            chosen.setdefault(together.get(field, field), BAD[name])
        record, expected = copy.deepcopy(RECORDS["address.changed"]), set()
        for _, pointer, value, _ in chosen.values():
            field = pointer.split("/")[1]
            alone = changed("address.changed", pointer, value)
            record[field] = alone[field]
            expected |= set(told(alone))

        assert expected == set(told(record))


def told(record, of=None, at=None):
    """Every fault of a record, with its place."""
    try:
        values.check(of or event("address.changed"), record, at)
    except Refused as fault:
        return [(each.code, each.pointer) for each in (fault, *fault.also)]
    return []


def test_a_type_without_declarant_has_no_rule_about_one():
    assert () == values.check(small({"type": "int", "maximum": 3}), {"a": 3})


_TEXTS: dict[str, st.SearchStrategy[str]] = {
    "text": st.sampled_from(["Roux", "L'Haÿ", "12", "Étude"]),
    "date": st.dates(date(1800, 1, 1), date(2199, 12, 31)).map(str),
    "partial-date": st.dates(date(1800, 1, 1), date(2199, 12, 31))
    .map(str)
    .flatmap(lambda d: st.sampled_from([d, d[:7], d[:4]])),
    "iban": st.just("FR7630006000011234567890189"),
    "iban-ending": st.just("0189"),
    "bic": st.just("AGRIFRPP"),
    "cog-commune": st.sampled_from(["35238", "75115", "97411", "20004"]),
    "cog-commune-ever": st.sampled_from(["35238", "75001"]),
    "cog-country": st.sampled_from(["99100", "99109", "99141"]),
    "cog-country-ever": st.sampled_from(["99100", "99352"]),
    "email": st.just("j@exemple.fr"),
    "phone": st.just("+33612345678"),
    "postcode": st.sampled_from(["35000", "SW1A 1AA"]),
    "language": st.just("fr"),
    "vehicle-plate": st.just("AB-123-CD"),
    "ban-key": st.just("35238_7470_00012"),
    "uuid": st.just("0192f3a1-7b2c-7d4e-8f50-61728394a5b6"),
    "ban-id": st.just("9b5cbf9e-0c3f-4a4c-9a5d-3b7a5d0e2c11"),
    "military-sector": st.just("00595"),
    "siret": st.just("21350238800019"),
}


def _of(kind: Type) -> st.SearchStrategy[Any]:
    makers: dict[Kind, Callable[[], st.SearchStrategy[Any]]] = {
        Kind.STRING: lambda: _TEXTS[kind.properties["format"]],
        Kind.ENUM: lambda: st.sampled_from(kind.symbols),
        Kind.BOOLEAN: st.booleans,
        Kind.NULL: st.none,
        Kind.INT: lambda: st.integers(kind.properties["minimum"], kind.properties["maximum"]),
        Kind.BYTES: lambda: st.decimals(0, 9999, places=kind.scale),
        Kind.ARRAY: lambda: st.lists(_of(kind.parts[0]), max_size=2),
        Kind.UNION: lambda: st.one_of([_of(part) for part in kind.parts]),
        Kind.RECORD: lambda: st.fixed_dictionaries({each.name: _of(each.type) for each in kind.fields}),
    }
    return makers[kind.kind]()


_ANY = {name: _of(event(name).schema.type) for name in RECORDS}


@examples(60)
@given(st.sampled_from(sorted(RECORDS)).flatmap(lambda name: st.tuples(st.just(name), _ANY[name])))
def test_any_record_of_any_type_is_taken_or_refused_and_survives_if_taken(pair):
    name, record = pair
    try:
        told = values.check(event(name), record)
    except Refused:
        return
    assert all(each.pointer for each in told)
    assert record == avro.decode(event(name).schema, avro.encode(event(name).schema, record))
