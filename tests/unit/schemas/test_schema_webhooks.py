"""Webhook messages as bytes: what is signed is believed, and nothing else is."""

import base64
from typing import Any

import pytest

from schemas.errors import Refused
from schemas.names import Instant
from schemas.webhooks import headers, public_key_of, signer_of, verify

SEED = "whsk_" + base64.b64encode(bytes(range(32))).decode()
PUBLIC = public_key_of(SEED)
SECRET = "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
AT, BODY = Instant(1_795_521_493_000), b'{"type":"deliveries.ready"}'


def told(*keys: str, at: Instant = AT) -> dict[str, str]:
    return headers("msg-1", at, BODY, map(signer_of, keys))


def refusal(*arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        verify(*arguments)
    return caught.value.code


@pytest.mark.parametrize("keys", [[PUBLIC], [SECRET], [OTHER, PUBLIC], [PUBLIC, OTHER]])
def test_a_message_is_believed_by_any_key_that_signed_it(keys: list[str]) -> None:
    assert "msg-1" == verify(told(SECRET, SEED), BODY, keys, AT)


@pytest.mark.parametrize("late", [-300_000, 300_000])
def test_a_message_is_believed_within_five_minutes(late: int) -> None:
    assert "msg-1" == verify(told(SEED), BODY, [PUBLIC], Instant(AT + late))


@pytest.mark.parametrize("late", [-301_000, 301_000])
def test_one_that_was_recorded_and_is_played_again_is_not(late: int) -> None:
    assert "webhook.time" == refusal(told(SEED), BODY, [PUBLIC], Instant(AT + late))


@pytest.mark.parametrize(
    ("change", "body", "keys"),
    [
        ({}, BODY + b" ", [PUBLIC]),
        ({"webhook-id": "msg-2"}, BODY, [PUBLIC]),
        ({"webhook-timestamp": str(AT // 1000 + 1)}, BODY, [PUBLIC]),
        ({}, BODY, [OTHER]),
        ({}, BODY, []),
        ({"webhook-signature": "v1a,AAAA"}, BODY, [PUBLIC]),
        ({"webhook-signature": "v1a,*"}, BODY, [PUBLIC]),
        ({"webhook-signature": ""}, BODY, [PUBLIC, SECRET]),
        ({"webhook-signature": told(SEED)["webhook-signature"].replace("v1a", "v1")}, BODY, [PUBLIC]),
        ({"webhook-signature": " ".join(["v1a,AAAA"] * 16) + " " + told(SEED)["webhook-signature"]}, BODY, [PUBLIC]),
    ],
)
def test_what_no_key_signed_is_not(change: dict[str, str], body: bytes, keys: list[str]) -> None:
    assert "webhook.signature" == refusal(told(SEED) | change, body, keys, AT)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""},
        {"webhook-id": "a.b"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1.5"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "٣"},
        {"webhook-timestamp": "9" * 5000},
    ],
)
def test_headers_have_one_form(change: dict[str, str]) -> None:
    assert "webhook.headers" == refusal(told(SEED) | change, BODY, [PUBLIC], AT)
    assert "webhook.headers" == refusal({}, BODY, [PUBLIC], AT)


@pytest.mark.parametrize("key", [SEED, "whpk_AAAA", "whpk_*", "", "whsec_AAAA"])
def test_what_is_no_key_to_verify_with_is_refused(key: str) -> None:
    assert "webhook.key" == refusal(told(SEED), BODY, [key], AT)
