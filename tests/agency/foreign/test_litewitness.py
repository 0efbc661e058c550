"""litewitness beside our own witness: the same requests get the same answers, and it cosigns the ledger of a broker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from schemas import checkpoint, merkle, witnessing
from schemas.checkpoint import Checkpoint
from schemas.note import KeyType, Note, VerifierKey, base64_of
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Submission
from tests.agency.conftest import ROOT, plain, told
from tests.agency.foreign import lite
from tests.agency.foreign.clients import Room
from tests.services.processes import free_port

ORIGIN = "example.org/log"
KEY, OTHER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG = VerifierKey.of(ORIGIN, KEY)
UNKNOWN_LOG = (403, 404)
"""litewitness 0.6.1 says 403 of a log that it does not know; c2sp.org/tlog-witness says 404, and so do we."""
DIFFERENT = {2: (403, 400), 3: UNKNOWN_LOG}
"""Of the requests of its own tests, those that get another answer of ours. The second one's signature is in base64 with
bits to spare, which a reader may take or refuse (RFC 4648, 3.5): it reads it, and finds that it does not verify."""


@contextmanager
def ours(folder: Path, log: VerifierKey) -> Iterator[str]:
    """`unefois witness serve`, as a witness of this log."""
    name, port = "witness.example/ours", free_port()
    told(folder, "witness", "init", folder / "witness", "--name", name)
    words = ("witness", "serve", folder / "witness", "--log", log.text, "--listen", f"127.0.0.1:{port}", "--json")
    line = [sys.executable, "-m", "broker", *map(str, words)]
    with subprocess.Popen(line, cwd=ROOT, env=plain(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            said += process.stdout.readline()
        assert f"http://127.0.0.1:{port}" == json.loads(said)["listen"]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def post(address: str, body: bytes) -> httpx2.Response:
    """What a witness answers."""
    with httpx2.Client(transport=httpx2.HTTPTransport(retries=20), trust_env=False) as client:
        return client.post(f"{address}/add-checkpoint", content=body)


def test_our_witness_gives_every_answer_of_litewitness_own_tests(room: Room, tmp_path: Path) -> None:
    room.line("litewitness")
    key, table = lite.own_table()
    public = bytes.fromhex(key)
    log = VerifierKey(f"sigsum.org/v1/tree/{sha256(public).hexdigest()}", KeyType.ED25519, public)
    assert 9 == len(table)

    with ours(tmp_path, log) as address:
        seen = [post(address, asked.body) for asked in table]

    pairs = list(zip(table, seen, strict=True))
    statuses = {number: (asked.status, answer.status_code) for number, (asked, answer) in enumerate(pairs, 1)}
    assert DIFFERENT == {number: pair for number, pair in statuses.items() if len({*pair}) > 1}
    assert 3 == sum(asked.status == 200 == answer.status_code for asked, answer in pairs)
    for asked, answer in pairs:
        if answer.status_code == 409:
            assert f"== {json.dumps(answer.text)}" == asked.said
            assert "text/x.tlog.size" == answer.headers["content-type"]
        if answer.status_code == 200:
            assert answer.text.startswith("\u2014 witness.example/ours ")


def submission(old: int, new: int, salt: bytes = b"", key: PrivateKey = KEY, origin: str = ORIGIN) -> bytes:
    """A log that grew from `old` to `new` entries; another `salt` is another past."""
    hashes = [merkle.leaf_hash(salt + number.to_bytes(2, "big")) for number in range(new)]
    proof = merkle.consistency_proof(
        min(old, new), new, lambda level, index: merkle.root_of(hashes[index << level : (index + 1) << level])
    )
    return Submission(old, proof, checkpoint.sign(Checkpoint(origin, new, merkle.root_of(hashes)), key)).encode()


def with_proof(body: bytes, *hashes: bytes) -> bytes:
    """The same request with other hashes for a proof."""
    first, _, signed = body.partition(b"\n\n")
    lines = [first.split(b"\n")[0], *(base64_of(each).encode() for each in hashes)]
    return b"\n".join(lines) + b"\n\n" + signed


STORY = {
    "a first tree": (submission(0, 5), 200),
    "the same again, from nothing": (submission(0, 5), 409),
    "the same again": (submission(5, 5), 200),
    "another tree of that size": (submission(5, 5, b"other"), 422),
    "one that grew": (submission(5, 9), 200),
    "one that grew, sent again": (submission(5, 9), 409),
    "an older one": (submission(0, 4), 409),
    "a larger one of another past": (submission(9, 12, b"other"), 422),
    "a larger one without a proof": (with_proof(submission(9, 12)), 422),
    "a larger one with a hash too many": (with_proof(submission(9, 12), *[bytes(32)] * 9), 422),
    "from a size beyond its own": (submission(9, 9).replace(b"old 9", b"old 10"), 400),
    "from no number": (submission(9, 9).replace(b"old 9", b"old nine"), 400),
    "from a number below zero": (submission(9, 9).replace(b"old 9", b"old -1"), 400),
    "without the size": (submission(9, 9).replace(b"old 9\n", b""), 400),
    "without a blank line": (b"old 9\n", 400),
    "nothing": (b"", 400),
    "a hash that is none": (submission(9, 9).replace(b"old 9\n", b"old 9\n!\n"), 400),
    "signed by another key": (submission(9, 12, key=OTHER), 403),
    "of a log that it does not know": (submission(0, 5, origin="example.org/other"), UNKNOWN_LOG),
}
"""Requests, one after the other, and the status of their answers: of litewitness and ours, where they differ."""


def test_the_same_story_gets_the_same_answers_from_both(room: Room, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("both")
    with lite.running(room, folder, [LOG]) as (theirs, key), ours(folder, LOG) as own:
        seen = {name: [post(address, body) for address in (theirs, own)] for name, (body, _) in STORY.items()}

    statuses = {name: tuple(one.status_code for one in answers) for name, answers in seen.items()}
    expected = {name: each if isinstance(each, tuple) else (each, each) for name, (_, each) in STORY.items()}
    assert expected == statuses
    assert [["5\n"] * 2, ["9\n"] * 2] == [
        [one.text for one in seen[name]] for name in ("the same again, from nothing", "an older one")
    ]
    first = Submission.parse(submission(0, 5)).signed.plus(witnessing.cosignatures(seen["a first tree"][0].content))
    assert [lite.NAME] == [one.name for one in checkpoint.verify(first, LOG, [key], 1).witnesses]


def test_litewitness_cosigns_the_ledger_of_a_broker(room: Room, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cosigned")
    about = ("--address", "1 rue X", "--contact", "u@example.fr", "--ledger-origin", "log.example.fr/unefois")
    log = VerifierKey.parse(told(folder / "home", "init", *about)["key"])
    with lite.running(room, folder, [log]) as (theirs, key):
        env = plain() | {
            "UNEFOIS_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
            "UNEFOIS_LISTEN": f"127.0.0.1:{free_port()}",
            "UNEFOIS_WITNESSES": f"{key.text} {theirs}",
            "UNEFOIS_WITNESS_QUORUM": "1",
            "UNEFOIS_OUTBOUND_ALLOWED": theirs.removeprefix("http://"),
        }
        line = [sys.executable, "-m", "broker", "serve"]
        with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert "Running" in process.stdout.readline()
            try:
                witnessed = when_witnessed(f"http://{env['UNEFOIS_LISTEN']}/log/witnessed/checkpoint")
            finally:
                process.terminate()

    seen = checkpoint.verify(Note.parse(witnessed), log, [key], 1)
    assert [lite.NAME] == [one.name for one in seen.witnesses]
    assert seen.checkpoint.size > 0


def when_witnessed(address: str) -> bytes:
    """The newest checkpoint that the witness has cosigned, once there is one."""
    with httpx2.Client(transport=httpx2.HTTPTransport(retries=20), trust_env=False) as client:
        for _ in range(5_000):
            if (answer := client.get(address)).status_code == 200:
                return answer.content
    raise AssertionError(answer.text)
