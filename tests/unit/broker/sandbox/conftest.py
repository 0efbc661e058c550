"""One sandbox for a module, and a client that is its administration."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from broker.lab.sandbox import news
from broker.lab.sandbox.playground import Wanted
from broker.lab.sandbox.process import Live, live
from schemas import catalogue
from schemas.catalogue import Catalogue
from schemas.delivery import VerifiedDelivery, open_release, verify_delivery
from schemas.directory import Directory
from schemas.hpke import SealingKey, Suite
from schemas.locked import LockedDelivery
from schemas.names import EventType, PartyId, Purpose

MOVED = EventType("fr.unefois.address.changed.v1")
AGENCY = PartyId("urn:unefois:tried-out")
WANTED = Wanted(AGENCY, (MOVED,), Purpose("local-services"))


@dataclass
class Trial:
    """A live sandbox, and somebody who is its administration and its operator over HTTP."""

    live: Live
    http: httpx2.AsyncClient

    async def asked(self, method: str, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
        """The answer's body."""
        answer = await self.http.request(method, path, json=body)
        assert status == answer.status_code, answer.text
        return answer.json()

    async def event(self, **told: Any) -> list[str]:
        """Let somebody declare. Returns the ids of the deliveries."""
        made = await self.asked("POST", "/sandbox/events", told, 201)
        return [one["delivery"] for one in made["deliveries"]]

    async def switch(self, **faults: int) -> None:
        await self.asked(
            "PUT", "/sandbox/faults", {"faults": {name.replace("_", "-"): n for name, n in faults.items()}}
        )

    async def pull(self, **told: Any) -> Any:
        return await self.asked("POST", "/v1/deliveries:pull", {"max": 100, **told})

    async def ack(self, *ids: str) -> Any:
        ends = [{"delivery": one, "outcome": "applied"} for one in ids]
        return await self.asked("POST", "/v1/deliveries:ack", {"acknowledgements": ends})

    async def opened(self, pulled: Any, events: Catalogue | None = None) -> list[VerifiedDelivery]:
        """Open and verify, as an administration does. Raises Refused."""
        agency = json.loads(self.live.agency_file.read_text())
        keys = [SealingKey.from_raw(Suite[one["suite"].upper()], bytes.fromhex(one["private"]))
                for one in agency["sealing_keys"]]  # fmt: skip
        directory = Directory.from_json((await self.http.get("/v1/directory")).text)
        kid = directory.current_sealing_key(AGENCY, self.live.play.clock()).kid
        locked = [LockedDelivery.decode(_raw(one["locked"])) for one in pulled["deliveries"]]
        (key,) = [one for one in keys if one.kid == kid]
        return [
            verify_delivery(
                released,
                recipient=AGENCY,
                directory=directory,
                catalogue=events or catalogue.builtin(),
                at=self.live.play.clock(),
                seen=lambda *_: None,
            )
            for released in open_release(locked, _raw(pulled["key_release"]), key)
        ]

    async def emptied(self) -> list[VerifiedDelivery]:
        """Pull, open and acknowledge until nothing comes."""
        taken: list[VerifiedDelivery] = []
        while (pulled := await self.pull())["deliveries"]:
            taken += await self.opened(pulled, news.events())
            await self.ack(*(one["id"] for one in pulled["deliveries"]))
        return taken


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@asynccontextmanager
async def trying(folder: Path) -> AsyncIterator[Trial]:
    async with live(folder, WANTED, "127.0.0.1:0", asyncio.Event(), works=False) as made:
        headers = {"Authorization": f"Bearer {made.token}"}
        async with httpx2.AsyncClient(base_url=made.url, headers=headers, trust_env=False) as http:
            yield Trial(made, http)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_trial(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    async with trying(tmp_path_factory.mktemp("sandbox")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def trial(module_trial: Trial) -> AsyncIterator[Trial]:
    """The module's sandbox; what a test leaves in the mailbox is set aside, and the state has to be consistent."""
    yield module_trial
    play = module_trial.live.play
    play.mischiefs.clear()
    play.clock.set(0)
    play.door.queued.clear()
    await play.set_all_aside()
    await play.home.ledger.sequence_unfinished()
    assert [] == await play.home.fsck.check()
