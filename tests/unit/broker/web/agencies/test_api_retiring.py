"""An event type on its way out says so wherever it is used, in the standards' words; one that stays says nothing."""

from dataclasses import replace
from uuid import UUID

import pytest

from broker.web.common.bodies import b64u
from schemas.catalogue import RETIREMENTS, Retirement
from schemas.names import Instant
from tests.unit.broker.web.agencies.calls import Served
from tests.world import BANK, CAF, HEALTH, MOVED, PORTAL, with_parts

pytestmark = pytest.mark.asyncio
HEADERS = ("deprecation", "sunset", "link")


async def test_whoever_uses_it_is_told_each_time(served: Served) -> None:
    home = served.here.home
    gone = Retirement(Instant(1_688_169_599_000), Instant(1_719_791_999_000), BANK)
    served.app.state.home = with_parts(home, catalogue=replace(home.catalogue, retirements={MOVED: gone}))
    after = home.catalogue.by_type(BANK).schema.id.hex()
    expected = ("@1688169599", "Sun, 30 Jun 2024 23:59:59 GMT", f'</v1/schemas/{after}>; rel="successor-version"')
    caf, portal = await served.caller(CAF), await served.caller(PORTAL)
    wish = {"event_type": MOVED, "purpose": HEALTH, "fields": ["subject"]}
    envelope = await home.desk.envelope(PORTAL, MOVED, served.here.moved())

    for answer in (
        await caf.asks("GET", f"/v1/schemas/{home.catalogue.by_type(MOVED).schema.id.hex()}"),
        await caf.asks("POST", "/v1/subscriptions", wish),
        await portal.asks("POST", "/v1/declarations", envelope, content_type="application/avro"),
        await caf.asks("GET", f"/v1/subscriptions/{UUID(bytes=served.here.subscriptions[CAF, MOVED].id)}"),
    ):
        assert answer.is_success, answer.text
        assert expected == tuple(answer.headers.get(name) for name in HEADERS)
    batch = {
        "declarations": [
            b64u(await home.desk.envelope(PORTAL, one, told))
            for one, told in ((MOVED, served.here.moved()), (BANK, served.here.bank()))
        ]
    }
    first, second = (await portal.told("POST", "/v1/declarations:batch", batch))["results"]
    assert ("2023-06-30T23:59:59.000Z", "2024-06-30T23:59:59.000Z", BANK) == (
        first["deprecated_at"],
        first["sunset_at"],
        first["successor"],
    )
    assert second["ok"]
    assert "deprecated_at" not in second
    stays = await caf.asks("GET", f"/v1/schemas/{after}")
    assert (None,) * 3 == tuple(stays.headers.get(name) for name in HEADERS)
    listed = {one["event_type"]: one for one in (await caf.told("GET", "/v1/schemas"))["schemas"]}
    assert ("2023-06-30T23:59:59.000Z", BANK) == (listed[MOVED]["deprecated_at"], listed[MOVED]["successor"])
    assert listed[BANK]["sunset_at"] is None


async def test_what_retires_has_a_successor_that_is_there_and_an_end_after_its_beginning(served: Served) -> None:
    for event_type, one in RETIREMENTS.items():
        served.here.home.catalogue.by_type(event_type)
        if one.successor is not None:
            served.here.home.catalogue.by_type(one.successor)
        assert one.sunset_at is None or one.deprecated_at <= one.sunset_at
