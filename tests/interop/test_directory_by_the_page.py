"""Whoever has read section 13 of the protocol and nothing else takes our directories, and refuses what we refuse."""

import json
from collections.abc import Callable
from hashlib import shake_128
from typing import Any

import pytest

from connectors.pinning import Pin
from connectors.testing import TestBroker
from schemas import directory_note, note
from schemas.errors import Refused
from schemas.names import EventType, PartyId
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.interop.directory_reader import Reader, Wrong

NUMBERS = {
    "directory.note": 1,
    "directory.note-unsigned": 2,
    "note.bad-signature": 2,
    "directory.note-differs": 3,
    "directory.rolled-back": 4,
    "directory.forked": 5,
    "directory.chain": 6,
    "directory.not-exact": 7,
    "directory.kid-mismatch": 7,
    "directory.empty-period": 7,
}
KEY, STRANGER = (PrivateKey.from_raw(Algorithm.ED25519, bytes([number]) * 32) for number in (7, 8))
NAME = "log.example.fr/unefois"
VKEY = VerifierKey.of(NAME, KEY).text


def documents() -> list[str]:
    """Directories as a broker has them: keys of every kind, rotated, revoked; rights; policies."""
    counter = iter(range(1, 10_000))
    broker = TestBroker(entropy=lambda size: shake_128(next(counter).to_bytes(4, "big")).digest(size))
    found = [broker.directory().to_json()]
    broker.agency(PartyId("urn:fr:siret:21350238800019"))
    found.append(broker.directory().to_json())
    broker.source(PartyId("urn:unefois:portal"), EventType("fr.unefois.person.born.v1"), algorithm=Algorithm.ML_DSA_44)
    stolen = broker.rotate_source()
    found.append(broker.directory().to_json())
    broker.revoke_key(stolen)
    return [*found, broker.directory().to_json()]


def signed(version: int, content: str, before: str | None, key: PrivateKey = KEY, name: str = NAME) -> str:
    previous = bytes(32) if before is None else directory_note.digest_of(before)
    return note.sign(directory_note.text_of(name, version, content, previous), name, key).encode().decode()


CHAIN = documents()
NOTES = [signed(3 * number, content, CHAIN[number - 1] if number else None) for number, content in enumerate(CHAIN)]


def both(steps: Callable[[Any], object]) -> tuple[int | None, int | None]:
    """What the reader of the page says, and what ours says: the number of the check, or None."""
    told: list[int | None] = []
    for reader in (Reader(VKEY), _Ours()):
        try:
            steps(reader)
        except Wrong as wrong:
            told.append(wrong.args[0])
        except Refused as fault:
            told.append(NUMBERS[fault.code])
        else:
            told.append(None)
    return told[0], told[1]


class _Ours:
    """Our pin, by the names of the other reader."""

    def __init__(self) -> None:
        self.pin = Pin(None, VKEY)
        self.take = self.pin.take

    def follow(self, text: str) -> None:
        self.pin.follow([text])


def test_every_directory_of_ours_is_taken_link_by_link_and_after_a_while_away() -> None:
    def each(reader: Any) -> None:
        for content, text in zip(CHAIN, NOTES, strict=True):
            reader.take(content, text)

    def away(reader: Any) -> None:
        reader.take(CHAIN[0], NOTES[0])
        for text in NOTES[0:]:
            reader.follow(text)
        reader.take(CHAIN[-1], NOTES[-1])

    assert (None, None) == both(each) == both(away)


def test_what_it_reads_is_what_we_read() -> None:
    assert json.loads(CHAIN[-1]) == Reader(VKEY).take(CHAIN[-1], NOTES[-1])


def changed(content: str, change: Callable[[dict[str, Any]], object], **how: Any) -> str:
    """A document with a change, written again."""
    whole = json.loads(content)
    change(whole)
    return json.dumps(whole, **{"indent": 1} | how) + "\n"


NEWEST = CHAIN[-1]
FORGED: dict[str, tuple[int, str, str]] = {
    "another-kind": (1, NEWEST, NOTES[-1].replace("directory/v1", "checkpoint/v1")),
    "another-log": (1, NEWEST, signed(9, NEWEST, CHAIN[-2], name="log.example.fr/other")),
    "a-stranger-signed-it": (2, NEWEST, signed(9, NEWEST, CHAIN[-2], STRANGER)),
    "the-text-was-changed": (2, NEWEST, NOTES[-1].replace("version 9", "version 8")),
    "a-key-slipped-in": (3, NEWEST.replace("urn:unefois:portal", "urn:unefois:portaL".lower() + "2"), NOTES[-1]),
    "rolled-back": (4, CHAIN[0], NOTES[0]),
    "forked": (5, CHAIN[-1], signed(6, CHAIN[-1], CHAIN[1])),
    "another-history": (6, NEWEST, signed(9, NEWEST, CHAIN[0])),
    "follows-from-nothing": (6, NEWEST, signed(9, NEWEST, None)),
}
BEFORE = (CHAIN[2], NOTES[2])
"""What both readers believed: version 6."""


@pytest.mark.parametrize("name", FORGED)
def test_what_the_chain_or_the_signature_does_not_support_is_refused_by_the_same_check(name: str) -> None:
    number, content, text = FORGED[name]

    def steps(reader: Any) -> None:
        reader.take(*BEFORE)
        reader.take(content, text)

    assert (number, number) == both(steps)


@pytest.mark.parametrize(
    "content",
    [
        NEWEST.replace("\n ", "\n  "),
        NEWEST.rstrip(),
        changed(NEWEST, lambda whole: whole["signing"].reverse()),
        changed(NEWEST, lambda whole: whole["signing"][0].update(kid="00" * 32)),
        changed(NEWEST, lambda whole: whole["rights"][0].update(valid_to=1)),
        changed(NEWEST, lambda whole: None, indent=None),
    ],
    ids=["indented", "no-end", "order", "kid", "period", "one-line"],
)
def test_a_document_that_is_not_in_its_one_form_is_refused_even_where_it_is_signed(content: str) -> None:
    assert (7, 7) == both(lambda reader: reader.take(content, signed(9, content, None)))


def test_what_was_refused_changes_nothing() -> None:
    reader = Reader(VKEY)
    reader.take(*BEFORE)
    for _, content, text in FORGED.values():
        with pytest.raises(Wrong):
            reader.take(content, text)
    assert reader.take(NEWEST, NOTES[-1])
