"""A client's own key gets tokens: the assertion is what the broker's endpoint takes, and the token is kept."""

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from broker.access.credentials import Scope
from broker.access.keysets import KeySet
from connectors.access import EARLY_MS, ApiToken, Ask, KeyAccess
from schemas.errors import Refused
from schemas.names import Instant, PartyId
from schemas.signing import Algorithm, PrivateKey
from tests.world import CAF, START, world

BROKER = PartyId("urn:unefois:broker")


def access(algorithm: Algorithm = Algorithm.ED25519) -> KeyAccess:
    return KeyAccess(CAF, PrivateKey.from_raw(algorithm, bytes(31) + b"\x07"), BROKER, bytes, ("receive",))


def form(ask: str | Ask) -> dict[str, list[str]]:
    assert isinstance(ask, Ask)
    return parse_qs(ask.body.decode())


@pytest.mark.asyncio
@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, Algorithm.ECDSA_P256])
async def test_the_broker_takes_the_assertion(algorithm: Algorithm, tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        oauth, store, at = here.home.oauth, here.home.store, here.clock()
        mine = access(algorithm)
        async with store.begin() as tx:
            await oauth.pin(tx, CAF, mine.public_jwk.encode(), [Scope.RECEIVE], at)
            assertion = form(mine.ask(at, False))["client_assertion"][0]
            named = await oauth.named(tx, assertion)
    assert not isinstance(named.source, KeySet)
    proven = oauth.prove(named, named.source, assertion, ["receive"], at)

    assert (CAF, "receive") == (proven.party, proven.scope)


def test_a_token_is_used_until_shortly_before_its_end() -> None:
    mine = access()
    answer = json.dumps({"access_token": "abc", "expires_in": 600}).encode()

    assert "abc" == mine.told(answer, START)
    end = START + 600_000 - EARLY_MS
    assert "abc" == mine.ask(Instant(end - 1), False)
    assert isinstance(mine.ask(Instant(end), False), Ask)
    assert isinstance(mine.ask(START, True), Ask)


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"access_token": 3, "expires_in": 600}', b'{"access_token": "", "expires_in": 600}',
     b'{"access_token": "a\\r\\nHost: x", "expires_in": 600}', b'{"access_token": "a", "expires_in": "x"}'],
)  # fmt: skip
def test_an_answer_without_a_token_is_refused(answer: bytes) -> None:
    with pytest.raises(Refused) as refused:
        access().told(answer, START)

    assert "client.answer" == refused.value.code


def test_a_key_that_the_endpoint_does_not_take_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        access(Algorithm.ML_DSA_44)

    assert "client.key-kind" == refused.value.code


def test_what_is_pinned_is_the_public_half_alone() -> None:
    assert {"crv", "kty", "x", "y"} == set(json.loads(access(Algorithm.ECDSA_P256).public_jwk))
    assert "d" not in json.loads(access().public_jwk)


def test_an_assertion_is_in_no_repr_and_an_api_token_asks_nobody() -> None:
    assert form(access().ask(START, False))["client_assertion"][0] not in repr(access().ask(START, False))
    with pytest.raises(Refused):
        ApiToken("t").told(b"{}", START)
