"""The loop over HTTP with connectors in the place of a program: it maps, writes, follows the directory, and waits."""

from typing import Any

import pytest

from connectors.client import Client
from connectors.mapping import load
from connectors.pinning import Pin
from connectors.runner import Route, RunReport
from connectors.testing import TestBroker
from schemas import samples
from schemas.errors import Refused
from schemas.names import PartyId
from schemas.record_types import AddressChanged
from tests.unit.connectors.test_runner import System

TOWN = PartyId("urn:fr:siret:21350238800019")
MOVED = AddressChanged.event_type
MAPPING = load(
    b"name: t\nversion: 1\nevent_type: fr.unefois.address.changed.v1\ndirection: out\n"
    b"fields: {NAME: record.subject.family_name}"
)
SAMPLE = samples.sample(MOVED)

pytestmark = pytest.mark.asyncio


class Town:
    """An agency with a system of its own, and a broker in memory."""

    def __init__(self) -> None:
        self.broker, self.system = TestBroker(), System()
        self.agency = self.broker.agency(TOWN)
        self.broker.grant(TOWN, MOVED, ["subject"])
        self.reports: list[RunReport] = []
        self.waited: list[float] = []

    async def receive(self, transport: Any = None, **more: Any) -> None:
        async with Client.open(
            self.broker.url,
            self.broker.token(TOWN),
            transport=transport or self.broker.transport,
            clock=lambda: self.broker.now,
            sleep=self._sleep,
        ) as client:
            await client.receive(self.agency, [Route(MAPPING, self.system)], heard=self.reports.append, **more)

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) > 3:
            raise Refused("client.refused")  # the test has seen enough

    @property
    def names(self) -> list[object]:
        return [row["NAME"] for row in self.system.rows.values()]


async def test_what_comes_is_mapped_written_and_acknowledged_until_nothing_waits() -> None:
    town = Town()
    for name in ("Martin", "Le Goff"):
        town.broker.declare(SAMPLE | {"subject": SAMPLE["subject"] | {"family_name": name}}, MOVED)

    await town.receive(once=True, limit=1)

    assert ["Martin", "Le Goff"] == town.names
    assert {"applied"} == set(town.broker.deliveries(TOWN).values())
    assert [1, 1, 0] == [report.pulled for report in town.reports]


async def test_it_follows_the_directory_that_follows_from_the_pinned_one() -> None:
    town = Town()
    pin = Pin(None, town.broker.chain.ledger)
    town.broker.rotate_source()
    town.broker.declare(SAMPLE, MOVED)

    await town.receive(once=True)
    assert ("runner.unknown-key", []) == (town.reports[0].retried[0][1], town.names)
    town.broker.advance(86_400_000)
    await town.receive(once=True, pin=pin)

    assert [SAMPLE["subject"]["family_name"]] == town.names


async def test_it_goes_on_when_nothing_waits_and_pauses_between() -> None:
    town = Town()

    with pytest.raises(Refused):
        await town.receive()

    assert [0.25] * 4 == town.waited
