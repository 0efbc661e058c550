"""Rules by law: an administration hears of everybody, because an article orders or allows it.

A consent and a mandate are one citizen's; a rule is nobody's in particular. Where it first concerns a citizen it
becomes that citizen's own grant (`grant_under`), with its own key and history, so that it is released, shown, ended and
proven as any other.

Refuses: a rule without article, for no fields, or that ends before it begins; a change that its status does not allow.
Keeps: what a rule allows is never more than what was approved: it can be narrowed (`narrow`), and nothing brings back
what was taken away. It acts from `acts_from` on, which lies `delay_ms` after its approval, so that nobody can open
everybody's declarations unseen.
Source: CRPA, articles L114-8 and R114-9-1 (to be confirmed by counsel); GDPR, articles 6(1)(c), 6(1)(e) and 21.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from typing import Final

from consent import purposes
from consent.basis import Basis, law
from consent.grant import Grant, Scope, Status
from schemas import areas
from schemas.assurance import ANY, Least
from schemas.errors import Refused
from schemas.names import (
    Capacity,
    Channel,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Purpose,
    RuleId,
    SchemaId,
    SubjectRef,
    uuid_text,
)

FOREVER: Final = Instant(2**53)
_TEXT: Final = b"unefois/rule-text/v1\x00"
_BOUNDED: Final = b"unefois/rule-text/v2\x00"
"""Of a rule with territories or a least of its own."""


class RuleStatus(Enum):
    """Asked for by an administration, approved by two operators, ended by one."""

    ASKED = "asked"
    APPROVED = "approved"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`recipient` receives these fields of every declaration of this type, for this purpose, by this article.

    It needs an approved subscription for the same type and purpose, whose territories and least bound it; its own bound
    it further. `objection`: whether a citizen may object to it. `acts_from` is set by the approval. Raises Refused
    `rules.*`, `grant.article`, `purposes.*`, with a pointer to the field.
    """

    id: RuleId
    recipient: PartyId
    event_type: EventType
    purpose: Purpose
    fields: frozenset[str]
    article: str
    objection: bool
    status: RuleStatus
    asked_at: Instant
    begins_at: Instant | None = None
    """The first instant that its text allows, if it names one."""
    ends_at: Instant | None = None
    """From this instant on its text allows nothing, if it names one."""
    approved_at: Instant | None = None
    acts_from: Instant | None = None
    ended_at: Instant | None = None
    territories: frozenset[str] | None = None
    """The areas that it hears of; None: those of its subscription."""
    least: Least = ANY
    """How sure a declaration has to be at least, beside what its subscription asks for."""
    narrowed_at: Instant | None = None
    """When it was narrowed last. Of two states of one rule the later one counts (`since`)."""

    def __post_init__(self) -> None:
        if not self.fields:
            raise Refused("rules.no-fields", "/fields")
        if self.territories is not None:
            check_territories(self.territories)
        known = purposes.CATALOGUE.get(self.purpose)  # of an added one, whoever asks for the rule has the entry
        if known is not None:
            check_purpose(known)
        law(self.article)
        if self.ends_at is not None and self.ends_at <= max(self.asked_at, self.begins_at or 0):
            raise Refused("rules.ends-before-it-begins", "/ends_at")

    @property
    def basis(self) -> Basis:
        """What a grant under it rests on."""
        return law(self.article)

    def acts(self, at: Instant) -> bool:
        """Whether it allows anything at this instant."""
        began = self.status is RuleStatus.APPROVED and self.acts_from is not None and self.acts_from <= at
        return began and (self.ends_at is None or at < self.ends_at)

    @property
    def since(self) -> int:
        """Which state of the rule this is, as the journal of endings counts them; 0: as it was approved."""
        return self.narrowed_at or 0

    @property
    def bounded(self) -> bool:
        """Whether it has territories or a least of its own."""
        return self.territories is not None or self.least != ANY

    def reaches(self, places: Iterable[str]) -> bool:
        """Whether it hears of a declaration that names these places, as far as its own territories go."""
        return self.territories is None or not self.territories.isdisjoint(areas.heard_by(places))

    def approve(self, at: Instant, delay_ms: int) -> "Rule":
        """It acts `delay_ms` from now, or from the instant that its text names, where that is later.

        Raises Refused `rules.not-asked`, `rules.ends-before-it-begins`.
        """
        if self.status is not RuleStatus.ASKED:
            raise Refused("rules.not-asked", "/status", status=self.status.value)
        acts_from = Instant(max(at + delay_ms, self.begins_at or 0))
        if self.ends_at is not None and self.ends_at <= acts_from:
            raise Refused("rules.ends-before-it-begins", "/ends_at")
        return replace(self, status=RuleStatus.APPROVED, approved_at=at, acts_from=acts_from)

    def end(self, at: Instant) -> "Rule":
        """It allows nothing more. Raises Refused `rules.ended`."""
        if self.status is RuleStatus.ENDED:
            raise Refused("rules.ended", "/status")
        return replace(self, status=RuleStatus.ENDED, ended_at=at)

    def narrow(
        self,
        at: Instant,
        *,
        fields: frozenset[str] | None = None,
        territories: frozenset[str] | None = None,
        ends_at: Instant | None = None,
    ) -> "Rule":
        """Fewer fields, a smaller territory, an earlier end; None leaves each as it is.

        Raises Refused: `rules.not-approved`, `rules.no-fields` (end it instead), `rules.wider`, `rules.not-narrower`,
        `rules.ends-before-it-begins` (end it instead).
        """
        if self.status is not RuleStatus.APPROVED:
            raise Refused("rules.not-approved", "/status", status=self.status.value)
        if fields is not None and fields - self.fields:
            raise Refused("rules.wider", "/fields")
        if territories is not None and not _within(territories, self.territories):
            raise Refused("rules.wider", "/territories")
        if ends_at is not None and ends_at > _ends(self):
            raise Refused("rules.wider", "/ends_at")
        less = replace(
            self,
            fields=self.fields if fields is None else fields,
            territories=self.territories if territories is None else territories,
            ends_at=self.ends_at if ends_at is None else ends_at,
        )
        if less == self:
            raise Refused("rules.not-narrower", "/fields")
        if less.ends_at is not None and less.ends_at <= max(at, self.acts_from or at):
            raise Refused("rules.ends-before-it-begins", "/ends_at")
        return replace(less, narrowed_at=Instant(max(at, self.since + 1)))


def check_purpose(purpose: purposes.PurposeEntry) -> None:
    """Whether a rule can be for this purpose. Raises Refused `purposes.basis`."""
    if not purpose.allows_law:
        raise Refused("purposes.basis", "/purpose", purpose=purpose.id, basis="law")


def check_territories(territories: frozenset[str]) -> None:
    """Raises Refused `rules.territories`: none, or what is no code of an area."""
    if not territories or not all(areas.CODE.fullmatch(code) for code in territories):
        raise Refused("rules.territories", "/territories")


def _within(territories: frozenset[str], before: frozenset[str] | None) -> bool:
    """None before: the subscription's, which bound it all the same."""
    return before is None or all(areas.within(code, before) for code in territories)


def overlaps(rule: Rule, others: Iterable[Rule]) -> bool:
    """Whether one of the others, not ended, is for the same recipient, type and purpose, with a field and a moment in
    common: then one field would have two grounds.
    """
    return any(
        other.id != rule.id
        and other.status is not RuleStatus.ENDED
        and (other.recipient, other.event_type, other.purpose) == (rule.recipient, rule.event_type, rule.purpose)
        and other.fields & rule.fields
        and _begins(other) < _ends(rule)
        and _begins(rule) < _ends(other)
        for other in others
    )


def _begins(rule: Rule) -> Instant:
    return rule.acts_from or rule.begins_at or rule.asked_at


def _ends(rule: Rule) -> Instant:
    return rule.ends_at or FOREVER


def text_hash(rule: Rule) -> bytes:
    """SHA-256 of what the rule says, 32 bytes: a grant under it records this in place of a text that was shown."""
    said = [rule.recipient, rule.event_type, rule.purpose, ",".join(sorted(rule.fields)), rule.article]
    if rule.bounded:
        said += [",".join(sorted(rule.territories or ())), rule.least.assurance.value, rule.least.quality.value]
    return sha256((_BOUNDED if rule.bounded else _TEXT) + "\n".join(said).encode()).digest()


def grant_under(
    rule: Rule, subject: SubjectRef, *, schema: SchemaId, grant_id: GrantId, at: Instant, since: Instant | None = None
) -> Grant:
    """One citizen's own grant under a rule that acts at `at`.

    It counts from the rule's beginning, or from `since`, where the citizen has withdrawn an objection then: what was
    routed before stays as it was decided.
    """
    begins = Instant(max(rule.acts_from or at, since or 0))
    return Grant(
        id=grant_id,
        version=1,
        subject=subject,
        recipient=rule.recipient,
        event_type=rule.event_type,
        schema=schema,
        fields=rule.fields,
        purpose=rule.purpose,
        basis=rule.basis,
        granted_at=begins,
        starts_at=begins,
        expires_at=rule.ends_at,
        scope=Scope.STANDING,
        once_for=None,
        status=Status.ACTIVE,
        given_by=f"rule:{uuid_text(rule.id)}",
        capacity=Capacity.SELF,
        channel=Channel.SYSTEM,
        language="fr",
        text_hash=text_hash(rule),
        changed_at=Instant(max(at, begins)),
        rule=rule.id,
    )


def missing(rules: Iterable[Rule], grants: Collection[Grant]) -> list[Rule]:
    """Those of these rules under which one citizen, whose grants these are, has none that lives."""
    held = {grant.rule for grant in grants if not grant.status.over}
    return [rule for rule in rules if rule.id not in held]


def as_ruled(rules: Iterable[Rule], grants: Iterable[Grant]) -> list[Grant]:
    """The grants as they count beside these rules, which are approved and have not ended: one under any other is
    withdrawn, and one under a rule that was narrowed has what the rule has, whether or not its row says so yet.
    """
    standing = {rule.id: rule for rule in rules}
    return [
        grant if grant.rule is None or grant.status.over else _under(standing.get(grant.rule), grant)
        for grant in grants
    ]


def _under(rule: Rule | None, grant: Grant) -> Grant:
    kept = grant.fields if rule is None else grant.fields & rule.fields
    if rule is None or not kept:
        return replace(grant, status=Status.REVOKED)
    ends = min((one for one in (grant.expires_at, rule.ends_at) if one is not None), default=None)
    if ends is not None and ends <= grant.starts_at:
        return replace(grant, status=Status.EXPIRED)
    return grant if (kept, ends) == (grant.fields, grant.expires_at) else replace(grant, fields=kept, expires_at=ends)
