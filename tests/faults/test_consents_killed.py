"""The process that changes consents is killed between its commit and its answer: done once, and the next says so."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.consents.asking import Asking
from broker.consents.consents import GrantRequest
from broker.services import consents
from broker.services.consents import Signed
from broker.settings.choices import Settings, load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home, open_unchecked
from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from consent.basis import CONSENT
from consent.grant import Scope, Status
from schemas.facts import FactKind
from schemas.names import SubjectRef
from tests.beside import short_folder
from tests.services.processes import bound_to_parent
from tests.world import CAF, FAMILY, MOVED, VOICE, Clock, Entropy, World, populate

pytestmark = [pytest.mark.asyncio, pytest.mark.proof, pytest.mark.databases]
ROOT = Path(__file__).parents[2]


@dataclass
class Town:
    """A home whose process for consents can be started and killed."""

    settings: Settings
    environment: Mapping[str, str]

    def consents(self, crash: str | None = None) -> "subprocess.Popen[bytes]":
        """A process of its own."""
        command = [sys.executable, "-m", "broker", "serve", "--role", "consents", "--listen", "none"]
        armed = {} if crash is None else {"UNEFOIS_CRASH_AT": crash}
        return subprocess.Popen(
            bound_to_parent(command), cwd=ROOT, env={**self.environment, **armed}, stdout=subprocess.DEVNULL
        )


@pytest_asyncio.fixture
async def town(empty_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    with short_folder() as folder:
        told = {
            "home": tmp_path / "home",
            "database_url": empty_url,
            "consents_socket": folder / "consents.sock",
            "hpke_suite": "x25519",
        }
        settings = load(**told)
        await create_home(settings, entropy=Entropy())
        named = {f"UNEFOIS_{name.upper()}": str(value) for name, value in told.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNEFOIS_")}
        made = Town(settings, kept | named)
        async with open_home(settings) as home:
            await populate(World(home, Clock(), settings.home))
        yield made


async def twice(town: Town, work: "asyncio.Task[Signed]", crash: str) -> Signed:
    """What is told in the end, though the first process that did it was killed before it could say so."""
    first = town.consents(crash)
    try:
        assert -signal.SIGKILL == await asyncio.to_thread(first.wait, 60)
        assert not work.done()
    finally:
        first.kill()
    second = town.consents()
    try:
        return await work
    finally:
        second.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(second.wait, 60)


@pytest.mark.parametrize("crash", ["acts.kept", "answering.done"])
async def test_a_change_is_done_once_and_answered_though_its_process_was_killed(town: Town, crash: str) -> None:
    me = SubjectRef(bytes(range(32)))
    async with open_unchecked(town.settings, role=ProcessRole.PORTAL) as portal:
        portal.__dict__["asking"] = Asking(town.settings.consents_socket, None, portal.entropy, seconds=100)
        given = await twice(town, asyncio.create_task(_give(portal, me)), crash)
        grant = given.recorded.grant.id
        narrowed = await twice(
            town, asyncio.create_task(consents.narrow(portal, grant, frozenset({"subject"}), VOICE, whose=me)), crash
        )

    assert (2, Status.ACTIVE) == (narrowed.recorded.grant.version, narrowed.recorded.grant.status)
    async with open_home(town.settings) as home:
        here = World(home, Clock(), town.settings.home)
        assert (narrowed.recorded.grant,) == await home.consents.of(me)
        told = [len(await here.entries(kind)) for kind in (FactKind.GRANTED, FactKind.CHANGED)]
        assert [1, 1] == told
        await here.step()


async def _give(portal: Home, me: SubjectRef) -> Signed:
    wish = GrantRequest(
        subject=me,
        recipient=CAF,
        event_type=MOVED,
        purpose=FAMILY,
        fields=frozenset({"subject", "new_address"}),
        basis=CONSENT,
        voice=VOICE,
        scope=Scope.STANDING,
    )
    return await consents.give(portal, wish)
