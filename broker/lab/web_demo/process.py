"""Process: the pages, the machine and the cast in one process, until it is asked to stop.

Refuses: an address that others could reach: everybody may sign in as anybody here.
Keeps: nothing is left when it ends.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.lab.sandbox.process import check_listen
from broker.lab.web_demo import town
from broker.lab.web_demo.cast import OFFICES
from broker.lab.web_demo.work import AtWork
from broker.observability import observe
from broker.runtime.serving import Serving
from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.web import app as web
from broker.web import server

LISTEN: Final = "127.0.0.1:8480"


@dataclass(frozen=True, slots=True)
class Live:
    """A demonstration that answers, at `url`; its administrations, by the last part of their identifier."""

    home: Home
    url: str
    offices: dict[str, AtWork]


@asynccontextmanager
async def live(listen: str, stop: asyncio.Event) -> AsyncIterator[Live]:
    """It answers as long as the block runs. Raises Refused `sandbox.listen`, `serving.listen`, what opening does."""
    observe.hush("uvicorn.error")  # a connection that is cut is no news
    check_listen(listen)
    with tempfile.TemporaryDirectory(prefix="unefois-demo-") as folder:
        taken = server.bound_at(listen)
        url = server.address_of(taken)
        async with town.founded(Path(folder), url) as (home, provider):
            serving = Serving(home, ProcessRole.ALL, (), stop, lambda *_: None, sandbox=True)
            app = web.build(home, serving)
            app.mount(town.FICTIONAL, provider)
            offices = [AtWork(office, home) for office in OFFICES]
            ended = asyncio.Event()
            answering = asyncio.create_task(server.serve_http(app, taken, ended))
            answering.add_done_callback(lambda _: stop.set())
            working = [asyncio.create_task(serving.run()), *(asyncio.create_task(one.run(stop)) for one in offices)]
            try:
                yield Live(home, url, {one.office.party.rpartition(":")[2]: one for one in offices})
            finally:
                stop.set()
                await asyncio.gather(*working)
                ended.set()
                await answering
