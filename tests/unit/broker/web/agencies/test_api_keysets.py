"""Keys by address: a client renews its keys where it publishes them; a server that is hostile, slow or away lets nobody
in, holds up nobody, and is asked seldom. Real sockets.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from broker.access import keysets
from broker.access.credentials import Scope
from broker.access.jwks import key_set
from broker.access.keysets import APART_MS, BYTES, FRESH_MS, SETS, STALE_MS, KeySet
from broker.web.agencies.tokens import ASSERTION, FORM
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import PartyId
from tests.clients import Client
from tests.memory import MemoryEndings
from tests.speaking import Talk, listening
from tests.unit.broker.web.agencies.calls import Served
from tests.world import CAF, CPAM

pytestmark = pytest.mark.asyncio


@pytest.fixture
def home_settings(home_settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """A broker that may call this machine."""
    return {**home_settings, "outbound_allowed": ("localhost",)}


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def published(*keys: dict[str, Any]) -> bytes:
    return ok(json.dumps({"keys": keys}).encode())


@dataclass
class Publisher:
    """An agency that publishes what it is told to, and counts who asks."""

    answer: bytes = published()
    asked: int = 0
    then: list[Talk] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        for talk in self.then:
            await talk(reader, writer)
        writer.write(self.answer)


@dataclass
class Agency(Client):
    """A client whose key has a name of its own where it is published."""

    name: str = "k1"

    @property
    def jwk(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=False), "kid": self.name, "use": "sig"}

    def signed(self, **changes: Any) -> str:
        return self.assertion({"kid": self.name}, **changes)


@asynccontextmanager
async def following(served: Served, publisher: Publisher, party: PartyId = CAF) -> AsyncIterator[KeySet]:
    home = served.here.home
    async with listening(publisher) as port:
        async with home.store.begin() as tx:
            url, scopes = f"http://localhost:{port}/jwks.json", [Scope.READ]
            made = await home.key_sets.follow(tx, party, url, scopes, served.here.clock())
        yield made


async def asks(served: Served, assertion: str) -> tuple[int, str]:
    """The status of the token endpoint, and its code or the token."""
    told = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": assertion}
    response = await served.stranger.asks("POST", "/oauth2/token", urlencode(told).encode(), content_type=FORM)
    body = response.json()
    return response.status_code, str(body.get("code") or body["access_token"])


def spent(served: Served) -> int:
    journal = served.here.home.endings
    assert isinstance(journal, MemoryEndings)
    return len(journal._spent)


REFUSED = (401, "oauth.assertion")
AWAY = (503, "oauth.keys-away")


@pytest.mark.parametrize("make", [lambda: OKPKey.generate_key("Ed25519"), lambda: ECKey.generate_key("P-256")])
async def test_a_published_key_gets_a_token_by_its_name_or_its_thumbprint_and_is_asked_for_once(
    served: Served, make: Any
) -> None:
    client = Agency(served.here, CAF, make())
    publisher = Publisher(published(client.jwk))
    async with following(served, publisher):
        for assertion in (client.signed(), client.assertion(), client.signed()):
            status, token = await asks(served, assertion)
            assert 200 == status
        caller = served.here.home.oauth.verify(token, served.here.clock())

    assert (CAF, {Scope.READ}, 1) == (caller.party, caller.scopes, publisher.asked)


async def test_a_new_key_counts_as_soon_as_it_is_named_and_an_old_one_no_longer_than_it_is_fresh(
    served: Served,
) -> None:
    old, new = Agency(served.here, CAF), Agency(served.here, CAF, name="k2", made=100)
    publisher = Publisher(published(old.jwk))
    async with following(served, publisher):
        assert 200 == (await asks(served, old.signed()))[0]
        publisher.answer = published(new.jwk)
        assert REFUSED == await asks(served, new.signed())  # asked a moment ago
        assert 200 == (await asks(served, old.signed()))[0]
        served.here.clock.pass_(APART_MS)
        assert 200 == (await asks(served, new.signed()))[0]
        assert REFUSED == await asks(served, old.signed())
        assert 2 == publisher.asked
        publisher.answer = published(old.jwk)
        served.here.clock.pass_(FRESH_MS)
        assert REFUSED == await asks(served, new.signed())


async def test_another_key_under_the_same_name_counts_when_it_is_read_and_the_first_no_more(served: Served) -> None:
    client, thief = Agency(served.here, CAF), Agency(served.here, CAF, made=100)
    publisher = Publisher(published(client.jwk))
    async with following(served, publisher):
        assert 200 == (await asks(served, client.signed()))[0]
        assert REFUSED == await asks(served, thief.signed())
        publisher.answer = published(thief.jwk, client.jwk)  # two of one name: nobody
        served.here.clock.pass_(FRESH_MS)
        assert [REFUSED, REFUSED] == [await asks(served, one.signed()) for one in (client, thief)]


async def test_however_many_name_keys_that_are_not_there_the_address_is_asked_seldom(served: Served) -> None:
    client, stranger = Agency(served.here, CAF), Agency(served.here, CAF, name="other", made=100)
    publisher = Publisher(published(client.jwk))
    async with following(served, publisher):
        answers = await asyncio.gather(*(asks(served, stranger.signed()) for _ in range(20)))
        assert ({REFUSED}, 1) == (set(answers), publisher.asked)
        served.here.clock.pass_(APART_MS)
        await asyncio.gather(*(asks(served, stranger.signed()) for _ in range(20)))
        assert 2 == publisher.asked
        assert 200 == (await asks(served, client.signed()))[0]


async def test_while_an_address_is_asked_others_write(served: Served) -> None:
    client, home = Agency(served.here, CAF), served.here.home

    async def writes(*_: Any) -> None:
        async with home.store.begin() as tx:
            await home.webhooks.add(tx, CPAM, "https://cpam.example/", served.here.clock())

    publisher = Publisher(published(client.jwk), then=[writes])
    async with following(served, publisher):
        assert 200 == (await asks(served, client.signed()))[0]


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"keys":[')
    while True:
        writer.write(b" " * 65_536)
        await writer.drain()


async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"keys":[')
    await asyncio.Event().wait()


HOSTILE: dict[str, bytes | Talk] = {
    "silent": never,
    "endless": endless,
    "stalled": stalled,
    "huge": ok(b'{"keys":[]}' + b" " * BYTES),
    "no-json": ok(b"<html>"),
    "no-text": ok(b"\xff\xfe"),
    "no-object": ok(b"[]"),
    "no-keys": ok(b"{}"),
    "keys-no-list": ok(b'{"keys":{}}'),
    "too-many": ok(json.dumps({"keys": [{}] * 33}).encode()),
    "deep": ok(b'{"keys":' * 5_000),
    "missing": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    "fault": b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    "cut": b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"keys":[]}',
    "packed": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi",
    "no-http": b"nonsense\r\n\r\n",
    "gone": b"",
}


async def test_what_gives_no_keys_lets_nobody_in_and_costs_one_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keysets, "SECONDS", 0.1)
    client, home = Agency(served.here, CAF), served.here.home
    for name, answer in HOSTILE.items():
        served.here.clock.pass_(1)
        publisher = Publisher(answer) if isinstance(answer, bytes) else Publisher(then=[answer])
        async with following(served, publisher):
            assert [AWAY, AWAY] == [await asks(served, client.signed()) for _ in range(2)], name
        assert (1, 0) == (publisher.asked, spent(served)), name
        async with home.store.begin() as tx:
            await home.key_sets.unfollow(tx, CAF, served.here.clock())


async def test_a_redirect_is_not_followed_and_an_address_inside_is_not_called(served: Served) -> None:
    client, home = Agency(served.here, CAF), served.here.home
    other = Publisher(published(client.jwk))
    async with listening(other) as port:
        moved = b"HTTP/1.1 302 Found\r\nlocation: http://localhost:%d/\r\ncontent-length: 0\r\n\r\n" % port
        async with following(served, Publisher(moved)):
            assert AWAY == await asks(served, client.signed())
        async with home.store.begin() as tx:
            await home.key_sets.follow(tx, CPAM, f"https://127.0.0.1:{port}/", [Scope.READ], served.here.clock())
        assert AWAY == await asks(served, Agency(served.here, CPAM).signed())
    assert 0 == other.asked
    for url in (f"http://127.0.0.1:{port}/", "http://caf.example/", "https://u:p@caf.example/", "ftp://caf.example/"):
        with pytest.raises(Refused, match=r"outbound\.url"):
            async with home.store.begin() as tx:
                await home.key_sets.follow(tx, CAF, url, [Scope.READ], served.here.clock())


async def test_what_an_address_said_last_counts_for_an_hour_while_it_is_away(served: Served) -> None:
    client = Agency(served.here, CAF)
    publisher = Publisher(published(client.jwk))
    async with following(served, publisher):
        assert 200 == (await asks(served, client.signed()))[0]
        publisher.answer = b""
        served.here.clock.pass_(STALE_MS - 1)
        assert 200 == (await asks(served, client.signed()))[0]
        served.here.clock.pass_(1)
        assert AWAY == await asks(served, client.signed())
        publisher.answer = published(client.jwk)
        served.here.clock.pass_(APART_MS)
        assert 200 == (await asks(served, client.signed()))[0]


async def test_no_address_is_called_but_the_one_that_the_operator_follows(served: Served) -> None:
    client, other = Agency(served.here, CAF), Agency(served.here, CPAM)
    publisher = Publisher(published(client.jwk))
    async with following(served, publisher) as followed:
        header = {"kid": "k1", "jku": followed.url, "jwk": other.key.as_dict(private=False)}
        for assertion in (
            other.assertion(header),  # another party, that follows nothing
            other.assertion(header, iss=7),
            other.assertion(header, iss="nobody"),
            other.assertion(header, iss=None),
        ):
            assert REFUSED == await asks(served, assertion)
        assert 0 == publisher.asked
        for assertion in (client.signed(sub=CPAM), client.signed(aud=CPAM), client.signed(exp=0)):
            assert REFUSED == await asks(served, assertion)


@pytest.mark.databases
async def test_a_key_whose_address_is_followed_no_more_or_that_was_revoked_once_counts_no_more(served: Served) -> None:
    client, home = Agency(served.here, CAF), served.here.home
    publisher = Publisher(published(client.jwk))
    async with following(served, publisher):
        proven = await client.prove(client.signed())
        async with home.store.begin() as tx:
            await home.key_sets.unfollow(tx, CAF, served.here.clock())
        served.here.clock.pass_(1)
        async with following(served, Publisher()):  # another address meanwhile
            with pytest.raises(Refused, match=r"oauth\.assertion"):
                async with home.store.begin() as tx:
                    await home.oauth.redeem(tx, proven, served.here.clock())
            async with home.store.begin() as tx:
                await home.key_sets.unfollow(tx, CAF, served.here.clock())
        assert REFUSED == await asks(served, client.signed())
    with pytest.raises(Refused, match=r"oauth\.not-followed"):
        async with home.store.begin() as tx:
            await home.key_sets.unfollow(tx, CAF, served.here.clock())
    served.here.clock.pass_(1)
    async with following(served, publisher):
        assert 200 == (await asks(served, client.signed()))[0]
        with pytest.raises(Refused, match=r"oauth\.followed"):
            async with following(served, publisher):
                pass
        await client.pin()
        async with home.store.begin() as tx:
            (pinned,) = await home.oauth.keys(tx, CAF)
            await home.oauth.unpin(tx, pinned.kid, served.here.clock())
        assert [REFUSED, REFUSED] == [await asks(served, one) for one in (client.signed(), client.assertion())]
    kinds = [one.kind for one in await served.here.entries(FactKind.KEY_ADDED, FactKind.KEY_REVOKED)][-5:]
    added, revoked = FactKind.KEY_ADDED, FactKind.KEY_REVOKED
    assert [added, revoked, added, added, revoked] == kinds


async def test_who_gives_up_waiting_does_not_give_up_for_the_others(served: Served) -> None:
    client, begun, go = Agency(served.here, CAF), asyncio.Event(), asyncio.Event()

    async def slowly(*_: Any) -> None:
        begun.set()
        await go.wait()

    publisher = Publisher(published(client.jwk), then=[slowly])
    async with following(served, publisher):
        hasty, patient = (asyncio.create_task(asks(served, client.signed())) for _ in range(2))
        await begun.wait()
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        go.set()
        assert (200, 1) == ((await patient)[0], publisher.asked)


async def test_no_more_addresses_are_remembered_than_the_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keysets, "SETS", 2)
    made = served.here.home.key_sets
    for number in range(4):
        with pytest.raises(Unavailable):
            await made.key(KeySet(CAF, f"https://127.0.0.1/{number}", frozenset(), served.here.clock(), None), "k")
    assert (2, True) == (len(made._seen), SETS >= 100)


class TestWhichKeys:
    """What of a set counts."""

    async def test_only_public_keys_that_sign_with_our_algorithms_count(self) -> None:
        good = OKPKey.generate_key("Ed25519").as_dict(private=False)
        secret = OKPKey.generate_key("Ed25519").as_dict(private=True)
        listed: list[Any] = [
            {**good, "kid": "good", "alg": "EdDSA", "key_ops": ["verify"], "x5c": ["?"]},
            {**good, "kid": "encrypts", "use": "enc"},
            {**good, "kid": "signs", "key_ops": ["sign"]},
            {**good, "kid": "operations", "key_ops": "verify"},
            {**good, "kid": "other", "alg": "RS256"},
            {**good, "kid": "none", "alg": "none"},
            {**good, "kid": "list", "alg": ["EdDSA"]},
            {**good, "kid": "", "use": "enc"},
            {**good, "kid": "long", "x5u": "x" * 5000},
            {**secret, "kid": "private"},
            {**ECKey.generate_key("P-384").as_dict(private=False), "kid": "P-384"},
            {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "RSA"},
            {"kty": "oct", "k": "AAAA", "kid": "shared"},
            {"kty": "OKP", "crv": "Ed25519", "x": 7, "kid": "number"},
            {"kty": "OKP", "crv": ["Ed25519"], "x": "AA", "kid": "curve"},
            *(None, 7, "key", []),
        ]
        found = key_set(json.dumps({"keys": listed}).encode())
        assert {"good", OKPKey.import_key(good).thumbprint()} == set(found)
