"""Audit: each rule that needs no opening has a ledger that breaks it and nothing else."""

import inspect
import re
from dataclasses import replace

import pytest

from schemas import audit
from schemas.audit import Violation, violations
from schemas.entry import Entry, EntryKind, opened
from schemas.facts import FactKind, Facts
from schemas.names import Instant, PartyId

AT = Instant(60_000)
ONE, TWO = b"1" * 16, b"2" * 16
BROKER = PartyId("urn:unefois:broker")


def step(kind: EntryKind, tag: bytes = ONE, content: bytes | None = None) -> Entry:
    has = {EntryKind.PLANNED: b"c" * 32, EntryKind.RELEASED: b"c" * 32}.get(kind)
    return Entry(AT, kind, tag, content or has, b"f" * 32)


def public(kind: FactKind) -> Entry:
    return opened(AT, Facts(AT, kind, BROKER, recipient=BROKER, detail=bytes(32)))


PLANNED, RELEASED, CLOSED = step(EntryKind.PLANNED), step(EntryKind.RELEASED), step(EntryKind.CLOSED)
APPLIED, REJECTED = step(EntryKind.APPLIED), step(EntryKind.REJECTED)
NARROWED, RELEASED_NARROWED = (step(kind, content=b"n" * 32) for kind in (EntryKind.PLANNED, EntryKind.RELEASED))
RECEIVED, FACT = (Entry(AT, kind, facts=b"f" * 32) for kind in (EntryKind.RECEIVED, EntryKind.FACT))
OPENED, MIGRATED, KEY = (public(kind) for kind in (FactKind.LEDGER_OPENED, FactKind.MIGRATED, FactKind.KEY_ADDED))

AGAIN = opened(AT, Facts(AT, FactKind.LEDGER_OPENED, BROKER, detail=bytes(32), count=2))

GOOD: dict[str, list[Entry]] = {
    "nothing": [],
    "what anybody else does": [KEY, RECEIVED, FACT, FACT, RECEIVED],
    "released twice, applied once": [RECEIVED, PLANNED, RELEASED, RELEASED, APPLIED],
    "closed before it was released": [PLANNED, CLOSED],
    "closed for one reason, then for another": [PLANNED, CLOSED, CLOSED],
    "released, closed, and rightly acknowledged after": [PLANNED, RELEASED, CLOSED, APPLIED],
    "closed, then planned anew": [PLANNED, RELEASED, CLOSED, PLANNED, RELEASED, APPLIED],
    "narrowed: a new plan without a closing between": [PLANNED, RELEASED, NARROWED, RELEASED_NARROWED, APPLIED],
    "rejected, and replayed": [PLANNED, REJECTED, PLANNED, RELEASED, APPLIED],
    "rejected after its release": [PLANNED, RELEASED, REJECTED],
    "two deliveries through each other": [
        PLANNED,
        replace(PLANNED, tag=TWO),
        replace(CLOSED, tag=TWO),
        RELEASED,
        APPLIED,
    ],
    "another ledger's entries stand again": [AGAIN, KEY, PLANNED, RELEASED],
    "a chain, the oldest of the first format": [AGAIN, AGAIN, OPENED, KEY, PLANNED, MIGRATED, RELEASED],
    "entered anew": [OPENED, KEY, FACT, PLANNED, RELEASED, MIGRATED, APPLIED],
}

BROKEN: dict[str, list[Entry]] = {
    "released-without-plan": [PLANNED, replace(RELEASED, tag=TWO)],
    "released-after-closed": [PLANNED, CLOSED, RELEASED],
    "released-other-than-planned": [PLANNED, RELEASED, RELEASED_NARROWED],
    "closed-without-plan": [PLANNED, replace(CLOSED, tag=TWO)],
    "applied-without-release": [PLANNED, APPLIED],
    "applied-twice": [PLANNED, RELEASED, APPLIED, APPLIED],
    "planned-after-applied": [PLANNED, RELEASED, APPLIED, PLANNED],
    "ledger-opened-late": [KEY, OPENED],
    "migrated-without-opening": [KEY, MIGRATED],
}


@pytest.mark.parametrize("entries", GOOD.values(), ids=list(GOOD))
def test_what_a_good_broker_writes_breaks_nothing(entries: list[Entry]) -> None:
    assert [] == list(violations(entries))


@pytest.mark.parametrize("invariant", sorted(BROKEN))
def test_each_invariant_is_broken_alone_and_at_its_entry(invariant: str) -> None:
    entries = BROKEN[invariant]

    assert [Violation(invariant, len(entries) - 1)] == list(violations(entries))


def test_every_rule_has_a_ledger_that_breaks_it() -> None:
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', inspect.getsource(audit)))

    assert named == set(BROKEN)


@pytest.mark.parametrize("ends", [CLOSED, REJECTED, APPLIED])
def test_nothing_is_released_once_its_plan_stands_no_more(ends: Entry) -> None:
    entries = [PLANNED, RELEASED, ends, RELEASED]

    assert [Violation("released-after-closed", 3)] == list(violations(entries))


def test_what_was_planned_first_is_not_what_stands_after_a_narrowing() -> None:
    entries = [PLANNED, NARROWED, RELEASED]

    assert [Violation("released-other-than-planned", 2)] == list(violations(entries))


def test_what_was_never_planned_is_not_rejected_either() -> None:
    assert [Violation("closed-without-plan", 0)] == list(violations([REJECTED]))


def test_a_ledger_is_opened_once_and_its_migration_ends_once() -> None:
    entries = [OPENED, MIGRATED, MIGRATED, OPENED, MIGRATED]

    assert [
        Violation("migrated-without-opening", 2),
        Violation("ledger-opened-late", 3),
        Violation("migrated-without-opening", 4),
    ] == list(violations(entries))


@pytest.mark.parametrize("entries", [[AGAIN, MIGRATED], [OPENED, AGAIN, MIGRATED]])
def test_nothing_is_entered_anew_where_entries_stand_again(entries: list[Entry]) -> None:
    assert [Violation("migrated-without-opening", len(entries) - 1)] == list(violations(entries))


def test_one_broken_entry_does_not_hide_the_next() -> None:
    entries = [RELEASED, PLANNED, APPLIED, CLOSED, RELEASED]

    assert [Violation("released-without-plan", 0), Violation("released-after-closed", 4)] == list(violations(entries))
