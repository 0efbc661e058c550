"""What can be said about a mapping before it runs: are the fields it needs granted, do they exist, do its tests pass?

Refuses: nothing; it returns every problem at once, as faults that were not raised, so that a person corrects a file in
         one go and `schemas.messages.explain` has the sentences.
Keeps: the fields checked are those of `expression.parse`, hence every field that can be read, whatever the values are.
       A field read under `withheld_or` or its kin need not be granted: the file says what happens without it.
"""

from collections.abc import Collection, Sequence
from collections.abc import Mapping as Record
from dataclasses import dataclass
from typing import ClassVar

from connectors.expression import nearest
from connectors.mapping import Direction, Example, Mapping, expressions, fields_read
from connectors.plain import FACTS, plain
from schemas import values
from schemas.catalogue import EventSchema
from schemas.completing import complete
from schemas.delivery import WITHHELD
from schemas.errors import Refused

_NO_DELIVERY: Record[str, object] = {
    **dict.fromkeys(FACTS),
    "id": "00000000-0000-8000-8000-000000000001",
    "declaration_id": "00000000-0000-7000-8000-000000000001",
    "source": "urn:unefois:portal",
    "issued_at": "2026-01-02T03:04:05.000Z",
    "grant_id": "00000000-0000-7000-8000-000000000002",
    "grant_version": 1,
    "purpose": "test",
    "basis": "consent",
    "pseudonym": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "pseudonym_version": 1,
    "released_at": "2026-01-02T03:04:06.000Z",
    "ledger_entry": "00" * 32,
    "manifest": "00" * 32,
}


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """How one of a file's own tests ended. It repeats values: they are the file's, and invented."""

    __test__: ClassVar[bool] = False  # the name starts with Test, and pytest need not collect it
    name: str
    passed: bool
    differences: tuple[str, ...] = ()


def check_fields(mapping: Mapping, granted: Collection[str]) -> tuple[Refused, ...]:
    """One problem for each expression that needs a field which is not granted."""
    return tuple(
        Refused("mapping.not-granted", pointer, field=name)
        for pointer, expression in expressions(mapping)
        for name in sorted(expression.needs - set(granted))
    )


def check_grounds(mapping: Mapping, grounds: Record[str, str]) -> tuple[Refused, ...]:
    """A problem where fields that are needed come on several grounds: each has a delivery of its own, so that no
    delivery has all of them (ADR 6).
    """
    needed = {name for _, expression in expressions(mapping) for name in expression.needs if name in grounds}
    apart = {grounds[name] for name in needed}
    return (Refused("mapping.two-grounds", "/fields", count=len(apart)),) if len(apart) > 1 else ()


def check_rows(mapping: Mapping, connector: type[object], pointer: str) -> None:
    """Raises Refused("connector.one-row") where a mapping of several rows meets a connector that writes one."""
    if mapping.rows is not None and not hasattr(connector, "write_rows"):
        raise Refused("connector.one-row", pointer)


def unread(mapping: Mapping, granted: Collection[str]) -> frozenset[str]:
    """Granted fields that the mapping never reads: candidates for a narrower subscription."""
    return frozenset(granted) - fields_read(mapping)


def check_event(mapping: Mapping, event: EventSchema) -> tuple[Refused, ...]:
    """Problems of a mapping against its event type: fields that do not exist, and inbound ones that are missing."""
    if mapping.event_type != event.event_type:
        return (Refused("mapping.other-event-type", mapping=mapping.name, event_type=event.event_type),)
    known = frozenset(event.names)
    if mapping.direction is Direction.OUT:
        return tuple(
            Refused("mapping.unknown-field", pointer, field=name, near=nearest(name, known))
            for pointer, expression in expressions(mapping)
            for name in sorted(expression.reads - known)
        )
    strange = (
        Refused("mapping.unknown-field", f"/fields/{name}", field=name, near=nearest(name, known))
        for name in mapping.targets
        if name not in known
    )
    missing = (
        Refused("mapping.field-missing", "/fields", field=wanted.name)
        for wanted in event.fields
        if not wanted.nullable and wanted.name not in mapping.targets
    )
    return (*strange, *missing)


def run_tests(mapping: Mapping, event: EventSchema | None = None) -> tuple[TestOutcome, ...]:
    """Run the file's own tests, in order. With its event type, inbound results must also be valid records of it."""
    return tuple(_run(mapping, test, event) for test in mapping.tests)


def _run(mapping: Mapping, test: Example, event: EventSchema | None) -> TestOutcome:
    try:
        got = mapping.apply_all(_given(mapping, test), test.parameters)
        if event is not None and mapping.direction is Direction.IN:
            for record in got:
                values.check(event, complete(record, event))
    except Refused as fault:
        passed = fault.code == test.error
        return TestOutcome(test.name, passed, () if passed else (f"{test.error or 'a result'} expected, {fault} got",))
    if test.expect is None:
        return TestOutcome(test.name, False, (f"{test.error} expected, a result got",))
    differences = _all_differences(test.expect, got)
    return TestOutcome(test.name, not differences, differences)


def _given(mapping: Mapping, test: Example) -> object:
    if mapping.direction is Direction.IN:
        return test.given
    if isinstance(test.given, list):
        raise Refused("mapping.test-given")
    record = test.given.get("record")
    facts = test.given.get("delivery", {})
    if not isinstance(record, dict) or not isinstance(facts, dict) or test.given.keys() - {"record", "delivery"}:
        raise Refused("mapping.test-given")
    for name in facts:
        if name not in FACTS:
            raise Refused("mapping.unknown-name", root="delivery", near=nearest(name, FACTS))
    withheld = dict.fromkeys(test.withheld, WITHHELD)
    whole = {**record, **withheld}
    forgotten = sorted(fields_read(mapping) - whole.keys())
    if forgotten:
        # A field that the example forgets would read as null and hide a mistake.
        raise Refused("mapping.test-forgets", field=forgotten[0])
    return invented(mapping, whole, facts)


def invented(mapping: Mapping, record: Record[str, object], facts: Record[str, object] | None = None) -> object:
    """What an outbound mapping is given for an invented record: beside it, facts of a delivery that is none."""
    delivery = {**_NO_DELIVERY, "event_type": str(mapping.event_type), **(facts or {})}
    return {"record": plain(record), "delivery": delivery}


def untested(mapping: Mapping) -> tuple[str, ...]:
    """Targets for which no test expects a value other than null."""
    rows = [row for test in mapping.tests for row in _rows(test.expect)]
    return tuple(name for name in mapping.targets if all(row.get(name) is None for row in rows))


def _rows(expected: Record[str, object] | list[dict[str, object]] | None) -> Sequence[Record[str, object]]:
    if expected is None:
        return ()
    return expected if isinstance(expected, list) else (expected,)


def _all_differences(
    expected: Record[str, object] | list[dict[str, object]], got: Sequence[Record[str, object]]
) -> tuple[str, ...]:
    if isinstance(expected, list):
        if len(expected) != len(got):
            return (f"{len(expected)} rows expected, {len(got)} got",)
        return tuple(
            f"{number}: {each}"
            for number, pair in enumerate(zip(expected, got, strict=True), start=1)
            for each in _differences(*pair)
        )
    return _differences(expected, got[0]) if len(got) == 1 else (f"1 row expected, {len(got)} got",)


def _differences(expected: Record[str, object], got: Record[str, object]) -> tuple[str, ...]:
    names = [*expected, *(name for name in got if name not in expected)]
    return tuple(
        f"{name}: {expected.get(name, 'nothing')!r} expected, {got.get(name, 'nothing')!r} got"
        for name in names
        if name not in got or name not in expected or not _same(expected[name], got[name])
    )


def _same(left: object, right: object) -> bool:
    """Equal, and not only because Python counts True as 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) is isinstance(right, bool) and left == right
