"""`unefois witness` and `unefois monitor`: a witness made and run as a program, a served log followed and caught."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Response

from schemas import checkpoint, merkle, tiles, witnessing
from schemas.checkpoint import Checkpoint
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Submission
from tests.program import Program
from tests.sealed import sealed
from tests.served import served

ORIGIN = "example.org/log"
KEY = PrivateKey.from_raw(Algorithm.ED25519, bytes([1] * 32))
LOG = VerifierKey.of(ORIGIN, KEY)


class Log:
    """Entries, and the files of a log that has them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def become(self, size: int, salt: int = 0) -> None:
        entries = [sealed(salt + number) for number in range(size)]
        self.files = dict(tiles.grow(0, entries, {}.__getitem__))
        self.files["checkpoint"] = checkpoint.sign(
            Checkpoint(ORIGIN, size, merkle.root_of(map(merkle.leaf_hash, entries))), KEY
        ).encode()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def url(log: Log) -> Iterator[str]:
    app = FastAPI()

    @app.get("/log/{path:path}")
    def file(path: str) -> Response:
        return Response(log.files[path]) if path in log.files else Response(status_code=404)

    with served(app) as address:
        yield f"{address}/log"


def test_a_log_that_grows_is_well_and_one_that_forgets_or_forks_ends_with_1_and_a_sentence(
    bare: Program, log: Log, url: str, tmp_path: Path
):
    words = ("monitor", url, "--key", LOG.text, "--state", tmp_path / "seen", "--every", 0)
    log.become(300)
    assert {"origin": ORIGIN, "size": 300, "fresh": 300} == {
        name: told for name, told in bare.told(*words).items() if name != "root"
    }
    log.become(400)
    assert f"All is well: {ORIGIN}, entries 400 (+400)\n" == bare.run(*words, "--lang", "en").stdout
    for size, salt, code, sentence in (
        (399, 0, "monitor.rolled-back", "it had 400 entries and now signs 399"),
        (400, 1, "monitor.forked", "does not begin with the one of 400"),
        (500, 1, "monitor.forked", "does not begin with the one of 400"),
    ):
        log.become(size, salt)
        ended = bare.run(*words, "--lang", "en")
        assert (1, "") == (ended.exit_code, ended.stdout)
        assert code in ended.stderr
        assert sentence in ended.stderr


def test_following_it_ends_at_the_fork(bare: Program, log: Log, url: str, monkeypatch: pytest.MonkeyPatch):
    log.become(3)
    turns = []

    def slept(seconds: float) -> None:
        turns.append(seconds)
        log.become(*((5, 0), (5, 1))[len(turns) - 1])

    monkeypatch.setattr("broker.cli.watch.time.sleep", slept)

    ended = bare.run("monitor", url, "--key", LOG.text, "--every", 7, "--lang", "en")

    assert (1, [7, 7]) == (ended.exit_code, turns)
    assert f"All is well: {ORIGIN}, entries 3 (+3)\nAll is well: {ORIGIN}, entries 5 (+2)\n" == ended.stdout
    assert "monitor.forked" in ended.stderr


def test_following_it_waits_through_an_absence(bare: Program, log: Log, url: str, monkeypatch: pytest.MonkeyPatch):
    def slept(seconds: float) -> None:
        log.become(0)

    monkeypatch.setattr("broker.cli.watch.time.sleep", slept)
    monkeypatch.setattr("broker.transparency.monitor.Remote.read", Away(log).read)
    log.become(3)

    ended = bare.run("monitor", url, "--key", LOG.text, "--lang", "en")

    assert 1 == ended.exit_code
    assert ["monitor.away", "monitor.rolled-back"] == [
        line.strip() for line in ended.stderr.splitlines() if line.startswith("monitor.")
    ]


class Away:
    """A log that cannot be reached the second time that it is looked at."""

    def __init__(self, log: Log) -> None:
        self.log, self.count = log, 0

    def read(self, path: str) -> bytes:
        from schemas.errors import Unavailable

        self.count += path == "checkpoint"
        if self.count == 2:
            raise Unavailable("monitor.away", error="test")
        return self.log.files[path]


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("http://127.0.0.1:1/log",), "monitor.away", 4),
        (("ftp://log.example",), "monitor.url", 3),
    ],
)
def test_an_address_that_is_none_or_answers_nothing_has_its_own_exit_code(
    bare: Program, words: tuple[str, ...], code: str, exit_code: int
):
    ended = bare.run("monitor", *words, "--key", LOG.text, "--every", 0)

    assert exit_code == ended.exit_code
    assert code in ended.stderr


def test_an_address_without_a_checkpoint_is_no_log(bare: Program, url: str):
    ended = bare.run("monitor", url, "--key", LOG.text, "--every", 0)

    assert 3 == ended.exit_code
    assert "monitor.no-log" in ended.stderr


def test_a_witness_runs_as_a_program_and_remembers_after_a_kill(bare: Program, tmp_path: Path):
    folder = tmp_path / "witness"
    key = VerifierKey.parse(bare.told("witness", "init", folder, "--name", "witness.example/one")["key"])
    small, large, other = (tree(size, salt) for size, salt in ((3, 0), (5, 0), (4, 1)))

    with running(folder) as address:
        told = httpx2.post(f"{address}/add-checkpoint", content=Submission(0, (), small).encode())
    with running(folder) as address:
        again = httpx2.post(f"{address}/add-checkpoint", content=Submission(0, (), other).encode())
        stale = httpx2.post(f"{address}/add-checkpoint", content=Submission(0, (), large).encode())

    assert 1 == len(checkpoint.verify(small.plus(witnessing.cosignatures(told.content)), LOG, [key], 1).witnesses)
    assert [(409, "3\n")] * 2 == [(one.status_code, one.text) for one in (again, stale)]


def test_those_who_connect_to_a_witness_and_say_nothing_keep_nobody_from_being_answered(bare: Program, tmp_path: Path):
    bare.told("witness", "init", tmp_path / "witness", "--name", "witness.example/one")
    with running(tmp_path / "witness") as address, ExitStack() as idle:
        place = httpx2.URL(address)
        for _ in range(300):
            idle.enter_context(socket.create_connection((place.host, place.port), 20))
        told, nothing = httpx2.get(f"{address}/vkey"), httpx2.get(f"{address}/vkey/")

    assert (200, 404) == (told.status_code, nothing.status_code)
    assert ("application/problem+json", "api.not-found") == (nothing.headers["content-type"], nothing.json()["code"])


def test_a_witness_takes_no_message_whose_end_is_in_doubt(bare: Program, tmp_path: Path):
    bare.told("witness", "init", tmp_path / "witness", "--name", "witness.example/one")
    head = b"POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nold"
    with running(tmp_path / "witness") as address:
        place = httpx2.URL(address)
        with socket.create_connection((place.host, place.port), 20) as made:
            made.sendall(head)
            told = made.makefile("rb").read()

    assert told.startswith(b"HTTP/1.1 400 ")
    assert b'"api.two-lengths"' in told


def tree(size: int, salt: int):
    leaves = [merkle.leaf_hash(bytes([salt, number])) for number in range(size)]
    return checkpoint.sign(Checkpoint(ORIGIN, size, merkle.root_of(leaves)), KEY)


class running:
    """`unefois witness serve` as a process of its own, killed at the end of the block."""

    def __init__(self, folder: Path) -> None:
        words = ["witness", "serve", str(folder), "--log", LOG.text, "--listen", "127.0.0.1:0", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "broker", *words], stdout=subprocess.PIPE, text=True, env={**os.environ, "LANG": "C"}
        )

    def __enter__(self) -> str:
        told = ""
        for line in self.process.stdout:
            told += line
            if line == "}\n":
                break
        return json.loads(told)["listen"]

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.parametrize("listen", ["8472", "127.0.0.1:", ":8472x", "127.0.0.1:99999"])
def test_a_witness_without_an_address_does_not_start(bare: Program, tmp_path: Path, listen: str):
    bare.told("witness", "init", tmp_path / "w", "--name", "witness.example/one")

    ended = bare.run("witness", "serve", tmp_path / "w", "--log", LOG.text, "--listen", listen)

    assert 2 == ended.exit_code
