"""serve: answers while it works, ends well when it is asked to, and at once when it is asked twice."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from broker.cli import frame, serve
from broker.observability import observe
from broker.runtime.turns import Turn
from broker.setup.roles import ProcessRole
from tests.program import FIELDS, Program, grant_and_declare

ROOT = Path(__file__).parents[4]


@contextmanager
def serving(*words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that serves, and where it answers."""
    command = [sys.executable, "-m", "broker", "serve", "--listen", "127.0.0.1:0", "--json", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["listen"]
        finally:
            process.kill()


def test_what_was_declared_is_routed_and_asked_to_stop_it_ends_well(unefois: Program, elise: Path, move: Path) -> None:
    grant_and_declare(unefois, elise, move, *FIELDS)

    with serving() as (process, address):
        assert process.stdout is not None
        routed = 0
        while not routed:
            routed = json.loads(process.stdout.readline())["routed"]
        assert httpx2.get(f"{address}/health/live").json()["live"]
        assert httpx2.get(f"{address}/health/ready").json()["ready"]
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=30)

    assert 1 == routed
    assert unefois.told("fsck")["clean"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_turn_that_cannot_be_told_is_done_all_the_same(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frame.choose(None, as_json=as_json, lang="en")
    before = observe.unheard()
    with open("/dev/full", "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        serve._tell(ProcessRole.ALL, Turn())
        with suppress(OSError):
            stream.close()

    assert before + 1 == observe.unheard()


def test_an_address_that_is_taken_is_refused_before_anything_begins(unefois: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        error = unefois.error("serve", "--listen", f"127.0.0.1:{other.getsockname()[1]}", code=3)

    assert ("serving.listen", "/listen") == (error["code"], error["pointer"])


def test_an_address_that_is_none_is_told(unefois: Program) -> None:
    assert "settings.invalid" == unefois.error("serve", "--listen", "localhost:70000", code=3)["code"]


def test_a_home_that_nobody_made_is_told(bare: Program) -> None:
    assert "cli.no-home" == bare.error("serve", code=3)["code"]


def test_a_database_of_a_newer_version_is_refused(unefois: Program) -> None:
    database = sqlite3.connect(unefois.home / "unefois.db")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()

    result = unefois.run("serve", "--listen", "none", "--json")

    assert (3, "store.newer-version") == (result.exit_code, json.loads(result.stderr)["error"]["code"])


HANGING = """
import asyncio
from broker.cli.serve import heed

async def main():
    stop = asyncio.Event()
    heed(stop)
    print("heeding", flush=True)
    await stop.wait()
    print("asked", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_second_signal_ends_at_once_what_does_not_end() -> None:
    for second in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            assert "heeding\n" == process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert "asked\n" == process.stdout.readline()
            process.send_signal(second)
            assert -second == process.wait(timeout=30)
