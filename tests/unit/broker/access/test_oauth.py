"""OAuth: who holds a pinned key gets a token for ten minutes; every forged, stolen or confused proof gets none."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from broker.access.credentials import Credential, Scope
from broker.access.oauth import OAuth
from broker.keys.pair import Pair
from broker.ports import KeyKind
from broker.store.rows.seals import signer_of
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Kid
from tests.clients import Client
from tests.memory import MemoryKeys
from tests.world import CAF, CPAM, World

pytestmark = pytest.mark.asyncio


async def pinned(here: World, **more: Any) -> Client:
    client = Client(here, CAF, **more)
    await client.pin()
    return client


async def code_of(client: Client, assertion: str, *scopes: str) -> str:
    with pytest.raises(Refused) as raised:
        await client.redeem(assertion, *scopes)
    assert not assertion or assertion not in str(raised.value)
    return raised.value.code


def refusal(here: World, token: str) -> str:
    with pytest.raises(Refused) as raised:
        here.home.oauth.verify(token, here.clock())
    return raised.value.code


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def compact(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A JWT by hand: what a library would refuse to make."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


@pytest.mark.databases
@pytest.mark.parametrize("make", [lambda: OKPKey.generate_key("Ed25519"), lambda: ECKey.generate_key("P-256")])
async def test_a_signed_assertion_gives_a_token_that_tells_party_and_scopes(
    here: World, make: Callable[[], OKPKey | ECKey]
) -> None:
    client = await pinned(here, key=make())
    token = await client.redeem()
    caller: Credential = here.home.oauth.verify(token, here.clock())
    assert (CAF, {Scope.RECEIVE, Scope.READ}) == (caller.party, caller.scopes)
    narrow = here.home.oauth.verify(await client.redeem(client.assertion(), "read"), here.clock())
    assert {Scope.READ} == narrow.scopes


async def test_a_token_is_of_rfc_9068_and_lives_ten_minutes(here: World) -> None:
    client = await pinned(here)
    token = await client.redeem()
    header, claims = (json.loads(base64.urlsafe_b64decode(f"{part}==")) for part in token.split(".")[:2])

    assert {"alg": "Ed25519", "typ": "at+jwt"} == header
    assert {"iss", "aud", "sub", "client_id", "scope", "iat", "exp", "jti"} == set(claims)
    here.clock.pass_(599_000)
    here.home.oauth.verify(token, here.clock())
    here.clock.pass_(1_000)
    assert "oauth.expired" == refusal(here, token)


async def test_an_assertion_counts_once_even_when_its_end_is_near(here: World) -> None:
    client = await pinned(here)
    assertion = client.assertion()
    await client.redeem(assertion)
    assert "oauth.replayed" == await code_of(client, assertion)
    here.clock.pass_(80_000)
    await client.redeem()
    assert "oauth.replayed" == await code_of(client, assertion)
    here.clock.pass_(20_000)
    assert "oauth.assertion" == await code_of(client, assertion)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": CPAM},
        {"sub": CPAM},
        {"iss": CPAM, "sub": CPAM},
        {"iss": None},
        {"sub": None},
        {"aud": None},
        {"aud": CAF},
        {"aud": "http://broker.example/oauth2/token"},
        {"aud": [CAF]},
        {"aud": []},
        {"aud": [["urn:unefois:broker"]]},
        {"jti": "\ud800"},
        {"nbf": float("inf")},
        {"exp": float("nan")},
        {"more": {"\udfff": 1}},
        {"exp": None},
        {"exp": 0},
        {"exp": 2**40},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e12},
        {"nbf": 2**40},
        {"iat": 2**40},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 129},
    ],
    ids=str,
)
async def test_an_assertion_that_says_something_else_is_refused(here: World, changes: dict[str, Any]) -> None:
    client = await pinned(here)
    assert "oauth.assertion" == await code_of(client, client.assertion(**changes))


async def test_a_list_of_us_alone_is_an_audience_and_one_with_others_is_refused_by_name(here: World) -> None:
    client = await pinned(here)
    await client.redeem(client.assertion(aud=[here.home.party]))

    for audience in ([here.home.party, CAF], [CAF, here.home.party], [here.home.party] * 2):
        assert "oauth.audiences" == await code_of(client, client.assertion(aud=audience))


async def test_a_fraction_of_a_second_is_a_date_and_ends_no_sooner_than_it_says(here: World) -> None:
    client = await pinned(here)
    end = here.clock() // 1000 + 60.5
    proven = await client.prove(client.assertion(exp=end, iat=end - 60.25, nbf=end - 60.25))

    assert (end + 30) * 1000 == proven.until
    await client.redeem(client.assertion(exp=end))


async def test_a_kid_that_is_half_a_character_names_no_key(here: World) -> None:
    client = await pinned(here)
    assert "oauth.assertion" == await code_of(client, client.assertion({"kid": "\ud800"}))


async def test_no_algorithm_but_that_of_the_keys_kind_counts(here: World) -> None:
    client = await pinned(here)
    kid = client.key.thumbprint()
    public = client.key.as_dict(private=False)
    x = base64.urlsafe_b64decode(f"{public['x']}=")
    for name, secret in (("raw", x), ("jwk", client.public), ("x", str(public["x"]).encode())):
        forged = compact(
            {"alg": "HS256", "kid": kid}, client.claims(), lambda m, s=secret: hmac.digest(s, m, hashlib.sha256)
        )
        assert "oauth.assertion" == await code_of(client, forged), name
    for algorithm in ("none", "None", "", "HS256", "ES256", "RS256"):
        forged = compact({"alg": algorithm, "kid": kid}, client.claims(), lambda _: b"")
        assert "oauth.assertion" == await code_of(client, forged), algorithm


async def test_the_older_name_of_the_algorithm_is_taken_for_an_ed25519_key_alone(here: World) -> None:
    client, other = await pinned(here), await pinned(here, key=ECKey.generate_key("P-256"))
    sign = client.key.raw_value.sign  # type: ignore[union-attr]
    old = compact({"alg": "EdDSA", "kid": client.key.thumbprint()}, client.claims(), sign)
    swapped = compact({"alg": "EdDSA", "kid": other.key.thumbprint()}, other.claims(), sign)

    assert CAF == here.home.oauth.verify(await client.redeem(old), here.clock()).party
    assert "oauth.assertion" == await code_of(other, swapped)


async def test_a_key_that_the_assertion_brings_along_is_not_looked_at(here: World) -> None:
    client, thief = await pinned(here), Client(here, CAF)
    mine = thief.key.as_dict(private=False)
    for header in ({"kid": client.key.thumbprint()}, {}, {"jwk": mine}, {"kid": client.key.thumbprint(), "jwk": mine}):
        told = compact(
            {"alg": "Ed25519", **header},
            thief.claims(),
            thief.key.raw_value.sign,  # type: ignore[union-attr]
        )
        assert "oauth.assertion" == await code_of(client, told), header


async def test_one_partys_key_does_not_speak_for_another(here: World) -> None:
    client, other = await pinned(here), Client(here, CPAM)
    await other.pin()
    swapped = other.assertion(iss=CAF, sub=CAF)
    renamed = compact(
        {"alg": "Ed25519", "kid": client.key.thumbprint()},
        client.claims(),
        other.key.raw_value.sign,  # type: ignore[union-attr]
    )
    assert ["oauth.assertion"] * 2 == [await code_of(client, swapped), await code_of(client, renamed)]


async def test_a_revoked_key_gets_no_token_and_is_revoked_once(here: World) -> None:
    client = await pinned(here)
    (key,) = [key for key in await _keys(here) if key.party == CAF]
    async with here.home.store.begin() as tx:
        await here.home.oauth.unpin(tx, key.kid, here.clock())
    assert "oauth.assertion" == await code_of(client, client.assertion())
    for kid, code in ((key.kid, "oauth.already-revoked"), (Kid(bytes(32)), "oauth.unknown-key")):
        with pytest.raises(Refused, match=code):
            async with here.home.store.begin() as tx:
                await here.home.oauth.unpin(tx, kid, here.clock())
    with pytest.raises(Refused, match=r"oauth\.key-exists"):
        await client.pin()
    kinds = [entry.kind for entry in await here.entries(FactKind.KEY_ADDED, FactKind.KEY_REVOKED)][-2:]
    assert [FactKind.KEY_ADDED, FactKind.KEY_REVOKED] == kinds


async def test_a_key_that_is_unpinned_meanwhile_gets_no_token_for_what_it_proved(here: World) -> None:
    client = await pinned(here)
    proven = await client.prove()
    async with here.home.store.begin() as tx:
        await here.home.oauth.unpin(tx, proven.kid, here.clock())
    with pytest.raises(Refused, match=r"oauth\.assertion"):
        async with here.home.store.begin() as tx:
            await here.home.oauth.redeem(tx, proven, here.clock())


async def test_the_same_proof_made_twice_at_once_counts_once(here: World) -> None:
    client = await pinned(here)
    assertion = client.assertion()
    proofs = [await client.prove(assertion), await client.prove(assertion)]
    async with here.home.store.begin() as tx:
        await here.home.oauth.redeem(tx, proofs[0], here.clock())
    with pytest.raises(Refused, match=r"oauth\.replayed"):
        async with here.home.store.begin() as tx:
            await here.home.oauth.redeem(tx, proofs[1], here.clock())


async def _keys(here: World) -> list[Any]:
    async with here.home.store.read() as tx:
        return await here.home.oauth.keys(tx)


@pytest.mark.parametrize(
    "change", [lambda t: "", lambda t: t[:-2], lambda t: t + ".x", lambda t: "é" + t, lambda t: t * 20]
)
async def test_what_is_no_assertion_is_refused(here: World, change: Callable[[str], str]) -> None:
    client = await pinned(here)
    assert "oauth.assertion" == await code_of(client, change(client.assertion()))


async def test_more_than_the_key_may_is_not_granted_and_does_not_spend_the_assertion(here: World) -> None:
    client = await pinned(here)
    assertion = client.assertion()
    for wanted in ("publish", "everything"):
        assert "oauth.scope" == await code_of(client, assertion, "read", wanted)
    await client.redeem(assertion)


async def test_a_token_of_another_broker_kind_or_key_is_none(here: World) -> None:
    client, home = await pinned(here), here.home
    good = await client.redeem()
    claims = json.loads(base64.urlsafe_b64decode(f"{good.split('.')[1]}=="))
    key, kept = home.oauth._signing, MemoryKeys()
    kept.write(KeyKind.IDENTITY, "access", bytes(32))
    other = OAuth(
        home.recorder,
        signer_of(home.keys, home.rows),
        home.entropy,
        home.endings,
        broker=home.party,
        key=Pair.access(kept),
    )

    def signed(header: dict[str, Any], key: Any = key, **changes: Any) -> str:
        told = {"alg": "Ed25519", "typ": "at+jwt", **header}
        return jwt.encode(told, claims | changes, key, algorithms=[told["alg"]])

    for name, token in {
        "another key": signed({}, other._signing),
        "a client's": client.assertion(),
        "no type": signed({"typ": "JWT"}),
        "audience": signed({}, aud=CAF),
        "issuer": signed({}, iss=CAF),
        "scope": signed({}, scope="everything"),
        "party": signed({}, sub="nobody"),
        "hmac": signed({"alg": "HS256"}, OctKey.import_key(bytes(range(32)))),
        "none": compact({"alg": "none", "typ": "at+jwt"}, claims, lambda _: b""),
        "cut": good[:-3],
        "moved": ".".join((good.split(".")[0], b64(json.dumps(claims | {"sub": CPAM}).encode()), good.split(".")[2])),
    }.items():
        assert "oauth.token" == refusal(here, token), name
    assert "oauth.assertion" == await code_of(client, good)


@pytest.mark.parametrize(
    "jwk",
    [
        b"",
        b"[]",
        b"{",
        b'{"kty":"oct","k":"AAAA"}',
        json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=True)).encode(),
        json.dumps(ECKey.generate_key("P-384").as_dict(private=False)).encode(),
        json.dumps(RSAKey.generate_key(2048).as_dict(private=False)).encode(),
        b'{"kty":"OKP","crv":"Ed25519","x":"AA"}',
        b'{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}',
        b" " * 5000,
    ],
    ids=("empty", "list", "cut", "shared", "private", "P-384", "RSA", "short", "not-on-curve", "large"),
)
async def test_a_key_that_is_secret_weak_or_none_is_not_pinned(here: World, jwk: bytes) -> None:
    with pytest.raises(Refused, match=r"oauth\.key") as raised:
        async with here.home.store.begin() as tx:
            await here.home.oauth.pin(tx, CAF, jwk, [Scope.READ], here.clock())
    assert "oauth.key" == raised.value.code
