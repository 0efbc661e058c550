"""The 5-byte wire header and the ids in it: one spelling, and the same id wherever the schema is known."""

import pytest

from schemas import avro, catalogue
from schemas.confluent import frame, registry_id, registry_ids, unframe
from schemas.errors import Refused
from schemas.names import EventType, SchemaId

KNOWN = {
    "fr.unefois.address.changed.v1": 873_255_496,
    "fr.unefois.contact.changed.v1": 1_515_473_978,
    "fr.unefois.name.changed.v1": 1_225_439_852,
    "fr.unefois.person.born.v1": 1_447_904_372,
    "fr.unefois.person.died.v1": 651_617_690,
    "fr.unefois.union.registered.v1": 1_558_900_107,
    "fr.unefois.union.dissolved.v1": 1_386_325_461,
    "fr.unefois.bank-account.changed.v1": 307_638_843,
    "fr.unefois.person.reference.v1": 9_907_693,
    "fr.unefois.declaration.cancelled.v1": 884_592_035,
    "fr.unefois.declaration.recalled.v1": 847_971_554,
}
"""Published: a topic's old records name these for ever."""


def test_the_ids_that_were_published_never_change_and_never_collide():
    known = catalogue.builtin()
    firsts = {name: registry_id(known.versions(name)[0].schema.id) for name in map(EventType, KNOWN)}

    assert KNOWN == firsts
    assert len(known.schemas) == len(registry_ids(known))


@pytest.mark.parametrize(
    ("start", "expected"),
    [("00000001", 1), ("80000001", 1), ("ffffffff", 2**31 - 1), ("7fffffff", 2**31 - 1), ("01020304", 0x01020304)],
)
def test_an_id_is_the_first_four_bytes_without_the_top_bit(start: str, expected: int):
    assert expected == registry_id(SchemaId(bytes.fromhex(start) + bytes(28)))


@pytest.mark.parametrize("start", ["00000000", "80000000"])
def test_a_schema_whose_id_would_be_zero_is_refused(start: str):
    with pytest.raises(Refused, match=r"confluent\.id"):
        registry_id(SchemaId(bytes.fromhex(start) + b"\1" * 28))


def test_two_schemas_with_one_id_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("schemas.confluent.registry_id", lambda _: 7)
    first, *_ = catalogue.builtin()

    assert {7: first} == registry_ids([first, first])
    with pytest.raises(Refused, match=r"confluent\.collision"):
        registry_ids(catalogue.builtin())


def test_the_header_is_a_zero_and_the_id_and_comes_off_again():
    assert bytes.fromhex("0001020304aabb") == frame(0x01020304, b"\xaa\xbb")
    assert (0x01020304, b"\xaa\xbb") == unframe(bytes.fromhex("0001020304aabb"))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "confluent.magic"),
        ("0101020304aa", "confluent.magic"),
        ("00", "confluent.no-record"),
        ("00010203", "confluent.no-record"),
        ("0001020304", "confluent.no-record"),
        ("0000000000aa", "confluent.id"),
        ("0080000000aa", "confluent.id"),
        ("00ffffffffaa", "confluent.id"),
    ],
)
def test_a_message_that_is_not_framed_is_refused(message: str, code: str):
    with pytest.raises(Refused) as refused:
        unframe(bytes.fromhex(message))
    assert code == refused.value.code


@pytest.mark.parametrize(
    ("number", "record", "code"),
    [
        (0, b"a", "confluent.id"),
        (-1, b"a", "confluent.id"),
        (2**31, b"a", "confluent.id"),
        (1, b"", "confluent.no-record"),
    ],
)
def test_what_has_no_id_or_no_record_is_not_framed(number: int, record: bytes, code: str):
    with pytest.raises(Refused) as refused:
        frame(number, record)
    assert code == refused.value.code


def test_the_record_behind_the_header_is_read_strictly():
    event, *_ = catalogue.builtin()
    with pytest.raises(Refused, match=r"avro\."):
        avro.decode(event.schema, unframe(frame(1, b"\0\0"))[1])
