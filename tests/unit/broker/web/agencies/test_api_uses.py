"""Uses: when a token or a client's key was last used, and from where; who is not let in leaves no trace."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from broker.access import uses
from broker.access.credentials import Scope
from broker.access.uses import EVERY_MS, Use
from broker.services import clients
from broker.store.access_tables import credential_uses
from schemas.errors import Refused, Unavailable
from schemas.names import Kid
from tests.clients import Client
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.unit.broker.web.agencies.test_api_tokens import FORM, KIND
from tests.world import CAF

pytestmark = pytest.mark.asyncio
STATUS, HERE, THIEF = "/v1/status", "127.0.0.1", "203.0.113.9"


@pytest.fixture
def home_settings() -> Mapping[str, Any]:
    """A proxy, so that a test can come from anywhere."""
    return {"trusted_proxies": "127.0.0.1"}


def token_of(caller: Caller) -> bytes:
    assert caller.token is not None
    return bytes.fromhex(caller.token.split("_")[1])


async def ask(caller: Caller, address: str | None = None, status: int = 200) -> None:
    told = {} if address is None else {"x-forwarded-for": address}
    assert status == (await caller.asks("GET", STATUS, **told)).status_code


async def test_each_address_is_told_with_its_first_and_its_last_use_the_newest_first(served: Served) -> None:
    caf, clock = await served.caller(CAF), served.here.clock
    first = clock()
    await ask(caf)
    clock.pass_(1)
    await ask(caf, THIEF)
    clock.pass_(EVERY_MS - 1)
    await ask(caf)

    told = await clients.uses(served.here.home, token_of(caf))
    assert [Use(HERE, first, clock()), Use(THIEF, first + 1, first + 1)] == told
    assert {token_of(caf): clock()} == await clients.last_used(served.here.home)
    await served.here.step()


async def test_an_address_that_was_seen_lately_costs_no_write(served: Served) -> None:
    caf, home = await served.caller(CAF), served.here.home
    await ask(caf)
    home.uses._store = None  # type: ignore[assignment]  # whoever writes now fails
    served.here.clock.pass_(EVERY_MS - 1)
    await ask(caf)


async def test_who_is_not_let_in_is_not_noted_and_who_lacks_the_scope_is(served: Served) -> None:
    caf = await served.caller(CAF, Scope.RECEIVE)
    await ask(served.stranger, status=401)
    await ask(Caller(served.client, f"{caf.token}x"), status=401)
    async with served.here.home.store.read() as tx:
        assert [] == (await tx.execute(select(credential_uses))).all()

    assert 403 == (await caf.asks("POST", "/v1/subjects:resolve", {}, x_forwarded_for=THIEF)).status_code
    assert [THIEF] == [one.address for one in await clients.uses(served.here.home, token_of(caf))]


async def test_a_pinned_key_is_noted_by_its_thumbprint_where_it_gets_a_token(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    form = f"grant_type=client_credentials&client_assertion_type={KIND}&client_assertion={client.assertion()}"
    answer: httpx2.Response = await served.stranger.asks("POST", "/oauth2/token", form.encode(), content_type=FORM)
    assert 200 == answer.status_code
    await ask(Caller(served.client, answer.json()["access_token"]), THIEF)

    (pinned,), _ = await clients.keys(served.here.home)
    assert [HERE] == [one.address for one in await clients.uses(served.here.home, pinned.kid)]
    async with served.here.home.store.read() as tx:
        assert {pinned.kid} == set(await uses.last(tx))


async def test_a_note_that_cannot_be_written_keeps_nobody_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("store.away")

    monkeypatch.setattr(served.here.home.uses, "_write", away)
    await ask(await served.caller(CAF))


async def test_what_is_no_credential_is_unknown(served: Served) -> None:
    for of in (bytes(8), Kid(bytes(32))):
        with pytest.raises(Refused) as refused:
            await clients.uses(served.here.home, of)
        assert "credentials.unknown-id" == refused.value.code
