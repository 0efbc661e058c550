import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas import avro
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.evolution import Break, check, check_all

LABEL = {"fr": "Champ", "en": "Field"}
TOLD = {"doc": "D.", "label": LABEL}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **TOLD, "sensitivity": "personal", **more}


INNER = {"type": "record", "name": "Inner", "fields": [{"name": "city", "type": "string", **TOLD}]}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"], "labels": {"A": LABEL, "B": LABEL, "C": LABEL}}
BASE: dict[str, Any] = {
    "type": "record",
    "name": "fr.test.thing.v1",
    **TOLD,
    "fields": [
        field("text", {"type": "string", "format": "text"}),
        field("amount", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        field("day", {"type": "int", "logicalType": "date"}),
        field("kind", ENUM),
        field("open_kind", {**ENUM, "name": "F", "default": "A"}),
        field("hash", {"type": "fixed", "name": "H", "size": 4}),
        field("home", ["null", INNER]),
        field("homes", {"type": "array", "items": "Inner"}),
        field("extra", ["null", "string"], default=None),
    ],
}


def raw(schema: dict[str, Any]) -> bytes:
    return json.dumps(schema).encode()


def altered(change: Callable[[dict[str, Any]], Any]) -> bytes:
    schema = copy.deepcopy(BASE)
    change(schema)
    return raw(schema)


def put(which: str, /, **told: Any) -> Callable[[dict[str, Any]], None]:
    """A field with something else said of it."""

    def change(schema: dict[str, Any]) -> None:
        next(each for each in schema["fields"] if each["name"] == which).update(told)

    return change


def both(*changes: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        for each in changes:
            each(schema)

    return change


def inside(schema: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = next(each for each in schema["fields"] if each["name"] == "home")["type"][1]
    return inner


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda schema: schema.update(fields=[each for each in schema["fields"] if each["name"] != name])


def add(*fields: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda schema: schema["fields"].extend(fields)


NEW_INNER = {"name": "floor", "type": ["null", "int"], "default": None, **TOLD}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}

BREAKS: dict[str, tuple[Callable[[dict[str, Any]], Any], list[Break]]] = {
    "scale": (put("amount", type=MONEY | {"scale": 3}), [Break("evolution.decimal", "/amount")]),
    "precision": (put("amount", type=MONEY | {"precision": 10}), [Break("evolution.decimal", "/amount")]),
    "no-logical-type": (
        put("amount", type="bytes"),
        [Break("evolution.logical-type", "/amount"), Break("evolution.decimal", "/amount")],
    ),
    "no-date": (put("day", type="int"), [Break("evolution.logical-type", "/day")]),
    "wider-number": (put("day", type="long"), [Break("evolution.type-changed", "/day")]),
    "bytes-for-text": (put("text", type="bytes"), [Break("evolution.type-changed", "/text")]),
    "format": (put("text", type={"type": "string", "format": "email"}), [Break("evolution.format", "/text")]),
    "now-nullable": (put("text", type=["null", "string"]), [Break("evolution.type-changed", "/text")]),
    "no-longer-nullable": (put("extra", type="string", default=""), [Break("evolution.type-changed", "/extra")]),
    "branches-swapped": (
        put("extra", type=["string", "null"], default=""),
        [Break("evolution.type-changed", "/extra")],
    ),
    "third-branch": (
        put("extra", type=["null", "string", "int"]),
        [Break("catalogue.union", "/fields/8/type"), Break("evolution.type-changed", "/extra")],
    ),
    "symbol-added": (put("kind", type=ENUM | {"symbols": ["A", "B", "C"]}), [Break("evolution.symbol-added", "/kind")]),
    "symbol-removed": (put("kind", type=ENUM | {"symbols": ["A"]}), [Break("evolution.symbol-removed", "/kind")]),
    "enum-renamed": (put("kind", type=ENUM | {"name": "G"}), [Break("evolution.type-renamed", "/kind")]),
    "record-renamed": (
        both(
            lambda schema: inside(schema).update(name="Other"),
            put("homes", type={"type": "array", "items": "Other"}),
        ),
        [Break("evolution.type-renamed", "/home"), Break("evolution.type-renamed", "/homes")],
    ),
    "fixed-size": (
        put("hash", type={"type": "fixed", "name": "H", "size": 5}),
        [Break("evolution.fixed-size", "/hash")],
    ),
    "field-removed": (drop("text"), [Break("evolution.field-removed", "/text")]),
    "field-renamed": (
        put("text", name="words", aliases=["text"]),
        [Break("evolution.field-removed", "/text"), Break("evolution.field-without-default", "/words")],
    ),
    "field-without-default": (add(field("more", "int")), [Break("evolution.field-without-default", "/more")]),
    "granted-field-widened": (
        lambda schema: inside(schema)["fields"].append(NEW_INNER),
        [
            Break("evolution.granted-field-widened", "/home/floor"),
            Break("evolution.granted-field-widened", "/homes/floor"),
        ],
    ),
    "field-removed-inside": (
        lambda schema: inside(schema).update(fields=[NEW_INNER]),
        [
            Break("evolution.field-removed", "/home/city"),
            Break("evolution.granted-field-widened", "/home/floor"),
            Break("evolution.field-removed", "/homes/city"),
            Break("evolution.granted-field-widened", "/homes/floor"),
        ],
    ),
    "weaker-sensitivity": (put("text", sensitivity="low"), [Break("evolution.weaker-sensitivity", "/text")]),
    "territories": (lambda schema: schema.update(usesTerritories=True), [Break("evolution.territories", "")]),
    "no-label": (put("text", label={"en": "Field"}), [Break("catalogue.no-label", "/fields/0")]),
    "no-doc": (put("day", doc=""), [Break("catalogue.no-doc", "/fields/2")]),
    "no-doc-in-a-new-field": (
        add(field("more", ["null", "int"], default=None, doc="")),
        [Break("catalogue.no-doc", "/fields/9")],
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_may_not_follow_is_told_with_its_place(name):
    change, breaks = BREAKS[name]
    assert breaks == list(check(raw(BASE), altered(change)))


FOLLOWS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nullable-field-with-default": add(field("more", ["null", "int"], default=None)),
    "special-field-with-default": add(field("more", "int", default=0, sensitivity="special")),
    "field-with-default-removed": drop("extra"),
    "stronger-sensitivity": put("text", sensitivity="special"),
    "other-doc-and-label": put("text", doc="Other.", label={"fr": "Autre", "en": "Other"}),
    "symbol-in-an-enum-with-default": put(
        "open_kind", type=ENUM | {"name": "F", "default": "A", "symbols": ["A", "B", "C"]}
    ),
    "other-order": both(
        lambda schema: schema["fields"].reverse(),
        put("homes", type={"type": "array", "items": INNER}),
        put("home", type=["null", "Inner"]),
    ),
    "nothing": lambda schema: None,
}


@pytest.mark.parametrize("name", FOLLOWS)
def test_what_may_follow_has_no_break(name):
    assert () == check(raw(BASE), altered(FOLLOWS[name]))


def test_another_event_type_is_told():
    other = altered(lambda schema: schema.update(name="fr.other.thing.v1"))
    assert Break("evolution.event-type") in check(raw(BASE), other)


def test_every_version_counts_and_not_only_the_last():
    first = raw(BASE)
    second = altered(drop("extra"))
    third = altered(put("extra", type=["null", "int"]))
    assert () == check(first, second)
    assert () == check(second, third)
    assert (Break("evolution.type-changed", "/extra"),) == check_all([first, second], third)


def test_a_break_against_several_versions_is_told_once():
    second = altered(add(field("more", ["null", "int"], default=None)))
    assert (Break("evolution.field-removed", "/text"),) == check_all([raw(BASE), second], altered(drop("text")))


def test_the_first_schema_of_a_type_has_to_explain_itself():
    assert (Break("catalogue.no-doc", "/fields/0"),) == check_all([], altered(put("text", doc="")))
    assert (Break("catalogue.no-doc", "/fields/0"),) == check(
        altered(put("text", doc="")), altered(put("text", doc=""))
    )
    assert () == check_all([], raw(BASE))


def test_what_is_no_schema_is_refused():
    with pytest.raises(Refused) as caught:
        check(raw(BASE), b"{}")
    assert "avro.schema-type" == caught.value.code


def test_parsed_schemas_are_taken_as_well_as_bytes():
    assert () == check(avro.parse(raw(BASE)), avro.parse(raw(BASE)))


def test_every_packaged_type_may_follow_itself_and_take_a_new_field():
    for event in builtin():
        schema = json.loads(event.schema.raw)
        schema["fields"].append(field("added_later", ["null", {"type": "string", "maxLength": 10}], default=None))
        assert () == check(event.schema, event.schema)
        assert () == check_all([event.schema], raw(schema))


def test_what_the_walk_by_fields_cannot_see_avro_still_judges(monkeypatch):
    """The whole is judged once more when the walk found nothing."""
    monkeypatch.setattr("schemas.evolution._compare", lambda *_: iter(()))
    assert (Break("evolution.field-removed", ""),) == check(raw(BASE), altered(drop("text")))
