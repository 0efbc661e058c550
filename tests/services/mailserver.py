"""A mail server in this process, on loopback, that we did not write (aiosmtpd): it keeps what it takes."""

import ssl
from asyncio import Event, get_running_loop, new_event_loop
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from queue import Queue
from threading import Event as ThreadEvent
from threading import Thread
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword


class Desk:
    """What it answers to a letter, and the letters that it took."""

    def __init__(self) -> None:
        self.answer = "250 taken"
        self.taken: list[Envelope] = []
        self.heard: Callable[[], None] = lambda: None

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        """The library calls it so."""
        if self.answer.startswith("250"):
            self.taken.append(envelope)
            self.heard()
        return self.answer

    def letters(self) -> list[EmailMessage]:
        """What it took, read."""
        contents = (one.content for one in self.taken)
        return [message_from_bytes(told, policy=policy.default) for told in contents if isinstance(told, bytes)]  # type: ignore[misc]


class Post:
    """A mail server in a thread of its own, for who has no loop. `letters`: those it took, as they come."""

    def __init__(self) -> None:
        self.letters: Queue[EmailMessage] = Queue()
        self.port = 0
        self._loop = new_event_loop()
        self._desk = Desk()
        self._desk.heard = lambda: self.letters.put(self._desk.letters()[-1])
        self._ready, self._stop = ThreadEvent(), Event()
        self._thread = Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)

    async def _run(self) -> None:
        async with serving(self._desk) as self.port:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


def _known(server: Any, session: Any, envelope: Any, mechanism: str, told: LoginPassword) -> AuthResult:
    return AuthResult(success=(b"unefois", b"right") == (told.login, told.password), handled=False)


@asynccontextmanager
async def serving(desk: Desk, certificate: Path | None = None) -> AsyncIterator[int]:
    """Its port. With a certificate it wants STARTTLS, then `unefois` with the password `right`."""
    told: dict[str, Any] = {}
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        told = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": _known}
    server = await get_running_loop().create_server(lambda: SMTP(desk, **told), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
