"""An HTTP server of a rig, on a port of this machine: one request a connection, and the bytes that a rig answers.

Refuses: nothing; it is a peer, good or bad, as its rig has it.
Keeps: a request is read whole before it is answered; what is answered is written as it is, broken or not.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Answering(ABC):
    """A server that says what `answered` gives."""

    port: int = 0

    @abstractmethod
    def answered(self, request: Request) -> bytes | None:
        """The whole answer, head and body; None: it never answers, until the other side gives up."""

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Listen in this block."""
        talks: list[asyncio.Future[None]] = []

        async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talks.append(asyncio.ensure_future(self._talk(reader, writer)))

        server = await asyncio.start_server(taken, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await asyncio.gather(*talks)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):  # `check` may only connect
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *rest = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest) if value}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, target, _ = first.split(" ")
            answer = self.answered(Request(method, target, headers, body))
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def response(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer with its length; a header's name has `_` for `-`."""
    told = {"content_length": str(len(body)), "content_type": "application/json", "connection": "close"} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode("latin-1") + body
