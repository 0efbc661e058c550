"""Promises: what the country was promised, in the words of `docs/architecture.md`, without a table, a lock or a key.

Refuses: nothing; what does not hold is a `Broken`.
Keeps: it knows what was said, on which grounds, and what was opened. Of each opening it asks whether a ground allowed
it at that moment; at the end it asks of each ground that still stands whether what it allows arrived; and of each thing
that was taken back, whether whoever had it undid it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from broker.lab.simulation.cast import Office, Wish
from schemas.names import (
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    ManifestDigest,
    PartyId,
    RepresentationId,
    RuleId,
    uuid_text,
)

OTHERS: Final = frozenset({"household", "partner", "surviving_partner", "parents"})
"""Fields in which other people stand."""
LATE_MS: Final = 3_600_000
"""What a person says reaches back to a declaration of the last hour, where that was not routed yet; it need not."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that did not hold, and where."""

    promise: str
    where: str


class Standing(Enum):
    """Of what one person has said to one administration."""

    ACTIVE = "active"
    PAUSED = "paused"
    OVER = "over"


@dataclass(slots=True)
class Word:
    """One person's consent or choice, for one administration and one type, as the person thinks of it."""

    grant: GrantId
    person: int
    name: int
    office: PartyId
    event_type: EventType
    fields: set[str]
    since: Instant
    standing: Standing = Standing.ACTIVE
    once: DeclarationId | None = None
    by: RepresentationId | None = None
    """Who gave it in the person's stead, by the act that let them; None: the person, who had the last word."""
    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Guardian:
    """Who acts for an adult: which person, by which act, how a consent names it, as whom, and until when."""

    number: int
    of: RepresentationId
    given_by: str
    pivot: Mapping[str, Any]
    until: Instant | None


@dataclass(slots=True)
class Law:
    """A rule for everybody, and who objects to it: for each, whether they still do, and since when it counts again."""

    rule: RuleId
    office: PartyId
    event_type: EventType
    fields: frozenset[str]
    since: Instant
    objection: bool
    objects: set[tuple[int, int]] = field(default_factory=set)
    """(person, name): who objects, and under which of their names they said so."""
    again: dict[int, Instant] = field(default_factory=dict)


@dataclass(slots=True)
class Said:
    """One declaration: about whom, of what, where, when; and whether it was taken back or stopped since."""

    id: DeclarationId
    digest: ManifestDigest | None
    """How the ledger names it; None for a number that repairs another, of which the ledger is not asked."""
    person: int
    name: int
    event_type: EventType
    at: Instant
    places: frozenset[str]
    by_citizen: bool
    back: bool = False
    stopped: bool = False
    corrects: DeclarationId | None = None
    """The first declaration of its chain; None: this one is it."""

    @property
    def place(self) -> str:
        """How a report names it."""
        return f"{self.event_type.split('.')[-2]} {uuid_text(self.id)}"


@dataclass(slots=True)
class Shelter:
    """A person in danger: the places that hear nothing of them, who lived with them, and when it ends."""

    places: set[str]
    housemates: frozenset[tuple[int, int]]
    """(person, name)."""
    until: Instant | None = None

    def stands(self, at: Instant) -> bool:
        """Whether it counts at this instant."""
        return self.until is None or at < self.until


class Promises:
    """Everything that was promised, and everything that was seen."""

    def __init__(self, offices: Iterable[Office]) -> None:
        self.offices = tuple(offices)
        self.laws: list[Law] = []
        self.words: list[Word] = []
        self.said: dict[DeclarationId, Said] = {}
        self.opened: dict[tuple[PartyId, DeclarationId], set[str]] = {}
        self.undone: set[tuple[PartyId, DeclarationId]] = set()
        self.broken: list[Broken] = []
        self.links: dict[tuple[int, int], Instant] = {}
        """(person, name): from when on that name is known to be the one before's."""
        self.shelters: dict[int, Shelter] = {}
        self.guardians: dict[int, Guardian] = {}
        self._chains: dict[DeclarationId, list[Said]] = {}
        """The first declaration -> itself, and what corrects it."""
        self._mine: dict[tuple[int, PartyId, EventType], list[Word]] = {}

    # ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, said: Said) -> None:
        """Something is declared."""
        self.said[said.id] = said
        self._chains.setdefault(said.corrects or said.id, []).append(said)

    def give(self, word: Word) -> None:
        """A person says who may hear what."""
        self.words.append(word)
        self._mine.setdefault((word.person, word.office, word.event_type), []).append(word)

    def words_of(self, person: int, office: PartyId, event_type: EventType) -> list[Word]:
        """What one person has said to one administration about one type."""
        return self._mine.get((person, office, event_type), [])

    def living(self, person: int) -> list[Word]:
        """What of it stands."""
        return [one for one in self.words if one.person == person and one.standing is not Standing.OVER]

    def take_back(self, said: Said) -> None:
        """A declaration is taken back, and what corrects it with it."""
        for one in self._chains[said.id]:
            one.back = True

    def released(self, person: int) -> None:
        """Nobody acts for this person any more: what was allowed in their stead ends."""
        guardian = self.guardians.pop(person)
        for word in self.living(person):
            if word.by == guardian.of:
                word.standing = Standing.OVER

    def guardian(self, person: int, now: Instant) -> Guardian | None:
        """Who acts for a person at this instant."""
        found = self.guardians.get(person)
        return None if found is None or (found.until is not None and found.until <= now) else found

    def one(self, person: int, name: int, other: int, at: Instant) -> bool:
        """Whether two names of a person are known to be theirs at an instant."""
        low, high = sorted((name, other))
        return all(self.links.get((person, each), at + 1) <= at for each in range(low + 1, high + 1))

    def _confirmed(self, person: int, name: int, other: int) -> bool:
        """Whether two names are confirmed to be one person's, whether that acts already or not."""
        low, high = sorted((name, other))
        return all((person, each) in self.links for each in range(low + 1, high + 1))

    def shelter(self, person: int, place: str, housemates: Iterable[tuple[int, int]]) -> None:
        """A person is protected from a place, and in what these others declare."""
        before = self.shelters.get(person, Shelter(set(), frozenset()))
        self.shelters[person] = Shelter(before.places | {place}, before.housemates | set(housemates))

    def _hidden(self, office: Office, person: int) -> Shelter | None:
        own = self.shelters.get(person)
        return own if own is not None and office.commune in own.places else None

    def _of_housemate(self, said: Said) -> list[Shelter]:
        """The shelters of those who may be named in it."""
        return [
            one
            for one in self.shelters.values()
            if any(
                person == said.person and self._confirmed(person, name, said.name) for person, name in one.housemates
            )
        ]

    # ── what may be, and what must ──────────────────────────────────────────────────────────────────────────────────

    def allowed(self, office: Office, said: Said, now: Instant) -> set[str]:
        """The fields that a ground allows at this moment."""
        hidden = self._hidden(office, said.person)
        if hidden is not None and hidden.stands(now):
            return set()
        fields = self._grounded(office, said, now, said.at + LATE_MS, now)
        return fields - OTHERS if any(one.stands(now) for one in self._of_housemate(said)) else fields

    def owed(self, office: Office, said: Said, now: Instant) -> set[str]:
        """The fields that must have arrived: what was allowed when it was said, and still is."""
        hidden = self._hidden(office, said.person)
        if hidden is not None and (hidden.until is None or said.at <= hidden.until):
            return set()
        if said.corrects is not None and (office.party, said.corrects) not in self.opened:
            return set()  # a correction goes to whoever got the first declaration
        fields = self._grounded(office, said, now, said.at, said.at)
        return fields - OTHERS if self._of_housemate(said) else fields

    def _grounded(self, office: Office, said: Said, now: Instant, given_by: int, linked_by: Instant) -> set[str]:
        wish = office.wish(said.event_type)
        if wish is None or said.back or said.stopped or not _near(office, wish, said):
            return set()
        words = [
            word
            for word in self.words_of(said.person, office.party, said.event_type)
            if word.standing is Standing.ACTIVE
            and word.since <= given_by
            and (word.until is None or now < word.until)
            and word.once in (None, said.id)
            and self.one(said.person, word.name, said.name, linked_by)
        ]
        laws = [law for law in self.laws if self._holds(law, office, said, now, strict=linked_by != now)]
        return set().union(*(word.fields for word in words), *(law.fields for law in laws))

    def _holds(self, law: Law, office: Office, said: Said, now: Instant, *, strict: bool) -> bool:
        """Whether a rule lets it through. `strict`: whoever objects under any name is not owed it."""
        if (law.office, law.event_type) != (office.party, said.event_type) or law.since > said.at:
            return False
        names = [name for person, name in law.objects if person == said.person]
        objects = any(strict or self.one(said.person, name, said.name, now) for name in names)
        return not objects and law.again.get(said.person, 0) <= said.at

    def open(self, office: Office, said: Said, fields: set[str], now: Instant) -> None:
        """An administration has read these fields: did anything allow each of them, now?"""
        more = fields - self.allowed(office, said, now)
        if more:
            self.broken.append(Broken("opened without a ground", f"{office.party} {said.place}: {sorted(more)}"))
        self.opened.setdefault((office.party, said.id), set()).update(fields)

    def undo(self, office: Office, declaration: DeclarationId) -> None:
        """An administration was told that a declaration is taken back."""
        said = self.said.get(declaration)
        if said is None or not said.back:
            self.broken.append(Broken("undone, and never taken back", f"{office.party} {uuid_text(declaration)}"))
        elif not self._had(office, said):
            self.broken.append(Broken("told to undo what it never had", f"{office.party} {said.place}"))
        self.undone.add((office.party, declaration))

    def _had(self, office: Office, said: Said) -> bool:
        """Whether an administration has read it, or what corrects it."""
        return any((office.party, one.id) in self.opened for one in self._chains[said.id])

    def missing(self, now: Instant) -> Iterator[Broken]:
        """Once everything has been fetched: what a ground still allows and has not arrived; what is not undone."""
        for said in self.said.values():
            for office in self.offices:
                had = self.opened.get((office.party, said.id), set())
                some = said.corrects is None and self._had(office, said)
                less = self.owed(office, said, now) - had
                if less:
                    yield Broken("not told", f"{office.party} {said.place}: {sorted(less)}")
                hidden = self._hidden(office, said.person) is not None
                if said.back and some and not hidden and (office.party, said.id) not in self.undone:
                    yield Broken("not undone", f"{office.party} {said.place}")
                if said.stopped and had:
                    yield Broken("stopped, and opened", f"{office.party} {said.place}")


def _near(office: Office, wish: Wish, said: Said) -> bool:
    return not wish.local or office.commune in said.places
