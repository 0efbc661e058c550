"""Sending: each message goes out once, by the way of its kind, and is tried again until it was taken or is given up.

    due ──claimed──► sent ──noted──► over            what is not taken is tried later, ever more seldom, for some days;
     └─────────────────────────────► given up        then it is given up, with the code of what was wrong

Refuses: to send what the broker did not write down so: a row without its MAC, a channel whose row does not count, one
that has ended, but for the news of that end.
Keeps: one process sends it, under a lease; what a crash interrupts after the sending is sent once more, under the same
id (`ways`). While a way is closed one message tries it in a step, and the others wait. Nothing of an address is in the
log, in a row or in a figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select, update

from broker.messages.addresses import ChannelKind
from broker.messages.channels import Channel, Channels
from broker.messages.news import News, Sender, text_of
from broker.messages.outbox import Outbox
from broker.messages.ways import AWAY, Message, Way
from broker.observability.crashpoints import mark
from broker.observability.measures import MESSAGES
from broker.observability.observe import logger
from broker.people import protection
from broker.ports import Clock, Entropy
from broker.store.engine import Store
from broker.store.message_tables import channels, messages
from broker.store.rows.macs import RowMacs, named
from schemas.errors import Fault, Refused
from schemas.names import DeclarationId, Instant
from schemas.retry import doubled_ms, spread_ms

FIRST_MS: Final = 60_000
MOST_MS: Final = 6 * 3_600_000
"""The bounds of a wait; it doubles from the first to the second, and up to a quarter is added by chance."""
LEASE_MS: Final = 80_000
"""Longer than one way may take for one message."""
UNBELIEVED_MS: Final = 3_600_000
"""How long a message waits whose channel's row does not count."""
AT_ONCE: Final = 50
"""Messages of one step."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one attempt. `code` is None where it was taken."""

    kind: ChannelKind
    code: str | None


class Sending:
    """The sender of one process. `step` may be called by many processes at once."""

    def __init__(
        self,
        *,
        store: Store,
        outbox: Outbox,
        channels: Channels,
        macs: RowMacs,
        ways: Mapping[ChannelKind, Way],
        sender: Sender,
        days: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`days`: how long a message is tried."""
        self._store = store
        self._outbox = outbox
        self._channels = channels
        self._macs = macs
        self._ways = ways
        self._sender = sender
        self._days_ms = days * _DAY_MS
        self._clock = clock
        self._entropy = entropy

    async def step(self) -> Sequence[Sent]:
        """Write down what is news, and send what is due. Without a way nothing is written and nothing sent.

        Raises Unavailable, for the database alone: a way that is closed is an outcome.
        """
        if not self._ways:
            return []
        await self._outbox.plan()
        found: list[Sent] = []
        closed: set[ChannelKind] = set()
        for _ in range(AT_ONCE):
            claimed = await self._claimed(closed)
            if claimed is None:
                break
            row, to = claimed
            if row is None or to is None:
                continue
            code = await self._sent(row, to)
            found.append(Sent(to.kind, code))
            if code in AWAY:
                closed.add(to.kind)
        return found

    async def _claimed(self, closed: set[ChannelKind]) -> tuple[Row[Any] | None, Channel | None] | None:
        """The next one that is due, under a lease: `next_at` is when another may have it. None: nothing is due.

        Without a row: another was faster, or it is none of ours, and is never looked at again.
        """
        at = self._clock()
        due = (
            select(messages)
            .join(channels, channels.c.id == messages.c.channel)
            .where(messages.c.next_at <= at, channels.c.kind.not_in([kind.value for kind in closed]))
        )
        async with self._store.read() as tx:
            row = (await tx.execute(due.order_by(messages.c.next_at, messages.c.at).limit(1))).one_or_none()
        if row is None:
            return None
        async with self._store.begin() as tx:
            ended = await tx.endings()
            rows = await tx.execute(select(channels).where(channels.c.id == row.channel))
            to = next(iter(self._channels.counting(rows, ended)), None)
            counts = self._macs.holds(messages.name, row._mapping)
            if not counts:
                # Else a row that was slipped in would be due again and again, in the place of others.
                logger().error("rows.unsigned", row=named(messages.name, row))
                values: dict[str, Any] = {"next_at": None}
            elif to is None:  # whoever mends the channel's row finds its messages waiting
                later = at + UNBELIEVED_MS if at - row.at <= self._days_ms else None
                values = self._made(row, next_at=later, code="channels.damaged")
            elif not _may_hear(row, to):
                values = self._made(row, next_at=None, code="channels.ended")
                to = None
            else:
                values = self._made(row, next_at=at + LEASE_MS)
            mine = (messages.c.id == row.id, messages.c.next_at == row.next_at)
            done = await tx.execute(update(messages).where(*mine).values(values))
            mark("messages.claimed")
            # Crash here, or after the commit: nothing was sent; it is due again when the lease is over.
            if done.rowcount == 0 or to is None or not counts:
                return None, None
            claimed = (await tx.execute(select(messages).where(messages.c.id == row.id))).one()
        return claimed, to

    async def _sent(self, row: Row[Any], to: Channel) -> str | None:
        """Send, and note what came of it; returns the code of what was wrong."""
        code: str | None = None
        try:
            if not await self._overheard(to):
                await self._way(to.kind).send(self._message(row, to))
        except Fault as fault:
            code = fault.code
        at, attempts = self._clock(), row.attempts + 1
        if code is None:
            values = self._made(row, attempts=attempts, sent_at=at, next_at=None, code=None)
        else:
            wait = spread_ms(doubled_ms(FIRST_MS, MOST_MS, attempts), self._entropy)
            later = None if at + wait - row.at > self._days_ms else at + wait
            values = self._made(row, attempts=attempts, next_at=later, code=code)
            if later is None:
                logger().warning("messages.given-up", channel=to.id, code=code)
        mine = (messages.c.id == row.id, messages.c.next_at == row.next_at)
        async with self._store.begin() as tx:
            await tx.execute(update(messages).where(*mine).values(values))
            mark("messages.noted")
            # Crash here: sent and not noted; when the lease is over the same message goes once more, with the same id.
        MESSAGES.labels(to.kind.value, "taken" if code is None else "failed").inc()
        return code

    async def _overheard(self, to: Channel) -> bool:
        """Whether a protected person's address is somebody else's, too: then nothing goes there, and the row says that
        it was sent, as of everybody. The children that are protected with the person are nobody else.
        """
        async with self._store.read() as tx:
            ended, at = await tx.endings(), self._clock()
            theirs = protection.standing(ended, to.subject, at)
            if theirs is None:
                return False
            family = {one.subject for one in protection.every(ended) if one.whose == theirs.whose and one.stands(at)}
            return await self._channels.shared(tx, to, family)

    def _way(self, kind: ChannelKind) -> Way:
        if kind not in self._ways:
            raise Refused("channels.no-way", way=kind.value)
        return self._ways[kind]

    def _message(self, row: Row[Any], to: Channel) -> Message:
        declaration = None if row.declaration is None else DeclarationId(row.declaration)
        text = text_of(News(row.news), declaration, to.kind, to.language, self._sender)
        address = self._channels.address(to)
        return Message(bytes(row.id).hex(), address, text.subject, text.body, Instant(row.at))

    def _made(self, row: Row[Any], **changed: Any) -> dict[str, Any]:
        """What changes of a row, with the MAC of all of it."""
        whole = {**row._mapping, **changed}
        return {**changed, "mac": self._macs.of(messages.name, whole)}


def _may_hear(row: Row[Any], to: Channel) -> bool:
    """A channel that has ended hears of no more than what was done to the channels until then."""
    return to.ended_at is None or (News(row.news).of_channels and row.at <= to.ended_at)
