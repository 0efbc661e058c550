"""A shift at a broker that is killed again and again: one process that forks the worker anew after every kill -9.

    python -m tests.fire.shift HOME SEED KILLS [jumps]

HOME is one that `ready` made. A worker does all that there is to do: hands in what the sources have made, gives and
revokes consents, then turns the machine (router, gate, connector, ledger, upkeep). Chance says at which passage of a
crash point it dies; the next worker begins where it fell, a minute and a half later. Prints how often it was killed at
which point, as JSON; ends with an error when anything is not as it must be.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from broker import crashpoints
from broker.crashpoints import mark
from broker.founding import create_home
from broker.hosting import FOLDER, Hosted
from broker.hosting import load as hosted
from broker.router import TOPIC
from broker.settings import load
from broker.store.tables import dead_letters, declarations, deliveries
from broker.turns import turn
from broker.wiring import open_home
from connectors.table import TableConnector
from consent.grant import Status
from schemas.entry import EntryKind
from tests.faults.races import breaches
from tests.fire import mutants
from tests.fire.town import host
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, PORTAL, RENNES_ADDRESS, VOICE, Clock, World, populate

AFTER: Final = 90_000
"""Milliseconds between a kill and the next worker: longer than a lease."""
PEOPLE: Final = 3
AGES: Final = 10
"""After so many workers six days pass: the keys of the consents are rotated, and at last a gate's epoch opens."""

PASSAGES: Final = 24
"""A worker passes about so many crash points; it dies at one of them, wherever that is."""
CHECKED: Final = 4
"""Every so many workers look at the whole state before they begin: that takes as long as their work."""

UNFINISHED: Final = {"keys.orphan", "keys.outlived"}
"""A secret that was written and the book not yet, or destroyed by the book and still there: upkeep finishes that."""


LATE: Final = (
    *("mailbox.leased", "gate.recorded", "gate.committed", "connector.write", "connector.written", "mailbox.finished"),
    *("router.batch", "ledger.sequenced", "consents.changed"),
)
"""Where a worker comes late, or seldom: most that die by the count alone die before."""

KAFKA: Final = ("kafka.append", "kafka.appended")


class Trap:
    """Closes at the n-th passage of any crash point, or of one, and tells which it was."""

    def __init__(self, passages: int, only: str | None, tell: int) -> None:
        self._passages = passages
        self._only = only
        self._tell = tell
        self.left = 1

    @property
    def name(self) -> "Trap":
        """Itself, which is equal to the point at which to die."""
        return self

    def __eq__(self, passing: object) -> bool:
        if self._only not in {None, passing}:
            return False
        self._passages -= 1
        if self._passages == 0:
            os.write(self._tell, str(passing).encode())
        return self._passages == 0

    __hash__ = None  # type: ignore[assignment]


@asynccontextmanager
async def opened(home: Path, worker: int, jump: int = 0) -> AsyncIterator[World]:
    """The home at the hour of one worker, whose clock is wrong by `jump` milliseconds."""
    clock = Clock()
    clock.pass_(worker * AFTER + worker // AGES * 6 * DAY + jump)
    async with open_home(load(home=home), clock) as machine:
        yield World(machine, clock, home)


async def ready(home: Path, **told: Any) -> None:
    """A home with its cast, before its first shift; `told` are settings, kept in its own file."""
    home.mkdir(mode=0o700)
    chosen = {
        "log_partitions": 2,
        "hpke_suite": "x25519",
        "consent_epoch_days": 5,
        "subject_token_minutes": 10_080,
        "address": "1 rue d'Essai",
        "contact": "a@b.example",
        **told,
    }
    (home / "unefois.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()))
    for name in ("made", "receipts", "revoked", "noise"):
        (home / name).mkdir()
    await create_home(load(home=home), Clock())
    async with opened(home, 0) as here:
        await populate(here)
    host(home)


# ── the worker ──────────────────────────────────────────────────────────────────────────────────────────────────────


def plant() -> None:
    """The connector's own points: before it writes, and when its own system has it."""
    ordinary = TableConnector.write

    async def write(self: TableConnector, *arguments: Any) -> Any:
        mark("connector.write")
        # Crash here: the agency's system has nothing; the delivery comes again.
        reference = await ordinary(self, *arguments)
        mark("connector.written")
        # Crash here: it has the row and its delivery id; when the delivery comes again it is found.
        return reference

    TableConnector.write = write  # type: ignore[method-assign]


def person(number: int) -> dict[str, Any]:
    """One who lives here."""
    return ELISE | {"birthdate": f"{1950 + number}-04-12"}


async def work(here: World, agencies: tuple[Hosted, ...], worker: int) -> None:
    """All that there is to do, and a little that is new."""
    await citizens(here, worker)
    await sources(here, worker)
    await turn(here.home, agencies)


async def citizens(here: World, worker: int) -> None:
    """Each gives a consent who has none; now and then one of them revokes."""
    for number in range(PEOPLE):
        standing = [one for one in await here.home.consents.of(here.subject(person(number))) if not one.status.over]
        if not standing:
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person(number))
        elif worker % 4 == 0 and number == worker // 4 % PEOPLE:
            await here.home.consents.revoke(standing[0].id, VOICE)
            keep(here.folder / "revoked" / standing[0].id.hex(), b"")


async def sources(here: World, worker: int) -> None:
    """Each envelope that was made is handed in until it has its receipt, in the order in which they were made."""
    made = here.folder / "made"
    if not (made / f"{worker:06}").exists():
        record = here.moved(
            person(worker % PEOPLE), new_address=RENNES_ADDRESS | {"housenumber": str(worker // PEOPLE + 1)}
        )
        keep(made / f"{worker:06}", await here.home.desk.envelope(PORTAL, MOVED, record))
    if worker % 2 == 0 and not (noise := here.folder / "noise" / str(worker)).exists():
        await here.home.log.append(TOPIC, b"anybody", f"written behind the intake's back, {worker}".encode(), {})
        keep(noise, b"")
    for envelope in sorted(made.iterdir()):
        receipt = here.folder / "receipts" / envelope.name
        if not receipt.exists():
            accepted = await here.home.intake.accept(envelope.read_bytes())
            keep(receipt, bytes(accepted.declaration_id))


def keep(path: Path, content: bytes) -> None:
    """Whole or not at all, as a careful source keeps it."""
    draft = path.parent.with_name(f"draft-{path.name}")
    draft.write_bytes(content)
    draft.rename(path)


async def live(home: Path, worker: int, trap: Trap, jump: int) -> None:
    """A worker's whole life, or what there is of it. It finds a state without a contradiction, whatever was killed."""
    async with opened(home, worker, jump) as here:
        if worker % CHECKED == 0:
            found = [one for one in await here.home.fsck.check() if one.check not in UNFINISHED]
            if found:
                raise AssertionError(f"fsck: {found}")
        crashpoints._trap = trap  # type: ignore[assignment]
        await work(here, hosted(home / FOLDER), worker)


# ── the shift ───────────────────────────────────────────────────────────────────────────────────────────────────────


def forked(home: Path, worker: int, passages: int, only: str | None, jump: int) -> str | None:
    """Where the worker was killed; None when it came to its end before that. Raises when it failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(live(home, worker, Trap(passages, only, writing), jump))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        point = told.read().decode()
    _, status = os.waitpid(pid, 0)
    expected = -signal.SIGKILL if point else 0
    if os.waitstatus_to_exitcode(status) != expected:
        raise AssertionError(f"worker {worker} ended with {status} at {point or 'its end'}")
    return point or None


def shift(home: Path, seed: int, kills: int, jumps: int = 0) -> Counter[str]:
    """Workers until so many have been killed; then the day is brought to its end and looked at.

    `jumps`: by how many milliseconds a worker's clock may be wrong, either way.
    """
    chance, killed = random.Random(seed), Counter[str]()
    late = LATE if load(home=home).log == "sql" else (*LATE, *KAFKA, *KAFKA)
    if mutants.VARIABLE in os.environ:
        late = (*late, *["mutant.between"] * 6)
    asyncio.run(first(home))
    worker = 1 if jumps == 0 else 2 * AGES  # nobody's clock is before the home was made
    while killed.total() < kills:
        worker += 1
        only = chance.choice(late) if chance.random() < 0.6 else None
        passages = chance.randint(1, PASSAGES) if only is None else 1
        point = forked(home, worker, passages, only, chance.randint(-jumps, jumps))
        killed.update([point] if point else [])
    asyncio.run(finish(home, worker + 1, jumps))
    return killed


async def first(home: Path) -> None:
    """One worker that lives: what it has loaded and read, those that are forked have too."""
    async with opened(home, 1) as here:
        await work(here, hosted(home / FOLDER), 1)
        await here.step()


async def finish(home: Path, worker: int, late: int) -> None:
    """Bring everything to its end, and check that nothing is lost, nothing was done twice, and the order is kept."""
    agencies = hosted(home / FOLDER)
    async with opened(home, worker, 2 * late) as here:
        await work(here, agencies, worker)
        while (await turn(here.home, agencies)).moved:
            here.clock.pass_(AFTER)
        await here.step()
        wrong = await breaches(here)
        assert [] == wrong, wrong
        await check_declarations(here)
        await check_revocations(here)


async def check_declarations(here: World) -> None:
    """Every receipt's declaration was routed once; each delivery has its end; the table has what was applied, once."""
    receipts = [path.read_bytes() for path in (here.folder / "receipts").iterdir()]
    async with here.home.store.read() as tx:
        routed = [bytes(row[0]) for row in await tx.execute(select(declarations.c.declaration_id))]
        states = Counter(row[0] for row in await tx.execute(select(deliveries.c.state)))
        letters = (await tx.execute(select(dead_letters))).all()
    assert sorted(receipts) == sorted(routed)
    assert {"router"} >= {letter.stage for letter in letters}, letters
    assert len(letters) == len({(letter.partition, letter.offset) for letter in letters})
    assert len(letters) == len(await here.entries(EntryKind.REFUSED))
    assert set(states) <= {"applied", "withheld"}, states
    released, applied = await told_of(here, EntryKind.RELEASED), await told_of(here, EntryKind.APPLIED)
    written = rows(here.folder)
    assert len(applied) == len(set(applied)) == states["applied"]
    assert len(written) == len(set(written)), written
    # Written, the connector killed, and the consent revoked before the delivery came again: released, and not applied.
    assert set(applied) <= set(written) <= set(released)
    for number in range(PEOPLE):
        mine = [int(house) for born, house in written if born == person(number)["birthdate"]]
        assert sorted(mine) == mine, mine


async def told_of(here: World, kind: EntryKind) -> list[tuple[str, str]]:
    """What the ledger says of this kind, as the agency would write it: whose, and which of theirs."""
    both = select(deliveries.c.id, declarations.c.declaration_id).join_from(
        deliveries, declarations, deliveries.c.declaration == declarations.c.seq
    )
    async with here.home.store.read() as tx:
        declared = {bytes(row.id): bytes(row.declaration_id) for row in await tx.execute(both)}
    made = {path.read_bytes(): int(path.name) for path in (here.folder / "receipts").iterdir()}
    numbers = [made[declared[bytes(one.delivery)]] for one in await here.entries(kind) if one.delivery is not None]
    return [(person(one % PEOPLE)["birthdate"], str(one // PEOPLE + 1)) for one in numbers]


async def check_revocations(here: World) -> None:
    """What a citizen was told to be revoked is, in the ledger too."""
    ended = {entry.grant for entry in await here.entries(EntryKind.REVOKED)}
    for path in (here.folder / "revoked").iterdir():
        assert bytes.fromhex(path.name) in {bytes(grant) for grant in ended if grant is not None}
    async with here.home.store.read():
        for number in range(PEOPLE):
            for grant in await here.home.consents.of(here.subject(person(number))):
                assert (grant.id in ended) == (grant.status is Status.REVOKED)


def rows(home: Path) -> list[tuple[str, str]]:
    """The agency's own table, as it was written."""
    if not (home / "fund.db").exists():
        return []
    with closing(sqlite3.connect(home / "fund.db")) as connection:
        return connection.execute("SELECT citizen, number FROM moves ORDER BY rowid").fetchall()


def main() -> None:
    plant()
    mutants.plant(os.environ.get(mutants.VARIABLE))
    jumps = DAY // 2 if "jumps" in sys.argv[4:] else 0
    print(json.dumps(shift(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), jumps)), flush=True)


if __name__ == "__main__":
    main()
