"""Serving: the roles of a broker that runs for good, alone or in many processes side by side.

    router       routes its share of the partitions        connectors   writes into the systems of agencies hosted here
    ledger       upkeep, and the order of the ledger        notify       tells agencies that deliveries wait
    relay        puts deliveries on agencies' topics        intake       takes declarations from sources' topics
    api          answers over HTTP, and nothing else        all          every one of them
    portal       answers citizens over HTTP                 consents     changes consents for `api` and `portal`

Refuses: to die of what passes. A database or a log that is away means waiting, longer each time, and saying so; only a
contradiction of our own state stops everything.
Keeps: each loop's step may be killed anywhere and done again. Asked to stop, each loop ends the step that it has begun,
and the ledger is ordered once more. How many processes there are of a role changes nothing but how fast it goes.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from broker.consents.local import group_id
from broker.flow.offsets import LostOwnership
from broker.flow.router import TOPIC
from broker.observability.measures import TROUBLES, TURN
from broker.observability.observe import logger
from broker.runtime import turns
from broker.runtime.hosting import Hosted
from broker.runtime.membership import PartitionMembership
from broker.runtime.rounds import Rounds, Step
from broker.runtime.turns import Trouble, Turn
from broker.setup import preflight
from broker.setup.roles import ProcessRole, log_rights
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.wake_signal import DECLARED, PLANNED, declared_in, planned_for
from schemas.errors import Unavailable
from schemas.messages import table
from schemas.names import PartyId
from schemas.retry import doubled_ms, spread_ms

IDLE_MS: Final = (25, 1000)
"""The wait after a step that moved nothing: it doubles from the first to the second."""
ORDER_SECONDS: Final = 0.2
"""From one checkpoint to the next, when there is always more to order."""
KEEP_SECONDS: Final = 1
"""From one look at what is due because time passed to the next."""
REVISION_SECONDS: Final = 5
"""From one look at the version of the database to the next: so long an old process goes on after a migration."""
TROUBLE_MS: Final = (500, 5_000)
"""The wait after a step that met trouble, likewise; up to a quarter more by chance, so that not all come at once."""


@dataclass(slots=True)
class Loop:
    """One thing that is done again and again. `trouble` is what its last step met, for whoever asks how we are."""

    role: ProcessRole
    party: PartyId | None
    step: Callable[[Turn], Coroutine[Any, Any, None]]
    bells: Callable[[], Collection[str]] = frozenset
    """What rings now when there may be something to do."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: tuple[Trouble, ...] = ()
    waits: int = 0
    """How often in a row it has waited, without having moved anything or been woken."""
    wait_ms: int = 0
    """How long it has waited last, or waits; 0 once something has moved, or woken it."""
    pace: float = 0
    """Seconds from the beginning of one step to the next, at least: what comes meanwhile is done together."""
    rounds: Rounds | None = None
    """Of many administrations, each of which waits by itself when it is in trouble."""


ANOTHERS: Final = "other"
"""In the place of a code that is not ours: a connector of somebody else's may give any."""

Heard = Callable[[ProcessRole, Turn], None]
"""Gets each turn that moved something, and each trouble once for as long as it lasts."""


class Serving:
    """The loops of one process, from `run` until `stop` is set."""

    def __init__(
        self,
        home: Home,
        role: ProcessRole,
        agencies: Sequence[Hosted],
        stop: asyncio.Event,
        heard: Heard,
        *,
        sandbox: bool = False,
    ) -> None:
        """`sandbox`: nobody relies on what it says, whoever hears of it."""
        self.role = role
        self._sandbox = sandbox
        self._seen = asyncio.Event()
        self._home = home
        self._stop = stop
        self._heard = heard
        self._members = PartitionMembership(home.store, home.clock, home.entropy)
        self._declared = frozenset({DECLARED})
        """The bells of the partitions that are ours, as far as we know: before that, of all."""
        self._beginning = Loop(role, None, _nothing)
        self._loops = self._made(role, agencies)

    @property
    def begun(self) -> bool:
        """Whether the database has been seen to be ours: before that nothing is done."""
        return self._seen.is_set()

    async def until_begun(self, seconds: float) -> bool:
        """Wait for that, so long at most. Returns whether it is so."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._seen.wait(), seconds)
        return self.begun

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop: what has begun is being finished."""
        return self._stop.is_set()

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """What the broker itself is in now, of all loops; an agency's own trouble is not ours."""
        return tuple(one for loop in (self._beginning, *self._loops) for one in loop.trouble if one.party is None)

    async def run(self) -> None:
        """Until asked to stop, and what was begun is done. Raises Refused at the start only; Corrupt at any time."""
        awakening = asyncio.create_task(self._awaken())
        try:
            await self._begin()
            if self.begun:
                await self._all()
        finally:
            awakening.cancel()

    async def _begin(self) -> None:
        """Until the database is there, and is seen to be ours. Raises Refused `store.*`: waiting would not mend it."""
        loop = self._beginning
        while not (self.begun or self.stopping):
            done = Turn()
            try:
                await preflight.check(self._home)
                if not self._sandbox:
                    await preflight.check_name(self._home)
                await preflight.check_log(self._home, log_rights(self.role))
                self._seen.set()
                logger().info("role.begun", role=self.role)
            except Unavailable as fault:
                done.troubles.append(turns.trouble(None, fault))
            self._tell(loop, done)
            if not self.begun:
                await self._wait(loop, done)

    async def _all(self) -> None:
        tasks = [asyncio.create_task(self._repeat(loop), name=loop.role.value) for loop in self._loops]
        tasks.append(asyncio.create_task(self._until_stopped()))
        if self.role is ProcessRole.CONSENTS:
            tasks.append(asyncio.create_task(self._answer(), name=self.role.value))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        self._stop.set()  # one of them met a contradiction: the others end what they are at
        await asyncio.wait(tasks)
        for task in tasks:
            task.result()
        await self._last()

    async def _answer(self) -> None:
        """Do what processes ask that have no key of a consent. Raises Refused `consents.*`: it cannot hear there."""
        chosen = self._home.settings
        await self._home.answering.serve(chosen.consents_socket, group_id(chosen.consents_group), self._stop)

    async def _until_stopped(self) -> None:
        """Looks meanwhile whether the database is still of this version, and this home's. Raises Refused `store.*` when
        somebody has brought it to another one, or moved it: what this process would write there is not to be read.
        """
        while not self.stopping:
            await self._paced(REVISION_SECONDS)
            if not self.stopping:
                with suppress(Unavailable):
                    await migrate.check(self._home.store)

    async def _last(self) -> None:
        """What others would have to wait for, or find undone."""
        done = Turn()
        if self.role in {ProcessRole.ALL, ProcessRole.ROUTER}:
            await turns.attempt(done, None, self._members.leave())
        if self.role in {ProcessRole.ALL, ProcessRole.NOTIFY}:
            await turns.attempt(done, None, turns.finish_webhooks(self._home, done))
        if self.role in {ProcessRole.ALL, ProcessRole.LEDGER}:
            await turns.attempt(done, None, turns.sequence_unfinished(self._home, done))
        if done.moved:
            self._heard(ProcessRole.LEDGER, done)

    async def _awaken(self) -> None:
        """Nobody sleeps through the end."""
        await self._stop.wait()
        for loop in (self._beginning, *self._loops):
            loop.wake.set()

    async def _repeat(self, loop: Loop) -> None:
        heard: Collection[str] = frozenset()
        with ExitStack() as hearing:
            while not self.stopping:
                if (bells := loop.bells()) != heard:
                    hearing.close()
                    for name in bells:
                        hearing.enter_context(self._home.store.wake_signal.heard(name, loop.wake))
                    heard = bells
                await self._once(loop)

    async def _once(self, loop: Loop) -> None:
        """One step, and the wait that it asks for."""
        done, began = Turn(), asyncio.get_running_loop().time()
        await turns.attempt(done, loop.party, loop.step(done))
        if done.moved or done.troubles:
            TURN.labels(loop.role.value).observe(asyncio.get_running_loop().time() - began)
        self._tell(loop, done)
        if done.moved:
            self._stir(loop)
        await self._wait(loop, done)
        await self._paced(loop.pace - (asyncio.get_running_loop().time() - began))

    async def _paced(self, seconds: float) -> None:
        """Unless asked to stop."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    def _tell(self, loop: Loop, done: Turn) -> None:
        """A trouble that lasts is told once, and counted each time."""
        for one in done.troubles:
            TROUBLES.labels(loop.role.value, one.code if one.code in table() else ANOTHERS).inc()
        news = {(one.party, one.code) for one in done.troubles} - {(one.party, one.code) for one in loop.trouble}
        for party, code in sorted(news, key=str):
            if party is None:
                logger().warning("role.trouble", role=loop.role, code=code)
            else:
                logger().warning("role.trouble", role=loop.role, code=code, party=party)
        if loop.trouble and not done.troubles:
            logger().info("role.well-again", role=loop.role)
        loop.trouble = tuple(done.troubles)
        if done.moved or news:
            self._heard(loop.role, done)

    def _stir(self, mover: Loop) -> None:
        """What one has moved, the next may go on with at once."""
        for loop in self._loops:
            if loop is not mover and (loop.rounds is not None or not loop.trouble):
                loop.wake.set()

    async def _wait(self, loop: Loop, done: Turn) -> None:
        if done.moved and (loop.rounds is not None or not done.troubles):
            loop.waits = loop.wait_ms = 0
            return
        held_up = bool(done.troubles) and loop.rounds is None
        loop.waits += 1
        loop.wait_ms = doubled_ms(*(TROUBLE_MS if held_up else IDLE_MS), loop.waits)
        wait = spread_ms(loop.wait_ms, self._home.entropy) if held_up else loop.wait_ms  # not all come back at once
        try:
            awaited = self._stop if done.troubles else loop.wake  # who is in trouble is not hurried by what comes in
            await asyncio.wait_for(awaited.wait(), wait / 1000)
            loop.waits = loop.wait_ms = 0
        except TimeoutError:
            pass
        if not self.stopping:
            loop.wake.clear()

    # ── the steps ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _made(self, role: ProcessRole, agencies: Sequence[Hosted]) -> list[Loop]:
        home = self._home
        webhooks = partial(turns.tell_webhooks, home, stopping=lambda: self.stopping)
        made = [
            Loop(ProcessRole.ROUTER, None, self._route, lambda: self._declared),
            Loop(ProcessRole.LEDGER, None, partial(turns.sequence, home), pace=ORDER_SECONDS),
            Loop(ProcessRole.UPKEEP, None, partial(turns.keep, home), pace=KEEP_SECONDS),
            Loop(ProcessRole.NOTIFY, None, webhooks, _always(PLANNED)),
            self._for_each(ProcessRole.RELAY, home.relay.relay, self._relay, _always(PLANNED)),
            self._for_each(ProcessRole.INTAKE, home.inlet.take, self._take),
        ]
        if home.settings.witnesses:
            made.append(Loop(ProcessRole.LEDGER, None, partial(turns.cosign, home)))
        if role is ProcessRole.LEDGER:
            made.append(Loop(role, None, partial(turns.publish, home), pace=KEEP_SECONDS))
        if home.settings.mail_server is not None:
            made.append(Loop(ProcessRole.NOTIFY, None, partial(turns.mail, home)))
        if home.ways:
            made.append(Loop(ProcessRole.NOTIFY, None, partial(turns.tell_citizens, home), pace=KEEP_SECONDS))
        for one in agencies:
            planned = _always(planned_for(one.party))
            made.append(Loop(ProcessRole.CONNECTORS, one.party, partial(self._deliver, one), planned))
            if one.notify is not None:
                made.append(Loop(ProcessRole.NOTIFY, one.party, partial(turns.tell, home, one), planned))
        return [loop for loop in made if role in {ProcessRole.ALL, loop.role}]

    async def _route(self, done: Turn) -> None:
        """A batch of each partition of our share; one that is in trouble does not keep the others waiting. And what was
        repaired is tried again.
        """
        trouble: Unavailable | None = None
        count = await self._home.log.partitions(TOPIC)
        share = await self._members.share(count)
        self._declared = frozenset(map(declared_in, share))
        waiting = await self._home.router.waiting(share)
        for number, offset in waiting.items():
            if self.stopping:
                break
            if number not in await self._members.share(count):
                continue  # a batch takes its time: we are heard of between two, and others may have come
            try:
                done.routed += await self._home.router.route_batch(number, offset)
            except LostOwnership:
                continue  # another has it, and this batch of it is done
            except Unavailable as fault:
                trouble = fault
        await turns.repair(self._home, done)
        if trouble is not None:
            raise trouble

    def _for_each(
        self,
        role: ProcessRole,
        step: Step,
        turn: Callable[[Rounds, Turn], Coroutine[Any, Any, None]],
        bells: Callable[[], Collection[str]] = frozenset,
    ) -> Loop:
        first_ms, most_ms = TROUBLE_MS
        rounds = Rounds(step, self._home.entropy, first_ms=first_ms, most_ms=most_ms)
        return Loop(role, None, partial(turn, rounds), bells, rounds=rounds)

    async def _take(self, rounds: Rounds, done: Turn) -> None:
        """What sources have written to their topics."""
        parties = [user.party for user in await self._home.inlet.served()]
        now = asyncio.get_running_loop().time()
        done.taken, troubles = await rounds.round(parties, now, lambda: self.stopping)
        done.troubles += troubles

    async def _relay(self, rounds: Rounds, done: Turn) -> None:
        """What waits for the agencies that are served by topics."""
        parties = [user.party for user in await self._home.relay.served()]
        now = asyncio.get_running_loop().time()
        done.relayed, troubles = await rounds.round(parties, now, lambda: self.stopping)
        done.troubles += troubles

    async def _deliver(self, hosted: Hosted, done: Turn) -> None:
        await turns.deliver(self._home, hosted, done, lambda: self.stopping)


def _always(bell: str) -> Callable[[], Collection[str]]:
    bells = frozenset({bell})
    return lambda: bells


async def _nothing(_: Turn) -> None:
    return
