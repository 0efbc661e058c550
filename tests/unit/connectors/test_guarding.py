"""A connector within its limits: late, at rest, maintained, opened anew; and what is never held back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from connectors.contract import Applied, Late, Reject, Retry, Unknown, checked
from connectors.guarding import Guard, Guarded, Limits, Window
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.names import DeliveryId, Instant

MONDAY = Instant(1_793_610_000_000)  # 2026-11-02T09:00:00Z, ten o'clock in Paris
ONE = DeliveryId(bytes(16))
HOUR = 3_600_000


@dataclass
class Clock:
    at: int = MONDAY

    def __call__(self) -> Instant:
        return Instant(self.at)


@dataclass
class Peer:
    """A writer that does what it is told, once for each."""

    faults: list[Exception] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    calls: list[str] = field(default_factory=list)
    never: bool = False

    async def open(self) -> Any:
        self.opened += 1
        if self.faults:
            raise self.faults.pop(0)
        return self

    async def _said(self, word: str) -> None:
        self.calls.append(word)
        if self.never:
            await asyncio.Event().wait()
        if self.faults:
            raise self.faults.pop(0)

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        await self._said("find")
        return Applied("7")

    async def write(self, delivery: Any, row: Any) -> str | None:
        await self._said("write")
        return "7"

    async def flush(self) -> None:
        await self._said("flush")

    async def seen(self, source: Any, declaration_id: Any) -> None:
        await self._said("seen")

    async def answers(self) -> dict[DeliveryId, Any]:
        await self._said("answers")
        return {}

    async def heard(self, ids: Any) -> None:
        await self._said("heard")

    async def close(self) -> None:
        self.closed += 1


@dataclass
class Here:
    clock: Clock
    peer: Peer
    guarded: Guarded

    async def write(self) -> Any:
        return await self.guarded.write(None, {})  # type: ignore[arg-type]


Make = Callable[..., Awaitable[Here]]


@pytest.fixture
def make() -> Make:
    async def made(**limits: Any) -> Here:
        clock, peer = Clock(), Peer()
        guard = Guard(checked(Limits, limits))
        return Here(clock, peer, await Guarded.open(peer.open, guard, clock))

    return made


@pytest.mark.asyncio
async def test_what_is_asked_is_answered_and_it_is_opened_once(make: Make) -> None:
    here = await make()
    assert ("7", Applied("7")) == (await here.write(), await here.guarded.find(ONE))
    await here.guarded.renew()
    assert 1 == here.peer.opened


@pytest.mark.asyncio
@pytest.mark.parametrize("call", ["find", "write", "flush", "seen"])
async def test_a_call_that_does_not_end_is_late_and_nobody_says_that_it_was_not_done(call: str, make: Make) -> None:
    here = await make(deadline_s=0.001)
    here.peer.never = True
    told = {"find": (ONE,), "write": (None, {}), "flush": (), "seen": ("", b"")}[call]
    with pytest.raises(Late, match=r"connector.deadline") as caught:
        await getattr(here.guarded, call)(*told)
    assert isinstance(caught.value, Unknown)


@pytest.mark.asyncio
async def test_after_so_many_failures_in_a_row_it_rests_and_is_asked_again_afterwards(make: Make) -> None:
    here = await make(rest_after=3, rest_s=60)
    here.peer.faults = [Retry("x.away") for _ in range(3)]
    for _ in range(3):
        assert 0 == here.guarded.rests_ms()
        with pytest.raises(Retry, match=r"x.away"):
            await here.write()
    with pytest.raises(Retry, match=r"connector.resting") as caught:
        await here.write()
    assert (60_000, 3) == (caught.value.after_ms, len(here.peer.calls))
    here.clock.at += 60_000
    assert "7" == await here.write()


@pytest.mark.asyncio
async def test_one_more_failure_after_its_rest_and_it_rests_again(make: Make) -> None:
    here = await make(rest_after=2, rest_s=60)
    here.peer.faults = [Retry("x.away") for _ in range(3)]
    for _ in range(2):
        with pytest.raises(Retry):
            await here.write()
    here.clock.at += 60_000
    with pytest.raises(Retry, match=r"x.away"):
        await here.write()
    assert 60_000 == here.guarded.rests_ms()


@pytest.mark.asyncio
async def test_an_answer_ends_the_row_of_failures_even_if_it_is_a_no(make: Make) -> None:
    here = await make(rest_after=2)
    here.peer.faults = [Retry("x.away"), Reject("x.no"), Retry("x.away")]
    for _ in range(3):
        with pytest.raises((Retry, Reject)):
            await here.write()
    assert 0 == here.guarded.rests_ms()


@pytest.mark.asyncio
async def test_what_is_looked_up_between_two_failures_says_nothing_of_the_system(make: Make) -> None:
    """As `publik`, `rest` and `file` do it: `find`, `seen` and `answers` read a journal, a flush has nothing to do."""
    here = await make(rest_after=2)
    for _ in range(2):
        assert 0 == here.guarded.rests_ms()
        await here.guarded.find(ONE)
        await here.guarded.seen("", b"")  # type: ignore[arg-type]
        assert {} == await here.guarded.answers()
        here.peer.faults = [Retry("x.away")]
        with pytest.raises(Retry, match=r"x.away"):
            await here.write()
        await here.guarded.flush()
    assert 60_000 == here.guarded.rests_ms()


@pytest.mark.asyncio
async def test_a_write_that_waits_for_its_flush_says_nothing_of_the_disk(make: Make) -> None:
    """As `file` does it: a write is kept in memory, and the flush is what fails."""
    here = await make(rest_after=2)
    for _ in range(2):
        assert 0 == here.guarded.rests_ms()
        await here.write()
        here.peer.faults = [Unavailable("x.full")]
        with pytest.raises(Unavailable, match=r"x.full"):
            await here.guarded.flush()
    assert 60_000 == here.guarded.rests_ms()


@pytest.mark.asyncio
@pytest.mark.parametrize("again", [False, True])
async def test_a_system_that_asks_to_wait_while_it_is_opened_is_left_alone_so_long(make: Make, again: bool) -> None:
    """No delivery was put off for it, and `rest_after` is far: its Retry-After counts all the same."""
    clock, peer = Clock(), Peer(faults=[Retry("x.too-many", after_ms=120_000)])
    guard = Guard(Limits())
    if again:
        peer.faults.insert(0, ZeroDivisionError())
        here = await make()
        here.peer.faults, guard, clock = peer.faults, here.guarded._guard, here.clock
        with pytest.raises(ZeroDivisionError):
            await here.write()
        with pytest.raises(Retry, match=r"x.too-many"):
            await here.guarded.renew()
    else:
        with pytest.raises(Retry, match=r"x.too-many"):
            await Guarded.open(peer.open, guard, clock)
    assert 120_000 == guard.rests_ms(clock())


@pytest.mark.asyncio
async def test_it_rests_as_long_as_it_asks_to(make: Make) -> None:
    here = await make(rest_after=1, rest_s=60)
    here.peer.faults = [Retry("x.too-many", after_ms=600_000)]
    with pytest.raises(Retry):
        await here.write()
    assert 600_000 == here.guarded.rests_ms()


@pytest.mark.asyncio
async def test_a_clock_that_was_set_back_for_years_does_not_make_it_rest_for_years(make: Make) -> None:
    here = await make(rest_after=1)
    here.peer.faults = [Retry("x.away")]
    with pytest.raises(Retry):
        await here.write()
    here.clock.at -= 365 * 24 * HOUR
    assert 0 == here.guarded.rests_ms()


@pytest.mark.asyncio
async def test_a_flush_is_never_held_back_for_what_was_written_must_be_durable(make: Make) -> None:
    here = await make(rest_after=1)
    here.peer.faults = [Retry("x.away")]
    with pytest.raises(Retry):
        await here.write()
    await here.guarded.flush()
    assert ["write", "flush"] == here.peer.calls


@pytest.mark.asyncio
async def test_what_may_have_broken_is_opened_anew_when_it_is_told_to_and_not_before(make: Make) -> None:
    here = await make()
    here.peer.faults = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await here.write()
    await here.guarded.flush()
    assert (1, 0) == (here.peer.opened, here.peer.closed)
    await here.guarded.renew()
    await here.guarded.renew()
    assert (2, 1) == (here.peer.opened, here.peer.closed)


@pytest.mark.asyncio
async def test_what_is_away_has_not_broken_and_a_no_has_not_either(make: Make) -> None:
    here = await make()
    here.peer.faults = [Retry("x.away"), Reject("x.no"), Corrupt("x.state")]
    for _ in range(3):
        with pytest.raises((Unavailable, Refused, Corrupt)):
            await here.write()
    await here.guarded.renew()
    assert 1 == here.peer.opened


@pytest.mark.asyncio
async def test_an_opening_that_fails_counts_and_is_tried_again(make: Make) -> None:
    here = await make(rest_after=2)
    here.peer.faults = [ZeroDivisionError(), Retry("x.away")]
    with pytest.raises(ZeroDivisionError):
        await here.write()
    with pytest.raises(Retry, match=r"x.away"):
        await here.guarded.renew()
    assert 60_000 == here.guarded.rests_ms()
    await here.guarded.renew()
    here.clock.at += 60_000
    assert "7" == await here.write()


@pytest.mark.asyncio
async def test_a_system_that_rests_is_not_opened() -> None:
    clock, peer = Clock(), Peer(faults=[Retry("x.away")])
    guard = Guard(Limits(rest_after=1))
    for wrong in ("x.away", "connector.resting"):
        with pytest.raises(Retry, match=wrong):
            await Guarded.open(peer.open, guard, clock)
    assert 1 == peer.opened


NIGHT = Window(start="22:00", end="06:00")


@pytest.mark.parametrize(
    ("window", "hours", "left"),
    [
        (NIGHT, 0, 0),  # 10:00
        (NIGHT, 11.99, 0),
        (NIGHT, 12, 8),  # 22:00
        (NIGHT, 14, 6),  # midnight
        (NIGHT, 19.5, 0.5),
        (NIGHT, 20, 0),  # 06:00
        (Window(start="09:00", end="11:00"), 0, 1),
        (Window(start="09:00", end="10:00"), 0, 0),
        (Window(days=("tue",), start="09:00", end="11:00"), 0, 0),
        (Window(days=("tue",), start="09:00", end="11:00"), 24, 1),
        (Window(days=("mon",), start="22:00", end="06:00"), 14, 6),  # Tuesday's small hours are Monday's night
        (Window(days=("tue",), start="22:00", end="06:00"), 14, 0),
        (Window(days=("sun",), start="00:00", end="00:00"), 0, 0),
        (Window(days=("mon",), start="00:00", end="00:00"), 0, 14),
        (Window(start="09:00", end="11:00", zone="UTC"), 0, 2),
    ],
)
def test_a_window_is_open_by_the_clock_on_the_wall(window: Window, hours: float, left: float) -> None:
    assert left * HOUR == window.left_ms(Instant(round(MONDAY + hours * HOUR)))


@pytest.mark.parametrize(("day", "left"), [(1_774_735_200_000, 6), (1_792_875_600_000, 8)])
def test_the_night_in_which_the_clocks_change_is_as_long_as_it_is(day: int, left: int) -> None:
    """From 23:00 in Paris on 28 March, and on 24 October 2026."""
    assert left * HOUR == Window(start="22:00", end="06:00").left_ms(Instant(day))


@pytest.mark.asyncio
async def test_in_its_window_it_is_left_alone(make: Make) -> None:
    here = await make(windows=[{"start": "22:00", "end": "06:00"}])
    here.clock.at += 14 * HOUR
    with pytest.raises(Retry, match=r"connector.resting") as caught:
        await here.write()
    assert (6 * HOUR, []) == (caught.value.after_ms, here.peer.calls)


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        ({"windows": [{"start": "25:00", "end": "06:00"}]}, "/windows/0/start"),
        ({"windows": [{"start": "22:00", "end": "06:00", "zone": "Europe/Rennes"}]}, "/windows/0/zone"),
        ({"windows": [{"start": "22:00", "end": "06:00", "zone": "../../etc/passwd"}]}, "/windows/0/zone"),
        ({"deadline_s": 0}, "/deadline_s"),
        ({"deadlines": 3}, "/deadlines"),
    ],
)
def test_a_wrong_limit_is_refused_at_its_place(limits: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Refused, match=r"connector.settings") as caught:
        checked(Limits, limits)
    assert pointer == caught.value.pointer
