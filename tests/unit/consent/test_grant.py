"""Grants: what a record may say, and how it may change."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consent.basis import CONSENT, ENDLESS_SINCE, Basis, BasisKind, choice, end_of, law, longest_end
from consent.grant import Grant, Scope, Status, Voice, follows
from schemas.errors import Refused
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    Instant,
    PartyId,
    Purpose,
    SchemaId,
    SubjectRef,
    from_rfc3339,
)

NOW = Instant(1_795_521_493_000)
LATER = Instant(NOW + 500)
MANDATE = {"basis": law("CGI, art. 1649 A ter"), "purpose": Purpose("income-tax")}
COUNTER = Voice("agent:42", Capacity.AGENT, Channel.COUNTER, "en", b"x" * 32)

GrantOf = Callable[..., Grant]


def refusal(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code, refused.value.pointer


# ── what a record may say ──


@pytest.mark.parametrize(
    ("code", "pointer", "changes"),
    [
        ("grant.no-fields", "/fields", {"fields": frozenset()}),
        ("grant.too-many-fields", "/fields", {"fields": frozenset(f"f{n}" for n in range(257))}),
        ("grant.field-name", "/fields", {"fields": frozenset({"new_address", "*"})}),
        ("grant.field-name", "/fields", {"fields": frozenset({"all"})}),
        ("grant.ends-before-it-starts", "/expires_at", {"expires_at": Instant(NOW - 1000)}),
        ("grant.changed-before-granted", "/changed_at", {"changed_at": Instant(NOW - 1001)}),
        ("grant.given-by", "/given_by", {"given_by": "Jeanne Martin"}),
        ("grant.given-by", "/given_by", {"given_by": ""}),
        ("grant.language", "/language", {"language": "de"}),
        ("grant.text-hash", "/text_hash", {"text_hash": b"t" * 31}),
        ("grant.version", "/version", {"version": 0}),
        ("grant.version", "/version", {"version": 2**31}),
        ("grant.once-for", "/once_for", {"once_for": DeclarationId(b"d" * 16)}),
        ("grant.mandate", "/status", {**MANDATE, "status": Status.PAUSED}),
        ("purposes.basis", "/basis", {"purpose": Purpose("income-tax")}),
    ],
)
def test_a_record_that_says_something_wrong_is_refused(
    grant_of: GrantOf, code: str, pointer: str, changes: dict[str, Any]
) -> None:
    assert (code, pointer) == refusal(lambda: grant_of(**changes))


def test_the_limits_themselves_are_allowed(grant_of: GrantOf) -> None:
    grant_of(fields=frozenset(f"f{n}" for n in range(256)))
    grant_of(version=2**31 - 1)
    grant_of(expires_at=Instant(NOW - 999))
    grant_of(expires_at=None)


def test_a_grant_shows_no_reference_of_the_citizen(grant_of: GrantOf) -> None:
    grant = grant_of(subject=SubjectRef(bytes(range(32))))
    assert bytes(range(32)).hex() not in repr(grant)
    assert "\\x01\\x02" not in repr(grant)


# ── basis ──


@pytest.mark.parametrize("text", ["consent", "law:CGI, art. 1649 A ter", "law:Règlement (UE) 2016/679 : 6"])
def test_a_basis_reads_back_what_it_writes(text: str) -> None:
    assert text == Basis.parse(text).text


@pytest.mark.parametrize("text", ["", "Consent", "loi:CGI", "lawful"])
def test_a_basis_that_is_neither_consent_nor_law_is_refused(text: str) -> None:
    assert ("grant.basis", "/basis") == refusal(lambda: Basis.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "law",
        "law:",
        "law: CGI",
        "law:CGI\n",
        "law:" + "a" * 201,
        "law:de\u0301cret",
        "consent:",
        "consent:CGI",
        "choice",
        "choice:",
    ],
)
def test_a_law_without_a_clean_article_or_a_consent_with_one_is_refused(text: str) -> None:
    assert ("grant.article", "/basis") == refusal(lambda: Basis.parse(text))


def test_consent_choice_and_law_have_their_kind() -> None:
    assert BasisKind.CONSENT == CONSENT.kind
    assert Basis(BasisKind.CHOICE, "ordonnance 2005-395") == choice("ordonnance 2005-395")
    assert choice("ordonnance 2005-395") == Basis.parse("choice:ordonnance 2005-395")
    assert Basis(BasisKind.LAW, "CSS, art. L1") == law("CSS, art. L1")


def test_a_choice_is_the_citizens_and_none_where_the_law_alone_decides(grant_of: GrantOf) -> None:
    chosen = grant_of(basis=choice("ordonnance 2005-395"))
    assert not chosen.by_law
    assert Status.PAUSED is chosen.pause(LATER, COUNTER).status
    assert Status.REVOKED is chosen.revoke(LATER, COUNTER).status
    wrong = {"basis": choice("ordonnance 2005-395"), "purpose": Purpose("income-tax")}
    assert ("purposes.basis", "/basis") == refusal(lambda: grant_of(**wrong))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-12-01T10:00:00.123Z", "2028-12-01T10:00:00.123Z"),
        ("2028-02-29T00:00:00.000Z", "2030-02-28T00:00:00.000Z"),
        ("2027-02-28T23:59:59.999Z", "2029-02-28T23:59:59.999Z"),
        ("9998-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"),  # the last instant that there is
    ],
)
def test_a_consent_ends_after_24_months(start: str, end: str) -> None:
    begins, ends = from_rfc3339(start), from_rfc3339(end)
    assert begins is not None
    assert ends is not None
    assert ends == longest_end(begins) == end_of(CONSENT, begins, None) == end_of(CONSENT, begins, ends)
    assert Instant(ends - 1) == end_of(CONSENT, begins, Instant(ends - 1))
    assert ("grant.too-long", "/expires_at") == refusal(lambda: end_of(CONSENT, begins, Instant(ends + 1)))


def test_a_choice_and_a_mandate_have_the_end_that_is_wished() -> None:
    for basis in (law("CSS, art. L1"), choice("ordonnance 2005-395")):
        assert None is end_of(basis, NOW, None)
        assert Instant(2**50) == end_of(basis, NOW, Instant(2**50))


def test_an_endless_consent_of_before_ends_24_months_after_they_were_abolished(grant_of: GrantOf) -> None:
    assert longest_end(ENDLESS_SINCE) == grant_of(expires_at=None).until
    late = Instant(ENDLESS_SINCE + 1)
    assert longest_end(late) == grant_of(expires_at=None, granted_at=late, starts_at=late, changed_at=late).until
    assert None is grant_of(expires_at=None, basis=choice("ordonnance 2005-395")).until


# ── transitions ──


def test_a_change_is_the_next_version_at_its_own_instant(grant_of: GrantOf) -> None:
    paused = grant_of().pause(LATER)
    assert (2, Status.PAUSED, LATER) == (paused.version, paused.status, paused.changed_at)
    resumed = paused.resume(Instant(LATER + 1))
    assert (3, Status.ACTIVE) == (resumed.version, resumed.status)


def test_a_change_records_who_spoke_and_else_keeps_the_last_voice(grant_of: GrantOf) -> None:
    at_the_counter = grant_of().revoke(LATER, COUNTER)
    assert ("agent:42", Capacity.AGENT, Channel.COUNTER, "en", b"x" * 32) == (
        at_the_counter.given_by,
        at_the_counter.capacity,
        at_the_counter.channel,
        at_the_counter.language,
        at_the_counter.text_hash,
    )
    alone = grant_of().revoke(LATER)
    assert ("self", Channel.ONLINE) == (alone.given_by, alone.channel)


def test_a_clock_set_back_never_keeps_a_citizen_from_revoking(grant_of: GrantOf) -> None:
    revoked = grant_of().revoke(Instant(0))
    assert (Status.REVOKED, Instant(NOW - 1000)) == (revoked.status, revoked.changed_at)


def test_narrowing_keeps_the_part_that_is_named_and_a_pause(grant_of: GrantOf) -> None:
    narrowed = grant_of().pause(LATER).narrow(frozenset({"household"}), LATER)
    assert (frozenset({"household"}), Status.PAUSED, 3) == (narrowed.fields, narrowed.status, narrowed.version)


def test_binding_names_the_declaration(grant_of: GrantOf) -> None:
    bound = grant_of(scope=Scope.ONCE).bind_once(DeclarationId(b"d" * 16), LATER)
    assert (b"d" * 16, 2) == (bound.once_for, bound.version)


def test_an_end_date_that_has_come_expires_consents_and_mandates(grant_of: GrantOf) -> None:
    for grant in (grant_of(), grant_of().pause(LATER), grant_of(**MANDATE)):
        assert Status.EXPIRED is grant.expire(Instant(NOW + 1000)).status


def test_an_operator_ends_a_mandate(grant_of: GrantOf) -> None:
    assert Status.REVOKED is grant_of(**MANDATE).end_mandate(LATER, COUNTER).status


PART = frozenset({"household"})
TRANSITIONS: dict[str, Callable[[Grant], Grant]] = {
    "pause": lambda grant: grant.pause(LATER),
    "resume": lambda grant: grant.resume(LATER),
    "narrow": lambda grant: grant.narrow(PART, LATER),
    "revoke": lambda grant: grant.revoke(LATER),
    "end_mandate": lambda grant: grant.end_mandate(LATER),
    "expire": lambda grant: grant.expire(Instant(NOW + 1000)),
    "bind_once": lambda grant: grant.bind_once(DeclarationId(b"d" * 16), LATER),
}


@pytest.mark.parametrize("status", [Status.REVOKED, Status.EXPIRED])
@pytest.mark.parametrize("name", sorted(TRANSITIONS.keys() - {"end_mandate"}))
def test_what_is_over_never_changes_again(grant_of: GrantOf, name: str, status: Status) -> None:
    assert ("grant.over", "/status") == refusal(lambda: TRANSITIONS[name](grant_of(status=status, scope=Scope.ONCE)))


@pytest.mark.parametrize("status", [Status.REVOKED, Status.EXPIRED])
def test_a_mandate_that_is_over_never_ends_again(grant_of: GrantOf, status: Status) -> None:
    assert ("grant.over", "/status") == refusal(lambda: grant_of(**MANDATE, status=status).end_mandate(LATER))


@pytest.mark.parametrize("name", ["pause", "resume", "narrow", "revoke"])
def test_a_citizen_cannot_touch_a_mandate_by_law(grant_of: GrantOf, name: str) -> None:
    assert ("grant.mandate", "/basis") == refusal(lambda: TRANSITIONS[name](grant_of(**MANDATE)))


def test_an_operator_cannot_end_a_citizens_consent_as_if_it_were_a_mandate(grant_of: GrantOf) -> None:
    assert ("grant.not-a-mandate", "/basis") == refusal(lambda: grant_of().end_mandate(LATER))


@pytest.mark.parametrize(
    ("code", "pointer", "act"),
    [
        ("grant.not-active", "/status", lambda g: g.pause(LATER).pause(LATER)),
        ("grant.not-paused", "/status", lambda g: g.resume(LATER)),
        ("grant.wider", "/fields", lambda g: g.narrow(frozenset({"household", "iban"}), LATER)),
        ("grant.not-narrower", "/fields", lambda g: g.narrow(g.fields, LATER)),
        ("grant.no-fields", "/fields", lambda g: g.narrow(frozenset(), LATER)),
        ("grant.not-due", "/expires_at", lambda g: g.expire(Instant(NOW + 999))),
        ("grant.not-due", "/expires_at", lambda g: replace(g, expires_at=None).expire(Instant(NOW + 1000))),
        ("grant.not-once", "/scope", lambda g: g.bind_once(DeclarationId(b"d" * 16), LATER)),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    grant_of: GrantOf, code: str, pointer: str, act: Callable[[Grant], Grant]
) -> None:
    assert (code, pointer) == refusal(lambda: act(grant_of()))


def test_a_one_time_grant_is_spent_once_and_not_while_paused(grant_of: GrantOf) -> None:
    once = grant_of(scope=Scope.ONCE)
    bound = once.bind_once(DeclarationId(b"d" * 16), LATER)
    assert ("grant.once-spent", "/once_for") == refusal(lambda: bound.bind_once(DeclarationId(b"d" * 16), LATER))
    assert ("grant.not-active", "/status") == refusal(lambda: TRANSITIONS["bind_once"](once.pause(LATER)))


# ── names and history ──


def test_a_grant_names_only_fields_that_its_schema_has(grant_of: GrantOf) -> None:
    schema = SchemaId(b"a" * 32)
    grant_of().check_names(schema, frozenset({"new_address", "household", "iban"}))
    assert ("grant.unknown-field", "/fields/new_address") == refusal(
        lambda: grant_of().check_names(schema, frozenset({"household"}))
    )


def test_a_grant_is_checked_against_its_own_schema(grant_of: GrantOf) -> None:
    names = frozenset({"new_address", "household"})
    assert ("grant.schema", "/schema") == refusal(lambda: grant_of().check_names(SchemaId(b"b" * 32), names))


@pytest.mark.parametrize("name", sorted(TRANSITIONS.keys() - {"end_mandate", "resume"}))
def test_every_transition_makes_a_version_that_follows(grant_of: GrantOf, name: str) -> None:
    old = grant_of(scope=Scope.ONCE)
    assert follows(old, TRANSITIONS[name](old))


def test_resuming_and_ending_a_mandate_follow_too(grant_of: GrantOf) -> None:
    paused, mandate = grant_of().pause(LATER), grant_of(**MANDATE)
    assert follows(paused, paused.resume(LATER))
    assert follows(mandate, mandate.end_mandate(LATER, COUNTER))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": 3},
        {"fields": frozenset({"new_address", "household", "iban"})},
        {"changed_at": Instant(NOW - 1001), "granted_at": Instant(NOW - 1001)},
        {"changed_at": Instant(NOW - 1)},
        {"once_for": None},
        {"subject": SubjectRef(b"z" * 32)},
        {"recipient": PartyId("urn:unefois:other")},
        {"event_type": EventType("fr.unefois.name.changed.v1")},
        {"schema": SchemaId(b"b" * 32)},
        {"purpose": Purpose("health-insurance")},
        {"basis": law("CGI, art. 1")},
        {"granted_at": Instant(NOW - 900)},
        {"starts_at": Instant(NOW - 900)},
        {"expires_at": None},
        {"scope": Scope.STANDING, "once_for": None},
    ],
    ids="-".join,
)
def test_a_version_that_changes_what_never_changes_does_not_follow(grant_of: GrantOf, changes: dict[str, Any]) -> None:
    old = grant_of(scope=Scope.ONCE, once_for=DeclarationId(b"d" * 16), changed_at=NOW)
    plain = {"version": 2, "changed_at": NOW}
    assert follows(old, replace(old, **plain))
    assert not follows(old, replace(old, **plain | changes))


def test_nothing_follows_what_is_over(grant_of: GrantOf) -> None:
    over = grant_of(status=Status.REVOKED)
    assert not follows(over, replace(over, version=2, status=Status.ACTIVE))
