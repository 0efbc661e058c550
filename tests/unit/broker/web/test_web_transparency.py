"""The ledger over HTTP: byte for byte what `unefois audit export` writes, and nothing under any other name."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import insert

from broker.ledger.openings import Openings
from broker.ledger.recorder import Said
from broker.ledger.sequencer import Ledger
from broker.store.engine import Store
from broker.store.tables import ledger_entries, meta
from broker.transparency.audits import audit_log
from broker.transparency.export import export
from broker.web.public import transparency
from schemas import merkle
from schemas.names import Instant
from schemas.signing import Algorithm, PrivateKey
from tests.furnished import write_tables
from tests.memory import MemoryKeys
from tests.sealed import sealed
from tests.signed import MACS, ours, pair_of
from tests.witnesses import unwitnessed
from tests.world import Entropy

pytestmark = pytest.mark.asyncio
KEY = PrivateKey.from_raw(Algorithm.ED25519, bytes([7] * 32))
ORIGIN = "example.org/ledger"


class Log:
    """A ledger in a store, and a client of the app that serves it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        entropy = Entropy()
        self.ledger = Ledger(
            store=store,
            openings=Openings(MemoryKeys(), entropy, bytes(32)),
            macs=MACS,
            said=Said(),
            first_origin=None,
            origin=ORIGIN,
            key=pair_of(KEY),
            window_ms=1,
            clock=lambda: Instant(1),
            entropy=entropy,
        )
        self.size = 0
        app = FastAPI()
        key = self.ledger.verifier_key
        app.include_router(transparency.router(store, key, unwitnessed(store, key)))
        self.app = app
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://log.example")

    async def grow(self, size: int) -> None:
        encoded = [sealed(number) for number in range(self.size, size)]
        rows = [ours({"leaf": merkle.leaf_hash(one), "entry": one, "window": at}) for at, one in enumerate(encoded)]
        async with self.store.begin() as tx:
            await tx.execute(insert(ledger_entries), rows)
        await self.ledger.sequence_unfinished()
        self.size = size

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(f"/log/{path}", headers=headers)


@pytest_asyncio.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    write_tables(tmp_path / "log.db")
    async with Store.open(f"sqlite+aiosqlite:///{tmp_path / 'log.db'}") as store:
        yield Log(store)


@pytest.mark.parametrize("size", [1, 255, 256, 257, pytest.param(70_000, marks=pytest.mark.proof)])
async def test_every_file_is_what_export_writes_and_the_whole_verifies(log: Log, tmp_path: Path, size: int) -> None:
    await log.grow(size)
    folder = tmp_path / "log"
    await export(log.store, log.ledger.verifier_key, folder)
    served = {}

    for file in (file for file in folder.rglob("*") if file.is_file()):
        path = str(file.relative_to(folder))
        told = await log.get(path)
        served[path] = told.content
        assert (200, file.read_bytes()) == (told.status_code, told.content), path

    audited = audit_log(served["checkpoint"], log.ledger.verifier_key, served.__getitem__, pinned=True)
    assert size == audited.tree.size
    assert () == audited.findings


async def test_how_the_ledgers_before_ended_is_shown_the_newest_first(log: Log) -> None:
    await log.grow(1)
    rows = [{"name": f"followed.{number}", "value": f"end of {number}"} for number in (1, 2, 10)]
    async with log.store.begin() as tx:
        await tx.execute(insert(meta), rows)

    for prefix in ("", "witnessed/"):
        told = [await log.get(f"{prefix}follows/{index}") for index in range(3)]
        assert ["end of 10", "end of 2", "end of 1"] == [one.text for one in told]
    assert ("public, max-age=300", "text/plain; charset=utf-8") == (
        told[0].headers["Cache-Control"],
        told[0].headers["Content-Type"],
    )
    for path in ("follows/3", "follows/00", "follows/-1", "follows/x", "follows/%30"):
        missing = await log.get(path)
        assert (404, "following.absent") == (missing.status_code, missing.json()["code"]), path


async def test_a_successors_files_have_a_place_of_their_own_for_caches_hold_what_was_in_the_old_one(log: Log) -> None:
    await log.grow(3)
    key, first = log.ledger.verifier_key, replace(log.ledger.verifier_key, name="example.org/first")
    app = FastAPI()
    app.include_router(transparency.router(log.store, key, unwitnessed(log.store, key), 2, first))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://log.example") as client:
        told = {
            path: await client.get(f"/log/{path}")
            for path in ("checkpoint", "vkey", "tile/0/000.p/3", "2/checkpoint", "2/vkey", "2/tile/0/000.p/3")
        }

    assert [200, 200, 404, 200, 200, 200] == [one.status_code for one in told.values()]
    assert told["checkpoint"].content == told["2/checkpoint"].content
    assert (f"{first.text}\n", f"{key.text}\n") == (told["vkey"].text, told["2/vkey"].text)


async def test_a_partial_tile_that_grew_is_served_as_it_was(log: Log) -> None:
    await log.grow(3)
    before = {path: (await log.get(path)).content for path in ("tile/0/000.p/3", "tile/entries/000.p/3")}
    await log.grow(300)

    assert before == {path: (await log.get(path)).content for path in before}


@pytest.mark.parametrize(
    ("path", "caching", "kind"),
    [
        ("tile/0/000", "public, max-age=31536000, immutable", "application/octet-stream"),
        ("tile/entries/000", "public, max-age=31536000, immutable", "application/octet-stream"),
        ("tile/0/001.p/1", "public, max-age=300", "application/octet-stream"),
        ("tile/1/000.p/1", "public, max-age=300", "application/octet-stream"),
        ("checkpoint", "public, max-age=5", "text/plain; charset=utf-8"),
        ("vkey", "public, max-age=300", "text/plain; charset=utf-8"),
    ],
)
async def test_caches_are_told_how_long_and_a_known_file_is_not_sent_again(
    log: Log, path: str, caching: str, kind: str
) -> None:
    await log.grow(257)
    told = await log.get(path)
    again = await log.get(path, **{"If-None-Match": told.headers["ETag"]})
    weak = await log.get(path, **{"If-None-Match": f'"other", W/{told.headers["ETag"]}'})
    other = await log.get(path, **{"If-None-Match": '"other"'})
    head = await log.client.head(f"/log/{path}")

    assert (caching, kind) == (told.headers["Cache-Control"], told.headers["Content-Type"])
    assert [(304, b"")] * 2 == [(one.status_code, one.content) for one in (again, weak)]
    assert told.headers["ETag"] == again.headers["ETag"] == head.headers["ETag"]
    assert (200, told.content) == (other.status_code, other.content)
    assert (200, told.headers["Content-Length"]) == (head.status_code, head.headers["Content-Length"])
    assert "Content-Encoding" not in told.headers


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/8/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/",
        "tile/0/000.P/1",
        "tile/0/000/",
        "tile//0/000",
        "tile/0/X000/001",
        "tile/Entries/000",
        "tile/data/000",
        "tile/entries/000.p/256",
        "tile/8/0/000",
        "tile/0/%30%30%30",
        "tile/0/000%2Ep/1",
        "tile/0/000%0A",
        "tile/0/٠٠٠",
        "tile/0/" + "x000/" * 40 + "000",
        "tile/",
    ],
)
async def test_a_path_in_another_spelling_is_nothing(log: Log, path: str) -> None:
    await log.grow(300)

    told = await log.get(path)

    assert (404, "application/problem+json") == (told.status_code, told.headers["Content-Type"])
    assert "tiles.path" == told.json()["code"]
    assert "no-store" == told.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["tile/0/001", "tile/0/001.p/45", "tile/0/002.p/1", "tile/1/000.p/2", "tile/7/000", "tile/entries/001"]
)
async def test_what_the_log_does_not_reach_yet_is_not_there_and_not_cached(log: Log, path: str) -> None:
    await log.grow(300)

    told = await log.get(path, **{"Accept-Language": "fr-FR,fr;q=0.9,en;q=0.5"})

    assert (404, "tiles.absent") == (told.status_code, told.json()["code"])
    assert "manque" in told.json()["title"]
    assert "no-store" == told.headers["Cache-Control"]


async def test_a_ledger_without_a_checkpoint_says_so(log: Log) -> None:
    told = await log.get("checkpoint")

    assert (404, "ledger.empty") == (told.status_code, told.json()["code"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_is_written_through_it(log: Log, method: str) -> None:
    assert 405 == (await log.client.request(method, "/log/checkpoint")).status_code
    assert json.dumps(log.app.openapi()).count('"head"') == 0
