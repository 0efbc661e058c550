"""Ledger entries: exact bytes, what each kind must say, and each refusal alone."""

from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import entry as entries
from schemas.entry import REQUIRED, Entry, FactKind, subject_commitment
from schemas.errors import Refused
from schemas.instants import INSTANT_MAX
from schemas.names import DeliveryId, EventType, GrantId, Instant, ManifestDigest, PartyId, Purpose, Reason, SubjectRef
from tests.examples import examples

AT = Instant(1_790_000_000_123)
ACTOR = PartyId("urn:unefois:gate")
WHOLE = Entry(
    at=AT,
    kind=FactKind.RELEASED,
    actor=ACTOR,
    recipient=PartyId("urn:fr:siret:12345678901234"),
    event_type=EventType("fr.unefois.address.changed.v1"),
    purpose=Purpose("family-benefits"),
    declaration=ManifestDigest(b"m" * 32),
    delivery=DeliveryId(b"d" * 16),
    grant=GrantId(b"g" * 16),
    grant_version=3,
    fields=b"\xa0\x01",
    reason=Reason.NO_GRANT,
    subject=b"s" * 32,
    detail=b"x" * 32,
)
VIEWED = Entry(AT, FactKind.VIEWED, ACTOR)


def refuses(code: str, pointer: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def zigzag(number: int) -> bytes:
    """Avro's int and long, written by hand."""
    number, out = number << 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def text(value: str) -> bytes:
    return zigzag(len(value)) + value.encode()


def test_an_entry_is_the_avro_of_protocol_8_field_by_field() -> None:
    by_hand = (
        zigzag(1)
        + zigzag(AT)
        + zigzag(list(FactKind).index(FactKind.RELEASED))
        + text(ACTOR)
        + b"\x02"
        + text("urn:fr:siret:12345678901234")
        + b"\x02"
        + text("fr.unefois.address.changed.v1")
        + b"\x02"
        + text("family-benefits")
        + b"\x02"
        + b"m" * 32
        + b"\x02"
        + b"d" * 16
        + b"\x02"
        + b"g" * 16
        + b"\x02"
        + zigzag(3)
        + b"\x02"
        + zigzag(2)
        + b"\xa0\x01"
        + b"\x02"
        + zigzag(0)
        + b"\x02"
        + b"s" * 32
        + b"\x02"
        + b"x" * 32
    )
    assert by_hand == WHOLE.encode()
    assert zigzag(1) + zigzag(AT) + zigzag(17) + text(ACTOR) + bytes(11) == VIEWED.encode()


def test_its_leaf_is_the_hash_of_its_bytes() -> None:
    assert sha256(b"\x00" + VIEWED.encode()).digest() == VIEWED.leaf_hash()


def test_decoding_gives_every_field_its_own_type() -> None:
    decoded = Entry.decode(WHOLE.encode())
    types = {field.name: type(getattr(WHOLE, field.name)) for field in fields(Entry)}
    assert types == {field.name: type(getattr(decoded, field.name)) for field in fields(Entry)}


@given(st.data())
@examples(80)
def test_entries_round_trip(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(FactKind))
    needed = {*REQUIRED.get(kind, ()), "at", "kind", "actor"}
    reason = data.draw(st.sampled_from(Reason))
    left_out = {name: None for name in told_by(WHOLE) if name not in needed and data.draw(st.booleans())}
    if left_out.get("grant", "") is None:
        left_out["grant_version"] = None
    made = replace(WHOLE, **{"kind": kind, "reason": reason, "at": data.draw(st.integers(0, INSTANT_MAX)), **left_out})
    assert made == Entry.decode(made.encode())


def told_by(entry: Entry) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in fields(Entry)}


def test_the_kinds_are_those_of_protocol_8_in_its_order() -> None:
    protocol = (
        "received, refused, planned, withheld, released, applied, rejected, granted, changed, revoked, expired, "
        "corrected, key_added, key_revoked, subscription_approved, subscription_ended, epoch_destroyed, viewed, "
        "replayed"
    )
    later = "party_added, right_granted, right_ended, policy_set"  # at the end, where they change no other's bytes
    assert f"{protocol}, {later}".split(", ") == [kind.value for kind in FactKind]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in REQUIRED.items() for name in names])
def test_a_kind_is_refused_without_what_it_must_name(kind: FactKind, name: str) -> None:
    complete = replace(WHOLE, kind=kind)
    if name == "grant":
        complete = replace(complete, grant_version=None) if "grant_version" not in REQUIRED[kind] else complete
    refuses("entry.incomplete", f"/{name}", lambda: replace(complete, **{name: None}))


@pytest.mark.parametrize("at", [-1, INSTANT_MAX + 1])
def test_an_instant_outside_every_calendar_is_refused(at: int) -> None:
    assert replace(VIEWED, at=0).at == 0
    refuses("entry.instant", "/at", lambda: replace(VIEWED, at=at))


@pytest.mark.parametrize("version", [0, -1, 2**31])
def test_a_grant_version_counts_from_one(version: int) -> None:
    assert replace(WHOLE, grant_version=1)
    refuses("entry.grant-version", "/grant_version", lambda: replace(WHOLE, grant_version=version))


def test_a_grant_version_without_its_grant_is_refused() -> None:
    refuses("entry.grant-version", "/grant_version", lambda: replace(VIEWED, grant_version=1))


@pytest.mark.parametrize("bitmap", [b"", b"\x00", bytes(9)])
def test_an_empty_set_of_fields_is_refused(bitmap: bytes) -> None:
    refuses("entry.no-fields", "/fields", lambda: replace(VIEWED, fields=bitmap))


@pytest.mark.parametrize("name", ["subject", "detail"])
def test_a_commitment_of_another_length_is_refused(name: str) -> None:
    refuses("entry.commitment", f"/{name}", lambda: replace(VIEWED, **{name: bytes(31)}))


def test_an_entry_is_at_most_65535_bytes() -> None:
    room = entries.ENTRY_BYTES - len(replace(VIEWED, fields=b"\x01").encode()) + 1
    largest = replace(VIEWED, fields=b"\x01" * (room - 2))  # two more bytes of length
    assert len(largest.encode()) == entries.ENTRY_BYTES
    assert largest == Entry.decode(largest.encode())
    refuses("avro.too-large", "", lambda: replace(VIEWED, fields=b"\x01" * (room - 1)).encode())
    refuses("avro.too-large", "", lambda: Entry.decode(largest.encode() + b"\x00"))


def test_bytes_that_are_not_exactly_one_entry_are_refused() -> None:
    raw = VIEWED.encode()
    for wrong in (b"", raw[:-1], raw + b"\x00", raw[:-1] + b"\x04"):
        with pytest.raises(Refused) as caught:
            Entry.decode(wrong)
        assert caught.value.code.startswith("avro.")


def test_another_version_is_refused() -> None:
    refuses("entry.version", "/version", lambda: Entry.decode(zigzag(2) + VIEWED.encode()[1:]))


def test_a_decoded_name_is_checked_and_pointed_at() -> None:
    raw = WHOLE.encode()
    refuses("name.party", "/actor", lambda: Entry.decode(raw.replace(b"urn:unefois:gate", b"urn:unefois:GATE")))
    refuses("name.party", "/recipient", lambda: Entry.decode(raw.replace(b"12345678901234", b"1234567890123x")))
    refuses("name.purpose", "/purpose", lambda: Entry.decode(raw.replace(b"family-", b"Family-")))
    refuses("name.event-type", "/event_type", lambda: Entry.decode(raw.replace(b"changed.v1", b"changed_v1")))


def test_a_decoded_entry_is_as_complete_as_one_that_is_made() -> None:
    raw = zigzag(1) + zigzag(AT) + zigzag(list(FactKind).index(FactKind.REVOKED)) + text(ACTOR) + bytes(11)
    refuses("entry.incomplete", "/grant", lambda: Entry.decode(raw))


def test_a_subject_shows_only_as_a_salted_commitment() -> None:
    subject, salt = SubjectRef(b"r" * 32), bytes(range(16))
    assert sha256(b"unefois/ledger-subject/v1\0" + salt + b"r" * 32).digest() == subject_commitment(salt, subject)
    assert subject_commitment(bytes(16), subject) != subject_commitment(salt, subject)
    refuses("entry.salt", "", lambda: subject_commitment(bytes(15), subject))
