"""The contract's own types, the rehearsal, and the codes of the package."""

import ast
from pathlib import Path
from typing import Any

import pytest

import connectors
from connectors import sdk
from connectors.contract import Applied, Reject, Retry, Settings, Unknown, checked
from connectors.rehearsal import Rehearsal
from schemas.catalogue import builtin
from schemas.errors import Refused, Unavailable
from schemas.messages import table
from schemas.names import DeliveryId, EventType
from schemas.record_types import TYPES

RAISED = {"Refused", "Unavailable", "Corrupt", "Retry", "Reject", "Unknown", "FieldWithheld"}
MOVED = EventType("fr.unefois.address.changed.v1")


class Inner(Settings):
    """A part."""

    size: int


class Example(Settings):
    """Some settings."""

    name: str
    parts: tuple[Inner, ...] = ()
    choice: int | tuple[int, ...] = 0


def test_the_class_of_every_event_type_can_be_had_from_the_sdk() -> None:
    assert {each.__name__ for each in TYPES.values()} <= set(sdk.__all__)


def test_the_three_ends_are_kept_apart_by_type() -> None:
    assert (True, True, False) == tuple(fault.retriable for fault in (Retry("a"), Unknown("a"), Reject("a")))
    assert not issubclass(Unknown, Retry)
    assert (issubclass(Retry, Unavailable), issubclass(Reject, Refused)) == (True, True)


def test_a_retry_knows_what_the_other_system_asked_for_even_seen_from_outside() -> None:
    assert (5, None, 5) == (
        Retry("a", after_ms=5).after_ms,
        Retry("a").after_ms,
        Retry("a", after_ms=5).under("/x").after_ms,
    )


@pytest.mark.parametrize(
    ("pointer", "wrong", "settings"),
    [
        ("/name", "missing", {}),
        ("/name", "string_type", {"name": 5}),
        ("/parts/1/size", "missing", {"name": "a", "parts": [{"size": 1}, {}]}),
        ("/parts/0/size", "int_parsing", {"name": "a", "parts": [{"size": "secret"}]}),
        ("/choice", "int_type", {"name": "a", "choice": None}),
        ("/a~1b", "extra_forbidden", {"name": "a", "a/b": 1}),
    ],
)
def test_a_wrong_setting_is_refused_at_its_place_without_its_value(
    pointer: str, wrong: str, settings: dict[str, object]
) -> None:
    with pytest.raises(Refused) as caught:
        checked(Example, settings)
    assert ("connector.settings", pointer, wrong) == (
        caught.value.code,
        caught.value.pointer,
        caught.value.details["wrong"],
    )
    assert "secret" not in str(caught.value)


def test_every_code_that_the_package_can_carry_has_its_four_sentences() -> None:
    codes = set()
    for file in Path(connectors.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED:
                assert isinstance(node.args[0], ast.Constant), f"{file.name}:{node.lineno}"
                codes.add(str(node.args[0].value))
    assert set() == codes - table().keys()
    assert len(codes) > 80


@pytest.mark.asyncio
async def test_a_rehearsal_hands_out_what_a_broker_would_and_remembers_the_ends(
    rehearsal: Rehearsal, moved: Any
) -> None:
    one = rehearsal.declare(MOVED, moved(), {"phone"}, basis="law:CASF-L123", purpose="social")
    (ready,) = await rehearsal.ready(5)
    verified = rehearsal.verified(one)
    assert (one, MOVED) == (ready.delivery_id, ready.event_type)
    assert (("phone",), "law:CASF-L123", "social", "+33600000000") == (
        verified.disclosed,
        verified.basis,
        verified.purpose,
        verified.record["phone"],
    )
    assert {one} == {each.delivery_id for each in (await rehearsal.pull(5)).locked}
    rehearsal.revoke(one)
    pulled = await rehearsal.pull(5)
    assert ((), one) == (pulled.locked, pulled.withheld[0].delivery_id)


@pytest.mark.asyncio
async def test_a_rehearsal_takes_one_end_for_each_delivery(rehearsal: Rehearsal, moved: Any) -> None:
    one = rehearsal.declare(MOVED, moved(), {"phone"})
    first = await rehearsal.acknowledge_all({one: Applied("1")})
    again = await rehearsal.acknowledge_all({one: Applied("1")})
    other = await rehearsal.acknowledge_all({one: Applied("2")})
    assert ({}, {}, "rehearsal.acknowledged", (one,), {}, ()) == (
        first,
        again,
        other[one].code,
        rehearsal.applied(),
        rehearsal.rejected(),
        await rehearsal.ready(5),
    )


def test_a_rehearsal_refuses_what_the_real_path_refuses(rehearsal: Rehearsal, moved: Any) -> None:
    with pytest.raises(Refused):
        rehearsal.declare(MOVED, moved(occupants=0), {"phone"})
    with pytest.raises(Refused) as caught:
        rehearsal.verified(DeliveryId(bytes(16)))
    assert "rehearsal.unknown-delivery" == caught.value.code


def test_a_rehearsal_knows_every_event_type(rehearsal: Rehearsal) -> None:
    assert {right.event_type for right in rehearsal.agency.directory.rights} == {e.event_type for e in builtin()}
