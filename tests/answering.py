"""A broker that answers over a real socket, as `unefois serve` has it: its home, its loop and its server in one thread.

Tests that speak to it are ordinary functions: they have sockets, threads or clients of their own.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from broker.access.credentials import Scope
from broker.web.agencies.waiting import Waiting
from broker.web.app import build
from broker.web.server import address_of, bound, serve_http
from schemas.names import Instant, PartyId
from tests.world import DAY, World, world

T = TypeVar("T")


@dataclass
class Answering:
    """The address, and a way to have things done inside."""

    url: str
    here: World
    loop: asyncio.AbstractEventLoop

    def inside(self, work: Callable[[World], Awaitable[T]]) -> T:
        """Run something in the broker's own loop, and wait for it."""

        async def done() -> T:
            return await work(self.here)

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(60)

    def token(self, party: PartyId, *scopes: Scope) -> str:
        """A token of a party, for all scopes unless told."""

        async def issue(here: World) -> str:
            at = here.clock()
            async with here.home.store.begin() as tx:
                issued = await here.home.credentials.issue(
                    tx, party, scopes or tuple(Scope), expires_at=Instant(at + DAY), at=at
                )
            return issued.token

        return self.inside(issue)

    @property
    def port(self) -> int:
        """On 127.0.0.1."""
        return int(self.url.rpartition(":")[2])


@contextmanager
def answering(folder: Path, waiting: Waiting | None = None, **settings: Any) -> Iterator[Answering]:
    """A furnished broker while the block runs; fsck is clean at its end."""
    began, ready, fault = threading.Event(), [], []

    async def run() -> None:
        chosen = {
            "requests_per_minute": 0,
            "address_requests_per_minute": 0,
            "declarations_per_minute": 0,
            "listen": "127.0.0.1:0",
            **settings,
        }
        async with world(folder, **chosen) as here:
            taken = bound(here.home.settings)
            assert taken is not None
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            ready.extend([Answering(address_of(taken), here, loop), lambda: loop.call_soon_threadsafe(stop.set)])
            serving = asyncio.create_task(serve_http(build(here.home, waiting=waiting), taken, stop))
            began.set()
            await serving
            await here.step()

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # told to the test, whose thread this is not
            fault.append(error)
        finally:
            began.set()

    thread = threading.Thread(target=main)
    thread.start()
    began.wait()
    try:
        if ready:
            yield ready[0]
    finally:
        if ready:
            ready[1]()
        thread.join()
        if fault:
            raise fault[0]
