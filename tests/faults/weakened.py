"""A pytest plugin that plants one weakness in the code, named by WEAKNESS; for `test_seeded_weaknesses.py` alone.

Each is a mistake that somebody could make in good faith, in a form that looks as if it worked.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from operator import eq
from typing import Any

import fastavro
import pytest

VARIABLE = "WEAKNESS"


def entry_after_the_answer(patch: pytest.MonkeyPatch) -> None:
    """`released` is written by a task that runs when the answer has gone: quicker, and lost when the process dies."""
    from broker.flow.gate import Gate
    from broker.ledger.recorder import Recorder
    from schemas.entry import EntryKind

    ordinary = Recorder._write
    later: list[Any] = []

    def record(recorder: Any, tx: Any, entry: Any, chain: Any, nonce: bytes = b"") -> Any:
        if entry.kind is not EntryKind.RELEASED:
            return ordinary(recorder, tx, entry, chain, nonce)
        later.append((recorder, entry, chain, nonce))
        return entry.leaf_hash()

    async def write(gate: Any) -> None:
        while later:
            async with gate._store.begin() as tx:
                recorder, *told = later.pop(0)
                ordinary(recorder, tx, *told)

    tasks: list[asyncio.Task[None]] = []

    def late(way: Any) -> Any:
        async def answered(gate: Any, *arguments: Any) -> Any:
            answer = await way(gate, *arguments)
            tasks.append(asyncio.get_running_loop().create_task(write(gate)))
            return answer

        return answered

    patch.setattr(Recorder, "_write", record)
    for name in ("pull", "release"):
        patch.setattr(Gate, name, late(getattr(Gate, name)))


def entry_beside_its_effect(patch: pytest.MonkeyPatch) -> None:
    """Every entry is written in a transaction of its own, after that of its effect and before the answer."""
    from broker.ledger.recorder import Recorder
    from broker.store.engine import Store

    begin, ordinary = Store.begin, Recorder._write
    waiting: dict[int, list[Any]] = {}

    def record(recorder: Any, tx: Any, entry: Any, chain: Any, nonce: bytes = b"") -> Any:
        waiting.setdefault(id(tx.conn), []).append((recorder, entry, chain, nonce))
        return entry.leaf_hash()

    @asynccontextmanager
    async def begun(store: Any) -> Any:
        async with begin(store) as tx:
            yield tx
            entries = waiting.pop(id(tx.conn), [])
        if entries:
            async with begin(store) as second:
                for recorder, entry, chain, nonce in entries:
                    ordinary(recorder, second, entry, chain, nonce)

    patch.setattr(Recorder, "_write", record)
    patch.setattr(Store, "begin", begun)


def synchronous_normal(patch: pytest.MonkeyPatch) -> None:
    """SQLite writes faster, and may forget the last commits when the power goes."""
    from broker.store import sqlite

    slow, fast = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
    patch.setattr(sqlite, "_DURABLE", tuple(fast if pragma == slow else pragma for pragma in sqlite._DURABLE))


def trailing_bytes(patch: pytest.MonkeyPatch) -> None:
    """A decoder that reads its value and does not look whether anything is left."""
    from schemas import avro
    from schemas.avro_check import Room

    def read(codec: Any, encoded: bytes, limits: Any) -> Any:
        end = codec.scan(encoded, 0, Room(limits.max_items, limits.max_bytes))
        value = fastavro.schemaless_reader(BytesIO(encoded[:end]), codec.plain, None)
        return value if codec.lift is None else codec.lift(value)

    patch.setattr(avro._Codec, "read", read)


def _beginning(left: bytes, right: bytes) -> bool:
    """Equal as far as it looks: it stops at the first difference, or after the eighth byte."""
    return left[:8] == right[:8]


def commitment_by_its_beginning(patch: pytest.MonkeyPatch) -> None:
    """A recipient that compares digests as a person does, by how they begin."""
    from schemas import delivery

    patch.setattr(delivery, "compare_digest", _beginning)


def slip_by_its_beginning(patch: pytest.MonkeyPatch) -> None:
    """The intake and the router do so."""
    from schemas import envelope

    patch.setattr(envelope, "compare_digest", _beginning)


def digests_by_equals(patch: pytest.MonkeyPatch) -> None:
    """Right in what it answers; how long it takes tells where the first difference is."""
    from schemas import delivery, envelope

    for module in (delivery, envelope):
        patch.setattr(module, "compare_digest", eq)


def bitmap_by_its_beginning(patch: pytest.MonkeyPatch) -> None:
    """A recipient that reads the first byte of a bitmap only."""
    from schemas import delivery

    ordinary = delivery.indices
    patch.setattr(
        delivery,
        "indices",
        lambda bits, count: (*ordinary(bits[:1], min(count, 8)), *([count - 1] if count > 8 else [])),
    )


WEAKNESSES: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    each.__name__: each
    for each in (
        entry_after_the_answer,
        entry_beside_its_effect,
        synchronous_normal,
        trailing_bytes,
        commitment_by_its_beginning,
        slip_by_its_beginning,
        digests_by_equals,
        bitmap_by_its_beginning,
    )
}


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is collected."""
    name = os.environ.get(VARIABLE)
    if name is not None:
        WEAKNESSES[name](pytest.MonkeyPatch())
