"""What the broker posts to an agency's own server, in the hands of the standard's libraries."""

import json
from base64 import b64encode
from collections.abc import Iterator

import httpx2
import pytest

from tests.agency.conftest import Endpoint, Served
from tests.agency.foreign.clients import Room

LIBRARIES = ("Standard Webhooks for Go", "Standard Webhooks for JavaScript")
Heard = tuple[str, dict[str, str], str]


@pytest.fixture(scope="module")
def messages(served: Served, endpoint: Endpoint) -> Iterator[dict[str, Heard]]:
    """A webhook's secret and the message that came under it, headers and body: its first, and one in its rotation.

    Of the second, both secrets are told, each with the same message.
    """
    while not endpoint.heard.empty():
        endpoint.heard.get()
    headers = {"Authorization": f"Bearer {(served.town / 'api.token').read_text()}"}
    with httpx2.Client(base_url=served.address, headers=headers, trust_env=False, timeout=60) as client:
        made = client.post("/v1/webhooks", json={"url": endpoint.address, "symmetric": True}).raise_for_status().json()
        sent, body = endpoint.heard.get(timeout=120)
        told = {"first": (made["secret"], sent, body.decode())}
        rotated = client.post(f"/v1/webhooks/{made['id']}:rotate", json={"overlap_hours": 1}).raise_for_status().json()
        client.post(f"/v1/webhooks/{made['id']}:prove").raise_for_status()
        sent, body = endpoint.heard.get(timeout=120)
        told |= {name: (one["secret"], sent, body.decode()) for name, one in (("old", made), ("new", rotated))}
        yield told
        client.post(f"/v1/webhooks/{made['id']}:end").raise_for_status()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("message", ["first", "old", "new"])
def test_a_message_of_the_broker_is_verified_also_while_its_secret_is_rotated(
    room: Room, messages: dict[str, Heard], library: str, message: str
) -> None:
    secret, headers, body = messages[message]
    assert " v1a," in f" {headers['webhook-signature']}"  # the other kind, which they pass over

    seen = room.run(library, secret=secret, headers=headers, body=body)

    assert json.loads(body) == seen
    assert "webhook.challenge" == seen["type"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("forged", ["body", "secret", "webhook-id", "webhook-timestamp", "no signature"])
def test_a_forged_one_is_refused(room: Room, messages: dict[str, Heard], library: str, forged: str) -> None:
    secret, headers, body = messages["first"]
    others = {
        "body": {"body": body + " "},
        "secret": {"secret": "whsec_" + b64encode(bytes(32)).decode()},
        "webhook-id": {"headers": {**headers, "webhook-id": "0192f3a1-0000-7000-8000-000000000001"}},
        "webhook-timestamp": {"headers": {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}},
        "no signature": {"headers": {name: text for name, text in headers.items() if name != "webhook-signature"}},
    }

    said = room.run(library, code=1, **{"secret": secret, "headers": headers, "body": body, **others[forged]})

    assert "signature" in said.lower() or "missing required headers" in said.lower()
