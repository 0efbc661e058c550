"""A token's row is no door: what an insider inserts, widens or brings back lets nobody in at the agencies' API."""

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from broker.access.credentials import Scope
from broker.outbound import Outbound, Reply
from tests.clients import Client
from tests.insider.door import issued, knocks
from tests.insider.watch import Watch
from tests.unit.broker.web.agencies.calls import raw
from tests.world import CAF, CPAM, DAY, FAMILY, MOVED

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

SECRET = bytes(range(32))


async def waits(watch: Watch) -> None:
    """A delivery for the family fund."""
    await watch.here.give(CAF, MOVED, FAMILY, ["subject"])
    await watch.here.declare(MOVED, watch.here.moved())
    await watch.here.step()
    await watch.begins()


async def test_a_token_whose_row_is_inserted_lets_nobody_in_and_is_noticed_when_it_is_gone(watch: Watch) -> None:
    model, _ = await issued(watch, Scope.READ)
    await waits(watch)

    row = {"id": bytes(8), "digest": sha256(SECRET).digest(), "scopes": json.dumps(["receive"])}
    await watch.hand.copy("api_tokens", {"id": model}, **row)
    await knocks(watch, f"unefois_{bytes(8).hex()}_{urlsafe_b64encode(SECRET).decode().rstrip('=')}")
    await watch.hand.remove("api_tokens", id=bytes(8))

    await watch.judge("token: inserted")


async def test_a_token_whose_secret_is_replaced_lets_the_other_secret_in_nowhere(watch: Watch) -> None:
    model, _ = await issued(watch, Scope.RECEIVE)
    await waits(watch)

    async with watch.hand.flipped(["api_tokens"], {"id": model}, digest=sha256(SECRET).digest()):
        await knocks(watch, f"unefois_{model.hex()}_{urlsafe_b64encode(SECRET).decode().rstrip('=')}")

    await watch.judge("token: secret replaced")


async def test_a_revoked_token_whose_old_row_is_put_back_lets_nobody_in(watch: Watch) -> None:
    stolen, token = await issued(watch, Scope.RECEIVE)
    yesterday = {"api_tokens": await watch.hand.rows("api_tokens", id=stolen)}
    async with watch.here.home.store.begin() as tx:
        await watch.here.home.credentials.revoke(tx, stolen, watch.here.clock())
    await waits(watch)

    async with watch.hand.instead(yesterday):
        await knocks(watch, token)

    await watch.judge("token: revoked, put back")


async def test_a_token_whose_end_is_put_off_lets_nobody_in(watch: Watch) -> None:
    stolen, token = await issued(watch, Scope.RECEIVE)
    watch.here.clock.pass_(2 * DAY)
    await waits(watch)

    async with watch.hand.flipped(["api_tokens"], {"id": stolen}, expires_at=watch.here.clock() + DAY):
        await knocks(watch, token)

    await watch.judge("token: end put off")


async def test_a_token_whose_scopes_are_widened_opens_no_further_door(watch: Watch) -> None:
    mine, token = await issued(watch, Scope.READ)
    await waits(watch)

    async with watch.hand.flipped(["api_tokens"], {"id": mine}, scopes=json.dumps(["read", "receive"])):
        await knocks(watch, token)

    await watch.judge("token: scopes widened")


async def test_a_token_that_is_given_another_party_speaks_for_nobody_else(watch: Watch) -> None:
    mine, token = await issued(watch, Scope.RECEIVE, party=CPAM)
    await waits(watch)

    async with watch.hand.flipped(["api_tokens"], {"id": mine}, party=CAF):
        await knocks(watch, token)

    await watch.judge("token: another party")


@asynccontextmanager
async def pinned_by_hand(watch: Watch, client: Client) -> AsyncIterator[None]:
    """The insider's own key as a row among those that the operator has pinned."""
    other = Client(watch.here, CPAM)
    await other.pin(Scope.READ)
    await waits(watch)
    kid = raw(client.key.thumbprint())
    row = {"kid": kid, "party": CAF, "jwk": client.public.decode(), "scopes": json.dumps(["receive"])}
    await watch.hand.copy("client_keys", {"kid": raw(other.key.thumbprint())}, **row)
    yield
    await watch.hand.remove("client_keys", kid=kid)


async def test_a_clients_key_that_is_inserted_gets_no_access_token(watch: Watch) -> None:
    client = Client(watch.here, CAF)

    async with pinned_by_hand(watch, client):
        if (token := await watch.lets(client.redeem())) is not None:
            await knocks(watch, token)

    await watch.judge("client key: inserted")


async def test_an_unpinned_clients_key_that_is_brought_back_gets_no_access_token(watch: Watch) -> None:
    client = Client(watch.here, CAF)
    await client.pin(Scope.RECEIVE)
    kid = raw(client.key.thumbprint())
    async with watch.here.home.store.begin() as tx:
        await watch.here.home.oauth.unpin(tx, kid, watch.here.clock())  # type: ignore[arg-type]
    await waits(watch)

    async with watch.hand.flipped(["client_keys"], {"kid": kid}, revoked_at=None):
        if (token := await watch.lets(client.redeem())) is not None:
            await knocks(watch, token)

    await watch.judge("client key: unpinned, brought back")


async def test_an_assertion_that_was_used_counts_no_second_time_whatever_becomes_of_the_database(watch: Watch) -> None:
    """Who listens at a client takes its assertion once more, within its minutes; every row is as it was before it."""
    client = Client(watch.here, CAF)
    await client.pin(Scope.RECEIVE)
    assertion = client.assertion()
    await waits(watch)
    before = await watch.hand.every_table()
    await client.redeem(assertion)
    assert before == await watch.hand.every_table()

    if (token := await watch.lets(client.redeem(assertion))) is not None:
        await knocks(watch, token)

    await watch.judge("client assertion: spent again", openly=True)  # nobody has changed a row


async def test_an_address_of_keys_that_is_changed_by_hand_is_asked_for_nothing(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The insider publishes a key of their own, and writes its address into the row of the family fund's."""
    home, client = watch.here.home, Client(watch.here, CAF)
    async with home.store.begin() as tx:
        await home.key_sets.follow(tx, CAF, "https://caf.example/jwks", [Scope.RECEIVE], watch.here.clock())
    await waits(watch)

    async def fetched(_: Outbound, url: str, **__: object) -> Reply:
        keys = [client.key.as_dict(private=False) | {"kid": client.key.thumbprint()}] if "insider" in url else []
        return Reply(200, {}, json.dumps({"keys": keys}).encode(), whole=True)

    monkeypatch.setattr(Outbound, "fetch", fetched)
    async with watch.hand.flipped(["client_key_sets"], {"party": CAF}, url="https://insider.example/jwks"):
        if (token := await watch.lets(client.redeem())) is not None:
            await knocks(watch, token)

    await watch.judge("client keys: another address")
