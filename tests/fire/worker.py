"""What a worker of a shift does at its hour: hands in what sources made, gives and revokes consents, turns the machine.

One citizen's declarations come by the portal's topic, the others' over the intake; the family fund is hosted, and the
health fund gets what one citizen lets it have by its topic, drops what it has by the delivery's id, and acknowledges.
Keeps: on a log that is a table the topics are in it too, so that relay and inlet can be killed without a Kafka.
"""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from broker.flow.router import TOPIC
from broker.log.sql import SqlLog
from broker.observability.crashpoints import mark
from broker.runtime.hosting import Hosted
from broker.runtime.turns import Turn, turn
from broker.settings.choices import load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_unchecked
from broker.topics.served import dead
from connectors.contract import Applied
from connectors.kafka import ENDED
from connectors.table import TableConnector
from schemas import cloudevents
from schemas import topics as names
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.locked import LockedDelivery
from schemas.manifest import Manifest
from schemas.names import DeliveryId, Instant
from tests.fire.town import host
from tests.world import (
    CAF,
    CPAM,
    DAY,
    ELISE,
    FAMILY,
    HEALTH,
    MOVED,
    PORTAL,
    RENNES_ADDRESS,
    START,
    VOICE,
    Clock,
    World,
    populate,
)

AFTER: Final = 90_000
"""Milliseconds between a kill and the next worker: longer than a lease."""
PEOPLE: Final = 3
AGES: Final = 10
"""After so many workers six days pass: the keys of the consents are rotated, and at last a gate's epoch opens."""
RELAYED: Final = 0
"""The citizen who lets the health fund know, too."""
BY_TOPIC: Final = 2
"""The citizen whose declarations come by the portal's topic."""
FOLDERS: Final = ("made", "receipts", "revoked", "noise", "written", "health", "read")
TOPICS: Final = (names.declarations(PORTAL), dead(PORTAL), names.receipts(PORTAL), names.deliveries(CPAM))
NOISE: Final = b"no event"


def hour(worker: int) -> Instant:
    """When a worker works, by the right clock."""
    return Instant(START + worker * AFTER + worker // AGES * 6 * DAY)


@asynccontextmanager
async def opened(home: Path, worker: int, jump: int = 0) -> AsyncIterator[World]:
    """The home at the hour of one worker, whose clock is `jump` milliseconds fast.

    Nobody looks again whether the database is ours: that takes as long as a worker's work.
    """
    clock = Clock()
    clock.now = Instant(hour(worker) + jump)
    async with open_unchecked(load(home=home), clock) as machine:
        yield World(machine, clock, home)


async def ready(home: Path, **told: Any) -> None:
    """A home with its cast, before its first shift; `told` are settings, kept in its own file."""
    home.mkdir(mode=0o700)
    chosen = {
        "log_partitions": 2,
        "hpke_suite": "x25519",
        "consent_epoch_days": 5,
        "clock_trust_days": 400,  # six days pass at once, and clocks are a day fast
        "subject_token_minutes": 10_080,
        "address": "1 rue d'Essai",
        "contact": "a@b.example",
        **told,
    }
    (home / "unefois.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()))
    for name in FOLDERS:
        (home / name).mkdir()
    await create_home(load(home=home), Clock())
    async with opened(home, 0) as here:
        await populate(here)
        async with here.home.store.begin() as tx:
            users, at = here.home.topic_users, here.clock()
            await users.allow(tx, PORTAL, "portal", receives=False, declares=True, at=at)
            await users.allow(tx, CPAM, "cpam", receives=True, declares=False, at=at)
    host(home)


def plant() -> None:
    """The connector's own points: before it writes, and when its own system has it. Topics where there is no Kafka."""
    ordinary = TableConnector.write

    async def write(self: TableConnector, *arguments: Any) -> Any:
        mark("connector.write")
        # Crash here: the agency's system has nothing; the delivery comes again.
        reference = await ordinary(self, *arguments)
        mark("connector.written")
        # Crash here: it has the row and its delivery id; when the delivery comes again it is found.
        return reference

    TableConnector.write = write  # type: ignore[method-assign]
    SqlLog.for_others = True


def person(number: int) -> dict[str, Any]:
    """One who lives here."""
    return ELISE | {"birthdate": f"{1950 + number}-04-12"}


async def work(here: World, agencies: tuple[Hosted, ...], worker: int) -> None:
    """All that there is to do, and a little that is new."""
    await citizens(here, worker)
    await sources(here, worker)
    await read_topic(here)
    await turn(here.home, agencies)
    await read_topic(here)
    await receipts(here)


async def end_of_day(here: World, agencies: tuple[Hosted, ...]) -> None:
    """Until nothing moves any more."""
    while (await move(here, agencies)).moved:
        here.clock.pass_(AFTER)
    await receipts(here)


async def move(here: World, agencies: tuple[Hosted, ...]) -> Turn:
    """One turn, and what the agency that is served by topics does with it."""
    done = await turn(here.home, agencies)
    done.applied += await read_topic(here)
    return done


async def citizens(here: World, worker: int) -> None:
    """Each gives a consent who has none; now and then one of them revokes."""
    for number in range(PEOPLE):
        found = await here.home.consents.of(here.subject(person(number)))
        standing = {one.recipient: one for one in found if not one.status.over}
        if CAF not in standing:
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person(number))
        if CPAM not in standing and number == RELAYED:
            await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address"], person=person(number))
        if worker % 4 == 0 and number == worker // 4 % PEOPLE:
            for one in standing.values():
                await here.home.consents.revoke(one.id, VOICE)
                keep(here.folder / "revoked" / one.id.hex(), b"")


async def sources(here: World, worker: int) -> None:
    """Each envelope that was made is handed in until it has its receipt, in the order in which they were made."""
    made = here.folder / "made"
    if not (made / f"{worker:06}").exists():
        record = here.moved(
            person(worker % PEOPLE), new_address=RENNES_ADDRESS | {"housenumber": str(worker // PEOPLE + 1)}
        )
        now, here.clock.now = here.clock.now, hour(worker)  # a source has a clock of its own, and it is right
        envelope = await here.home.desk.envelope(PORTAL, MOVED, record)
        here.clock.now = now
        keep(made / f"{worker:06}", envelope)
    if worker % 2 == 0 and not (noise := here.folder / "noise" / str(worker)).exists():
        topic, told = (TOPIC, f"written behind the intake's back, {worker}".encode())
        if worker % 8 == 0:
            topic, told = names.declarations(PORTAL), NOISE
        await here.home.log.append(topic, b"anybody", told, {})
        keep(noise, b"")
    for one in sorted(made.iterdir()):
        receipt, written = (here.folder / place / one.name for place in ("receipts", "written"))
        if receipt.exists() or written.exists():
            continue
        if int(one.name) % PEOPLE == BY_TOPIC:
            await by_topic(here, one.read_bytes())
            keep(written, b"")
        else:
            accepted = await here.home.intake.accept(one.read_bytes())
            keep(receipt, bytes(accepted.declaration_id))


async def by_topic(here: World, envelope: bytes) -> None:
    """Hand in as a source does that writes to its topic."""
    manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
    about = {"declaration_id": manifest.declaration_id, "issued_at": manifest.issued_at, "envelope": envelope}
    headers, value = cloudevents.to_kafka(cloudevents.declaration(PORTAL, MOVED, manifest.schema, **about))
    await here.home.log.append(names.declarations(PORTAL), b"one citizen", value, dict(headers))


async def receipts(here: World) -> None:
    """What came back for those that were written to the topic."""
    waiting = {
        path for path in (here.folder / "written").iterdir() if not (here.folder / "receipts" / path.name).exists()
    }
    if not waiting:
        return
    answered = {record.key for record in await everything(here, names.receipts(PORTAL))}
    for path in waiting:
        envelope = (here.folder / "made" / path.name).read_bytes()
        declared = bytes(Manifest.decode(SignedDeclaration.decode(envelope).payload).declaration_id)
        if declared in answered:
            keep(here.folder / "receipts" / path.name, declared)


async def everything(here: World, topic: str) -> list[Any]:
    """All records that are there."""
    log, found = here.home.log, []
    for partition in range(await log.partitions(topic)):
        offset = await log.first(topic, partition)
        while some := await log.read(topic, partition, offset, 200):
            found += some
            offset = some[-1].position.offset + 1
    return found


async def read_topic(here: World) -> int:
    """The health fund reads its topic from where it was, and writes each delivery once. Returns how many were new."""
    log, topic, new = here.home.log, names.deliveries(CPAM), 0
    for partition in range(await log.partitions(topic)):
        place = here.folder / "read" / str(partition)
        offset = int(place.read_text()) if place.exists() else 0
        for record in await log.read(topic, partition, offset, 200):
            locked = LockedDelivery.decode(cloudevents.from_kafka(record.headers.items(), record.value).data)
            new += await applied(here, locked.delivery_id)
            keep(place, str(record.position.offset + 1).encode())
    return new


async def applied(here: World, delivery: DeliveryId) -> bool:
    """Its own system has it once, and the broker knows. False where it had come to its end before, or is withheld."""
    health = here.folder / "health"
    try:
        pulled = await here.inbox(CPAM).release([delivery])
    except Refused as fault:
        if fault.code not in ENDED:
            raise
        return False
    for one in await here.open(CPAM, pulled):
        if not any(path.name.endswith(delivery.hex()) for path in health.iterdir()):
            told = [str(one.record["subject"]["birthdate"]), one.record["new_address"]["housenumber"]]
            keep(health / f"{len(list(health.iterdir())):06}-{delivery.hex()}", json.dumps(told).encode())
        mark("topical.written")
        # Crash here: it has the row; the record is read again, its keys are asked for again, and the row is found.
        await here.inbox(CPAM).acknowledge(delivery, Applied(None))
        return True
    return False


def rows(home: Path) -> list[tuple[str, str]]:
    """The family fund's own table, as it was written."""
    if not (home / "fund.db").exists():
        return []
    with closing(sqlite3.connect(home / "fund.db")) as connection:
        return connection.execute("SELECT citizen, number FROM moves ORDER BY rowid").fetchall()


def health_rows(home: Path) -> list[tuple[str, str]]:
    """The health fund's, likewise."""
    found = [json.loads(path.read_bytes()) for path in sorted((home / "health").iterdir())]
    return [(citizen, number) for citizen, number in found]


def keep(path: Path, content: bytes) -> None:
    """Whole or not at all, as a careful source keeps it."""
    draft = path.parent.with_name(f"draft-{path.name}")
    draft.write_bytes(content)
    draft.rename(path)
