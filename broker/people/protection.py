"""Protection: who is in danger, from whom, until when, as the journal of endings tells it and nothing else does.

    the journal ──► Protection ──► hides(subscription)     asked by router, planner, gate and sender, in memory
                └─► housemates ──► veiled(subject)         whose declarations lose the fields that name other people

Refuses: nothing; `broker.consents.protecting` writes.
Keeps: no table, no entry of the ledger, no metric and no line of the log says who is protected. For whoever somebody is
protected from, that person is one who has allowed nothing: the same answer, the same rows, the same questions. Nobody
who writes rows, or puts an old database back, takes a protection away.
Source: docs/adr/0053-protected-persons-are-in-no-table.md.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final

from broker.ended import Ended, Ending
from consent.policy import Subscription
from schemas import areas
from schemas.avro_types import Type
from schemas.catalogue import EventSchema
from schemas.names import Instant, PartyId, SubjectRef, instant_of

TABLE: Final = "protections"
"""In the journal alone: no table has this name."""
HOUSEMATES: Final = "housemates"
"""In the journal alone, too: of each person with whom protected ones have lived, who these are."""
LIFT_MS: Final = 72 * 3_600_000
"""How long a protection goes on after it was asked to be lifted: whoever holds the person's telephone lifts nothing
today, and the person and the DPO hear of it meanwhile.
"""

_IDENTITY: Final = "fr.unefois.Identity"
_OWN: Final = frozenset({"subject", "declarant"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """One person's. `whose`: with whose word it came; a child's is its parent's.

    `places`: codes of areas that hear nothing, and where a recipient lies that hears nothing; `parties`: who else hears
    nothing. `reason`: one word; `notice`: the reference of the prosecutor's, or empty where the person has asked.
    `until`: when it ends by itself, or None. `lifts_at`: when it ends because that was asked for. `by`: the accounts of
    those who wrote it down and agreed to it: here, for the ledger's list of acts would say whom it is about.
    """

    subject: SubjectRef
    whose: SubjectRef
    since: Instant
    until: Instant | None
    places: frozenset[str]
    parties: frozenset[PartyId]
    reason: str
    notice: str
    given_by: str
    lifts_at: Instant | None = None
    by: tuple[str, ...] = ()

    def stands(self, at: Instant) -> bool:
        """Whether it counts at this instant."""
        return all(end is None or at < end for end in (self.until, self.lifts_at))

    def ending(self, at: Instant) -> Ending:
        """The record of it."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        told |= {"places": sorted(self.places), "parties": sorted(self.parties), "by": list(self.by)}
        return Ending.of(TABLE, self.subject, at=at, actor=self.given_by, **told)

    def with_(self, other: "Protection") -> "Protection":
        """Both together: it grows and is never cut short, by whoever asks for it again."""
        ends = (self.until, other.until)
        until = None if None in ends else max(end for end in ends if end is not None)
        return replace(
            other,
            whose=self.whose if self.whose == self.subject else other.whose,
            since=self.since,
            until=until,
            places=self.places | other.places,
            parties=self.parties | other.parties,
            notice=other.notice or self.notice,
        )

    def away(self, code: str) -> bool:
        """Whether this area lies where nobody may hear."""
        return not self.places.isdisjoint(areas.holding(code))

    def remaining(self, territories: Iterable[str]) -> tuple[str, ...]:
        """Those of a declaration's territories that may still be heard of."""
        return tuple(code for code in territories if not self.away(code))

    def hides_from(self, recipient: PartyId, hears: Collection[str]) -> bool:
        """Whether this recipient hears nothing. `hears`: every area that it has ever asked for; one that asks for no
        area lies nowhere.
        """
        return recipient in self.parties or (bool(hears) and all(self.away(code) for code in hears))

    def hides(
        self, subscription: Subscription, hears: Collection[str], territories: Sequence[str], *, by_place: bool
    ) -> bool:
        """Whether a declaration is not for this subscription: its recipient hears nothing, or would hear of it by a
        place that is kept from everybody. `by_place`: whether the type names places.
        """
        if self.hides_from(subscription.recipient, hears):
            return True
        if not by_place or subscription.territories is None:
            return False
        return subscription.territories.isdisjoint(areas.heard_by(self.remaining(territories)))


def told(ended: Ended, subject: SubjectRef) -> Protection | None:
    """The journal's last word on one person, over or not."""
    found = ended.newest(TABLE, subject)
    return None if found is None else of_ending(found)


def standing(ended: Ended, subject: SubjectRef, at: Instant) -> Protection | None:
    """What protects this person at this instant."""
    found = told(ended, subject)
    return found if found is not None and found.stands(at) else None


def every(ended: Ended) -> list[Protection]:
    """All of them, over or not. For the DPO, and for nothing that runs by itself."""
    return [of_ending(one) for one in ended.of(TABLE)]


def of_ending(ending: Ending) -> Protection:
    """What a record of the journal tells."""
    said = ending.told
    return Protection(
        subject=SubjectRef.parse(said["subject"]),
        whose=SubjectRef.parse(said["whose"]),
        since=Instant(said["since"]),
        until=instant_of(said["until"]),
        places=frozenset(said["places"]),
        parties=frozenset(PartyId(party) for party in said["parties"]),
        reason=said["reason"],
        notice=said["notice"],
        given_by=said["given_by"],
        lifts_at=instant_of(said["lifts_at"]),
        by=tuple(said["by"]),
    )


# ── who has lived with a protected person ───────────────────────────────────────────────────────────────────────────


def protected_with(ended: Ended, subject: SubjectRef) -> frozenset[SubjectRef]:
    """The persons who said that this one may name them in a declaration."""
    found = ended.newest(HOUSEMATES, subject)
    return frozenset() if found is None else frozenset(map(SubjectRef.parse, found.told["of"]))


def housemate(subject: SubjectRef, of: Iterable[SubjectRef], at: Instant, given_by: str) -> Ending:
    """The record of it."""
    named: Any = sorted(one.hex() for one in of)
    return Ending.of(HOUSEMATES, subject, at=at, actor=given_by, of=named)


def veiled(ended: Ended, subject: SubjectRef, at: Instant, event: EventSchema) -> frozenset[str]:
    """The fields of a declaration about this person that go to nobody: those that name others, while one of the others
    is protected.
    """
    if not any(standing(ended, one, at) is not None for one in protected_with(ended, subject)):
        return frozenset()
    return naming_others(event)


@lru_cache(maxsize=256)
def naming_others(event: EventSchema) -> frozenset[str]:
    """The fields of a type in which a person stands who neither is its subject nor declares it."""
    return frozenset(one.name for one in event.schema.fields if one.name not in _OWN and _names(one.type))


def _names(told: Type) -> bool:
    return told.name == _IDENTITY or any(_names(part) for part in told.children())
