"""What A and B do in a round. Each scene is played in one window, in an order of A and B that everybody sees.

The bit says who did the one thing and who the other. But for `alone` both citizens are heard of equally often, so that
the status API, which tells a source how many heard and never which, says the same in both worlds.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from broker.consents.protecting import Wanted
from schemas.names import DeclarationId, GrantId, Instant, ManifestDigest, PartyId, Purpose
from tests.world import CAF, CPAM, FAMILY, HEALTH, MOVED, PORTAL, RENNES, TOWN, VOICE, World

MAIRIE: Final = PartyId("urn:fr:siret:21440109300015")
"""The source: it declares for A and B; the portal declares for C."""
OTHER: Final = PartyId("urn:unefois:other")
"""Another recipient: it hears of C alone. RENNES hears of A and B; of whom CAF and CPAM hear is the question."""
HOUSING: Final = Purpose("housing-support")
FIELDS: Final = ("subject", "new_address")
ASKED: Final[Mapping[PartyId, Purpose]] = {CAF: FAMILY, CPAM: HEALTH, RENNES: TOWN, OTHER: HOUSING}


@dataclass
class Table:
    """One round as it is played. `order`: "AB" or "BA"; `bit` 0: A has to do with CAF, and B with CPAM."""

    here: World
    people: Mapping[str, dict[str, Any]]
    bit: int
    order: str
    chance: Random
    declared: dict[str, Instant] = field(default_factory=dict)
    acted: dict[str, Instant] = field(default_factory=dict)
    ids: dict[str, tuple[DeclarationId, ManifestDigest]] = field(default_factory=dict)
    grants: dict[tuple[str, PartyId], GrantId] = field(default_factory=dict)
    between: Callable[[], Awaitable[None]] | None = None
    """What an adversary who acts does after the first citizen and before the second."""
    turn: Callable[[], Awaitable[None]] | None = None
    """Ends the window: the next one begins."""

    def wait(self) -> None:
        """A while passes, another each time."""
        self.here.clock.pass_(self.chance.randrange(200, 1_500))

    def of(self, who: str) -> PartyId:
        """With which of the two administrations a citizen has to do."""
        return CAF if (who == "A") == (self.bit == 0) else CPAM

    async def give(self, who: str, *recipients: PartyId, latest: bool = False) -> None:
        """A citizen's consent to each of these."""
        for recipient in recipients:
            purpose, person = ASKED[recipient], self.people[who]
            made = await self.here.give(recipient, MOVED, purpose, FIELDS, person=person, include_latest=latest)
            self.grants[who, recipient] = made.grant.id

    async def declare(self, who: str) -> None:
        """A citizen moves, and the source says so; the portal, if it is C."""
        home, clock = self.here.home, self.here.clock
        source, record = PORTAL if who == "C" else MAIRIE, self.here.moved(self.people[who])
        accepted = await home.desk.declare(source, MOVED, record)
        self.declared[who], self.ids[who] = clock.now, (accepted.declaration_id, accepted.digest)
        await home.router.route()

    async def each(self, act: Callable[[str], Awaitable[None]]) -> None:
        """Both do it, one after the other; what they do last is the act that the question is about. C comes between,
        before or after.
        """
        turns = list(self.order)
        if "C" not in self.declared:
            turns.insert(self.chance.randrange(3), "C")
        for number, who in enumerate(turns):
            self.wait()
            if number == turns.index(self.order[1]) and self.between is not None:
                await self.between()
            if who == "C":
                await self.give("C", OTHER)
                await self.declare("C")
            else:
                self.acted[who] = self.here.clock.now
                await act(who)


async def heard(table: Table) -> None:
    """The one consented to CAF and the other to CPAM; what the other one asked for was refused, for want of consent."""

    async def act(who: str) -> None:
        await table.give(who, RENNES, table.of(who))
        await table.declare(who)

    await table.each(act)


async def alone(table: Table) -> None:
    """One consented to CAF, the other to nobody but RENNES."""

    async def act(who: str) -> None:
        await table.give(who, RENNES, *([CAF] if table.of(who) == CAF else []))
        await table.declare(who)

    await table.each(act)


async def refused(table: Table) -> None:
    """Both consented to both, and the one has paused CAF, the other CPAM: those are refused."""

    async def act(who: str) -> None:
        await table.give(who, RENNES, CAF, CPAM)
        await table.here.home.consents.pause(table.grants[who, table.of(who)], VOICE)
        await table.declare(who)

    await table.each(act)


async def _declared(table: Table, *recipients: PartyId) -> None:
    async def act(who: str) -> None:
        await table.give(who, *recipients)
        await table.declare(who)

    await table.each(act)


async def ended(table: Table) -> None:
    """Both were to be heard of by both; then the one revokes CAF's consent, the other CPAM's."""
    await _declared(table, RENNES, CAF, CPAM)

    async def act(who: str) -> None:
        await table.here.home.consents.revoke(table.grants[who, table.of(who)], VOICE)

    await table.each(act)


async def given(table: Table) -> None:
    """After they declared, the one consents to CAF and the other to CPAM, for that declaration too."""
    await _declared(table, RENNES)

    async def act(who: str) -> None:
        await table.give(who, table.of(who), latest=True)

    await table.each(act)


async def narrowed(table: Table) -> None:
    """Both were to be heard of by both; then the one narrows CAF's consent, the other CPAM's."""
    await _declared(table, RENNES, CAF, CPAM)

    async def act(who: str) -> None:
        kept = frozenset({"new_address"})
        await table.here.home.consents.narrow(table.grants[who, table.of(who)], kept, VOICE)

    await table.each(act)


async def sheltered(table: Table) -> None:
    """Both were to be heard of by both; then the one is protected from CAF, the other from CPAM."""
    await _declared(table, RENNES, CAF, CPAM)

    async def act(who: str) -> None:
        subject, hidden = table.here.subject(table.people[who]), frozenset({table.of(who)})
        await table.here.home.protecting.protect(Wanted(subject=subject, places=frozenset(), parties=hidden))

    await table.each(act)


EXCHANGES: Final[Mapping[str, Callable[[Table], Awaitable[None]]]] = {
    scene.__name__: scene for scene in (heard, alone, refused, ended, given, narrowed, sheltered)
}
"""What R1 hides."""


async def more(table: Table) -> None:
    """Who acts first consented to CAF, too, or not: in one of the worlds there is one delivery more."""

    async def act(who: str) -> None:
        await table.give(who, RENNES, *([CAF] if who == table.order[0] and table.of(who) == CAF else []))
        await table.declare(who)

    await table.each(act)


async def quiet(table: Table) -> None:
    """Both declared, each in a window where nobody else did; then, in a third, one of them ends what CAF may hear."""
    assert table.turn is not None
    for who in table.order:
        await table.give(who, CAF)
        await table.declare(who)
        await table.turn()
    await table.give("C", OTHER)
    await table.declare("C")

    async def act(who: str) -> None:
        if table.of(who) == CAF:
            await table.here.home.consents.revoke(table.grants[who, CAF], VOICE)

    await table.each(act)


VISIBLE: Final[Mapping[str, Callable[[Table], Awaitable[None]]]] = {scene.__name__: scene for scene in (more, quiet)}
"""What it does not: README.md says why."""
