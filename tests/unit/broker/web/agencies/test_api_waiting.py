"""A long poll's pace: what comes in quick succession is handed out together, and a first one waits for nobody."""

from collections.abc import Sequence

import pytest

from broker.store.wake_signal import WakeSignal
from broker.web.agencies.waiting import Waiting
from tests.world import CAF, CPAM

pytestmark = pytest.mark.asyncio

HOUR = 3600.0
BEGINNINGS = {"just started": 0.0, "within its first hour": 1234.3, "after a year": 31_557_600.7}
"""What a machine's clock says, in seconds, when the test begins."""


class Patient:
    """A long poll that notes how long it was made to wait, without waiting; its clock stands, unless it is told."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.waited: list[float] = []
        self.waiting = Waiting(pace=HOUR, sleep=self._sleep, now=lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def answered(self, found: Sequence[int], *, most: int = 10, seconds: int = 20) -> None:
        for count in found:

            async def ready(_: int, count: int = count) -> Sequence[int]:
                return range(count)

            assert range(count) == await self.waiting.until(CAF, WakeSignal(), ready, _here, most=most, seconds=seconds)


async def _here() -> bool:
    return False


@pytest.mark.parametrize("now", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_a_first_answer_waits_for_nobody_however_long_the_machine_has_been_on(now: float) -> None:
    poll = Patient(now)
    await poll.answered([1])
    assert [] == poll.waited


async def test_who_was_answered_a_moment_ago_waits_for_the_moment_to_pass_and_no_longer_than_it_wanted_to() -> None:
    poll = Patient()
    await poll.answered([1, 1])
    assert [20] == poll.waited


async def test_what_came_within_the_pace_waits_for_what_is_left_of_it() -> None:
    poll = Patient()
    await poll.answered([1])
    poll.now += HOUR - 8
    await poll.answered([1])
    assert [8] == poll.waited


async def test_who_gets_all_that_was_asked_for_does_not_wait() -> None:
    poll = Patient()
    await poll.answered([10, 10, 10])
    assert [] == poll.waited


async def test_each_administration_has_a_pace_of_its_own() -> None:
    poll = Patient()
    await poll.answered([1])

    async def ready(_: int) -> Sequence[int]:
        return [1]

    await poll.waiting.until(CPAM, WakeSignal(), ready, _here, most=10, seconds=20)
    assert [] == poll.waited


@pytest.mark.parametrize("now", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_what_came_long_after_the_last_answer_waits_for_nobody(now: float) -> None:
    poll = Patient(now)
    await poll.answered([1])
    poll.now += HOUR + 1
    await poll.answered([1])
    assert [] == poll.waited


async def test_what_came_while_it_waited_goes_along() -> None:
    poll, there = Patient(), [1]

    async def ready(_: int) -> Sequence[int]:
        return list(there)

    async def sleep(_: float) -> None:
        there.append(2)

    await poll.answered([1])
    poll.waiting._sleep = sleep
    assert [1, 2] == await poll.waiting.until(CAF, WakeSignal(), ready, _here, most=10, seconds=20)
