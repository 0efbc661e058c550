"""Answering: the process that holds the keys of consents does what others ask of it.

Refuses: what `broker.consents.wire` and `broker.consents.local` refuse, and what each operation does.
Keeps: what is asked under one act is done once and answered the same each time, by this process or by the next one. It
goes on with what it has begun when the asker is gone, or tired of waiting: who asks again is told. A peer that says
nothing, or nonsense, holds up nobody else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from broker.access import acts
from broker.access.acts import Act
from broker.access.typed_json import written
from broker.consents import local, wire
from broker.consents.wire import Question
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.ports import Clock
from broker.store.engine import Store
from broker.store.rows.macs import RowMacs
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.names import PartyId

READ_SECONDS: Final = 5
"""How long a peer may take to say what it asks."""
MOST_MS: Final = 30_000
"""How long an asker is kept waiting."""
AT_ONCE: Final = 128
"""Connections at the same time; more are closed unheard, and ask again."""

Does = Callable[[Any], Awaitable[Any]]


class Answering:
    """Hears at a socket from `serve` until it is asked to stop."""

    def __init__(
        self,
        operations: Mapping[str, Does],
        *,
        store: Store,
        macs: RowMacs,
        party: PartyId,
        clock: Clock,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """`operations`: what does each of `wire.OPERATIONS`."""
        self._operations = operations
        self._store = store
        self._macs = macs
        self._party = party
        self._clock = clock
        self._read_seconds = read_seconds
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._heard: set[asyncio.Task[None]] = set()
        self._doing: set[asyncio.Task[Any]] = set()

    async def serve(self, path: Path, group: int | None, stop: asyncio.Event) -> None:
        """Hear until asked to stop, and finish what was begun. Raises Refused as `local.bound`."""
        hears = local.bound(path, group)

        def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._heard) >= AT_ONCE:
                writer.close()
                return
            task = asyncio.create_task(self._hear(reader, writer, group))
            self._heard.add(task)
            task.add_done_callback(self._heard.discard)

        server = await asyncio.start_unix_server(heard, sock=hears)
        try:
            await stop.wait()
        finally:
            server.close()
            await asyncio.gather(*self._heard, *self._doing, return_exceptions=True)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, group: int | None) -> None:
        try:
            if not local.is_allowed(local.peer_of(writer.get_extra_info("socket")), group):
                logger().warning("consents.foreign-peer")
                return
            await local.sent(writer, await self._answer(reader))
        except (OSError, EOFError, TimeoutError):
            return  # gone, or silent
        finally:
            await local.closed(writer)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """Raises OSError, EOFError, TimeoutError."""
        try:
            async with asyncio.timeout(self._read_seconds):
                raw = await local.received(reader, wire.QUESTION_BYTES)
            asked = wire.question(raw)
            return wire.told(await self._within(asked))
        except Fault as fault:
            if isinstance(fault, Corrupt):
                logger().error("consents.corrupt", code=fault.code)
            return wire.refusal(fault)
        except (OSError, EOFError):
            raise
        except Exception as error:  # a mistake of ours: told, logged by its name alone, and the next one is heard
            logger().error("consents.failed", error=error)
            return wire.refusal(Unavailable("consents.failed"))

    async def _within(self, asked: Question) -> Any:
        """Raises Unavailable `consents.too-slow`, while it goes on."""
        task = asyncio.create_task(self.do(asked))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        done, _ = await asyncio.wait({task}, timeout=min(asked.within_ms, MOST_MS) / 1000)
        if not done:
            raise Unavailable("consents.too-slow")
        return task.result()

    async def do(self, asked: Question) -> Any:
        """Once, whoever asks how often. Raises what the operation raises; Refused `acts.reused`."""
        does = self._operations[asked.operation.name]
        if not asked.operation.kept:
            return await does(asked.asked)
        digest = self._macs.asked([asked.operation.name, written(asked.asked).decode()])
        act = Act(asked.act, digest, self._party, self._clock())
        async with self._locks.setdefault(act.id, asyncio.Lock()):
            before = await self._told(act, asked)
            if before and not asked.operation.several:
                return before[0]
            return await self._done(act, asked, does, len(before))

    async def _done(self, act: Act, asked: Question, does: Does, before: int) -> Any:
        try:
            with acts.under(act):
                told = await does(asked.asked)
        except (acts.DoneBefore, Refused) as fault:
            # Another process of before has died in its commit, which came through all the same.
            there = await self._told(act, asked)
            if len(there) > before and not asked.operation.several:
                return there[0]
            if isinstance(fault, acts.DoneBefore):
                raise Unavailable("consents.busy") from None
            raise
        mark("answering.done")
        # Crash here: it is done and its answer is kept; whoever asks again under the same act is told.
        return await self._told(act, asked) if asked.operation.several else told

    async def _told(self, act: Act, asked: Question) -> list[Any]:
        async with self._store.read() as tx:
            return await acts.answers(tx, act, asked.operation.tells)
