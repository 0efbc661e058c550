"""Full audit: each rule that needs openings has a ledger that breaks it and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from schemas.audit import Auditor, Violation
from schemas.audit_full import FullAuditor
from schemas.entry import OPEN_FACTS, Entry, Opening, opened
from schemas.facts import FactKind, Facts
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
)

WINDOW = Instant(60_000)
AT = Instant(61_234)
BROKER, CAF, CPAM = (PartyId(f"urn:unefois:{name}") for name in ("broker", "caf", "cpam"))
GRANT, OTHER = GrantId(bytes(15) + b"\1"), GrantId(bytes(15) + b"\2")
FIRST, SECOND = ManifestDigest(bytes(31) + b"\1"), ManifestDigest(bytes(31) + b"\2")
DELIVERY, NEXT = DeliveryId(bytes(15) + b"\1"), DeliveryId(bytes(15) + b"\2")
TAG, TAG_TWO = b"1" * 16, b"2" * 16
KEY, KEY_TWO = Kid(b"k" * 32), Kid(b"K" * 32)
ABOUT: dict[str, Any] = {
    "recipient": CAF,
    "event_type": EventType("fr.unefois.address.changed.v1"),
    "purpose": Purpose("family-benefits"),
    "basis": "consent",
    "subject": b"s" * 32,
}


@dataclass(frozen=True)
class Line:
    """One entry of a ledger with what opens it: None where nothing does."""

    entry: Entry
    facts: Facts | None
    erased: bool = False

    def gone(self, *, rightly: bool) -> "Line":
        """The same without its opening."""
        return replace(self, facts=None, erased=rightly)


def line(facts: Facts, tag: bytes = TAG) -> Line:
    if facts.kind in OPEN_FACTS:
        return Line(opened(WINDOW, facts), None)
    blind = bytes(32) if facts.kind in {FactKind.PLANNED, FactKind.RELEASED} else None
    opening = Opening(b"b" * 32, blind, facts)
    entry = opening.seal(WINDOW, tag)
    return Line(entry, opening.check(entry))


def received(declaration: ManifestDigest = FIRST, kind: FactKind = FactKind.RECEIVED) -> Line:
    return line(Facts(AT, kind, BROKER, declaration=declaration))


def grant(kind: FactKind, version: int, of: GrantId = GRANT, **more: Any) -> Line:
    return line(replace(Facts(AT, kind, BROKER, grant=of, grant_version=version, detail=bytes(32), **ABOUT), **more))


def delivery(kind: FactKind, version: int = 1, tag: bytes = TAG, **more: Any) -> Line:
    told: dict[str, Any] = {"declaration": FIRST, "delivery": DELIVERY, "grant": GRANT, "grant_version": version}
    told |= {"fields": b"\x80", "sealed_to": KEY if kind is FactKind.RELEASED else None}
    reason = Reason.REVOKED if kind in {FactKind.WITHHELD, FactKind.REJECTED} else None
    return line(Facts(kind=kind, **{"at": AT, "actor": BROKER, **ABOUT, **told, "reason": reason, **more}), tag)


def key(kind: FactKind, of: PartyId = CAF, kid: Kid = KEY) -> Line:
    return line(Facts(AT, kind, BROKER, recipient=of, detail=kid))


GRANTED, CARRIED, CHANGED, REVOKED, EXPIRED = (
    FactKind.GRANTED,
    FactKind.CARRIED,
    FactKind.CHANGED,
    FactKind.REVOKED,
    FactKind.EXPIRED,
)
PLANNED, RELEASED, APPLIED, WITHHELD = FactKind.PLANNED, FactKind.RELEASED, FactKind.APPLIED, FactKind.WITHHELD
PAUSED: dict[str, Any] = {"reason": Reason.PAUSED}
ADDED, KEY_ENDED = key(FactKind.KEY_ADDED), key(FactKind.KEY_REVOKED)
OPENED = line(Facts(AT, FactKind.LEDGER_OPENED, BROKER, detail=bytes(32)))
AGAIN = line(Facts(AT, FactKind.LEDGER_OPENED, BROKER, detail=bytes(32), count=2))
MIGRATED = line(Facts(AT, FactKind.MIGRATED, BROKER))
START = [ADDED, grant(GRANTED, 1)]
PLAN = [*START, received(), delivery(PLANNED)]
ERASED_GRANT = [ADDED, grant(GRANTED, 1).gone(rightly=True), received(), delivery(PLANNED, 4)]

HUMAN = delivery(FactKind.ANSWERED, reason=Reason.AWAITING_HUMAN, detail=bytes(32))
STRANGER = delivery(FactKind.ANSWERED, reason=Reason.UNKNOWN_PERSON)
PART: dict[str, Any] = {"reason": Reason.PARTLY}

GOOD: dict[str, list[Line]] = {
    "nothing": [],
    "planned, released twice, applied": [*PLAN, delivery(RELEASED), delivery(RELEASED), delivery(APPLIED)],
    "received after it was planned, in one window": [*START, delivery(PLANNED), received(), delivery(RELEASED)],
    "released, revoked, rightly acknowledged after": [
        *PLAN,
        delivery(RELEASED),
        grant(REVOKED, 2),
        delivery(WITHHELD),
        delivery(APPLIED),
    ],
    "narrowed": [
        *PLAN,
        grant(CHANGED, 2),
        delivery(PLANNED, 2),
        delivery(RELEASED, 2),
    ],
    "paused and resumed": [
        *PLAN,
        grant(CHANGED, 2, **PAUSED),
        delivery(WITHHELD),
        grant(CHANGED, 3),
        delivery(PLANNED, 3),
        delivery(RELEASED, 3),
    ],
    "fields that the grant names": [
        ADDED,
        grant(GRANTED, 1, fields=b"\xc0"),
        delivery(PLANNED),
        grant(CHANGED, 2, fields=b"\x80"),
        delivery(PLANNED, 2, fields=b"\x80\x00"),
        delivery(RELEASED, 2),
    ],
    "a human decides, and applies it": [*PLAN, delivery(RELEASED), HUMAN, HUMAN, delivery(APPLIED)],
    "nobody is known, and then somebody": [*PLAN, delivery(RELEASED), STRANGER, delivery(APPLIED)],
    "nobody is known, planned again, applied": [
        *PLAN,
        delivery(RELEASED),
        STRANGER,
        delivery(FactKind.REPLAYED, reason=Reason.UNKNOWN_PERSON),
        delivery(PLANNED),
        delivery(RELEASED),
        delivery(APPLIED),
    ],
    "a part of it is applied, of what was released at any time": [
        ADDED,
        grant(GRANTED, 1),
        delivery(PLANNED, fields=b"\xc0"),
        delivery(RELEASED, fields=b"\xc0"),
        grant(CHANGED, 2, fields=b"\x80"),
        delivery(PLANNED, 2, fields=b"\x80\x00"),
        delivery(RELEASED, 2, fields=b"\x80\x00"),
        delivery(APPLIED, 2, fields=b"\x40", **PART),
    ],
    "answered where the release was erased": [*PLAN, delivery(RELEASED).gone(rightly=True), STRANGER],
    "a correction": [received(), received(SECOND, FactKind.CORRECTED)],
    "two grants": [grant(GRANTED, 1), grant(GRANTED, 1, OTHER), grant(EXPIRED, 2), grant(CHANGED, 2, OTHER)],
    "a renewed key": [*PLAN, key(FactKind.KEY_ADDED, kid=KEY_TWO), KEY_ENDED, delivery(RELEASED, sealed_to=KEY_TWO)],
    "entered anew, released long ago": [
        OPENED,
        grant(CARRIED, 7),
        delivery(PLANNED, 7),
        delivery(RELEASED, 7, at=Instant(5)),
        MIGRATED,
        delivery(APPLIED, 7),
    ],
    "another ledger's entries stand again": [AGAIN, *PLAN, delivery(RELEASED)],
    "a chain, the oldest of the first format": [AGAIN, OPENED, grant(CARRIED, 7), delivery(PLANNED, 7), MIGRATED],
    "refused before anything was planned": [
        delivery(WITHHELD, delivery=None, grant=None, grant_version=None, reason=Reason.PURPOSE)
    ],
    "erased as the ledger says": [*(one.gone(rightly=True) for one in PLAN if one.facts), delivery(APPLIED)],
    "planned under a grant whose entry was erased": [*ERASED_GRANT, delivery(RELEASED, 4)],
    "changed after its entry was erased": [grant(GRANTED, 1).gone(rightly=True), grant(CHANGED, 4), grant(REVOKED, 5)],
    "changed where a version between was erased": [
        *START,
        grant(CHANGED, 2).gone(rightly=True),
        delivery(PLANNED, 2),
        grant(CHANGED, 3),
        delivery(PLANNED, 3),
    ],
}

BROKEN: dict[str, list[Line]] = {
    "opening-missing": [grant(GRANTED, 1).gone(rightly=False)],
    "instant-outside-window": [line(Facts(Instant(WINDOW - 1), FactKind.VIEWED, BROKER))],
    "received-twice": [received(), received(kind=FactKind.CORRECTED)],
    "tag-of-another-delivery": [*PLAN, delivery(PLANNED, delivery=NEXT)],
    "delivery-under-another-tag": [*PLAN, delivery(PLANNED, tag=TAG_TWO)],
    "granted-twice": [grant(GRANTED, 1), grant(GRANTED, 1)],
    "granted-not-first-version": [grant(GRANTED, 2)],
    "carried-without-erasure": [OPENED, MIGRATED, grant(CARRIED, 1)],
    "changed-without-grant": [grant(CHANGED, 2)],
    "grant-changed-after-end": [grant(GRANTED, 1), grant(REVOKED, 2), grant(CHANGED, 3)],
    "grant-version-out-of-order": [grant(GRANTED, 1), grant(CHANGED, 3)],
    "planned-without-grant": [received(), delivery(PLANNED)],
    "planned-after-end": [*START, grant(REVOKED, 2), delivery(PLANNED, 2)],
    "planned-other-version": [*START, delivery(PLANNED, 2)],
    "planned-in-pause": [*START, grant(CHANGED, 2, **PAUSED), delivery(PLANNED, 2)],
    "planned-other-fields": [ADDED, grant(GRANTED, 1, fields=b"\x80"), delivery(PLANNED, fields=b"\xc0")],
    "planned-outside-grant": [*START, delivery(PLANNED, recipient=CPAM)],
    "released-without-grant": [ADDED, received(), delivery(RELEASED)],
    "released-after-end": [*PLAN, grant(EXPIRED, 2), delivery(RELEASED)],
    "released-other-version": [*PLAN, grant(CHANGED, 2), delivery(RELEASED)],
    "released-in-pause": [*PLAN, grant(CHANGED, 2, **PAUSED), delivery(RELEASED, 2)],
    "released-other-fields": [*PLAN, grant(CHANGED, 2, fields=b"\x40"), delivery(RELEASED, 2)],
    "released-outside-grant": [*PLAN, delivery(RELEASED, purpose=Purpose("health-insurance"))],
    "released-to-other-key": [*PLAN, delivery(RELEASED, sealed_to=KEY_TWO)],
    "answered-without-release": [*PLAN, STRANGER],
    "answered-after-applied": [*PLAN, delivery(RELEASED), delivery(APPLIED), HUMAN],
    "answered-unclearly": [*PLAN, delivery(RELEASED), delivery(FactKind.ANSWERED, reason=Reason.MAPPING)],
    "applied-other-fields": [*PLAN, delivery(RELEASED), delivery(APPLIED, fields=b"\xc0", **PART)],
}


@pytest.mark.parametrize(
    ("reason", "detail"), [(Reason.AWAITING_HUMAN, None), (Reason.UNKNOWN_PERSON, bytes(32)), (Reason.PARTLY, None)]
)
def test_only_who_waits_for_a_human_says_until_when(reason: Reason, detail: bytes | None) -> None:
    lines = [*PLAN, delivery(RELEASED), delivery(FactKind.ANSWERED, reason=reason, detail=detail)]

    assert [Violation("answered-unclearly", len(lines) - 1)] == broken(lines)


def broken(lines: list[Line]) -> list[Violation]:
    auditor = FullAuditor()
    return [found for one in lines for found in auditor.take(one.entry, one.facts, erased=one.erased)]


def seen_by_anybody(lines: list[Line]) -> Iterator[str]:
    auditor = Auditor()
    return (found.invariant for one in lines for found in auditor.take(one.entry))


@pytest.mark.parametrize("lines", GOOD.values(), ids=list(GOOD))
def test_what_a_good_broker_writes_breaks_nothing(lines: list[Line]) -> None:
    assert [] == broken(lines)


@pytest.mark.parametrize("invariant", sorted(BROKEN))
def test_each_invariant_is_broken_alone_and_at_its_entry(invariant: str) -> None:
    lines = BROKEN[invariant]

    assert [Violation(invariant, len(lines) - 1)] == broken(lines)


@pytest.mark.parametrize("invariant", sorted(set(BROKEN) - {"carried-without-erasure"}))
def test_no_rule_is_milder_where_entries_of_another_ledger_stand_again(invariant: str) -> None:
    lines = [AGAIN, *BROKEN[invariant]]

    assert [Violation(invariant, len(lines) - 1)] == broken(lines)


@pytest.mark.parametrize("name", ["recipient", "event_type", "purpose", "basis", "subject"])
@pytest.mark.parametrize("kind", [PLANNED, RELEASED])
def test_whatever_of_a_grant_a_plan_or_a_release_changes_is_outside_it(kind: FactKind, name: str) -> None:
    other = {
        "recipient": CPAM,
        "event_type": EventType("fr.unefois.birth.declared.v1"),
        "purpose": Purpose("health-insurance"),
        "basis": "law:CSS, art. L161-32-1",
        "subject": b"S" * 32,
    }
    lines = [*(PLAN if kind is RELEASED else START), delivery(kind, **{name: other[name]})]

    assert [Violation(f"{kind.value}-outside-grant", len(lines) - 1)] == broken(lines)


@pytest.mark.parametrize("fields", [b"\xc0", b"\x80\x01", b"\x00\x80"])
def test_no_field_is_planned_that_the_grant_does_not_name_however_long_the_bitmaps_are(fields: bytes) -> None:
    lines = [ADDED, grant(GRANTED, 1, fields=b"\x80"), delivery(PLANNED, fields=fields)]

    assert [Violation("planned-other-fields", 2)] == broken(lines)


@pytest.mark.parametrize("end", [REVOKED, EXPIRED])
def test_no_release_after_an_end_whatever_version_it_names(end: FactKind) -> None:
    lines = [*PLAN, grant(end, 2)]
    for version in (1, 2, 3):
        assert [Violation("released-after-end", 5)] == broken([*lines, delivery(RELEASED, version)])


@pytest.mark.parametrize(
    ("end", "then"),
    [(REVOKED, REVOKED), (REVOKED, EXPIRED), (EXPIRED, REVOKED), (EXPIRED, EXPIRED), (REVOKED, CHANGED)],
)
def test_what_has_ended_does_not_end_again(end: FactKind, then: FactKind) -> None:
    lines = [grant(GRANTED, 1), grant(end, 2), grant(then, 3), delivery(PLANNED, 3)]

    assert [Violation("grant-changed-after-end", 2), Violation("planned-after-end", 3)] == broken(lines)


@pytest.mark.parametrize(
    "before",
    [[], [key(FactKind.KEY_ADDED, of=CPAM)], [ADDED, KEY_ENDED], [key(FactKind.KEY_ADDED, kid=KEY_TWO)]],
    ids=["never listed", "of another party", "revoked", "another key"],
)
def test_a_release_is_sealed_to_a_key_that_is_its_recipients_then(before: list[Line]) -> None:
    lines = [*before, grant(GRANTED, 1), delivery(PLANNED), delivery(RELEASED)]

    assert ["released-to-other-key"] == [found.invariant for found in broken(lines)]


def test_a_release_that_names_no_key_is_to_none_that_is_known() -> None:
    assert ["released-to-other-key"] == [one.invariant for one in broken([*PLAN, delivery(RELEASED, sealed_to=None)])]


class TestWhatABrokerMightTry:
    """Ledgers that keep every rule that anybody can check, and are found by who holds the openings."""

    TRICKS: ClassVar[dict[str, tuple[list[Line], str]]] = {
        "a second tag, under which what was closed in a pause goes on": (
            [
                *PLAN,
                delivery(PLANNED, tag=TAG_TWO),
                grant(CHANGED, 2),
                delivery(WITHHELD),
                delivery(RELEASED, tag=TAG_TWO),
            ],
            "delivery-under-another-tag delivery-under-another-tag released-other-version",
        ),
        "an acknowledgement of another delivery": (
            [*PLAN, delivery(RELEASED), delivery(APPLIED, delivery=NEXT)],
            "tag-of-another-delivery",
        ),
        "a key that was revoked": (
            [*PLAN, KEY_ENDED, delivery(RELEASED)],
            "released-to-other-key",
        ),
        "an end that closes nothing": ([*PLAN, grant(REVOKED, 2), delivery(RELEASED)], "released-after-end"),
        "an instant of before the end": (
            [*PLAN, line(replace(grant(REVOKED, 2).facts or Facts(AT, FactKind.VIEWED, BROKER), at=Instant(1)))],
            "instant-outside-window",
        ),
        "an instant of days after": (
            [line(Facts(Instant(WINDOW + 86_400_000), FactKind.VIEWED, BROKER))],
            "instant-outside-window",
        ),
    }

    @pytest.mark.parametrize("trick", TRICKS)
    def test_it_passes_in_public_and_not_where_it_is_opened(self, trick: str) -> None:
        lines, found = self.TRICKS[trick]

        assert [] == list(seen_by_anybody(lines))
        assert found.split() == [one.invariant for one in broken(lines)]

    def test_a_ledger_that_is_opened_late_is_not_judged_mildly(self) -> None:
        lines = [*PLAN, KEY_ENDED, OPENED, delivery(RELEASED)]

        assert ["ledger-opened-late"] == list(seen_by_anybody(lines))
        assert ["released-to-other-key"] == [one.invariant for one in broken(lines)]

    def test_what_was_erased_excuses_nothing_of_what_is_known(self) -> None:
        gone = grant(GRANTED, 1, OTHER).gone(rightly=True)
        lines = [*PLAN, gone, grant(REVOKED, 2), delivery(RELEASED)]

        assert ["released-after-end"] == [one.invariant for one in broken(lines)]

    def test_an_older_version_is_none_that_was_erased(self) -> None:
        gone = grant(CHANGED, 3).gone(rightly=True)
        lines = [*PLAN, grant(CHANGED, 2), gone, delivery(RELEASED)]

        assert ["released-other-version"] == [one.invariant for one in broken(lines)]


def incomplete(of: Line, **more: object) -> Line:
    """Facts that `Facts` itself would refuse, as a decoder of somebody else's might let them through."""
    if of.facts is None:
        pytest.fail("nothing to change")
    facts = replace(of.facts)
    for name, told in more.items():
        object.__setattr__(facts, name, told)
    return replace(of, facts=facts)


@pytest.mark.parametrize(
    ("one", "invariant"),
    [
        (incomplete(delivery(RELEASED), grant=None), "released-without-grant"),
        (incomplete(delivery(PLANNED), grant=None), "planned-without-grant"),
        (incomplete(grant(GRANTED, 1), grant=None), "grant-incomplete"),
        (incomplete(grant(REVOKED, 1), grant_version=None), "grant-incomplete"),
        (incomplete(received(), declaration=None), "received-twice"),
    ],
)
def test_facts_that_lack_what_is_judged_are_themselves_broken(one: Line, invariant: str) -> None:
    assert [invariant] == [found.invariant for found in broken([one])]
