"""Grants: who may receive which fields of which event type, for what, until when, and by whose word.

A consent or a choice of a citizen and a mandate by law are the same record; `basis` tells them apart, and only the
citizen's own can be paused, narrowed or revoked by the citizen.

Refuses: a grant for "all" fields, for none, on a basis that its purpose does not allow; a transition that the record
does not allow. Whether there is such a purpose is asked of the catalogue by whoever gives it.
Keeps: a change is a new version, one higher, never earlier than the one before, never wider; subject, recipient, event
type, purpose, basis and rule never change; what is revoked or expired never comes back. A grant under a rule by law
(`consent.rules`) ends or is narrowed with its rule, or ends by its citizen's objection, and otherwise not.
Source: docs/protocol.md, section 9; GDPR articles 6 and 7.
"""

import re
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import lru_cache
from typing import Any, get_args

from consent import purposes
from consent.basis import ENDLESS_SINCE, Basis, BasisKind, longest_end
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Purpose,
    RuleId,
    SchemaId,
    SubjectRef,
)
from schemas.retractions import RETRACTIONS

MAX_VERSION = 2**31 - 1
"""The protocol carries a grant's version as an Avro int."""
MAX_FIELDS = 256

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
GIVEN_BY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")
_LANGUAGES = frozenset(get_args(Language))
_EVERYTHING = frozenset({"all", "any"})
_CHANGING = frozenset({"version", "fields", "once_for", "status", "changed_at"})


class Status(Enum):
    """A grant's state; the last two are final."""

    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"
    EXPIRED = "expired"

    @property
    def over(self) -> bool:
        """Whether nothing follows: the consent key is destroyed."""
        return self in (Status.REVOKED, Status.EXPIRED)


class Scope(Enum):
    """For every declaration while it lasts, or for one."""

    STANDING = "standing"
    ONCE = "once"


@dataclass(frozen=True, slots=True)
class Voice:
    """Who spoke, when a version of a grant was made.

    `given_by` is opaque: `self`, or an agent's id, never a name; `text_hash` is the SHA-256 (32 bytes) of the text that
    was shown, in `language`.
    """

    given_by: str
    capacity: Capacity
    channel: Channel
    language: Language
    text_hash: bytes


def check_basis(purpose: purposes.PurposeEntry, kind: BasisKind) -> None:
    """Whether a grant for this purpose can rest on this. Raises Refused `purposes.basis`."""
    match kind:
        case BasisKind.CONSENT:
            allowed = purpose.allows_consent
        case BasisKind.CHOICE:
            allowed = purpose.allows_choice
        case BasisKind.LAW:
            allowed = purpose.allows_law
    if not allowed:
        raise Refused("purposes.basis", "/basis", purpose=purpose.id, basis=kind.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One version of one grant, which can stand while `starts_at <= at < until`.

    Raises Refused `grant.*` or `purposes.*`, with a pointer to the field.
    """

    id: GrantId
    version: int
    subject: SubjectRef
    recipient: PartyId
    event_type: EventType
    schema: SchemaId
    fields: frozenset[str]
    purpose: Purpose
    basis: Basis
    granted_at: Instant
    starts_at: Instant
    expires_at: Instant | None
    scope: Scope
    once_for: DeclarationId | None
    status: Status
    given_by: str
    capacity: Capacity
    channel: Channel
    language: Language
    text_hash: bytes
    changed_at: Instant
    rule: RuleId | None = None
    """The rule for everybody under which this is one citizen's own; None where it is this one citizen's alone."""

    def __post_init__(self) -> None:
        _check_fields(self.fields)
        _check_times(self)
        _check_words(self)
        if not 1 <= self.version <= MAX_VERSION:
            raise Refused("grant.version", "/version", version=self.version)
        if self.once_for is not None and self.scope is not Scope.ONCE:
            raise Refused("grant.once-for", "/once_for")
        if self.by_law and self.status is Status.PAUSED:
            raise Refused("grant.mandate", "/status")
        if self.rule is not None and not (self.by_law and self.scope is Scope.STANDING):
            raise Refused("grant.rule", "/rule")
        known = purposes.CATALOGUE.get(self.purpose)  # of an added one, whoever gives it has the entry
        if known is not None:
            check_basis(known, self.basis.kind)

    @property
    def by_law(self) -> bool:
        """Whether this is a mandate by law rather than a citizen's consent."""
        return self.basis.kind is BasisKind.LAW

    @property
    def unbound(self) -> bool:
        """Whether it is for one declaration and none has used it yet."""
        return self.scope is Scope.ONCE and self.once_for is None

    @property
    def until(self) -> Instant | None:
        """From this instant on it does not stand; None: it has no end."""
        if self.expires_at is None and self.basis.kind is BasisKind.CONSENT:
            return longest_end(max(self.starts_at, ENDLESS_SINCE))
        return self.expires_at

    def pause(self, at: Instant, by: Voice | None = None) -> "Grant":
        """Nothing flows until `resume`; the key stays.

        Raises Refused `grant.mandate`, `grant.over`, `grant.not-active`.
        """
        self._check_citizen_may_change()
        if self.status is not Status.ACTIVE:
            raise Refused("grant.not-active", "/status")
        return self._next(at, by, status=Status.PAUSED)

    def resume(self, at: Instant, by: Voice | None = None) -> "Grant":
        """Ends a pause. Raises Refused `grant.mandate`, `grant.over`, `grant.not-paused`."""
        self._check_citizen_may_change()
        if self.status is not Status.PAUSED:
            raise Refused("grant.not-paused", "/status")
        return self._next(at, by, status=Status.ACTIVE)

    def narrow(self, fields: frozenset[str], at: Instant, by: Voice | None = None) -> "Grant":
        """Keeps only `fields`, a part of what was granted. Paused stays paused.

        Raises Refused `grant.mandate`, `grant.over`, `grant.no-fields` (revoke instead), `grant.wider` (give a new
        consent instead), `grant.not-narrower`.
        """
        self._check_citizen_may_change()
        return self._narrowed(fields, at, by)

    def revoke(self, at: Instant, by: Voice | None = None) -> "Grant":
        """Ends a consent for good, paused or not. Raises Refused `grant.mandate`, `grant.over`."""
        self._check_citizen_may_change()
        return self._next(at, by, status=Status.REVOKED)

    def end_mandate(self, at: Instant, by: Voice | None = None) -> "Grant":
        """Ends a mandate by law, on an operator's word: the text was repealed or no longer concerns this person.

        Raises Refused `grant.not-a-mandate` (a consent is the citizen's to revoke), `grant.of-a-notice` (its recipient
        would not hear that what it has was taken back), `grant.by-rule` (it would begin again with the next
        declaration: end the rule, or record the citizen's objection), `grant.over`.
        """
        if not self.by_law:
            raise Refused("grant.not-a-mandate", "/basis")
        if self.event_type in RETRACTIONS:
            raise Refused("grant.of-a-notice", "/event_type")
        if self.rule is not None:
            raise Refused("grant.by-rule", "/rule")
        self._check_not_over()
        return self._next(at, by, status=Status.REVOKED)

    def leave_rule(self, at: Instant, by: Voice | None = None) -> "Grant":
        """Ends it because its rule has ended, or because its citizen objects. Raises Refused `grant.no-rule`,
        `grant.over`.
        """
        if self.rule is None:
            raise Refused("grant.no-rule", "/rule")
        self._check_not_over()
        return self._next(at, by, status=Status.REVOKED)

    def narrow_under_rule(self, fields: frozenset[str], at: Instant) -> "Grant":
        """Keeps only `fields`, because its rule was narrowed. Raises Refused `grant.no-rule`, `grant.over`,
        `grant.no-fields`, `grant.wider`, `grant.not-narrower`.
        """
        if self.rule is None:
            raise Refused("grant.no-rule", "/rule")
        self._check_not_over()
        return self._narrowed(fields, at, None)

    def expire(self, at: Instant) -> "Grant":
        """Records that the end date has come. Nobody speaks, so the version keeps the last voice.

        Raises Refused `grant.over`, `grant.not-due`.
        """
        self._check_not_over()
        if self.until is None or at < self.until:
            raise Refused("grant.not-due", "/expires_at")
        return self._next(at, None, status=Status.EXPIRED)

    def bind_once(self, declaration: DeclarationId, at: Instant) -> "Grant":
        """Spends a one-time grant on the first declaration planned under it; the delivery names the version returned.

        Raises Refused `grant.over`, `grant.not-active`, `grant.not-once`, `grant.once-spent`.
        """
        self._check_not_over()
        if self.status is not Status.ACTIVE:
            raise Refused("grant.not-active", "/status")
        if self.scope is not Scope.ONCE:
            raise Refused("grant.not-once", "/scope")
        if self.once_for is not None:
            raise Refused("grant.once-spent", "/once_for")
        return self._next(at, None, once_for=declaration)

    def check_names(self, schema: SchemaId, names: frozenset[str]) -> None:
        """That this is a grant on that schema and names only fields it has, so that it cannot wait for a future one.

        Raises Refused `grant.schema`, `grant.unknown-field`.
        """
        if schema != self.schema:
            raise Refused("grant.schema", "/schema")
        for name in sorted(self.fields - names):
            raise Refused("grant.unknown-field", f"/fields/{name}", field=name)

    def _narrowed(self, fields: frozenset[str], at: Instant, by: Voice | None) -> "Grant":
        if fields - self.fields:
            raise Refused("grant.wider", "/fields", added=len(fields - self.fields))
        if fields == self.fields:
            raise Refused("grant.not-narrower", "/fields")
        return self._next(at, by, fields=fields)

    def _check_citizen_may_change(self) -> None:
        if self.by_law:
            raise Refused("grant.mandate", "/basis")
        self._check_not_over()

    def _check_not_over(self) -> None:
        if self.status.over:
            raise Refused("grant.over", "/status", status=self.status.value)

    def _next(self, at: Instant, by: Voice | None, **changes: Any) -> "Grant":
        # A clock set back must never keep a citizen from revoking: the history's time stands still instead.
        changes |= {"version": self.version + 1, "changed_at": max(at, self.changed_at)}
        if by is not None:
            changes |= {field.name: getattr(by, field.name) for field in fields(Voice)}
        return replace(self, **changes)


def follows(old: Grant, new: Grant) -> bool:
    """Whether `new` can be the version after `old`: the registry asks before it writes, fsck of a whole history."""
    return (
        new.version == old.version + 1
        and not old.status.over
        and all(getattr(old, name) == getattr(new, name) for name in _fixed())
        and new.fields <= old.fields
        and new.changed_at >= old.changed_at
        and old.once_for in (None, new.once_for)
    )


def _fixed() -> frozenset[str]:
    """What no version may change: all but what a transition sets, and who spoke."""
    spoken = {field.name for field in fields(Voice)}
    return frozenset(field.name for field in fields(Grant)) - _CHANGING - spoken


@lru_cache(4096)
def _check_fields(fields: frozenset[str]) -> None:
    """Raised is said each time; what passed once need not pass again."""
    if not fields:
        raise Refused("grant.no-fields", "/fields")
    if len(fields) > MAX_FIELDS:
        raise Refused("grant.too-many-fields", "/fields", limit=MAX_FIELDS)
    if not all(_FIELD_NAME.fullmatch(name) for name in fields) or fields & _EVERYTHING:
        raise Refused("grant.field-name", "/fields")


def _check_times(grant: Grant) -> None:
    if grant.expires_at is not None and grant.expires_at <= grant.starts_at:
        raise Refused("grant.ends-before-it-starts", "/expires_at")
    if grant.changed_at < grant.granted_at:
        raise Refused("grant.changed-before-granted", "/changed_at")


def _check_words(grant: Grant) -> None:
    if not GIVEN_BY.fullmatch(grant.given_by):
        raise Refused("grant.given-by", "/given_by")
    if grant.language not in _LANGUAGES:
        raise Refused("grant.language", "/language")
    if len(grant.text_hash) != 32:
        raise Refused("grant.text-hash", "/text_hash", length=len(grant.text_hash))
