"""What is sent again is done once; what a portal may do in an hour has an end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.web.app import build
from tests.franceconnect import doors
from tests.unit.broker.citizens.test_forwarded import at_portal
from tests.unit.broker.web.portals.calls import Portals, Town
from tests.unit.broker.web.portals.story import address_filled, filled
from tests.world import CAF, FAMILY, MOVED, World, world

pytestmark = pytest.mark.asyncio
WISH = {"recipient": CAF, "event_type": MOVED, "purpose": FAMILY, "fields": ["subject", "new_address"]}


async def agreed(mine: Town) -> dict[str, Any]:
    """What is sent by somebody who has read the text."""
    shown = await mine.told("POST", "/consents:preview", WISH)
    return {**WISH, "until": shown["until"], "text_sha256": shown["text_sha256"]}


async def move(mine: Town, here: World) -> dict[str, Any]:
    """A move that is handed in."""
    form_id = (await mine.told("POST", "/forms", status=201))["form_id"]
    return {"form_id": form_id, "event_type": MOVED, "record": address_filled(filled(here.moved()))}


async def test_under_one_key_a_change_is_answered_as_the_first_time_to_the_byte(portals: Portals) -> None:
    mine = await portals.citizen()
    grant = (await mine.told("POST", "/consents", await agreed(mine), 201))["grant"]["id"]

    answers = [
        await mine.asks("POST", f"/consents/{grant}:pause", {"version": 1}, idempotency_key='"a-key"') for _ in range(2)
    ]
    assert [200, 200] == [one.status_code for one in answers]
    assert answers[0].content == answers[1].content
    assert (422, "api.idempotency-reused") == await mine.problem(
        "POST", f"/consents/{grant}:pause", {"version": 2}, idempotency_key='"a-key"'
    )
    assert 409 == (await mine.problem("POST", f"/consents/{grant}:pause", {"version": 1}))[0]


async def test_a_key_of_one_citizen_tells_another_nothing(portals: Portals) -> None:
    """The portal is the same, and so may be the key and every byte of the request."""
    mine, yanns = await portals.citizen(), await portals.citizen("yann", sure=False)
    await mine.told("POST", "/consents", await agreed(mine), 201)

    first = await mine.asks("POST", "/consents:end-all", idempotency_key="k")
    other = await yanns.asks("POST", "/consents:end-all", idempotency_key="k")

    assert (1, 0) == (len(first.json()["ended"]), len(other.json()["ended"]))


async def test_a_citizen_who_signs_in_again_goes_on_under_their_key(portals: Portals) -> None:
    mine = await portals.citizen()
    sent = await move(mine, portals.here)
    first = await mine.asks("POST", "/declarations", sent, idempotency_key="k")
    await mine.told("POST", "/session:end")
    again = await (await portals.citizen()).asks("POST", "/declarations", sent, idempotency_key="k")

    assert (202, first.content) == (again.status_code, again.content)


async def test_a_form_that_is_sent_twice_is_one_declaration_without_any_key(portals: Portals) -> None:
    mine = await portals.citizen()
    sent = await move(mine, portals.here)

    first = await mine.told("POST", "/declarations", sent, 202)
    again = await mine.told("POST", "/declarations", sent, 202)

    assert {**first, "repeated": True} == again
    other = {**sent, "record": {**sent["record"], "occupants": 4}}
    assert (422, "intake.id-reused") == await mine.problem("POST", "/declarations", other)


async def test_what_needs_more_is_refused_and_nothing_of_it_is_kept(portals: Portals) -> None:
    mine = await portals.citizen("yann", sure=False)
    form_id = (await mine.told("POST", "/forms", status=201))["form_id"]
    account = filled(portals.here.bank())
    sent = {"form_id": form_id, "event_type": "fr.unefois.bank-account.changed.v1", "record": account}

    assert (403, "citizens.level-too-low") == await mine.problem("POST", "/declarations", sent)
    assert (403, "citizens.level-too-low") == await mine.problem("GET", "/export")
    assert [] == (await mine.told("GET", "/declarations"))["declarations"]


async def test_a_portal_signs_in_so_many_an_hour_and_changes_so_much(tmp_path: Path, home_settings: Any) -> None:
    async with world(tmp_path, **home_settings, portal_changes_per_hour=3) as here:
        there = doors(here, per_hour=1)
        app = build(here.home)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://b.example") as client:
            portals = Portals(here, app, client, there)
            mine = await portals.citizen()
            town = replace(mine, session=None)
            nonce = (await town.told("POST", "/nonces", status=201))["nonce"]
            sent = {**at_portal(there.plus, nonce), "nonce": nonce}
            response = await town.asks("POST", "/sessions", sent)
            assert (429, "citizens.portal-limit") == (response.status_code, response.json()["code"])
            assert int(response.headers["retry-after"]) > 0

            others = [{"person": here.moved()["subject"] | {"given_names": [name]}} for name in ("Ana", "Bo")]
            household = {**await move(mine, here), "others": others}
            await mine.told("POST", "/households", household, 202)  # three of them
            agrees = await agreed(mine)
            assert (429, "citizens.portal-cap") == await mine.problem("POST", "/consents", agrees)
            for work in ("/consents:end-all", "/session:end"):  # what ends something has no cap
                await mine.told("POST", work)
            here.clock.pass_(60 * 60_000)
            again = await portals.citizen()
            await again.told("POST", "/consents", await agreed(again), 201)
        await here.step()
