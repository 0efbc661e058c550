"""A monitor reads a log that somebody else runs and says when it contradicts itself."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from broker.transparency.monitor import Monitor, Remote
from schemas import checkpoint, merkle, tiles
from schemas.checkpoint import Checkpoint
from schemas.entry import EntryKind
from schemas.errors import Refused, Unavailable
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.sealed import sealed

ORIGIN = "example.org/log"
KEY, OTHER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG = VerifierKey.of(ORIGIN, KEY)


class Log:
    """A foreign log, as files; `away` names those that cannot be had now."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.entries: list[bytes] = []
        self.away: set[str] = set()
        self.asked: list[str] = []

    def add(self, *entries: bytes) -> "Log":
        self.files.update(tiles.grow(len(self.entries), entries, self.files.__getitem__))
        self.entries.extend(entries)
        self.sign()
        return self

    def sign(self, key: PrivateKey = KEY, size: int | None = None) -> None:
        kept = self.entries[:size]
        root = merkle.root_of(map(merkle.leaf_hash, kept))
        self.files["checkpoint"] = checkpoint.sign(Checkpoint(ORIGIN, len(kept), root), key).encode()

    def read(self, path: str) -> bytes:
        self.asked.append(path)
        if path in self.away:
            raise Unavailable("monitor.away", error="test")
        return self.files[path]


def some(count: int, first: int = 0) -> list[bytes]:
    return [sealed(first + number) for number in range(count)]


def refused(monitor: Monitor) -> str:
    with pytest.raises(Refused) as fault:
        monitor.turn()
    return fault.value.code


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "seen"


@pytest.mark.parametrize("sizes", [(0, 1), (1, 255, 256, 257), (300, 300, 600), (5, 1000)])
def test_a_log_that_only_grows_is_followed_and_only_what_is_new_is_read(state: Path, sizes: tuple[int, ...]):
    log = Log()
    monitor, before = Monitor(log.read, LOG, state), 0

    for size in sizes:
        log.add(*some(size - before, before))
        log.asked.clear()
        seen = monitor.turn()
        assert (size, size - before) == (seen.tree.size, seen.fresh)
        assert 1 + -(-size // 256) - before // 256 >= len(log.asked)
        assert log.files["checkpoint"] == state.read_bytes()
        before = size


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("other", "code"),
    [
        (Log().add(*some(299)), "monitor.rolled-back"),
        (Log(), "monitor.rolled-back"),
        (Log().add(*some(300, 1)), "monitor.forked"),
        (Log().add(*some(700, 1)), "monitor.forked"),
        (Log().add(*some(299), *some(300, 600)), "monitor.forked"),
    ],
)
def test_a_fork_and_a_roll_back_are_found_over_a_restart_too(state: Path, other: Log, code: str, restarted: bool):
    other.sign()
    log = Log().add(*some(300))
    monitor = Monitor(log.read, LOG, state)
    monitor.turn()
    kept = state.read_bytes()
    if restarted:
        monitor = Monitor(other.read, LOG, state)
    log.files = other.files

    assert code == refused(monitor)
    assert kept == state.read_bytes()


def test_entries_that_are_not_those_of_the_signed_tree_are_found(state: Path):
    log = Log().add(*some(300))
    log.files["tile/entries/000"] = tiles.encode_bundle([*some(255), sealed(9999)])

    assert "monitor.forked" == refused(Monitor(log.read, LOG, state))
    assert not state.exists()


def test_a_release_after_its_end_is_found_whenever_it_comes(state: Path):
    steps = (EntryKind.RECEIVED, EntryKind.FACT, EntryKind.PLANNED, EntryKind.CLOSED)
    log = Log().add(*(sealed(number, kind) for number, kind in enumerate(steps)))
    monitor = Monitor(log.read, LOG, state)
    monitor.turn()
    log.add(sealed(4, EntryKind.RELEASED))

    with pytest.raises(Refused) as fault:
        monitor.turn()

    assert ("audits.rule", "released-after-closed", 4) == (
        fault.value.code,
        fault.value.details["rule"],
        fault.value.details["number"],
    )
    assert "audits.rule" == refused(Monitor(log.read, LOG, state))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda log: log.sign(OTHER), "checkpoint.not-signed"),
        (lambda log: log.files.pop("checkpoint"), "monitor.no-log"),
        (lambda log: log.files.pop("tile/entries/000"), "tiles.absent"),
        (lambda log: log.files.update({"checkpoint": b"hello\n"}), "note.no-signature"),
        (lambda log: log.files.update({"tile/entries/000": b"\0"}), "tiles.bundle"),
    ],
)
def test_what_is_no_log_or_not_this_one_is_refused(state: Path, change, code: str):
    log = Log().add(*some(300))
    change(log)

    assert code == refused(Monitor(log.read, LOG, state))


@pytest.mark.parametrize("away", ["checkpoint", "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_absence_is_no_fork_and_the_next_turn_goes_on(state: Path, away: str, restarted: bool):
    log = Log().add(*some(10))
    monitor = Monitor(log.read, LOG, state)
    monitor.turn()
    log.add(*some(590, 10))
    if restarted:
        monitor = Monitor(log.read, LOG, state)
    log.away = {away}
    with pytest.raises(Unavailable):
        monitor.turn()
    log.away = set()

    assert 600 == monitor.turn().tree.size


def test_what_was_read_before_an_absence_is_judged_by_the_next_root(state: Path):
    log = Log().add(*some(600))
    true = log.files["tile/entries/000"]
    log.files["tile/entries/000"] = tiles.encode_bundle([*some(255), sealed(9999)])
    log.away = {"tile/entries/001"}
    monitor = Monitor(log.read, LOG, state)
    with pytest.raises(Unavailable):
        monitor.turn()
    log.away, log.files["tile/entries/000"] = set(), true

    assert "monitor.forked" == refused(monitor)


class TestOverHttp:
    """What a server can do wrong."""

    @pytest.fixture
    def answers(self) -> dict[str, httpx2.Response]:
        return {}

    @pytest.fixture
    def remote(self, answers: dict[str, httpx2.Response]) -> Iterator[Remote]:
        def answer(request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/log/gone":
                raise httpx2.ConnectError("refused")
            return answers.get(request.url.path, httpx2.Response(404))

        with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
            yield Remote("http://log.example/log/", client)

    def test_a_file_is_read(self, remote: Remote, answers: dict[str, httpx2.Response]):
        answers["/log/checkpoint"] = httpx2.Response(200, content=b"abc")

        assert b"abc" == remote.read("checkpoint")
        with pytest.raises(LookupError):
            remote.read("tile/0/000")

    @pytest.mark.parametrize("status", [301, 302, 403, 429, 500, 503])
    def test_an_answer_that_is_none_is_an_absence(
        self, remote: Remote, answers: dict[str, httpx2.Response], status: int
    ):
        answers["/log/checkpoint"] = httpx2.Response(status, headers={"Location": "http://elsewhere.example/"})

        with pytest.raises(Unavailable, match=str(status)):
            remote.read("checkpoint")

    def test_no_answer_is_an_absence(self, remote: Remote):
        with pytest.raises(Unavailable, match="ConnectError"):
            remote.read("gone")

    def test_an_endless_file_is_refused(self, remote: Remote, answers: dict[str, httpx2.Response]):
        answers["/log/tile/entries/000"] = httpx2.Response(200, content=(bytes(1 << 20) for _ in range(1000)))

        with pytest.raises(Refused, match=r"monitor\.too-long"):
            remote.read("tile/entries/000")

    @pytest.mark.parametrize("url", ["ftp://log.example", "log.example/log", "http://log.example:port", ""])
    def test_what_is_no_address_is_refused(self, url: str):
        with httpx2.Client() as client, pytest.raises(Refused, match=r"monitor\.url"):
            Remote(url, client).read("checkpoint")
