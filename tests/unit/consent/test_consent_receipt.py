"""Consent receipts: what they say, what they never say, and each way in which one is refused."""

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from consent.basis import law
from consent.grant import Grant, Scope, Status
from consent.purposes import by_id
from consent.receipt import MAX_BYTES, PAYLOAD_TYPE, canonical, make_receipt, verify_receipt
from consent.receipt_content import Party, ReceiptContent, Terms, document_of
from schemas.errors import Refused
from schemas.names import DeclarationId, Instant, LeafHash, PartyId, Purpose, SubjectRef
from schemas.signing import Algorithm, PrivateKey, pae

NOW = Instant(1_795_521_493_000)
SIGNER = PrivateKey.from_raw(Algorithm.ED25519, b"b" * 32)
STRANGER = PrivateKey.from_raw(Algorithm.ED25519, b"s" * 32)
ENTRY = LeafHash(b"l" * 32)
PRINCIPAL = "4Wq7tYc0ZpLmN2xA"
CAF = Party(
    PartyId("urn:fr:siret:18750001000015"), "CAF du Finistère", "1 rue de la Paix, 29000 Quimper", "dpo@caf.example"
)
BROKER = Party(PartyId("urn:unefois:courtier"), "Une fois", "2 place du Parlement, 35000 Rennes", "dpo@unefois.example")
TERMS = Terms(CAF, BROKER, ("FR",), "Deux ans après la fin des droits", "https://unefois.example/consentements")
TERMS_OF_LAW = replace(TERMS, withdrawal_method=None)
MANDATE = {"basis": law("CSS, art. L583-3")}

GrantOf = Callable[..., Grant]


def make(grant: Grant, terms: Terms = TERMS, principal: str = PRINCIPAL) -> bytes:
    return make_receipt(grant, terms, principal=principal, ledger_entry=ENTRY, signer=SIGNER)


def verify(receipt: bytes) -> ReceiptContent:
    return verify_receipt(receipt, SIGNER.algorithm, SIGNER.public)


def payload_of(receipt: bytes) -> bytes:
    return b64decode(json.loads(receipt)["payload"])


def document(grant: Grant, terms: Terms = TERMS) -> dict[str, Any]:
    opened: dict[str, Any] = json.loads(payload_of(make(grant, terms)))
    return opened


def signed(payload: bytes, payload_type: str = PAYLOAD_TYPE, signer: PrivateKey = SIGNER) -> bytes:
    """A receipt around any bytes, as only the holder of the key can make it."""
    signature = {"keyid": signer.kid.hex(), "sig": b64encode(signer.sign(pae(payload_type, payload))).decode()}
    carried = {"payloadType": payload_type, "payload": b64encode(payload).decode(), "signatures": [signature]}
    return json.dumps(carried).encode()


def with_unused_bits(signature: dict[str, str]) -> dict[str, str]:
    """The same 64 bytes in another spelling: base64 leaves four bits of the last letter unused."""
    sig = signature["sig"]
    other = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="
    assert b64decode(sig) == b64decode(other)
    return signature | {"sig": other}


def refusal(receipt: bytes) -> str:
    with pytest.raises(Refused) as refused:
        verify(receipt)
    return refused.value.code


# ── what a receipt says ──


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({}, TERMS),
        ({"expires_at": None, "language": "en"}, TERMS),
        ({"version": 3, "status": Status.PAUSED, "changed_at": NOW}, TERMS),
        ({"scope": Scope.ONCE, "once_for": DeclarationId(b"d" * 16), "status": Status.REVOKED}, TERMS),
        (MANDATE, TERMS_OF_LAW),
    ],
    ids=["consent", "english without end", "paused", "once, revoked", "law"],
)
def test_a_receipt_reads_back_all_that_the_grant_says(grant_of: GrantOf, changes: dict[str, Any], terms: Terms) -> None:
    grant = grant_of(**changes)
    content = verify(make(grant, terms))
    same = set(Grant.__dataclass_fields__) & set(ReceiptContent.__dataclass_fields__) - {"fields"}
    assert 17 == len(same)
    assert {name: getattr(grant, name) for name in same} == {name: getattr(content, name) for name in same}
    assert ("household", "new_address") == content.fields
    assert (grant.id, grant.changed_at, PRINCIPAL) == (content.grant_id, content.event_time, content.principal)
    assert (ENTRY, terms) == (content.ledger_entry, content.terms)
    assert by_id(grant.purpose).label[grant.language] == content.purpose_label


def test_the_document_has_the_fields_of_the_technical_specification(grant_of: GrantOf) -> None:
    told = document(grant_of())
    assert {"schema_version", "receipt_id", "record_id", "pii_principal_id"} <= told.keys()
    processing = told["pii_processing"]
    assert {"privacy_notice", "language", "purposes"} == processing.keys()
    (purpose,) = processing["purposes"]
    assert {
        "purpose",
        "lawful_basis",
        "pii_information",
        "pii_controllers",
        "collection_method",
        "storage_locations",
        "retention_period",
        "jurisdiction",
        "recipient_third_parties",
        "withdrawal_method",
    } <= purpose.keys()
    assert {"pii_type": "household", "pii_attribute_id": "fr.unefois.address.changed.v1#household"} in purpose[
        "pii_information"
    ]
    for party, kind in zip(told["party_identification"], ("administration", "broker"), strict=True):
        assert {"party_id", "party_name", "party_address", "party_contact", "party_role", "party_type"} == party.keys()
        assert kind == party["party_type"]
    (event,) = told["events"]
    assert {"event_time", "validity_duration", "entity_id", "event_type", "event_state"} <= event.keys()


def test_a_receipt_of_the_first_version_without_the_types_of_its_parties_is_still_checked(grant_of: GrantOf) -> None:
    told = document(grant_of())
    told["schema_version"] = "urn:unefois:consent-receipt:v1"
    mixed = canonical(told)
    for party in told["party_identification"]:
        del party["party_type"]
    assert replace(verify(make(grant_of())), schema_version=told["schema_version"]) == verify(signed(canonical(told)))
    for wrong in (mixed, canonical(told | {"schema_version": "urn:unefois:consent-receipt:v2"})):
        assert "consent-receipt.not-canonical" == refusal(signed(wrong))


def test_the_document_names_its_ledger_entry_the_text_shown_and_its_times(grant_of: GrantOf) -> None:
    told = document(grant_of())
    assert "6c" * 32 == told["ledger_entry"]
    assert {"sha256": "74" * 32} == told["pii_processing"]["privacy_notice"]
    assert "00000000-0000-0000-0000-000000000001" == told["record_id"]
    (event,) = told["events"]
    assert ("2026-11-24T11:58:12.000Z", "explicit_consent", "given") == (
        event["event_time"],
        event["event_type"],
        event["event_state"],
    )
    assert {
        "from": "2026-11-24T11:58:12.000Z",
        "until": "2026-11-24T11:58:14.000Z",
        "scope": "standing",
        "once_for": None,
    } == event["validity_duration"]


def test_a_consent_and_a_mandate_name_their_lawful_basis(grant_of: GrantOf) -> None:
    def basis(changes: dict[str, Any], terms: Terms) -> dict[str, Any]:
        (purpose,) = document(grant_of(**changes), terms)["pii_processing"]["purposes"]
        told: dict[str, Any] = purpose["lawful_basis"]
        return told

    assert {"type": "consent", "article": None, "gdpr": ["6(1)(a)"]} == basis({}, TERMS)
    expected = {"type": "law", "article": "CSS, art. L583-3", "gdpr": ["6(1)(c)", "6(1)(e)"]}
    assert expected == basis(MANDATE, TERMS_OF_LAW)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.ACTIVE, "given"),
        (Status.PAUSED, "paused"),
        (Status.REVOKED, "withdrawn"),
        (Status.EXPIRED, "expired"),
    ],
)
def test_each_status_has_its_event_state(grant_of: GrantOf, status: Status, state: str) -> None:
    told = document(grant_of(status=status))
    assert (status.value, state) == (told["status"], told["events"][0]["event_state"])


def test_the_citizen_appears_only_as_the_opaque_id(grant_of: GrantOf) -> None:
    subject = SubjectRef(bytes(range(32)))
    receipt = make(grant_of(subject=subject))
    for secret in (subject, sha256(subject).digest()):
        for spelling in (secret.hex(), b64encode(secret).decode(), urlsafe_b64encode(secret).decode()):
            assert spelling.rstrip("=") not in receipt.decode() + payload_of(receipt).decode()


# ── one spelling ──


def test_the_same_grant_and_entry_give_the_same_bytes(grant_of: GrantOf) -> None:
    assert make(grant_of(fields=frozenset(["b", "a"]))) == make(grant_of(fields=frozenset(["a", "b"])))


def test_the_bytes_are_sorted_compact_utf8_without_a_float(grant_of: GrantOf) -> None:
    payload = payload_of(make(grant_of()))
    assert "CAF du Finistère".encode() in payload
    assert b", " not in payload.replace(b", 29000", b"").replace(b", 35000", b"")

    def no_float(text: str) -> float:
        raise AssertionError(text)

    assert payload == canonical(json.loads(payload, parse_float=no_float))


def test_another_version_or_another_entry_is_another_receipt(grant_of: GrantOf) -> None:
    content = verify(make(grant_of()))
    others = {
        content.receipt_id,
        replace(content, version=2).receipt_id,
        replace(content, ledger_entry=LeafHash(b"m" * 32)).receipt_id,
    }
    assert 3 == len(others)
    expected = sha256(b"unefois/consent-receipt/v1\x00" + content.grant_id + b"\x00\x00\x00\x01" + ENTRY)
    assert expected.hexdigest()[:32] == content.receipt_id


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_of_the_protocol_can_sign_one(grant_of: GrantOf, algorithm: Algorithm) -> None:
    signer = PrivateKey.from_raw(algorithm, b"\x07" * 32)
    receipt = make_receipt(grant_of(), TERMS, principal=PRINCIPAL, ledger_entry=ENTRY, signer=signer)
    assert grant_of().id == verify_receipt(receipt, algorithm, signer.public).grant_id


# ── what is not made ──


@pytest.mark.parametrize("principal", ["short", "a" * 65, "Jeanne Martin, Rennes", "é" * 20])
def test_a_principal_that_is_no_opaque_id_is_refused(grant_of: GrantOf, principal: str) -> None:
    with pytest.raises(Refused) as refused:
        make(grant_of(), principal=principal)
    assert "consent-receipt.principal" == refused.value.code


def test_the_brokers_reference_is_never_the_opaque_id(grant_of: GrantOf) -> None:
    subject = SubjectRef(bytes(range(200, 232)))
    for secret in (bytes(subject), sha256(subject).digest()):
        for spelling in (secret.hex(), secret.hex().upper(), urlsafe_b64encode(secret).decode().rstrip("=")):
            with pytest.raises(Refused) as refused:
                make(grant_of(subject=subject), principal=spelling)
            assert "consent-receipt.principal" == refused.value.code


def test_another_administrations_terms_are_refused(grant_of: GrantOf) -> None:
    with pytest.raises(Refused) as refused:
        make(grant_of(), replace(TERMS, controller=BROKER))
    assert "consent-receipt.controller" == refused.value.code


def test_a_consent_says_how_to_withdraw_and_a_mandate_does_not(grant_of: GrantOf) -> None:
    for grant, terms in ((grant_of(), TERMS_OF_LAW), (grant_of(**MANDATE), TERMS)):
        with pytest.raises(Refused) as refused:
            make(grant, terms)
        assert "consent-receipt.withdrawal" == refused.value.code


def test_a_date_beyond_the_year_9999_is_refused(grant_of: GrantOf) -> None:
    assert make(grant_of(expires_at=Instant(253_402_300_799_999)))
    with pytest.raises(Refused) as refused:
        make(grant_of(expires_at=Instant(253_402_300_800_000)))
    assert "consent-receipt.instant" == refused.value.code


@pytest.mark.parametrize("text", ["", "a" * 501, "two\nlines"])
@pytest.mark.parametrize("name", ["retention_period", "withdrawal_method", "jurisdiction"])
def test_terms_are_plain_text(name: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        replace(TERMS, **{name: text})
    assert "consent-receipt.term" == refused.value.code


@pytest.mark.parametrize("places", [(), ("",)])
def test_terms_name_a_place_of_storage(places: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        replace(TERMS, storage_locations=places)
    assert "consent-receipt.term" == refused.value.code


@pytest.mark.parametrize("name", ["name", "address", "contact"])
def test_a_party_can_be_reached(name: str) -> None:
    with pytest.raises(Refused) as refused:
        replace(CAF, **{name: ""})
    assert "consent-receipt.term" == refused.value.code


# ── what is not believed: each receipt is wrong in one thing only ──


def test_a_receipt_that_is_too_large_is_refused(grant_of: GrantOf) -> None:
    receipt = make(grant_of())
    assert verify(receipt + b" " * (MAX_BYTES - len(receipt)))
    assert "consent-receipt.too-large" == refusal(receipt + b" " * (MAX_BYTES + 1 - len(receipt)))


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{", b"[" * 100_000], ids=["empty", "no UTF-8", "cut", "too deep"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    assert "consent-receipt.not-json" == refusal(raw)
    assert "consent-receipt.not-json" == refusal(signed(raw))


@pytest.mark.parametrize(
    "change",
    [
        lambda e: [],
        lambda e: {**e, "signatures": []},
        lambda e: {**e, "signatures": e["signatures"] * 2},
        lambda e: {**e, "signatures": "one"},
        lambda e: {**e, "payload": e["payload"] + "!"},
        lambda e: {**e, "payload": None},
        lambda e: {name: e[name] for name in ("payload", "signatures")},
        lambda e: {**e, "signatures": [with_unused_bits(e["signatures"][0])]},
    ],
)
def test_what_is_no_envelope_is_refused(grant_of: GrantOf, change: Callable[[dict[str, Any]], Any]) -> None:
    envelope = json.loads(make(grant_of()))
    assert "consent-receipt.envelope" == refusal(json.dumps(change(envelope)).encode())


def test_a_signature_on_another_kind_of_document_is_none_on_a_receipt(grant_of: GrantOf) -> None:
    payload = payload_of(make(grant_of()))
    other = "application/vnd.unefois.statement.v1+avro"
    assert "consent-receipt.payload-type" == refusal(signed(payload, other))
    renamed = signed(payload, other).replace(other.encode(), PAYLOAD_TYPE.encode())
    assert "consent-receipt.signature" == refusal(renamed)


def test_a_receipt_of_another_key_is_told_apart_from_a_forged_one(grant_of: GrantOf) -> None:
    payload = payload_of(make(grant_of()))
    assert "consent-receipt.other-key" == refusal(signed(payload, signer=STRANGER))
    forged = signed(payload, signer=STRANGER).replace(STRANGER.kid.hex().encode(), SIGNER.kid.hex().encode())
    assert "consent-receipt.signature" == refusal(forged)


def test_a_changed_payload_is_refused(grant_of: GrantOf) -> None:
    envelope = json.loads(make(grant_of()))
    payload = b64decode(envelope["payload"]).replace(b'"household"', b'"iban_and_b"')
    envelope["payload"] = b64encode(payload).decode()
    assert "consent-receipt.signature" == refusal(json.dumps(envelope).encode())


@pytest.mark.parametrize("version", ["urn:unefois:consent-receipt:v3", None, 1])
def test_a_receipt_of_another_version_is_refused(grant_of: GrantOf, version: object) -> None:
    assert "consent-receipt.schema-version" == refusal(
        signed(canonical(document(grant_of()) | {"schema_version": version}))
    )
    assert "consent-receipt.schema-version" == refusal(signed(b"[]"))


def paths(node: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to every leaf of a JSON document."""
    if isinstance(node, dict):
        return [path for key, child in node.items() for path in paths(child, (*prefix, key))]
    if isinstance(node, list):
        return [path for place, child in enumerate(node) for path in paths(child, (*prefix, place))]
    return [prefix]


def with_leaf(node: Any, path: tuple[str | int, ...], leaf: object) -> Any:
    copy: Any = json.loads(json.dumps(node))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = leaf
    return copy


@pytest.mark.parametrize("leaf", [None, 1.5, True, 7, "", "\ud800", [], {}], ids=repr)
def test_a_wrong_value_in_any_place_is_refused(grant_of: GrantOf, leaf: object) -> None:
    good = document(grant_of(scope=Scope.ONCE, once_for=DeclarationId(b"d" * 16)))
    may_be_absent = {("until",), ("once_for",), ("withdrawal_method",), ("article",)}
    for path in paths(good):
        if path == ("schema_version",) or (leaf is None and path[-1:] in may_be_absent):
            continue
        if path == ("record_version",) and leaf == 7 and leaf is not True:
            continue
        raw = json.dumps(with_leaf(good, path, leaf), sort_keys=True, separators=(",", ":")).encode()
        assert refusal(signed(raw)) in {"consent-receipt.content", "consent-receipt.not-canonical"}, path


@pytest.mark.parametrize("path", ["pii_processing", "party_identification", "events", "record_id", "status"])
def test_a_missing_part_is_refused(grant_of: GrantOf, path: str) -> None:
    good = document(grant_of())
    del good[path]
    assert "consent-receipt.content" == refusal(signed(canonical(good)))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b":", b": ", 1),
        lambda raw: raw.replace("è".encode(), b"\\u00e8"),
        lambda raw: raw.replace(b'"status":"active"', b'"status":"paused","status":"active"'),
        lambda raw: raw.replace(b'"status":"active"', b'"status":"active","unknown":1'),
        lambda raw: raw.replace(b'"event_state":"given"', b'"event_state":"paused"'),
        lambda raw: raw.replace(b"11:58:14.000Z", b"11:58:14Z"),
        lambda raw: raw.replace(b'"receipt_id":"', b'"receipt_id":"0'),
        lambda raw: raw.replace(b'#household"', b'#iban"'),
    ],
    ids=["space", "escape", "key twice", "unknown key", "derived state", "other time form", "derived id", "attribute"],
)
def test_a_receipt_in_another_spelling_is_refused(grant_of: GrantOf, change: Callable[[bytes], bytes]) -> None:
    good = payload_of(make(grant_of()))
    assert verify(signed(good))
    assert change(good) != good
    assert "consent-receipt.not-canonical" == refusal(signed(change(good)))


def test_a_receipt_outlives_the_wording_of_the_catalogue(grant_of: GrantOf) -> None:
    old_words = replace(verify(make(grant_of())), purpose_label="Allocations", purpose=Purpose("no-longer-listed"))
    assert old_words == verify(signed(canonical(document_of(old_words))))
