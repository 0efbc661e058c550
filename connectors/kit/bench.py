"""The bench: a rehearsal, a rig and the real runner, so that a case says what happens and nothing of how.

Refuses: nothing. Keeps: clock and chance are its own; the connector is opened for each pull, as by a new process.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast

from connectors.contract import Connector, Ground, Notifier, Outcome, Writer
from connectors.guarding import Guard, Guarded, Limits
from connectors.journal import Journal
from connectors.kit.rig import Rig
from connectors.notify import tell_ready
from connectors.rehearsal import Rehearsal
from connectors.retry import Backoff
from connectors.runner import Route, RunReport, run_routes
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, EventType, Instant, PartyId, Reason
from schemas.samples import sample

START = Instant(1_793_610_000_000)
MOVED = EventType("fr.unefois.address.changed.v1")
TOWN = PartyId("urn:fr:siret:21350238800019")
LIMIT = 20


class Killed(BaseException):
    """What `kill -9` is, as far as one process can play it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one pull."""

    done: tuple[DeliveryId, ...] = ()
    refused: Mapping[DeliveryId, str] = field(default_factory=dict)
    answered: Mapping[DeliveryId, Reason] = field(default_factory=dict)
    later: tuple[DeliveryId, ...] = ()


class Bench:
    """One case's world."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.now = START
        self._count = 0
        self.inbox = Rehearsal(TOWN, lambda: self.now, self.bytes)
        self.ground = Ground(lambda: self.now, self.bytes)
        self.dies: str = ""
        """`flush` or `acknowledge`: the process is killed before it."""
        self.deaf = False
        """The broker does not hear acknowledgements."""

    def bytes(self, size: int) -> bytes:
        """Bytes that look random, and are the same in every run."""
        self._count += 1
        parts = (sha256(f"{self._count}/{part}".encode()).digest() for part in range(-(-size // 32)))
        return b"".join(parts)[:size]

    def declare(
        self, name: str, citizen: int | None = None, fields: tuple[str, ...] = ("subject", "phone")
    ) -> DeliveryId:
        """Somebody of this family name moves; the same `citizen` is the same person."""
        record: dict[str, Any] = sample(MOVED)
        record |= {"subject": record["subject"] | {"family_name": name}, "phone": "+33600000000"}
        grant: dict[str, Any] = {} if citizen is None else {"pseudonym": bytes([citizen]) * 20}
        return self.inbox.declare(MOVED, record, fields, **grant)

    def later(self, milliseconds: int = 86_400_000) -> None:
        """Let time pass; by default a day."""
        self.now = Instant(self.now + milliseconds)

    async def pull(self) -> Told:
        """One pull by a process that begins with it. A system that cannot be opened leaves everything where it is."""
        with suppress(Unavailable, Refused):  # Refused by `open` alone: whoever runs it is told, and nothing is ended
            if issubclass(self.rig.connector, Connector):
                return await self._written(self.rig.connector)
            return await self._notified(cast("type[Notifier]", self.rig.connector))
        return Told()

    async def opened(self) -> Writer:
        """The connector itself."""
        made = cast("type[Connector]", self.rig.connector)
        return await made.open(self.rig.settings(), self.rig.mapping.targets, self.ground)

    async def finds(self, one: DeliveryId) -> bool:
        """Whether a new process finds what was written; of one that only tells there is nothing to find."""
        if not issubclass(self.rig.connector, Connector):
            return True
        writer = await self.opened()
        try:
            return await writer.find(one) is not None
        finally:
            await writer.close()

    async def _written(self, made: type[Connector]) -> Told:
        guard = Guard(Limits(deadline_s=self.rig.deadline_s))
        writer = await Guarded.open(self.opened, guard, self.ground.clock)
        try:
            route = Route(self.rig.mapping, _Dying(writer) if self.dies == "flush" else writer, 4)
            more = {"clock": self.ground.clock, "limit": LIMIT, "backoff": Backoff(bytes)}
            return _told(await run_routes(_Mortal(self), self.inbox.agency, (route,), **more))  # type: ignore[arg-type]
        finally:
            await writer.close()

    async def _notified(self, made: type[Notifier]) -> Told:
        notifier, journal = await made.open(self.rig.settings(), self.ground), Journal.open(self.rig.place / "told")
        try:
            inbox = _Mortal(self)
            report = await tell_ready(
                inbox, notifier, journal, clock=self.ground.clock, limit=LIMIT, backoff=Backoff(bytes)
            )
            # What is heard is fetched by the agency; the bench fetches it in its place.
            if report.told:
                await inbox.acknowledge_all({})
            return Told(done=report.told, later=tuple(one for one, _ in report.unheard))
        finally:
            journal.close()
            await notifier.close()


class _Mortal:
    """The rehearsal as an inbox, for a process that may be killed before it acknowledges, or is not heard."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench.inbox, name)

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        if self._bench.dies == "acknowledge":
            raise Killed
        if self._bench.deaf:
            raise Unavailable("client.away", error="ReadError", after_ms=0)
        return await self._bench.inbox.acknowledge_all(ended)


class _Dying:
    """A writer of a process that is killed before it flushes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    async def flush(self) -> None:
        raise Killed


def _told(report: RunReport) -> Told:
    return Told(
        done=report.applied,
        refused={one: rejected.code for one, rejected in report.rejected},
        answered={one: answer.reason for one, answer in report.answered},
        later=(*(one for one, _ in report.retried), *report.unacknowledged),
    )


@contextmanager
def killed() -> Iterator[None]:
    """The process is killed in this block. Raises AssertionError where it lives on."""
    try:
        yield
    except Killed:
        return
    raise AssertionError("the process was not killed: what the case wants to break was not reached")
