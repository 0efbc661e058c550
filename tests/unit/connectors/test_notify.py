"""Telling agencies that deliveries wait."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Ready, Reject, Retry
from connectors.journal import Journal
from connectors.notify import REMIND_MS, TellReport, tell_ready
from connectors.rehearsal import Rehearsal
from connectors.retry import Backoff
from schemas.delivery import VerifiedDelivery
from schemas.names import DeliveryId


class Agency:
    """Hears, or does not."""

    def __init__(self) -> None:
        self.heard: list[DeliveryId] = []
        self.fault: Exception | None = None

    async def tell(self, ready: Ready) -> None:
        self.heard.append(ready.delivery_id)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "told.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def tell(rehearsal: Rehearsal, journal: Journal, clock: Any) -> Callable[[Agency], Any]:
    backoff = Backoff(lambda size: b"\xff" * size, base_ms=1_000)

    async def once(agency: Any) -> TellReport:
        return await tell_ready(rehearsal, agency, journal, clock=clock, limit=10, backoff=backoff)

    return once


@pytest.mark.asyncio
async def test_each_delivery_is_told_once(tell: Any, declared: Callable[..., VerifiedDelivery]) -> None:
    agency, one, two = Agency(), declared().delivery_id, declared().delivery_id
    first, second = await tell(agency), await tell(agency)
    assert ((one, two), ()) == (first.told, second.told)
    assert [one, two] == agency.heard


@pytest.mark.asyncio
async def test_an_agency_that_did_not_hear_is_told_again_after_its_wait(
    tell: Any, clock: Any, declared: Callable[..., VerifiedDelivery]
) -> None:
    agency, one = Agency(), declared().delivery_id
    agency.fault = Retry("webhook.answer", status=503)
    assert ((one, "webhook.answer"),) == (await tell(agency)).unheard
    clock.at += 998
    await tell(agency)
    clock.at += 1
    await tell(agency)
    clock.at += 1_998
    await tell(agency)
    agency.fault = None
    clock.at += 1
    assert (one,) == (await tell(agency)).told
    assert [one] * 3 == agency.heard


@pytest.mark.asyncio
async def test_what_the_agency_asks_for_is_waited(
    tell: Any, clock: Any, declared: Callable[..., VerifiedDelivery]
) -> None:
    agency = Agency()
    declared()
    agency.fault = Retry("webhook.answer", status=429, after_ms=120_000)
    await tell(agency)
    clock.at += 120_000
    await tell(agency)
    assert 1 == len(agency.heard)
    clock.at += 999
    await tell(agency)
    assert 2 == len(agency.heard)


@pytest.mark.asyncio
async def test_an_agency_that_wants_no_more_is_left_alone(tell: Any, declared: Callable[..., VerifiedDelivery]) -> None:
    agency = Agency()
    one, _ = declared().delivery_id, declared()
    agency.fault = Reject("webhook.gone")
    assert TellReport((), ((one, "webhook.gone"),), gone=True) == await tell(agency)
    assert [one] == agency.heard


@pytest.mark.asyncio
async def test_a_delivery_that_still_waits_after_a_week_is_told_once_more(
    tell: Any, clock: Any, declared: Callable[..., VerifiedDelivery]
) -> None:
    agency, one = Agency(), declared().delivery_id
    await tell(agency)
    clock.at += REMIND_MS
    await tell(agency)
    clock.at += 1
    await tell(agency)
    assert [one, one] == agency.heard
