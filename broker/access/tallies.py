"""Tallies: how often something was done in a window of time, counted for all processes of a home together.

    take  ──► counted, or the seconds to wait          give back  ──► it was not for this tally to count

Refuses: nothing; it tells whoever asks how long to wait, and they have their own words for it.
Keeps: a window begins with the first that is counted in it and ends by itself, so in any stretch as long as a window no
more than twice the most is counted. It counts before it is tried: of many who try at the same moment, in whatever
process, no more are let through than may be. Whose it is (an address, a session, a portal) is in no row, only a keyed
digest.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256
from typing import Final

from sqlalchemy import delete, insert, select, update

from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.access_tables import tallies
from broker.store.engine import Store
from schemas.names import Instant

_LABEL: Final = b"unefois/tally/v1\x00"


class Tally(Enum):
    """What is counted."""

    CODES = "codes"
    DRAFT_CODES = "draft-codes"
    PORTAL_SIGN_INS = "portal-sign-ins"
    PORTAL_CHANGES = "portal-changes"


@dataclass(frozen=True, slots=True)
class Taken:
    """`wait`: seconds until it may be tried again, 0: it was counted; `left`: how many more this window has."""

    wait: int
    left: int


class Tallies:
    """The only writer of its table. Each call is one transaction; may be called concurrently, in any process."""

    def __init__(self, store: Store, secret: Callable[[], bytes], clock: Clock) -> None:
        """`secret`: reads what digests are made with, when first needed."""
        self._store = store
        self._read = secret
        self._clock = clock

    @cached_property
    def _secret(self) -> bytes:
        return hmac.digest(self._read(), _LABEL, sha256)

    async def take(self, what: Tally, of: str, *, most: int, window_ms: int, cost: int = 1) -> Taken:
        """Count one more, or as many as it costs, of all there are at most. Raises Unavailable."""
        key = self._key(what, of)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_LABEL + key])
            row = (await tx.execute(select(tallies).where(tallies.c.key == key))).first()
            at = self._clock()
            counted, until = 0, Instant(at + window_ms)
            if row is not None and at < row.until <= until:  # it stands; and not where the clock went back
                counted, until = row.counted, Instant(row.until)
            if counted + min(cost, most) > most:
                return Taken(-(-(until - at) // 1000), max(0, most - counted))
            counted += min(cost, most)
            values = {"counted": counted, "until": until}
            if row is None:
                await tx.execute(insert(tallies).values(key=key, **values))
            else:
                await tx.execute(update(tallies).where(tallies.c.key == key).values(values))
            mark("tallies.counted")
            # Crash here: nothing was counted, and nothing was tried. After the commit: it counts until its window ends.
        return Taken(0, most - counted)

    async def give_back(self, what: Tally, of: str) -> None:
        """One was not for this tally to count. Where it is not counted any more nothing changes. Raises Unavailable."""
        key = self._key(what, of)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_LABEL + key])
            await tx.execute(delete(tallies).where(tallies.c.key == key, tallies.c.counted <= 1))
            await tx.execute(update(tallies).where(tallies.c.key == key).values(counted=tallies.c.counted - 1))
            # Crash here: it counts until its window ends.

    def _key(self, what: Tally, of: str) -> bytes:
        return hmac.digest(self._secret, _LABEL + what.value.encode() + b"\x00" + of.encode(), sha256)
