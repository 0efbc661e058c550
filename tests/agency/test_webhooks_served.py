"""Webhooks from end to end: `unefois serve`, an agency's own server, the standard's own library, a mail server."""

import json
from collections.abc import Iterator
from queue import Queue
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks import Webhook as Standard

from schemas.names import Instant
from schemas.webhooks import verify
from tests.agency.conftest import Endpoint, Served
from tests.services.mailserver import Post

LONG = 120
"""Seconds until a test gives up: a message that does not come."""


class Town:
    """What the town knows of its webhook, and asks of the broker."""

    def __init__(self, served: Served) -> None:
        headers = {"Authorization": f"Bearer {(served.town / 'api.token').read_text()}"}
        self.http = httpx2.Client(base_url=served.address, headers=headers, trust_env=False, timeout=60)
        self.id = ""

    def post(self, path: str, **told: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.post(path, json=told or None).raise_for_status().json()
        return answer

    def mine(self) -> dict[str, Any]:
        (one,) = (one for one in self.http.get("/v1/webhooks").json()["webhooks"] if one["id"] == self.id)
        return dict(one)

    def until(self, **told: Any) -> dict[str, Any]:
        """How the webhook is, once it is so: the broker writes it down a moment after it was answered."""
        for _ in range(5_000):
            if told.items() <= (seen := self.mine()).items():
                return seen
        raise AssertionError(seen)

    def disabled(self) -> float:
        """What the operator's metrics count."""
        page = self.http.get("/metrics").text
        return next(one.samples[0].value for one in text_string_to_metric_families(page)
                    if one.name == "unefois_webhooks_disabled")  # fmt: skip


def heard(queue: "Queue[tuple[dict[str, str], bytes]]", *secrets: str, kind: str) -> tuple[dict[str, str], Any]:
    """The next message, which the standard's library takes with each of these secrets."""
    headers, body = queue.get(timeout=LONG)
    for secret in secrets:
        told = Standard(secret).verify(body, headers)
    assert (kind, {"webhook", "challenge" if kind == "webhook.challenge" else "waiting"}) == (
        told["type"], set(told["data"])
    )  # fmt: skip
    return headers, body


@pytest.fixture
def town(served: Served) -> Iterator[Town]:
    """The town, until it hangs up."""
    made = Town(served)
    with made.http:
        yield made


def test_a_webhook_from_its_challenge_to_its_end_by_410_and_the_letter_about_it(
    served: Served, town: Town, endpoint: Endpoint, post: Post
) -> None:
    queue = endpoint.heard
    while town.post("/v1/deliveries:pull", max=100)["deliveries"]:
        pass  # what other tests left
    made = town.post("/v1/webhooks", url=endpoint.address, symmetric=True)
    town.id, secret = made["id"], made["secret"]

    # challenged, echoed; told that something waits; pulled after the bell
    heard(queue, secret, kind="webhook.challenge")
    town.until(status="active")
    served.declare("Le Goff")
    headers, body = heard(queue, secret, kind="deliveries.ready")
    at = Instant(int(headers["webhook-timestamp"]) * 1000)
    verify(headers, body, made["public_keys"], at)
    assert b"Goff" not in body
    pulled = town.post("/v1/deliveries:pull", max=20)
    assert 1 == json.loads(body)["data"]["waiting"]  # never handed out; others may come again with it
    assert 1 <= len(pulled["deliveries"])

    # two keys while they rotate
    rotated = town.post(f"/v1/webhooks/{town.id}:rotate", overlap_hours=24)
    served.declare("Le Bris")
    heard(queue, secret, rotated["secret"], kind="deliveries.ready")

    # what fails comes again, as the same message
    endpoint.answers.put(500)
    served.declare("Le Du")
    first, _ = heard(queue, rotated["secret"], kind="deliveries.ready")
    again, _ = heard(queue, rotated["secret"], kind="deliveries.ready")
    assert first["webhook-id"] == again["webhook-id"]
    town.until(status="active", attempts=0)

    # 410 is the end of it: the API, the operator's metrics and a letter say so
    assert 0 == town.disabled()
    endpoint.answers.put(410)
    served.declare("Le Roux")
    heard(queue, rotated["secret"], kind="deliveries.ready")
    letter = post.letters.get(timeout=LONG)
    assert ("c@example.fr", "unefois@broker.example") == (letter["To"], letter["From"])
    text = letter.get_content()
    assert f"/v1/webhooks/{town.id}:prove" in text
    assert [] == [word for word in ("Roux", "Martin", "Goff", "hook\n") if word in text]
    seen = town.until(status="disabled", reason="webhooks.gone")
    while seen["mailed_at"] is None:  # noted a moment after the mail server took it
        seen = town.until(mail_code=None)
    assert 1 == town.disabled()

    # mended, and proven anew
    town.post(f"/v1/webhooks/{town.id}:prove")
    heard(queue, rotated["secret"], kind="webhook.challenge")
    town.until(status="active", mailed_at=None)
    assert 0 == town.disabled()
    assert post.letters.empty()
    assert [] == served.unefois("fsck")["findings"]
    statuses = [one["status"] for one in town.http.get(f"/v1/webhooks/{town.id}/attempts").json()["attempts"]]
    assert {200, 410, 500} <= set(statuses), json.dumps(statuses)
    town.post(f"/v1/webhooks/{town.id}:end")
