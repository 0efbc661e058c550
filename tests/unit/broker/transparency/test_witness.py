"""A witness signs one past of each log, whatever happens to it: forks, races, restarts, crashes."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from broker.transparency import witness as witnesses
from broker.transparency.witness import STORE, Witness
from broker.web.public import witnessing as edge
from schemas import checkpoint, merkle, witnessing
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused
from schemas.names import Instant
from schemas.note import Note, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Submission
from tests.served import served

ORIGIN = "example.org/log"
KEY, OTHER, OWN = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2, 3))
LOG = VerifierKey.of(ORIGIN, KEY)
NOW = Instant(1_795_521_493_000)


def submission(old: int, new: int, salt: bytes = b"", key: PrivateKey = KEY, origin: str = ORIGIN) -> bytes:
    hashes = [merkle.leaf_hash(salt + number.to_bytes(2, "big")) for number in range(new)]
    proof = merkle.consistency_proof(
        min(old, new), new, lambda level, index: merkle.root_of(hashes[index << level : (index + 1) << level])
    )
    return Submission(old, proof, checkpoint.sign(Checkpoint(origin, new, merkle.root_of(hashes)), key)).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    witnesses.create(tmp_path / "witness", "witness.example/one", OWN)
    return tmp_path / "witness"


def opened(folder: Path):
    return Witness.open(folder, (LOG,), lambda: NOW)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as fault:
        call()
    return fault.value.code


def test_its_cosignature_counts_for_whoever_knows_its_key(folder: Path):
    body = submission(0, 5)
    with opened(folder) as witness:
        lines = witnessing.cosignatures(witness.add(body))
        key = witness.verifier_key

    seen = checkpoint.verify(Submission.parse(body).signed.plus(lines), LOG, [key], 1)

    assert [("witness.example/one", NOW // 1000)] == [(one.name, one.seconds) for one in seen.witnesses]


def test_after_a_restart_it_remembers_and_refuses_a_fork_and_a_roll_back(folder: Path):
    with opened(folder) as witness:
        witness.add(submission(0, 5))
    with opened(folder) as witness:
        assert "witnessing.other-size" == refused(lambda: witness.add(submission(0, 4)))
        assert "witnessing.fork" == refused(lambda: witness.add(submission(5, 5, b"other")))
        assert "witnessing.not-consistent" == refused(lambda: witness.add(submission(5, 9, b"other")))
        witness.add(submission(5, 5))
        witness.add(submission(5, 9))
    with opened(folder) as witness:
        assert "witnessing.other-size" == refused(lambda: witness.add(submission(5, 9)))
        assert [5] == [Checkpoint.parse(Note.parse(one).text).size for one in witness.forks()]


def test_another_log_and_another_key_are_refused(folder: Path):
    with opened(folder) as witness:
        assert "witness.unknown-log" == refused(lambda: witness.add(submission(0, 5, origin="example.org/other")))
        assert "checkpoint.not-signed" == refused(lambda: witness.add(submission(0, 5, key=OTHER)))
        witness.add(submission(0, 5))


def test_of_many_trees_at_once_one_is_signed_and_the_others_are_not(folder: Path):
    bodies = [submission(0, 3, bytes([number])) for number in range(16)]

    def answer(number: int) -> str:
        try:
            (second if number % 2 else first).add(bodies[number])
        except Refused as fault:
            return fault.code
        return "signed"

    with opened(folder) as first, opened(folder) as second, ThreadPoolExecutor(8) as pool:
        assert ["signed"] + 15 * ["witnessing.other-size"] == sorted(pool.map(answer, range(16)))


def test_while_it_judges_nobody_else_can_write(folder: Path, monkeypatch: pytest.MonkeyPatch):
    judge, told = witnessing.judge, []

    def watched(*args):
        with contextlib.closing(sqlite3.connect(folder / STORE, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("begin immediate")
            except sqlite3.OperationalError as error:
                told.append(str(error))
        return judge(*args)

    monkeypatch.setattr(witnessing, "judge", watched)
    with opened(folder) as witness:
        witness.add(submission(0, 3))

    assert ["database is locked"] == told


CRASHING = """
import sys
from pathlib import Path
from broker.transparency.witness import Witness
from schemas.note import VerifierKey
with Witness.open(Path(sys.argv[1]), (VerifierKey.parse(sys.argv[2]),), lambda: 1_795_521_493_000) as witness:
    sys.stdout.buffer.write(witness.add(Path(sys.argv[3]).read_bytes()))
"""


@pytest.mark.parametrize(("mark", "size"), [("witness.judged", 0), ("witness.advanced", 5)])
def test_killed_before_its_answer_it_signs_no_other_past_afterwards(folder: Path, mark: str, size: int):
    (folder / "body").write_bytes(submission(0, 5))
    words = [sys.executable, "-c", CRASHING, str(folder), LOG.text, str(folder / "body")]

    killed = subprocess.run(words, env={**os.environ, "UNEFOIS_CRASH_AT": mark}, capture_output=True, check=False)

    assert (-signal.SIGKILL, b"") == (killed.returncode, killed.stdout)
    with opened(folder) as witness:
        if size:
            assert "witnessing.other-size" == refused(lambda: witness.add(submission(0, 5, b"other")))
        witness.add(submission(size, 6))
        assert "witnessing.other-size" == refused(lambda: witness.add(submission(size, 6, b"other")))


class TestTheFolder:
    """Its key never signs without the trees that it signed before."""

    def test_there_is_one_witness_in_it(self, folder: Path):
        assert "witness.exists" == refused(lambda: witnesses.create(folder, "witness.example/two", OTHER))

    def test_without_its_store_it_does_not_start_and_is_not_made_anew(self, folder: Path):
        (folder / STORE).unlink()

        assert "witness.missing" == refused(lambda: opened(folder).__enter__())
        assert "witness.missing" == refused(lambda: witnesses.create(folder, "witness.example/one", OWN))

    def test_without_its_key_it_does_not_start(self, folder: Path):
        (folder / "key" / "witness").unlink()

        assert "witness.missing" == refused(lambda: opened(folder).__enter__())

    def test_what_a_crash_left_of_its_making_is_finished_with_the_same_key(self, folder: Path):
        (folder / STORE).rename(folder / f"{STORE}.unfinished")

        assert OWN.public == witnesses.create(folder, "witness.example/one", OTHER).public

    def test_two_keys_for_one_log_are_refused(self, folder: Path):
        assert "witness.log-twice" == refused(
            lambda: Witness.open(folder, (LOG, VerifierKey.of(ORIGIN, OTHER)), lambda: NOW).__enter__()
        )


def test_over_http_every_answer_has_the_status_that_c2sp_names(folder: Path):
    with opened(folder) as witness, served(edge.build(witness)) as address, httpx2.Client(base_url=address) as client:
        for body, status, kind, text in (
            (b"nothing", 400, "application/problem+json", None),
            (submission(0, 3).replace(b"old 0", b"old 9"), 400, "application/problem+json", None),
            (b"a" * 70_000, 413, "application/problem+json", None),
            (submission(0, 3, origin="example.org/other"), 404, "application/problem+json", None),
            (submission(0, 3, key=OTHER), 403, "application/problem+json", None),
            (submission(2, 3), 409, "text/x.tlog.size", "0\n"),
            (submission(0, 3), 200, "text/plain; charset=utf-8", None),
            (submission(0, 4), 409, "text/x.tlog.size", "3\n"),
            (submission(3, 3, b"other"), 422, "application/problem+json", None),
            (submission(3, 3), 200, "text/plain; charset=utf-8", None),
            (submission(3, 4, b"other"), 422, "application/problem+json", None),
            (submission(3, 4), 200, "text/plain; charset=utf-8", None),
        ):
            told = client.post("/add-checkpoint", content=body)
            assert (status, kind) == (told.status_code, told.headers["Content-Type"]), told.text
            assert text is None or text == told.text
        assert 405 == client.get("/add-checkpoint").status_code
        assert f"{witness.verifier_key.text}\n" == client.get("/vkey").text


def test_over_http_who_hangs_up_before_their_body_has_ended_is_no_fault_of_ours(folder: Path):
    sent, came = [], iter([{"type": "http.request", "body": b"old", "more_body": True}, {"type": "http.disconnect"}])
    scope = {"type": "http", "method": "POST", "path": "/add-checkpoint", "query_string": b"", "headers": []}

    async def receive():
        return next(came)

    async def send(message: object):
        sent.append(message)

    with opened(folder) as witness:
        asyncio.run(edge.build(witness)(scope, receive, send))  # raises nothing, which the server would log

    assert [] == [one for one in sent if one.get("status", 0) >= 500]
