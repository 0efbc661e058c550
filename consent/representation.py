"""Representation: one person acts for another, on the ground of an act, for some matters, from one day to another.

    Acting ──the record that stands for it──► who acted, for whom, on which ground

Refuses: somebody who represents themselves; a proof that is no reference; a representation of nothing; one that ends
before it begins; parental authority over somebody of age.
Keeps: what a record allows never changes, but that it ends. Ended, not yet begun or out of its scope, it allows
nothing: no declaration, and no consent. Parental authority ends at the 18th birthday, whether or not anybody says so.
Source: Code civil, articles 371-1, 372-2, 388, 414, 425 to 494, 1984 (to be confirmed by counsel).
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import Enum
from types import MappingProxyType
from typing import Final

from schemas.errors import Refused
from schemas.names import Capacity, EventType, Instant, Purpose, RepresentationId, SubjectRef, uuid_text

_PROOF: Final = re.compile(r"[0-9A-Za-zÀ-ÿ][0-9A-Za-zÀ-ÿ '’./:,_°-]{2,119}")
OF_AGE_YEARS: Final = 18
_GIVEN_BY: Final = "representation:"


class Measure(Enum):
    """On which ground one person acts for another; the words are those of `representation.started`."""

    GUARDIANSHIP = "guardianship"
    CURATORSHIP = "curatorship"
    JUDICIAL_SAFEGUARD = "judicial_safeguard"
    FAMILY_AUTHORISATION = "family_authorisation"
    FUTURE_PROTECTION_MANDATE = "future_protection_mandate"
    PARENTAL_AUTHORITY = "parental_authority"
    ASSISTANCE_MANDATE = "assistance_mandate"
    POWER_OF_ATTORNEY = "power_of_attorney"

    @property
    def capacity(self) -> Capacity:
        """In which capacity the representative declares."""
        return _CAPACITIES.get(self, Capacity.GUARDIAN)


_CAPACITIES: Final = MappingProxyType(
    {
        Measure.PARENTAL_AUTHORITY: Capacity.PARENT,
        Measure.ASSISTANCE_MANDATE: Capacity.AGENT,
        Measure.POWER_OF_ATTORNEY: Capacity.AGENT,
    }
)
RECORDED: Final = frozenset({Capacity.PARENT, Capacity.GUARDIAN})
"""Who gives a consent in one of these capacities needs a record of it."""


class Known(Enum):
    """How it is known that somebody may act for another."""

    RECORD = "record"
    """A representation that the broker has a record of."""
    SOURCE = "source"
    """The source says that it has looked itself (the setting `capacity_sources`)."""
    RELATIVE = "relative"
    """A relative who declares a birth or a death, whom the law asks for no act (Code civil, articles 56 and 78)."""


@dataclass(frozen=True, slots=True)
class Acting:
    """Who speaks for the person that a declaration is about, and as what. `until`: when that person comes of age."""

    representative: SubjectRef
    capacity: Capacity
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """`representative` may act for `subject`, in declarations of these types and consents for these purposes; None: of
    all. `proof` names the act, judgment or mandate where it is kept; `given_by`: the source that says so, or the
    broker.

    Raises Refused `representations.*` with a pointer to the member.
    """

    id: RepresentationId
    representative: SubjectRef
    subject: SubjectRef
    measure: Measure
    proof: str
    event_types: frozenset[EventType] | None
    purposes: frozenset[Purpose] | None
    begins_at: Instant
    ends_at: Instant | None
    given_by: str
    recorded_at: Instant
    ended_at: Instant | None = None

    def __post_init__(self) -> None:
        if self.representative == self.subject:
            raise Refused("representations.oneself", "/representative")
        if not _PROOF.fullmatch(self.proof):
            raise Refused("representations.proof", "/proof")
        for pointer, named in (("/event_types", self.event_types), ("/purposes", self.purposes)):
            if named is not None and not named:
                raise Refused("representations.no-scope", pointer)
        if self.ends_at is not None and self.ends_at <= self.begins_at:
            raise Refused("representations.ends-before-it-begins", "/ends_at")

    def check(self, event_type: EventType, at: Instant, purpose: Purpose | None = None) -> None:
        """Whether it allows this at this instant; without `purpose`: a declaration, with it: a consent.

        Raises Refused `representations.ended`, `.not-yet`, `.out-of-scope`.
        """
        if self.over(at):
            raise Refused("representations.ended")
        if at < self.begins_at:
            raise Refused("representations.not-yet")
        if self.event_types is not None and event_type not in self.event_types:
            raise Refused("representations.out-of-scope", event_type=event_type)
        if purpose is not None and self.purposes is not None and purpose not in self.purposes:
            raise Refused("representations.out-of-scope", event_type=event_type)

    def over(self, at: Instant) -> bool:
        """Whether it has ended, by its term or before."""
        return self.ended_at is not None or (self.ends_at is not None and self.ends_at <= at)

    def end(self, at: Instant) -> "Representation":
        """It allows nothing more. Raises Refused `representations.ended`."""
        if self.ended_at is not None:
            raise Refused("representations.ended", "/id")
        return replace(self, ended_at=at)

    @property
    def voice(self) -> str:
        """The `given_by` of a consent that rests on it."""
        return f"{_GIVEN_BY}{uuid_text(self.id)}"


def of_voice(given_by: str) -> RepresentationId | None:
    """The representation that a consent says it rests on, if it does. Raises Refused `name.representation-id`."""
    if not given_by.startswith(_GIVEN_BY):
        return None
    return RepresentationId.parse(given_by.removeprefix(_GIVEN_BY))


def of_age_at(birthdate: str) -> Instant:
    """The beginning (UTC) of the 18th birthday; of a date that is known in part only, of the earliest that it can be.

    `birthdate`: `1962`, `1962-08` or `1962-08-24`, and zeros for what is not known. Born on 29 February, one is of age
    on 1 March. Raises Refused `identity.birthdate`.
    """
    parts = [int(part) for part in birthdate.split("-") if part.isdigit()]
    if not parts or len(parts) != len(birthdate.split("-")):
        raise Refused("identity.birthdate", "/birthdate")
    year, month, day = (*parts, 0, 0)[:3]
    try:
        born = date(year, month or 1, day or 1)
        eighteen = born.replace(year=year + OF_AGE_YEARS, day=1, month=3) if (born.month, born.day) == (2, 29) else None
        eighteen = eighteen or born.replace(year=year + OF_AGE_YEARS)
        at = datetime(eighteen.year, eighteen.month, eighteen.day, tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        raise Refused("identity.birthdate", "/birthdate") from None
    return Instant(max(0, int(at * 1000)))
