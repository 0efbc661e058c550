"""Whatever is sent, the answer is a problem with a code of ours, the headers are there, and nothing sent comes back."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from broker.web.agencies.app import BODIES, PREFIX, describe, written
from broker.web.agencies.tokens import FORM
from broker.web.common import frame
from broker.web.common.frame import ALWAYS, BODY_BYTES
from schemas.messages import table
from tests.unit.broker.web.agencies.calls import Served
from tests.world import CAF, DAY

pytestmark = pytest.mark.asyncio
PULL, ACK = "/v1/deliveries:pull", "/v1/deliveries:ack"
CANARY = "kanarienvogel"
NOBODY = "00000000-0000-0000-0000-000000000000"
REJECTED = {"delivery": NOBODY, "outcome": "rejected"}

# method, path, body, headers -> status, code
WRONG: list[tuple[str, str, Any, dict[str, str], int, str]] = [
    ("GET", "/v1/nothing", None, {}, 404, "api.not-found"),
    ("POST", f"{PULL}/", {}, {}, 404, "api.not-found"),
    ("GET", PULL, None, {}, 405, "api.method"),
    ("DELETE", PULL, None, {}, 405, "api.method"),
    ("POST", f"{PULL}?{CANARY}=1", {}, {}, 400, "api.query-unknown"),
    ("GET", "/v1/dead-letters?limit=1&limit=2", None, {}, 400, "api.query-twice"),
    ("GET", "/v1/dead-letters?limit=0", None, {}, 422, "api.field"),
    ("GET", "/v1/dead-letters?limit=", None, {}, 422, "api.field"),
    ("GET", f"/v1/dead-letters?limit={CANARY}", None, {}, 422, "api.field"),
    ("GET", f"/v1/dead-letters?cursor={CANARY}", None, {}, 422, "api.field"),
    ("GET", f"/v1/dead-letters?cursor={'9' * 21}", None, {}, 422, "api.field"),
    ("POST", PULL, b"{}", {"content_type": "text/plain"}, 415, "api.media-type"),
    ("POST", PULL, None, {}, 415, "api.media-type"),
    ("POST", PULL, b"", {"content_type": "application/json"}, 422, "api.field"),
    ("POST", PULL, b"{}", {"content_encoding": "gzip"}, 415, "api.encoded"),
    ("POST", PULL, b"{" + CANARY.encode(), {}, 400, "api.json"),
    ("POST", PULL, b'"\xff"', {}, 400, "api.json"),
    ("POST", PULL, b"[" * 100_000, {}, 400, "api.json"),
    ("POST", PULL, b'{"max": [' + b"1," * 65_536 + b"1]}", {}, 400, "api.json"),
    ("POST", PULL, b'{"max": [' + b"1," * 65_534 + b"1]}", {}, 422, "api.field"),
    ("POST", PULL, [], {}, 422, "api.field"),
    ("POST", PULL, None, {"content_type": "application/json"}, 422, "api.field"),
    ("POST", PULL, {"max": "1"}, {}, 422, "api.field"),
    ("POST", PULL, {"max": 0}, {}, 422, "api.field"),
    ("POST", PULL, {"max": 501}, {}, 422, "api.field"),
    ("POST", PULL, {"max": 1.5}, {}, 422, "api.field"),
    ("POST", PULL, {"max": True}, {}, 422, "api.field"),
    ("POST", PULL, {"max": None}, {}, 422, "api.field"),
    ("POST", PULL, b'{"max": NaN}', {}, 400, "api.json"),
    ("POST", PULL, {"wait": 21}, {}, 422, "api.field"),
    ("POST", PULL, {CANARY: 1}, {}, 422, "api.unknown-member"),
    ("POST", ACK, {}, {}, 422, "api.missing"),
    ("POST", ACK, {"acknowledgements": []}, {}, 422, "api.field"),
    ("POST", ACK, {"acknowledgements": [{}] * 501}, {}, 422, "api.field"),
    ("POST", ACK, {"acknowledgements": [{"delivery": CANARY, "outcome": "applied"}]}, {}, 422, "api.field"),
    ("POST", ACK, {"acknowledgements": [{"delivery": NOBODY, "outcome": CANARY}]}, {}, 422, "api.field"),
    ("POST", ACK, {"acknowledgements": [{"delivery": NOBODY, "outcome": "applied"}] * 2}, {}, 422, "api.repeated"),
    ("POST", ACK, {"acknowledgements": [REJECTED]}, {}, 422, "api.rejected-without-code"),
    ("POST", ACK, {"acknowledgements": [REJECTED | {"code": f"Élise {CANARY}"}]}, {}, 422, "api.field"),
    (
        *("POST", ACK),
        {"acknowledgements": [{"delivery": NOBODY, "outcome": "applied", "reason": "mapping"}]},
        *({}, 422, "api.applied-with-code"),
    ),
    ("POST", PULL, b" " * (BODY_BYTES + 1), {}, 413, "api.too-large"),
    ("GET", f"/v1/status?{CANARY}={'x' * 20_000}", None, {}, 431, "api.headers"),
    ("GET", f"/v1/{'x' * 20_000}", None, {}, 431, "api.headers"),
    ("POST", PULL, {}, {"x_large": "x" * 20_000}, 431, "api.headers"),
    ("POST", PULL, {}, {f"x_{number}": "x" for number in range(80)}, 431, "api.headers"),
]


async def test_what_is_wrong_is_told_with_status_and_code_and_not_repeated(served: Served) -> None:
    caf = await served.caller(CAF)
    for method, path, body, headers, status, code in WRONG:
        response = await caf.asks(method, path, body, **headers)
        told, row = response.json(), (method, path[:60], str(body)[:60], headers, response.text)

        assert (status, "application/problem+json") == (response.status_code, response.headers["content-type"]), row
        assert (status, code) == (told["status"], told["code"]), row
        assert {"type", "title", "detail", "trace_id"} <= set(told), row
        assert f"#{code.replace('.', '-')}" == told["type"][told["type"].index("#") :]
        assert told["trace_id"] == response.headers["trace-id"], row
        assert set(map(str.lower, ALWAYS)) <= set(response.headers), row
        assert CANARY not in response.text, row


async def test_each_field_that_is_wrong_is_told_by_its_pointer(served: Served) -> None:
    caf = await served.caller(CAF)
    ends = [{"delivery": NOBODY, "outcome": "applied"}, {"delivery": CANARY, CANARY: 1}]
    told = (await caf.asks("POST", ACK, {"acknowledgements": ends})).json()
    found = {(one["pointer"], one["code"]) for one in told["errors"]}

    place = "/acknowledgements/1"
    assert {
        (f"{place}/delivery", "api.field"),
        (f"{place}/outcome", "api.missing"),
        (place, "api.unknown-member"),
    } == found
    assert CANARY not in str(told)


async def test_a_body_of_unknown_length_is_counted(served: Served) -> None:
    caf = await served.caller(CAF)
    came = 0

    async def long() -> AsyncIterator[bytes]:
        nonlocal came
        for _ in range(64):
            came += 1
            yield b" " * 65_536

    headers = {"authorization": f"Bearer {caf.token}", "content-type": "application/json"}
    response = await served.client.post(PULL, content=long(), headers=headers)

    assert (413, "api.too-large") == (response.status_code, response.json()["code"])
    assert BODY_BYTES // 65_536 + 2 >= came


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "api.no-credential"),
        ({"authorization": "Basic dTpw"}, "api.no-credential"),
        ({"authorization": "Bearer"}, "api.no-credential"),
        ({"authorization": f"Bearer {CANARY}"}, "credentials.unknown"),
        ({"authorization": f"Bearer unefois_{'0' * 16}_{'A' * 43}"}, "credentials.unknown"),
        ({"authorization": f"Bearer {'A' * 5000}"}, "api.no-credential"),
    ],
)
async def test_who_is_not_let_in_is_told_before_what_they_sent_is_read(
    served: Served, headers: dict[str, str], code: str
) -> None:
    response = await served.stranger.asks("POST", f"{PULL}?x=1", b"not json", **headers)
    assert (401, code) == (response.status_code, response.json()["code"])
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert CANARY not in response.text


async def test_an_expired_token_and_two_tokens_at_once_are_refused(served: Served) -> None:
    caf = await served.caller(CAF)
    both = [("authorization", f"Bearer {caf.token}")] * 2
    twice = await served.client.get("/v1/status", headers=both)
    served.here.clock.pass_(DAY)

    assert (401, "api.no-credential") == (twice.status_code, twice.json()["code"])
    assert (401, "credentials.expired") == await caf.problem("GET", "/v1/status")


async def test_a_fault_of_the_program_shows_nothing_but_that_it_happened(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError(CANARY)

    caf, said = await served.caller(CAF), []
    monkeypatch.setattr("broker.flow.backlog.of", broken)
    monkeypatch.setattr(frame, "logger", lambda: SimpleNamespace(error=lambda event, **_: said.append(event)))
    response = await caf.asks("GET", "/v1/status")

    assert (500, "api.unexpected") == (response.status_code, response.json()["code"])
    assert not any(word in response.text for word in (CANARY, "ZeroDivision", "Traceback"))
    assert ("no-store", ["api.unexpected"]) == (response.headers["cache-control"], said)


@pytest.mark.parametrize("path", [PULL, "/oauth2/token", "/registry/subjects/x"])
async def test_who_hangs_up_before_their_body_has_ended_is_no_fault_of_ours(served: Served, path: str) -> None:
    sent: list[Any] = []
    came = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    told = {"content-type": FORM if path.startswith("/oauth2") else "application/json"}
    told |= {"authorization": f"Bearer {(await served.caller(CAF)).token}"} if path == PULL else {}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "client": ("192.0.2.1", 1),
    }

    async def receive() -> Any:
        return next(came)

    async def send(message: Any) -> None:
        sent.append(message)

    with capture_logs() as said:
        await served.app(scope, receive, send)

    assert ([], []) == (said, [one for one in sent if one.get("status", 0) >= 500])


@pytest.mark.parametrize(("wanted", "language"), [("fr", "fr"), ("en-GB,fr;q=0.5", "en"), ("de", "en"), ("", "en")])
async def test_the_title_is_in_the_language_that_was_asked_for(served: Served, wanted: str, language: str) -> None:
    response = await served.stranger.asks("GET", "/v1/nothing", accept_language=wanted)
    assert (table()["api.not-found"][language], language) == (
        response.json()["title"],
        response.headers["content-language"],
    )


async def test_a_trace_id_is_the_callers_where_they_have_one(served: Served) -> None:
    mine = "0af7651916cd43dd8448eb211c80319c"
    told = await served.stranger.asks("GET", "/v1/nothing", traceparent=f"00-{mine}-b7ad6b7169203331-01")
    other = await served.stranger.asks("GET", "/v1/nothing", traceparent=CANARY)
    assert mine == told.json()["trace_id"]
    assert (32, False) == (len(other.json()["trace_id"]), CANARY in other.text)


async def test_the_description_is_written_once_however_often_it_is_asked_for(served: Served) -> None:
    told = (await served.stranger.asks("GET", "/v1/openapi.json")).content
    assert written(describe) is written(describe)
    assert told == written(describe)


async def test_paths_with_larger_bodies_are_paths_of_routes(served: Served) -> None:
    described = (await served.client.get("/v1/openapi.json")).json()
    assert "3.1" == described["openapi"][:3]
    assert set(BODIES) <= {PREFIX + path for path in described["paths"]}


async def test_a_body_may_not_be_smuggled_by_a_length_that_is_no_number(served: Served) -> None:
    request = httpx2.Request("POST", f"http://broker.example{PULL}", headers={"content-length": "-1"}, content=b"")
    request.headers["content-length"] = "+1"
    assert 413 == (await served.client.send(request)).status_code


@pytest.mark.parametrize("half", [b"\\ud800", b"\\uDFFF", b"x\\udfff\\ud83d"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/subjects:resolve", b'{"subject": "%s"}'),
        ("/v1/subjects:resolve", b'{"%s": 1}'),
        ("/v1/declarations:batch", b'{"declarations": ["%s"]}'),
        ("/v1/subscriptions", b'{"event_type": "%s"}'),
        ("/v1/webhooks", b'{"url": "https://%s.example"}'),
    ],
)
async def test_half_a_character_in_json_is_refused_as_json(served: Served, path: str, body: bytes, half: bytes) -> None:
    caf = await served.caller(CAF)
    assert (400, "api.json") == await caf.problem("POST", path, body % half)


async def test_both_halves_of_a_character_are_a_character(served: Served) -> None:
    caf = await served.caller(CAF)
    assert (422, "api.field") == await caf.problem("POST", "/v1/subjects:resolve", b'{"subject": "\\ud834\\udd1e"}')
