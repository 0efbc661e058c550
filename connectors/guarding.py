"""Guarding: a connector within its limits: a deadline for each call, rest after failures, hours of maintenance.

    asked ──`rest_after` failures in a row──► rests `rest_s`, or as long as it was asked to ──► asked again
                                                                          └── one more failure: it rests again

Refuses: to call a connector that rests or whose maintenance window is open: Retry, with the time to wait.
Keeps: it is opened once. After a failure that may be its own (late, or unexpected) it is closed and opened anew between
two pulls, never between a write and its flush, which would lose what was written. A flush is never held back. What is
late is `Late`: nobody says that it was not done. What a connector may find in a journal of its own is no answer of its
system: `find`, `seen` and `answers` end no row of failures; a write ends that of calls, a flush that of flushes.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Protocol, TypeVar, runtime_checkable
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints

from connectors.contract import (
    Answering,
    Applied,
    Late,
    Outcome,
    Partly,
    Retry,
    Row,
    Settings,
    Writer,
    rows_writer,
)
from schemas.delivery import VerifiedDelivery
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.names import DeclarationId, DeliveryId, Instant, ManifestDigest, PartyId

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Hour = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Kind = Literal["call", "flush"]
"""Of what there is a row of failures: a flush that does nothing must not end that of writes, nor a write that only
waits for its flush that of flushes."""
LOOK_MS: Final = 60_000
"""Between two looks for answers, where nothing else is to be done."""
T = TypeVar("T")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError("no such time zone") from None
    return name


class Window(Settings):
    """Hours in which the system is being worked on. Past midnight, where the end comes before the start."""

    days: tuple[Day, ...] = DAYS
    """The days on which it begins."""
    start: Hour
    """From this minute, by the clock on the wall: `22:00`."""
    end: Hour
    """Until this minute: `06:00`. Equal to `start`: a whole day."""
    zone: Annotated[str, AfterValidator(_zone)] = "Europe/Paris"

    def left_ms(self, at: Instant) -> int:
        """Milliseconds until it ends; 0 while it is not open."""
        now = datetime.fromtimestamp(at / 1000, ZoneInfo(self.zone))
        for back in (0, 1):
            day = now - timedelta(days=back)
            last = day if self.start < self.end else day + timedelta(days=1)
            begins, ends = _on(day, self.start), _on(last, self.end)
            if DAYS[day.weekday()] in self.days and begins <= at < ends:
                return ends - at
        return 0


class Limits(Settings):
    """How a connector is treated by whoever runs it. The same settings for every kind."""

    at_once: Annotated[int, Field(ge=1, le=64)] | None = None
    """How many calls at once; what the connector says of itself, where nothing is said here."""
    deadline_s: Annotated[float, Field(gt=0, le=600)] = 30
    """The longest that one call may take, in seconds; less than the broker's `lease_seconds`, 60 by default."""
    rest_after: Annotated[int, Field(ge=1, le=1000)] = 5
    """So many failures in a row, and the system is left alone for a while."""
    rest_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    """For how long, in seconds."""
    windows: Annotated[tuple[Window, ...], Field(max_length=32)] = ()
    """When it is maintained: nothing is written then, and nothing pulled for it alone."""


@runtime_checkable
class Resting(Protocol):
    """A writer that may be at rest."""

    def rests_ms(self) -> int:
        """Milliseconds for which it takes nothing; 0: it does."""
        ...

    async def renew(self) -> None:
        """Between two pulls: open it anew, if it may have broken. Raises Unavailable; then it is tried again."""
        ...


@dataclass(slots=True)
class Guard:
    """What is remembered of one system's failures. It outlives the connector, which may be opened anew."""

    limits: Limits
    _failures: Counter[Kind] = field(default_factory=Counter)
    _until: Instant = field(default=Instant(0))
    _looked: Instant = field(default=Instant(0))

    def rests_ms(self, at: Instant) -> int:
        """Milliseconds for which nothing is asked of it."""
        rest = self._until - at
        asked = rest if rest <= max(self.limits.rest_s * 1000, 86_400_000) else 0  # a clock that was set back
        return max(0, asked, *(window.left_ms(at) for window in self.limits.windows))

    def is_to_look(self, at: Instant) -> bool:
        """Whether it is time to look for what the system answers later; then it is not, for LOOK_MS."""
        if 0 <= at - self._looked < LOOK_MS:
            return False
        self._looked = at
        return True

    def check(self, at: Instant) -> None:
        """Raises Retry("connector.resting")."""
        rest = self.rests_ms(at)
        if rest:
            raise Retry("connector.resting", after_ms=rest)

    def answered(self, kind: Kind = "call") -> None:
        """It works: whatever it said, it said it."""
        self._failures[kind] = 0

    def failed(self, at: Instant, asked_ms: int | None = None, kind: Kind = "call") -> None:
        """One more failure in a row."""
        self._failures[kind] += 1
        if self._failures[kind] >= self.limits.rest_after:
            self._until = Instant(at + max(self.limits.rest_s * 1000, asked_ms or 0))

    def unopened(self, at: Instant, fault: Unavailable) -> None:
        """One more failure. No delivery was put off that could wait as long as it asks: so the system is left alone."""
        asked = fault.after_ms if isinstance(fault, Retry) else None
        self.failed(at, asked)
        if asked:
            self._until = max(self._until, Instant(at + asked))


class Guarded:
    """A writer within its limits; itself a `Writer`. Made by `open`."""

    def __init__(
        self, writer: Writer, reopen: Callable[[], Awaitable[Writer]], guard: Guard, clock: Callable[[], Instant]
    ) -> None:
        self._writer = writer
        self._reopen = reopen
        self._guard = guard
        self._clock = clock
        self._doubtful = False

    @classmethod
    async def open(
        cls, opening: Callable[[], Awaitable[Writer]], guard: Guard, clock: Callable[[], Instant]
    ) -> "Guarded":
        """Open it for the first time. Raises what `opening` raises, and Retry("connector.resting")."""
        guard.check(clock())
        try:
            writer = await opening()
        except Unavailable as fault:
            guard.unopened(clock(), fault)
            raise
        return cls(writer, opening, guard, clock)

    def rests_ms(self) -> int:
        """Milliseconds for which it takes nothing."""
        return self._guard.rests_ms(self._clock())

    async def renew(self) -> None:
        """Close it and open it anew where it may have broken. Raises what opening raises."""
        if not self._doubtful:
            return
        await self._writer.close()
        try:
            self._writer = await self._reopen()
        except Unavailable as fault:
            self._guard.unopened(self._clock(), fault)
            raise
        self._doubtful = False

    async def find(self, delivery_id: DeliveryId) -> Applied | Partly | None:
        """Within the deadline. Raises Retry("connector.resting"), Late("connector.deadline")."""
        self._guard.check(self._clock())
        return await self._called(self._writer.find(delivery_id), asks=False)

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """Within the deadline. Raises as `find` does."""
        self._guard.check(self._clock())
        return await self._called(self._writer.write(delivery, row))

    async def write_rows(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str | None:
        """Within the deadline. Raises as `find` does, and Reject("connector.one-row")."""
        writer = rows_writer(self._writer)
        self._guard.check(self._clock())
        return await self._called(writer.write_rows(delivery, rows))

    async def flush(self) -> None:
        """Within the deadline, rest or none: what was written has to be durable. Raises Late("connector.deadline")."""
        await self._called(self._writer.flush(), "flush")

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """Within the deadline. Raises as `find` does."""
        self._guard.check(self._clock())
        return await self._called(self._writer.seen(source, declaration_id), asks=False)

    async def answers(self) -> Mapping[DeliveryId, Outcome]:
        """Within the deadline, of a writer that answers later; of another none. Raises as `find` does."""
        if not isinstance(self._writer, Answering):
            return {}
        self._guard.check(self._clock())
        return await self._called(self._writer.answers(), asks=False)

    async def heard(self, ids: Sequence[DeliveryId]) -> None:
        """Passed on."""
        if isinstance(self._writer, Answering):
            await self._writer.heard(ids)

    async def close(self) -> None:
        """Let go of it."""
        await self._writer.close()

    async def _called(self, call: Awaitable[T], kind: Kind = "call", *, asks: bool = True) -> T:
        """`asks`: whether it surely asks the system, so that an answer says something of it."""
        seconds = self._guard.limits.deadline_s
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                said = await call
        except (Refused, Corrupt):
            if asks:
                self._guard.answered(kind)
            raise
        except Unavailable as fault:
            self._guard.failed(self._clock(), fault.after_ms if isinstance(fault, Retry) else None, kind)
            raise
        except Exception:
            self._doubtful = True
            self._guard.failed(self._clock(), None, kind)
            if not deadline.expired():
                raise
        else:
            if asks:
                self._guard.answered(kind)
            return said
        raise Late("connector.deadline", seconds=round(seconds))


def _on(day: datetime, hour: str) -> Instant:
    wall = day.replace(hour=int(hour[:2]), minute=int(hour[3:]), second=0, microsecond=0, fold=0)
    return Instant(round(wall.timestamp() * 1000))
