"""What a race between a citizen who revokes and an agency that asks for keys is made of, and a gate that loses it."""

import asyncio
import copy
import random
from collections.abc import Sequence

from broker.flow.deliveries import Delivery
from broker.flow.gate import _RELEASE, Gate, Released
from schemas.audit import Auditor
from schemas.audit_full import FullAuditor
from schemas.facts import FactKind
from schemas.names import DeliveryId, GrantId, PartyId
from schemas.release import seal_releases
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, World


class NaiveGate(Gate):
    """Looks first, and takes its lock afterwards: the mistake that the race is there to find."""

    async def release(self, recipient: PartyId, ids: Sequence[DeliveryId]) -> Released:
        async with self._store.read() as tx:
            wanted = await self._wanted(tx, recipient, ids)
            ground = await self._ground(tx, recipient, wanted)
            open_ = [delivery for delivery in wanted if self._why_not(delivery, ground) is None]
        async with self._store.begin() as tx:
            await tx.lock_shared(sorted({delivery.grant_id for delivery in wanted}))
            opened = [(delivery, *self._unlocked(delivery, ground)) for delivery in open_]
            releases = [self._release(tx, delivery, locked, dek, ground) for delivery, locked, dek in opened]
            await tx.execute(_RELEASE, {"ids": [delivery.id for delivery in open_], "now": ground.at})
        locked = tuple(one for _, one, _ in opened)
        key = ground.recipient
        answer = seal_releases(releases, key.suite, key.public, [one.delivery_id for one in locked])
        return Released(locked, answer.encode(), (), {})


def naive(gate: Gate) -> NaiveGate:
    """The same gate, all of its parts, and the mistake."""
    made = copy.copy(gate)
    made.__class__ = NaiveGate
    assert isinstance(made, NaiveGate)
    return made


async def prepare(here: World, rounds: int) -> list[tuple[GrantId, Delivery]]:
    """As many citizens, each with a consent and a delivery that its agency holds and has not opened."""
    people = [
        ELISE | {"given_names": [f"Anne{chr(97 + number % 26)}"], "birthdate": f"{1940 + number // 26}-04-12"}
        for number in range(rounds)
    ]
    grants = {}
    envelopes = []
    for person in people:
        recorded = await here.give(CAF, MOVED, FAMILY, ["subject"], person=person)
        grants[recorded.grant.subject] = recorded.grant.id
        envelopes.append(await here.home.desk.envelope(PORTAL, MOVED, here.moved(person)))
    await here.home.intake.accept_all(envelopes)
    await here.home.router.route()
    leased = await here.inbox(CAF).lease(rounds)
    assert rounds == len(leased) == len(grants)
    return [(grants[delivery.subject], delivery) for delivery in leased]


class Edge:
    """How many turns of the loop the end begins after the requests, or before them when it is negative.

    It moves towards the moment at which the outcome changes, wherever the machine and the database put that, and
    wavers about it: that is where a gate with a gap in it is caught.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._late = 0

    async def reached(self, *, by_end: bool) -> None:
        """Wait for this side's turn."""
        turns = max(0, self._late if by_end else -self._late) + self._chance.randrange(6)
        for _ in range(turns):
            await asyncio.sleep(0)

    def moved(self, opened: int) -> None:
        """After a round: where all was closed the next end begins later, where something opened sooner."""
        self._late += self._chance.randrange(12) * (-1 if opened else 1)


async def breaches(here: World) -> list[str]:
    """The invariants that the ledger's own entries show to be broken, as anybody can check them, and with openings."""
    public, full, facts = Auditor(), FullAuditor(), dict(await here.told())
    found = []
    for entry in await here.sealed():
        found += [*public.take(entry), *full.take(entry, facts.get(entry.leaf_hash()))]
    return [one.invariant for one in found]


async def released_after_revocation(here: World) -> int:
    """How often the ledger says `released` after `revoked`, counted without any other rule of the house."""
    ended: set[GrantId] = set()
    late = 0
    for entry in await here.entries(FactKind.REVOKED, FactKind.RELEASED):
        if entry.grant is None:
            continue
        if entry.kind is FactKind.REVOKED:
            ended.add(entry.grant)
        late += entry.kind is FactKind.RELEASED and entry.grant in ended
    return late
