"""`register-receive once | serve`: from the mailbox into the register, through the connector that is named `register`.

Refuses: nothing of its own; a setting that is missing is a KeyError with its name.
Keeps: a delivery is verified before the connector sees it, and acknowledged after its row is durable.
"""

import asyncio
import json
import os
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from secrets import token_bytes
from typing import Any

from unefois_agency.connectors import registry
from unefois_agency.connectors.contract import Agency, Ground
from unefois_agency.connectors.mapping import load
from unefois_agency.connectors.retry import Backoff
from unefois_agency.connectors.runner import Route, RunReport, run_routes
from unefois_agency.connectors.sdk import Client, PartyId, Pin, builtin, sealing_key
from unefois_agency.schemas.directory import Directory
from unefois_agency.schemas.hpke import SealingKey, Suite
from unefois_agency.schemas.names import Instant

BACKOFF = Backoff(token_bytes)
NOBODY = Directory.of((), (), (), (), PartyId("urn:unefois:nobody"))
"""Whom we believe before the loop has asked for the directory that follows from the pinned one: nobody."""


@dataclass(frozen=True)
class Place:
    """Where the broker is, who we are, where the register is."""

    broker: str
    token: str = field(repr=False)
    party: PartyId
    keys: Mapping[bytes, SealingKey] = field(repr=False)
    database: Path
    pin: Pin


def place(folder: Path) -> Place:
    """From `register.toml`; or, to try it, from the file of a sandbox that `UNEFOIS_AGENCY_FILE` names."""
    if sandbox := os.environ.get("UNEFOIS_AGENCY_FILE"):
        told = json.loads(Path(sandbox).read_text("utf-8"))
        keys = [SealingKey.from_raw(Suite[one["suite"].upper()], bytes.fromhex(one["private"]))
                for one in told["sealing_keys"]]  # fmt: skip
        broker = os.environ.get("UNEFOIS_BROKER", told["url"])
        by_kid = {key.kid: key for key in keys}
        return Place(broker, told["token"], PartyId(told["party"]), by_kid, folder / "register.db", Pin(None))
    told = tomllib.loads((folder / "register.toml").read_text("utf-8"))
    key = sealing_key(folder / told["key_file"])
    token = (folder / told["token_file"]).read_text("utf-8").strip()
    pin = Pin(folder / "directory.pin", told.get("ledger", ""))
    return Place(told["broker"], token, PartyId(told["party"]), {key.kid: key}, folder / told["database"], pin)


class Receiver:
    """One mailbox and one register. Made by `opened`."""

    def __init__(self, here: Place, client: Client, route: Route, clock: Any) -> None:
        self._here, self._client, self._route, self._clock = here, client, route, clock

    async def receive(self, *, once: bool) -> None:
        """Whatever comes, as it comes; `once`: until nothing waits. A broker that is away is waited for."""
        agency = Agency(self._here.party, self._here.keys, NOBODY, builtin())
        await self._client.receive(agency, [self._route], pin=self._here.pin, once=once)

    async def round(self) -> RunReport:
        """One pull of whatever waits, twenty at most. Raises Unavailable: the broker is away."""
        directory = await self._client.pinned_directory(self._here.pin)
        agency = Agency(self._here.party, self._here.keys, directory, builtin())
        inbox = self._client.inbox()
        return await run_routes(inbox, agency, [self._route], clock=self._clock, limit=20, backoff=BACKOFF)


@asynccontextmanager
async def opened(here: Place, **how: Any) -> AsyncIterator[Receiver]:
    """Until the block ends. `how`: for tests, see `Client.open`."""
    clock = how.get("clock", lambda: Instant(time.time_ns() // 1_000_000))
    mapping = load(files("register_connector").joinpath("moves.out.yaml").read_bytes())
    kind = registry.connector("register")  # found by its entry point, as `table` and `file` are
    connector = await kind.open({"database": str(here.database)}, mapping.targets, Ground(clock, token_bytes))
    try:
        async with Client.open(here.broker, here.token, **how) as client:
            yield Receiver(here, client, Route(mapping, connector), clock)
    finally:
        await connector.close()


async def receive(here: Place, *, once: bool) -> None:
    """For good, or until nothing waits."""
    async with opened(here) as receiver:
        await receiver.receive(once=once)


def main() -> None:
    """The program."""
    asyncio.run(receive(place(Path.cwd()), once=sys.argv[1:] == ["once"]))
