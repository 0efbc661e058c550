"""Two processes for tests, in one loop: one holds the keys of consents and answers, one has none and asks."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from broker.consents import local, wire
from broker.consents.asking import Asking
from broker.keys.restricted import RestrictedKeys
from broker.setup.roles import ProcessRole, hand_out, secrets_of
from broker.setup.wiring import Home
from tests.world import World

Middle = Callable[[bytes, Callable[[bytes], Awaitable[bytes]]], Awaitable[bytes | None]]
"""Gets a question and who answers it; None: the connection is lost."""


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="unefois-") as found:
        yield Path(found)


def process(here: World, role: ProcessRole, socket: Path) -> Home:
    """A process of a role, with its secrets and no other."""
    whole = here.home
    hand_out(whole.keys)
    return Home(
        whole.settings.model_copy(update={"consents_socket": socket}),
        store=whole.store,
        log=whole.log,
        keys=RestrictedKeys(whole.keys, role.value, secrets_of(role)),
        endings=whole.endings,
        clock=whole.clock,
        entropy=whole.entropy,
    )


@dataclass
class Beside:
    """`portal` asks `consents` over `socket`."""

    here: World
    socket: Path
    portal: Home
    consents: Home

    def asking(self, socket: Path | None = None, seconds: float = 5) -> Asking:
        """Another one who asks."""
        return Asking(socket or self.socket, None, self.here.home.entropy, seconds)

    async def exchanged(self, raw: bytes) -> bytes:
        """One question and its answer, as they go over the wire."""
        reader, writer = await local.connected(self.socket, None)
        try:
            await local.sent(writer, raw)
            return await local.received(reader, wire.ANSWER_BYTES)
        finally:
            await local.closed(writer)

    @asynccontextmanager
    async def in_the_middle(self, does: Middle) -> AsyncIterator[Path]:
        """A socket in front of the other, where something happens to what passes."""
        path = self.socket.with_name("middle.sock")

        async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(EOFError):  # who came has gone
                answer = await does(await local.received(reader, wire.QUESTION_BYTES), self.exchanged)
                if answer is not None:
                    await local.sent(writer, answer)
            await local.closed(writer)

        server = await asyncio.start_unix_server(heard, path=str(path))
        try:
            yield path
        finally:
            server.close()


@asynccontextmanager
async def beside(here: World, role: ProcessRole = ProcessRole.PORTAL) -> AsyncIterator[Beside]:
    """Both, at work."""
    with short_folder() as folder:
        socket = folder / "consents.sock"
        made = Beside(here, socket, process(here, role, socket), process(here, ProcessRole.CONSENTS, socket))
        async with answered(made.consents):
            yield made


@asynccontextmanager
async def answered(consents: Home) -> AsyncIterator[None]:
    """While the block runs, this process answers."""
    stop, path = asyncio.Event(), consents.settings.consents_socket
    serving = asyncio.create_task(consents.answering.serve(path, None, stop))
    while not path.exists() and not serving.done():
        await asyncio.sleep(0)
    try:
        yield
    finally:
        stop.set()
        await serving
