"""Rules by law over HTTP: everybody sees them, and compares them with the ledger."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from broker.services import rules
from broker.web.app import build
from schemas.facts import FactKind
from tests.world import CAF, DAY, FAMILY, MOVED, RENNES, TOWN, World, world

pytestmark = pytest.mark.asyncio
ARTICLE = "CSS, art. L114-19"


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A furnished home."""
    async with world(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def client(here: World) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody without any right."""
    transport = httpx2.ASGITransport(build(here.home))
    async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as made:
        yield made


async def test_a_rule_is_public_from_its_approval_on_and_says_what_the_ledger_commits_to(
    here: World, client: httpx2.AsyncClient
) -> None:
    fields = ("subject", "new_address")
    told = {"event_type": MOVED, "fields": fields, "article": ARTICLE}
    asked = await rules.ask(here.home, recipient=CAF, purpose=FAMILY, **told)
    assert [] == (await client.get("/rules")).json()["rules"]

    await rules.approve(here.home, asked.id)
    (shown,) = (await client.get("/rules")).json()["rules"]
    (entry,) = await here.entries(FactKind.RULE_APPROVED)
    assert entry.detail == sha256(shown["approved"].encode()).digest()
    assert (CAF, ARTICLE, sorted(fields), "approved", None) == (
        shown["recipient"],
        shown["article"],
        shown["fields"],
        shown["status"],
        shown["ended"],
    )
    assert shown["acts_from"] > shown["approved_at"]

    here.clock.pass_(DAY)
    await rules.end(here.home, asked.id)
    (shown,) = (await client.get("/rules")).json()["rules"]
    (ended,) = await here.entries(FactKind.RULE_ENDED)
    assert entry.detail == sha256(shown["approved"].encode()).digest()
    assert ended.detail == sha256(shown["ended"].encode()).digest()
    assert "ended" == shown["status"]


async def test_what_was_ended_before_its_approval_was_never_a_rule(here: World, client: httpx2.AsyncClient) -> None:
    told = {"event_type": MOVED, "fields": ("subject",), "article": ARTICLE}
    await rules.end(here.home, (await rules.ask(here.home, recipient=RENNES, purpose=TOWN, **told)).id)

    answer = await client.get("/rules")
    assert (200, {"rules": []}) == (answer.status_code, answer.json())
    assert 304 == (await client.get("/rules", headers={"if-none-match": answer.headers["etag"]})).status_code
