"""Shifts at a broker that is killed again and again: one process that forks the worker anew after every kill -9.

    python -m tests.fire.shift SEED KILLS [jumps] HOME...

Each HOME is made, unless it is there, and has its shift of so many KILLS. What a worker does stands in `worker.py`.
Chance says at which passage of a crash point it dies; the next worker begins where it fell, a minute and a half later.
Prints how often it was killed at which point, as JSON; ends with an error when anything is not as it must be.
"""

import asyncio
import gc
import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Final

from sqlalchemy import select

from broker.observability import crashpoints
from broker.runtime.hosting import FOLDER
from broker.runtime.hosting import load as hosted
from broker.settings.choices import load
from broker.store.tables import dead_letters, declarations, deliveries
from consent.grant import Status
from schemas import topics
from schemas.facts import FactKind
from schemas.names import PartyId
from tests.faults.races import breaches
from tests.fire import mutants, worker
from tests.fire.worker import BY_TOPIC, NOISE, PEOPLE, RELAYED, opened, person
from tests.world import CAF, CPAM, DAY, PORTAL, World

PASSAGES: Final = 24
"""A worker passes about so many crash points; it dies at one of them, wherever that is."""
CHECKED: Final = 10
"""Every so many workers look at the whole state before they begin: that takes as long as their work."""
WEARY: Final = 20
"""Workers that live to their end, one after the other, before we say that nobody dies any more."""

UNFINISHED: Final = {"endings.behind", "keys.orphan", "keys.outlived"}
"""An ending that is in the journal and not in its row yet; a secret that was written and the book not yet, or destroyed
by the book and still there: upkeep finishes that.
"""

LATE: Final = (
    *(
        "mailbox.handed-out",
        "gate.recorded",
        "gate.committed",
        "connector.write",
        "connector.written",
        "mailbox.finished",
    ),
    *("router.batch", "ledger.sequenced", "planner.delivery", "intake.written-down", "intake.appended"),
)
"""Where a worker comes late, or seldom: most that die by the count alone die before."""
RELAY: Final = ("relay.leased", "relay.appended", "mailbox.held", "topical.written")
INLET: Final = ("inlet.answered", "inlet.taken")
REVOKE: Final = ("consents.changed", "endings.appended", "endings.written")
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


async def live(home: Path, number: int, trap: Trap, jump: int) -> None:
    """A worker's whole life, or what there is of it. It finds a state without a contradiction, whatever was killed."""
    async with opened(home, number, jump) as here:
        if number % CHECKED == 0:
            found = [one for one in await here.home.fsck.check() if one.check not in UNFINISHED]
            if found:
                raise AssertionError(f"fsck: {found}")
        crashpoints._trap = trap  # type: ignore[assignment]
        await worker.work(here, hosted(home / FOLDER), number)


# ── the shift ───────────────────────────────────────────────────────────────────────────────────────────────────────


def forked(home: Path, number: int, passages: int, only: str | None, jump: int) -> str | None:
    """Where the worker was killed; None when it came to its end before that. Raises when it failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(live(home, number, Trap(passages, only, writing), jump))
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
        raise AssertionError(f"worker {number} ended with {status} at {point or 'its end'}")
    return point or None


def likely(number: int, seed: int, log: str) -> str:
    """Where this worker is likely to come, beside what every worker passes at its beginning.

    Each place in its turn, which is another one for each home.
    """
    late = (*LATE, *KAFKA) if log == "kafka" else LATE
    late += (*RELAY, *RELAY) if number % PEOPLE == RELAYED else ()
    late += (*INLET, *INLET) if number % PEOPLE == BY_TOPIC else ()
    late = late if mutants.VARIABLE not in os.environ else (*late, *["mutant.between"] * len(late))
    return random.Random(seed).sample(late, len(late))[number // PEOPLE % len(late)]


def shift(home: Path, seed: int, kills: int, jumps: int = 0) -> Counter[str]:
    """Workers until so many have been killed; then the day is brought to its end and looked at.

    `jumps`: how many milliseconds a worker's clock may be fast, so that the next one's may go back as far.
    """
    chance, killed, log = random.Random(seed), Counter[str](), load(home=home).log
    asyncio.run(first(home))
    gc.freeze()  # what is here already is shared with everybody who is forked, and stays so
    number, lived = 1, 0
    while killed.total() < kills:
        number += 1
        only = likely(number, seed, log) if chance.random() < 0.7 else None
        if number % 4 == 0 and chance.random() < 0.3:
            only = REVOKE[number // 4 % len(REVOKE)]  # it is the hour of who revokes
        passages = chance.randint(1, PASSAGES) if only is None else 1
        point = forked(home, number, passages, only, chance.randint(0, jumps))
        killed.update([point] if point else [])
        lived = 0 if point else lived + 1
        assert lived < WEARY, f"nobody dies any more: {killed}"
    asyncio.run(finish(home, number + 1, jumps))
    return killed


async def first(home: Path) -> None:
    """One worker that lives: what it has loaded and read, those that are forked have too."""
    async with opened(home, 1) as here:
        await worker.work(here, hosted(home / FOLDER), 1)
        await here.step()


async def finish(home: Path, number: int, late: int) -> None:
    """Bring everything to its end, and check that nothing is lost, nothing was done twice, and the order is kept."""
    agencies = hosted(home / FOLDER)
    async with opened(home, number, late) as here:
        await worker.work(here, agencies, number)
        await worker.end_of_day(here, agencies)
        await here.step()
        wrong = await breaches(here)
        assert [] == wrong, wrong
        await check_declarations(here)
        for party, written in ((CAF, worker.rows(home)), (CPAM, worker.health_rows(home))):
            await check_written(here, party, written)
        await check_revocations(here)


async def check_declarations(here: World) -> None:
    """Every receipt's declaration was routed once; each delivery has its end; what is none is refused once."""
    receipts = [path.read_bytes() for path in (here.folder / "receipts").iterdir()]
    async with here.home.store.read() as tx:
        routed = [bytes(row[0]) for row in await tx.execute(select(declarations.c.declaration_id))]
        states = Counter(row[0] for row in await tx.execute(select(deliveries.c.state)))
        letters = (await tx.execute(select(dead_letters))).all()
    assert sorted(receipts) == sorted(routed)
    assert {"router"} >= {letter.stage for letter in letters}, letters
    assert len(letters) == len({(letter.partition, letter.offset) for letter in letters})
    assert set(states) <= {"applied", "withheld"}, states
    dead = await worker.everything(here, topics.declarations(PORTAL) + ".dead")
    assert {NOISE} >= {record.value for record in dead}
    places = {(record.headers["unefois-partition"], record.headers["unefois-offset"]) for record in dead}
    assert len(letters) + len(places) == sum(one.count or 1 for one in await here.entries(FactKind.REFUSED))


async def check_written(here: World, party: PartyId, written: list[tuple[str, str]]) -> None:
    """The agency's own system has what was applied, once, each citizen's in order."""
    released, applied = [await told_of(here, kind, party) for kind in (FactKind.RELEASED, FactKind.APPLIED)]
    assert len(applied) == len(set(applied)), applied
    assert len(written) == len(set(written)), written
    # Written, the connector killed, and the consent revoked before the delivery came again: released, and not applied.
    assert set(applied) <= set(written) <= set(released)
    for number in range(PEOPLE):
        mine = [int(house) for born, house in written if born == person(number)["birthdate"]]
        assert sorted(mine) == mine, mine


async def told_of(here: World, kind: FactKind, party: PartyId) -> list[tuple[str, str]]:
    """What the ledger says of this kind, as the agency would write it: whose, and which of theirs."""
    both = select(deliveries.c.id, declarations.c.declaration_id).join_from(
        deliveries, declarations, deliveries.c.declaration == declarations.c.seq
    )
    async with here.home.store.read() as tx:
        declared = {
            bytes(row.id): bytes(row.declaration_id)
            for row in await tx.execute(both.where(deliveries.c.recipient == party))
        }
    made = {path.read_bytes(): int(path.name) for path in (here.folder / "receipts").iterdir()}
    told = [bytes(one.delivery) for one in await here.entries(kind) if one.delivery is not None]
    numbers = [made[declared[one]] for one in told if one in declared]
    return [(person(one % PEOPLE)["birthdate"], str(one // PEOPLE + 1)) for one in numbers]


async def check_revocations(here: World) -> None:
    """What a citizen was told to be revoked is, in the ledger too."""
    ended = {entry.grant for entry in await here.entries(FactKind.REVOKED)}
    for path in (here.folder / "revoked").iterdir():
        assert bytes.fromhex(path.name) in {bytes(grant) for grant in ended if grant is not None}
    for number in range(PEOPLE):
        for grant in await here.home.consents.of(here.subject(person(number))):
            assert (grant.id in ended) == (grant.status is Status.REVOKED)


def main() -> None:
    worker.plant()
    mutants.plant(os.environ.get(mutants.VARIABLE))
    seed, kills, *words = sys.argv[1:]
    jumps = DAY if "jumps" in words else 0
    killed = Counter[str]()
    for number, home in enumerate(Path(word) for word in words if word != "jumps"):
        if not home.exists():
            asyncio.run(worker.ready(home))
        killed.update(shift(home, int(seed) + number, int(kills), jumps))
    print(json.dumps(killed), flush=True)


if __name__ == "__main__":
    main()
