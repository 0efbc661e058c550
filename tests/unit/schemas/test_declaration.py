"""A source's side: what is declared can be verified, routed, released and read, and nothing else leaves."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import avro, catalogue, sealing
from schemas.catalogue import EventSchema
from schemas.declaration import Source, declare
from schemas.delivery import WITHHELD, open_release, verify_delivery
from schemas.directory import PolicyEntry, SealingKeyEntry
from schemas.envelope import SignedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.locked import bitmap, lock, open_locked
from schemas.names import DeclarationId, Instant, LeafHash
from schemas.release import Statement, make_release, seal_releases
from schemas.signing import POLICIES, Algorithm
from tests.examples import examples


@cache
def event(uses_territories: bool = True) -> EventSchema:
    """A small event type that the catalogue accepts."""
    types = {"name": "string", "rooms": "int", "note": ["null", "string"], "garden": "boolean"}
    told = {"doc": "d", "label": {"fr": "f", "en": "e"}}
    raw = {
        "type": "record",
        "name": "fr.unefois.test.moved.v1",
        "usesTerritories": uses_territories,
        "fields": [
            {"name": name, "type": kind, "sensitivity": "low", **told}
            | ({"territory": True} if name == "note" and uses_territories else {})
            for name, kind in types.items()
        ],
        **told,
    }
    return catalogue.event_schema(avro.parse(json.dumps(raw).encode()))


def counting() -> Callable[[int], bytes]:
    """Bytes that never repeat and are the same in every run."""
    asked = iter(range(1_000))
    return lambda size: bytes((next(asked),)) * size


def source_of(world: Any, policy: int = 1) -> Source:
    return Source(world.TOWN, [world.signing_key("town", each) for each in sorted(POLICIES[policy])], policy)


def gate_of(world: Any, suite: Suite = Suite.X25519, **over: Any) -> SealingKeyEntry:
    entry: SealingKeyEntry = world.sealing_entry(world.sealing_key("gate", suite), world.BROKER, **over)
    return entry


def declared(world: Any, record: Any = None, **over: Any) -> SignedDeclaration:
    told: dict[str, Any] = {
        "source": source_of(world),
        "event": event(),
        "record": record or world.RECORD,
        "subject_token": b"token",
        "gate": gate_of(world),
        "at": world.NOW,
        "lifetime_ms": world.DAY,
        "declaration_id": world.declaration_id,
        "entropy": counting(),
    }
    return declare(**told | over)


def travelled(world: Any, signed: SignedDeclaration, gate: Any, source: Source, fields: Any) -> Any:
    """By every step of every party, to what the recipient reads."""
    fund = world.sealing_key("fund", gate.suite)
    directory = world.directory(
        signing=[
            *(world.signing_entry(key, world.TOWN) for key in source.keys),
            world.signing_entry(world.broker, world.BROKER),
        ],
        sealing=[world.sealing_entry(gate, world.BROKER), world.sealing_entry(fund, world.FUND)],
        policies=[PolicyEntry(world.TOWN, source.policy, Instant(0))],
    )
    held = catalogue.Catalogue((event(),))
    received = SignedDeclaration.decode(signed.encode())
    verified = verify_declaration(received, directory, held, world.NOW)
    keys = {"consent_key": world.consent_key, "nonce": bytes(12)}
    locked = lock(verified, world.FUND, "purpose", world.grant_id, 1, field_indices=fields, **keys)
    dek = open_locked(locked, world.consent_key, gate)
    statement = Statement.of(
        locked,
        fields=bitmap(4, fields),
        basis="consent",
        pseudonym=b"",
        pseudonym_version=1,
        released_at=world.NOW,
        ledger_entry=LeafHash(bytes(32)),
    )
    release = make_release(locked, dek, statement, world.broker)
    sealed = seal_releases([release], fund.suite, fund.public, [locked.delivery_id]).encode()
    (delivery,) = open_release([locked], sealed, fund)
    return verify_delivery(
        delivery,
        recipient=world.FUND,
        directory=directory,
        catalogue=held,
        at=world.NOW,
        seen=lambda source, declaration: None,
    )


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("suite", list(Suite))
def test_what_is_declared_arrives_as_it_was_told(policy: int, suite: Suite, world: Any) -> None:
    source, gate = source_of(world, policy), world.sealing_key("gate", suite)
    signed = declared(world, source=source, gate=world.sealing_entry(gate, world.BROKER))
    found = travelled(world, signed, gate, source, (0, 2))
    assert {"name": "Amélie", "rooms": WITHHELD, "note": None, "garden": WITHHELD} == dict(found.record)
    assert (world.TOWN, world.declaration_id) == (found.source, found.declaration_id)


records = st.fixed_dictionaries(
    {
        "name": st.text("aé'-Z", min_size=1, max_size=90),
        "rooms": st.integers(-(2**31), 2**31 - 1),
        "note": st.none() | st.just("44109"),
        "garden": st.booleans(),
    }
)


@given(records, st.sets(st.integers(0, 3)))
@examples(40)
def test_any_record_arrives_with_exactly_the_chosen_fields(world: Any, record: Any, chosen: set[int]) -> None:
    source, gate = source_of(world), world.sealing_key("gate")
    found = travelled(world, declared(world, record), gate, source, chosen)
    names = event().names
    assert tuple(names[index] for index in sorted(chosen)) == found.disclosed
    expected = {name: record[name] if index in chosen else WITHHELD for index, name in enumerate(names)}
    assert expected == dict(found.record)


def test_the_manifest_says_what_was_asked(world: Any) -> None:
    corrected = DeclarationId(b"\x01" * 16)
    signed = declared(world, corrects=corrected)
    directory = world.directory()
    found = verify_declaration(signed, directory, catalogue.Catalogue((event(),)), world.NOW).manifest
    assert (world.NOW, world.NOW + world.DAY) == (found.issued_at, found.not_after)
    assert (world.TOWN, event().event_type, event().schema.id) == (found.source, found.event_type, found.schema)
    assert (corrected, 1, world.town.kid) == (found.corrects, found.signature_policy, found.signer)
    assert signed.slip.commitment() == found.routing


def test_the_same_entropy_gives_the_same_manifest_and_fields(world: Any) -> None:
    one, two = declared(world), declared(world)
    assert (one.payload, one.signatures, one.sealed_fields) == (two.payload, two.signatures, two.sealed_fields)
    assert one.sealed_dek != two.sealed_dek


def test_entropy_is_asked_for_the_dek_the_salts_and_the_slip_in_that_order(world: Any) -> None:
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return bytes((len(asked),)) * size

    signed = declared(world, entropy=entropy)
    assert [32, 16, 16, 16, 16, 16] == asked
    assert b"\x06" * 16 == signed.slip.salt
    dek = sealing.open_dek(world.gate, signed.sealed_dek, world.declaration_id, signed.payload)
    assert b"\x01" * 32 == dek


def test_no_value_is_in_the_envelope(world: Any) -> None:
    assert "Amélie".encode() not in declared(world).encode()


def test_an_absent_value_looks_like_a_present_one(world: Any) -> None:
    absent, present = declared(world), declared(world, world.RECORD | {"note": "44109"})
    assert [len(each) for each in absent.sealed_fields] == [len(each) for each in present.sealed_fields]


@pytest.mark.parametrize(
    ("over", "code", "pointer"),
    [
        ({"record": {"name": "x"}}, "avro.missing-field", "/rooms"),
        ({"record": {"name": "x", "rooms": 1, "note": None, "garden": True, "more": 1}}, "avro.unknown-field", "/more"),
        ({"record": {"name": "x", "rooms": "1", "note": None, "garden": True}}, "avro.wrong-type", "/rooms"),
        ({"lifetime_ms": -1}, "manifest.period", "/not_after"),
        ({"subject_token": b""}, "envelope.subject-token", "/subject_token"),
    ],
)
def test_what_the_intake_would_refuse_is_refused_at_once(over: Any, code: str, pointer: str, world: Any) -> None:
    with pytest.raises(Refused) as caught:
        declared(world, **over)
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


def test_a_value_that_no_recipient_could_rely_on_is_refused(world: Any) -> None:
    with pytest.raises(Refused, match=r"^values\.") as caught:
        declared(world, world.RECORD | {"name": "two\u202enames"})
    assert "/name" == caught.value.pointer


def test_a_declaration_does_not_correct_itself(world: Any) -> None:
    itself = world.declaration_id
    assert "manifest.corrects-itself" == world.code_of(lambda: declared(world, corrects=itself))


def test_a_type_without_territories_takes_none(world: Any) -> None:
    assert "envelope.territories-unused" == world.code_of(
        lambda: declared(world, event=event(False), territories=["44109"])
    )
    assert () == declared(world, event=event(False), territories=[]).slip.territories
    assert () == declared(world, world.RECORD | {"note": "44109"}, event=event(False)).slip.territories


def test_who_may_hear_is_taken_from_the_record_and_other_codes_are_refused(world: Any) -> None:
    """With codes that its record does not have, a declaration gets its receipt, and nobody hears of it."""
    here = world.RECORD | {"note": "44109"}
    assert ("44109",) == declared(world, here).slip.territories
    assert ("44109",) == declared(world, here, territories=["44109", "44109"]).slip.territories
    for wrong in ([], ["35238"], ["44109", "35238"], ["Nantes"]):
        with pytest.raises(Refused) as refused:
            declared(world, here, territories=wrong)
        assert ("declaration.territories", "/territories") == (refused.value.code, refused.value.pointer)


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"revoked_at": 0}, "directory.key-revoked"),
        ({"valid_to": -1}, "directory.key-expired"),
        ({"valid_from": 1}, "directory.key-not-yet-valid"),
    ],
)
def test_a_gate_key_that_is_not_good_now_is_refused(over: dict[str, int], code: str, world: Any) -> None:
    bad = gate_of(world, **{name: world.NOW + offset for name, offset in over.items()})
    assert code == world.code_of(lambda: declared(world, gate=bad))


def test_a_source_has_exactly_the_keys_of_its_policy(world: Any) -> None:
    ed, ml = world.signing_key("town"), world.signing_key("town", Algorithm.ML_DSA_44)
    for keys, policy in (([], 1), ([ml], 1), ([ed], 4), ([ed, ml], 1), ([ed, ed], 4), ([ed, ed], 1)):
        with pytest.raises(Refused) as caught:
            Source(world.TOWN, keys, policy)
        assert "declaration.keys" == caught.value.code
    assert "declaration.unknown-policy" == world.code_of(lambda: Source(world.TOWN, [ed], 6))
    assert 4 == Source(world.TOWN, [ml, ed], 4).policy
