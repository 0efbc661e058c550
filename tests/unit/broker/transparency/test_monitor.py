"""A monitor reads a log that somebody else runs and says when it contradicts itself."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from broker.transparency.monitor import Monitor, Remote
from schemas import checkpoint, following, merkle, tiles
from schemas.checkpoint import Checkpoint
from schemas.entry import EntryKind, opened
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind, Facts
from schemas.names import Instant, PartyId
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
        bundles = -(-size // 256) - before // 256
        assert 1 + 2 * bundles + (size // 256 > before // 256) >= len(log.asked)
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


BROKEN = [sealed(number, kind) for number, kind in enumerate((EntryKind.CLOSED, EntryKind.RELEASED))]


@pytest.mark.parametrize("seen", [0, 100, 256, 300])
@pytest.mark.parametrize("entries", [[*some(255), sealed(9999)], [*some(254), *BROKEN]], ids=["another", "a wrong"])
def test_entries_that_are_not_those_of_the_signed_tree_are_no_word_of_the_log(state: Path, entries, seen: int):
    """A cache has changed them: the log is not accused, neither of a fork nor of what they say."""
    log = Log().add(*some(seen)) if seen else Log()
    if seen:
        Monitor(log.read, LOG, state).turn()
    log.add(*some(400 - seen, seen))
    log.files["tile/entries/000"] = tiles.encode_bundle(entries)

    assert "monitor.not-as-signed" == refused(Monitor(log.read, LOG, state))
    assert bool(seen) is state.exists()


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"])
@pytest.mark.parametrize("damage", [lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw[32:], None])
@pytest.mark.parametrize("grown", [False, True])
def test_hash_tiles_that_are_not_those_of_the_entries_are_found(state: Path, path: str, damage, grown: bool):
    log = Log()
    monitor = Monitor(log.read, LOG, state)
    if grown:
        log.add(*some(300))
        monitor.turn()
    log.add(*some(700 - len(log.entries), len(log.entries)))
    log.files |= {path: damage(log.files[path])} if damage else {}
    if damage is None:
        del log.files[path]
    if grown and path == "tile/0/000":  # seen before, and read no more
        assert 700 == monitor.turn().tree.size
        monitor = Monitor(log.read, LOG, state)

    assert "tiles.hash-differs" == refused(monitor)


def test_a_fork_whose_tiles_are_changed_on_the_way_is_no_proof_and_with_its_own_tiles_is(state: Path):
    log, other = Log().add(*some(300)), Log().add(*some(700, 1))
    Monitor(log.read, LOG, state).turn()
    for path, code in (("tile/0/000", "monitor.not-as-signed"), (None, "monitor.forked")):
        log.files = dict(other.files)
        if path is not None:
            log.files[path] = bytes(len(log.files[path]))
        assert code == refused(Monitor(log.read, LOG, state))


def test_what_could_not_be_compared_for_an_absence_is_compared_the_next_time(state: Path):
    log = Log().add(*some(600))
    log.files["tile/0/000"] = bytes(256 * 32)
    log.away = {"tile/0/000"}
    monitor = Monitor(log.read, LOG, state)
    with pytest.raises(Unavailable):
        monitor.turn()
    log.away = set()

    assert "tiles.hash-differs" == refused(monitor)


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

    assert "monitor.not-as-signed" == refused(monitor)


OLD = VerifierKey.of("example.org/old", KEY)
STATEMENT = {"actor": PartyId("urn:unefois:broker"), "kind": FactKind.LEDGER_OPENED, "at": Instant(5)}


def signed(entries: list[bytes], key: VerifierKey = OLD, by: PrivateKey = KEY) -> tuple[Checkpoint, bytes]:
    """A tree of these entries, and its checkpoint."""
    tree = Checkpoint(key.name, len(entries), merkle.root_of(map(merkle.leaf_hash, entries)))
    return tree, checkpoint.sign(tree, by).encode()


def following_log(ended: list[bytes], kept: int, more: int = 3) -> Log:
    """A log whose first entry says that the old one ended with these entries, of which so many stand here again."""
    tree, note = signed(ended)
    told = Facts(detail=following.commit(tree), count=kept, **STATEMENT)
    log = Log().add(opened(Instant(5), told).encode(), *ended[:kept], *some(more, 9000))
    log.files["follows/0"] = note
    return log


class TestASuccessor:
    """Whoever watched the ledger before holds the one that follows it to what was seen."""

    @pytest.mark.parametrize(("seen", "kept"), [(300, 260), (300, 300), (200, 260), (260, 260), (280, 260), (1, 260)])
    def test_one_that_names_the_end_that_was_seen_is_followed(self, state: Path, seen: int, kept: int) -> None:
        state.write_bytes(signed(some(seen))[1])
        log = following_log(some(300), kept)
        monitor = Monitor(log.read, LOG, state)

        watched = monitor.turn()

        assert watched.follows is not None
        assert (300, kept, 300 - kept) == (watched.follows.tree.size, watched.follows.kept, watched.follows.lost)
        assert log.files["checkpoint"] == state.read_bytes()
        log.add(*some(2, 9500))
        assert (2, None) == ((again := monitor.turn()).fresh, again.follows)
        assert log.files["checkpoint"] == state.read_bytes()

    @pytest.mark.parametrize(
        ("seen", "code"),
        [
            (some(300, 1), "following.other-end"),
            (some(301), "following.smaller-end"),
            (some(260, 1), "following.altered"),
            (some(100, 1), "following.altered"),
        ],
    )
    def test_one_that_names_another_end_or_holds_other_entries_is_an_alarm(
        self, state: Path, seen: list[bytes], code: str
    ) -> None:
        note = signed(seen)[1]
        state.write_bytes(note)

        assert code == refused(Monitor(following_log(some(300), 260).read, LOG, state))
        assert note == state.read_bytes()

    def test_entries_that_should_stand_again_and_do_not_are_an_alarm(self, state: Path) -> None:
        state.write_bytes(signed(some(260))[1])
        tree, note = signed(some(300))
        log = Log().add(opened(Instant(5), Facts(detail=following.commit(tree), count=260, **STATEMENT)).encode())
        log.files["follows/0"] = note

        assert "following.altered" == refused(Monitor(log.read, LOG, state))

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda log: log.files.pop("follows/0"), "following.absent"),
            (lambda log: log.files.update({"follows/0": signed(some(301))[1]}), "following.other-end"),
            (lambda log: log.files.update({"follows/0": signed(some(300), by=OTHER)[1]}), "checkpoint.not-signed"),
            (lambda log: log.files.update(Log().add(*some(5)).files), "following.unknown"),
        ],
    )
    def test_an_end_that_is_not_shown_or_not_the_one_is_an_alarm(self, state: Path, change, code: str) -> None:
        state.write_bytes(signed(some(300))[1])
        log = following_log(some(300), 260)
        change(log)

        assert code == refused(Monitor(log.read, LOG, state))

    def test_a_chain_that_is_shown_once_and_is_not_the_ledgers_is_an_alarm(self, state: Path) -> None:
        """Whoever serves another first bundle to the first question than to the second."""
        state.write_bytes(signed(some(300))[1])
        log, other = following_log(some(300), 260), following_log(some(300, 1), 260)
        asked: list[str] = []

        def read(path: str) -> bytes:
            asked.append(path)
            lies = path.startswith("tile/entries/000") and asked.count(path) == 1
            return (log if lies or path.startswith("follows/") else other).read(path)

        assert "following.other-end" == refused(Monitor(read, LOG, state))

    def test_an_absence_on_the_way_is_no_alarm(self, state: Path) -> None:
        state.write_bytes(signed(some(300))[1])
        log = following_log(some(300), 300)
        monitor = Monitor(log.read, LOG, state)
        for away in ("follows/0", "tile/entries/001.p/48"):
            log.away = {away}
            with pytest.raises(Unavailable):
                monitor.turn()
        log.away = set()

        watched = monitor.turn()
        assert (304, 0) == (watched.tree.size, watched.follows.lost if watched.follows else None)

    def test_the_one_that_was_seen_may_lie_further_back(self, state: Path) -> None:
        state.write_bytes(signed(some(50))[1])
        oldest, note = signed(some(60))
        first = opened(Instant(5), Facts(detail=following.commit(oldest), count=55, **STATEMENT)).encode()
        between, later = signed([first, *some(55), *some(9, 500)], VerifierKey.of("example.org/between", KEY))
        newest = opened(Instant(6), Facts(detail=following.commit(between), count=60, **STATEMENT)).encode()
        log = Log().add(newest, first, *some(55), *some(4, 500), *some(9, 700))
        log.files |= {"follows/0": later, "follows/1": note}

        watched = Monitor(log.read, LOG, state).turn()

        assert watched.follows is not None
        assert ("example.org/old", 5) == (watched.follows.tree.origin, watched.follows.lost)

    def test_who_watches_the_old_name_is_told_of_the_new_one(self, state: Path) -> None:
        log = following_log(some(300), 260)

        with pytest.raises(Refused) as fault:
            Monitor(log.read, OLD, state).turn()

        assert ("monitor.followed", "example.org/old", ORIGIN, 300) == (
            fault.value.code,
            fault.value.details["seen"],
            fault.value.details["origin"],
            fault.value.details["size"],
        )

    def test_another_log_under_the_same_address_is_not_a_successor(self, state: Path) -> None:
        assert "checkpoint.other-log" == refused(Monitor(Log().add(*some(5)).read, OLD, state))


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
