"""The client against answers that no broker gives, and networks that break: what may have been done is not "failed"."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import httpx2
import pytest

from connectors.client import Client
from connectors.contract import Applied
from connectors.driving import ANSWER_BYTES
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, Instant, Reason

pytestmark = pytest.mark.asyncio
TOKEN = "unefois_0011223344556677_" + "s" * 43
Answer = Callable[[httpx2.Request], httpx2.Response]


@asynccontextmanager
async def client(answer: Answer, url: str = "https://broker.example") -> AsyncIterator[Client]:
    transport = httpx2.MockTransport(answer)
    at = Instant(1_700_000_000_000)
    async with Client.open(url, TOKEN, transport=transport, clock=lambda: at, tries=1) as made:
        yield made


def says(status: int, body: object = None, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx2.Response(status, content=content, headers=headers)


@pytest.mark.parametrize(
    "url", ["http://broker.example", "https://me:secret@broker.example", "ftp://broker.example", "x"]
)
async def test_an_address_that_would_tell_the_token_to_others_is_refused(url: str) -> None:
    with pytest.raises(Refused) as refused:
        async with client(says(200, {}), url):
            pass

    assert "client.url" == refused.value.code
    assert "secret" not in str(refused.value)


async def test_the_token_goes_along_and_is_shown_nowhere() -> None:
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(500)

    async with client(answer) as made:
        with pytest.raises(Unavailable) as away:
            await made.status()
        assert TOKEN not in repr(made)
    assert [f"Bearer {TOKEN}"] == seen
    assert TOKEN not in repr(away.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_broker_that_cannot_now_is_away_and_says_for_how_long(status: int) -> None:
    async with client(says(status, retry_after="7")) as made:
        with pytest.raises(Unavailable) as away:
            await made.inbox().pull(1)
    assert ("client.away", 0) == (away.value.code, away.value.details["after_ms"])
    async with client(says(status, **{"retry-after": "7"})) as made:
        with pytest.raises(Unavailable) as away:
            await made.inbox().pull(1)
    assert 7000 == away.value.details["after_ms"]


async def test_a_connection_that_breaks_is_away() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("reset")

    async with client(answer) as made:
        with pytest.raises(Unavailable) as away:
            await made.inbox().acknowledge_all({DeliveryId(bytes(16)): Applied()})

    assert "client.away" == away.value.code


async def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(307, headers={"location": "https://elsewhere.example/v1/status"})

    async with client(answer) as made:
        with pytest.raises(Refused):
            await made.status()

    assert ["broker.example"] == asked


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_not_taken_is_told_as_that(status: int) -> None:
    async with client(says(status, {"code": "credentials.expired"})) as made:
        with pytest.raises(Refused) as refused:
            await made.status()

    assert "client.not-let-in" == refused.value.code


async def test_a_refusal_brings_the_brokers_code_and_the_place() -> None:
    problem = {"code": "intake.too-large", "errors": [{"pointer": "/x", "code": "intake.too-large"}]}
    async with client(says(422, problem)) as made:
        with pytest.raises(Refused) as refused:
            await made.declare(b"x")

    assert ("client.refused", "/x", "intake.too-large") == (
        refused.value.code,
        refused.value.pointer,
        refused.value.details["told"],
    )


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        [],
        {},
        {"deliveries": 3, "withheld": []},
        {"deliveries": [{"id": "x", "attempts": 0, "locked": "AA"}], "withheld": [], "key_release": None},
        {"deliveries": [{"id": "x", "attempts": 0}], "withheld": [], "key_release": "AA"},
        {"deliveries": [], "withheld": [{"id": "x", "reason": "revoked"}]},
        {"deliveries": [], "withheld": [{"id": "00" * 16, "reason": 7}]},
    ],
)
async def test_an_answer_that_is_no_pull_is_refused_and_nothing_else(body: object) -> None:
    async with client(says(200, body)) as made:
        with pytest.raises(Refused):
            await made.inbox().pull(1)


async def test_a_reason_of_a_newer_broker_keeps_nobodys_mailbox_closed() -> None:
    held = [{"id": "00" * 16, "reason": "revoked"}, {"id": "01" * 16, "reason": "unheard-of"}]
    async with client(says(200, {"deliveries": [], "withheld": held})) as made:
        pulled = await made.inbox().pull(1)

    assert [Reason.REVOKED, "unheard-of"] == [one.reason for one in pulled.withheld]
    assert ["revoked", "unheard-of"] == [one.word for one in pulled.withheld]


@pytest.mark.parametrize("body", [{}, {"results": [{}]}, {"results": [{"ok": False, "delivery": "x"}]}])
async def test_an_answer_that_is_no_acknowledgement_is_refused(body: object) -> None:
    async with client(says(200, body)) as made:
        with pytest.raises(Refused):
            await made.inbox().acknowledge_all({DeliveryId(bytes(16)): Applied()})


async def test_a_token_or_receipt_that_is_none_is_refused() -> None:
    async with client(says(200, {"subject_token": "==", "declaration": "x"})) as made:
        for call in (made.resolve({}), made.declare(b"x")):
            with pytest.raises(Refused) as refused:
                await call
            assert "client.answer" == refused.value.code


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1_000_000
            yield b" " * 1_000_000

    async with client(lambda _: httpx2.Response(200, content=endless())) as made:
        with pytest.raises(Refused) as refused:
            await made.status()

    assert "client.answer" == refused.value.code
    assert read < ANSWER_BYTES + 3_000_000


async def test_what_only_a_lease_can_say_is_not_asked() -> None:
    async with client(says(500)) as made:
        assert () == await made.inbox().ready(5)


async def test_a_retry_gives_the_lease_back_and_says_for_how_many_seconds() -> None:
    sent: list[object] = []

    def ack(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(200, json={"results": [{"delivery": str(UUID(int=0)), "ok": True}]})

    async with client(ack) as made:
        for after_ms in (None, 1, 90_000, 10**9):
            await made.inbox().retry_later(DeliveryId(bytes(16)), "crm.away", after_ms)

    later = {"delivery": str(UUID(int=0)), "outcome": "later", "code": "crm.away"}
    waits: list[dict[str, int]] = [{}, {"after": 1}, {"after": 90}, {"after": 86_400}]
    assert [{"acknowledgements": [later | wait]} for wait in waits] == sent


async def test_a_retry_that_the_broker_does_not_take_is_refused() -> None:
    problem = {"status": 404, "code": "mailbox.unknown-delivery"}
    body = {"results": [{"delivery": str(UUID(int=0)), "ok": False, "problem": problem}]}
    async with client(says(200, body)) as made:
        with pytest.raises(Refused) as refused:
            await made.inbox().retry_later(DeliveryId(bytes(16)), "crm.away")

    assert "mailbox.unknown-delivery" == refused.value.details["told"]
