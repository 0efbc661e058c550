"""The whole app: whatever the address, a problem has its form, a body its limit, an answer its headers."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from broker.web.app import build
from broker.web.common.frame import ALWAYS, BODY_BYTES
from broker.web.public import registry
from tests.world import world

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who asks the app of a furnished home."""
    async with world(tmp_path) as here:
        await here.home.ledger.sequence_unfinished()
        transport = httpx2.ASGITransport(build(here.home))
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as made:
            yield made


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/nothing", "/oauth2/nothing", "/v2/status"])
async def test_what_is_nowhere_is_told_as_a_problem_in_the_callers_language(
    client: httpx2.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers={"accept-language": "fr"})

    assert (404, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert "api.not-found" == answer.json()["code"]
    assert answer.headers["trace-id"] == answer.json()["trace_id"]
    assert "fr" == answer.headers["content-language"]


@pytest.mark.parametrize(
    "path", ["/health/live", "/log/checkpoint", "/registry/subjects", "/v1/status", "/asyncapi.json"]
)
async def test_every_answer_has_the_headers(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert set(map(str.lower, ALWAYS)) <= set(answer.headers)
    assert 32 == len(answer.headers["trace-id"])


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/deliveries:pull"])
async def test_a_body_beyond_the_limit_is_refused_before_anything_reads_it(
    client: httpx2.AsyncClient, path: str
) -> None:
    answer = await client.post(path, content=b" " * (BODY_BYTES + 1))

    assert (413, "api.too-large") == (answer.status_code, answer.json()["code"])


async def test_a_batch_may_weigh_what_its_route_says(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/declarations:batch", content=b" " * (BODY_BYTES + 1))

    assert 401 == answer.status_code


async def test_the_registry_says_by_itself_that_a_schema_is_too_large(client: httpx2.AsyncClient) -> None:
    large = b'{"schema": "' + b" " * registry.BODY_BYTES + b'"}'
    path = "/registry/subjects/x/versions"
    assert 422 == (await client.post(path, content=large)).status_code
    assert 413 == (await client.post(path, content=large * 3)).status_code
