"""The decision: each reason has a test in which everything else would permit."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from consent import policy
from consent.basis import CONSENT, law
from consent.grant import Grant, Scope, Status
from consent.policy import (
    HELPFUL_FIRST,
    DeclarationFacts,
    Deny,
    Permit,
    Share,
    Subscription,
    SubscriptionStatus,
    at_release,
    decide,
    once_covers,
    standing,
)
from schemas.assurance import Assurance, Least, Quality
from schemas.errors import Corrupt, Refused
from schemas.names import DeclarationId, EventType, Instant, PartyId, Purpose, Reason, SchemaId, SubjectRef

NOW = Instant(1_795_521_493_000)
CAF = PartyId("urn:fr:siret:18750001000015")
OTHER = PartyId("urn:unefois:other")
NAME_CHANGED = EventType("fr.unefois.name.changed.v1")
HEALTH = Purpose("health-insurance")
FIRST = DeclarationId(b"1" * 16)

GrantOf = Callable[..., Grant]
SubscriptionOf = Callable[..., Subscription]
FactsOf = Callable[..., DeclarationFacts]


@pytest.fixture
def ask(grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf) -> Callable[..., Permit | Deny]:
    """Decide on the plain case with one thing changed: in the facts, in the subscription, or in the only grant."""

    def decided(
        *grants: Grant, facts: Any = (), subscription: Any = (), grant: Any = (), received: Any = None, **more: Any
    ) -> Permit | Deny:
        given = grants or (grant_of(**dict(grant)),)
        return decide(facts_of(**dict(facts)), subscription_of(**dict(subscription)), given, NOW, received, **more)

    return decided


Ask = Callable[..., Permit | Deny]


def permitted(decision: Permit | Deny) -> Permit:
    assert isinstance(decision, Permit)
    return decision


def test_what_the_citizen_allowed_and_the_administration_asks_for_is_permitted(ask: Ask, grant_of: GrantOf) -> None:
    fields = ("new_address", "household")
    assert Permit((Share(grant_of().id, 1, fields, CONSENT),), fields) == ask()


# ── each reason ──


def test_nothing_is_permitted_without_a_grant(facts_of: FactsOf, subscription_of: SubscriptionOf) -> None:
    assert Deny(Reason.NO_GRANT) == decide(facts_of(), subscription_of(), (), NOW)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.NO_GRANT, {"grant": {"recipient": OTHER}}),
        (Reason.NO_GRANT, {"grant": {"event_type": NAME_CHANGED}}),
        (Reason.NO_GRANT, {"grant": {"purpose": HEALTH, "status": Status.REVOKED}}),
        (Reason.PURPOSE, {"grant": {"purpose": HEALTH}}),
        (Reason.PURPOSE, {"subscription": {"purpose": HEALTH}}),
        (Reason.NOT_YET, {"grant": {"starts_at": Instant(NOW + 1)}}),
        (Reason.EXPIRED, {"grant": {"expires_at": NOW}}),
        (Reason.EXPIRED, {"grant": {"status": Status.EXPIRED}}),
        (Reason.PAUSED, {"grant": {"status": Status.PAUSED}}),
        (Reason.REVOKED, {"grant": {"status": Status.REVOKED}}),
        (Reason.ONCE_USED, {"grant": {"scope": Scope.ONCE, "once_for": FIRST}}),
        (Reason.NO_FIELDS, {"grant": {"fields": frozenset({"iban"})}}),
        (Reason.NO_FIELDS, {"subscription": {"fields": frozenset({"effective_date"})}}),
        (Reason.NO_FIELDS, {"facts": {"field_names": ("subject", "effective_date")}}),
        (Reason.NO_FIELDS, {"facts": {"field_names": ()}}),
        (Reason.NOT_APPROVED, {"subscription": {"status": SubscriptionStatus.ASKED, "approved_at": None}}),
        (Reason.NOT_APPROVED, {"subscription": {"status": SubscriptionStatus.ASKED}}),
        (Reason.NOT_APPROVED, {"subscription": {"approved_at": Instant(NOW + 1)}}),
        (Reason.NOT_APPROVED, {"subscription": {"event_type": NAME_CHANGED}}),
        (Reason.ENDED, {"subscription": {"status": SubscriptionStatus.ENDED, "ended_at": NOW}}),
        (Reason.ENDED, {"subscription": {"ended_at": NOW}}),
        (Reason.TERRITORY, {"subscription": {"territories": frozenset({"75056"})}}),
        (Reason.TERRITORY, {"subscription": {"territories": frozenset({"35238"})}, "facts": {"territories": ()}}),
        (Reason.ASSURANCE, {"subscription": {"least": Least(Assurance.LOW)}}),
        (Reason.ASSURANCE, {"subscription": {"least": Least(quality=Quality.CERTIFIED)}}),
        (Reason.NOT_ORIGINAL_RECIPIENT, {"facts": {"corrects": FIRST}}),
        (Reason.NOT_ORIGINAL_RECIPIENT, {"facts": {"corrects": FIRST}, "received": frozenset()}),
        (Reason.NOT_ORIGINAL_RECIPIENT, {"facts": {"corrects": FIRST}, "received": frozenset({OTHER})}),
    ],
)
def test_one_thing_wrong_denies_with_its_reason(ask: Ask, reason: Reason, changes: dict[str, Any]) -> None:
    assert Deny(reason) == ask(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"grant": {"starts_at": NOW}},
        {"grant": {"expires_at": Instant(NOW + 1)}},
        {"grant": {"expires_at": None}},
        {"grant": {"scope": Scope.ONCE}},
        {"grant": {"scope": Scope.ONCE, "once_for": DeclarationId(b"d" * 16)}},
        {"grant": {"schema": SchemaId(b"0" * 32)}},
        {"subscription": {"approved_at": NOW}},
        {"subscription": {"ended_at": Instant(NOW + 1)}},
        {"subscription": {"territories": frozenset({"35238", "75056"})}},
        {
            "subscription": {"territories": frozenset({"75056"})},
            "facts": {"uses_territories": False, "territories": ()},
        },
        {"facts": {"corrects": FIRST}, "received": {CAF}},
        {"received": frozenset()},
    ],
    ids="-".join,
)
def test_the_edge_of_what_is_allowed_is_permitted(ask: Ask, changes: dict[str, Any]) -> None:
    assert ("new_address", "household") == permitted(ask(**changes)).fields


def test_a_correction_reaches_who_got_the_original_wherever_the_citizen_lives_now(ask: Ask) -> None:
    elsewhere = {"territories": frozenset({"75056"})}
    assert isinstance(ask(facts={"corrects": FIRST}, received={CAF}, subscription=elsewhere), Permit)


def test_a_one_time_grant_covers_the_corrections_of_its_declaration(ask: Ask) -> None:
    bound = {"scope": Scope.ONCE, "once_for": FIRST}
    assert isinstance(ask(grant=bound, facts={"corrects": FIRST}, received={CAF}), Permit)
    other = {"corrects": DeclarationId(b"2" * 16)}
    assert Deny(Reason.ONCE_USED) == ask(grant=bound, facts=other, received={CAF})


def test_a_field_added_to_the_schema_later_is_not_covered_by_an_old_grant(ask: Ask) -> None:
    newer = {"field_names": ("new_address", "household", "phone"), "schema": SchemaId(b"b" * 32)}
    asked = {"fields": frozenset({"new_address", "household", "phone"})}
    assert ("new_address", "household") == permitted(ask(facts=newer, subscription=asked)).fields


# ── which reason wins ──


def test_the_subscriptions_reasons_come_before_the_declarations_and_these_before_the_grants(ask: Ask) -> None:
    ended, elsewhere = {"ended_at": NOW}, {"territories": frozenset({"75056"})}
    paused = {"status": Status.PAUSED}
    assert Deny(Reason.ENDED) == ask(subscription=ended | elsewhere, grant=paused)
    assert Deny(Reason.TERRITORY) == ask(subscription=elsewhere, grant=paused)
    assert Deny(Reason.NOT_ORIGINAL_RECIPIENT) == ask(facts={"corrects": FIRST}, subscription=elsewhere, grant=paused)
    demanding = {"least": Least(Assurance.HIGH)}
    assert Deny(Reason.PAUSED) == ask(subscription=demanding, grant=paused)
    assert Deny(Reason.NO_GRANT) == ask(subscription=demanding, grant={"recipient": OTHER})


WRONG = (
    (Reason.PAUSED, {"status": Status.PAUSED}),
    (Reason.NOT_YET, {"starts_at": Instant(NOW + 1)}),
    (Reason.ONCE_USED, {"scope": Scope.ONCE, "once_for": FIRST}),
    (Reason.EXPIRED, {"expires_at": NOW}),
    (Reason.REVOKED, {"status": Status.REVOKED}),
    (Reason.NO_FIELDS, {"fields": frozenset({"iban"})}),
    (Reason.PURPOSE, {"purpose": HEALTH}),
    (Reason.NO_GRANT, {"recipient": OTHER}),
)


@pytest.mark.parametrize("place", range(len(WRONG)))
def test_of_several_reasons_the_one_nearest_to_a_permit_is_told(ask: Ask, grant_of: GrantOf, place: int) -> None:
    grants = [grant_of(number, **changes) for number, (_, changes) in enumerate(WRONG)][place:]
    assert Deny(WRONG[place][0]) == ask(*grants) == ask(*reversed(grants))


@pytest.mark.parametrize("reason", [reason for reason, _ in WRONG])
def test_an_objection_is_told_before_all_but_a_pause_and_takes_nothing_from_a_consent(
    ask: Ask, grant_of: GrantOf, reason: Reason
) -> None:
    changes = dict(WRONG)[reason]
    told = Reason.PAUSED if reason is Reason.PAUSED else Reason.OBJECTED

    assert Deny(told) == ask(grant_of(0, **changes), objects=True)
    assert ask(grant_of(0)) == ask(grant_of(0), objects=True)


def test_the_documented_order_is_the_one_tested() -> None:
    assert HELPFUL_FIRST == tuple(reason for reason, _ in WRONG)


def test_every_reason_that_a_grant_can_give_has_its_place_in_that_order() -> None:
    """One without a place would stop the router at the first citizen who meets it."""
    judging = "".join(inspect.getsource(each) for each in (policy.standing, policy._grant_reason))
    given = {Reason[name] for name in re.findall(r"Reason\.([A-Z_]+)", judging)}

    assert set(HELPFUL_FIRST) == given


def test_resuming_is_not_suggested_where_it_would_bring_nothing(ask: Ask) -> None:
    assert Deny(Reason.NO_FIELDS) == ask(grant={"status": Status.PAUSED, "fields": frozenset({"iban"})})


# ── several grants ──


def test_grants_of_one_purpose_share_the_fields_without_overlap_law_first_then_the_oldest(
    ask: Ask, grant_of: GrantOf
) -> None:
    mandate = law("CSS, art. L161-32-1")
    young = grant_of(9, fields=frozenset({"household", "effective_date"}))
    old = grant_of(2, fields=frozenset({"household", "new_address"}))
    by_law = grant_of(20, fields=frozenset({"new_address"}), basis=mandate)
    expected = Permit(
        (
            Share(by_law.id, 1, ("new_address",), mandate),
            Share(old.id, 1, ("household",), CONSENT),
            Share(young.id, 1, ("effective_date",), CONSENT),
        ),
        ("new_address", "household", "effective_date"),
    )
    assert expected == ask(young, old, by_law) == ask(by_law, old, young)


def test_a_grant_that_adds_nothing_gets_no_share_so_a_one_time_grant_is_not_spent(ask: Ask, grant_of: GrantOf) -> None:
    standing_grant, once = grant_of(1), grant_of(2, scope=Scope.ONCE)
    assert (standing_grant.id,) == tuple(share.grant_id for share in permitted(ask(standing_grant, once)).shares)


def test_a_grant_for_another_purpose_adds_no_field(ask: Ask, grant_of: GrantOf) -> None:
    one, other = grant_of(1, fields=frozenset({"household"})), grant_of(2, purpose=HEALTH)
    assert ("household",) == permitted(ask(one, other)).fields


def test_a_share_names_the_version_that_permits(ask: Ask) -> None:
    assert 7 == permitted(ask(grant={"version": 7})).shares[0].grant_version


def test_grants_of_two_citizens_stop_the_machine(ask: Ask, grant_of: GrantOf) -> None:
    with pytest.raises(Corrupt) as corrupt:
        ask(grant_of(1), grant_of(2, subject=SubjectRef(b"z" * 32)))
    assert "policy.mixed-subjects" == corrupt.value.code


def test_two_versions_of_one_grant_stop_the_machine(ask: Ask, grant_of: GrantOf) -> None:
    with pytest.raises(Corrupt) as corrupt:
        ask(grant_of(1), grant_of(1).revoke(NOW))
    assert "policy.twice-the-same-grant" == corrupt.value.code


# ── standing, and the gate's question ──


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (None, {}),
        (Reason.REVOKED, {"status": Status.REVOKED, "expires_at": NOW}),
        (Reason.EXPIRED, {"status": Status.PAUSED, "expires_at": NOW}),
        (Reason.PAUSED, {"status": Status.PAUSED, "starts_at": Instant(NOW + 1)}),
        (Reason.NOT_YET, {"starts_at": Instant(NOW + 1)}),
    ],
)
def test_a_grant_stands_only_while_active_and_within_its_dates(
    grant_of: GrantOf, expected: Reason | None, changes: dict[str, Any]
) -> None:
    assert expected is standing(grant_of(**changes), NOW)


@pytest.mark.parametrize(
    ("covered", "once_for", "declaration", "corrects"),
    [
        (True, None, b"2", None),
        (True, b"2", b"2", None),
        (True, b"1", b"2", b"1"),
        (False, b"1", b"2", None),
        (False, b"1", b"2", b"3"),
    ],
)
def test_a_one_time_grant_covers_its_declaration_and_that_ones_corrections(
    grant_of: GrantOf, covered: bool, once_for: bytes | None, declaration: bytes, corrects: bytes | None
) -> None:
    def named(letter: bytes | None) -> DeclarationId | None:
        return None if letter is None else DeclarationId(letter * 16)

    grant = grant_of(scope=Scope.ONCE, once_for=named(once_for))
    assert covered == once_covers(grant, DeclarationId(declaration * 16), named(corrects))


@pytest.mark.parametrize(
    ("expected", "changes", "asked"),
    [
        (None, {}, ("household",)),
        (None, {"scope": Scope.ONCE, "once_for": DeclarationId(b"d" * 16)}, ("household",)),
        (Reason.REVOKED, {"status": Status.REVOKED}, ("household",)),
        (Reason.NO_GRANT, {"event_type": NAME_CHANGED}, ("household",)),
        (Reason.PURPOSE, {"purpose": HEALTH}, ("household",)),
        (Reason.ONCE_USED, {"scope": Scope.ONCE}, ("household",)),
        (Reason.ONCE_USED, {"scope": Scope.ONCE, "once_for": FIRST}, ("household",)),
        (Reason.NO_FIELDS, {}, ()),
        (Reason.NARROWED, {"fields": frozenset({"new_address"})}, ("household",)),
    ],
)
def test_the_gate_withholds_what_the_grant_no_longer_covers(
    grant_of: GrantOf, facts_of: FactsOf, expected: Reason | None, changes: dict[str, Any], asked: tuple[str, ...]
) -> None:
    assert expected is at_release(grant_of(**changes), facts_of(), Purpose("family-benefits"), asked, NOW)


def test_what_is_planned_can_be_released_at_the_same_instant(
    grant_of: GrantOf, facts_of: FactsOf, subscription_of: SubscriptionOf
) -> None:
    facts, once = facts_of(), grant_of(scope=Scope.ONCE)
    decision = decide(facts, subscription_of(), [once], NOW)
    assert isinstance(decision, Permit)
    bound = once.bind_once(facts.declaration_id, NOW)
    assert None is at_release(bound, facts, once.purpose, decision.fields, NOW)


# ── subscriptions ──


@pytest.mark.parametrize(
    ("code", "pointer", "changes"),
    [
        ("policy.subscription-id", "/id", {"id": b"u" * 15}),
        ("policy.subscription-no-fields", "/fields", {"fields": frozenset()}),
        ("policy.subscription-territories", "/territories", {"territories": frozenset()}),
        ("policy.subscription-territories", "/territories", {"territories": frozenset({"Rennes"})}),
        ("policy.subscription-legal-reference", "/legal_reference", {"legal_reference": " "}),
        ("policy.subscription-legal-reference", "/legal_reference", {"legal_reference": "a" * 501}),
        ("policy.subscription-dates", "/approved_at", {"approved_at": None}),
        ("policy.subscription-dates", "/ended_at", {"status": SubscriptionStatus.ENDED}),
    ],
)
def test_a_subscription_that_says_too_little_is_refused(
    subscription_of: SubscriptionOf, code: str, pointer: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refused:
        subscription_of(**changes)
    assert (code, pointer) == (refused.value.code, refused.value.pointer)


def test_an_administration_may_ask_before_it_knows_its_legal_reference(subscription_of: SubscriptionOf) -> None:
    subscription_of(status=SubscriptionStatus.ASKED, approved_at=None, legal_reference="")
