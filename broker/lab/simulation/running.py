"""Running: the country and the real machine, day by day: what happens is said to the broker, and to the promises.

Refuses: nothing that the broker takes; what it refuses, and may, is counted by its code; any other fault ends the run.
Keeps: a day is: the morning's upkeep, what happens, then the administrations that look into their mailbox.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from broker.lab.simulation import deciding, declaring
from broker.lab.simulation.cast import NUMBER, OFFICES
from broker.lab.simulation.ground import Ground
from broker.lab.simulation.life import Happening, Kind
from broker.lab.simulation.offices import Looked, OfficeAtWork
from schemas.errors import Refused
from schemas.names import DeclarationId

_MAY: Final = frozenset({"grant.over", "repair.nothing", "repair.under-way", "repair.too-many-tries"})
"""What the broker may refuse here: somebody was faster, or it is over."""


ACTS: Final[Mapping[Kind, Callable[[Ground, Happening], Awaitable[None]]]] = {
    Kind.MOVE: declaring.move,
    Kind.BIRTH: declaring.birth,
    Kind.DEATH: declaring.death,
    Kind.UNION: declaring.union,
    Kind.PARTING: declaring.parting,
    Kind.ACCOUNT: declaring.account,
    Kind.CONTACT: declaring.contact,
    Kind.NAME: declaring.name,
    Kind.CONFIRM: declaring.confirm,
    Kind.LINK: declaring.link,
    Kind.CORRECT: declaring.correct,
    Kind.AGAIN: declaring.again,
    Kind.WARD: declaring.ward,
    Kind.RELEASE: declaring.release,
    Kind.REVOKE: deciding.revoke,
    Kind.PAUSE: deciding.pause,
    Kind.RESUME: deciding.resume,
    Kind.NARROW: deciding.narrow,
    Kind.OBJECT: deciding.object_to,
    Kind.UNOBJECT: deciding.withdraw_objection,
    Kind.CANCEL: deciding.cancel,
    Kind.RECALL: deciding.recall,
    Kind.STOP: deciding.stop,
    Kind.REPAIR: deciding.repair,
    Kind.FLEE: deciding.flee,
    Kind.LIFT: deciding.lift,
}


class Running:
    """One country, day by day."""

    def __init__(self, ground: Ground, seed: str) -> None:
        self.ground = ground
        self.offices = [OfficeAtWork(office, ground.home, ground.promises, seed) for office in OFFICES]
        self._heard: set[DeclarationId] = set()

    async def live(self) -> None:
        """One day."""
        self.ground.day += 1
        self.ground.clock.morning(self.ground.day)
        await self.ground.home.upkeep.turn()
        for happening in self.ground.life.of_day(self.ground.day, self.ground.clock.today):
            await self._happen(happening)
        await self._evening(lambda one: one.office.looks(self.ground.day))

    async def settle(self, most: int) -> None:
        """Days on which nothing new happens, until everything has been fetched and done; at most so many. What was to
        happen later happens on the first of them.
        """
        quiet = 0
        self.ground.life.hurry(self.ground.day + 1)
        for _ in range(most):
            self.ground.day += 1
            self.ground.clock.morning(self.ground.day)
            await self.ground.home.upkeep.turn()
            for happening in self.ground.life.due(self.ground.day):
                await self._happen(happening)
            moved = await self._evening(lambda one: True)
            quiet = 0 if moved or self.ground.life.waits else quiet + 1
            if quiet > 4:  # longer than any hold
                return

    async def _evening(self, looks: Callable[[OfficeAtWork], bool]) -> bool:
        """Route, let those look who do, try again what was repaired. Whether anything moved."""
        await self.ground.home.router.route()
        moved = False
        for office in self.offices:
            if not looks(office):
                continue
            self.ground.clock.pass_(60_000)
            looked = await office.look()
            moved = moved or bool(looked.applied or looked.unknown or looked.again or looked.undone or looked.withheld)
            self._count(office, looked)
        return bool(await self.ground.home.repairs.step()) or moved

    def _count(self, office: OfficeAtWork, looked: Looked) -> None:
        """A person is spared every desk after the first; of what a registrar declares, every one."""
        for said in looked.applied:
            if said.event_type == NUMBER:
                continue
            self.ground.counts["applied"] += 1
            spared = not said.by_citizen or said.id in self._heard
            self.ground.monthly[f"{self.ground.clock.today:%Y-%m}", "spared"] += spared
            self._heard.add(said.id)
        for name in ("refused", "again", "undone"):
            self.ground.counts[name] += getattr(looked, name)
        for said in looked.unknown:
            self.ground.counts["unknown-person"] += 1
            person = self.ground.country.people[said.person]
            if said.by_citizen and person.alive:
                self.ground.may_follow(Happening(Kind.REPAIR, person, said, office.office.party))

    async def _happen(self, happening: Happening) -> None:
        self.ground.clock.pass_(1_000)
        try:
            await ACTS[happening.kind](self.ground, happening)
        except Refused as fault:
            if fault.code not in _MAY:
                raise
            self.ground.counts[f"refused: {fault.code}"] += 1
        self.ground.clock.pass_(1_000)
        if self.ground.chance.random() < 0.5:
            await self.ground.home.router.route()
