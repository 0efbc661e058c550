"""Process: a sandbox that answers over HTTP until it is asked to stop.

Refuses: an address that others could reach: in a sandbox everybody may do everything.
Keeps: the machine of `unefois serve`, all roles, behind the door; when it ends, its agency's file is gone with it.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.lab.sandbox import control, opening
from broker.lab.sandbox.playground import Playground, Wanted
from broker.observability import observe
from broker.runtime.serving import Serving
from broker.setup.roles import ProcessRole
from broker.web import app as web
from broker.web import server
from schemas.errors import Refused


@dataclass(frozen=True, slots=True)
class Live:
    """A sandbox that answers: where, and with which token."""

    play: Playground
    url: str
    token: str
    folder: Path

    @property
    def agency_file(self) -> Path:
        """What the administration needs, as a file."""
        return self.folder / opening.FILE

    @property
    def auth_file(self) -> Path:
        """The token as a header, for `curl -H @FILE`."""
        return self.folder / "auth"

    async def write(self) -> None:
        """Both files, as things are now."""
        await opening.write_agency(self.play, self.agency_file, self.url, self.token)
        self.auth_file.touch(mode=0o600)
        self.auth_file.write_text(f"Authorization: Bearer {self.token}\n", "utf-8")


def check_listen(listen: str) -> str:
    """An address of this machine alone. Raises Refused `sandbox.listen`."""
    host = listen.rpartition(":")[0]
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = host == "localhost"
    if not near:
        raise Refused("sandbox.listen", "/listen", listen=listen)
    return listen


@asynccontextmanager
async def live(
    folder: Path,
    wanted: Wanted,
    listen: str,
    stop: asyncio.Event,
    *,
    works: bool,
    aged_ms: int = 0,
    settings: Mapping[str, Any] = opening.NOTHING,
) -> AsyncIterator[Live]:
    """A sandbox that answers as long as the block runs. `works`: its machine's loops run, too; else who opened it
    routes. `aged_ms`, `settings`: see `opening.opened`. Raises Refused `sandbox.*`, `serving.listen`; and what opening
    raises.
    """
    observe.hush("uvicorn.error")  # a connection that is cut on purpose is no news
    async with opening.opened(folder, wanted, check_listen(listen), aged_ms, settings) as play:
        taken = server.bound(play.home.settings)
        if taken is None:
            raise Refused("sandbox.listen", "/listen", listen=listen)
        serving = Serving(play.home, ProcessRole.ALL, (), stop, lambda *_: None, sandbox=True)
        app = web.build(play.home, serving if works else None)
        made = Live(play, server.address_of(taken), await opening.token_of(play), folder)
        app.mount(control.PREFIX, control.build(play, made.write))
        play.door.app = app
        ended = asyncio.Event()
        answering = asyncio.create_task(server.serve_http(play.door, taken, ended))
        answering.add_done_callback(lambda _: stop.set())
        working = asyncio.create_task(serving.run() if works else stop.wait())
        try:
            await made.write()
            yield made
        finally:
            stop.set()
            await working
            ended.set()
            await answering
            for path in (made.agency_file, made.auth_file):
                path.unlink(missing_ok=True)
