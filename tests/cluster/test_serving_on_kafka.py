"""`unefois serve`, in several processes, on PostgreSQL and three Kafka nodes with TLS, SCRAM and access lists."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from broker.access.credentials import Scope
from connectors.client import Client
from schemas.names import Instant
from tests.fire.alive import Serving, until
from tests.fire.town import Town
from tests.services.three import Three
from tests.world import DAY, PORTAL, World

pytestmark = pytest.mark.asyncio
WORKERS = ("connectors", "ledger")


@asynccontextmanager
async def portal(here: World, api: Serving) -> AsyncIterator[Client]:
    """The portal over HTTP, with a token of its own."""
    at = here.home.clock()
    async with here.home.store.begin() as tx:
        issued = await here.home.credentials.issue(tx, PORTAL, [Scope.PUBLISH], expires_at=Instant(at + DAY), at=at)
    async with Client.open(api.address, issued.token) as client:
        yield client


async def readiness(one: Serving) -> dict[str, bool]:
    """What a load balancer is told: each check by its name."""
    async with httpx2.AsyncClient(timeout=30) as asking:
        answer = await asking.get(f"{one.address}/health/ready")
    checks = {name: check["ok"] for name, check in answer.json()["checks"].items()}
    assert (200 if all(checks.values()) else 503) == answer.status_code
    return checks


async def test_declarations_over_http_reach_the_agencys_table_through_processes_of_every_role(town: Town) -> None:
    roles = {role: town.serve(role) for role in ("api", "router", *WORKERS)}
    other = town.serve("router")
    async with town.opened() as here:
        async with portal(here, roles["api"]) as client, town.declaring(here, client.declare, 10):
            pass
        await town.settled(here)
        assert all([all((await readiness(one)).values()) for one in (*roles.values(), other)])
        for one in (*roles.values(), other):
            one.end()
        await town.check(here)


async def test_routers_that_come_and_go_and_die_under_load_lose_nothing_and_repeat_nothing(town: Town) -> None:
    for role in WORKERS:
        town.serve(role)
    async with town.opened() as here:
        routers = [town.serve("router"), town.serve("router")]
        async with town.declaring(here, here.home.intake.accept, 30) as progress:
            for number in range(8):
                await progress.reached(25 * (number + 1))
                routers.append(town.serve("router"))
                leaving = routers.pop(0)
                if number % 2:
                    leaving.kill()
                else:
                    leaving.end()
        await town.settled(here)
        for one in routers:
            one.end()
        await town.check(here)


async def test_a_kafka_that_is_away_is_told_waited_for_and_costs_nothing(town: Town, nodes: Three) -> None:
    topic = f"{town.settings.kafka_topic_prefix}declarations"
    for node in nodes.nodes:
        node.kill()
    running = [town.serve(role) for role in ("router", *WORKERS)]

    async def log_is_away() -> bool:
        return not (await readiness(running[0]))["log"]

    async def all_is_well() -> bool:
        return all([all((await readiness(one)).values()) for one in running])

    await until(log_is_away, "at the start", town.look)
    nodes.whole(topic)
    await until(all_is_well, "after the start", town.look)
    async with town.opened() as here:
        async with town.declaring(here, here.home.intake.accept, 10) as progress:
            await progress.reached(20)
            for node in nodes.nodes:
                node.kill()
            await until(log_is_away, "in the middle", town.look)
            nodes.whole(topic)
            await until(all_is_well, "after the middle", town.look)
        await town.settled(here)
        for one in running:
            one.end()
        await town.check(here)
