"""Facts: exact bytes, what each kind must say, and each refusal alone."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import facts as module
from schemas.errors import Refused
from schemas.facts import KINDS, PLAN, REASONS, REQUIRED, FactKind, Facts, subject_commitment
from schemas.names import (
    INSTANT_MAX,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SubjectRef,
)
from tests.examples import examples

AT = Instant(1_790_000_000_123)
ACTOR = PartyId("urn:unefois:gate")
WHOLE = Facts(
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
    basis="consent",
    sealed_to=Kid(b"k" * 32),
    count=5,
    subject=b"s" * 32,
    detail=b"x" * 32,
)
VIEWED = Facts(AT, FactKind.VIEWED, ACTOR)


def refuses(code: str, pointer: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


def zigzag(number: int) -> bytes:
    """Avro's int and long, written by hand."""
    number, out = number << 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def text(value: str) -> bytes:
    return zigzag(len(value)) + value.encode()


PLANNED_BY_HAND = (
    text("urn:fr:siret:12345678901234")
    + text("fr.unefois.address.changed.v1")
    + text("family-benefits")
    + b"m" * 32
    + b"d" * 16
    + b"g" * 16
    + zigzag(3)
    + zigzag(2)
    + b"\xa0\x01"
    + text("consent")
)


def test_facts_are_the_avro_of_protocol_8_field_by_field() -> None:
    by_hand = (
        zigzag(2)
        + zigzag(AT)
        + zigzag(KINDS.index("released"))
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
        + text("consent")
        + b"\x02"
        + b"k" * 32
        + b"\x02"
        + zigzag(5)
        + b"\x02"
        + b"s" * 32
        + b"\x02"
        + b"x" * 32
    )
    assert by_hand == WHOLE.encode()
    assert zigzag(2) + zigzag(AT) + zigzag(17) + text(ACTOR) + bytes(14) == VIEWED.encode()


def test_a_plan_is_the_avro_of_protocol_8_without_who_when_and_why() -> None:
    assert PLANNED_BY_HAND == WHOLE.plan()
    other = {"at": Instant(0), "actor": PartyId("urn:unefois:x"), "reason": None, "sealed_to": None, "detail": None}
    assert WHOLE.plan() == replace(WHOLE, kind=FactKind.PLANNED, **other).plan()


@pytest.mark.parametrize("name", PLAN)
def test_a_plan_that_lacks_something_is_none(name: str) -> None:
    changed: dict[str, Any] = {"kind": FactKind.VIEWED, name: None}
    if name == "grant":
        changed["grant_version"] = None
    refuses("entry.incomplete", f"/{name}", lambda: replace(WHOLE, **changed).plan())


def test_decoding_gives_every_field_its_own_type() -> None:
    decoded = Facts.decode(WHOLE.encode())
    types = {field.name: type(getattr(WHOLE, field.name)) for field in fields(Facts)}
    assert types == {field.name: type(getattr(decoded, field.name)) for field in fields(Facts)}


@given(st.data())
@examples(80)
def test_facts_round_trip(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(FactKind))
    needed = {*REQUIRED.get(kind, ()), "at", "kind", "actor"}
    if kind is FactKind.WITHHELD:
        needed |= {"grant", "delivery"}
    reason = data.draw(st.sampled_from(Reason))
    left_out = {field.name: None for field in fields(Facts) if field.name not in needed and data.draw(st.booleans())}
    if left_out.get("grant", "") is None:
        left_out["grant_version"] = None
    told: dict[str, Any] = {"kind": kind, "reason": reason, "at": data.draw(st.integers(0, INSTANT_MAX)), **left_out}
    made = replace(WHOLE, **told)
    assert made == Facts.decode(made.encode())


class TestTheSymbols:
    """What stands in stored bytes never moves: a new one goes to the end."""

    def test_the_kinds_are_those_of_protocol_8_in_its_order(self) -> None:
        first = (
            "received refused planned withheld released applied rejected granted changed revoked expired corrected "
            "key_added key_revoked subscription_approved subscription_ended epoch_destroyed viewed replayed "
            "party_added right_granted right_ended policy_set"
        )
        later = (
            "ledger_opened carried migrated erased disclosed operator_added operator_changed operator_ended acted "
            "party_changed rule_approved rule_ended objected objection_withdrawn answered "
            "retracted retraction_lifted channel_added channel_ended "
            "representation_started representation_ended acted_for declaration_erased "
            "rule_narrowed purpose_approved "
            "reference_renewed link_asked link_confirmed link_ended code_given"
        )
        written = tuple(f"{first} {later}".split())

        assert written == KINDS
        assert len(first.split()) == 23

    def test_the_reasons_are_those_of_protocol_8_in_its_order(self) -> None:
        first = (
            "no_grant not_yet expired paused revoked purpose once_used no_fields narrowed not_approved ended territory "
            "not_original_recipient epoch_destroyed unknown_subject invalid_envelope invalid_signature not_entitled "
            "stale replayed invalid_delivery mapping system_refused parked"
        )
        answered = "unknown_person several_persons document_needed awaiting_human partly technical"
        back = "cancelled recalled stopped"
        written = tuple(f"{first} unsound objected {answered} {back} assurance".split())

        assert written == REASONS
        assert len(first.split()) == 24

    def test_each_kind_and_each_reason_has_its_symbol_and_none_is_left(self) -> None:
        assert sorted(kind.value for kind in FactKind) == sorted(KINDS)
        assert sorted(reason.value.replace("-", "_") for reason in Reason) == sorted(REASONS)

    def test_they_are_the_symbols_of_the_schema(self) -> None:
        told = {field["name"]: field["type"] for field in json.loads(module.SCHEMA.raw)["fields"]}
        assert (list(KINDS), list(REASONS)) == (told["kind"]["symbols"], told["reason"][1]["symbols"])

    @pytest.mark.parametrize(("number", "reason"), list(enumerate(REASONS)))
    def test_a_reason_is_encoded_by_its_number(self, number: int, reason: str) -> None:
        told = Facts(Instant(0), FactKind.REFUSED, ACTOR, reason=Reason(reason.replace("_", "-"))).encode()
        assert zigzag(2) + zigzag(0) + zigzag(1) + text(ACTOR) + bytes(8) + b"\x02" + zigzag(number) + bytes(5) == told


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in REQUIRED.items() for name in names])
def test_a_kind_is_refused_without_what_it_must_name(kind: FactKind, name: str) -> None:
    complete = replace(WHOLE, kind=kind)
    if name == "grant":
        complete = replace(complete, grant_version=None) if "grant_version" not in REQUIRED[kind] else complete
    refuses("entry.incomplete", f"/{name}", lambda: replace(complete, **{name: None}))


def test_a_delivery_that_is_withheld_names_its_grant_and_what_was_never_planned_neither() -> None:
    withheld = replace(WHOLE, kind=FactKind.WITHHELD)
    assert replace(withheld, delivery=None, grant=None, grant_version=None)
    refuses("entry.incomplete", "/delivery", lambda: replace(withheld, delivery=None))
    refuses("entry.incomplete", "/grant", lambda: replace(withheld, grant=None, grant_version=None))


@pytest.mark.parametrize("at", [-1, INSTANT_MAX + 1])
def test_an_instant_outside_every_calendar_is_refused(at: int) -> None:
    assert replace(VIEWED, at=Instant(0)).at == 0
    refuses("entry.instant", "/at", lambda: replace(VIEWED, at=Instant(at)))


@pytest.mark.parametrize("version", [0, -1, 2**31])
def test_a_grant_version_counts_from_one(version: int) -> None:
    assert replace(WHOLE, grant_version=1)
    refuses("entry.grant-version", "/grant_version", lambda: replace(WHOLE, grant_version=version))


def test_a_grant_version_without_its_grant_is_refused() -> None:
    refuses("entry.grant-version", "/grant_version", lambda: replace(VIEWED, grant_version=1))


@pytest.mark.parametrize("count", [0, -1, 2**31])
def test_a_count_counts_from_one(count: int) -> None:
    assert replace(VIEWED, count=2**31 - 1)
    refuses("entry.count", "/count", lambda: replace(VIEWED, count=count))


@pytest.mark.parametrize(
    "basis",
    [
        "",
        "Consent",
        "law:",
        "consent: yes",
        "consent\n  recipient     urn:unefois:somebody-else",
        "law:CSS\u202eL161",
        "law:" + "é" * 127,
        "law:e\u0301",
    ],
)
def test_a_basis_that_a_receipt_could_not_show_on_one_line_is_refused(basis: str) -> None:
    assert replace(VIEWED, basis="law:CSS, art. L161-32-1").basis
    refuses("entry.basis", "/basis", lambda: replace(VIEWED, basis=basis))


@pytest.mark.parametrize("bitmap", [b"", b"\x00", bytes(9)])
def test_an_empty_set_of_fields_is_refused(bitmap: bytes) -> None:
    refuses("entry.no-fields", "/fields", lambda: replace(VIEWED, fields=bitmap))


@pytest.mark.parametrize("name", ["subject", "detail"])
def test_a_commitment_of_another_length_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: bytes(31)}
    refuses("entry.commitment", f"/{name}", lambda: replace(VIEWED, **wrong))


def test_facts_are_at_most_65535_bytes() -> None:
    room = module.FACTS_BYTES - len(replace(VIEWED, fields=b"\x01").encode()) + 1
    largest = replace(VIEWED, fields=b"\x01" * (room - 2))  # two more bytes of length
    assert module.FACTS_BYTES == len(largest.encode())
    assert largest == Facts.decode(largest.encode())
    refuses("avro.too-large", "", lambda: replace(VIEWED, fields=b"\x01" * (room - 1)).encode())
    refuses("avro.too-large", "", lambda: Facts.decode(largest.encode() + b"\x00"))


def test_bytes_that_are_not_exactly_one_are_refused() -> None:
    raw = VIEWED.encode()
    for wrong in (b"", raw[:-1], raw + b"\x00", raw[:-1] + b"\x04"):
        with pytest.raises(Refused) as caught:
            Facts.decode(wrong)
        assert caught.value.code.startswith("avro.")


def test_another_version_is_refused() -> None:
    refuses("entry.version", "/version", lambda: Facts.decode(zigzag(1) + VIEWED.encode()[1:]))


def test_a_decoded_name_is_checked_and_pointed_at() -> None:
    raw = WHOLE.encode()
    refuses("name.party", "/actor", lambda: Facts.decode(raw.replace(b"urn:unefois:gate", b"urn:unefois:GATE")))
    refuses("name.party", "/recipient", lambda: Facts.decode(raw.replace(b"12345678901234", b"1234567890123x")))
    refuses("name.purpose", "/purpose", lambda: Facts.decode(raw.replace(b"family-", b"Family-")))
    refuses("name.event-type", "/event_type", lambda: Facts.decode(raw.replace(b"changed.v1", b"changed_v1")))
    refuses("entry.basis", "/basis", lambda: Facts.decode(raw.replace(b"consent", b"consen\n")))


def test_decoded_facts_are_as_complete_as_those_that_are_made() -> None:
    raw = zigzag(2) + zigzag(AT) + zigzag(KINDS.index("revoked")) + text(ACTOR) + bytes(14)
    refuses("entry.incomplete", "/grant", lambda: Facts.decode(raw))


def test_a_subject_shows_only_as_a_salted_commitment() -> None:
    subject, salt = SubjectRef(b"r" * 32), bytes(range(16))
    assert sha256(b"unefois/ledger-subject/v1\0" + salt + b"r" * 32).digest() == subject_commitment(salt, subject)
    assert subject_commitment(bytes(16), subject) != subject_commitment(salt, subject)
    refuses("entry.salt", "", lambda: subject_commitment(bytes(15), subject))
