"""The spine in one process: source, broker and recipients take turns on one core, with whatever database and log."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.store.tables import ledger_entries
from connectors.contract import Applied
from schemas import merkle, tiles
from schemas.entry import opened
from schemas.facts import FactKind, Facts
from schemas.hpke import Suite
from schemas.names import LeafHash, PartyId
from tests.bench.figures import Figure, cost, percentile, rate
from tests.bench.floor import Floor
from tests.sealed import sealed
from tests.signed import ours
from tests.world import ELISE, FAMILY, MOVED, PORTAL, VOICE, World

RECIPIENTS = 5
FIELDS = ("subject", "new_address", "effective_date")
BATCH = 100


def person(number: int) -> dict[str, Any]:
    """A citizen of their own for every number."""
    letters = "".join(chr(65 + number // 26**place % 26) for place in range(5))
    return ELISE | {"given_names": [letters]}


async def enrol(here: World) -> list[PartyId]:
    """The recipients of the bench, with post-quantum keys; nobody else subscribes."""
    async with here.home.store.begin() as tx:
        for other in here.subscriptions.values():
            await here.home.subscribing.end(tx, other.id, here.clock())
    parties = [PartyId(f"urn:unefois:bench{number}") for number in range(RECIPIENTS)]
    for party in parties:
        row = Party(
            id=party,
            name="Bench",
            sector="bench",
            kind=PartyKind.ADMINISTRATION,
            address="-",
            contact="-",
            retention="-",
            created_at=here.clock(),
        )
        await here.home.parties.enrol(Enrolment(row, 1, Suite.MLKEM768_X25519, ()))
        await here.subscribe(party, MOVED, FAMILY, FIELDS)
    return parties


async def allow(here: World, parties: list[PartyId], first: int, count: int) -> None:
    """Every citizen allows every recipient."""
    for number in range(first, first + count):
        for party in parties:
            await here.give(party, MOVED, FAMILY, FIELDS, person=person(number))


async def drain(here: World, party: PartyId) -> int:
    """Pull, open, verify and acknowledge until the mailbox is empty."""
    inbox, done = here.inbox(party), 0
    while (pulled := await inbox.pull(BATCH)).locked:
        opened = await here.open(party, pulled)
        await inbox.acknowledge_all({delivery.delivery_id: Applied() for delivery in opened})
        done += len(opened)
    return done


async def end_to_end(here: World, parties: list[PartyId], people: Sequence[int]) -> float:
    """Seconds from these people's records to acknowledged deliveries, the source's own work included."""
    start = time.perf_counter()
    for begin in range(0, len(people), BATCH):
        moved = [here.moved(person(number)) for number in people[begin : begin + BATCH]]
        envelopes = [await here.home.desk.envelope(PORTAL, MOVED, record) for record in moved]
        answers = await here.home.intake.accept_all(envelopes)
        if any(isinstance(answer, Exception) for answer in answers):
            raise RuntimeError("the bench's own declarations were refused")
        await here.home.router.route()
    delivered = sum([await drain(here, party) for party in parties])
    seconds = time.perf_counter() - start
    if delivered != len(people) * len(parties):
        raise RuntimeError(f"{delivered} deliveries instead of {len(people) * len(parties)}")
    await here.home.ledger.sequence_unfinished()
    return seconds


async def latency(here: World, parties: list[PartyId], first: int, rounds: int) -> list[Figure]:
    """One declaration at a time on an idle machine: accepted to handed over, and the release alone."""
    handed, released = [], []
    for number in range(first, first + rounds):
        envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved(person(number)))
        start = time.perf_counter()
        await here.home.intake.accept(envelope)
        await here.home.router.route()
        (leased,) = await here.inbox(parties[0]).lease(1)
        before = time.perf_counter()
        pulled = await here.inbox(parties[0]).release([leased.id])
        end = time.perf_counter()
        handed.append(end - start)
        released.append(end - before)
        await here.inbox(parties[0]).acknowledge_all({pulled.locked[0].delivery_id: Applied()})
    for party in parties[1:]:
        await drain(here, party)
    return [
        cost("accept to handed over, idle, p50", "ms", 1000 * statistics.median(handed), 25),
        cost("release, one delivery, p99", "ms", 1000 * percentile(released, 0.99), 10),
    ]


async def revocations(here: World, parties: list[PartyId], first: int, rounds: int) -> Figure:
    """Revocations acknowledged while declarations come in, are routed and drained."""
    grants = [await here.give(parties[0], MOVED, FAMILY, FIELDS, person=person(first + n)) for n in range(rounds)]
    stop = asyncio.Event()

    async def load() -> None:
        number = first
        while not stop.is_set():
            envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved(person(number)))
            await here.home.intake.accept(envelope)
            await here.home.router.route()
            number += 1
            await asyncio.sleep(0)

    busy = asyncio.create_task(load())
    took = []
    for grant in grants:
        start = time.perf_counter()
        await here.home.consents.revoke(grant.grant.id, VOICE)
        took.append(time.perf_counter() - start)
        await asyncio.sleep(0)
    stop.set()
    await busy
    for party in parties:
        await drain(here, party)
    return cost("revocation acknowledged, under load, p99", "ms", 1000 * percentile(took, 0.99), 20)


async def ledger(here: World, entries: int) -> list[Figure]:
    """Sequencing in batches of 256, and a proof out of a ledger of so many entries."""
    home = here.home
    await home.ledger.sequence_unfinished()
    encoded = [sealed(number) for number in range(256)]
    start = time.perf_counter()
    tiles.grow(0, encoded, {}.__getitem__)
    floor = (time.perf_counter() - start) / 256
    async with home.store.begin() as tx:
        facts = Facts(here.clock(), FactKind.KEY_ADDED, home.party, recipient=home.party, detail=bytes(32))
        raw = opened(here.clock(), facts).encode()  # which needs no opening to be proven
        row = {"leaf": merkle.leaf_hash(raw), "entry": raw, "window": here.clock(), "chain": None}
        chunk = []
        for number in range(entries):
            chunk.append(ours(row, home.macs, number.to_bytes(8, "big")))
            if len(chunk) == 10_000:
                await tx.execute(insert(ledger_entries), chunk)
                chunk = []
        if chunk:
            await tx.execute(insert(ledger_entries), chunk)
    start = time.perf_counter()
    ordered = await home.ledger.sequence_unfinished()
    append = (time.perf_counter() - start) / ordered
    async with home.store.read() as tx:
        where = ledger_entries.c.position == 5
        leaf = LeafHash((await tx.execute(select(ledger_entries.c.leaf).where(where))).scalar_one())
    took = []
    for _ in range(50):
        start = time.perf_counter()
        await home.ledger.prove(leaf)
        took.append(time.perf_counter() - start)
    return [
        cost("ledger, ordering one entry", "us", 1e6 * append, 10, 1e6 * floor),
        cost(f"ledger, one proof out of {ordered:,} entries, p50", "ms", 1000 * statistics.median(took), 2),
    ]


def memory() -> Figure:
    """Resident memory of a process that composed a broker and waits."""
    script = (
        "import asyncio, tempfile\n"
        "from pathlib import Path\n"
        "from broker.settings.choices import load\n"
        "from broker.setup.bootstrap import create_home\n"
        "from broker.setup.opening import open_home\n"
        "async def main():\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        settings = load(home=Path(folder) / 'home')\n"
        "        await create_home(settings)\n"
        "        async with open_home(settings) as home:\n"
        "            await home.router.route()\n"
        "            print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))\n"
        "asyncio.run(main())\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return cost("idle process, resident", "MB", int(answer.stdout) / 1024, 120)


def throughput(seconds: float, count: int, floor: Floor) -> list[Figure]:
    """The main figure, and its floor part by part."""
    return [
        rate(f"1 source to {RECIPIENTS} recipients, declarations", count / seconds, 1 / floor.total, 0.45),
        cost("  floor: source", "ms", 1000 * floor.source, None),
        cost("  floor: broker", "ms", 1000 * floor.broker, None),
        cost("  floor: recipients", "ms", 1000 * floor.recipients, None),
    ]
