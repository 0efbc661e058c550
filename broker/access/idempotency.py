"""Idempotency: keeps the response to each request with an Idempotency-Key, so that a retry gets the same response.

    claim ──► nothing was there: do it, then keep, or release where it failed
          ──► the answer that was given

Refuses: another request under the same key; the same one while it is under way.
Keeps: one of those who send a request at the same time does it, in however many processes. What a crash interrupts can
be claimed again when its lease is over; then it is done a second time, so only what may be done twice goes through
here. A key is known for HOURS and by its digest alone. What is kept of one administration is bounded, in keys and in
bytes: beyond it the oldest are forgotten, and sent again they are done again.
Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, update

from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.access_tables import kept_answers
from broker.store.engine import Store, Transaction
from schemas.errors import Refused
from schemas.names import Instant, PartyId

HOURS: Final = 24
LEASE_MS: Final = 60_000
"""How long one may be at it before others may think that it died: longer than a batch takes."""

KEYS: Final = 10_000
"""Of one administration."""
KEPT_BYTES: Final = 16 * 1_048_576
"""Of its answers together."""

_KEPT_MS: Final = HOURS * 3_600_000
_AT_ONCE: Final = 500
"""Keys in one statement."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `headers` and `body` as they went out."""

    status: int
    headers: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do what was asked for under a key, until its lease is over."""

    party: PartyId
    key: bytes
    lease_until: Instant


class IdempotencyKeys:
    """The only writer of what was answered. May be called concurrently."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def claim(self, party: PartyId, key: str, request: bytes) -> Claim | Answer:
        """Whoever gets a claim does what was asked for; others get the answer. `request`: SHA-256 of all of it.

        Raises Refused: `api.idempotency-reused` for another request, `api.idempotency-busy` while it is under way.
        """
        at = self._clock()
        claim = Claim(party, sha256(key.encode()).digest(), Instant(at + LEASE_MS))
        row = {"party": party, "key": claim.key, "request": request, "at": at, "lease_until": claim.lease_until}
        async with self._store.begin() as tx:
            await tx.execute(delete(kept_answers).where(*_of(claim), kept_answers.c.at <= at - _KEPT_MS))
            if await tx.insert_new(kept_answers, row):
                mark("answers.claimed")
                # Crash here: nothing was done; the key is free, or can be claimed again when the lease is over.
                return claim
            found = (await tx.execute(select(kept_answers).where(*_of(claim)))).one_or_none()
            if found is None:  # released just now
                raise Refused("api.idempotency-busy")
            if found.request != request:
                raise Refused("api.idempotency-reused")
            if found.answer is not None:
                return Answer(found.status, found.headers, found.answer)
            if at < found.lease_until:
                raise Refused("api.idempotency-busy")
            dead = (*_of(claim), kept_answers.c.lease_until == found.lease_until)
            taken = await tx.execute(update(kept_answers).where(*dead).values(lease_until=claim.lease_until))
            if taken.rowcount != 1:  # another took it over first
                raise Refused("api.idempotency-busy")
        return claim

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Answer so from now on. Where the lease was over and another took it over, theirs is kept."""
        told = {"status": answer.status, "headers": answer.headers, "answer": answer.body, "lease_until": None}
        async with self._store.begin() as tx:
            await tx.execute(update(kept_answers).where(*_held(claim)).values(told))
            await _forget_beyond(tx, claim.party)
            mark("answers.kept")
            # Crash here: it was done and nobody was answered; sent again it is done again when the lease is over.

    async def forget(self, claim: Claim) -> None:
        """What was kept is none: whoever sends it again, or something else, may try."""
        await self._drop(*_of(claim))

    async def release(self, claim: Claim) -> None:
        """It was not done: whoever sends it again may try."""
        await self._drop(*_held(claim))

    async def _drop(self, *where: ColumnElement[bool]) -> None:
        async with self._store.begin() as tx:
            await tx.execute(delete(kept_answers).where(*where))
            mark("answers.released")
            # Crash here: the claim stands until its lease is over; what was kept, for its hours.


async def _forget_beyond(tx: Transaction, party: PartyId) -> None:
    """The oldest answers of a party that has too many; a quarter more than it must, so that this is not done each time.

    One that is under way is not forgotten.
    """
    size = func.coalesce(func.length(kept_answers.c.answer), 0)
    mine = kept_answers.c.party == party
    held = select(func.count().label("number"), func.sum(size).label("total")).where(mine)
    now = (await tx.execute(held)).one()
    if now.number <= KEYS and now.total <= KEPT_BYTES:
        return
    newest = select(kept_answers.c.key, size.label("size")).where(mine, kept_answers.c.answer.is_not(None))
    rows = list(await tx.execute(newest.order_by(kept_answers.c.at.desc(), kept_answers.c.key)))
    left = accumulate(row.size for row in rows)
    stay = sum(1 for number, size in enumerate(left) if number < KEYS * 3 // 4 and size <= KEPT_BYTES * 3 // 4)
    gone = [row.key for row in rows[stay:]]
    for start in range(0, len(gone), _AT_ONCE):
        await tx.execute(delete(kept_answers).where(mine, kept_answers.c.key.in_(gone[start : start + _AT_ONCE])))


def _of(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return kept_answers.c.party == claim.party, kept_answers.c.key == claim.key


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (*_of(claim), kept_answers.c.lease_until == claim.lease_until)
