"""The server: an answer that is not fetched holds up nobody and has its time; at the end, what it has begun to answer
is answered, nobody new is let in, and only then is it over.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker.settings.choices import load
from broker.web import server
from broker.web.common import connections
from broker.web.common.connections import Connection

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


BODY = b"x" * 16 * 1_048_576
"""More than the buffers of two machines take."""
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Large:
    """An application whose every answer is large, and how many of them are under way."""

    def __init__(self) -> None:
        self.begun = self.under_way = 0
        self.first: Callable[[], None] = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.first()
        self.begun += 1
        self.under_way += 1
        body = BODY if scope["path"] == "/" else b"small"
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.under_way -= 1


@pytest.fixture
def large() -> Large:
    return Large()


@pytest_asyncio.fixture
async def place(tmp_path: Path, large: Large) -> AsyncIterator[tuple[str, int]]:
    """Where it answers."""
    stop = asyncio.Event()
    taken = server.bound(load(home=tmp_path, listen="127.0.0.1:0"))
    assert taken is not None
    host, port = taken.getsockname()
    serving = asyncio.create_task(server.serve_http(large, taken, stop))
    yield host, port
    stop.set()
    await serving


async def _answered(place: tuple[str, int]) -> bytes:
    """Somebody else asks meanwhile."""
    reader, writer = await asyncio.open_connection(*place)
    writer.write(b"GET /small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    told = await reader.read()
    writer.close()
    return told.rpartition(b"\r\n\r\n")[2]


async def _unread(place: tuple[str, int], large: Large, count: int) -> socket.socket:
    """Asks so often in one breath, and reads nothing; the first answer is made."""
    made = socket.create_connection(place)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(made, REQUEST * count)
    while not large.begun:
        await asyncio.sleep(0)
    assert b"small" == await _answered(place)
    return made


async def test_who_asks_on_and_reads_nothing_keeps_no_answer_under_way(place: tuple[str, int], large: Large) -> None:
    with await _unread(place, large, 3):
        assert (2, 0) == (large.begun, large.under_way)  # theirs, and somebody else's


async def test_what_is_asked_in_one_breath_is_answered_whole_once_it_is_read(
    place: tuple[str, int], large: Large
) -> None:
    loop, told = asyncio.get_running_loop(), 0
    with await _unread(place, large, 2) as made:
        while told < 2 * len(BODY):
            told += len(await loop.sock_recv(made, 1_048_576))

    assert (3, 0) == (large.begun, large.under_way)


async def test_an_answer_that_nobody_fetches_is_given_up(
    place: tuple[str, int], large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = asyncio.Event()
    over = Connection.connection_lost

    def told(one: Connection, exc: Exception | None) -> None:
        over(one, exc)
        lost.set()

    def no_patience() -> None:
        monkeypatch.setattr(Connection, "slow_seconds", 0.0)
        monkeypatch.setattr(connections, "SLOWEST_BYTES", 2**40)

    monkeypatch.setattr(Connection, "connection_lost", told)
    large.first = no_patience
    with socket.create_connection(place) as made:
        made.sendall(REQUEST)
        await asyncio.wait_for(lost.wait(), 20)


async def test_who_does_not_fetch_an_answer_makes_room_for_somebody_new(
    place: tuple[str, int], large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    with await _unread(place, large, 1):
        monkeypatch.setattr(Connection, "limit", 1)
        assert b"small" == await _answered(place)
