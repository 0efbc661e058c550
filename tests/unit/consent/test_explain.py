"""Sentences for a citizen, and the dry run."""

from collections.abc import Callable
from typing import get_args

import pytest

from consent.basis import choice, law
from consent.explain import dry_run, explain, explain_reason
from consent.grant import Grant
from consent.policy import DeclarationFacts, Deny, Permit, Subscription, decide
from schemas.messages import Language
from schemas.names import DeclarationId, EventType, Instant, PartyId, Purpose, Reason

NOW = Instant(1_795_521_493_000)
CAF = PartyId("urn:fr:siret:18750001000015")
TAX = PartyId("urn:unefois:impots")
LABELS = {"new_address": "nouvelle adresse", "household": "membres du foyer"}

GrantOf = Callable[..., Grant]
SubscriptionOf = Callable[..., Subscription]
FactsOf = Callable[..., DeclarationFacts]


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_every_reason_is_a_sentence_in_both_languages(reason: Reason) -> None:
    sentences = [explain_reason(reason, language) for language in get_args(Language)]
    for sentence in sentences:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
    assert 2 == len(set(sentences))


@pytest.mark.parametrize("language", get_args(Language))
def test_no_two_reasons_are_told_alike(language: Language) -> None:
    assert len(Reason) == len({explain_reason(reason, language) for reason in Reason})


def test_a_consent_is_told_with_names_fields_and_purpose(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf
) -> None:
    facts, subscription = facts_of(), subscription_of()
    decision = decide(facts, subscription, [grant_of()], NOW)
    assert (
        "La CAF du Finistère recevra « nouvelle adresse » et « membres du foyer » pour « Prestations familiales », "
        "car vous l'avez autorisé."
    ) == explain(decision, facts, subscription, "fr", recipient_name="La CAF du Finistère", field_labels=LABELS)


def test_without_names_the_identifiers_are_told(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf
) -> None:
    facts, subscription = facts_of(), subscription_of()
    decision = decide(facts, subscription, [grant_of(fields=frozenset({"household"}))], NOW)
    assert (
        "urn:fr:siret:18750001000015 will receive “household” for “Family benefits”, because you have allowed it."
    ) == explain(decision, facts, subscription, "en")


def test_three_fields_are_listed_in_the_schemas_order(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf
) -> None:
    facts, subscription = facts_of(), subscription_of()
    fields = frozenset({"household", "effective_date", "new_address"})
    decision = decide(facts, subscription, [grant_of(fields=fields)], NOW)
    told = explain(decision, facts, subscription, "en")
    assert "“new_address”, “household” and “effective_date”" in told


@pytest.mark.parametrize("language", get_args(Language))
def test_a_mandate_is_told_with_its_article(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf, language: Language
) -> None:
    facts, subscription = facts_of(), subscription_of()
    consent, mandate = grant_of(1, fields=frozenset({"household"})), grant_of(2, basis=law("CSS, art. L583-3"))
    told = explain(decide(facts, subscription, [consent, mandate], NOW), facts, subscription, language)
    assert "(CSS, art. L583-3)" in told
    assert told.endswith("(CSS, art. L583-3).")


def test_a_choice_is_told_as_the_citizens_own(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf
) -> None:
    facts, subscription = facts_of(), subscription_of()
    chosen = grant_of(fields=frozenset({"household"}), basis=choice("ordonnance 2005-395"))
    decision = decide(facts, subscription, [chosen], NOW)
    assert "car vous l'avez choisi, comme un texte le permet (ordonnance 2005-395)." in explain(
        decision, facts, subscription, "fr"
    )


def test_two_grants_make_two_sentences(grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf) -> None:
    facts, subscription = facts_of(), subscription_of()
    consent = grant_of(1, fields=frozenset({"household"}))
    mandate = grant_of(2, fields=frozenset({"new_address"}), basis=law("CSS"))
    decision = decide(facts, subscription, [consent, mandate], NOW)
    told = explain(decision, facts, subscription, "en", recipient_name="The CAF")
    assert (
        "The CAF will receive “new_address” for “Family benefits”, because the law provides for it (CSS). "
        "The CAF will receive “household” for “Family benefits”, because you have allowed it."
    ) == told


def test_a_correction_is_told_as_one(grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf) -> None:
    facts, subscription = facts_of(corrects=DeclarationId(b"1" * 16)), subscription_of()
    decision = decide(facts, subscription, [grant_of(fields=frozenset({"household"}))], NOW, {CAF})
    assert "recevra la correction de « household »" in explain(decision, facts, subscription, "fr")
    assert "will receive the correction of “household”" in explain(decision, facts, subscription, "en")


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
@pytest.mark.parametrize(
    ("language", "opening"),
    [
        ("fr", "La CAF ne recevra rien pour « Prestations familiales ». "),
        ("en", "La CAF will receive nothing for “Family benefits”. "),
    ],
)
def test_a_denial_is_told_with_its_reason(
    subscription_of: SubscriptionOf, facts_of: FactsOf, reason: Reason, language: Language, opening: str
) -> None:
    told = explain(Deny(reason), facts_of(), subscription_of(), language, recipient_name="La CAF")
    assert opening + explain_reason(reason, language) == told


def test_the_dry_run_shows_what_the_router_will_decide_for_each_subscription_to_the_type(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf
) -> None:
    facts, grants = facts_of(), [grant_of()]
    family, tax = subscription_of(), subscription_of(recipient=TAX, purpose=Purpose("income-tax"))
    names = subscription_of(event_type=EventType("fr.unefois.name.changed.v1"))
    lines = dry_run(facts, [tax, names, family], grants, NOW)
    assert [tax, family] == [line.subscription for line in lines]
    assert [decide(facts, line.subscription, grants, NOW) for line in lines] == [line.decision for line in lines]
    assert Deny(Reason.NO_GRANT) == lines[0].decision
    assert isinstance(lines[1].decision, Permit)


def test_the_dry_run_of_a_correction_asks_who_got_the_original(
    grant_of: GrantOf, subscription_of: SubscriptionOf, facts_of: FactsOf
) -> None:
    facts = facts_of(corrects=DeclarationId(b"1" * 16))
    (line,) = dry_run(facts, [subscription_of()], [grant_of()], NOW)
    assert Deny(Reason.NOT_ORIGINAL_RECIPIENT) == line.decision
    (line,) = dry_run(facts, [subscription_of()], [grant_of()], NOW, {CAF})
    assert isinstance(line.decision, Permit)
