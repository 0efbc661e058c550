"""Country: people who do not exist, their couples, children and homes, and the communes they live in.

Refuses: nothing; the same seed makes the same country.
Keeps: no two people have the same pivot identity: homonyms born on one day in one place would be one person to anybody.
Source: orders of magnitude of INSEE's yearly figures; nothing here is a statistic.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any, Final

COMMUNES: Final = {
    "35238": ("35000", "Rennes"),
    "44109": ("44000", "Nantes"),
    "29019": ("29200", "Brest"),
    "35288": ("35400", "Saint-Malo"),
    "56260": ("56000", "Vannes"),
    "35360": ("35500", "Vitré"),
}
FRANCE: Final = "99100"
MAJORITY: Final = 18
_GIVEN: Final = {
    "female": ("Aziliz", "Bleuenn", "Enora", "Gwenn", "Katell", "Lena", "Maëlle", "Nolwenn", "Rozenn", "Soazig"),
    "male": ("Alan", "Brendan", "Corentin", "Denez", "Ewen", "Gurvan", "Kilian", "Loïc", "Malo", "Yann"),
}
_BEGINS: Final = ("Ker", "Tre", "Plou", "Lan", "Pen", "Ros", "Gou", "Le ", "Car", "Mor")
_MIDDLES: Final = ("a", "e", "i", "o", "ou", "eu")
_ENDS: Final = ("drec", "gal", "lec", "mel", "nec", "ric", "san", "vel", "zou", "bras", "garrec", "guen")
_STREETS: Final = ("rue des Ajoncs", "quai des Embruns", "venelle du Puits", "allée des Hêtres", "rue de la Lande")


@dataclass(slots=True, eq=False)
class Person:
    """One inhabitant. `number` is theirs for ever; what a document says of them are the other fields."""

    number: int
    family_name: str
    given_names: tuple[str, ...]
    birthdate: date
    gender: str
    birthplace: str
    commune: str
    street: str
    name: int = 0
    """Which name they have: 0 the first one."""
    alive: bool = True
    partner: int | None = None
    children: list[int] = field(default_factory=list)

    def pivot(self) -> dict[str, Any]:
        """The pivot identity, as a declaration holds it."""
        return {
            "family_name": self.family_name,
            "given_names": list(self.given_names),
            "birthdate": self.birthdate.isoformat(),
            "gender": self.gender,
            "birthplace": self.birthplace,
            "birthcountry": FRANCE,
        }

    def age(self, on: date) -> int:
        """Whole years."""
        return on.year - self.birthdate.year - ((on.month, on.day) < (self.birthdate.month, self.birthdate.day))

    def adult(self, on: date) -> bool:
        """Whether they speak for themselves."""
        return self.alive and self.age(on) >= MAJORITY


class Country:
    """Everybody, by number."""

    def __init__(self, chance: Random, size: int, today: date) -> None:
        """About `size` people on this day: singles, couples, children under 18."""
        self._chance = chance
        self._pivots: set[tuple[str, tuple[str, ...], date, str, str]] = set()
        self.people: list[Person] = []
        while len(self.people) < size:
            self._family(today, size - len(self.people))

    def _family(self, today: date, room: int) -> None:
        commune, street = self.somewhere(), self.street()
        first = self.add(self._birthday(today, 19, 88), commune, street)
        if room > 1 and self._chance.random() < 0.6:
            near = first.birthdate + timedelta(days=self._chance.randrange(-2000, 2000))
            second = self.add(min(near, today - timedelta(days=366 * 19)), commune, street)
            self.pair(first, second)
            for _ in range(min(room - 2, self._chance.choice((0, 0, 1, 1, 2, 2, 3)))):
                self.add(self._birthday(today, 0, 17), commune, street, parents=(first, second))

    def _birthday(self, today: date, youngest: int, oldest: int) -> date:
        return today - timedelta(days=self._chance.randrange(youngest * 366 + 1, oldest * 365 + 364))

    def add(
        self, birthdate: date, commune: str, street: str, parents: tuple[Person, ...] = (), name: str | None = None
    ) -> Person:
        """Somebody more, who is nobody's homonym; a child has a parent's name."""
        gender = self._chance.choice(("female", "male"))
        family = name or (parents[0].family_name if parents else self.family_name())
        birthplace = commune if parents else self.somewhere()
        while True:
            given = tuple(self._chance.sample(_GIVEN[gender], 2 if self._chance.random() < 0.4 else 1))
            if self._free(family, given, birthdate, gender, birthplace):
                break
            if not parents:
                family = self.family_name()
        made = Person(len(self.people), family, given, birthdate, gender, birthplace, commune, street)
        self.people.append(made)
        for parent in parents:
            parent.children.append(made.number)
        return made

    def _free(self, family: str, given: tuple[str, ...], birthdate: date, gender: str, birthplace: str) -> bool:
        pivot = (family, given, birthdate, gender, birthplace)
        if pivot in self._pivots:
            return False
        self._pivots.add(pivot)
        return True

    def renamed(self, person: Person, family: str) -> None:
        """A new family name; whoever had these facts already is not taken for them."""
        while not self._free(family, person.given_names, person.birthdate, person.gender, person.birthplace):
            family = self.family_name()
        person.family_name, person.name = family, person.name + 1

    @staticmethod
    def pair(one: Person, other: Person) -> None:
        """They are a couple."""
        one.partner, other.partner = other.number, one.number

    def part(self, one: Person) -> None:
        """They are none any more."""
        if one.partner is not None:
            self.people[one.partner].partner = None
        one.partner = None

    def family_name(self) -> str:
        """One of some thousand."""
        parts = (self._chance.choice(each) for each in (_BEGINS, _MIDDLES, _ENDS, _MIDDLES, _ENDS))
        return "".join(parts)

    def somewhere(self) -> str:
        """A commune."""
        return self._chance.choice(tuple(COMMUNES))

    def street(self) -> str:
        """A house."""
        return f"{self._chance.randrange(1, 120)} {self._chance.choice(_STREETS)}"

    def adults(self, today: date) -> Iterator[Person]:
        """Who speaks for themselves."""
        return (one for one in self.people if one.adult(today))

    def alone(self, person: Person) -> bool:
        """Whether they live alone, and speak for nobody else."""
        return person.partner is None and not person.children and not self.household(person)

    def household(self, person: Person) -> list[Person]:
        """Who lives at the same address beside them."""
        near = [*([] if person.partner is None else [person.partner]), *person.children]
        if person.partner is not None:
            near += self.people[person.partner].children
        there = (self.people[number] for number in dict.fromkeys(near))
        return [one for one in there if one.alive and (one.commune, one.street) == (person.commune, person.street)]
