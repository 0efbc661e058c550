"""Life: what happens on a day: who moves, is born, marries, dies; who changes their mind, and who was mistaken.

Refuses: nothing; the same chance makes the same days.
Keeps: what follows from something else waits in an agenda: nobody takes back what was never said.
Source: orders of magnitude of INSEE's yearly figures; nothing here is a statistic.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from math import exp
from random import Random
from typing import Any, Final

from broker.directory.kin import Link
from broker.lab.simulation.country import Country, Person
from broker.lab.simulation.promises import Guardian, Law, Promises, Said, Word
from schemas.names import DeclarationId, PartyId


class Kind(Enum):
    """What can happen."""

    MOVE = "move"
    BIRTH = "birth"
    DEATH = "death"
    UNION = "union"
    PARTING = "parting"
    ACCOUNT = "account"
    CONTACT = "contact"
    NAME = "name"
    REVOKE = "revoke"
    PAUSE = "pause"
    RESUME = "resume"
    NARROW = "narrow"
    OBJECT = "object"
    UNOBJECT = "unobject"
    CANCEL = "cancel"
    RECALL = "recall"
    STOP = "stop"
    REPAIR = "repair"
    CONFIRM = "confirm"
    LINK = "link"
    FLEE = "flee"
    LIFT = "lift"
    CORRECT = "correct"
    AGAIN = "again"
    WARD = "ward"
    RELEASE = "release"


YEARLY: Final = {
    Kind.MOVE: 0.09,
    Kind.BIRTH: 0.010,
    Kind.DEATH: 0.0095,
    Kind.UNION: 0.007,
    Kind.PARTING: 0.004,
    Kind.ACCOUNT: 0.05,
    Kind.CONTACT: 0.10,
    Kind.NAME: 0.002,
    Kind.REVOKE: 0.02,
    Kind.PAUSE: 0.01,
    Kind.NARROW: 0.01,
    Kind.OBJECT: 0.01,
    Kind.FLEE: 0.003,
    Kind.WARD: 0.004,
}
"""How often in a year, for each inhabitant."""

FOLLOWS: Final = {
    Kind.CANCEL: (0.03, 0, 20),
    Kind.RECALL: (0.015, 0, 15),
    Kind.STOP: (0.05, 0, 2),
    Kind.RESUME: (0.8, 3, 60),
    Kind.UNOBJECT: (0.3, 10, 90),
    Kind.REPAIR: (0.7, 1, 6),
    Kind.CONFIRM: (0.9, 0, 10),
    Kind.LINK: (0.9, 1, 20),
    Kind.LIFT: (0.2, 10, 90),
    Kind.CORRECT: (0.04, 0, 15),
    Kind.AGAIN: (0.05, 0, 4),
    Kind.RELEASE: (0.4, 5, 120),
}
"""What may follow from something else: how often, and from how many days later to how many."""


@dataclass(frozen=True, slots=True)
class Place:
    """An adult's place in the form of a household: what they would declare, and the code that they got."""

    household: DeclarationId
    code: str
    record: Mapping[str, Any]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A declaration in which something was wrong, as it was handed in."""

    said: Said
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens to one person, or that they do; `about` is what it takes up."""

    kind: Kind
    person: Person
    about: Said | Word | Law | Person | Place | Mistake | Guardian | Link | None = None
    to: PartyId | None = None


class Life:
    """The days of one country."""

    def __init__(self, chance: Random, country: Country, promises: Promises, pace: float) -> None:
        self._pace = pace
        self._chance = chance
        self._country = country
        self._promises = promises
        self._agenda: dict[int, list[Happening]] = {}
        self._find: dict[Kind, Callable[[date], Happening | None]] = {
            Kind.BIRTH: self._birth,
            Kind.DEATH: self._death,
            Kind.UNION: self._union,
            Kind.PARTING: self._parting,
            Kind.OBJECT: self._objects,
            Kind.WARD: self._ward,
            Kind.REVOKE: lambda on: self._word(Kind.REVOKE, on),
            Kind.PAUSE: lambda on: self._word(Kind.PAUSE, on),
            Kind.NARROW: lambda on: self._word(Kind.NARROW, on),
        }

    def later(self, day: int, happening: Happening) -> None:
        """Let it happen on that day."""
        self._agenda.setdefault(day, []).append(happening)

    def perhaps(self, day: int, happening: Happening) -> None:
        """Let it follow from what has happened on this day, as often as `FOLLOWS` says."""
        share, soonest, latest = FOLLOWS[happening.kind]
        if self._chance.random() < share:
            self.later(day + self._chance.randint(soonest, latest), happening)

    def hurry(self, day: int) -> None:
        """Let everything that waits happen on that day."""
        waiting = [one for _, some in sorted(self._agenda.items()) for one in some]
        self._agenda = {day: waiting} if waiting else {}

    @property
    def waits(self) -> bool:
        """Whether the agenda holds anything."""
        return bool(self._agenda)

    def of_day(self, day: int, on: date) -> Iterator[Happening]:
        """What was to happen on this day, what happens by itself, what follows from that; each found in its turn."""
        yield from self.due(day)
        kinds = [kind for kind, yearly in YEARLY.items() for _ in range(self._count(yearly))]
        self._chance.shuffle(kinds)
        for kind in kinds:
            found = self._find.get(kind, lambda on, kind=kind: self._adult(kind, on))(on)
            if found is not None:
                yield found
        yield from self.due(day)

    def due(self, day: int) -> Iterator[Happening]:
        """Only what was to happen on this day, and what follows from it on the same day."""
        while day in self._agenda:
            yield from self._agenda.pop(day)

    def _count(self, yearly: float) -> int:
        """How often it happens on one day (Poisson)."""
        least, product, count = exp(-yearly * self._pace * len(self._country.people) / 365), self._chance.random(), 0
        while product > least:
            product *= self._chance.random()
            count += 1
        return count

    def _somebody(self, fits: Callable[[Person], bool]) -> Person | None:
        for _ in range(200):
            one = self._chance.choice(self._country.people)
            if fits(one):
                return one
        return None

    def _adult(self, kind: Kind, on: date) -> Happening | None:
        one = self._somebody(lambda each: each.adult(on))
        return None if one is None else Happening(kind, one)

    def _birth(self, on: date) -> Happening | None:
        one = self._somebody(lambda each: each.adult(on) and each.gender == "female" and each.age(on) < 45)
        return None if one is None else Happening(Kind.BIRTH, one)

    def _death(self, on: date) -> Happening | None:
        one = self._somebody(lambda each: each.alive and each.age(on) > 40 + 40 * self._chance.random())
        return None if one is None else Happening(Kind.DEATH, one)

    def _union(self, on: date) -> Happening | None:
        one = self._somebody(lambda each: each.adult(on) and each.partner is None)
        if one is None:
            return None
        other = self._somebody(lambda each: each.adult(on) and each.partner is None and each is not one)
        return None if other is None else Happening(Kind.UNION, one, other)

    def _parting(self, on: date) -> Happening | None:
        one = self._somebody(lambda each: each.adult(on) and each.partner is not None)
        return None if one is None else Happening(Kind.PARTING, one)

    def _ward(self, on: date) -> Happening | None:
        """Somebody who lives alone, and whom somebody else is to act for."""
        free = self._promises.guardians.keys() | self._promises.shelters.keys()
        one = self._somebody(lambda each: each.adult(on) and each.number not in free and self._country.alone(each))
        if one is None:
            return None
        other = self._somebody(lambda each: each.adult(on) and each is not one)
        return None if other is None else Happening(Kind.WARD, one, other)

    def _objects(self, on: date) -> Happening | None:
        laws = [law for law in self._promises.laws if law.objection]
        one = self._somebody(lambda each: each.adult(on))
        if one is None or not laws:
            return None
        law = self._chance.choice(laws)
        objects = any(person == one.number for person, _ in law.objects)
        return None if objects else Happening(Kind.OBJECT, one, law)

    def _word(self, kind: Kind, on: date) -> Happening | None:
        if not self._promises.words:
            return None
        word = self._chance.choice(self._promises.words)
        person = self._country.people[word.person]
        return Happening(kind, person, word) if person.adult(on) else None
