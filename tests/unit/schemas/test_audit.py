"""Audit: each invariant of the house has a ledger that breaks it and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.audit import _RULES, Violation, violations
from schemas.facts import FactKind
from schemas.names import DeliveryId, EventType, GrantId, Instant, ManifestDigest, PartyId, Purpose, Reason

BROKER, CAF = PartyId("urn:unefois:broker"), PartyId("urn:unefois:caf")
GRANT, OTHER = GrantId(bytes(15) + b"\1"), GrantId(bytes(15) + b"\2")
FIRST, SECOND = ManifestDigest(bytes(31) + b"\1"), ManifestDigest(bytes(31) + b"\2")
DELIVERY = DeliveryId(bytes(15) + b"\1")


def received(declaration: ManifestDigest = FIRST, kind: FactKind = FactKind.RECEIVED) -> Entry:
    return Entry(Instant(1), kind, BROKER, declaration=declaration)


def grant(kind: FactKind, version: int, of: GrantId = GRANT) -> Entry:
    return Entry(Instant(1), kind, BROKER, grant=of, grant_version=version)


def delivery(kind: FactKind, version: int = 1, **more: object) -> Entry:
    whole = Entry(
        Instant(1),
        kind,
        BROKER,
        recipient=CAF,
        event_type=EventType("fr.unefois.address.changed.v1"),
        purpose=Purpose("family-benefits"),
        declaration=FIRST,
        delivery=DELIVERY,
        grant=GRANT,
        grant_version=version,
        fields=b"\x80",
        reason=Reason.REVOKED,
    )
    return replace(whole, **more)  # type: ignore[arg-type]


GRANTED, CHANGED, REVOKED, EXPIRED = FactKind.GRANTED, FactKind.CHANGED, FactKind.REVOKED, FactKind.EXPIRED
PLANNED, RELEASED, APPLIED = FactKind.PLANNED, FactKind.RELEASED, FactKind.APPLIED

GOOD: list[list[Entry]] = [
    [],
    [received(), grant(GRANTED, 1), delivery(PLANNED), delivery(RELEASED), delivery(RELEASED), delivery(APPLIED)],
    [grant(GRANTED, 1), received(), delivery(PLANNED), grant(REVOKED, 2), delivery(FactKind.WITHHELD)],
    # released, then revoked: what was rightly released may be acknowledged after
    [grant(GRANTED, 1), received(), delivery(PLANNED), delivery(RELEASED), grant(REVOKED, 2), delivery(APPLIED)],
    # planned again under a narrower version: the new fields are those that may be released
    [
        grant(GRANTED, 1),
        received(),
        delivery(PLANNED, fields=b"\xc0"),
        grant(CHANGED, 2),
        delivery(PLANNED, 2),
        delivery(RELEASED, 2),
    ],
    [received(), received(SECOND, FactKind.CORRECTED)],
    [grant(GRANTED, 1), grant(GRANTED, 1, OTHER), grant(EXPIRED, 2), grant(CHANGED, 2, OTHER)],
]

PLAN = [received(), grant(GRANTED, 1), delivery(PLANNED)]
BROKEN: dict[str, list[Entry]] = {
    "received-twice": [received(), received()],
    "planned-before-received": [grant(GRANTED, 1), delivery(PLANNED)],
    "planned-without-grant": [received(), delivery(PLANNED)],
    "planned-after-end": [received(), grant(GRANTED, 1), grant(REVOKED, 2), delivery(PLANNED)],
    "planned-other-version": [received(), grant(GRANTED, 1), delivery(PLANNED, 2)],
    "planned-after-applied": [*PLAN, delivery(RELEASED), delivery(APPLIED), delivery(PLANNED)],
    "released-without-plan": [received(), grant(GRANTED, 1), delivery(RELEASED)],
    "released-other-than-planned": [*PLAN, delivery(RELEASED, fields=b"\xc0")],
    "released-after-end": [*PLAN, grant(REVOKED, 2), delivery(RELEASED)],
    "applied-without-release": [*PLAN, delivery(APPLIED)],
    "applied-twice": [*PLAN, delivery(RELEASED), delivery(APPLIED), delivery(APPLIED)],
    "granted-twice": [grant(GRANTED, 1), grant(GRANTED, 1)],
    "granted-not-first-version": [grant(GRANTED, 2)],
    "grant-changed-after-end": [grant(GRANTED, 1), grant(REVOKED, 2), grant(CHANGED, 3)],
    "grant-version-out-of-order": [grant(GRANTED, 1), grant(CHANGED, 3)],
}


@pytest.mark.parametrize("entries", GOOD)
def test_what_a_good_broker_writes_breaks_nothing(entries: list[Entry]) -> None:
    assert [] == list(violations(entries))


@pytest.mark.parametrize("invariant", sorted(BROKEN))
def test_each_invariant_is_broken_alone_and_at_its_entry(invariant: str) -> None:
    entries = BROKEN[invariant]

    assert [Violation(invariant, len(entries) - 1)] == list(violations(entries))


@pytest.mark.parametrize(
    ("end", "then"),
    [(REVOKED, REVOKED), (REVOKED, EXPIRED), (EXPIRED, REVOKED), (EXPIRED, EXPIRED), (REVOKED, CHANGED)],
)
def test_what_has_ended_does_not_end_again(end: FactKind, then: FactKind) -> None:
    entries = [grant(GRANTED, 1), grant(end, 2), grant(then, 3)]

    assert [Violation("grant-changed-after-end", 2)] == list(violations(entries))


@pytest.mark.parametrize("end", [REVOKED, EXPIRED])
def test_no_release_after_an_end_whatever_version_it_names(end: FactKind) -> None:
    entries = [received(), grant(GRANTED, 1), delivery(PLANNED), grant(end, 2), delivery(RELEASED, 3)]

    assert [Violation("released-after-end", 4)] == list(violations(entries))


def test_a_change_of_what_was_never_granted_is_out_of_order() -> None:
    assert [Violation("grant-version-out-of-order", 0)] == list(violations([grant(CHANGED, 2)]))


def test_one_broken_entry_does_not_hide_the_next() -> None:
    entries = [*BROKEN["received-twice"], *BROKEN["granted-twice"], delivery(APPLIED)]

    assert [
        Violation("received-twice", 1),
        Violation("granted-twice", 3),
        Violation("applied-without-release", 4),
    ] == list(violations(entries))


def incomplete(kind: FactKind, **more: object) -> Entry:
    """An entry that `Entry` itself would refuse, as a decoder of somebody else's might let it through."""
    entry = delivery(kind)
    for name, told in more.items():
        object.__setattr__(entry, name, told)
    return entry


@pytest.mark.parametrize(
    ("entry", "invariant"),
    [
        (lambda: incomplete(RELEASED, delivery=None), "released-incomplete"),
        (lambda: incomplete(RELEASED, grant=None), "released-incomplete"),
        (lambda: incomplete(PLANNED, delivery=None), "planned-incomplete"),
        (lambda: incomplete(PLANNED, grant=None), "planned-incomplete"),
        (lambda: incomplete(GRANTED, grant=None), "grant-incomplete"),
        (lambda: incomplete(REVOKED, grant_version=None), "grant-incomplete"),
        (lambda: incomplete(FactKind.RECEIVED, declaration=None), "received-twice"),
    ],
)
def test_an_entry_that_lacks_what_is_judged_is_itself_broken(entry: Callable[[], Entry], invariant: str) -> None:
    assert [invariant] == [found.invariant for found in violations([entry()])]


def test_every_rule_has_a_ledger_that_breaks_it() -> None:
    judged = {entries[-1].kind for entries in BROKEN.values()}
    judged |= {FactKind.CORRECTED, FactKind.WITHHELD, REVOKED, EXPIRED}

    assert set(_RULES) == judged
