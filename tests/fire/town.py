"""A town under fire: citizens who declare one thing after the other, a broker in several processes, one hosted agency.

A source sends the same bytes again until it has its receipt. At the end, whatever happened in between: fsck and the
ledger's invariants, nothing lost that was acknowledged, nothing twice, each citizen's declarations in their order, in
the mailbox and in the agency's own system.
"""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AclOperation
from sqlalchemy import select

from broker.flow.deliveries import ACTIVE
from broker.flow.router import TOPIC
from broker.runtime.hosting import FOLDER
from broker.runtime.stats import take
from broker.settings.choices import Settings, load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store.tables import dead_letters, declarations, deliveries
from schemas.facts import FactKind
from schemas.names import DeclarationId, PartyId, SubjectRef
from tests.faults.races import breaches
from tests.fire.alive import Late, Progress, Serving, persistent, until
from tests.services.processes import bound_to_parent
from tests.services.three import Three
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, RENNES_ADDRESS, Clock, Entropy, World, populate

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
PEOPLE = 8

MAPPING = """
name: moves
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {citizen: record.subject.birthdate, number: record.new_address.housenumber}
"""

Accept = Callable[[bytes], Awaitable[object]]
"""Hands in one envelope; raises Unavailable when it has to be sent again."""


@dataclass
class Town:
    """A home whose processes can be started and killed, and what its sources have a receipt for."""

    settings: Settings
    environment: Mapping[str, str]
    accepted: dict[SubjectRef, list[DeclarationId]] = field(default_factory=dict)
    started: list[Serving] = field(default_factory=list)
    recipients: set[PartyId] = field(default_factory=lambda: {CAF})
    """Who gets every declaration."""
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    """Who has to be at work here."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[World]:
        """The home in this process."""
        async with open_home(self.settings) as home:
            yield World(home, Clock(), self.settings.home)

    @property
    def people(self) -> list[dict[str, Any]]:
        """Who lives here."""
        return [ELISE | {"birthdate": f"{1950 + number}-04-12"} for number in range(PEOPLE)]

    def serve(self, role: str, crash: str | None = None, program: Path = ROOT, **more: str) -> Serving:
        """A process of its own for one role; `crash`: where it kills itself; `program`: the folder whose code it runs;
        `more`: settings of its own.
        """
        told = self.settings.home.parent / f"serve-{len(self.started)}-{role}.out"
        command = [sys.executable, "-m", "broker", "serve", "--json", "--role", role, "--listen", "127.0.0.1:0"]
        armed = {} if crash is None else {"UNEFOIS_CRASH_AT": crash}
        named = {f"UNEFOIS_{name.upper()}": value for name, value in more.items()}
        with told.open("wb") as out, told.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                bound_to_parent(command),
                cwd=program,
                env={**self.environment, **armed, **named},
                stdout=out,
                stderr=err,
            )
        self.started.append(Serving(process, told, mortal=crash is not None))
        return self.started[-1]

    def look(self) -> None:
        """Raises Dead when one of its processes died by itself, and what a task raised that ended."""
        for one in self.started:
            one.look()
        for task in self.tasks:
            if task.done():
                task.result()

    @asynccontextmanager
    async def declaring(self, here: World, accept: Accept, each: int) -> AsyncIterator[Progress]:
        """Every citizen declares so often, one after the other, while the block runs; ends when all have receipts."""
        progress = Progress(each * PEOPLE, self.look)
        async with asyncio.TaskGroup() as group:
            for person in self.people:
                group.create_task(self._declare(here, person, accept, each, progress))
            yield progress
            await progress.reached(progress.wanted)

    async def _declare(
        self, here: World, person: dict[str, Any], accept: Accept, each: int, progress: Progress
    ) -> None:
        mine = self.accepted.setdefault(here.subject(person), [])
        for _ in range(each):
            record = here.moved(person, new_address=RENNES_ADDRESS | {"housenumber": str(len(mine) + 1)})
            envelope = await persistent(lambda record=record: here.home.desk.envelope(PORTAL, MOVED, record), self.look)
            answer = await persistent(lambda envelope=envelope: accept(envelope), self.look)
            mine.append(answer.declaration_id)
            progress.one_more()

    async def settled(self, here: World) -> None:
        """Return once nothing waits any more, neither in the log nor in a mailbox. Raises Late, or Dead."""

        async def met() -> bool:
            return not sum((await take(here.home)).lag.values()) and not await self.active(here)

        try:
            await until(met, "everything is delivered", self.look)
        except Late:
            raise Late(f"{(await take(here.home)).lag} in the log, {await self.active(here)} on their way") from None

    async def active(self, here: World) -> list[Any]:
        """The deliveries that are on their way: whose, where, since when."""
        columns = (deliveries.c.recipient, deliveries.c.state, deliveries.c.attempts, deliveries.c.lease_until)
        states = [state.value for state in ACTIVE]
        async with here.home.store.read() as tx:
            found = await tx.execute(select(*columns).where(deliveries.c.state.in_(states)))
            return [tuple(row) for row in found]

    async def check(self, here: World) -> None:
        """What must be so, whatever happened."""
        await here.step()
        assert [] == await breaches(here)
        for party in self.recipients:
            assert self.accepted == await self.routed(here, party), party
        total = sum(map(len, self.accepted.values()))
        counted = Counter(entry.kind for entry in await here.entries())
        assert total == counted[FactKind.RECEIVED]
        for kind in (FactKind.PLANNED, FactKind.APPLIED):
            assert total * len(self.recipients) == counted[kind], kind
        async with here.home.store.read() as tx:
            assert [] == (await tx.execute(select(dead_letters.c.code))).all()
        whole = {
            person["birthdate"]: [str(number + 1) for number in range(len(self.accepted[here.subject(person)]))]
            for person in self.people
            if self.accepted.get(here.subject(person))
        }
        assert whole == self.written()

    async def routed(self, here: World, party: PartyId) -> dict[SubjectRef, list[DeclarationId]]:
        """What was routed for an agency, by citizen, in the order of the mailbox."""
        both = select(deliveries.c.subject, declarations.c.declaration_id).join_from(
            deliveries, declarations, deliveries.c.declaration == declarations.c.seq
        )
        found: dict[SubjectRef, list[DeclarationId]] = {}
        async with here.home.store.read() as tx:
            for row in await tx.execute(both.where(deliveries.c.recipient == party).order_by(deliveries.c.seq)):
                found.setdefault(SubjectRef(row.subject), []).append(DeclarationId(row.declaration_id))
        return found

    def written(self) -> dict[str, list[str]]:
        """The agency's own table: each citizen's moves as they came."""
        found: dict[str, list[str]] = {}
        with closing(sqlite3.connect(self.settings.home / "fund.db")) as connection:
            for citizen, number in connection.execute("SELECT citizen, number FROM moves ORDER BY rowid"):
                found.setdefault(citizen, []).append(number)
        return found


async def found(folder: Path, **told: Any) -> Town:
    """A home with these settings, its cast, a consent of every citizen, and the family fund hosted there."""
    chosen = {
        "home": folder / "home",
        "log_partitions": PARTITIONS,
        "hpke_suite": "x25519",
        "lease_seconds": 5,
        "retry_first_seconds": 1,
        "retry_most_seconds": 1,
        "address": "1 rue d'Essai, Rennes",
        "contact": "contact@unefois.example",
        **told,
    }
    settings = load(**chosen)
    await create_home(settings, entropy=Entropy())
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNEFOIS_")}
    town = Town(settings, kept | {f"UNEFOIS_{name.upper()}": str(value) for name, value in chosen.items()})
    host(settings.home)
    async with town.opened() as here:
        await populate(here)
        for person in town.people:
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
    return town


@asynccontextmanager
async def on_three(nodes: Three, prefix: str, folder: Path, database_url: str) -> AsyncIterator[Town]:
    """A town on three nodes, as an account that may read and write its own topics; the nodes are whole afterwards."""
    topic, user = f"{prefix}{TOPIC}", prefix.rstrip(".")
    nodes.whole()
    await nodes.cluster().make_topic(topic, PARTITIONS, 3)
    nodes.enlist(user)
    needed = (AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    nodes.allow(user, prefix, *needed)
    nodes.whole(topic)
    made = await found(folder, database_url=database_url, kafka_topic_prefix=prefix, **nodes.settings(user))
    with ended(made):
        yield made
    nodes.whole(topic)


def host(home: Path) -> None:
    """The family fund writes into a table of its own."""
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "moves.mapping").write_text(MAPPING)
    told = {"url": f"sqlite+aiosqlite:///{home / 'fund.db'}", "table": "moves", "create": True}
    route = {"mapping": "./moves.mapping", "connector": "table", "settings": told}
    (folder / "fund.yaml").write_text(json.dumps({"party": CAF, "routes": [route]}))


@contextmanager
def ended(town: Town) -> Iterator[None]:
    """No process of the town outlives the block."""
    try:
        yield
    finally:
        for one in town.started:
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGCONT)
                one.kill()
