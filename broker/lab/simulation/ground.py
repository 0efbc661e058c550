"""Ground: what all that happens stands on: the broker, the country, what was promised; and how somebody declares.

Refuses: nothing; what the broker refuses passes through.
Keeps: whatever is said to the broker is written down with the promises in the same call.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import Any, Final

from broker.consents.consents import GrantRequest
from broker.flow.arrived import Accepted
from broker.lab.simulation.cast import (
    ACCOUNT,
    OFFICES,
    PORTAL,
)
from broker.lab.simulation.clock import CountryClock
from broker.lab.simulation.country import Country, Person
from broker.lab.simulation.life import Happening, Life
from broker.lab.simulation.promises import Guardian, Law, Promises, Said, Word
from broker.setup.wiring import Home
from consent.grant import Scope, Voice
from schemas.assurance import SURE
from schemas.names import Capacity, Channel, EventType, PartyId, SubjectRef

VOICE: Final = Voice("self", Capacity.SELF, Channel.ONLINE, "fr", sha256(b"simulated").digest())
SAYS_YES: Final = 0.75
"""How often a person says yes to an administration, the first time that they are asked."""


class Ground:
    """One country while it lives."""

    def __init__(
        self, home: Home, clock: CountryClock, country: Country, laws: list[Law], seed: str, *, day: int, pace: float
    ) -> None:
        """`day`: the number of the day that the clock stands at; `pace`: how much faster than in life things happen."""
        self.home = home
        self.clock = clock
        self.country = country
        self.promises = Promises(OFFICES)
        self.promises.laws.extend(laws)
        self.life = Life(Random(f"{seed}/life"), country, self.promises, pace)
        self.counts: Counter[str] = Counter()
        self.monthly: Counter[tuple[str, str]] = Counter()
        """(month, what): declarations that people made, and those that they were spared."""
        self.day = day
        self.chance = Random(f"{seed}/people")
        self.asked: set[tuple[int, PartyId, EventType]] = set()
        self.pivots: dict[tuple[int, int], dict[str, Any]] = {}
        """(person, name): the facts under a name that they have no more."""
        self.parents: set[tuple[int, int]] = set()
        """(parent, child): whose authority is written down."""

    async def say(
        self, source: PartyId, event_type: EventType, person: Person, record: Mapping[str, Any], *places: str
    ) -> Said:
        citizen = source == PORTAL
        if citizen:
            await self.choose(person, event_type)
            record = self.spoken_for(person, record)
        stated = SURE if event_type == ACCOUNT else None
        accepted = await self.home.desk.declare(source, event_type, record, provenance=stated)
        return self.remember(accepted, event_type, person, places, by_citizen=citizen)

    def spoken_for(self, person: Person, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record as it is handed in: by whoever acts for the person."""
        guardian = self.promises.guardian(person.number, self.clock())
        acting = {} if guardian is None else {"declarant": guardian.pivot, "capacity": "guardian"}
        return {**record, **acting}

    def remember(
        self,
        accepted: Accepted,
        event_type: EventType,
        person: Person,
        places: Iterable[str],
        *,
        by_citizen: bool,
        corrects: Said | None = None,
    ) -> Said:
        said = Said(
            accepted.declaration_id,
            accepted.digest,
            person.number,
            person.name if corrects is None else corrects.name,
            event_type,
            accepted.received_at,
            frozenset(places),
            by_citizen,
            corrects=None if corrects is None else corrects.corrects or corrects.id,
        )
        self.promises.tell(said)
        self.counts["declared" if by_citizen else "registered"] += 1
        self.monthly[f"{self.clock.today:%Y-%m}", "declared"] += by_citizen
        return said

    async def subject(self, person: Person, name: int | None = None) -> SubjectRef:
        """Who a person is to the broker, under the name that they have, or had."""
        pivot = person.pivot() if name is None else self.pivots.get((person.number, name), person.pivot())
        return await self.home.desk.subject({"subject": pivot})

    async def choose(self, person: Person, event_type: EventType) -> None:
        """Whoever declares something for the first time says who may hear it."""
        for office in OFFICES:
            wish = office.wish(event_type)
            key = (person.number, office.party, event_type)
            if wish is None or wish.law is not None or key in self.asked:
                continue
            if wish.local and office.commune != person.commune and self.chance.random() < 0.5:
                continue
            self.asked.add(key)
            if self.chance.random() > SAYS_YES:
                continue
            guardian, fields = self.promises.guardian(person.number, self.clock()), set(wish.fields)
            if self.chance.random() < 0.2 and len(fields) > 2:
                fields.discard(self.chance.choice(sorted(fields - {"subject"})))
            recorded = await self.home.consents.give(
                GrantRequest(
                    subject=await self.subject(person),
                    recipient=office.party,
                    event_type=event_type,
                    purpose=wish.purpose,
                    fields=frozenset(fields),
                    basis=wish.basis,
                    voice=VOICE if guardian is None else replace(VOICE, **_stead(guardian)),
                    scope=Scope.STANDING,
                )
            )
            since = recorded.grant.starts_at
            grant, name = recorded.grant.id, person.name
            word = Word(grant, person.number, name, office.party, event_type, fields, since)
            if guardian is not None:
                word.by, word.until = guardian.of, guardian.until
            self.promises.give(word)
            self.counts["consents"] += 1
            self.clock.pass_(1_000)

    def act_number(self) -> int:
        self.counts["acts"] += 1
        return self.counts["acts"]

    def may_follow(self, happening: Happening) -> None:
        """Let it follow from what happens today, as often as it does."""
        self.life.perhaps(self.day, happening)


def _stead(guardian: Guardian) -> dict[str, Any]:
    return {"given_by": guardian.given_by, "capacity": Capacity.GUARDIAN}
