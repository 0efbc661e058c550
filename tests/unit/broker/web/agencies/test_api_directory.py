"""The directory over HTTP: a chain of signed documents that a client follows, and the keys as JWKs; lists in pages."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from broker.directory.publication import Publication
from broker.store.tables import directory_notes
from broker.webhooks.endpoints import LIVING
from connectors.client import Client
from connectors.pinning import Pin
from schemas import note
from schemas.directory_jwks import _text
from schemas.directory_note import digest_of
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.names import Instant
from schemas.signing import Algorithm, PrivateKey
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import CAF, CPAM, DAY, World

pytestmark = pytest.mark.asyncio


async def pages(caller: Caller, path: str, name: str) -> list[list[Any]]:
    """Every page of a list, by following `Link`."""
    found, where = [], path
    while where:
        response = await caller.asks("GET", where)
        assert 200 == response.status_code, response.text
        found.append(response.json()[name])
        told = re.fullmatch(r'<([^>]+)>; rel="next"', response.headers.get("link", ""))
        where = told[1] if told else ""
    return found


async def test_a_client_follows_the_directory_from_where_it_was_and_no_other_way(
    served: Served, tmp_path: Path
) -> None:
    here, caf = served.here, await served.caller(CAF)
    transport = httpx2.ASGITransport(served.app)
    pin = Pin(tmp_path / "pin")
    async with Client.open("https://broker.example", caf.token or "", transport=transport) as client:
        first = await client.pinned_directory(pin)
        assert first == await client.pinned_directory(pin)
        for _ in range(3):  # changes that others asked for, so each is a link
            await here.home.parties.rotate(CPAM, DAY)
            newest = await caf.told("GET", "/v1/directory:signed")
        with pytest.raises(Refused, match=r"directory\.chain"):
            pin.take(newest["directory"], newest["note"])
        assert newest["directory"] == (await client.pinned_directory(pin)).to_json()
        await here.home.parties.rotate(CPAM, DAY)  # nobody asked since
        assert len(first.signing) + 4 == len((await client.pinned_directory(pin)).signing)
    notes = await pages(caf, "/v1/directory/notes?limit=2", "notes")
    assert [2, 2, 1] == list(map(len, notes))
    assert [] == (await caf.told("GET", f"/v1/directory/notes?since={pin.version}"))["notes"]


async def test_a_broker_that_shows_another_history_is_found_by_who_has_pinned(served: Served, tmp_path: Path) -> None:
    here, caf = served.here, await served.caller(CAF)
    transport = httpx2.ASGITransport(served.app)
    pin = Pin(tmp_path / "pin")
    async with Client.open("https://broker.example", caf.token or "", transport=transport) as client:
        await client.pinned_directory(pin)
        async with here.home.store.begin() as tx:  # as if this client had been shown what nobody else was
            await tx.execute(directory_notes.delete())
        await here.home.parties.rotate(CPAM, DAY)
        with pytest.raises(Refused, match=r"directory\.chain"):
            await client.pinned_directory(pin)


@pytest.mark.databases
async def test_many_who_ask_at_once_in_several_processes_are_shown_one_document(here: World) -> None:
    home = here.home
    parts: dict[str, Any] = {"store": home.store, "lookup": home.lookup, "ledger": home.ledger, "clock": home.clock}
    shown = await asyncio.gather(*(Publication(**parts).newest() for _ in range(6)))
    assert 1 == len(set(shown))
    ((_, signed),) = await home.publication.since(0)
    assert {signed} == {each.note for each in shown}


async def test_the_keys_are_told_as_jwks_that_verify_and_only_those_that_are_good_now(served: Served) -> None:
    here, caf, home = served.here, await served.caller(CAF), served.here.home
    ours = PrivateKey.from_raw(Algorithm.ECDSA_P256, bytes(31) + b"\x07")
    at = here.clock()
    async with home.store.begin() as tx:
        for algorithm in (Algorithm.ECDSA_P256, Algorithm.ML_DSA_44):
            public = PrivateKey.from_raw(algorithm, bytes(31) + b"\x07").public
            await home.registrar.add_signing_key(tx, CAF, algorithm=algorithm, public=public, valid_from=at, at=at)
        later = PrivateKey.from_raw(Algorithm.ED25519, bytes(31) + b"\x08")
        begins, about = Instant(at + DAY), {"algorithm": later.algorithm, "public": later.public, "at": at}
        await home.registrar.add_signing_key(tx, CAF, valid_from=begins, **about)
        directory = await home.lookup.directory(tx)
        gone = next(one.kid for one in directory.signing if one.party == CPAM)
    async with home.store.begin() as tx:
        await home.registrar.revoke_key(tx, gone, here.clock)
    here.clock.pass_(1)
    response = await caf.asks("GET", "/v1/directory/jwks")
    keys = response.json()["keys"]
    kids = {one["kid"] for one in keys}

    assert "application/jwk-set+json" == response.headers["content-type"]
    assert 304 == (await caf.asks("GET", "/v1/directory/jwks", if_none_match=response.headers["etag"])).status_code
    assert (False, False, True) == (gone.hex() in kids, later.kid.hex() in kids, ours.kid.hex() in kids)
    assert {"OKP", "EC", "AKP"} == {one["kty"] for one in keys}
    assert {"Ed25519", "X25519", "P-256", None} == {one.get("crv") for one in keys}
    known = KeySet.import_key_set({"keys": [one for one in keys if one["kty"] != "AKP"]})
    (mine,) = [key for key in known.keys if key.kid == ours.kid.hex()]
    private = type(mine).import_key(ours_as_jwk(ours))
    signed = jws.serialize_compact({"alg": "ES256"}, b"hello", private, algorithms=["ES256"])
    assert b"hello" == jws.deserialize_compact(signed, mine, algorithms=["ES256"]).payload
    assert Suite.X25519 in {one.suite for one in directory.sealing}


def ours_as_jwk(key: PrivateKey) -> dict[str, str]:
    """A private P-256 key, for a library that we did not write."""
    x, y = _text(key.public[1:33]), _text(key.public[33:])
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": _text(key.to_raw())}


async def test_event_types_and_webhooks_come_in_pages(served: Served) -> None:
    here, caf = served.here, await served.caller(CAF)
    types = await pages(caf, "/v1/schemas?limit=3", "schemas")
    assert [3, 3, 3] == list(map(len, types))
    whole = (await caf.told("GET", "/v1/schemas"))["schemas"]
    assert whole == [one for page in types for one in page]
    async with here.home.store.begin() as tx:
        for number in range(min(4, LIVING)):
            await here.home.webhooks.add(tx, CAF, f"https://caf.example/{number}", here.clock())
    hooks = await pages(caf, "/v1/webhooks?limit=3", "webhooks")
    assert [3, 1] == list(map(len, hooks))
    assert 4 == len({one["id"] for page in hooks for one in page})


async def test_a_note_names_the_document_before_it(served: Served) -> None:
    caf = await served.caller(CAF)
    first = await caf.told("GET", "/v1/directory:signed")
    await served.here.home.parties.rotate(CAF, 0)
    second = await caf.told("GET", "/v1/directory:signed")
    assert f"\nprevious {note.base64_of(digest_of(first['directory']))}\n" in second["note"]
    assert f"\nprevious {note.base64_of(bytes(32))}\n" in first["note"]
