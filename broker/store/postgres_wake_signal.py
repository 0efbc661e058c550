"""The bell of all processes of one PostgreSQL database: its NOTIFY and LISTEN.

Refuses: to ring inside a transaction. PostgreSQL takes one lock for all commits that notify, so they would wait for one
another; it is rung after the commit, on a connection of its own, many rings at once when they come fast.
Keeps: a server that is away costs the rings and nothing else. Behind a pooler that gives each transaction another
connection nothing is heard, and everybody looks now and then.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from asyncpg import InterfaceError, InternalClientError, PostgresError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from broker.store.wake_signal import WakeSignal

CHANNEL: Final = "unefois"
_RING: Final = "SELECT pg_notify($1, name) FROM unnest($2::text[]) AS name"
LOST_SECONDS: Final = 5
"""How long to leave a server alone whose connection was lost."""
LEAVE_SECONDS: Final = 1
"""How long to wait at the end for the last rings to be sent."""

_AWAY = (OSError, TimeoutError, PostgresError, InterfaceError, InternalClientError, SQLAlchemyError)


class PostgresWakeSignal(WakeSignal):
    """Connects when somebody first rings or waits."""

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine`: without a pool; its one connection is held."""
        super().__init__()
        self._engine = engine
        self._unsent: set[str] = set()
        self._stir, self._sent = asyncio.Event(), asyncio.Event()
        self._sent.set()
        self._task: asyncio.Task[None] | None = None

    def ring(self, name: str) -> None:
        super().ring(name)
        self._unsent.add(name)
        self._sent.clear()
        self._begin()
        self._stir.set()

    @contextmanager
    def heard(self, name: str, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        with super().heard(name, event) as found:
            self._begin()
            yield found

    async def close(self) -> None:
        """Send what was rung last, if the server answers soon."""
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sent.wait(), LEAVE_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._engine.dispose()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="bell")

    async def _run(self) -> None:
        """One connection, for what is sent and what is heard; when it is lost, another after a while."""
        while True:
            with suppress(*_AWAY):
                async with self._engine.connect() as connection:
                    await self._serve((await connection.get_raw_connection()).driver_connection)
            self._unsent.clear()  # whom they were for has looked by the time that there is a connection again
            self._sent.set()
            await asyncio.sleep(LOST_SECONDS)

    async def _serve(self, connection: Any) -> None:
        """Until the connection is lost. Raises what the driver raises."""
        connection.add_termination_listener(lambda _: self._stir.set())
        await connection.add_listener(CHANNEL, self._came)
        while not connection.is_closed():
            unsent, self._unsent = self._unsent, set()
            if unsent:
                await connection.execute(_RING, CHANNEL, list(unsent))
            if not self._unsent:
                self._sent.set()
                self._stir.clear()
                await self._stir.wait()

    def _came(self, connection: Any, pid: int, _: str, name: object) -> None:
        if pid != connection.get_server_pid():
            super().ring(str(name))
