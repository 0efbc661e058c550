"""Rules by law, as values: narrowed and never widened, and the grants under them held to what they say now."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from consent.grant import Grant, Status
from consent.rules import Rule, RuleStatus, as_ruled, grant_under, text_hash
from schemas import areas
from schemas.assurance import Assurance, Least, Quality
from schemas.errors import Refused
from schemas.names import EventType, GrantId, Instant, PartyId, Purpose, RuleId, SchemaId, SubjectRef

RULE = Rule(
    id=RuleId(b"r" * 16),
    recipient=PartyId("urn:unefois:caf"),
    event_type=EventType("fr.unefois.address.changed.v1"),
    purpose=Purpose("family-benefits"),
    fields=frozenset({"new_address", "household"}),
    article="CSS, art. L114-19",
    objection=True,
    status=RuleStatus.APPROVED,
    asked_at=Instant(1),
    approved_at=Instant(2),
    acts_from=Instant(10),
)


def grant(since: int = 20, rule: Rule = RULE) -> Grant:
    """Somebody's, under the rule, made at this instant or counting from it."""
    subject, schema, of = SubjectRef(b"s" * 32), SchemaId(b"c" * 32), GrantId(b"g" * 16)
    return grant_under(rule, subject, schema=schema, grant_id=of, at=Instant(since), since=Instant(since))


def test_a_grant_is_held_to_what_its_rule_allows_now() -> None:
    narrow = replace(RULE, fields=frozenset({"household"}), ends_at=Instant(50))
    (held,) = as_ruled([narrow], [grant()])

    assert (frozenset({"household"}), Instant(50), Status.ACTIVE) == (held.fields, held.expires_at, held.status)
    assert [grant()] == as_ruled([RULE], [grant()])
    assert Status.REVOKED is as_ruled([], [grant()])[0].status
    assert Status.REVOKED is as_ruled([replace(RULE, fields=frozenset({"subject"}))], [grant()])[0].status
    sooner = grant(rule=replace(RULE, ends_at=Instant(40)))
    assert Instant(40) == as_ruled([replace(RULE, ends_at=Instant(50))], [sooner])[0].expires_at


@pytest.mark.parametrize("ends_at", [15, 20])
def test_a_grant_that_counts_from_after_its_rules_new_end_has_expired(ends_at: int) -> None:
    """As after an objection that was withdrawn late: it could not even be written down otherwise."""
    (held,) = as_ruled([replace(RULE, ends_at=Instant(ends_at))], [grant()])
    assert Status.EXPIRED is held.status


def test_what_is_over_stays_as_it_is() -> None:
    over = replace(grant(), status=Status.EXPIRED)
    assert [over] == as_ruled([replace(RULE, fields=frozenset({"household"}))], [over])


def test_a_narrowing_has_a_number_that_only_grows_whatever_the_clock_says() -> None:
    first = RULE.narrow(Instant(30), fields=frozenset({"household"}))
    second = first.narrow(Instant(5), ends_at=Instant(90))
    assert [0, 30, 31] == [each.since for each in (RULE, first, second)]
    assert (frozenset({"household"}), 90) == (second.fields, second.ends_at)


@pytest.mark.parametrize(
    ("before", "after", "fits"),
    [
        (None, {"35"}, True),
        ({"35"}, {"35238"}, True),
        ({"35"}, {"243500139"}, True),
        ({"R53"}, {"35", "22"}, True),
        ({"35", "22", "29", "56"}, {"R53"}, True),
        ({"99100"}, {"987"}, True),
        ({"75056"}, {"75114"}, True),
        ({"35238"}, {"35"}, False),
        ({"35", "22"}, {"R53"}, False),
        ({"35"}, {"35", "44"}, False),
        ({"75114"}, {"75056"}, False),
        ({"35"}, {"99109"}, False),
    ],
)
def test_an_area_lies_in_others_or_reaches_further(before: set[str] | None, after: set[str], fits: bool) -> None:
    rule = replace(RULE, territories=None if before is None else frozenset(before))
    if fits:
        assert frozenset(after) == rule.narrow(Instant(30), territories=frozenset(after)).territories
        return
    with pytest.raises(Refused, match=r"rules\.wider"):
        rule.narrow(Instant(30), territories=frozenset(after))


@pytest.mark.parametrize("code", ["35", "R53", "243500139", "35238", "75056", "00595", "987", "99109"])
def test_an_area_lies_in_itself_and_in_no_other_of_its_kind(code: str) -> None:
    assert areas.within(code, {code})
    assert not areas.within(code, set())
    assert not areas.within(code, {"44"})


def test_what_a_grant_records_of_a_rule_is_this_for_ever() -> None:
    said = ["urn:unefois:caf", "fr.unefois.address.changed.v1", "family-benefits", "household,new_address"]
    first = b"unefois/rule-text/v1\x00" + "\n".join([*said, "CSS, art. L114-19"]).encode()
    bounded = replace(RULE, territories=frozenset({"35", "22"}), least=Least(Assurance.HIGH, Quality.DECLARED))
    second = "\n".join([*said, "CSS, art. L114-19", "22,35", "high", "declared"]).encode()

    assert sha256(first).digest() == text_hash(RULE) == grant().text_hash
    assert sha256(b"unefois/rule-text/v2\x00" + second).digest() == text_hash(bounded)


@pytest.mark.parametrize("wrong", [{"territories": frozenset()}, {"territories": frozenset({"ille-et-vilaine"})}])
def test_a_rule_for_nowhere_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"rules\.territories"):
        replace(RULE, **wrong)
