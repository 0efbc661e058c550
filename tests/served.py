"""A real server for tests: uvicorn on loopback, in a thread of its own, on a port that is free."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of the app, `http://127.0.0.1:PORT`, while the block runs."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"  # who connects before it accepts waits in the queue
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
