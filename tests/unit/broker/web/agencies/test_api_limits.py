"""Limits over HTTP: who asks too much is told when to come again; one caller's quota is nobody else's."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import structlog

from broker.access.credentials import Scope
from broker.observability import observe
from broker.web.app import build
from broker.web.common.bodies import b64u
from schemas.names import Instant
from tests.clients import Client
from tests.unit.broker.web.agencies.calls import Served, raw
from tests.unit.broker.web.agencies.test_api_tokens import FORM, KIND
from tests.world import CAF, CPAM, MOVED, PORTAL, world

pytestmark = pytest.mark.asyncio
STATUS = "/v1/status"


@pytest.fixture
def home_settings() -> Mapping[str, Any]:
    """Quotas that a test can spend."""
    return {"requests_per_minute": 3, "address_requests_per_minute": 4, "declarations_per_minute": 6}


async def test_a_quota_is_told_with_every_answer_and_refills_evenly(served: Served) -> None:
    caf, cpam = await served.caller(CAF), await served.caller(CPAM)
    told = [(await caf.asks("GET", STATUS)).headers["ratelimit"] for _ in range(3)]
    beyond = await caf.asks("GET", STATUS)

    assert ['"client";r=2;t=20', '"client";r=1;t=40', '"client";r=0;t=60'] == told
    assert (429, "api.rate", "20") == (beyond.status_code, beyond.json()["code"], beyond.headers["retry-after"])
    assert '"client";q=3;w=60' == beyond.headers["ratelimit-policy"]
    assert '"client";r=0;t=60' == beyond.headers["ratelimit"]
    assert 200 == (await cpam.asks("GET", STATUS)).status_code
    served.here.clock.pass_(19_999)
    assert 429 == (await caf.asks("GET", STATUS)).status_code
    served.here.clock.pass_(1)
    assert [200, 429] == [(await caf.asks("GET", STATUS)).status_code for _ in range(2)]


async def test_two_tokens_of_one_administration_have_one_quota(served: Served) -> None:
    for _ in range(3):
        assert 200 == (await (await served.caller(CAF)).asks("GET", STATUS)).status_code
    assert 429 == (await (await served.caller(CAF)).asks("GET", STATUS)).status_code


async def test_whoever_proves_nothing_spends_the_quota_of_their_address(served: Served) -> None:
    caf = await served.caller(CAF, Scope.RECEIVE)
    for _ in range(3):
        assert 200 == (await caf.asks("GET", STATUS)).status_code  # given back: they are let in
    answers = [await served.stranger.asks("GET", STATUS) for _ in range(5)]

    assert [401] * 4 + [429] == [each.status_code for each in answers]
    assert ['"address";r=3;t=15', '"address";r=0;t=60'] == [answers[n].headers["ratelimit"] for n in (0, 3)]
    assert "15" == answers[4].headers["retry-after"]


async def test_an_address_that_spent_its_quota_gets_no_token_either_and_a_token_costs_nothing(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)

    async def asked(assertion: str) -> int:
        form = f"grant_type=client_credentials&client_assertion_type={KIND}&client_assertion={assertion}"
        return (await served.stranger.asks("POST", "/oauth2/token", form.encode(), content_type=FORM)).status_code

    assert [200] * 5 == [await asked(client.assertion()) for _ in range(5)]
    assert [401] * 4 + [429] == [await asked("x.y.z") for _ in range(5)]


async def test_a_schema_costs_its_address_what_it_takes_to_look_at_before_anybody_looks(served: Served) -> None:
    path, body = "/registry/subjects/x", json.dumps({"schema": " " * 2_500}).encode()
    answers = [await served.stranger.asks("POST", path, body) for _ in range(3)]

    assert [404, 429, 429] == [each.status_code for each in answers]
    assert ['"address";r=1;t=45', '"address";r=0;t=60'] == [each.headers["ratelimit"] for each in answers[:2]]
    assert ("api.rate", "30") == (answers[1].json()["code"], answers[1].headers["retry-after"])


async def test_a_list_of_all_schemas_costs_its_address_what_is_sent(served: Served) -> None:
    paths = ("/registry/subjects", "/registry/schemas?limit=1", "/registry/schemas?offset=900")
    answers = [await served.stranger.asks("GET", path) for path in paths]

    assert [200, 429, 200] == [each.status_code for each in answers]  # the last one sends none
    assert ['"address";r=3;t=15', '"address";r=2;t=30'] == [each.headers["ratelimit"] for each in answers[:2]]


async def test_what_a_batch_holds_that_is_refused_costs_as_much_as_one_by_one(served: Served) -> None:
    portal = await served.caller(PORTAL)
    good = [await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved()) for _ in range(3)]
    path = "/v1/declarations:batch"
    well = await portal.asks("POST", path, {"declarations": [b64u(one) for one in good]})
    badly = await portal.asks("POST", path, {"declarations": [b64u(b"x"), b64u(b"y"), b64u(good[0])]})

    assert ['"client";r=2;t=20', '"client";r=0;t=60'] == [each.headers["ratelimit"] for each in (well, badly)]
    assert 429 == (await portal.asks("GET", STATUS)).status_code


async def test_declarations_have_a_quota_of_their_own_however_many_requests_bring_them(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, caf = await served.caller(PORTAL), await served.caller(CAF)
    envelopes = [b64u(await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved())) for _ in range(3)]
    path = "/v1/declarations:batch"
    assert 200 == (await portal.asks("POST", path, {"declarations": envelopes})).status_code
    monkeypatch.setattr(served.here.home.intake, "accept_all", None)  # nothing is verified or asked of the database
    beyond = await portal.asks("POST", path, {"declarations": [*envelopes, envelopes[0]]})
    one = await portal.asks("POST", "/v1/declarations", raw(envelopes[0]), content_type="application/avro")

    assert (429, "api.rate-declarations", "10") == (
        beyond.status_code,
        beyond.json()["code"],
        beyond.headers["retry-after"],
    )
    assert '"declarations";q=6;w=60' == beyond.headers["ratelimit-policy"]
    assert '"declarations";r=3;t=30' == beyond.headers["ratelimit"]
    assert 500 == one.status_code  # so many are left
    assert 200 == (await caf.asks("GET", STATUS)).status_code


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """The log of this process meanwhile."""
    stream = StringIO()
    before = structlog.get_config()
    observe.configure("info", lambda: Instant(0), stream)
    yield stream
    structlog.configure(**before)


async def test_the_log_names_once_a_minute_who_goes_beyond_their_quota(served: Served, lines: StringIO) -> None:
    caf = await served.caller(CAF)

    def told() -> list[tuple[str, int]]:
        found = [json.loads(line) for line in lines.getvalue().splitlines()]
        return [(one["party"], one["limit"]) for one in found if one["event"] == "quota.spent"]

    assert [200] * 3 + [429] * 2 == [(await caf.asks("GET", STATUS)).status_code for _ in range(5)]
    assert [(CAF, 3)] == told()
    served.here.clock.pass_(60_000)
    assert [200] * 3 + [429] * 2 == [(await caf.asks("GET", STATUS)).status_code for _ in range(5)]
    assert [(CAF, 3)] * 2 == told()


async def test_who_watches_the_machine_is_never_told_to_wait(served: Served) -> None:
    answers = [await served.stranger.asks("GET", "/health/live") for _ in range(6)]
    assert {200} == {each.status_code for each in answers}
    assert not any("ratelimit" in each.headers for each in answers)


async def test_what_others_may_keep_says_nothing_of_who_asked_first(served: Served) -> None:
    answer = await served.stranger.asks("GET", "/asyncapi.json")
    assert answer.headers["cache-control"].startswith("public")
    assert "ratelimit" not in answer.headers


@pytest_asyncio.fixture
async def unlimited(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A broker that counts nobody."""
    async with world(tmp_path, requests_per_minute=0, address_requests_per_minute=0, declarations_per_minute=0) as here:
        transport = httpx2.ASGITransport(build(here.home))
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as client:
            yield client


async def test_zero_is_no_limit(unlimited: httpx2.AsyncClient) -> None:
    answers = [await unlimited.get(STATUS) for _ in range(3)]
    assert {401} == {each.status_code for each in answers}
    assert not any("ratelimit" in each.headers for each in answers)
