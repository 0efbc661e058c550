"""Trial: one case under way: people of its own, the receiver, and what was found wrong.

Refuses: nothing; what goes wrong is written down and the case goes on as far as it makes sense.
Keeps: each case has citizens that no other case has, so what one leaves behind does not count in the next.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from broker.flow.deliveries import ACTIVE, Delivery, DeliveryState
from broker.lab.conformance.finding import Finding
from broker.lab.conformance.observed import Observed
from broker.lab.conformance.program import Tried
from broker.lab.sandbox import people
from broker.lab.sandbox.mischief import Mischief
from broker.lab.sandbox.playground import News, Playground
from broker.lab.sandbox.process import Live
from broker.shapes import uuid_of
from schemas.names import DeclarationId, EventType

MOVED: Final = EventType("fr.unefois.address.changed.v1")
"""What the cases are played with."""
CALLS: Final = 1000
"""How often a receiver that takes what waits is called in one case at most."""


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody declared, as the case will look for it."""

    person: str
    street: str
    declaration: DeclarationId
    delivery: str


def name_of(delivery: Delivery) -> str:
    """A delivery's id, as the receiver writes it."""
    return uuid_of(delivery.id)


class Stop(Exception):
    """The case cannot go on; what was found says why."""


@dataclass(slots=True)
class Words:
    """Words that nobody has used: eight letters each, so that none is in another."""

    used: int = 0

    def new(self) -> str:
        """A word that makes a person, a street or an address."""
        self.used += 1
        letters, number = "", self.used
        for _ in range(5):
            letters, number = chr(97 + number % 26) + letters, number // 26
        return f"kit{letters}"


@dataclass(slots=True)
class Trial:
    """One case of a receiver. `seconds`: its patience; `grace`: seconds, for an acknowledgement after the next pull."""

    live: Live
    tried: Tried
    words: Words
    seconds: float
    grace: float
    batch: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def play(self) -> Playground:
        """The sandbox."""
        return self.live.play

    def found(self, key: str, **details: object) -> None:
        """Write down what is wrong; the same thing is told once."""
        finding = Finding(key, details)
        if finding not in self.findings:
            self.findings.append(finding)

    # ── what citizens do ────────────────────────────────────────────────────────────────────────────────────────────

    async def person(self, lasts_ms: int | None = None) -> str:
        """Somebody new who lets the administration know."""
        word = self.words.new()
        await self.play.allow(word, MOVED, lasts_ms=lasts_ms)
        return word

    def news(self, person: str, street: str, email: str | None, **more: Any) -> News:
        """They move to this street."""
        changes: Mapping[str, Any] = {
            "new_address": {"street": people.street(street)},
            "email": None if email is None else people.email(email),
        }
        return News(citizen=person, event_type=MOVED, changes=changes, **more)

    async def tell(self, person: str, *, email: str | None = None, **more: Any) -> Told:
        """They declare a move to a street that is new each time."""
        street = self.words.new()
        (declaration,) = await self.play.declare([self.news(person, street, email, **more)])
        return await self.sent(person, street, declaration)

    async def sent(self, person: str, street: str, declaration: DeclarationId) -> Told:
        """What a declaration became."""
        (delivery,) = await self.play.of([declaration])
        return Told(person, street, declaration, name_of(delivery))

    # ── what the receiver does ──────────────────────────────────────────────────────────────────────────────────────

    async def settle(self, seconds: float | None = None, *, may_end: bool = False) -> None:
        """Until the receiver has taken whatever waits. Raises Stop, with a finding, when it does not.

        One that was to go on and has ended is not started again here: that it ended is what there is to tell. With
        `may_end` it may stop asking, or end: then nothing is found, and nothing raised.
        """
        found = list(self.findings)
        try:
            if self.tried.forever:
                await self._until_idle(seconds or self.seconds)
            else:
                await self.tried.start()
                await self._call(seconds or self.seconds)
        except Stop:
            if not may_end:
                raise
            self.findings[:] = found

    async def _until_idle(self, seconds: float) -> None:
        door, tried = self.play.door, self.tried
        before = door.idle_pulls

        async def came() -> bool:
            # A pull that began before there was anything may be counted after: it has taken nothing yet.
            idle = door.idle_pulls > before and not await self.play.waiting()
            return idle or await tried.ended() is not None

        async def over() -> bool:
            return not await self.play.handed() or await tried.ended() is not None

        if not await door.until(came, seconds):
            self.found("not-asking", seconds=f"{seconds:g}")
            raise Stop
        await door.until(over, self.grace)  # what is not acknowledged by then is found by who looks
        status = await tried.ended()
        if status is not None:
            self.found("ended", status=status)
            raise Stop

    async def _call(self, seconds: float) -> None:
        """Call it until nothing waits, or until a call changes nothing any more."""
        last: object = None
        for _ in range(CALLS):
            status = await self.tried.wait(seconds)
            if status is None:
                await self.tried.kill()
                self.found("not-ending", seconds=f"{seconds:g}")
                raise Stop
            if not await self._more():
                return
            now = [(one.id, one.state) for one in await self.play.mail()], len(self.play.door.queued)
            if now == last:  # it was called twice, and nothing has changed by that
                self.found("ended", status=status)
                raise Stop
            last = now
            await self.tried.start()

    async def _more(self) -> bool:
        again = self.play.mischiefs.wanted(Mischief.DUPLICATE)
        return again or bool(self.play.door.queued) or await self.play.waiting()

    async def observe(self) -> Observed:
        """What its system says now."""
        return await self.tried.observe()

    async def again(self) -> None:
        """What it was handed out comes once more, and it gets the time to take it."""
        await self.play.end_leases()
        await self.settle()

    async def restart(self) -> None:
        """End it, and start it anew if it is one that goes on; else it is called next time."""
        await self.tried.kill()
        if self.tried.forever:
            await self.tried.start()

    @asynccontextmanager
    async def under_way(self, told: Sequence[Told], then: Callable[[], Any]) -> AsyncIterator[dict[str, Any]]:
        """Deliveries are leased, `then` happens, and the keys are asked for: the answer, which the block may change and
        which the receiver's next pull gets.
        """
        await self.play.lease([one.declaration for one in told])
        await then()
        headers = {"Authorization": f"Bearer {self.live.token}"}
        async with httpx2.AsyncClient(base_url=self.live.url, headers=headers, trust_env=False) as http:
            wanted = {"deliveries": [one.delivery for one in told]}
            answer: dict[str, Any] = (await http.post("/v1/deliveries:release", json=wanted)).raise_for_status().json()
        yield answer
        self.play.door.queued.append(answer)

    # ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────

    async def once(self, seen: Observed, *told: Told) -> None:
        """Each had its effect once, shows in the system, and was acknowledged."""
        counts = [seen.times(one.delivery) for one in told]
        self.count("not-applied", sum(count == 0 for count in counts), len(told))
        self.count("applied-twice", sum(count > 1 for count in counts), len(told))
        applied = [one for one, count in zip(told, counts, strict=True) if count]
        missing = sum(not seen.shows(one.person, one.street) for one in applied)
        self.count("value-missing", missing, len(told))
        await self.acknowledged(*applied)

    async def acknowledged(self, *told: Told) -> None:
        """The broker was told that it is done."""
        states = [one.state for one in await self.deliveries(*told)]
        self.count("not-acknowledged", sum(one is not DeliveryState.APPLIED for one in states), len(told))

    async def ended(self, *told: Told) -> None:
        """The broker was told an end, good or bad: nothing is left hanging."""
        states = [one.state for one in await self.deliveries(*told)]
        self.count("left-hanging", sum(one in ACTIVE for one in states), len(told))

    async def never(self, seen: Observed, *told: Told, key: str = "applied-forbidden") -> None:
        """None had an effect, and none was said to have had one."""
        bad = sum(bool(seen.times(one.delivery)) or seen.shows(one.person, one.street) for one in told)
        said = [one.state for one in await self.deliveries(*told)].count(DeliveryState.APPLIED)
        self.count(key, max(bad, said), len(told))

    async def deliveries(self, *told: Told) -> list[Delivery]:
        """Their rows in the mailbox."""
        return await self.play.of([one.declaration for one in told])

    def sound(self) -> None:
        """Raises Stop where something was found already: what comes next would prove nothing."""
        if self.findings:
            raise Stop

    def count(self, key: str, number: int, of: int) -> None:
        """A finding if there is any."""
        if number:
            self.found(key, count=number, of=of)
