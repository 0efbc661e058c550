import json
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from typing import Any

import pytest

from schemas import avro, evolution
from schemas.avro_types import Type
from schemas.catalogue import Catalogue, builtin, event_schema, with_defaults
from schemas.errors import Refused
from schemas.names import EventType, SchemaId, Sensitivity
from schemas.retractions import RETRACTIONS
from tests.typed.whole import whole

SCHEMAS = {
    "fr.unefois.address.changed.v1": "b40cd2484f489c62691eb64be7fd7e6c2f60a80087d42ee8a1a036663008c268",
    "fr.unefois.contact.changed.v1": "da544c3af717e5581d30d2b343a48553a1ade061bbdff0e8ef692fb79f1736e8",
    "fr.unefois.name.changed.v1": "c90aba6ce56f8c05f669a7826e444de5964222d8391fd85b9926de5fad7923e3",
    "fr.unefois.person.born.v1": "d64d44748b6f2be624b9e7f1665231cc5d8146eaebc2effdb920903c34c40224",
    "fr.unefois.person.died.v1": "a6d6e59afb4e98706d785154c9608600c6807ccae16b75129478ac310edb3161",
    "fr.unefois.union.registered.v1": "5ceaed8bb0ab77e3254dd7fab4b5da1b6dc6a5b2d36686a81565181ca418cb94",
    "fr.unefois.union.dissolved.v1": "52a1a5d5608991a6b2c2083413ee685a5e29ceab122f6cb8a411aefcc54f2b39",
    "fr.unefois.bank-account.changed.v1": "9256323b1527d82cb26033a2dbc75a23f5b7a86445fd23c17d89944b0e6b5948",
    "fr.unefois.person.reference.v1": "80972dede99ce8536b5a807b19e0c419cb7d591bbbc1fa101e1f718355263ae5",
    "fr.unefois.declaration.cancelled.v1": "b4b9cda39b2c295fa1474fb2c0dbd594e7715ea66bbcea1e1a58fb6b534dc92d",
    "fr.unefois.declaration.recalled.v1": "328b04e2341c2984074a99be1ff554d133b971b77f396b8d0b6b4a336db2ccee",
    "fr.unefois.couple.formed.v1": "f1a0418b57342db2a1b5d3e8e77d366c962ab34cba8d574ecaba2e3746f1f1b3",
    "fr.unefois.couple.separated.v1": "c2c4b3a114462bd8a4737fe43ab56b9c28b66b507de358af70aec84ec2983787",
    "fr.unefois.child-residence.changed.v1": "297f82f5f58790db8d87a1eee3641e18c716b12a62c89285a2fbd7fa9dd7c8ff",
    "fr.unefois.representation.started.v1": "bbb43e96af40ff1b14a993dedc192e6f506234ef10e33861d1c338a435c474a1",
    "fr.unefois.representation.ended.v1": "c029e844c81a5d58d975088d96e64c4b3f07263ff8327b1764ccb67f1a5ac77a",
    "fr.unefois.identity.corrected.v1": "fc8d7f96d70616a444dfe94461adeebfed7535fcc33fced7e435793d81b143b9",
    "fr.unefois.address.renamed.v1": "b0edfb64fd6579c2865f6cb02b475a3962a7ae52faf011df2c9b3185c53c8cc2",
    "fr.unefois.person.born.v2": "78f4f71c2daa5edb7318af85b9fac674e4e5ff2f507a44febb11e7baf857cdfe",
    "fr.unefois.person.died.v2": "fb850035b3924878f54d1e37eb24e656bc41398b8278315c0a84f9fed3e96a54",
}
"""The first schema of each type by the SHA-256 of its bytes, which never change: declarations and grants name it so."""
LATER = {
    "address.changed.v1.2": "6079941879e4dc0157d076850ffa6a85541755feb31bc6923314ddc33065a325",
}
"""Those that followed within a type, by the names of their files."""

# The properties and classes that the released contexts of Core Person 2.1.2 and Core Location 2.1.0 define.
CORE_VOCABULARIES = {
    "http://www.w3.org/ns/person#Person",
    "http://www.w3.org/ns/person#countryOfBirth",
    "http://www.w3.org/ns/person#countryOfDeath",
    "http://www.w3.org/ns/person#placeOfBirth",
    "http://www.w3.org/ns/person#placeOfDeath",
    "http://www.w3.org/ns/locn#Address",
    "http://www.w3.org/ns/locn#address",
    "http://www.w3.org/ns/locn#addressArea",
    "http://www.w3.org/ns/locn#addressId",
    "http://www.w3.org/ns/locn#adminUnitL1",
    "http://www.w3.org/ns/locn#fullAddress",
    "http://www.w3.org/ns/locn#locatorDesignator",
    "http://www.w3.org/ns/locn#locatorName",
    "http://www.w3.org/ns/locn#poBox",
    "http://www.w3.org/ns/locn#postCode",
    "http://www.w3.org/ns/locn#postName",
    "http://www.w3.org/ns/locn#thoroughfare",
    "http://data.europa.eu/m8g/birthDate",
    "http://data.europa.eu/m8g/deathDate",
    "http://data.europa.eu/m8g/domicile",
    "http://data.europa.eu/m8g/email",
    "http://data.europa.eu/m8g/gender",
    "http://data.europa.eu/m8g/telephone",
    "http://purl.org/dc/terms/alternative",
    "http://purl.org/dc/terms/identifier",
    "http://purl.org/dc/terms/issued",
    "http://xmlns.com/foaf/0.1/familyName",
    "http://xmlns.com/foaf/0.1/givenName",
    "http://xmlns.com/foaf/0.1/name",
}


WHERE = ("type", "items", "fields")
"""Where a type may stand."""


def packaged() -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in files("schemas").joinpath("events").iterdir()}


def inner_types(kind: Type) -> Iterator[Type]:
    yield kind
    for child in kind.children():
        yield from inner_types(child)


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a schema."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(each)


def test_every_type_is_there_and_each_file_is_named_after_its_type():
    assert list(SCHEMAS) == [each.event_type for each in builtin().newest]
    names = {*(each.removeprefix("fr.unefois.") for each in SCHEMAS), *LATER}
    assert {f"{each}.avsc" for each in names} == set(packaged())


def test_the_bytes_of_a_registered_schema_stay_what_they_are():
    assert SCHEMAS == {name: builtin().versions(name)[0].schema.id.hex() for name in map(EventType, SCHEMAS)}
    assert LATER == {name: sha256(packaged()[f"{name}.avsc"]).hexdigest() for name in LATER}
    assert {*SCHEMAS.values(), *LATER.values()} == {each.schema.id.hex() for each in builtin()}


@pytest.mark.parametrize("event_type", SCHEMAS)
def test_every_schema_of_a_type_may_follow_those_before(event_type: str):
    first, *later = builtin().versions(EventType(event_type))
    for number, each in enumerate(later):
        assert () == evolution.check_all([first.schema.raw, *(one.schema.raw for one in later[:number])], each.schema)


def test_a_record_of_before_gets_the_defaults_of_what_came_later_and_keeps_what_it_tells():
    event = builtin().by_type(EventType("fr.unefois.address.changed.v1"))
    before = dict.fromkeys(builtin().versions(event.event_type)[0].names, "said")

    whole = with_defaults(event, before | {"new_care_of": "Mme Roux"})

    assert set(event.names) == set(whole)
    assert before.items() <= whole.items()
    assert ("Mme Roux", None) == (whole["new_care_of"], whole["new_housing"])


def test_files_are_utf8_with_one_newline_at_the_end_and_nothing_that_an_editor_would_change():
    for raw in packaged().values():
        text = raw.decode("utf-8")
        assert text.endswith("}\n")
        assert "\r" not in text
        assert "\t" not in text
        assert all(line == line.rstrip() for line in text.splitlines())


def test_every_type_says_who_is_concerned_and_in_which_capacity_somebody_speaks():
    for each in builtin():
        if each.event_type in RETRACTIONS:  # they name a declaration, which says it
            continue
        assert {"subject", "declarant", "capacity"} <= set(each.names)
        assert each.field("subject").sensitivity is Sensitivity.PERSONAL


def test_only_what_communes_hear_of_by_place_names_territories_in_clear():
    assert [
        "fr.unefois.address.changed.v1",
        "fr.unefois.child-residence.changed.v1",
        "fr.unefois.address.renamed.v1",
        "fr.unefois.person.born.v2",
        "fr.unefois.person.died.v2",
    ] == [each.event_type for each in builtin().newest if each.uses_territories]


def test_the_same_inner_record_is_the_same_in_every_type():
    known: dict[str, Type] = {}
    for event in builtin():
        for kind in inner_types(event.schema.type):
            if kind.name and not kind.name.endswith(".v1"):
                assert known.setdefault(kind.name, kind) == kind


def named(node: Any, *, top: bool = True) -> Any:
    """A schema as somebody writes it: what other types may share is only named."""
    if isinstance(node, list):
        return [named(each, top=False) for each in node]
    if not isinstance(node, dict):
        return node
    if not top and node.get("type") in ("record", "enum"):
        return node["name"]
    return {name: named(each, top=False) if name in WHERE else each for name, each in node.items()}


@pytest.mark.parametrize("name", sorted(packaged()))
def test_what_a_written_schema_shares_with_others_is_filled_in_as_the_catalogue_has_it(name: str):
    text = packaged()[name].decode()
    assert text == whole(json.dumps(named(json.loads(text))))
    assert text == whole(text)


def test_every_text_and_list_has_a_limit_and_every_text_a_format():
    for event in builtin():
        for kind in inner_types(event.schema.type):
            if kind.kind.value == "string":
                assert {"format", "maxLength"} <= set(kind.properties)
            if kind.kind.value == "array":
                assert "maxItems" in kind.properties


def test_every_iri_is_one_that_the_core_vocabularies_define():
    used = {each["iri"] for raw in packaged().values() for each in objects(json.loads(raw)) if "iri" in each}
    assert set() == used - CORE_VOCABULARIES
    assert set() == CORE_VOCABULARIES - used


def test_labels_in_the_two_languages_begin_with_a_capital_and_docs_end_as_sentences():
    for raw in packaged().values():
        for each in objects(json.loads(raw)):
            if isinstance(each.get("label"), dict) and "doc" in each:
                assert each["label"]["fr"][0].isupper()
                assert each["label"]["en"][0].isupper()
                assert each["doc"].endswith(".")


def test_a_schema_that_is_never_asked_for_costs_nothing_and_one_that_is_is_parsed_once():
    assert builtin() is builtin()


# Small schemas, to break one thing at a time.

LABEL = {"fr": "Champ", "en": "Field"}


def small(field: dict[str, Any] | None = None, **top: Any) -> bytes:
    told = {"name": "a", "type": "string", "doc": "A.", "label": LABEL, "sensitivity": "low", **(field or {})}
    kept = {key: value for key, value in told.items() if value is not None}
    whole = {"type": "record", "name": "fr.test.thing.v1", "doc": "T.", "label": LABEL, "fields": [kept], **top}
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


def inner(field: dict[str, Any]) -> dict[str, Any]:
    told = {"name": "b", "type": "string", "doc": "B.", "label": LABEL, **field}
    kept = {key: value for key, value in told.items() if value is not None}
    return {"type": {"type": "record", "name": "Inner", "fields": [kept]}}


IDENTITY = {
    "type": "record",
    "name": "Inner",
    "format": "identity",
    "fields": [{"name": "birthplace", "type": "string"}],
}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}

BAD = {
    "no-doc": (small({"doc": None}), "catalogue.no-doc", "/fields/0"),
    "blank-doc": (small({"doc": " "}), "catalogue.no-doc", "/fields/0"),
    "no-doc-at-the-top": (small(doc=None), "catalogue.no-doc", ""),
    "no-doc-inside": (small(inner({"doc": None})), "catalogue.no-doc", "/fields/0/type/fields/0"),
    "no-label": (small({"label": None}), "catalogue.no-label", "/fields/0"),
    "no-french": (small({"label": {"en": "Field"}}), "catalogue.no-label", "/fields/0"),
    "blank-english": (small({"label": {"fr": "Champ", "en": ""}}), "catalogue.no-label", "/fields/0"),
    "no-label-at-the-top": (small(label=None), "catalogue.no-label", ""),
    "no-label-inside": (small(inner({"label": None})), "catalogue.no-label", "/fields/0/type/fields/0"),
    "no-label-in-an-array": (
        small({"type": {"type": "array", "items": inner({"label": None})["type"]}}),
        "catalogue.no-label",
        "/fields/0/type/items/fields/0",
    ),
    "no-label-deep-inside": (
        small(inner(inner({"label": None}) | {"type": {**inner({"label": None})["type"], "name": "Deep"}})),
        "catalogue.no-label",
        "/fields/0/type/fields/0/type/fields/0",
    ),
    "symbol-without-label": (
        small({"type": {**ENUM, "labels": {"A": LABEL}}}),
        "catalogue.no-label",
        "/fields/0/type/labels/B",
    ),
    "symbols-without-labels": (small({"type": ["null", ENUM]}), "catalogue.no-label", "/fields/0/type/1/labels/A"),
    "no-sensitivity": (small({"sensitivity": None}), "catalogue.no-sensitivity", "/fields/0"),
    "unknown-sensitivity": (small({"sensitivity": "secret"}), "catalogue.no-sensitivity", "/fields/0"),
    "iri-not-text": (small({"iri": 3}), "catalogue.property", "/fields/0/iri"),
    "territories-not-boolean": (small(usesTerritories="yes"), "catalogue.property", "/usesTerritories"),
    "event-type-of-another": (small(eventType="fr.test.other.v1"), "catalogue.event-type", "/eventType"),
    "event-type-not-text": (small(eventType=3), "catalogue.event-type", "/eventType"),
    "event-type-without-version": (small(name="fr.test.thing"), "name.event-type", ""),
    "unknown-format": (
        small({"type": {"type": "string", "format": "colour"}}),
        "catalogue.format",
        "/fields/0/type/format",
    ),
    "format-not-text": (
        small({"type": {"type": "string", "format": ["date"]}}),
        "catalogue.format",
        "/fields/0/type/format",
    ),
    "format-on-a-number": (
        small({"type": {"type": "int", "format": "date"}}),
        "catalogue.format",
        "/fields/0/type/format",
    ),
    "record-format-on-text": (
        small({"type": {"type": "string", "format": "identity"}}),
        "catalogue.format",
        "/fields/0/type/format",
    ),
    "record-format-without-its-fields": (small({"type": IDENTITY}), "catalogue.format", "/fields/0/type/format"),
    "top-format-without-its-fields": (small(format="declaration"), "catalogue.format", "/format"),
    "limit-not-a-number": (
        small({"type": {"type": "string", "maxLength": "9"}}),
        "catalogue.property",
        "/fields/0/type/maxLength",
    ),
    "limit-true": (
        small({"type": {"type": "string", "maxLength": True}}),
        "catalogue.property",
        "/fields/0/type/maxLength",
    ),
    "limit-on-another-type": (
        small({"type": {"type": "int", "maxLength": 9}}),
        "catalogue.property",
        "/fields/0/type/maxLength",
    ),
    "equals-nothing": (small({"equals": "/b"}), "catalogue.property", "/fields/0/equals"),
    "equals-not-text": (small({"equals": 1}), "catalogue.property", "/fields/0/equals"),
    "counts-nothing": (small({"counts": "/a/b"}), "catalogue.property", "/fields/0/counts"),
    "differs-from-nothing": (small({"differs": "/b"}), "catalogue.property", "/fields/0/differs"),
    "sector-of-nothing": (small({"sectorOf": "/b"}), "catalogue.property", "/fields/0/sectorOf"),
    "only-with-nothing": (small({"onlyWith": "/b=A"}), "catalogue.property", "/fields/0/onlyWith"),
    "only-with-no-enum": (small({"onlyWith": "/a=A"}), "catalogue.property", "/fields/0/onlyWith"),
    "only-with-not-text": (small({"onlyWith": 1}), "catalogue.property", "/fields/0/onlyWith"),
    "streetless-with-another-symbol": (
        small(
            {
                "type": {**ENUM, "labels": {"A": LABEL, "B": LABEL}},
                "streetlessWith": "/a=A,C",
            }
        ),
        "catalogue.property",
        "/fields/0/streetlessWith",
    ),
    "map": (small({"type": {"type": "map", "values": "int"}}), "catalogue.map", "/fields/0/type"),
    "union-of-two": (small({"type": ["int", "string"]}), "catalogue.union", "/fields/0/type"),
    "union-of-three": (small({"type": ["null", "int", "string"]}), "catalogue.union", "/fields/0/type"),
    "not-avro": (b"{}", "avro.schema-type", "/type"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_schema_that_does_not_explain_itself_is_refused_with_its_place(name):
    raw, code, pointer = BAD[name]
    with pytest.raises(Refused) as caught:
        Catalogue.of([raw])
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


def test_the_small_schema_itself_is_taken_and_says_what_it_means():
    event = event_schema(
        avro.parse(small({"iri": "http://example.org/a", "type": ["null", "string"], "sensitivity": "special"}))
    )
    field = event.field("a")
    assert ("fr.test.thing.v1", False, "T.", LABEL) == (
        event.event_type,
        event.uses_territories,
        event.doc,
        event.label,
    )
    assert ("a", 0, "A.", LABEL, Sensitivity.SPECIAL) == (
        field.name,
        field.index,
        field.doc,
        field.label,
        field.sensitivity,
    )
    assert ("http://example.org/a", True) == (field.iri, field.nullable)


def test_a_record_format_needs_its_fields_and_no_more():
    fields = [{"name": name, "type": "string", "doc": "B.", "label": LABEL} for name in ("birthplace", "birthcountry")]
    assert event_schema(avro.parse(small({"type": IDENTITY | {"fields": fields}}))).names == ("a",)


def test_references_reach_through_nullable_records():
    named = inner({})["type"] | {"name": "Other"}
    raw = json.loads(small({"equals": "/c/b"}))
    raw["fields"].append({"name": "c", "type": ["null", named], "doc": "C.", "label": LABEL, "sensitivity": "low"})
    assert ("a", "c") == event_schema(avro.parse(json.dumps(raw).encode())).names


def test_dashes_of_a_type_are_underscores_in_its_record():
    event = event_schema(avro.parse(small(name="fr.test.a_thing.v1", eventType="fr.test.a-thing.v1")))
    assert "fr.test.a-thing.v1" == event.event_type


def test_several_schemas_of_a_type_live_together_and_the_last_is_the_newest():
    old, new = small(), small(doc="Newer.")
    catalogue = Catalogue.of([old, new, old])
    assert 2 == len(tuple(catalogue))
    assert new == catalogue.by_type(EventType("fr.test.thing.v1")).schema.raw
    assert {old, new} == {catalogue.by_id(each.schema.id).schema.raw for each in catalogue}


def test_what_nobody_registered_is_refused_by_type_by_schema_and_by_field():
    catalogue = Catalogue.of([small()])
    for code, attempt in (
        ("catalogue.unknown-type", lambda: catalogue.by_type(EventType("fr.test.other.v1"))),
        ("catalogue.unknown-schema", lambda: catalogue.by_id(SchemaId(bytes(32)))),
        ("catalogue.unknown-field", lambda: next(iter(catalogue)).field("b")),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert code == caught.value.code
