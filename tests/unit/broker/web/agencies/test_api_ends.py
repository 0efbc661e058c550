"""Ends that come late: after the lease, or after the delivery was given up; and nobody else's."""

from collections.abc import Mapping
from typing import Any

import pytest

from broker.access.credentials import Scope
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import CAF, CPAM, FAMILY, MINUTE, MOVED

pytestmark = pytest.mark.asyncio
PULL, ACK, RELEASE = "/v1/deliveries:pull", "/v1/deliveries:ack", "/v1/deliveries:release"


@pytest.fixture
def home_settings() -> Mapping[str, Any]:
    """A broker that tries once."""
    return {"delivery_attempts": 1}


async def taken(served: Served) -> tuple[Caller, str]:
    """Somebody with one delivery, whose lease has run out."""
    await served.here.give(CAF, MOVED, FAMILY, ["subject"])
    await served.here.declare(MOVED, served.here.moved())
    caf = await served.caller(CAF, Scope.RECEIVE)
    (one,) = (await caf.told("POST", PULL, {}))["deliveries"]
    served.here.clock.pass_(2 * MINUTE)
    return caf, one["id"]


async def ended(caller: Caller, delivery: str, **end: str) -> dict[str, Any]:
    told = await caller.told("POST", ACK, {"acknowledgements": [{"delivery": delivery, **(end or APPLIED)}]})
    (result,) = told["results"]
    return dict(result)


APPLIED = {"outcome": "applied"}
REJECTED = {"outcome": "rejected", "code": "crm.closed", "reason": "system-refused"}


async def test_an_end_after_its_lease_counts_and_the_delivery_does_not_come_again(served: Served) -> None:
    caf, delivery = await taken(served)
    assert 200 == (await caf.asks("POST", RELEASE, {"deliveries": [delivery]})).status_code
    assert (await ended(caf, delivery))["ok"]
    assert [] == (await caf.told("POST", PULL, {}))["deliveries"]
    assert (409, "gate.ended") == await caf.problem("POST", RELEASE, {"deliveries": [delivery]})


async def test_what_was_given_up_meanwhile_is_taken_as_applied_and_not_as_rejected(served: Served) -> None:
    caf, delivery = await taken(served)
    assert [] == (await caf.told("POST", PULL, {}))["deliveries"]  # tried too often: parked
    assert 1 == len((await caf.told("GET", "/v1/dead-letters"))["dead_letters"])
    rejected = await ended(caf, delivery, **REJECTED)

    assert ("mailbox.not-handed", 409) == (rejected["problem"]["code"], rejected["problem"]["status"])
    assert (409, "gate.ended") == await caf.problem("POST", RELEASE, {"deliveries": [delivery]})
    assert (await ended(caf, delivery))["ok"]
    assert [] == (await caf.told("GET", "/v1/dead-letters"))["dead_letters"]


async def test_nobody_else_ends_what_was_parked(served: Served) -> None:
    caf, delivery = await taken(served)
    await caf.told("POST", PULL, {})
    cpam = await served.caller(CPAM, Scope.RECEIVE)
    for end in (APPLIED, REJECTED):
        assert "mailbox.unknown-delivery" == (await ended(cpam, delivery, **end))["problem"]["code"]
    assert 1 == len((await caf.told("GET", "/v1/dead-letters"))["dead_letters"])
