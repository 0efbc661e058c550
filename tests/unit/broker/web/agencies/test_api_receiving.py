"""Receiving over HTTP: what an administration pulls opens with its key alone; what it says about it stays."""

import asyncio

import pytest

from broker.access.credentials import Scope
from tests.unit.broker.web.agencies.calls import Served, opened
from tests.world import CAF, CPAM, ELISE, FAMILY, HEALTH, MOVED, YANN

pytestmark = pytest.mark.asyncio


async def moved(served: Served, *persons: dict[str, object]) -> None:
    """These people move, and let the family fund know."""
    for person in persons or (ELISE,):
        await served.here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
        await served.here.declare(MOVED, served.here.moved(person))


async def test_what_is_pulled_opens_and_is_acknowledged_once_and_for_all(served: Served) -> None:
    await moved(served)
    caf = await served.caller(CAF)

    told = await caf.told("POST", "/v1/deliveries:pull", {})
    (record,) = await opened(served.here, CAF, told)
    (delivery,) = told["deliveries"]
    end = {"acknowledgements": [{"delivery": delivery["id"], "outcome": "applied"}]}
    done = {"results": [{"delivery": delivery["id"], "ok": True}]}

    assert "Martin" == record.record["subject"]["family_name"]
    assert (0, [], 60) == (delivery["attempts"], told["withheld"], told["lease_seconds"])
    assert done == await caf.told("POST", "/v1/deliveries:ack", end)
    assert done == await caf.told("POST", "/v1/deliveries:ack", end)
    assert [] == (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    assert [] == await served.here.take(CAF)


async def test_one_key_release_serves_a_whole_pull_and_max_limits_it(served: Served) -> None:
    await moved(served, ELISE, YANN)
    caf = await served.caller(CAF)

    first = await caf.told("POST", "/v1/deliveries:pull", {"max": 1})
    assert 1 == len(await opened(served.here, CAF, first))
    served.here.clock.pass_(60_001)
    both = await caf.told("POST", "/v1/deliveries:pull", {"max": 2})
    assert 2 == len(await opened(served.here, CAF, both))
    assert [0, 1] == sorted(one["attempts"] for one in both["deliveries"])


async def test_a_rejected_delivery_is_a_dead_letter_and_is_tried_again_when_asked(served: Served) -> None:
    await moved(served)
    caf = await served.caller(CAF)
    (delivery,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    end = {"delivery": delivery["id"], "outcome": "rejected", "code": "crm.no-such-file", "reason": "system-refused"}
    await caf.told("POST", "/v1/deliveries:ack", {"acknowledgements": [end]})

    (letter,) = (await caf.told("GET", "/v1/dead-letters"))["dead_letters"]
    assert (delivery["id"], "crm.no-such-file", MOVED) == (letter["delivery"], letter["code"], letter["event_type"])
    cpam = await served.caller(CPAM)
    (foreign,) = (await cpam.told("POST", "/v1/deliveries:replay", {"deliveries": [delivery["id"]]}))["results"]
    assert (False, "dead.unknown") == (foreign["ok"], foreign["problem"]["code"])
    assert [] == (await cpam.told("GET", "/v1/dead-letters"))["dead_letters"]
    again = {"results": [{"delivery": delivery["id"], "ok": True, "withheld": None}]}
    assert again == await caf.told("POST", "/v1/deliveries:replay", {"deliveries": [delivery["id"]]})
    assert [] == (await caf.told("GET", "/v1/dead-letters"))["dead_letters"]
    assert 1 == len(await opened(served.here, CAF, await caf.told("POST", "/v1/deliveries:pull", {})))


async def test_a_delivery_given_back_comes_again_after_the_wait_that_was_asked_for_and_keeps_its_order(
    served: Served,
) -> None:
    await moved(served)
    await served.here.declare(MOVED, served.here.moved(effective_date="2027-01-01"))
    caf = await served.caller(CAF)
    (delivery,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    later = {"delivery": delivery["id"], "outcome": "later", "code": "crm.away", "after": 600}
    done = {"results": [{"delivery": delivery["id"], "ok": True}]}

    assert done == await caf.told("POST", "/v1/deliveries:ack", {"acknowledgements": [later]})
    served.here.clock.pass_(599_999)
    assert done == await caf.told("POST", "/v1/deliveries:ack", {"acknowledgements": [later]})
    assert [] == (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    served.here.clock.pass_(1)
    (again,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    assert (delivery["id"], 1) == (again["id"], again["attempts"])


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"outcome": "later"}, "api.later-with-code-alone"),
        ({"outcome": "later", "code": "crm.away", "reason": "mapping"}, "api.later-with-code-alone"),
        ({"outcome": "applied", "after": 5}, "api.after-without-later"),
        ({"outcome": "later", "code": "crm.away", "after": 86_401}, "api.field"),
        ({"outcome": "later", "code": "crm.away", "after": -1}, "api.field"),
    ],
)
async def test_what_is_neither_an_end_nor_a_wait_is_refused(served: Served, end: dict[str, object], code: str) -> None:
    await moved(served)
    caf = await served.caller(CAF)
    (delivery,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]

    told = {"acknowledgements": [{"delivery": delivery["id"], **end}]}
    assert (422, code) == await caf.problem("POST", "/v1/deliveries:ack", told)


async def test_what_is_anothers_is_as_unknown_as_what_never_was(served: Served) -> None:
    await moved(served)
    caf, cpam = await served.caller(CAF), await served.caller(CPAM)
    (delivery,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    nobody = "00000000-0000-0000-0000-000000000000"

    for path, member in (("/v1/deliveries:ack", "acknowledgements"), ("/v1/deliveries:replay", "deliveries")):
        answers = []
        for one in (delivery["id"], nobody):
            item = one if member == "deliveries" else {"delivery": one, "outcome": "applied"}
            (result,) = (await cpam.told("POST", path, {member: [item]}))["results"]
            del result["delivery"], result["problem"]["trace_id"]
            answers.append(result)
        assert answers[0] == answers[1]
        assert 404 == answers[0]["problem"]["status"]
    assert [] == (await cpam.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    status = await cpam.told("GET", "/v1/status")
    assert (0, 0) == (status["waiting"], status["handed"])


async def test_one_that_cannot_be_acknowledged_does_not_hinder_the_others(served: Served) -> None:
    await moved(served)
    caf = await served.caller(CAF)
    (delivery,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    wrong = "00000000-0000-0000-0000-000000000000"
    ends = [{"delivery": one, "outcome": "applied"} for one in (wrong, delivery["id"])]

    results = (await caf.told("POST", "/v1/deliveries:ack", {"acknowledgements": ends}))["results"]

    assert [(wrong, False), (delivery["id"], True)] == [(one["delivery"], one["ok"]) for one in results]
    assert "mailbox.unknown-delivery" == results[0]["problem"]["code"]


async def test_a_long_poll_ends_when_something_comes(served: Served) -> None:
    caf = await served.caller(CAF)
    served.waiting._apart = 60
    polling = asyncio.create_task(caf.told("POST", "/v1/deliveries:pull", {"wait": 20}))
    while not served.waiting._here[CAF]:
        await asyncio.sleep(0)
    await moved(served)

    assert 1 == len(await opened(served.here, CAF, await polling))
    assert 0 == served.waiting._here[CAF]


async def test_a_long_poll_whose_caller_has_hung_up_takes_nothing(served: Served) -> None:
    caf, hung_up = await served.caller(CAF), asyncio.Event()
    bodies = iter([b'{"wait": 20}'])
    headers = [(b"authorization", f"Bearer {caf.token}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/deliveries:pull", "query_string": b"", "headers": headers}

    async def receive() -> dict[str, object]:
        for body in bodies:
            return {"type": "http.request", "body": body}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        return

    polling = asyncio.create_task(served.app({**scope, "http_version": "1.1", "client": ("::1", 1)}, receive, send))
    while not served.waiting._here[CAF]:
        await asyncio.sleep(0)
    hung_up.set()
    await moved(served)
    await polling

    assert 1 == len((await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"])


async def test_more_than_a_few_long_polls_of_one_administration_are_refused(served: Served) -> None:
    caf, cpam = await served.caller(CAF), await served.caller(CPAM)
    served.waiting._here[CAF] = 8
    refused = await caf.asks("POST", "/v1/deliveries:pull", {"wait": 1})

    assert (429, "5") == (refused.status_code, refused.headers["retry-after"])
    await served.here.give(CPAM, MOVED, HEALTH, ["subject"])
    await served.here.declare(MOVED, served.here.moved())
    assert 1 == len((await cpam.told("POST", "/v1/deliveries:pull", {"wait": 1}))["deliveries"])


async def test_an_administration_sees_what_waits_for_it(served: Served) -> None:
    caf = await served.caller(CAF)
    status = await caf.told("GET", "/v1/status")
    assert (0, None) == (status["waiting"], status["oldest_at"])
    await moved(served, ELISE, YANN)
    await caf.told("POST", "/v1/deliveries:pull", {"max": 1})

    status = await caf.told("GET", "/v1/status")

    assert (1, 1, 0, status["at"]) == tuple(status[name] for name in ("waiting", "handed", "dead_letters", "oldest_at"))


async def test_dead_letters_come_in_pages_that_a_link_leads_to(served: Served) -> None:
    await moved(served, ELISE, YANN)
    caf = await served.caller(CAF)
    taken = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    end = {"outcome": "rejected", "code": "crm.closed", "reason": "system-refused"}
    await caf.told("POST", "/v1/deliveries:ack", {"acknowledgements": [end | {"delivery": one["id"]} for one in taken]})

    first = await caf.asks("GET", "/v1/dead-letters?limit=1")
    following = first.links["next"]["url"]
    second = await caf.asks("GET", following)

    pages = [[one["delivery"] for one in page.json()["dead_letters"]] for page in (first, second)]
    assert sorted(one["id"] for one in taken) == sorted(pages[0] + pages[1])
    assert "link" not in second.headers


@pytest.mark.parametrize("scope", [Scope.PUBLISH, Scope.READ, Scope.SUBSCRIBE])
async def test_another_scope_does_not_receive(served: Served, scope: Scope) -> None:
    caf = await served.caller(CAF, scope)
    response = await caf.asks("POST", "/v1/deliveries:pull", {})
    assert (403, 'Bearer error="insufficient_scope", scope="receive"') == (
        response.status_code,
        response.headers["www-authenticate"],
    )
