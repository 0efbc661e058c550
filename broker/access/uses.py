"""Uses: when a credential was last used, and from where: what somebody asks whose token has leaked.

    credential   an API token's id (8 bytes), or the thumbprint of a client's pinned key (32 bytes)
    address      as quotas count it: an IPv4 address, or the network of an IPv6 address

Refuses: to write for whoever was not let in.
Keeps: an address that was not seen lately is written before the request is answered; one that was, at most each
EVERY_MS. Of each credential the newest ADDRESSES stay. A note that cannot be written keeps nobody out.
"""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, select, update

from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.access_tables import credential_uses
from broker.store.engine import Store, Transaction
from schemas.errors import Unavailable
from schemas.names import Instant

EVERY_MS: Final = 600_000
ADDRESSES: Final = 50
"""Of each credential."""
REMEMBERED: Final = 10_000
"""Credentials with an address, in one process; beyond it, who has not come for the longest time is written anew."""


@dataclass(frozen=True, slots=True)
class Use:
    """From one address. `last_at` is exact to EVERY_MS."""

    address: str
    first_at: Instant
    last_at: Instant


class Uses:
    """The only writer of its table. May be called concurrently, from any number of processes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._noted: OrderedDict[tuple[bytes, str], Instant] = OrderedDict()

    async def note(self, credential: bytes, address: str) -> None:
        """It was used now, from there."""
        at, key = self._clock(), (credential, address)
        before = self._noted.get(key)
        if before is not None and 0 <= at - before < EVERY_MS:
            return
        self._noted[key] = at
        self._noted.move_to_end(key)
        if len(self._noted) > REMEMBERED:
            self._noted.popitem(last=False)
        with suppress(Unavailable):
            await self._write(credential, address, at)

    async def _write(self, credential: bytes, address: str, at: Instant) -> None:
        row = {"credential": credential, "address": address, "first_at": at, "last_at": at}
        async with self._store.begin() as tx:
            if not await tx.insert_new(credential_uses, row):
                await tx.execute(_AGAIN, {"of": credential, "from": address, "now": at})
            else:
                await tx.execute(_OLD, {"of": credential})
            mark("uses.noted")
            # Crash here: not written; the next request from there, to whichever process, writes it.


async def of(tx: Transaction, credential: bytes) -> list[Use]:
    """From where a credential was used, the newest first."""
    rows = await tx.execute(_NEWEST, {"of": credential})
    return [Use(row.address, Instant(row.first_at), Instant(row.last_at)) for row in rows]


async def last(tx: Transaction) -> Mapping[bytes, Instant]:
    """When each credential was last used that ever was."""
    rows = await tx.execute(_LAST)
    return {bytes(row.credential): Instant(row.last_at) for row in rows}


_MINE: Final = credential_uses.c.credential == bindparam("of")
_ORDER: Final = (credential_uses.c.last_at.desc(), credential_uses.c.address)
_NEWEST: Final = select(credential_uses).where(_MINE).order_by(*_ORDER)
_KEPT: Final = select(credential_uses.c.address).where(_MINE).order_by(*_ORDER).limit(ADDRESSES)
_OLD: Final = delete(credential_uses).where(_MINE, credential_uses.c.address.not_in(_KEPT))
_LAST: Final = select(credential_uses.c.credential, func.max(credential_uses.c.last_at).label("last_at")).group_by(
    credential_uses.c.credential
)
_AGAIN: Final = (
    update(credential_uses)
    .where(_MINE, credential_uses.c.address == bindparam("from"), credential_uses.c.last_at < bindparam("now"))
    .values(last_at=bindparam("now"))
)
