"""Server: one HTTP server in a process that has other things to do as well.

Refuses: to catch signals, to log what is asked, to say what it is.
Keeps: the address is taken before the work begins, so a process that cannot answer does not start; asked to stop, it
ends the answers that it has begun, for GRACE_SECONDS at most.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from broker.settings.choices import Settings
from broker.web.common.connections import Connection, most
from schemas.errors import Refused

GRACE_SECONDS: Final = 10
KEEP_ALIVE_SECONDS: Final = 15
BACKLOG: Final = 1024


def bound(settings: Settings) -> socket.socket | None:
    """The socket that `listen` names, taken; None for `none`. Raises Refused `serving.listen`."""
    return None if settings.listen == "none" else bound_at(settings.listen)


def bound_at(listen: str) -> socket.socket:
    """The socket of an address, taken: `127.0.0.1:8470`; port 0: one that is free. Raises Refused `serving.listen`."""
    host, _, port = listen.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            taken.listen(BACKLOG)
        except OSError:
            taken.close()
            raise
    except OSError as error:
        raise Refused("serving.listen", "/listen", listen=listen, error=type(error).__name__) from None
    return taken


def address_of(taken: socket.socket) -> str:
    """As somebody would type it."""
    host, port = taken.getsockname()[:2]
    return f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """Signals are the program's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Catch none."""
        yield


async def serve_http(app: ASGIApp, taken: socket.socket, stop: asyncio.Event) -> None:
    """Answer at a socket that `bound` took, until `stop` is set; closes it."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    Connection.limit = most()
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[taken]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
