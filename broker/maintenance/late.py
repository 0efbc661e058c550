"""Late: a citizen hears once that nothing was heard of a recipient for some days.

Refuses: to look while the clock is not believed; to tell of what became late so long ago that its message may have been
taken away since: it would be told twice.
Keeps: one message for each plan of a delivery and each channel, whatever crashes: its id follows from both. Only those
who have a channel are looked at, mailbox by mailbox, as the index has them.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, select, tuple_

from broker.flow.deliveries import ACTIVE, in_states
from broker.messages.news import News
from broker.messages.outbox import Outbox
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store
from broker.store.message_tables import channels
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, parties
from broker.timekeeping import Timekeeping
from schemas.names import DeclarationId, Instant, SubjectRef

LOOK_MS: Final = 3_600_000
"""How long a process waits from one look to the next."""
BATCH: Final = 500
"""Deliveries of one transaction."""
WITHIN_MS: Final = 30 * 86_400_000
"""How long after it became late something is told, at most: less than messages are kept."""
_DAY_MS: Final = 86_400_000
_HAVE: Final = select(channels.c.subject).where(channels.c.ended_at.is_(None))


class Late:
    """`look` may be called by many processes at once, and as often as wanted."""

    def __init__(
        self, *, store: Store, outbox: Outbox, macs: RowMacs, time: Timekeeping, days: int, clock: Clock
    ) -> None:
        """`days`: after how many nothing was heard for long; 0: nobody is told."""
        self._store = store
        self._outbox = outbox
        self._macs = macs
        self._time = time
        self._days = days
        self._clock = clock
        self._looked_at: Instant | None = None

    async def look(self) -> int:
        """Once an hour: write down whom to tell. Returns how many messages are new. Raises Unavailable."""
        at = self._clock()
        if not self._days or (self._looked_at is not None and 0 <= at - self._looked_at < LOOK_MS):
            return 0
        if not (await self._time.look()).believed:
            return 0
        async with self._store.read() as tx:
            somebody = (await tx.execute(_HAVE.limit(1))).one_or_none() is not None
            mailboxes = (await tx.execute(select(parties.c.id))).scalars().all() if somebody else ()
        written = sum([await self._mailbox(party, at) for party in mailboxes])
        self._looked_at = at
        return written

    async def _mailbox(self, party: str, at: Instant) -> int:
        """Those of one recipient, in the order of their planning, one batch in a transaction."""
        since, written, last = at - self._days * _DAY_MS, 0, (0, 0)
        while True:
            query = (
                select(deliveries.c.id, deliveries.c.seq, deliveries.c.planned_at, deliveries.c.declaration)
                .where(
                    deliveries.c.recipient == party,
                    in_states(ACTIVE),
                    deliveries.c.planned_at <= since,
                    deliveries.c.planned_at > since - WITHIN_MS,
                    tuple_(deliveries.c.planned_at, deliveries.c.seq) > last,
                    deliveries.c.subject.in_(_HAVE),
                )
                .order_by(deliveries.c.planned_at, deliveries.c.seq)
                .limit(BATCH)
            )
            async with self._store.read() as tx:
                found = (await tx.execute(query)).all()
            if not found:
                return written
            written += await self._tell(found)
            last = (found[-1].planned_at, found[-1].seq)

    async def _tell(self, found: Sequence[Row[Any]]) -> int:
        written = 0
        async with self._store.begin() as tx:
            wanted = declarations.c.seq.in_({row.declaration for row in found})
            rows = await tx.execute(select(declarations).where(wanted))
            known = {row.seq: row for row in self._macs.valid(declarations.name, rows)}
            for row in found:
                if (declared := known.get(row.declaration)) is None:
                    continue
                written += await self._outbox.tell(
                    tx,
                    News.LATE,
                    SubjectRef(declared.subject),
                    key=row.id + row.planned_at.to_bytes(8, "big"),
                    declaration=DeclarationId(declared.declaration_id),
                    at=Instant(row.planned_at + self._days * _DAY_MS),
                )
            mark("messages.late")
            # Crash here: nothing was written; the next process that looks finds the same.
        return written
