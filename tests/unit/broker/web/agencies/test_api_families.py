"""Households and representations over the API: what a source sends, gets and is refused."""

from typing import Any

import pytest

from broker.access.credentials import Scope
from broker.services import parties, representations
from broker.web.common.bodies import b64u
from schemas.errors import Refused
from schemas.messages import explain
from tests.unit.broker.families import LOU, PROOF
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import ELISE, MOVED, PORTAL, YANN

pytestmark = pytest.mark.asyncio
GROUND = {"representative": ELISE, "subject": LOU, "measure": "parental_authority", "proof": PROOF}


async def portal(served: Served, *, entitled: bool = True) -> Caller:
    """The portal, which may say who acts for whom."""
    if entitled:
        for right in (representations.STARTED, representations.ENDED):
            await parties.allow(served.here.home, PORTAL, right)
    return await served.caller(PORTAL, Scope.PUBLISH)


async def token(source: Caller, person: dict[str, Any], **acting: Any) -> str:
    """A token for somebody, and who acts for them."""
    told: dict[str, Any] = await source.told("POST", "/v1/subjects:resolve", {"subject": person, **acting})
    return str(told["subject_token"])


async def declared(served: Served, person: dict[str, Any], **told: Any) -> dict[str, str]:
    """A member whose declaration is signed."""
    return {"declaration": b64u(await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved(person, **told)))}


async def test_a_parent_is_recorded_a_household_handed_in_and_its_other_adult_confirms(served: Served) -> None:
    source = await portal(served)
    record = await source.told("POST", "/v1/representations", GROUND, 201)
    assert ("parent", PORTAL, "2034-05-02T00:00:00.000Z") == (record["capacity"], record["given_by"], record["ends_at"])
    lou = await declared(served, LOU, declarant=ELISE, capacity="parent")
    form = {"members": [await declared(served, ELISE), lou, {"subject_token": await token(source, YANN)}]}

    opened = await source.told("POST", "/v1/households", form, 202)
    assert opened == await source.told("POST", "/v1/households", form, 202) | {
        "declarations": opened["declarations"],
    }
    (waits,) = opened["waiting"]
    place = f"/v1/households/{opened['household']}"
    confirmed = {"code": waits["code"], **(await declared(served, YANN))}
    first = await source.told("POST", f"{place}:confirm", confirmed)
    assert first["receipt"] == (await source.told("POST", f"{place}:confirm", confirmed))["receipt"]
    assert (409, "households.decided") == await source.problem("POST", f"{place}:refuse", {"code": waits["code"]})

    ended = await source.told("POST", f"/v1/representations/{record['id']}:end", {})
    assert ended["ended_at"] is not None
    assert (404, "representations.unknown") == await source.problem("POST", "/v1/representations/mine:end")


async def test_what_is_refused_says_where_in_the_form(served: Served) -> None:
    source = await portal(served, entitled=False)
    assert (403, "directory.not-entitled") == await source.problem("POST", "/v1/representations", GROUND)
    for members, code, pointer in (
        ([], "households.nobody", "/members"),
        ([{}], "households.member", "/members/0"),
        ([{"declaration": "AA", "subject_token": "AA"}], "households.member", "/members/0"),
        ([await declared(served, ELISE), await declared(served, YANN)], "households.not-confirmed", "/members/1"),
        ([await declared(served, ELISE), {"subject_token": "AAAA"}], "identity.token-forged", "/members/1"),
    ):
        answer = await source.asks("POST", "/v1/households", {"members": members})
        told = answer.json()
        assert (422, code) == (answer.status_code, told["code"])
        assert told["errors"][0]["pointer"].startswith(pointer), told


async def test_another_source_finds_no_household_of_ours(served: Served) -> None:
    source = await portal(served)
    form = {"members": [await declared(served, ELISE), {"subject_token": await token(source, YANN)}]}
    opened = await source.told("POST", "/v1/households", form, 202)
    other = await served.caller("urn:unefois:caf", Scope.PUBLISH)
    place = f"/v1/households/{opened['household']}:refuse"

    assert (404, "households.unknown") == await other.problem("POST", place, {"code": opened["waiting"][0]["code"]})
    assert (404, "households.unknown") == await other.problem("POST", "/v1/households/mine:refuse", {"code": "A"})


async def test_a_token_says_who_acts_or_why_nobody_can(served: Served) -> None:
    source = await portal(served)
    grown = LOU | {"birthdate": "2000-01-01"}
    for wanted, code, pointer in (
        ({"subject": LOU, "capacity": "parent"}, "representations.no-declarant", "/declarant"),
        ({"subject": LOU, "declarant": ELISE}, "representations.capacity", "/capacity"),
        ({"subject": grown, "declarant": ELISE, "capacity": "parent"}, "representations.of-age", "/capacity"),
        ({"subject": LOU, "declarant": LOU, "capacity": "agent"}, "representations.oneself", "/declarant"),
        (
            {"subject": LOU, "declarant": ELISE | {"gender": "?"}, "capacity": "parent"},
            "identity.gender",
            "/declarant/gender",
        ),
    ):
        told = (await source.asks("POST", "/v1/subjects:resolve", wanted)).json()
        assert (code, pointer) == (told["code"], told["errors"][0]["pointer"])
    await token(source, LOU, declarant=ELISE, capacity="parent")
    await token(source, LOU, capacity="agent")


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    "code",
    [
        *("representations.ended", "representations.of-age", "representations.died", "households.twice"),
        *("households.nobody", "households.too-many", "households.expired", "households.decided", "households.unknown"),
    ],
)
async def test_each_says_what_is_wrong_and_what_to_do(code: str, language: Any) -> None:
    told = explain(Refused(code, "/members", count=21, most=20), language)
    assert all(len(sentence) > 20 and "{" not in sentence for sentence in (told.wrong, told.remedy))
