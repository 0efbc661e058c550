"""Openings at rest: ciphertext for one entry and one person, under a period's key that ends for every copy at once."""

import os
from dataclasses import dataclass, replace
from typing import Any

import pytest

from broker.ledger.openings import NOBODY, PERIOD_MS, Openings, period_of
from broker.ports import KeyKind
from schemas.entry import Entry, Opening
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.names import Instant, LeafHash, PartyId, Reason, SubjectRef
from tests.memory import MemoryKeys

ELISE, YANN = SubjectRef(b"e" * 32), SubjectRef(b"y" * 32)
AT = Instant(1_795_521_493_000)
OPENING = Opening(b"b" * 32, None, Facts(AT, FactKind.REFUSED, PartyId("urn:unefois:portal"), reason=Reason.STALE))
ENTRY = OPENING.seal(Instant(AT - AT % 60_000))
OTHER = replace(OPENING, blind=b"B" * 32)
OTHER_ENTRY = OTHER.seal(ENTRY.window)


@dataclass(frozen=True)
class Row:
    """A row as the database gives it."""

    leaf: bytes
    subject: bytes
    period: int
    kind: str
    reason: str | None
    sealed: bytes


def sealed(
    openings: Openings, opening: Opening = OPENING, entry: Entry = ENTRY, about: SubjectRef | None = ELISE
) -> Row:
    return Row(**openings.row(entry.leaf_hash(), opening, about, opening.facts.at))


def opened(openings: Openings, row: Any, leaf: LeafHash | None = None, entry: Entry = ENTRY) -> Opening:
    return openings.open(leaf or entry.leaf_hash(), entry, row).opening


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def openings(keys: MemoryKeys) -> Openings:
    return Openings(keys, os.urandom, bytes(32))


def test_a_row_opens_its_entry_also_for_another_process(openings: Openings, keys: MemoryKeys) -> None:
    row = sealed(openings)

    assert OPENING == opened(openings, row)
    assert OPENING == opened(Openings(keys, os.urandom, bytes(32)), row)


def test_a_row_shows_nothing_of_what_it_opens(openings: Openings) -> None:
    row = sealed(openings)

    assert (ELISE, period_of(AT), "refused", "stale") == (row.subject, row.period, row.kind, row.reason)
    for part in (b"urn:unefois:portal", OPENING.blind[:16], OPENING.facts.encode()[:8]):
        assert part not in row.sealed
    assert row.sealed != sealed(openings).sealed


@pytest.mark.parametrize(
    "changed",
    [
        lambda row: replace(row, sealed=row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])),
        lambda row: replace(row, sealed=row.sealed[:10]),
        lambda row: replace(row, sealed=b""),
        lambda row: replace(row, subject=YANN),
        lambda row: replace(row, subject=NOBODY),
    ],
    ids=["a bit", "cut short", "empty", "of another person", "of nobody"],
)
def test_what_was_changed_or_moved_opens_nothing(openings: Openings, changed: Any) -> None:
    row = sealed(openings)
    with pytest.raises(Corrupt, match=r"openings\.damaged"):
        opened(openings, changed(row))
    with pytest.raises(Corrupt, match=r"openings\.damaged"):
        opened(openings, row, entry=OTHER_ENTRY)
    with pytest.raises(Corrupt, match=r"openings\.damaged"):  # under the right leaf, and yet not what opens it
        opened(openings, sealed(openings, OTHER, ENTRY))


def test_another_period_s_key_opens_nothing(openings: Openings) -> None:
    later = replace(OPENING, facts=replace(OPENING.facts, at=Instant(AT + PERIOD_MS)))
    sealed(openings, later, later.seal(ENTRY.window))
    with pytest.raises(Corrupt, match=r"openings\.damaged"):
        opened(openings, replace(sealed(openings), period=period_of(AT) + 1))


def test_without_the_key_of_its_period_an_opening_is_noise_in_every_copy(openings: Openings, keys: MemoryKeys) -> None:
    row = sealed(openings)
    keys.destroy(KeyKind.OPENING, str(period_of(AT)))
    with pytest.raises(Refused, match=r"keys\.missing"):
        opened(Openings(keys, os.urandom, bytes(32)), row)


def test_a_commitment_is_the_same_within_its_scope_alone(openings: Openings) -> None:
    one = openings.commitment(ELISE, b"grant one")

    assert one == openings.commitment(ELISE, b"grant one")
    assert len({one, openings.commitment(ELISE, b"grant two"), openings.commitment(YANN, b"grant one")}) == 3
    assert one != Openings(MemoryKeys(), os.urandom, bytes([1]) * 32).commitment(ELISE, b"grant one")
