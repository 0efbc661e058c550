"""The sidecar answers programs of this machine that show its token, and nobody else."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from connectors.sidecar import BODY_BYTES, Sidecar
from schemas.errors import Refused
from schemas.names import EventType, PartyId
from tests.unit.connectors.test_source_desk import Portal, asked

pytestmark = pytest.mark.asyncio
TOKEN = "local-secret"
SHOWN = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": "crm-1"}


class Client:
    """Calls the app as if from an address."""

    def __init__(self, app: Sidecar) -> None:
        self.app = app

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        host: str = "127.0.0.1:8471",
        client: str = "127.0.0.1",
        **more: str,
    ) -> httpx2.Response:
        headers = {**SHOWN, **{name.replace("_", "-"): value for name, value in more.items()}}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if content is not None:
            headers = {"Content-Type": "application/json"} | headers
        transport = httpx2.ASGITransport(self.app, client=(client, 40_000))
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
            return await http.request(method, path, content=content, headers=headers)


@pytest_asyncio.fixture
async def sidecar(portal: Portal) -> AsyncIterator[Client]:
    async with portal.desk() as desk:
        yield Client(Sidecar(desk, TOKEN, 8471))


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(tmp_path / "outbox.db")


async def test_a_declaration_is_answered_with_its_receipt_and_found_again(sidecar: Client, portal: Portal) -> None:
    answer = await sidecar.send("POST", "/v1/declarations", asked())
    told = answer.json()

    assert (201, "received") == (answer.status_code, told["state"])
    assert {"payload", "payloadType", "signatures"} == set(told["receipt"])
    assert 1 == len(portal.broker.kept)
    assert told == (await sidecar.send("GET", f"/v1/declarations/{told['declaration']}")).json()
    assert told == (await sidecar.send("POST", "/v1/declarations", asked())).json()
    assert {"waiting": 0, "parked": 0} == (await sidecar.send("GET", "/v1/status")).json()


async def test_while_the_broker_is_away_it_is_kept_and_said_so(sidecar: Client, portal: Portal) -> None:
    portal.broker.answers.fail(503)

    answer = await sidecar.send("POST", "/v1/declarations", asked())

    assert (202, "waiting", "client.away") == (answer.status_code, answer.json()["state"], answer.json()["code"])
    assert {"waiting": 1, "parked": 0} == (await sidecar.send("GET", "/v1/status")).json()


async def test_what_the_broker_forbids_is_parked_and_shown_with_its_code(sidecar: Client, portal: Portal) -> None:
    contact = EventType("fr.unefois.contact.changed.v1")
    answer = await sidecar.send("POST", "/v1/declarations", asked(contact))
    told = answer.json()
    assert (202, "parked", "directory.not-entitled") == (answer.status_code, told["state"], told["code"])
    assert {"waiting": 0, "parked": 1} == (await sidecar.send("GET", "/v1/status")).json()
    assert {"parked": [told]} == (await sidecar.send("GET", "/v1/parked")).json()
    assert {"retried": 1} == (await sidecar.send("POST", "/v1/parked:retry")).json()
    assert {"waiting": 1, "parked": 0} == (await sidecar.send("GET", "/v1/status")).json()


async def test_a_wrong_field_is_told_by_its_place_in_the_callers_language(sidecar: Client) -> None:
    for language, word in (("fr", "date"), ("en", "date")):
        answer = await sidecar.send("POST", "/v1/declarations", asked(effective_date="soon"), accept_language=language)
        assert (422, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
        assert [("/record/effective_date", "values.date")] == [
            (one["pointer"], one["code"]) for one in answer.json()["errors"]
        ]
        assert word in answer.json()["title"]
        assert "soon" not in answer.text


async def test_what_the_broker_refuses_is_told_as_it_told_it(sidecar: Client, portal: Portal) -> None:
    def accept(envelope: bytes, sender: PartyId) -> Any:
        raise Refused("intake.unknown-original", "/payload/corrects")

    portal.broker.accept = accept  # type: ignore[method-assign]

    answer = await sidecar.send("POST", "/v1/declarations", asked())

    assert (422, "intake.unknown-original") == (answer.status_code, answer.json()["code"])
    assert "/payload/corrects" == answer.json()["errors"][0]["pointer"]
    assert answer.json()["title"]


PROBLEM = {
    "type": "/docs/errors.html#x-new",
    "title": "Something of a newer broker.",
    "status": 409,
    "detail": "Do this.",
    "code": "x.new",
    "errors": [
        {"pointer": "/payload/a", "code": "x.new", "detail": "One."},
        {"pointer": "/payload/b", "code": "values.date", "detail": "Another."},
    ],
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
}


async def test_a_refusal_of_the_broker_is_passed_on_whole(sidecar: Client, portal: Portal) -> None:
    portal.answer_declarations(409, PROBLEM | {"secret": "not of the API"}, retry_after=5)

    answer = await sidecar.send("POST", "/v1/declarations", asked())
    told = answer.json()

    assert (409, "5", "application/problem+json") == (
        answer.status_code,
        answer.headers["retry-after"],
        answer.headers["content-type"],
    )
    shown = (await sidecar.send("GET", f"/v1/declarations/{told['declaration']}")).json()
    assert ("refused", "x.new", "/payload/a") == (shown["state"], shown["code"], shown["pointer"])
    assert told == shown["problem"] | {"declaration": told["declaration"]}
    date = {"detail": "This is not a date that exists, written like 2026-11-24."}
    first, second = PROBLEM["errors"]
    assert PROBLEM | {"errors": [first, second | date], "retry_after": 5} == shown["problem"]


async def test_the_brokers_sentence_is_told_in_the_callers_language_where_it_is_known_here(
    sidecar: Client, portal: Portal
) -> None:
    portal.answer_declarations(422, PROBLEM | {"code": "values.date"})

    told = (await sidecar.send("POST", "/v1/declarations", asked(), accept_language="fr")).json()

    assert "Ceci n'est pas une date existante, écrite comme 2026-11-24." == told["title"]
    assert ["One.", told["title"]] == [each["detail"] for each in told["errors"]]


@pytest.mark.parametrize(
    ("status", "state", "retry_after"), [(403, "parked", None), (401, "waiting", None), (429, "waiting", 30)]
)
async def test_what_waits_or_is_parked_says_what_the_broker_said(
    sidecar: Client, portal: Portal, status: int, state: str, retry_after: int | None
) -> None:
    portal.answer_declarations(status, PROBLEM, retry_after)

    told = (await sidecar.send("POST", "/v1/declarations", asked())).json()

    assert state == told["state"]
    assert (status, "x.new", retry_after) == (
        *(told["problem"][name] for name in ("status", "code")),
        told["problem"].get("retry_after"),
    )


async def test_a_broker_that_answers_with_a_page_has_its_status_told(sidecar: Client, portal: Portal) -> None:
    portal.answer_declarations(502, "<html>")

    told = (await sidecar.send("POST", "/v1/declarations", asked())).json()

    assert ("waiting", "client.away", {"status": 502}) == (told["state"], told["code"], told["problem"])


async def test_every_wrong_field_is_told_at_once(sidecar: Client) -> None:
    wrong = asked(effective_date="soon", capacity="king", phone="06")
    del wrong["record"]["occupants"]

    told = (await sidecar.send("POST", "/v1/declarations", wrong)).json()

    assert "avro.missing-field" == told["code"]
    assert [
        ("/record/occupants", "avro.missing-field"),
        ("/record/capacity", "avro.unknown-symbol"),
        ("/record/effective_date", "values.date"),
        ("/record/phone", "values.phone"),
    ] == [(each["pointer"], each["code"]) for each in told["errors"]]


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"client": "192.0.2.1"}, 403, "sidecar.not-local"),
        ({"host": "portal.example"}, 403, "sidecar.host"),
        ({"host": "127.0.0.1:9999"}, 403, "sidecar.host"),
        ({"host": "127.0.0.1"}, 403, "sidecar.host"),
        ({"origin": "https://evil.example"}, 403, "sidecar.browser"),
        ({"origin": "null"}, 403, "sidecar.browser"),
        ({"sec_fetch_site": "same-origin"}, 403, "sidecar.browser"),
        ({"Authorization": "Bearer wrong"}, 401, "sidecar.token"),
        ({"Authorization": f"Basic {TOKEN}"}, 401, "sidecar.token"),
        ({"Authorization": ""}, 401, "sidecar.token"),
    ],
)
async def test_nobody_else_is_answered_and_nothing_is_kept(
    sidecar: Client, portal: Portal, more: dict[str, str], status: int, code: str
) -> None:
    answer = await sidecar.send("POST", "/v1/declarations", asked(), **more)

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert 0 == len(portal.broker.kept)


@pytest.mark.parametrize("host", ["127.0.0.1:8471", "localhost:8471", "[::1]:8471"])
async def test_this_machine_has_three_names(sidecar: Client, host: str) -> None:
    assert 200 == (await sidecar.send("GET", "/v1/status", host=host)).status_code


@pytest.mark.parametrize(
    ("body", "more", "status", "code"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415, "sidecar.media-type"),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "sidecar.media-type"),
        (b"{", {}, 400, "sidecar.json"),
        (b"\xff", {}, 400, "sidecar.json"),
        (b'{"record": 1, "record": 2}', {}, 400, "sidecar.json"),
        (b'{"record": NaN}', {}, 400, "sidecar.json"),
        (b"[" * 100_000, {}, 400, "sidecar.json"),
        (b"[]", {}, 422, "source.members"),
        (b" " * (BODY_BYTES + 1), {}, 413, "sidecar.too-large"),
        (b"{}", {"Idempotency-Key": ""}, 400, "sidecar.key"),
        (b"{}", {"Idempotency-Key": "x" * 129}, 400, "sidecar.key"),
        (b"{}", {"Idempotency-Key": "two words"}, 400, "sidecar.key"),
    ],
)
async def test_a_body_or_header_that_is_none_is_refused(
    sidecar: Client, body: bytes, more: dict[str, str], status: int, code: str
) -> None:
    answer = await sidecar.send("POST", "/v1/declarations", body, **more)

    assert (status, code) == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", "sidecar.no-route"),
        ("PUT", "/v1/declarations", "sidecar.no-route"),
        ("GET", "/v1/declarations/zz", "source.unknown"),
        ("GET", f"/v1/declarations/{'00' * 16}", "source.unknown"),
    ],
)
async def test_other_addresses_are_not_there(sidecar: Client, method: str, path: str, code: str) -> None:
    answer = await sidecar.send(method, path)

    assert (404, code) == (answer.status_code, answer.json()["code"])


async def test_an_unexpected_fault_says_its_kind_and_nothing_else(
    sidecar: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("Aubépin, 1987-05-19")

    monkeypatch.setattr("connectors.source_desk.SourceDesk.accept", fails)

    answer = await sidecar.send("POST", "/v1/declarations", asked())

    assert (500, "sidecar.unexpected") == (answer.status_code, answer.json()["code"])
    assert "Aub" not in answer.text
