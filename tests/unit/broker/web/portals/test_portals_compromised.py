"""A portal that somebody has taken over: what it can do with what it has, and what it cannot."""

import json
from dataclasses import replace

import pytest

from broker.citizens.sessions import PORTAL_MS
from broker.web.portals.app import describe
from tests.told import EMAIL, Taken, held, tell, with_ways
from tests.unit.broker.citizens.test_forwarded import at_portal
from tests.unit.broker.web.portals.calls import Portals, Town
from tests.unit.broker.web.portals.test_portals_repeating import agreed
from tests.world import CAF, FAMILY, MINUTE, MOVED

pytestmark = pytest.mark.asyncio


async def test_it_acts_for_who_is_signed_in_there_now_and_their_own_channels_say_so(portals: Portals) -> None:
    way = Taken()
    portals.app.state.home = home = with_ways(portals.here, {EMAIL: way})
    home.outbound = portals.doors.outbound
    await held(portals.here, home)
    await tell(portals.here, home)
    way.taken.clear()
    stolen = await portals.citizen()

    await stolen.told("POST", "/consents", await agreed(stolen), 201)
    await tell(portals.here, home)

    assert ["elise@example.fr"] == [to for to, _ in way.heard]
    assert "Ce que vous autorisez" in way.taken[0].text


async def test_what_it_has_seen_signs_nobody_in_again(portals: Portals) -> None:
    town = await portals.portal()
    nonce = (await town.told("POST", "/nonces", status=201))["nonce"]
    seen = {**at_portal(portals.doors.plus, nonce), "nonce": nonce}
    first = await town.told("POST", "/sessions", seen, 201)
    fresh = (await town.told("POST", "/nonces", status=201))["nonce"]

    for again in (seen, {**seen, "nonce": fresh}):
        assert 422 == (await town.problem("POST", "/sessions", again))[0]
    portals.here.clock.pass_(PORTAL_MS)
    assert 403 == (await Town(portals.client, town.token, first["session_token"]).problem("GET", "/session"))[0]


async def test_it_changes_nothing_about_where_a_citizen_is_told(portals: Portals) -> None:
    told = json.dumps(describe()["paths"])

    assert [] == [word for word in ("channel", "email", "phone") if f"/{word}" in told]
    mine = await portals.citizen()
    for path in ("/channels", "/channel", "/messages"):
        for method in ("GET", "POST"):
            assert 404 == (await mine.asks(method, path, {} if method == "POST" else None)).status_code


async def test_whose_token_is_revoked_does_nothing_more_with_any_session(portals: Portals) -> None:
    stolen = await portals.citizen()
    home = portals.here.home
    async with home.store.begin() as tx:
        (credential,) = await home.credentials.list(tx, None)
        await home.credentials.revoke(tx, credential.id, portals.here.clock())

    assert (401, "credentials.revoked") == await stolen.problem("GET", "/session")
    renewed = replace(stolen, token=await portals.token())
    assert (403, "citizens.signed-out") == await renewed.problem("GET", "/session")


async def test_it_shows_another_text_and_the_grant_holds_the_real_one_or_none(portals: Portals) -> None:
    mine = await portals.citizen()
    shown = await mine.told("POST", "/consents:preview", await wish())
    lie = {**await wish(), "until": shown["until"], "text_sha256": "00" * 32}
    assert (409, "citizens.other-text") == await mine.problem("POST", "/consents", lie)

    true = {**lie, "text_sha256": shown["text_sha256"]}
    given = await mine.told("POST", "/consents", true, 201)
    assert shown["text"] == given["text"] == (await mine.told("GET", "/consents"))["consents"][0]["text"]


async def wish() -> dict[str, object]:
    """What is to be allowed."""
    return {"recipient": CAF, "event_type": MOVED, "purpose": FAMILY, "fields": ["subject", "new_address"]}


async def test_the_citizen_takes_back_elsewhere_what_it_gave(portals: Portals) -> None:
    stolen = await portals.citizen()
    await stolen.told("POST", "/consents", await agreed(stolen), 201)
    portals.here.clock.pass_(MINUTE)
    here = await portals.citizen()

    listed = (await here.told("GET", "/sessions"))["sessions"]
    for one in listed:
        if not one["this"]:
            await here.told("POST", f"/sessions/{one['id']}:end")
    assert 1 == len((await here.told("POST", "/consents:end-all"))["ended"])
    assert (403, "citizens.signed-out") == await stolen.problem("GET", "/consents")
