"""The journal."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.journal import Batch, Entry, Journal
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault
from schemas.names import DeclarationId, DeliveryId, Instant, ManifestDigest, PartyId

NOW = Instant(1_793_610_000_000)
TOLD = DeliveryId(b"t" * 16)


def an_entry(number: int) -> Entry:
    raw = bytes([number]) * 16
    return Entry(
        DeliveryId(raw), PartyId("urn:unefois:a"), DeclarationId(raw), ManifestDigest(raw * 2), f"file:{number}"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal.open(path)
    yield opened
    opened.close()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Fault) as caught:
        call()
    return caught.value.code


def test_an_entry_is_that_of_its_delivery(declared: Callable[..., VerifiedDelivery]) -> None:
    delivery = declared()
    entry = Entry.of(delivery, "f:2")
    assert (delivery.delivery_id, delivery.source, delivery.declaration_id, delivery.manifest_digest, "f:2") == (
        entry.delivery_id,
        entry.source,
        entry.declaration_id,
        entry.manifest_digest,
        entry.reference,
    )


def test_a_batch_and_its_deliveries_are_remembered_after_closing(path: Path) -> None:
    journal, batch, entry = Journal.open(path), Batch(1, "a.csv", b"d" * 32), an_entry(1)
    journal.record(batch, [entry], NOW)
    journal.close()
    journal = Journal.open(path)
    assert ("file:1", None, (batch,), 2) == (
        journal.entry(entry.delivery_id),
        journal.published(entry.delivery_id),
        journal.unpublished(),
        journal.next_number(),
    )
    assert entry.manifest_digest == journal.seen(entry.source, entry.declaration_id)
    journal.publish(batch)
    journal.publish(batch)
    assert ((), "file:1") == (journal.unpublished(), journal.published(entry.delivery_id))
    journal.close()


def test_what_was_never_recorded_is_not_known(journal: Journal) -> None:
    entry = an_entry(1)
    assert (None, None, None, 1) == (
        journal.entry(entry.delivery_id),
        journal.published(entry.delivery_id),
        journal.seen(entry.source, entry.declaration_id),
        journal.next_number(),
    )


def test_a_declaration_is_seen_from_its_own_source_only(journal: Journal) -> None:
    entry = an_entry(1)
    journal.record(Batch(1, "a", b""), [entry], NOW)
    assert None is journal.seen(PartyId("urn:unefois:b"), entry.declaration_id)


def test_a_batch_is_recorded_whole_or_not_at_all(journal: Journal) -> None:
    journal.record(Batch(1, "a", b""), [an_entry(1)], NOW)
    with pytest.raises(sqlite3.IntegrityError):
        journal.record(Batch(2, "b", b""), [an_entry(2), an_entry(1)], NOW)
    assert (None, 2) == (journal.entry(an_entry(2).delivery_id), journal.next_number())
    with pytest.raises(sqlite3.IntegrityError):
        journal.record(Batch(2, "a", b""), [], NOW)
    journal.record(Batch(2, "b", b""), [an_entry(2)], NOW)


def test_a_second_process_is_kept_out_until_the_first_lets_go(path: Path) -> None:
    first = Journal.open(path)
    assert "journal.in-use" == code_of(lambda: Journal.open(path))
    first.record(Batch(1, "a", b""), [], NOW)
    assert "journal.in-use" == code_of(lambda: Journal.open(path))
    first.close()
    first.close()
    Journal.open(path).close()


def test_what_is_no_journal_is_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"name;town\n" * 200)
    assert "journal.unreadable" == code_of(lambda: Journal.open(path))
    assert "journal.unreadable" == code_of(lambda: Journal.open(tmp_path / "nowhere" / "j"))


def test_a_journal_of_another_version_is_refused(path: Path) -> None:
    Journal.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    assert "journal.unreadable" == code_of(lambda: Journal.open(path))


def test_telling_is_due_at_once_then_after_its_wait_and_never_once_heard(journal: Journal) -> None:
    assert 0 == journal.told(TOLD, NOW)
    journal.note_told(TOLD, NOW, next_at=Instant(NOW + 100))
    journal.note_told(TOLD, NOW, next_at=Instant(NOW + 200))
    assert [None, 2] == [journal.told(TOLD, Instant(NOW + after)) for after in (199, 200)]
    journal.note_told(TOLD, Instant(NOW + 200))
    assert None is journal.told(TOLD, Instant(NOW + 10**9))


def test_what_was_heard_long_ago_is_forgotten_and_what_was_not_heard_is_not(journal: Journal) -> None:
    unheard = DeliveryId(b"u" * 16)
    journal.note_told(TOLD, NOW)
    journal.note_told(unheard, NOW, next_at=NOW)
    assert [0, 1] == [journal.forget_told(Instant(NOW + after)) for after in (0, 1)]
    assert [0, 1] == [journal.told(each, NOW) for each in (TOLD, unheard)]
