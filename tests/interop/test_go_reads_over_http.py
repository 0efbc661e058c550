"""The ledger that we serve over HTTP is read and proven by code that is not ours, from a real server."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from broker.ledger.openings import Openings
from broker.ledger.recorder import Said
from broker.ledger.sequencer import Ledger, newest_checkpoint
from broker.store.engine import Store
from broker.store.tables import ledger_entries, metadata
from broker.web.public import transparency
from schemas import merkle
from schemas.entry import Opening
from schemas.facts import FactKind, Facts
from schemas.names import Instant, PartyId
from schemas.signing import Algorithm, PrivateKey
from tests.memory import MemoryKeys
from tests.served import served
from tests.signed import MACS, ours, pair_of
from tests.witnesses import unwitnessed

pytestmark = pytest.mark.asyncio
Readlog = Callable[..., "subprocess.CompletedProcess[str]"]
KEY = PrivateKey.from_raw(Algorithm.ED25519, bytes([7] * 32))


def row(number: int) -> dict[str, Any]:
    facts = Facts(Instant(number), FactKind.VIEWED, PartyId("urn:unefois:portal"))
    encoded = Opening(number.to_bytes(32, "big"), None, facts).seal(Instant(number)).encode()
    return ours({"leaf": merkle.leaf_hash(encoded), "entry": encoded, "window": number, "chain": None})


async def test_a_go_program_proves_every_entry_of_a_served_log(readlog: Readlog, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'log.db'}"
    async with Store.open(url) as store:
        ledger = Ledger(
            store=store,
            openings=Openings(MemoryKeys(), os.urandom, bytes(32)),
            macs=MACS,
            said=Said(),
            first_origin=None,
            origin="example.org/ledger",
            key=pair_of(KEY),
            window_ms=1000,
            clock=lambda: Instant(1),
            entropy=os.urandom,
        )
        async with store.begin() as tx:
            await tx.conn.run_sync(metadata.create_all)
        for first, size in ((0, 255), (255, 257), (257, 1500)):
            async with store.begin() as tx:
                await tx.execute(insert(ledger_entries), [row(number) for number in range(first, size)])
            await ledger.sequence_unfinished()
            (tmp_path / f"checkpoint.{size}").write_text(await newest(store))

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        async with Store.open(url) as store:
            app.include_router(transparency.router(store, ledger.verifier_key, unwitnessed(store, ledger.verifier_key)))
            yield

    with served(FastAPI(lifespan=opened)) as address:
        result = readlog(f"{address}/log", tmp_path / "checkpoint.257")
        elsewhere = readlog(f"{address}/nothing-here")

    assert ("1500 entries included, consistent from 257\n", "") == (result.stdout, result.stderr)
    assert 1 == elsewhere.returncode


async def newest(store: Store) -> str:
    async with store.read() as tx:
        return (await newest_checkpoint(tx))[1]
