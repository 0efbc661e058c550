"""One of several races between citizens who revoke and an agency that asks for keys, each side in its own process.

    python -m tests.fire.racer HOME NUMBER ROUNDS [naive]

Every round is a citizen's consent, a declaration that the routers of the home deliver, and then, at the same moment,
the revocation here and the request for the keys in the process forked for it, for one delivery or for several. Once
the revocation is acknowledged, a further request must get nothing. Prints how often the keys were open and closed, as
JSON. `naive` asks the gate that
looks before it takes its lock.
"""

import asyncio
import json
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from broker.flow.deliveries import Delivery
from broker.flow.deliveries import load as load_deliveries
from broker.settings.choices import load
from broker.setup.opening import open_home
from broker.store.tables import deliveries
from schemas.names import DeliveryId, GrantId, Reason
from tests.faults.races import naive
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, VOICE, Clock, World

CHUNK: Final = 250
"""Rounds that are prepared at once."""
WRITERS: Final = 8
MOST: Final = 16
"""Deliveries for which the agency asks at once."""
DEADLINE: Final = 300


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[World]:
    """The home, by the real clock."""
    async with open_home(load(home=home)) as machine:
        yield World(machine, Clock(), home)


# ── the agency's process ────────────────────────────────────────────────────────────────────────────────────────────


async def agency(home: Path, line: socket.socket, *, wrong: bool) -> None:
    """For some deliveries' ids that come: `b` when it begins to ask for their keys, then `o` or `c` for each."""
    reader, writer = await asyncio.open_connection(sock=line)
    async with opened(home) as here:
        gate = naive(here.home.gate) if wrong else here.home.gate
        while size := await reader.read(1):
            ids = [DeliveryId(await reader.readexactly(16)) for _ in range(size[0])]
            writer.write(b"b")
            released = await gate.release(CAF, ids)
            out = {one.delivery_id for one in released.locked}
            writer.write(b"".join(b"o" if one in out else b"c" for one in ids))
            await writer.drain()
    writer.close()


def forked(home: Path, *, wrong: bool) -> socket.socket:
    """The line to a process of the agency."""
    mine, theirs = socket.socketpair()
    if os.fork() == 0:
        mine.close()
        try:
            asyncio.run(agency(home, theirs, wrong=wrong))
        finally:
            os._exit(0)
    theirs.close()
    return mine


# ── the citizens' process ───────────────────────────────────────────────────────────────────────────────────────────


def person(number: int, round_: int) -> dict[str, Any]:
    """Another for each round of each race."""
    name = "".join(chr(97 + round_ // 26**place % 26) for place in range(4))
    return ELISE | {"given_names": [f"Anne{name}"], "birthdate": f"{1940 + number}-04-12"}


async def prepared(here: World, number: int, first: int, count: int) -> list[tuple[GrantId, Delivery]]:
    """So many citizens, each with a consent and a delivery that the agency holds and has not opened."""
    people = [person(number, first + each) for each in range(count)]
    turns = asyncio.Semaphore(WRITERS)

    async def one(who: dict[str, Any]) -> tuple[Any, GrantId, bytes]:
        async with turns:
            recorded = await here.give(CAF, MOVED, FAMILY, ["subject"], person=who)
            return (
                recorded.grant.subject,
                recorded.grant.id,
                await here.home.desk.envelope(PORTAL, MOVED, here.moved(who)),
            )

    made = await asyncio.gather(*(one(each) for each in people))
    await here.home.intake.accept_all([envelope for _, _, envelope in made])
    grants = {subject: grant for subject, grant, _ in made}
    return [(grants[one.subject], one) for one in await held(here, grants)]


async def held(here: World, mine: dict[Any, GrantId]) -> list[Delivery]:
    """The deliveries of these citizens, once the routers have made all of them and the agency has fetched them."""
    until = time.monotonic() + DEADLINE
    while True:
        await here.inbox(CAF).lease(2 * CHUNK)  # those of the other races too: it is one agency
        async with here.home.store.read() as tx:
            found = await load_deliveries(tx, deliveries.c.grant_id.in_(list(mine.values())))
        if len(found) == len(mine) and all(one.handed_at is not None for one in found):
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{len(found)} of {len(mine)} were routed")
        await asyncio.sleep(0.1)


async def race(home: Path, number: int, rounds: int, line: socket.socket) -> Counter[str]:
    """Every round; who begins first changes, and how far ahead, and for how many deliveries the agency asks at once."""
    outcomes, chance = Counter[str](), random.Random(number)
    reader, writer = await asyncio.open_connection(sock=line)
    async with opened(home) as here:
        for first in range(0, rounds, CHUNK):
            waiting = await prepared(here, number, first, min(CHUNK, rounds - first))
            while waiting:
                size = chance.randint(1, MOST)
                together, waiting = waiting[:size], waiting[size:]
                outcomes.update(await at_once(here, together, chance, reader, writer))
    writer.close()
    return outcomes


async def at_once(
    here: World,
    together: list[tuple[GrantId, Delivery]],
    chance: random.Random,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> list[str]:
    """Some citizens revoke while the agency asks for the keys of all. Returns for each whether the keys came out."""
    ids = [delivery.id for _, delivery in together]

    async def revoke(grant: GrantId) -> None:
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        await here.home.consents.revoke(grant, VOICE)

    async def ask() -> str:
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        writer.write(bytes([len(ids)]) + b"".join(map(bytes, ids)))
        assert b"b" == await reader.readexactly(1)
        return (await reader.readexactly(len(ids))).decode()

    answers, *_ = await asyncio.gather(ask(), *(revoke(grant) for grant, _ in together))
    again = await here.home.gate.release(CAF, ids)
    assert [Reason.REVOKED] * len(ids) == [reason for _, reason in again.withheld], "opened after the revocation"
    return [{"o": "open", "c": "closed"}[answer] for answer in answers]


def main() -> None:
    home, number, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    line = forked(home, wrong="naive" in sys.argv[4:])
    print(json.dumps(asyncio.run(race(home, number, rounds, line))), flush=True)


if __name__ == "__main__":
    main()
