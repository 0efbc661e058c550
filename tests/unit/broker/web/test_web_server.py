"""The server at its end: what it has begun to answer is answered, nobody new is let in, and only then is it over."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from broker.settings.choices import load
from broker.web import server

pytestmark = pytest.mark.asyncio


async def test_asked_to_stop_it_ends_the_answer_that_it_has_begun_and_takes_nobody_new(tmp_path: Path) -> None:
    begun, go_on, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            begun.set()
            await go_on.wait()
            await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"done"})

    taken = server.bound(load(home=tmp_path, listen="127.0.0.1:0"))
    assert taken is not None
    place = taken.getsockname()
    serving = asyncio.create_task(server.serve_http(slow, taken, stop))
    reader, writer = await asyncio.open_connection(*place)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    await begun.wait()

    stop.set()
    while await _listens(place):
        pass
    over, _ = await asyncio.wait((serving,), timeout=0.3)  # one that waits for nobody is over by then; ours never is
    assert not over
    go_on.set()

    assert (await reader.read()).startswith(b"HTTP/1.1 202 ")
    await serving
    writer.close()


async def _listens(place: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*place)
    except OSError:
        return False
    writer.close()
    return True
