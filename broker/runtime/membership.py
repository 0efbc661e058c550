"""Membership: the router processes of one home, and which partitions each of them takes.

Refuses: to guard anything. Who is slow, stopped or wrong about the time may believe that a partition is its own; the
offset, compared and set in the transaction of the effects, is what keeps a record from having its effects twice.
Keeps: living members that have seen each other share the partitions, each partition to one, none to two more than
another; a member that is gone without a word is forgotten after LEASE_MS.

What only one may do at a time, from what it remembers itself, is claimed in the same way.

A member is a row of `meta`: its name, and when it was last heard of. Sorted by name, member k of n takes the partitions
p with p mod n = k. Nobody elects and nobody waits.
"""

from typing import Final

from sqlalchemy import delete, select, update

from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.tables import meta
from schemas.names import Instant

LEASE_MS: Final = 4_000
"""Not heard of for so long: its partitions are the others'."""
BEAT_MS: Final = 1_000
"""How often a member says that it is there."""

_PREFIX: Final = "router/"


async def living(tx: Transaction, at: Instant) -> tuple[str, ...]:
    """The names of the members that were heard of lately, sorted.

    A clock that is ahead of ours is as far from it as one that is behind.
    """
    rows = await tx.execute(select(meta.c.name, meta.c.value).where(meta.c.name.startswith(_PREFIX, autoescape=True)))
    heard = [row.name for row in rows if row.value.isdecimal() and abs(at - int(row.value)) <= LEASE_MS]
    return tuple(sorted(heard))


CLAIM_MS: Final = 60_000
"""How long what was claimed stays its holder's who says nothing more."""

_CLAIM: Final = "claim/"


async def claim(store: Store, what: str, holder: str, clock: Clock) -> bool:
    """Whether this is the holder's now: it was already, or nobody's, or its holder was silent for CLAIM_MS.

    For what two would do twice, each from what it remembers itself. Raises Unavailable.
    """
    name, at = _CLAIM + what, clock()
    async with store.read() as tx:
        until = await _held(tx, name, holder)
    if until is not None and until - at > CLAIM_MS // 2:
        return True
    async with store.begin() as tx:
        await tx.lock_exclusive([name.encode()])
        found = (await tx.execute(select(meta.c.value).where(meta.c.name == name))).scalar()
        who, _, last = (found or "").partition(" ")
        if found is not None and who != holder and last.isdecimal() and at < int(last) <= at + CLAIM_MS:
            return False
        value = f"{holder} {at + CLAIM_MS}"
        if not await tx.insert_new(meta, {"name": name, "value": value}):
            await tx.execute(update(meta).where(meta.c.name == name).values(value=value))
        mark("members.claimed")
        # Crash here: nobody's, or its own of before; whoever asks next gets it, at once or when the claim is over.
    return True


async def _held(tx: Transaction, name: str, holder: str) -> int | None:
    """Until when the holder has it; None when it has not."""
    found = (await tx.execute(select(meta.c.value).where(meta.c.name == name))).scalar()
    who, _, last = (found or "").partition(" ")
    return int(last) if who == holder and last.isdecimal() else None


class PartitionMembership:
    """One member, and what it knows of the others."""

    def __init__(self, store: Store, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._name = f"{_PREFIX}{entropy(16).hex()}"
        self._living: tuple[str, ...] = (self._name,)
        self._beaten_at: int | None = None

    async def share(self, partitions: int) -> tuple[int, ...]:
        """The partitions that are this member's now; says that it is there, when it is time. Raises Unavailable."""
        at = self._clock()
        if self._beaten_at is None or not 0 <= at - self._beaten_at < BEAT_MS:
            await self.beat()
        return tuple(range(self._living.index(self._name), partitions, len(self._living)))

    async def beat(self) -> None:
        """Be there for another LEASE_MS, and look who else is. Raises Unavailable."""
        at = self._clock()
        async with self._store.begin() as tx:
            row = {"name": self._name, "value": str(at)}
            if not await tx.insert_new(meta, row):
                mine = update(meta).where(meta.c.name == self._name).values(value=str(at))
                if (await tx.execute(mine)).rowcount == 0:  # silent for long, and forgotten by another between the two
                    await tx.insert_new(meta, row)
            there = await living(tx, at)
            others = meta.c.name.startswith(_PREFIX, autoescape=True) & meta.c.name.not_in(there)
            await tx.execute(delete(meta).where(others))
            mark("members.beaten")
            # Crash here: as if it had not been there; the others wait until its last word is too old.
        self._living = there
        self._beaten_at = at

    async def leave(self) -> None:
        """Go, so that the others take over at their next beat. Raises Unavailable."""
        async with self._store.begin() as tx:
            await tx.execute(delete(meta).where(meta.c.name == self._name))
            mark("members.left")
            # Crash here: it is forgotten a little later.
        self._living, self._beaten_at = (self._name,), None
