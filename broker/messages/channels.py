"""Channels: at which e-mail address or mobile number a citizen is told, since when, until when.

Refuses: an address of a kind that this broker sends nothing to; the same address twice; more than MOST of one citizen;
another citizen's channel, which is as unknown as one that never was.
Keeps: an address stands here and in no grant, no declaration and no log. A row without the machine's MAC counts for
nothing, so nobody who writes rows has a citizen's news sent elsewhere; one that has ended and was put back has ended
all the same, for the journal of endings says so. Each change has its entry in the ledger, and is told on every channel
that was held before it.
"""

from collections.abc import Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from sqlalchemy import Row, delete, select, update

from broker.ended import Ended, Ending
from broker.ledger.recorder import Recorder
from broker.messages.addresses import ChannelKind, written
from broker.messages.sealing import ChannelSeals
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.message_tables import channels, messages
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from consent.asking import one_of
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.messages import Language
from schemas.names import ChannelId, Instant, LeafHash, SubjectRef, instant_of, uuid7

MOST: Final = 6
"""Of one citizen at the same time."""
_CHUNK: Final = 500
_OF_SUBJECTS: Final = select(channels).where(one_of(channels.c.subject, "subjects")).order_by(channels.c.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel of one citizen. `sealed`: its address (`sealing`)."""

    id: ChannelId
    subject: SubjectRef
    kind: ChannelKind
    language: Language
    sealed: bytes = field(repr=False)
    held_since: Instant
    ended_at: Instant | None = None

    def held_at(self, at: Instant) -> bool:
        """Whether it was held at an instant: what began later does not hear of it; of its own end it still does."""
        return self.held_since <= at and (self.ended_at is None or at <= self.ended_at)

    def row(self) -> dict[str, Any]:
        """As the table has it, without its MAC."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"kind": self.kind.value}

    def ending(self) -> Ending:
        """The record of its end."""
        return Ending.of(channels.name, self.id, at=self.ended_at or 0, ended_at=self.ended_at)


@dataclass(frozen=True, slots=True)
class Changed:
    """A channel as it is now, and the ledger's entry of the change."""

    channel: Channel
    entry: LeafHash


class Channels:
    """The only writer of the channels."""

    def __init__(
        self,
        *,
        store: Store,
        seals: ChannelSeals,
        macs: RowMacs,
        recorder: Recorder,
        kinds: Collection[ChannelKind],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`kinds`: those to which this broker has a way."""
        self._store = store
        self._seals = seals
        self._macs = macs
        self._recorder = recorder
        self._kinds = frozenset(kinds)
        self._clock = clock
        self._entropy = entropy

    @property
    def reach_anybody(self) -> bool:
        """Whether this broker has a way to tell anybody."""
        return bool(self._kinds)

    async def add(self, subject: SubjectRef, kind: ChannelKind, address: str, language: Language) -> Changed:
        """From now on the citizen is told there. Raises Refused `channels.email`, `channels.mobile`, `channels.no-way`,
        `channels.held`, `channels.too-many`.
        """
        if kind not in self._kinds:
            raise Refused("channels.no-way", "/kind", way=kind.value)
        told = written(kind, address)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_lock(subject)])
            there = [one for one in await self.of(tx, [subject]) if one.ended_at is None]
            if any(one.kind is kind and self.address(one) == told for one in there):
                raise Refused("channels.held", "/address")
            if len(there) >= MOST:
                raise Refused("channels.too-many", limit=MOST)
            at = self._clock()
            of = ChannelId(uuid7(at, self._entropy(10)))
            made = Channel(
                id=of,
                subject=subject,
                kind=kind,
                language=language,
                sealed=self._seals.seal(of, subject, kind, told),
                held_since=at,
            )
            tx.add(channels, self._macs.made(channels.name, made.row()))
            entry = self._record(tx, FactKind.CHANNEL_ADDED, made, at)
            mark("channels.added")
            # Crash here: nothing is held and nothing was said; whoever adds it does so again.
        return Changed(made, entry)

    async def end(self, subject: SubjectRef, channel: ChannelId) -> Changed:
        """From now on nothing is told there but this. Raises Refused `channels.unknown`."""
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_lock(subject)])
            living = {one.id: one for one in await self.of(tx, [subject]) if one.ended_at is None}
            if channel not in living:
                raise Refused("channels.unknown", "/channel")
            over = replace(living[channel], ended_at=max(self._clock(), living[channel].held_since))
            return await self._end(tx, over)

    async def forget(self, tx: Transaction, subject: SubjectRef) -> int:
        """Take away every channel of a citizen, with what was or is to be told there: nothing is told there any more,
        not even this. In the caller's transaction, which takes away what opens the entries about them, too. Returns how
        many.
        """
        await tx.lock_exclusive([_lock(subject)])
        mine = select(channels.c.id).where(channels.c.subject == subject)
        for one in await self.of(tx, [subject]):
            if one.ended_at is None:
                tx.end(replace(one, ended_at=max(self._clock(), one.held_since)).ending())
        await tx.execute(delete(messages).where(messages.c.channel.in_(mine)))
        return (await tx.execute(delete(channels).where(channels.c.subject == subject))).rowcount

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of a channel, and its row does not. Whether there was anything to do."""
        async with self._store.begin() as tx:
            rows = await tx.execute(select(channels).where(channels.c.id == ending.key))
            found = [channel_of(row) for row in self._macs.valid(channels.name, rows)]
            if not found or found[0].ended_at is not None:
                return False
            await tx.lock_exclusive([_lock(found[0].subject)])
            await self._end(tx, replace(found[0], ended_at=Instant(ending.told["ended_at"])))
        return True

    async def of(self, tx: Transaction, subjects: Collection[SubjectRef]) -> list[Channel]:
        """Every channel of these citizens, the oldest first; those that ended lately, too. Rows that do not count are
        told in the log.
        """
        found: list[Channel] = []
        ordered, ended = sorted(set(subjects)), await tx.endings()
        for start in range(0, len(ordered), _CHUNK):
            rows = await tx.execute(_OF_SUBJECTS, {"subjects": ordered[start : start + _CHUNK]})
            found += self.counting(rows, ended)
        return found

    def counting(self, rows: Iterable[Row[Any]], ended: Ended) -> list[Channel]:
        """Those of these rows that count, as the journal of endings has them."""
        return [obeyed(channel_of(row), ended) for row in self._macs.valid(channels.name, rows)]

    def address(self, channel: Channel) -> str:
        """Where it leads. Raises Corrupt `channels.damaged`; Refused `keys.missing`, `keys.not-of-role`."""
        return self._seals.open(channel.id, channel.subject, channel.kind, channel.sealed)

    async def shared(self, tx: Transaction, channel: Channel, among: Collection[SubjectRef]) -> bool:
        """Whether somebody else than these is told at the same address. Every address of the kind is opened for it:
        asked for few, and kept in no row, which would tell who lives together. Raises as `address`.
        """
        mine, ended = self.address(channel), await tx.endings()
        others = select(channels).where(channels.c.kind == channel.kind.value, channels.c.ended_at.is_(None))
        async with aclosing(tx.pages(others.order_by(channels.c.id), _CHUNK)) as pages:
            async for rows in pages:
                for one in self.counting(rows, ended):
                    if one.ended_at is None and one.subject not in among and self.address(one) == mine:
                        return True
        return False

    async def _end(self, tx: Transaction, over: Channel) -> Changed:
        tx.end(over.ending())
        values = self._macs.made(channels.name, over.row())
        await tx.execute(update(channels).where(channels.c.id == over.id).values(values))
        entry = self._record(tx, FactKind.CHANNEL_ENDED, over, over.ended_at or self._clock())
        mark("channels.ended")
        # Crash here: nothing has changed, and the citizen ends it again; or, if the journal of endings has it, the next
        # start completes it.
        return Changed(over, entry)

    def _record(self, tx: Transaction, kind: FactKind, one: Channel, at: Instant) -> LeafHash:
        digest = row_digest(channels.name, one.row())
        return self._recorder.record(tx, kind, at, about=one.subject, detail=digest, written=self._clock())


def _lock(subject: SubjectRef) -> bytes:
    """Exclusive for whoever changes a citizen's channels. Taken alone, so nobody waits in a circle."""
    return b"channels/" + subject


def channel_of(row: Row[Any]) -> Channel:
    """The channel of a row. Raises Refused, ValueError for one that nobody of ours wrote."""
    return Channel(
        id=ChannelId(row.id),
        subject=SubjectRef(row.subject),
        kind=ChannelKind(row.kind),
        language="en" if row.language == "en" else "fr",
        sealed=row.sealed,
        held_since=Instant(row.held_since),
        ended_at=instant_of(row.ended_at),
    )


def obeyed(one: Channel, ended: Ended) -> Channel:
    """As the journal tells it, where it tells of it: whoever puts an older row back opens nothing by that."""
    told = ended.newest(channels.name, one.id)
    if told is None or one.ended_at is not None:
        return one
    logger().error("endings.row-contradicts", _ended_at=told.at, channel=one.id)
    return replace(one, ended_at=Instant(told.told["ended_at"]))
