"""A served broker is killed between any two pages of a move, and begun anew on the same home: what was confirmed is
there, what was typed is there, and nothing happens twice."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import httpx2
import pytest
from sqlalchemy import func
from sqlalchemy import select as read

from broker.services.citizens import codes
from broker.settings.choices import Settings
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store.citizen_tables import citizen_drafts
from broker.store.tables import retractions, submissions
from consent.grant import Status
from tests.unit.broker.web.citizen.test_moving import ALONE
from tests.web.citizens import token_in
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, Clock, World, populate, settings

pytestmark = pytest.mark.asyncio
ROOT: Final = Path(__file__).parents[2]
ENTER: Final = "/espace/connexion/code"
MOVE: Final = "/espace/demenager"
CHOICES: Final = frozenset({"qui", "depart", "arrivee", "logement"})
SAME: Final = {"sec-fetch-site": "same-origin"}


@dataclass
class Killed:
    """A citizen's browser before a program that is killed after each page. `settings`: of the home; `forker`: what
    begins it (`tests.web.serving`).
    """

    settings: Settings
    forker: "subprocess.Popen[str]"
    client: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=60))

    @contextmanager
    def serving(self, crash: str = "") -> Iterator[str]:
        """`unefois serve` until the block ends, then SIGKILL: its address. `crash`: where it dies by itself."""
        assert self.forker.stdin is not None
        assert self.forker.stdout is not None
        print(crash, file=self.forker.stdin, flush=True)
        pid, address = 0, ""
        while not (pid and address):  # and what the machine tells of its turns
            line = self.forker.stdout.readline().strip()
            assert line not in {"", "ended"}
            pid = int(line) if line.isdigit() else pid
            address = line.split()[-1] if "http" in line else address
        ended = os.pidfd_open(pid)
        try:
            yield address
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(ended, signal.SIGKILL)
            select.select([ended], [], [])
            os.close(ended)

    def see(self, path: str) -> httpx2.Response:
        """A page, by a process that lives no longer than it."""
        with self.serving() as address:
            return self.client.get(address + path)

    def send(self, page: httpx2.Response, path: str, fields: Mapping[str, Any]) -> httpx2.Response:
        """Send the form of a page that a process of before has shown, twice, as a browser does that heard nothing.
        Returns the page that it leads to.
        """
        assert 200 == page.status_code, path
        sent = {"jeton": token_in(page.text, path), **fields}
        with self.serving() as address:
            first, again = [self.client.post(address + path, data=sent, headers=SAME) for _ in range(2)]
            assert (303, 303) == (first.status_code, again.status_code), path
            assert first.headers["location"] == again.headers["location"]
            return self.client.get(address + first.headers["location"])

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[World]:
        """The home, while no program serves it."""
        async with open_home(self.settings) as home:
            yield World(home, Clock(), self.settings.home)

    async def counts(self) -> tuple[int, int, int]:
        """Declarations that were handed in, those taken back, drafts; and nothing contradicts itself."""
        async with self.opened() as here:
            await here.step()
            async with here.home.store.read() as tx:
                asked = [
                    read(func.count()).select_from(each).where(*more)
                    for each, more in (
                        (submissions, (submissions.c.event_type == MOVED,)),
                        (retractions, ()),
                        (citizen_drafts, ()),
                    )
                ]
                one, two, three = [int((await tx.execute(each)).scalar_one()) for each in asked]
        return one, two, three


@asynccontextmanager
async def town(folder: Path, **more: Any) -> AsyncIterator[tuple[Killed, str]]:
    """A home in which Élise lets her family office know of moves, and a code for her."""
    folder.mkdir(mode=0o700)
    chosen = settings(folder, hpke_suite="x25519", citizen_source=PORTAL, clock_trust_days=7, **more)
    await create_home(chosen)
    told = {**more, "home": folder, "citizen_source": PORTAL, "hpke_suite": "x25519", "log_partitions": 1}
    told |= {"address": chosen.address, "contact": chosen.contact, "ledger_opening_days": chosen.ledger_opening_days}
    named = {f"UNEFOIS_{name.upper()}": str(value) for name, value in told.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNEFOIS_")}
    command, environment = [sys.executable, "-m", "tests.web.serving"], {**kept, **named, "LANG": "C"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, text=True) as forker:
        made = Killed(chosen, forker)
        async with made.opened() as here:
            await populate(here)
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
            code = (await codes.give(here.home, ELISE)).code
        with made.client:
            yield made, code


@pytest.mark.databases
async def test_a_move_whose_every_page_is_the_last_of_a_process_is_declared_once_and_taken_back_once(
    tmp_path: Path, home_settings: dict[str, Any]
) -> None:
    async with town(tmp_path / "home", **home_settings) as (there, code):
        page = there.see("/espace/connexion")
        with there.serving() as address:
            entering = {"jeton": token_in(page.text, ENTER), "code": code}
            assert 303 == there.client.post(address + ENTER, data=entering, headers=SAME).status_code
            page = there.client.get(address + MOVE)

        page = there.send(page, f"{MOVE}/commencer", {})
        for step, fields in ALONE.items():
            assert page.url.path == f"{MOVE}/{step}"
            following = there.send(page, f"{MOVE}/{step}", fields)
            shown, page = unescape(there.see(f"{MOVE}/{step}").text), following
            marks = {name: f'value="{value}"{" checked" * (name in CHOICES)}' for name, value in fields.items()}
            assert [] == [mark for mark in marks.values() if mark not in shown], step
        assert (f"{MOVE}/verifier", (0, 0, 1)) == (page.url.path, await there.counts())

        # killed in the middle of sending: it is declared, nobody heard so, and the form is still there
        sent = {"jeton": token_in(page.text, f"{MOVE}/verifier")}
        with there.serving("drafts.written:1") as address, pytest.raises(httpx2.TransportError):
            there.client.post(f"{address}{MOVE}/verifier", data=sent, headers=SAME)
        assert (1, 0, 1) == await there.counts()
        done = there.send(page, f"{MOVE}/verifier", {})
        (follow,) = re.findall(r'href="(/espace/demarches/[0-9a-f-]+)"', done.text)
        assert (f"{MOVE}/envoye", (1, 0, 1)) == (done.url.path, await there.counts())

        asking = there.see(f"{follow}/annuler")
        assert "Annulée" in there.send(asking, f"{follow}/annuler", {"raison": "mistake"}).text
        assert (1, 1, 1) == await there.counts()
        async with there.opened() as here:
            (grant,) = await here.home.consents.of(here.subject())
            assert Status.ACTIVE is grant.status
