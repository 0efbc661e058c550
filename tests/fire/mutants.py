"""Mutants: mistakes planted in the code of a shift, which has to notice; for `test_mutants.py` alone.

Each looks as if it worked, for as long as nobody dies at the wrong moment.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from broker.flow.offsets import advance
from broker.flow.router import BATCH, TOPIC, Router
from broker.observability.crashpoints import mark
from broker.topics.relay import Relay
from schemas.names import Instant, PartyId
from schemas.topics import deliveries
from tests.faults import weakened

VARIABLE = "UNEFOIS_TEST_MUTANT"


def offset_after_the_effects(patch: pytest.MonkeyPatch) -> None:
    """Effects in one transaction, the offset in the next: who dies between them does the batch again."""

    async def route_batch(self: Any, partition: int, offset: int, limit: int = BATCH) -> int:
        records, checked = await _read(self, partition, offset, limit)
        if not records:
            return 0
        async with self._store.begin() as tx:
            await self._write_effects(tx, checked)
        mark("mutant.between")
        async with self._store.begin() as tx:
            await advance(tx, TOPIC, partition, offset, records[-1].position.offset + 1)
        return len(records)

    patch.setattr(Router, "route_batch", route_batch)


def auto_commit(patch: pytest.MonkeyPatch) -> None:
    """What is read counts as done, as a consumer with auto-commit has it: who dies then leaves it undone for ever."""

    async def route_batch(self: Any, partition: int, offset: int, limit: int = BATCH) -> int:
        records, checked = await _read(self, partition, offset, limit)
        if not records:
            return 0
        async with self._store.begin() as tx:
            await advance(tx, TOPIC, partition, offset, records[-1].position.offset + 1)
        mark("mutant.between")
        async with self._store.begin() as tx:
            await self._write_effects(tx, checked)
        return len(records)

    patch.setattr(Router, "route_batch", route_batch)


def held_before_the_append(patch: pytest.MonkeyPatch) -> None:
    """The mailbox knows first that a delivery lies on its topic: who dies then has put nothing there, for a day."""

    async def relay(self: Any, agency: PartyId) -> int:
        at = self._clock()
        async with self._store.read() as tx:
            if not await self._mailbox.ready(tx, agency, 1, at):
                return 0
        leased = await self._lease(agency)
        async with self._store.begin() as tx:
            ids = [delivery.id for delivery in leased]
            await self._mailbox.hold(tx, agency, ids, Instant(at + self._repeat_ms))
        mark("mutant.between")
        await self._log.append_all(deliveries(agency), [self._record(delivery) for delivery in leased])
        return len(leased)

    patch.setattr(Relay, "relay", relay)


async def _read(self: Any, partition: int, offset: int, limit: int) -> tuple[Any, Any]:
    """As `route_batch` begins."""
    records = await self._log.read(TOPIC, partition, offset, limit)
    directory = await self._lookup.newest(self._store)
    async with self._store.read() as tx:
        return records, await self._check(tx, records, directory) if records else []


MUTANTS: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "offset_after_the_effects": offset_after_the_effects,
    "auto_commit": auto_commit,
    "held_before_the_append": held_before_the_append,
    "entry_after_the_answer": weakened.entry_after_the_answer,
}


def plant(name: str | None) -> None:
    """For the rest of this process."""
    if name is not None:
        MUTANTS[name](pytest.MonkeyPatch())
