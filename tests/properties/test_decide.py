"""The decision against every mix of grants: less in never gives more out, and nothing but what stands counts."""

from dataclasses import replace
from typing import Any

from hypothesis import assume, event, given
from hypothesis import strategies as st

from consent.basis import CONSENT, choice, law
from consent.explain import dry_run
from consent.grant import Grant, Scope, Status
from consent.policy import (
    DeclarationFacts,
    Deny,
    Permit,
    Subscription,
    SubscriptionStatus,
    at_release,
    decide,
    once_covers,
    standing,
)
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Purpose,
    Reason,
    SchemaId,
    SubjectRef,
)
from tests.examples import examples

NOW = Instant(1_000_000)
NAMES = ("a", "b", "c", "d", "e")
PARTIES = (PartyId("urn:unefois:caf"), PartyId("urn:unefois:cpam"))
TYPES = (EventType("fr.unefois.address.changed.v1"), EventType("fr.unefois.name.changed.v1"))
PURPOSES = (Purpose("family-benefits"), Purpose("health-insurance"))
DECLARATIONS = tuple(DeclarationId(bytes([letter]) * 16) for letter in b"123")
OLD_SCHEMA, NEW_SCHEMA = SchemaId(b"o" * 32), SchemaId(b"n" * 32)

fields = st.frozensets(st.sampled_from(NAMES), min_size=1)

# A case is plain with a few things wrong. With everything drawn freely nearly every case would be denied, and the
# properties would hold for want of a permit.
PLAIN: tuple[dict[str, Any], ...] = ({},) * 12
WRONG_GRANT: tuple[dict[str, Any], ...] = (
    {"recipient": PARTIES[1]},
    {"event_type": TYPES[1]},
    {"purpose": PURPOSES[1]},
    {"status": Status.PAUSED, "basis": CONSENT},
    {"status": Status.REVOKED},
    {"status": Status.EXPIRED},
    {"starts_at": Instant(NOW + 1), "expires_at": None},
    {"starts_at": Instant(0), "expires_at": NOW},
    {"scope": Scope.ONCE, "once_for": DECLARATIONS[2]},
)
OTHER_GRANT: tuple[dict[str, Any], ...] = (
    {"starts_at": NOW},
    {"expires_at": Instant(NOW + 1)},
    {"scope": Scope.ONCE},
    {"scope": Scope.ONCE, "once_for": DECLARATIONS[0]},
    {"scope": Scope.ONCE, "once_for": DECLARATIONS[1]},
    {"version": 3},
)
WRONG_SUBSCRIPTION: tuple[dict[str, Any], ...] = (
    {"event_type": TYPES[1]},
    {"status": SubscriptionStatus.ASKED},
    {"status": SubscriptionStatus.ENDED, "ended_at": NOW},
    {"approved_at": Instant(NOW + 1)},
    {"ended_at": NOW},
)


@st.composite
def a_grant(draw: st.DrawFn, number: int) -> Grant:
    plain: dict[str, Any] = {
        "id": GrantId(number.to_bytes(16, "big")),
        "version": 1,
        "subject": SubjectRef(b"s" * 32),
        "recipient": PARTIES[0],
        "event_type": TYPES[0],
        "schema": OLD_SCHEMA,
        "fields": draw(fields),
        "purpose": PURPOSES[0],
        "basis": draw(st.sampled_from([CONSENT, choice("ordonnance 2005-395"), law("CSS, art. L583-3")])),
        "granted_at": Instant(0),
        "starts_at": Instant(0),
        "expires_at": None,
        "scope": Scope.STANDING,
        "once_for": None,
        "status": Status.ACTIVE,
        "given_by": "self",
        "capacity": Capacity.SELF,
        "channel": Channel.ONLINE,
        "language": "fr",
        "text_hash": b"t" * 32,
        "changed_at": Instant(0),
    }
    wrong, other = draw(st.sampled_from(PLAIN + WRONG_GRANT)), draw(st.sampled_from(PLAIN + OTHER_GRANT))
    return Grant(**plain | other | wrong)


@st.composite
def some_grants(draw: st.DrawFn) -> list[Grant]:
    numbers = draw(st.permutations(range(1, 5)))
    return [draw(a_grant(number)) for number in numbers[: draw(st.integers(0, 4))]]


@st.composite
def some_facts(draw: st.DrawFn) -> DeclarationFacts:
    return DeclarationFacts(
        declaration_id=DECLARATIONS[0],
        source=PartyId("urn:unefois:portail"),
        event_type=TYPES[0],
        schema=NEW_SCHEMA,
        field_names=tuple(draw(st.permutations(NAMES))[: draw(st.sampled_from([5, 5, 4, 3, 0]))]),
        territories=draw(st.sampled_from([("35238", "44109"), ("35238",), ("44109",), ()])),
        uses_territories=draw(st.booleans()),
        corrects=draw(st.sampled_from([None, None, None, DECLARATIONS[1]])),
    )


@st.composite
def a_subscription(draw: st.DrawFn) -> Subscription:
    plain: dict[str, Any] = {
        "id": b"u" * 16,
        "recipient": PARTIES[0],
        "event_type": TYPES[0],
        "purpose": PURPOSES[0],
        "fields": draw(fields | st.just(frozenset(NAMES))),
        "territories": draw(st.none() | st.just(frozenset({"35238"}))),
        "status": SubscriptionStatus.APPROVED,
        "approved_at": NOW,
        "ended_at": draw(st.sampled_from([None, Instant(NOW + 1)])),
        "legal_reference": "CSS",
    }
    return Subscription(**plain | draw(st.sampled_from(PLAIN + WRONG_SUBSCRIPTION)))


recipients = st.sampled_from([frozenset(PARTIES), frozenset(PARTIES[:1]), frozenset[PartyId](), None])
cases = st.tuples(some_facts(), a_subscription(), some_grants(), recipients)
Case = tuple[DeclarationFacts, Subscription, list[Grant], frozenset[PartyId] | None]

checked = examples(150)


def permitted(decision: Permit | Deny) -> frozenset[str]:
    return frozenset(decision.fields) if isinstance(decision, Permit) else frozenset()


def asked(case: Case, **changes: Any) -> Permit | Deny:
    facts, subscription, grants, received = case
    return decide(changes.get("facts", facts), changes.get("subscription", subscription), grants, NOW, received)


@checked
@given(cases)
def test_a_field_outside_schema_subscription_or_standing_grants_is_never_permitted(case: Case) -> None:
    facts, subscription, grants, _ = case
    covered: frozenset[str] = frozenset()
    for grant in grants:
        ours = (grant.recipient, grant.event_type, grant.purpose) == (PARTIES[0], TYPES[0], PURPOSES[0])
        stands = standing(grant, NOW) is None and once_covers(grant, facts.declaration_id, facts.corrects)
        covered |= grant.fields if ours and stands else frozenset()
    assert permitted(asked(case)) <= covered & subscription.fields & set(facts.field_names)


@checked
@given(cases)
def test_all_that_may_be_permitted_is_where_subscription_and_reach_allow_it(case: Case) -> None:
    """The other half: not less either. What is left out is left out for a reason that the decision names."""
    facts, subscription, grants, received = case
    decision = asked(case)
    if isinstance(decision, Deny):
        return
    assert subscription.event_type == facts.event_type
    assert SubscriptionStatus.APPROVED is subscription.status
    if facts.corrects is not None:
        assert received is not None
        assert subscription.recipient in received
    for grant in grants:
        ours = (grant.recipient, grant.event_type, grant.purpose) == (PARTIES[0], TYPES[0], PURPOSES[0])
        if ours and standing(grant, NOW) is None and once_covers(grant, facts.declaration_id, facts.corrects):
            assert grant.fields & subscription.fields & set(facts.field_names) <= permitted(decision)


@checked
@given(cases, st.data())
def test_taking_a_grant_away_never_adds_a_field(case: Case, data: st.DataObject) -> None:
    facts, subscription, grants, received = case
    fewer = data.draw(st.lists(st.sampled_from(grants), unique_by=id)) if grants else []
    less = decide(facts, subscription, fewer, NOW, received)
    assert permitted(less) <= permitted(asked(case))


@checked
@given(cases, st.data())
def test_taking_a_field_out_of_a_grant_never_adds_one_and_takes_only_that(case: Case, data: st.DataObject) -> None:
    facts, subscription, grants, received = case
    places = [place for place, grant in enumerate(grants) if len(grant.fields) > 1]
    assume(places)
    place = data.draw(st.sampled_from(places))
    lost = data.draw(st.sampled_from(sorted(grants[place].fields)))
    narrower = [*grants]
    narrower[place] = replace(grants[place], fields=grants[place].fields - {lost})
    less, more = permitted(decide(facts, subscription, narrower, NOW, received)), permitted(asked(case))
    assert more - {lost} <= less <= more


@checked
@given(cases, st.sampled_from(NAMES))
def test_taking_a_field_out_of_a_subscription_takes_exactly_that(case: Case, lost: str) -> None:
    _, subscription, _, _ = case
    assume(subscription.fields != {lost})
    less = asked(case, subscription=replace(subscription, fields=subscription.fields - {lost}))
    assert permitted(asked(case)) - {lost} == permitted(less)


@checked
@given(cases, st.integers(0, 5))
def test_a_field_new_in_the_schema_is_never_covered_by_an_old_grant(case: Case, place: int) -> None:
    facts, subscription, _, _ = case
    newer = (*facts.field_names[:place], "brand_new", *facts.field_names[place:])
    greedy = replace(subscription, fields=subscription.fields | {"brand_new"})
    with_new = asked(case, facts=replace(facts, field_names=newer), subscription=greedy)
    assert permitted(asked(case)) == permitted(with_new)
    assert isinstance(asked(case), Deny) == isinstance(with_new, Deny)


@checked
@given(cases)
def test_grants_of_other_purposes_types_and_recipients_never_widen_one(case: Case) -> None:
    facts, subscription, grants, received = case
    ours = [g for g in grants if (g.recipient, g.event_type, g.purpose) == (PARTIES[0], TYPES[0], PURPOSES[0])]
    alone = decide(facts, subscription, ours, NOW, received)
    if isinstance(alone, Permit):
        assert alone == asked(case)
    else:
        assert frozenset() == permitted(asked(case))


@checked
@given(cases)
def test_paused_revoked_and_expired_grants_never_contribute(case: Case) -> None:
    facts, subscription, grants, received = case
    living = [grant for grant in grants if grant.status is Status.ACTIVE]
    assert permitted(decide(facts, subscription, living, NOW, received)) == permitted(asked(case))
    ended = [replace(g, status=Status.EXPIRED if g.by_law else Status.PAUSED) for g in grants]
    assert isinstance(decide(facts, subscription, ended, NOW, received), Deny)


@checked
@given(some_facts(), a_subscription(), recipients)
def test_emptiness_denies(facts: DeclarationFacts, subscription: Subscription, received: Any) -> None:
    assert isinstance(decide(facts, subscription, [], NOW, received), Deny)


@checked
@given(cases, st.randoms(use_true_random=False))
def test_the_order_in_which_grants_are_read_decides_nothing(case: Case, random: Any) -> None:
    facts, subscription, grants, received = case
    shuffled = [*grants]
    random.shuffle(shuffled)
    assert asked(case) == decide(facts, subscription, shuffled, NOW, received)


@checked
@given(cases)
def test_a_permit_partitions_its_fields_among_grants_that_have_them(case: Case) -> None:
    facts, _, grants, _ = case
    decision = asked(case)
    event("permit" if isinstance(decision, Permit) else "deny")
    if isinstance(decision, Deny):
        return
    by_id = {grant.id: grant for grant in grants}
    shared = [name for share in decision.shares for name in share.fields]
    assert decision.fields
    assert sorted(decision.fields) == sorted(shared)
    assert decision.fields == tuple(name for name in facts.field_names if name in set(shared))
    ranks = [(not by_id[share.grant_id].by_law, share.grant_id) for share in decision.shares]
    assert sorted(ranks) == ranks
    for share in decision.shares:
        grant = by_id[share.grant_id]
        assert share.fields
        assert set(share.fields) <= grant.fields
        assert share.fields == tuple(name for name in facts.field_names if name in set(share.fields))
        assert (grant.version, grant.basis) == (share.grant_version, share.basis)


@checked
@given(cases)
def test_the_gate_releases_at_once_what_was_planned_and_nothing_after_an_end(case: Case) -> None:
    facts, subscription, grants, _ = case
    decision = asked(case)
    event("permit" if isinstance(decision, Permit) else "deny")
    if isinstance(decision, Deny):
        return
    by_id = {grant.id: grant for grant in grants}
    for share in decision.shares:
        grant = by_id[share.grant_id]
        if grant.scope is Scope.ONCE and grant.once_for is None:
            grant = grant.bind_once(facts.declaration_id, NOW)
        assert None is at_release(grant, facts, subscription.purpose, share.fields, NOW)
        over = grant.end_mandate(NOW) if grant.by_law else grant.revoke(NOW)
        assert Reason.REVOKED is at_release(over, facts, subscription.purpose, share.fields, NOW)


@checked
@given(cases)
def test_the_dry_run_says_what_the_router_decides(case: Case) -> None:
    facts, subscription, grants, received = case
    lines = dry_run(facts, [subscription], grants, NOW, received)
    expected = [asked(case)] if subscription.event_type == facts.event_type else []
    assert expected == [line.decision for line in lines]
