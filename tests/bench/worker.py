"""A worker of the fleet's bench: one process that opens the home of its environment and does one thing.

    python -m tests.bench.worker declare FILE FIRST COUNT       envelopes of so many citizens, into a file
    python -m tests.bench.worker accept FILE RATE               hand them in: RATE a second, or as fast as it goes (0)
    python -m tests.bench.worker receive COUNT PARTY...         take, open, verify and acknowledge so many deliveries
    python -m tests.bench.worker revoke FIRST COUNT PARTY       revoke the consents of so many citizens, one by one

Says `ready` on a line of its own once it could begin, begins when a line comes in, and ends with one line of JSON.
Times are seconds of the machine's clock, which all processes share.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from broker.cli.session import collect_less
from broker.flow.hosted import HostedInbox
from broker.settings.choices import load
from broker.setup.opening import open_home
from broker.setup.wiring import Home
from broker.web.agencies.waiting import Waiting
from connectors.contract import Applied, Pulled
from schemas.names import PartyId
from tests.bench.spine import BATCH, FAMILY, MOVED, VOICE, person
from tests.world import PORTAL, World

LOOK_SECONDS = 1
"""How long a recipient of the bench waits before it looks whether all have come."""


def written(envelopes: Sequence[bytes]) -> bytes:
    """Envelopes as a file has them, each behind its length."""
    return b"".join(len(each).to_bytes(4, "big") + each for each in envelopes)


def envelopes_in(raw: bytes) -> Iterator[bytes]:
    """What `written` wrote."""
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        yield raw[at + 4 : at + 4 + size]
        at += 4 + size


async def declare(here: World, file: str, first: str, count: str) -> dict[str, Any]:
    """The source's part, and the only one that the load generator has."""
    people = [person(int(first) + number) for number in range(int(count))]
    began = time.process_time()
    made = [await here.home.desk.envelope(PORTAL, MOVED, here.moved(each)) for each in people]
    spent = time.process_time() - began
    Path(file).write_bytes(written(made))
    return {"spent": spent}


async def accept(here: World, file: str, rate: str) -> dict[str, Any]:
    """The intake's part. `accepted`: when each declaration was handed in (for a rate: was to be)."""
    envelopes = list(envelopes_in(Path(file).read_bytes()))
    pause = 1 / float(rate) if float(rate) else 0
    began, accepted = time.time(), {}
    for number in range(0, len(envelopes), 1 if pause else BATCH):
        due = began + number * pause
        if pause:
            await asyncio.sleep(due - time.time())
        at = due if pause else time.time()
        for answer in await here.home.intake.accept_all(envelopes[number : number + (1 if pause else BATCH)]):
            if isinstance(answer, Exception):
                raise answer
            accepted[answer.declaration_id.hex()] = at
    return {"began": began, "ended": time.time(), "accepted": accepted}


async def receive(here: World, count: str, *parties: str) -> dict[str, Any]:
    """The recipients. `handed`: when each delivery's keys were there; `opening`: seconds of the agencies' own work."""
    left, handed, opening = [int(count)], dict[str, list[float]](), [0.0]
    await asyncio.gather(*(_receive(here, PartyId(party), left, handed, opening) for party in parties))
    return {"ended": time.time(), "handed": handed, "opening": opening[0]}


async def _receive(
    here: World, party: PartyId, left: list[int], handed: dict[str, list[float]], opening: list[float]
) -> None:
    """As a long poll does: it waits as the API's does, then takes what there is."""
    inbox: HostedInbox = here.inbox(party)
    waiting = Waiting()
    while left[0] > 0:
        bell = here.home.store.wake_signal
        due = await waiting.until(party, bell, inbox.due, _never, most=BATCH, seconds=LOOK_SECONDS)
        pulled = await inbox.pull_due(due)
        if pulled.locked:
            await _take(here, party, pulled, left, handed, opening)


async def _never() -> bool:
    return False


async def _take(
    here: World,
    party: PartyId,
    pulled: Pulled,
    left: list[int],
    handed: dict[str, list[float]],
    opening: list[float],
) -> None:
    at, began = time.time(), time.process_time()
    opened = await here.open(party, pulled)
    opening[0] += time.process_time() - began
    for delivery in opened:
        handed.setdefault(delivery.declaration_id.hex(), []).append(at)
    await here.inbox(party).acknowledge_all({delivery.delivery_id: Applied() for delivery in opened})
    left[0] -= len(opened)


async def revoke(here: World, first: str, count: str, party: str) -> dict[str, Any]:
    """Seconds that each revocation took until it was acknowledged."""
    took = []
    for number in range(int(first), int(first) + int(count)):
        given = await here.give(PartyId(party), MOVED, FAMILY, ["subject"], person=person(number))
        began = time.perf_counter()
        await here.home.consents.revoke(given.grant.id, VOICE)
        took.append(time.perf_counter() - began)
    return {"took": took}


TASKS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "declare": declare,
    "accept": accept,
    "receive": receive,
    "revoke": revoke,
}


async def work(task: str, words: Sequence[str]) -> None:
    """One task, with the processor time that it took: its own, and the whole process's since it could begin."""
    async with open_home(load()) as home:
        await _warm(home)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        before = _spent()
        told = await TASKS[task](World(home, home.clock, home.settings.home), *words)  # type: ignore[arg-type]
        print(json.dumps({**told, "cpu": _spent() - before}), flush=True)


async def _warm(home: Home) -> None:
    async with home.store.read() as tx:
        await home.lookup.directory(tx)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    collect_less()
    asyncio.run(work(sys.argv[1], sys.argv[2:]))
