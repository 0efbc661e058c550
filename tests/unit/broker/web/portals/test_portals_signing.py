"""A citizen signs in at a town's own portal: by what FranceConnect has signed, once, for that portal alone."""

import pytest

from broker.access.credentials import Scope
from broker.access.forwarded import NONCE_MS
from broker.citizens.sessions import PORTAL_MS
from tests.unit.broker.citizens.test_forwarded import at_portal
from tests.unit.broker.web.portals.calls import Portals, Town
from tests.world import CAF

pytestmark = pytest.mark.asyncio


async def test_who_has_signed_in_has_a_session_that_names_nobody(portals: Portals) -> None:
    town = await portals.portal()

    told = await portals.signed_in(town, "elise")
    mine = Town(portals.client, town.token, told["session_token"])
    shown = await mine.told("GET", "/session")

    assert told == {**shown, "session_token": told["session_token"]}
    assert ("substantial", "fr", False) == (shown["assurance"], shown["language"], shown["helped"])
    assert "Martin" not in str(shown)


async def test_a_nonce_counts_once_and_the_tokens_with_it(portals: Portals) -> None:
    town = await portals.portal()
    nonce = (await town.told("POST", "/nonces", status=201))["nonce"]
    sent = {**at_portal(portals.doors.plus, nonce), "nonce": nonce}
    await town.told("POST", "/sessions", sent, 201)

    assert (422, "citizens.nonce") == await town.problem("POST", "/sessions", sent)


@pytest.mark.parametrize("part", ["id_token", "userinfo"])
async def test_what_franceconnect_has_not_signed_opens_nothing(portals: Portals, part: str) -> None:
    town = await portals.portal()
    nonce = (await town.told("POST", "/nonces", status=201))["nonce"]
    sent = {**at_portal(portals.doors.plus, nonce), "nonce": nonce}
    head, body, signature = sent[part].split(".")
    other = at_portal(portals.doors.plus, nonce, "maiwenn")
    for wrong in (f"{head}.{body}.", f"{head}.{body}.{signature[::-1]}", "elise", other["userinfo"]):
        status, code = await town.problem("POST", "/sessions", {**sent, part: wrong})
        assert (422, "franceconnect.token") == (status, code)
    assert 201 == (await town.asks("POST", "/sessions", sent)).status_code


async def test_a_nonce_of_another_credential_or_of_too_long_ago_opens_nothing(portals: Portals) -> None:
    town, other = await portals.portal(), Town(portals.client, await portals.token())
    nonce = (await town.told("POST", "/nonces", status=201))["nonce"]
    sent = {**at_portal(portals.doors.plus, nonce), "nonce": nonce}
    assert (422, "citizens.nonce") == await other.problem("POST", "/sessions", sent)

    portals.here.clock.pass_(NONCE_MS)
    sent = {**at_portal(portals.doors.plus, nonce), "nonce": nonce}
    assert (422, "citizens.nonce") == await town.problem("POST", "/sessions", sent)


async def test_an_administration_whose_client_nobody_has_named_signs_nobody_in(portals: Portals) -> None:
    assert (403, "citizens.no-client") == await (await portals.portal(CAF)).problem("POST", "/nonces")


async def test_a_session_is_of_use_to_the_credential_that_opened_it_alone(portals: Portals) -> None:
    mine = await portals.citizen()
    for other in (await portals.token(), await portals.token(CAF)):
        assert (403, "citizens.signed-out") == await Town(portals.client, other, mine.session).problem(
            "GET", "/session"
        )
    assert 200 == (await mine.asks("GET", "/session")).status_code


async def test_a_session_that_was_ended_or_is_too_old_is_over(portals: Portals) -> None:
    first, second = await portals.citizen(), await portals.citizen()
    for _ in range(2):
        assert {"ended": True} == await first.told("POST", "/session:end")
    assert (403, "citizens.signed-out") == await first.problem("GET", "/session")
    assert 200 == (await second.asks("GET", "/session")).status_code

    portals.here.clock.pass_(PORTAL_MS)
    assert 403 == (await second.problem("GET", "/session"))[0]


async def test_a_citizen_sees_their_sessions_and_ends_them_and_nobody_elses(portals: Portals) -> None:
    mine, again, yanns = await portals.citizen(), await portals.citizen(), await portals.citizen("yann", sure=False)
    listed = (await mine.told("GET", "/sessions"))["sessions"]
    assert [False, True] == sorted(one["this"] for one in listed)
    other = next(one["id"] for one in listed if not one["this"])

    for where in (other, "00000000-0000-0000-0000-000000000000", "nothing"):
        assert (404, "citizens.session-unknown") == await yanns.problem("POST", f"/sessions/{where}:end")
    await mine.told("POST", f"/sessions/{other}:end")
    assert (403, "citizens.signed-out") == await again.problem("GET", "/session")


@pytest.mark.parametrize("told", ["", "a", "A" * 43, "A" * 44, "é" * 43])
async def test_what_is_no_session_is_none(portals: Portals, told: str) -> None:
    town = await portals.portal()
    headers = {"Unefois-Session": told.encode("latin-1").decode("latin-1")}

    response = await portals.client.request(
        "GET",
        "/v1/citizens/session",
        headers=[
            ("authorization", f"Bearer {town.token}"),
            *((name, value.encode("latin-1")) for name, value in headers.items()),
        ],
    )

    assert (403, "citizens.signed-out") == (response.status_code, response.json()["code"])


async def test_two_sessions_in_one_request_are_none(portals: Portals) -> None:
    mine = await portals.citizen()
    headers = [("authorization", f"Bearer {mine.token}"), *[("Unefois-Session", str(mine.session))] * 2]

    response = await portals.client.request("GET", "/v1/citizens/session", headers=headers)

    assert "citizens.signed-out" == response.json()["code"]


async def test_a_token_for_publishing_is_none_for_citizens(portals: Portals) -> None:
    every = tuple(one for one in Scope if one is not Scope.CITIZENS)
    town = Town(portals.client, await portals.token(CAF, *every))

    assert (403, "api.scope") == await town.problem("POST", "/nonces")
