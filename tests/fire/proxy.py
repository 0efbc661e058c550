"""A TCP proxy that does to single requests what a network does: loses, repeats, holds them, or loses their answers.

It understands as much of a protocol as it needs to see where a request begins and what it is: of Kafka's the length
and the API key (kafka.apache.org, "Protocol", request headers), of PostgreSQL's the length and the type of a message
(postgresql.org, "Message formats").
Refuses: to change a byte. What it does to a request it does once; the rest of the stream is passed on as it is.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol


class Api(IntEnum):
    """Requests of Kafka, by their keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22


class Fate(Enum):
    """What becomes of a request."""

    PASSED = "passed"
    LOST = "lost"
    """It does not arrive, and the connection ends."""
    UNANSWERED = "unanswered"
    """It arrives and is done; the connection ends before the answer."""
    TWICE = "twice"
    """It arrives twice; the second answer is swallowed."""
    HELD = "held"
    """It waits until it is let go, and all behind it on its connection wait too."""


class Rule(Protocol):
    """Decides about each request, in the order in which they come."""

    def __call__(self, kind: int | bytes) -> Fate:
        """`kind`: a Kafka request's API key, or a PostgreSQL message's words."""


def passed(_: int | bytes) -> Fate:
    """Nothing is done to anything."""
    return Fate.PASSED


@dataclass
class Proxy:
    """Listens on `port` and passes on to `upstream`, both on the loopback address."""

    port: int
    upstream: int
    rule: Rule = passed
    done: list[tuple[int | bytes, Fate]] = field(default_factory=list)
    """What was done to what, without what was passed."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    links: "set[Link]" = field(default_factory=set)
    """The connections that live."""

    def cut(self) -> None:
        """End all connections; who comes again is led to what `upstream` is by then."""
        for link in set(self.links):
            link.close()

    def fate(self, kind: int | bytes) -> Fate:
        """As the rule says, and it is noted."""
        found = self.rule(kind)
        if found is not Fate.PASSED:
            self.done.append((kind, found))
        return found


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    proxy: Proxy
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    swallowed: int = 0
    """Answers that the client must not see, after those that it waits for."""
    muted: bool = False
    last_answer: bytes | None = None
    """The number of the request at whose answer the connection ends."""

    def close(self) -> None:
        """Both sides at once, as when a cable is pulled."""
        for _, writer in (self.client, self.server):
            writer.transport.abort()


@asynccontextmanager
async def kafka(port: int, upstream: int) -> AsyncIterator[Proxy]:
    """Between a client and one Kafka node, which has to advertise the proxy's port."""
    async with _serving(Proxy(port, upstream), _kafka_requests, _kafka_answers) as proxy:
        yield proxy


@asynccontextmanager
async def postgres(port: int, upstream: int) -> AsyncIterator[Proxy]:
    """Between a client and PostgreSQL; the rule is asked about each simple query, by its words."""
    async with _serving(Proxy(port, upstream), _postgres_requests, _postgres_answers) as proxy:
        yield proxy


@asynccontextmanager
async def _serving(
    proxy: Proxy, requests: Callable[[Link], object], answers: Callable[[Link], object]
) -> AsyncIterator[Proxy]:
    links: set[asyncio.Task[None]] = set()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        links.add(task)
        try:
            server = await asyncio.open_connection("127.0.0.1", proxy.upstream)
        except OSError:
            writer.transport.abort()
            return
        made = Link(proxy, (reader, writer), server)
        proxy.links.add(made)
        both = [asyncio.create_task(each(made)) for each in (requests, answers)]  # type: ignore[arg-type]
        with suppress(asyncio.CancelledError):  # at the end of the proxy: asyncio takes a cancelled server for a fault
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        made.close()
        proxy.links.discard(made)
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        links.discard(task)

    server = await asyncio.start_server(link, "127.0.0.1", proxy.port, limit=2**20)
    try:
        yield proxy
    finally:
        server.close()
        proxy.let_go.set()
        for task in set(links):
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)


async def _kafka_requests(link: Link) -> None:
    reader, writer = link.client[0], link.server[1]
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            head = await reader.readexactly(4)
            body = await reader.readexactly(int(struct.unpack(">i", head)[0]))
            fate = link.proxy.fate(int(struct.unpack(">h", body[:2])[0]))
            if fate is Fate.LOST:
                return
            if fate is Fate.HELD:
                await link.proxy.let_go.wait()
            if fate is Fate.UNANSWERED:
                link.last_answer = body[4:8]
            writer.write(head + body)
            if fate is Fate.TWICE:
                link.swallowed += 1
                writer.write(head + body)
            await writer.drain()


async def _kafka_answers(link: Link) -> None:
    reader, writer = link.server[0], link.client[1]
    last = b""
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            head = await reader.readexactly(4)
            body = await reader.readexactly(int(struct.unpack(">i", head)[0]))
            if body[:4] == link.last_answer:
                return
            if link.swallowed and body[:4] == last:
                link.swallowed -= 1
                continue
            last = body[:4]
            writer.write(head + body)
            await writer.drain()


async def _postgres_requests(link: Link) -> None:
    reader, writer = link.client[0], link.server[1]
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:  # before the first message with a type: requests for encryption, then the start
            head = await reader.readexactly(8)
            size, code = struct.unpack(">ii", head)
            writer.write(head + await reader.readexactly(size - 8))
            await writer.drain()
            if code == 3 << 16:
                break
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(int(struct.unpack(">i", head[1:])[0]) - 4)
            fate = link.proxy.fate(body.rstrip(b"\0")) if head[:1] == b"Q" else Fate.PASSED
            if fate is Fate.LOST:
                return
            if fate is Fate.HELD:
                await link.proxy.let_go.wait()
            link.muted = link.muted or fate is Fate.UNANSWERED
            writer.write(head + body)
            await writer.drain()


async def _postgres_answers(link: Link) -> None:
    """A commit has been done when the server says anything after it."""
    reader, writer = link.server[0], link.client[1]
    with suppress(OSError):
        while told := await reader.read(2**16):
            if link.muted:
                return
            writer.write(told)
            await writer.drain()
