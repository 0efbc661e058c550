"""The directory's note: believed from its own log, for its exact bytes, and never an older one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.pinning import Pin
from schemas import directory_note, note
from schemas.checkpoint import Checkpoint
from schemas.directory import Directory
from schemas.directory_note import Pinned, digest_of, follow, text_of
from schemas.errors import Refused, Unavailable
from schemas.names import PartyId
from schemas.note import Note, VerifierKey
from schemas.signing import Algorithm, PrivateKey

ORIGIN = "log.example/unefois"
KEY, OTHER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([seed] * 32)) for seed in (1, 2))
LOG = VerifierKey.of(ORIGIN, KEY)


def directory(name: str = "broker") -> str:
    return Directory.of((), (), (), (), PartyId(f"urn:unefois:{name}")).to_json()


def signed(version: int, content: str = "", key: PrivateKey = KEY, origin: str = ORIGIN, name: str = ORIGIN) -> Note:
    """Of a document that follows the one of everybody here."""
    return note.sign(text_of(origin, version, content or directory(), digest_of(directory())), name, key)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def test_a_directory_is_believed_and_pinned() -> None:
    found, pinned = directory_note.verify(directory(), signed(7), LOG, None)
    assert (PartyId("urn:unefois:broker"), 7) == (found.broker, pinned.version)
    assert (found, pinned) == directory_note.verify(directory(), signed(7), LOG, pinned)
    assert 8 == directory_note.verify(directory("other"), signed(8, directory("other")), LOG, pinned)[1].version
    assert pinned == Pinned.parse(pinned.encode())


@pytest.mark.parametrize(
    ("content", "given", "code"),
    [
        (directory(), signed(7, key=OTHER), "note.bad-signature"),
        (directory(), signed(7, key=OTHER, name="log.example/other"), "directory.note-unsigned"),
        (directory(), signed(7, origin="log.example/other"), "directory.note"),
        (directory(), note.sign(Checkpoint(ORIGIN, 7, bytes(32)).body, ORIGIN, KEY), "directory.note"),
        (directory("thief"), signed(7), "directory.note-differs"),
        (directory(), signed(5), "directory.rolled-back"),
        (directory("other"), signed(6, directory("other")), "directory.forked"),
        ("{}", signed(7, "{}"), "directory.malformed"),
    ],
)
def test_what_is_not_the_newest_of_this_log_is_refused(content: str, given: Note, code: str) -> None:
    _, pinned = directory_note.verify(directory(), signed(6), LOG, None)
    if code == "note.bad-signature":
        given = Note(given.text, tuple(type(line)(ORIGIN, LOG.id, line.signature) for line in given.signatures))
    assert code == refused(lambda: directory_note.verify(content, given, LOG, pinned))


def chain(*versions: int) -> list[tuple[str, str]]:
    """Documents that follow one another, each with its note."""
    made, previous = [], bytes(32)
    for version in versions:
        content = directory(f"v{version}")
        made.append((content, note.sign(text_of(ORIGIN, version, content, previous), ORIGIN, KEY).encode().decode()))
        previous = digest_of(content)
    return made


def test_a_later_directory_has_to_follow_from_the_pinned_one_link_by_link(tmp_path: Path) -> None:
    first, second, third, fourth = chain(3, 4, 7, 9)
    pin = Pin(tmp_path / "pin", LOG.text)
    pin.follow([second[1]])  # nothing is pinned: nothing follows
    assert pin.version is None
    pin.take(*first)
    assert "directory.chain" == refused(lambda: pin.take(*third))
    assert "directory.chain" == refused(lambda: pin.follow([third[1], second[1]]))
    assert 3 == pin.version
    pin.take(*second)
    pin.follow([third[1]])
    assert 7 == pin.version
    assert fourth[0] == pin.take(*fourth).to_json()
    assert "directory.rolled-back" == refused(lambda: pin.follow([third[1]]))


def test_another_history_with_a_higher_version_is_refused_whatever_it_is_signed_by() -> None:
    ours, theirs = chain(3, 4, 5), chain(2, 6, 8)
    _, pinned = directory_note.verify(ours[1][0], Note.parse(ours[1][1].encode()), LOG, None)
    for content, told in theirs[1:]:
        given = Note.parse(told.encode())
        wrong = refused(lambda content=content, given=given: directory_note.verify(content, given, LOG, pinned))  # type: ignore[misc]
        assert "directory.chain" == wrong
    assert 5 == follow(Note.parse(ours[2][1].encode()), LOG, pinned).version


def test_no_reader_of_checkpoints_takes_it_for_one() -> None:
    assert "checkpoint.size" == refused(lambda: Checkpoint.parse(signed(7).text))


def test_an_agency_remembers_over_restarts_and_believes_nothing_older(tmp_path: Path) -> None:
    file = tmp_path / "directory.pin"
    for version in (3, 3, 4):
        assert directory() == Pin(file, LOG.text).take(directory(), signed(version).encode().decode()).to_json()
    kept = file.read_bytes()
    assert "directory.rolled-back" == refused(
        lambda: Pin(file, LOG.text).take(directory(), signed(3).encode().decode())
    )
    assert kept == file.read_bytes()
    file.write_text("4")
    assert "directory.pin" == refused(lambda: Pin(file, LOG.text).take(directory(), signed(4).encode().decode()))
    with pytest.raises(Unavailable, match=r"directory\.cannot-pin"):
        Pin(tmp_path / "nowhere" / "pin", LOG.text).take(directory(), signed(4).encode().decode())
