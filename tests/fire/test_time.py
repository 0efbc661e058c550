"""Clocks that are wrong, an owner that stood still while Kafka went on, an agency that is away for a week."""

import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from broker.log.kafka_cluster import Cluster
from broker.runtime.hosting import FOLDER
from broker.runtime.hosting import load as hosted
from broker.runtime.turns import Turn, turn
from schemas.facts import FactKind
from tests.fire import worker
from tests.fire.alive import DEADLINE
from tests.fire.test_kills import EACH, shifts
from tests.fire.town import PARTITIONS, ROOT, ended, found
from tests.services.databases import Databases
from tests.world import CAF, DAY, FAMILY, MOVED, RENNES_ADDRESS, VOICE

HOUR = DAY // 24


def test_workers_whose_clocks_go_forward_and_back_by_up_to_a_day_lose_nothing(quick: Path, kills: Counter[str]) -> None:
    killed = shifts([[quick / "a"], [quick / "b"]], 300, EACH, "jumps")

    kills.update(killed)
    assert 2 * EACH == killed.total()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("moment", "told"), [("checked", "router.lost-ownership"), ("written", "store.away")], ids=["checked", "written"]
)
async def test_an_owner_that_stood_still_past_its_lease_writes_nothing_with_the_log_on_kafka(
    quick: Path, postgres: Databases, kafka: str, moment: str, told: str
) -> None:
    prefix = f"t{secrets.token_hex(6)}."
    await Cluster((kafka,), "plaintext").make_topic(f"{prefix}declarations", PARTITIONS, 1)
    chosen = {
        "log": "kafka",
        "kafka_bootstrap": kafka,
        "kafka_security": "plaintext",
        "kafka_topic_prefix": prefix,
        "kafka_replicas": 1,
    }
    async with postgres.migrated() as url:
        town = await found(quick, database_url=url, **chosen)
        with ended(town):
            async with town.opened() as here, town.declaring(here, here.home.intake.accept, 2):
                pass
            command = [sys.executable, "-m", "tests.faults.zombie", str(town.settings.home), moment]
            with subprocess.Popen(command, cwd=ROOT, env=town.environment, stdout=subprocess.PIPE, text=True) as zombie:
                try:
                    assert zombie.stdout is not None
                    _, status = os.waitpid(zombie.pid, os.WUNTRACED)
                    assert os.WIFSTOPPED(status)
                    running = [town.serve(role) for role in ("router", "connectors", "ledger", "upkeep")]
                    async with town.opened() as here:
                        await town.settled(here)
                        zombie.send_signal(signal.SIGCONT)
                        assert f"{told}\n" == zombie.stdout.readline()
                        assert 0 == zombie.wait(DEADLINE)
                        for one in running:
                            one.end()
                        await town.check(here)
                finally:
                    zombie.kill()


@pytest.mark.asyncio
async def test_an_agency_that_is_away_for_a_week_gets_all_that_still_stands_once_and_in_order(quick: Path) -> None:
    await worker.ready(quick / "a")
    agencies, system = hosted(quick / "a" / FOLDER), quick / "a" / "fund.db"
    system.write_text("no database")
    people = [worker.person(number) for number in range(3)]
    async with worker.opened(quick / "a", 0) as here:
        given = [await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person) for person in people]
        troubles = Counter[str]()
        for day in range(7):
            for person in people:
                moved = here.moved(person, new_address=RENNES_ADDRESS | {"housenumber": str(day + 1)})
                await here.declare(MOVED, moved, route=False)
            for _ in range(24):
                done: Turn = await turn(here.home, agencies)
                assert (0, 0) == (done.applied, done.rejected)
                troubles.update(one.code for one in done.troubles)
                here.clock.pass_(HOUR)
            if day == 3:
                await here.home.consents.revoke(given[0].grant.id, VOICE)
        assert {"table.away"} == set(troubles)
        assert [] == await here.home.dead_letters.list()

        system.unlink()
        while (await turn(here.home, agencies)).moved:
            here.clock.pass_(HOUR)
        await here.step()

        week = [str(number + 1) for number in range(7)]
        written = worker.rows(quick / "a")
        for person, expected in zip(people, ([], week, week), strict=True):
            assert expected == [number for born, number in written if born == person["birthdate"]]
        assert len(written) == len(await here.entries(FactKind.APPLIED))
