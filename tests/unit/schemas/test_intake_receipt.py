"""A receipt counts if the pinned broker signed exactly this."""

import json
from base64 import b64encode
from typing import Any

import pytest

from connectors.calls import Receipt
from connectors.testing import BROKER, SOURCE, TestBroker
from schemas.errors import Refused
from schemas.intake_receipt import RECEIPT_TYPE, IntakeReceipt, verify
from schemas.names import DeclarationId, ManifestDigest, PartyId
from schemas.signing import PrivateKey, pae


@pytest.fixture
def broker() -> TestBroker:
    return TestBroker()


def receipt(here: TestBroker, **over: Any) -> IntakeReceipt:
    told = {"broker": BROKER, "source": SOURCE, "declaration_id": DeclarationId(bytes(16))}
    return IntakeReceipt(**(told | {"manifest": ManifestDigest(bytes(32)), "received_at": here.now} | over))


def signed(one: IntakeReceipt, key: PrivateKey) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(one.sign(key))
    return told


def test_what_the_broker_signed_is_read_as_it_was_written(broker: TestBroker) -> None:
    one = receipt(broker)

    assert one == verify(signed(one, broker._broker), broker.directory())


def test_another_party_cannot_sign_it(broker: TestBroker) -> None:
    with pytest.raises(Refused) as refused:
        verify(signed(receipt(broker), broker._signer), broker.directory())

    assert "directory.key-of-another-party" == refused.value.code


def test_another_broker_is_not_believed(broker: TestBroker) -> None:
    one = receipt(broker, broker=PartyId("urn:unefois:other"))

    with pytest.raises(Refused) as refused:
        verify(signed(one, broker._broker), broker.directory())

    assert ("intake-receipt.signature", "/payload/broker") == (refused.value.code, refused.value.pointer)


def test_a_changed_byte_is_found(broker: TestBroker) -> None:
    told = signed(receipt(broker), broker._broker)
    told["payload"] = b64encode(json.dumps({"broker": BROKER}).encode()).decode()

    with pytest.raises(Refused) as refused:
        verify(told, broker.directory())

    assert "intake-receipt.signature" == refused.value.code


def test_a_key_that_was_revoked_before_does_not_count(broker: TestBroker) -> None:
    broker.revoke_key(broker._broker)

    with pytest.raises(Refused) as refused:
        verify(signed(receipt(broker), broker._broker), broker.directory())

    assert "directory.key-revoked" == refused.value.code


@pytest.mark.parametrize(
    "change",
    [
        {"signatures": []},
        {"signatures": None},
        {"payload": "?"},
        {"payloadType": "x"},
        {"signatures": [{"keyid": "zz"}]},
    ],
)
def test_what_has_not_its_form_is_refused(broker: TestBroker, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        verify(signed(receipt(broker), broker._broker) | change, broker.directory())

    assert "intake-receipt.malformed" == refused.value.code


@pytest.mark.parametrize("body", [b"[]", b"{}", b"x", b'{"broker":1,"source":1,"declaration":1,"manifest":1}'])
def test_a_signed_text_that_is_no_receipt_is_refused(broker: TestBroker, body: bytes) -> None:
    key = broker._broker
    one = {"keyid": key.kid.hex(), "sig": b64encode(key.sign(pae(RECEIPT_TYPE, body))).decode()}
    told = {"payload": b64encode(body).decode(), "payloadType": RECEIPT_TYPE, "signatures": [one]}

    with pytest.raises(Refused) as refused:
        verify(told, broker.directory())

    assert ("intake-receipt.malformed", "/payload") == (refused.value.code, refused.value.pointer)


def test_the_receipt_of_another_declaration_is_not_taken_for_this_one(broker: TestBroker) -> None:
    answered = Receipt(DeclarationId(b"\x01" * 16), False, signed(receipt(broker), broker._broker))

    with pytest.raises(Refused) as refused:
        answered.verify(broker.directory())

    assert "intake-receipt.other" == refused.value.code
