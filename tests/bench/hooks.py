"""Webhooks in the bench: how long until every one of many agencies has heard that a delivery waits for it.

    python -m tests.bench.hooks [--agencies 500] [--delay 0.05]

One declaration that every agency receives; from its acceptance, routing included, to the last agency's answer. The
agencies are one HTTP server in a process of its own, each answer after `--delay` seconds; the floor is the same posts
by bare httpx2, as many at once, to the same server.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from broker.cli.session import collect_less
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.outbound import AT_ONCE
from schemas.hpke import Suite
from schemas.names import PartyId
from tests.bench.figures import Figure, cost, show
from tests.world import FAMILY, MOVED, World, world

AGENCIES = 500
SECONDS = 2.0
"""The aim: told within two seconds of acceptance."""


async def answering(delay: float) -> None:
    """Every agency's server: echoes challenges, answers 200 after a while. Prints its port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        await asyncio.sleep(delay)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(told := echo(body)) + told
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def echo(body: bytes) -> bytes:
    """The challenge alone."""
    return body.partition(b'"challenge":"')[2].partition(b'"')[0]


async def furnish(here: World, count: int, port: int) -> None:
    """As many agencies, each with a subscription, a consent of one citizen, and a webhook that is proven."""
    home = here.home
    for number in range(count):
        party = PartyId(f"urn:unefois:hook{number}")
        told = {"address": "-", "contact": "-", "retention": "-", "created_at": here.clock()}
        row = Party(id=party, name="Bench", sector="bench", kind=PartyKind.ADMINISTRATION, **told)
        await home.parties.enrol(Enrolment(row, 1, Suite.X25519, ()))
        await here.subscribe(party, MOVED, FAMILY, ("subject",))
        await here.give(party, MOVED, FAMILY, ("subject",))
        async with home.store.begin() as tx:
            await home.webhooks.add(tx, party, f"http://127.0.0.1:{port}/{number}", here.clock())
    await told_all(here, count)


async def told_all(here: World, count: int) -> None:
    """Send until so many have answered."""
    heard = 0
    while heard < count:
        outcomes, _ = await here.home.telling.step()
        heard += len(outcomes)
        failed = [one.code for one in outcomes if one.code is not None]
        if failed:
            raise AssertionError(failed[0])


async def floor(count: int, port: int) -> float:
    """Seconds of the same posts by bare httpx2."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with httpx2.AsyncClient(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)) as client:

        async def one(number: int) -> None:
            async with turn:
                await client.post(f"http://127.0.0.1:{port}/{number}", content=b"x" * 160)

        start = time.perf_counter()
        await asyncio.gather(*map(one, range(count)))
        return time.perf_counter() - start


async def measured(count: int, delay: float) -> list[Figure]:
    """The figures."""
    command = (sys.executable, "-m", "tests.bench.hooks", "--answer", "--delay", str(delay))
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with world(Path(folder), outbound_allowed=f"127.0.0.1:{port}") as here:
                await furnish(here, count, port)
                bare = await floor(count, port)
                start = time.perf_counter()
                await here.declare(MOVED, here.moved())
                routed = time.perf_counter() - start
                await told_all(here, count)
                whole = time.perf_counter() - start
    finally:
        server.kill()
        await server.wait()
    return [
        cost(f"{count} agencies told by webhook, from acceptance", "s", whole, SECONDS, bare),
        cost("of which routing", "s", routed, None),
    ]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agencies", type=int, default=AGENCIES)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds until an agency answers")
    parser.add_argument("--answer", action="store_true", help="be the agencies")
    chosen = parser.parse_args()
    if chosen.answer:
        asyncio.run(answering(chosen.delay))
        return
    collect_less()
    show("webhooks", asyncio.run(measured(chosen.agencies, chosen.delay)))


if __name__ == "__main__":
    main()
