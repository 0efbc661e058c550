"""What an administration changes over HTTP: pause and resume of what it receives, only from the state that it saw."""

import pytest

from broker.shapes import uuid_of
from schemas.names import Instant, rfc3339
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import BANK, CAF, CPAM, FAMILY, MINUTE, MOVED

pytestmark = pytest.mark.asyncio
PULL, SUBSCRIPTIONS = "/v1/deliveries:pull", "/v1/subscriptions"
OTHER = f'"{"0" * 64}"'


def place(served: Served, event_type: str = MOVED) -> str:
    return f"{SUBSCRIPTIONS}/{uuid_of(served.here.subscriptions[CAF, event_type].id)}"


async def pulled(caf: Caller) -> list[str]:
    return [one["id"] for one in (await caf.told("POST", PULL, {}))["deliveries"]]


@pytest.mark.databases
async def test_while_it_is_paused_it_is_planned_and_waits_and_another_subscription_goes_on(served: Served) -> None:
    here, caf = served.here, await served.caller(CAF)
    if (CAF, BANK) not in here.subscriptions:
        await here.subscribe(CAF, BANK, FAMILY, ["subject", "iban"])
    for event_type in (MOVED, BANK):
        await here.give(CAF, event_type, FAMILY, ["subject"])
    paused = await caf.told("POST", f"{place(served)}:pause")
    await here.declare(MOVED, here.moved())
    await here.declare(BANK, here.bank())

    assert rfc3339(here.clock()) == paused["paused_at"]
    assert 2 == (await caf.told("GET", "/v1/status"))["waiting"]
    (bank,) = await pulled(caf)
    await here.step()
    resumed = await caf.told("POST", f"{place(served)}:resume")
    (moved,) = await pulled(caf)
    assert (None, True) == (resumed["paused_at"], moved != bank)


async def test_pausing_twice_keeps_the_first_instant_and_resuming_twice_does_nothing(served: Served) -> None:
    caf = await served.caller(CAF)
    first = await caf.told("POST", f"{place(served)}:pause")
    served.here.clock.pass_(MINUTE)
    assert first == await caf.told("POST", f"{place(served)}:pause")
    assert 2 == len({(await caf.asks("POST", f"{place(served)}:{what}")).text for what in ("pause", "resume")})
    assert (await caf.told("GET", place(served)))["paused_at"] is None
    assert 200 == (await caf.asks("POST", f"{place(served)}:resume")).status_code


async def test_what_has_ended_is_not_paused_and_what_was_paused_ends_without_a_trace(served: Served) -> None:
    caf = await served.caller(CAF)
    await caf.told("POST", f"{place(served)}:pause")
    ended = await caf.told("POST", f"{place(served)}:end")
    await served.here.step()

    assert ("ended", None) == (ended["status"], ended["paused_at"])
    assert (409, "subscribing.ended") == await caf.problem("POST", f"{place(served)}:pause")


@pytest.mark.parametrize("what", ["pause", "resume", "end"])
async def test_a_change_of_what_is_not_any_more_as_its_author_saw_it_is_refused(served: Served, what: str) -> None:
    caf = await served.caller(CAF)
    seen = await caf.asks("GET", place(served))
    tag = seen.headers["etag"]
    assert 304 == (await caf.asks("GET", place(served), if_none_match=tag)).status_code
    await caf.told("POST", f"{place(served)}:pause")
    before = (await caf.asks("GET", place(served))).text

    for wrong in (tag, OTHER, f"W/{tag}", ""):
        told = await caf.problem("POST", f"{place(served)}:{what}", if_match=wrong)
        assert (412, "api.changed-meanwhile") == told
    assert before == (await caf.asks("GET", place(served))).text
    now = (await caf.asks("GET", place(served))).headers["etag"]
    changed = await caf.asks("POST", f"{place(served)}:{what}", if_match=f"{OTHER}, {now}")
    assert 200 == changed.status_code
    assert changed.headers["etag"] == (await caf.asks("GET", place(served))).headers["etag"]


async def test_subscriptions_come_in_pages_that_a_link_leads_to(served: Served) -> None:
    here, caf = served.here, await served.caller(CAF)
    wish = {"purpose": "health-insurance", "fields": ["subject"]}
    for event_type in (MOVED, BANK, "fr.unefois.person.born.v1"):
        await caf.told("POST", SUBSCRIPTIONS, wish | {"event_type": event_type}, status=201)
    whole = [one["id"] for one in (await caf.told("GET", SUBSCRIPTIONS))["subscriptions"]]
    found, following = [], f"{SUBSCRIPTIONS}?limit=1"
    while following:
        answer = await caf.asks("GET", following)
        found += [one["id"] for one in answer.json()["subscriptions"]]
        following = answer.links["next"]["url"] if "next" in answer.links else ""

    assert len(whole) >= 4
    assert whole == found
    assert not {uuid_of(here.subscriptions[CPAM, MOVED].id)} & set(whole)


async def test_what_died_since_an_instant_is_tried_again(served: Served) -> None:
    here, caf = served.here, await served.caller(CAF)
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    died = []
    for _ in range(3):
        await here.declare(MOVED, here.moved())
        (one,) = await pulled(caf)
        end = {"delivery": one, "outcome": "rejected", "code": "crm.closed", "reason": "system-refused"}
        await caf.told("POST", "/v1/deliveries:ack", {"acknowledgements": [end]})
        died.append((one, here.clock()))
        here.clock.pass_(MINUTE)
    told = await caf.told("POST", "/v1/deliveries:replay", {"since": rfc3339(died[1][1])})
    await here.step()

    assert [died[1][0], died[2][0]] == [one["delivery"] for one in told["results"]]
    assert {True} == {one["ok"] for one in told["results"]}
    later = rfc3339(Instant(here.clock() + 1))
    assert [] == (await caf.told("POST", "/v1/deliveries:replay", {"since": later}))["results"]
    assert [died[1][0]] == await pulled(caf)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "api.replay-which"),
        ({"deliveries": ["00000000-0000-0000-0000-000000000000"], "since": "2026-11-27T07:00:00Z"}, "api.replay-which"),
        ({"since": "yesterday"}, "api.instant"),
        ({"since": "2026-11-27"}, "api.instant"),
        ({"since": ""}, "api.instant"),
        ({"since": 1}, "api.field"),
    ],
)
async def test_a_replay_says_which(served: Served, body: object, code: str) -> None:
    caf = await served.caller(CAF)
    assert (422, code) == await caf.problem("POST", "/v1/deliveries:replay", body)
