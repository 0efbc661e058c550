"""Policy: may this recipient have this declaration, which fields of it, and on whose word?

Pure: facts, subscription, grants and the instant in; a permit or one reason out. Router, gate and dry run ask the same
functions.

Refuses: everything that is not plainly allowed; empty means deny. A mix of two citizens' grants stops the machine.
Keeps: a field is permitted only if the schema has it, the approved subscription asks for it, and a grant that stands,
for this recipient, type and purpose, names it. Taking a grant or a field away never adds a field.
Source: docs/protocol.md, section 9; docs/architecture.md, steps 6, 7 and 11.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from consent.basis import Basis
from consent.grant import Grant, Scope, Status
from consent.rules import Rule
from schemas import areas
from schemas.assurance import ANY, Least, Provenance
from schemas.errors import Corrupt, Refused
from schemas.names import (
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Purpose,
    Reason,
    RuleId,
    SchemaId,
    SubjectRef,
)

MAX_LEGAL_REFERENCE = 500
"""Characters."""


@dataclass(frozen=True, slots=True)
class DeclarationFacts:
    """What may be known of a declaration without opening it. `field_names`: every field of its schema, in schema order.

    `corrects` names the first declaration of a chain of corrections: the router follows the chain before it asks.
    """

    declaration_id: DeclarationId
    source: PartyId
    event_type: EventType
    schema: SchemaId
    field_names: tuple[str, ...]
    territories: tuple[str, ...]
    uses_territories: bool
    corrects: DeclarationId | None = None
    provenance: Provenance | None = None
    """How sure it is, as its source states; None: nothing was stated."""


class SubscriptionStatus(Enum):
    """Asked for by an administration, approved by an operator, ended by either."""

    ASKED = "asked"
    APPROVED = "approved"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What an administration asks to receive. `id` is 16 bytes; `territories` None means everywhere.

    Raises Refused `policy.subscription-*`: one without fields, with an empty territory, or approved without a date and
    a legal reference.
    """

    id: bytes
    recipient: PartyId
    event_type: EventType
    purpose: Purpose
    fields: frozenset[str]
    territories: frozenset[str] | None
    status: SubscriptionStatus
    approved_at: Instant | None
    ended_at: Instant | None
    legal_reference: str
    least: Least = ANY
    """How sure a declaration has to be at least; a correction, too."""

    def __post_init__(self) -> None:
        if len(self.id) != 16:
            raise Refused("policy.subscription-id", "/id", length=len(self.id))
        if not self.fields:
            raise Refused("policy.subscription-no-fields", "/fields")
        if self.territories is not None:
            _check_territories(self.territories)
        if len(self.legal_reference) > MAX_LEGAL_REFERENCE:
            raise Refused("policy.subscription-legal-reference", "/legal_reference", limit=MAX_LEGAL_REFERENCE)
        if self.status is SubscriptionStatus.APPROVED:
            if not self.legal_reference.strip():
                raise Refused("policy.subscription-legal-reference", "/legal_reference", limit=MAX_LEGAL_REFERENCE)
            if self.approved_at is None:
                raise Refused("policy.subscription-dates", "/approved_at")
        if self.status is SubscriptionStatus.ENDED and self.ended_at is None:
            raise Refused("policy.subscription-dates", "/ended_at")


def _check_territories(territories: frozenset[str]) -> None:
    if not territories or not all(areas.CODE.fullmatch(code) for code in territories):
        raise Refused("policy.subscription-territories", "/territories")


@dataclass(frozen=True, slots=True)
class Share:
    """The fields (schema order, never empty) that one grant lets through: one delivery."""

    grant_id: GrantId
    grant_version: int
    fields: tuple[str, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class Permit:
    """What goes out: shares that have no field in common, and all their fields in schema order."""

    shares: tuple[Share, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    """Nothing goes out, and the one reason that helps the citizen most."""

    reason: Reason


ADDRESSED = frozenset({EventType("fr.unefois.person.reference.v1")})
"""Types of which each declaration is for one recipient: only a grant for this very declaration counts. What is meant
for one, no consent in general and no rule by law gives to another.
"""

# Several grants can each have their own reason. The citizen is told the one nearest to a permit: what the citizen can
# undo alone comes first, what time will bring second, what needs a new consent after that.
HELPFUL_FIRST = (
    Reason.PAUSED,
    Reason.NOT_YET,
    Reason.ONCE_USED,
    Reason.EXPIRED,
    Reason.REVOKED,
    Reason.NO_FIELDS,
    Reason.PURPOSE,
    Reason.NO_GRANT,
)
BY_RULE = (Reason.TERRITORY, Reason.ASSURANCE)
"""What a rule by law asks for of its own: told where nothing in HELPFUL_FIRST but NO_GRANT is."""
_NEAREST = (*HELPFUL_FIRST[:-1], *BY_RULE, Reason.NO_GRANT)

NO_RULES: Mapping[RuleId, Rule] = MappingProxyType({})


def decide(
    facts: DeclarationFacts,
    subscription: Subscription,
    grants: Sequence[Grant],
    at: Instant,
    original_recipients: Collection[PartyId] | None = None,
    *,
    objects: bool = False,
    rules: Mapping[RuleId, Rule] = NO_RULES,
    citizen: Collection[SubjectRef] = (),
) -> Permit | Deny:
    """Decide for one declaration and one subscription; `grants` are the heads of its subject, for any recipient.

    `original_recipients` says who received the declaration that `facts.corrects` names. Without it a correction goes to
    nobody; it is ignored where nothing is corrected. Of a correction the territory is not asked again: who was told
    wrong must be told right, even where the correction moves the citizen elsewhere.

    `objects`: whether an objection of the citizen stands to a rule by law that would allow this; it takes nothing from
    what the citizen has allowed. `rules`: those under which grants can be; a grant under one lets nothing through that
    is outside the rule's own territories, or less sure than the rule asks for.
    `citizen`: the references that are known to be one citizen's, where there are several.

    The order of the reasons: the subscription's (`not-approved`, `ended`), the declaration's (`not-original-recipient`,
    `territory`), then the grants', by HELPFUL_FIRST, then `assurance`; an objection is told before the grants' but a
    pause.

    Raises Corrupt `policy.mixed-subjects`, `policy.twice-the-same-grant`: the caller's rows contradict each other.
    """
    _check_one_subject(grants, citizen)
    reason = _subscription_reason(facts, subscription, at) or _reach_reason(facts, subscription, original_recipients)
    if reason is not None:
        return Deny(reason)
    ours = [g for g in grants if g.recipient == subscription.recipient and g.event_type == facts.event_type]
    if facts.event_type in ADDRESSED:
        ours = [grant for grant in ours if _addressed(grant, facts)]
    reasons = {
        grant.id: _grant_reason(grant, facts, subscription, at) or _rule_reason(grant, facts, rules) for grant in ours
    }
    contributing = [grant for grant in ours if reasons[grant.id] is None]
    if not contributing:
        found = {reason for reason in reasons.values() if reason is not None} | {Reason.NO_GRANT}
        nearest = min(found, key=_NEAREST.index)
        return Deny(Reason.OBJECTED if objects and nearest is not Reason.PAUSED else nearest)
    if not subscription.least.met_by(facts.provenance):
        return Deny(Reason.ASSURANCE)  # last: it is a fact about a citizen, and where nothing is allowed there is none
    return _partition(facts, subscription, contributing)


def standing(grant: Grant, at: Instant) -> Reason | None:
    """Why a grant does not stand at this instant, or None if it does: active, and `starts_at <= at < until`."""
    if grant.status is Status.REVOKED:
        return Reason.REVOKED
    if grant.status is Status.EXPIRED or (grant.until is not None and at >= grant.until):
        return Reason.EXPIRED
    if grant.status is Status.PAUSED:
        return Reason.PAUSED
    return Reason.NOT_YET if at < grant.starts_at else None


def once_covers(grant: Grant, declaration: DeclarationId, corrects: DeclarationId | None) -> bool:
    """Whether the scope takes in this declaration.

    A one-time grant covers the declaration it is bound to and that one's corrections: the citizen agreed that this
    administration knows this fact once, and a fact put right is the same fact. Unbound, it covers the first that comes.
    """
    return grant.scope is Scope.STANDING or grant.once_for is None or grant.once_for in (declaration, corrects)


def _addressed(grant: Grant, facts: DeclarationFacts) -> bool:
    """Whether it was given for this very declaration, or the one that it corrects."""
    return grant.once_for is not None and grant.once_for in (facts.declaration_id, facts.corrects)


def at_release(
    grant: Grant, facts: DeclarationFacts, purpose: Purpose, fields: Collection[str], at: Instant
) -> Reason | None:
    """Why a planned delivery of `fields` must not be opened now, or None; the gate asks, with the grant's head.

    The reasons are `standing`'s, then `no-grant` (a grant for another event type), `purpose`, `once-used` (a one-time
    grant that the router did not bind to this declaration), `no-fields` (an empty delivery), `narrowed`.
    """
    stands = standing(grant, at)
    if stands is not None:
        return stands
    unaddressed = facts.event_type in ADDRESSED and not _addressed(grant, facts)
    if grant.event_type != facts.event_type or unaddressed:
        return Reason.NO_GRANT
    if grant.purpose != purpose:
        return Reason.PURPOSE
    if grant.unbound or not once_covers(grant, facts.declaration_id, facts.corrects):
        return Reason.ONCE_USED
    if not fields:
        return Reason.NO_FIELDS
    return None if grant.fields.issuperset(fields) else Reason.NARROWED


def _check_one_subject(grants: Sequence[Grant], citizen: Collection[SubjectRef]) -> None:
    # A routing batch reads many citizens' grants at once; one citizen's consent must never open another's declaration.
    subjects = {grant.subject for grant in grants}
    if len(subjects) > 1 and not subjects.issubset(citizen):
        raise Corrupt("policy.mixed-subjects", grants=len(grants))
    # Two versions of one grant: the older would outlive its own revocation.
    if len({grant.id for grant in grants}) != len(grants):
        raise Corrupt("policy.twice-the-same-grant", grants=len(grants))


def _subscription_reason(facts: DeclarationFacts, subscription: Subscription, at: Instant) -> Reason | None:
    if subscription.event_type != facts.event_type:
        return Reason.NOT_APPROVED  # approved for something else is not approved for this
    if subscription.status is SubscriptionStatus.ENDED or _reached(subscription.ended_at, at):
        return Reason.ENDED
    approved = subscription.status is SubscriptionStatus.APPROVED and _reached(subscription.approved_at, at)
    return None if approved else Reason.NOT_APPROVED


def _reached(instant: Instant | None, at: Instant) -> bool:
    return instant is not None and instant <= at


def _reach_reason(
    facts: DeclarationFacts, subscription: Subscription, original_recipients: Collection[PartyId] | None
) -> Reason | None:
    if facts.corrects is not None:
        received = original_recipients is not None and subscription.recipient in original_recipients
        return None if received else Reason.NOT_ORIGINAL_RECIPIENT
    # A type without territories cannot say where it matters; there the grant, which names the recipient, is the bound.
    if not facts.uses_territories or subscription.territories is None:
        return None
    hearing = areas.heard_by(facts.territories)
    return Reason.TERRITORY if subscription.territories.isdisjoint(hearing) else None


def _usable(grant: Grant, facts: DeclarationFacts, subscription: Subscription) -> frozenset[str]:
    return grant.fields & subscription.fields & frozenset(facts.field_names)


def _grant_reason(grant: Grant, facts: DeclarationFacts, subscription: Subscription, at: Instant) -> Reason | None:
    stands = standing(grant, at)
    if grant.purpose != subscription.purpose:
        # A dead consent for something else is no news to the citizen.
        return Reason.PURPOSE if stands is None else Reason.NO_GRANT
    if not _usable(grant, facts, subscription):
        return Reason.NO_FIELDS  # resuming or waiting would bring nothing, so it must not be suggested
    if stands is not None:
        return stands
    return None if once_covers(grant, facts.declaration_id, facts.corrects) else Reason.ONCE_USED


def _rule_reason(grant: Grant, facts: DeclarationFacts, rules: Mapping[RuleId, Rule]) -> Reason | None:
    """What the rule under which a grant is asks for beside its subscription; of a correction, no territory."""
    rule = None if grant.rule is None else rules.get(grant.rule)
    if rule is None:
        return None
    if facts.corrects is None and facts.uses_territories and not rule.reaches(facts.territories):
        return Reason.TERRITORY
    return None if rule.least.met_by(facts.provenance) else Reason.ASSURANCE


def _partition(facts: DeclarationFacts, subscription: Subscription, grants: Sequence[Grant]) -> Permit:
    """Each field under the first grant that has it: law first, then the oldest (a grant id is a UUIDv7)."""
    shares: list[Share] = []
    taken: frozenset[str] = frozenset()
    for grant in sorted(grants, key=lambda grant: (not grant.by_law, grant.id)):
        left = _usable(grant, facts, subscription) - taken
        if left:
            ordered = tuple(name for name in facts.field_names if name in left)
            shares.append(Share(grant.id, grant.version, ordered, grant.basis))
            taken |= left
    return Permit(tuple(shares), tuple(name for name in facts.field_names if name in taken))
