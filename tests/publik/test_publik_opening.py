"""Before anything is sent, the connector says what is missing: here, at the door of Publik, or in the form."""

import json
from typing import Any

import pytest

from connectors.contract import Retry
from schemas.errors import Fault, Refused
from tests.publik import server
from tests.publik.desk import Desk

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("off", [-40, 40])
async def test_clocks_that_differ_are_told_by_their_difference(desk: Desk, off: int) -> None:
    desk.off_s = off
    with pytest.raises(Retry) as told:
        async with desk.opened():
            pass
    assert ("publik.clock", {"seconds": off}) == (told.value.code, told.value.details)


async def test_everything_that_is_missing_is_told_at_once_by_its_place(desk: Desk) -> None:
    desk.targets, desk.form.disabled = ("nomm", "tableau", "nom", "commune_raw", "nom_raw"), True
    with pytest.raises(Refused) as refused:
        async with desk.opened(field="urgent"):
            pass
    assert [
        ("publik.disabled", "/form"),
        ("publik.reference", "/field"),
        ("publik.unknown-field", "/fields/nomm"),
        ("publik.field-type", "/fields/tableau"),
        ("publik.unknown-field", "/fields/nom_raw"),
    ] == [(one.code, one.pointer) for one in (refused.value, *refused.value.also)]
    assert "nom" == refused.value.also[1].details["near"]


@pytest.mark.parametrize(
    ("more", "change", "code", "pointer"),
    [
        ({"form": "inconnue"}, {}, "publik.no-form", "/form"),
        ({"access": "agents", "key_file": "pont"}, {}, "publik.not-let-in", "/access"),
        ({"access": "agents"}, {"concerned": frozenset()}, "publik.may-not-list", "/access"),
        ({"access": "agents", "way": "basic"}, {"submission": frozenset()}, "publik.role", "/access"),
        ({"action": "hook"}, {}, "connector.settings", ""),
        ({"url": "http://demarches.ville.example"}, {}, "connector.settings", "/url"),
        ({"form": "../x"}, {}, "connector.settings", "/form"),
    ],
)
async def test_what_an_administrator_has_to_mend_is_told_before_anything_is_sent(
    desk: Desk, more: dict[str, Any], change: dict[str, Any], code: str, pointer: str
) -> None:
    vars(desk.form).update(change)
    told = {name: str(desk.folder / value) if name == "key_file" else value for name, value in more.items()}
    with pytest.raises(Refused) as refused:
        async with desk.opened(**told):
            pass
    assert (code, pointer, []) == (refused.value.code, refused.value.pointer, desk.shown())


STRANGE: list[dict[str, Any]] = [
    {"fields": None},
    {"fields": [None, "x", {"varname": 7}, {"varname": "adresse", "type": ["x"]}, {"type": "string"}]},
    {"fields": [{"varname": "adresse", "type": "block"}, {"varname": "reference_source", "type": "string"}]},
    {
        "fields": [
            {"varname": "adresse", "type": "items", "items": [{}]},
            {"varname": "reference_source", "type": "text"},
        ]
    },
]


@pytest.mark.parametrize("schema", STRANGE)
async def test_a_schema_as_none_should_be_ends_in_a_fault_and_sends_nothing(desk: Desk, schema: dict[str, Any]) -> None:
    desk.targets = ("adresse",)
    desk.served.faults.append(server.says(200, json.dumps(schema).encode()))
    with pytest.raises(Fault):
        async with desk.opened() as connector:
            await connector.write(desk.delivery(), {"adresse": [{"voie": "rue"}]})
    assert [] == desk.shown()


async def test_a_key_that_others_may_read_is_not_taken(desk: Desk) -> None:
    (desk.folder / "pont").chmod(0o644)
    with pytest.raises(Refused) as refused:
        async with desk.opened():
            pass
    assert "source.open-to-others" == refused.value.code


async def test_a_mapping_that_fills_the_reference_is_told_before(desk: Desk) -> None:
    desk.targets = ("nom", "reference_source")
    with pytest.raises(Refused) as refused:
        async with desk.opened():
            pass
    assert ("publik.reference-filled", "/fields/reference_source") == (refused.value.code, refused.value.pointer)
