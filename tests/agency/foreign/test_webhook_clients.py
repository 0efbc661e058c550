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
def heard(served: Served, endpoint: Endpoint) -> Iterator[Heard]:
    """A webhook's secret, and a message that came under it: headers and body."""
    while not endpoint.heard.empty():
        endpoint.heard.get()
    headers = {"Authorization": f"Bearer {(served.town / 'api.token').read_text()}"}
    with httpx2.Client(base_url=served.address, headers=headers, trust_env=False, timeout=60) as client:
        made = client.post("/v1/webhooks", json={"url": endpoint.address, "symmetric": True}).raise_for_status().json()
        sent, body = endpoint.heard.get(timeout=120)
        yield made["secret"], sent, body.decode()
        client.post(f"/v1/webhooks/{made['id']}:end").raise_for_status()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_message_of_the_broker_is_verified(room: Room, heard: Heard, library: str) -> None:
    secret, headers, body = heard

    seen = room.run(library, secret=secret, headers=headers, body=body)

    assert json.loads(body) == seen
    assert "webhook.challenge" == seen["type"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("forged", ["body", "secret", "webhook-id", "webhook-timestamp", "no signature"])
def test_a_forged_one_is_refused(room: Room, heard: Heard, library: str, forged: str) -> None:
    secret, headers, body = heard
    others = {
        "body": {"body": body + " "},
        "secret": {"secret": "whsec_" + b64encode(bytes(32)).decode()},
        "webhook-id": {"headers": {**headers, "webhook-id": "0192f3a1-0000-7000-8000-000000000001"}},
        "webhook-timestamp": {"headers": {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}},
        "no signature": {"headers": {name: text for name, text in headers.items() if name != "webhook-signature"}},
    }

    said = room.run(library, code=1, **{"secret": secret, "headers": headers, "body": body, **others[forged]})

    assert "signature" in said.lower() or "missing required headers" in said.lower()
