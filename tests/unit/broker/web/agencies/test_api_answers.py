"""Answers over HTTP: each outcome has its members and no others, and the broker hears nothing more than that."""

from typing import Any

import pytest

from broker.access.credentials import Scope
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import CAF, FAMILY, MOVED

pytestmark = pytest.mark.asyncio
PULL, ACK = "/v1/deliveries:pull", "/v1/deliveries:ack"
TO_REPAIR = ("unknown-person", "several-persons", "document-needed")


async def taken(served: Served) -> tuple[Caller, str]:
    """Somebody with one delivery."""
    await served.here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await served.here.declare(MOVED, served.here.moved())
    caf = await served.caller(CAF, Scope.RECEIVE)
    (one,) = (await caf.told("POST", PULL, {}))["deliveries"]
    return caf, one["id"]


async def said(caller: Caller, delivery: str, **end: Any) -> dict[str, Any]:
    told = await caller.told("POST", ACK, {"acknowledgements": [{"delivery": delivery, **end}]})
    (result,) = told["results"]
    return dict(result)


@pytest.mark.parametrize(
    "end",
    [
        *({"outcome": outcome} for outcome in TO_REPAIR),
        {"outcome": "awaiting-human", "until": "2026-12-24"},
        {"outcome": "partly", "fields": ["subject"]},
        {"outcome": "technical", "code": "crm.disk-full"},
    ],
    ids=lambda end: end["outcome"],
)
async def test_an_answer_is_taken_and_taken_again(served: Served, end: dict[str, Any]) -> None:
    caf, delivery = await taken(served)

    assert (await said(caf, delivery, **end))["ok"]
    assert (await said(caf, delivery, **end))["ok"]

    assert [] == (await caf.told("POST", PULL, {}))["deliveries"]
    letters = (await caf.told("GET", "/v1/dead-letters"))["dead_letters"]
    assert (end["outcome"] == "technical") is bool(letters)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"outcome": "unknown-person", "until": "2026-12-24"}, "api.until-of-awaiting-human"),
        ({"outcome": "applied", "until": "2026-12-24"}, "api.until-of-awaiting-human"),
        ({"outcome": "awaiting-human"}, "api.until-of-awaiting-human"),
        ({"outcome": "partly"}, "api.fields-of-partly"),
        ({"outcome": "applied", "fields": ["subject"]}, "api.fields-of-partly"),
        ({"outcome": "technical"}, "api.technical-with-code-alone"),
        ({"outcome": "technical", "code": "a.b", "reason": "mapping"}, "api.technical-with-code-alone"),
        ({"outcome": "unknown-person", "code": "a.b"}, "api.applied-with-code"),
        ({"outcome": "several-persons", "reason": "mapping"}, "api.applied-with-code"),
        ({"outcome": "partly", "fields": ["subject"], "code": "a.b"}, "api.applied-with-code"),
        ({"outcome": "document-needed", "after": 1}, "api.after-without-later"),
    ],
)
async def test_what_says_more_or_less_is_refused_whole(served: Served, end: dict[str, Any], code: str) -> None:
    caf, delivery = await taken(served)

    body = {"acknowledgements": [{"delivery": delivery, **end}]}
    assert (422, code) == await caf.problem("POST", ACK, body)


@pytest.mark.parametrize(
    "end",
    [
        {"outcome": "awaiting-human", "until": "tomorrow"},
        {"outcome": "partly", "fields": []},
        {"outcome": "partly", "fields": ["Not a field"]},
        {"outcome": "unknown"},
    ],
)
async def test_what_has_no_form_is_refused(served: Served, end: dict[str, Any]) -> None:
    caf, delivery = await taken(served)

    status, code = await caf.problem("POST", ACK, {"acknowledgements": [{"delivery": delivery, **end}]})
    assert 422 == status
    assert code.startswith("api.")


async def test_an_answer_that_cannot_follow_is_a_conflict_and_a_wrong_one_a_mistake(served: Served) -> None:
    caf, delivery = await taken(served)
    past = await said(caf, delivery, outcome="awaiting-human", until="2026-01-01")
    other = await said(caf, delivery, outcome="partly", fields=["phone"])
    assert [("mailbox.until", 422), ("mailbox.fields", 422)] == [
        (one["problem"]["code"], one["problem"]["status"]) for one in (past, other)
    ]

    await said(caf, delivery, outcome="technical", code="crm.down")
    late = await said(caf, delivery, outcome="unknown-person")
    assert ("mailbox.other-answer", 409) == (late["problem"]["code"], late["problem"]["status"])
