"""A witness in a process of its own, killed and started again, cosigns a ledger over HTTP, and refuses its fork; what
is exported is followed from a web server that knows nothing of us.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import delete, func, select, update

from broker.store.tables import cosignatures, ledger_checkpoints
from broker.transparency import witness as witnesses
from broker.transparency.export import export
from broker.transparency.monitor import Monitor, Remote
from schemas import checkpoint, merkle
from schemas.checkpoint import Checkpoint
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.services.processes import free_port
from tests.world import CAF, FAMILY, MINUTE, MOVED, World, world

pytestmark = pytest.mark.asyncio
ROOT = Path(__file__).parents[2]


@contextmanager
def witness(folder: Path, log: VerifierKey, port: int) -> Iterator["subprocess.Popen[str]"]:
    """`unefois witness serve`, until it answers; killed at the end."""
    command = ("witness", "serve", str(folder), "--log", log.text, "--listen", f"127.0.0.1:{port}", "--json")
    with subprocess.Popen(
        [sys.executable, "-m", "broker", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = ""
        while not told.endswith("}\n"):
            told += process.stdout.readline()
        assert f"http://127.0.0.1:{port}" == json.loads(told)["listen"]
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def plainly_served(folder: Path) -> Iterator[str]:
    """Python's own web server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def grows(here: World) -> int:
    """Entries more, ordered; the size."""
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.read() as tx:
        return (await tx.execute(select(func.max(ledger_checkpoints.c.size)))).scalar_one()


@pytest.mark.proof
async def test_a_witness_elsewhere_is_killed_comes_back_and_refuses_a_fork(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "witness"
    key = witnesses.create(folder, "witness.example/elsewhere", PrivateKey.generate(Algorithm.ED25519))
    told = {"witnesses": f"{key.text} http://127.0.0.1:{port}", "outbound_allowed": f"127.0.0.1:{port}"}
    async with world(tmp_path, **told, witness_quorum=1) as here:
        home, log = here.home, here.home.ledger.verifier_key
        with witness(folder, log, port) as process:
            await home.ledger.sequence_unfinished()
            assert 1 == await home.cosigning.step()
            process.kill()
            process.wait()
            size = await grows(here)
            assert 0 == await home.cosigning.step()
            assert ["cosigning.away"] == [fault and fault.code for fault in home.cosigning.faults().values()]
        here.clock.pass_(MINUTE)
        with witness(folder, log, port):
            assert 1 == await home.cosigning.step()
            async with home.store.read() as tx:
                found, note = await home.cosigning.witnessed(tx)
            assert (size, 1) == (found, len(checkpoint.verify(note, log, (key,), 1).witnesses))
            await forked(here, size)
            here.clock.pass_(MINUTE)
            assert 0 == await home.cosigning.step()
            assert ["cosigning.fork"] == [fault and fault.code for fault in home.cosigning.faults().values()]
        with witnesses.Witness.open(folder, (log,), home.clock) as opened:
            assert 1 == len(opened.forks())  # the proof of it, signed by the log itself


async def forked(here: World, size: int) -> None:
    """Another tree of the same size, signed with the ledger's own key."""
    other = Checkpoint(here.home.ledger.verifier_key.name, size, merkle.leaf_hash(b"another past"))
    note = checkpoint.sign(other, here.home.ledger._key.private).encode().decode()
    async with here.home.store.begin() as tx:
        await tx.execute(update(ledger_checkpoints).where(ledger_checkpoints.c.size == size).values(note=note))
        await tx.execute(delete(cosignatures))


async def test_an_export_is_followed_from_a_plain_web_server_while_it_grows(tmp_path: Path) -> None:
    public = tmp_path / "public"
    async with world(tmp_path) as here:
        home, log = here.home, here.home.ledger.verifier_key
        await home.ledger.sequence_unfinished()
        first = await export(home.store, log, public)
        with plainly_served(public) as url, httpx2.Client() as client:
            monitor = Monitor(Remote(url, client).read, log, tmp_path / "seen")
            sizes = [monitor.turn().tree.size]
            for _ in range(2):
                here.clock.pass_(1)
                await here.declare(MOVED, here.moved())
                await home.ledger.sequence_unfinished()
                grown = await export(home.store, log, public)
                sizes.append(monitor.turn().tree.size)
            again = Monitor(Remote(url, client).read, log, tmp_path / "seen").turn()
    assert [first.size, grown.before, grown.size] == sizes
    assert (grown.size, True) == (again.tree.size, grown.files < 6)
