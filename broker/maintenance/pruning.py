"""Pruning: what has served its time is taken away, in small batches: log records, locks, letters, tokens, checkpoints,
and whole declarations in the end (`broker/flow/forgotten.py`).

Refuses: to touch what is on its way, what the router has not read, the newest record of a partition (the next one gets
its number from it), the newest checkpoint, and anything that the ledger's proofs rest on.
Keeps: `fsck` has nothing to say before and after; a batch is one transaction, and done again it finds what is left. How
long each table keeps what it holds stands in `broker/maintenance/retention.py`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, delete, exists, func, select, update

from broker.access.credentials import ID_BYTES
from broker.access.idempotency import HOURS
from broker.flow import forgotten
from broker.ledger import erasing as openings
from broker.ledger.erasing import Erasing
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.access_tables import api_tokens, credential_uses, kept_answers, tallies
from broker.store.citizen_tables import citizen_codes, citizen_drafts, citizen_sessions
from broker.store.engine import Store, Transaction
from broker.store.message_tables import channels, messages
from broker.store.tables import LOCKED, consumed, dead_letters, deliveries, households, ledger_checkpoints, log_record
from broker.timekeeping import Timekeeping
from schemas.names import Instant

BATCH: Final = 500
"""Rows of one transaction: what a writer may have to wait for."""
BATCHES: Final = 20
"""Batches of one part in one pass; what is left, the next pass takes."""
LOCK: Final = b"pruning"
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is over is kept; days."""

    log_days: int
    sealed_days: int
    letter_days: int
    declaration_days: int
    token_days: int
    checkpoint_days: int
    opening_days: int
    message_days: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows of each part, and whether more of them wait."""

    rows: Mapping[str, int]
    more: bool

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.rows.values())


_Ahead = Callable[[Transaction, Instant], Awaitable[int]]


class Pruning:
    """Called by upkeep, and by `unefois prune`."""

    def __init__(self, store: Store, retention: Retention, erasing: Erasing, clock: Clock, time: Timekeeping) -> None:
        self._store = store
        self._time = time
        self._clock = clock
        self._parts: Mapping[str, tuple[float, _Ahead]] = {
            "log_record": (retention.log_days, _log),
            "deliveries": (retention.sealed_days, _locks),
            "dead_letters": (retention.letter_days, _letters),
            "declarations": (retention.declaration_days, forgotten.forget),
            "submissions": (retention.declaration_days, forgotten.forget_unrouted),
            "api_tokens": (retention.token_days, _tokens),
            "kept_answers": (HOURS / 24, _answers),
            "ledger_checkpoints": (retention.checkpoint_days, _checkpoints),
            "households": (retention.message_days, _households),
            "messages": (retention.message_days, _messages),
            "citizen_drafts": (0, _drafts),
            "channels": (retention.message_days, _channels),
            "citizen_sessions": (0, _citizen_sessions),
            "citizen_codes": (0, _citizen_codes),
            "tallies": (0, _tallies),
            "ledger_openings": (retention.opening_days, erasing.erase_old),
        }

    @property
    def tables(self) -> frozenset[str]:
        """The tables that something is taken from."""
        return frozenset(self._parts)

    async def prune(self, batches: int = BATCHES) -> Pruned:
        """Take away what is over, at most `batches` times BATCH rows of each part. Raises Refused `clock.ahead`,
        `clock.behind`; raises Unavailable.
        """
        await self._time.check()
        at, rows, more = self._clock(), {}, False
        for name, (days, part) in self._parts.items():
            rows[name] = 0
            for _ in range(batches):
                count = await self._batch(part, Instant(at - int(days * _DAY_MS)))
                rows[name] += count
                if count == 0:
                    break
            else:
                more = True
        return Pruned(rows, more)

    async def look(self) -> Pruned:
        """What `prune` would take away now, all of it. Changes nothing; counts, and so reads much of a big table."""
        at, rows = self._clock(), {}
        async with self._store.read(patient=True) as tx:
            for name, (days, _) in self._parts.items():
                counted = _DUE[name](Instant(at - int(days * _DAY_MS)))
                rows[name] = int((await tx.execute(counted)).scalar_one())
        return Pruned(rows, any(rows.values()))

    async def _batch(self, part: _Ahead, before: Instant) -> int:
        async with self._store.begin(patient=True) as tx:
            await tx.lock_exclusive([LOCK])  # two that prune side by side would only wait for each other's rows
            count = await part(tx, before)
            mark("pruning.batch")
            # Crash here: the batch is gone with its transaction, and everything is as it was; the next pass takes it.
        return count


async def _log(tx: Transaction, before: Instant) -> int:
    """Records that the router has read, from the oldest on, of each partition; never the newest of one."""
    taken = 0
    for row in (await tx.execute(select(consumed))).all():
        mine = (log_record.c.topic == row.topic, log_record.c.partition == row.partition)
        newest = (await tx.execute(select(func.max(log_record.c.offset)).where(*mine))).scalar()
        if newest is None or taken >= BATCH:
            continue
        end = min(newest, row.next_offset)
        oldest = select(log_record.c.offset, log_record.c.at).where(*mine, log_record.c.offset < end)
        found = await _past(tx, oldest.order_by(log_record.c.offset).limit(BATCH - taken), before)
        if found:
            await tx.execute(delete(log_record).where(*mine, log_record.c.offset <= found[-1]))
            taken += len(found)
    return taken


async def _locks(tx: Transaction, before: Instant) -> int:
    """The lock of a delivery that has ended: nobody asks for it any more, and a replay makes another.

    The row stays, for the citizen's page and for the checks. One that is planned again meanwhile has no end any more.
    """
    ended = (deliveries.c.done_at <= before, LOCKED)
    seqs = (await tx.execute(select(deliveries.c.seq).where(*ended).order_by(deliveries.c.done_at).limit(BATCH))).all()
    chosen = (deliveries.c.seq.in_([row.seq for row in seqs]), *ended)
    return (await tx.execute(update(deliveries).where(*chosen).values(locked=b""))).rowcount if seqs else 0


async def _letters(tx: Transaction, before: Instant) -> int:
    """Letters that somebody replayed; one that waits stays for ever."""
    return await _gone(tx, dead_letters, dead_letters.c.id, dead_letters.c.replayed_at, before)


async def _tokens(tx: Transaction, before: Instant) -> int:
    """Tokens that have expired, and from where they were used; the ledger goes on telling that they were issued."""
    gone = await _gone(tx, api_tokens, api_tokens.c.id, api_tokens.c.expires_at, before)
    if gone:
        of_tokens = func.length(credential_uses.c.credential) == ID_BYTES
        there = credential_uses.c.credential.in_(select(api_tokens.c.id))
        await tx.execute(delete(credential_uses).where(of_tokens, ~there))
    return gone


async def _answers(tx: Transaction, before: Instant) -> int:
    """Answers whose keys are free again."""
    return await _gone(tx, kept_answers, kept_answers.c.key, kept_answers.c.at, before)


async def _checkpoints(tx: Transaction, before: Instant) -> int:
    """Signed notes but the newest: whoever kept one can still prove it, for any tree's root follows from the tiles."""
    newest = (await tx.execute(select(func.max(ledger_checkpoints.c.size)))).scalar() or 0
    oldest = select(ledger_checkpoints.c.size, ledger_checkpoints.c.at).where(ledger_checkpoints.c.size < newest)
    found = await _past(tx, oldest.order_by(ledger_checkpoints.c.size).limit(BATCH), before)
    if found:
        await tx.execute(delete(ledger_checkpoints).where(ledger_checkpoints.c.size <= found[-1]))
    return len(found)


async def _households(tx: Transaction, before: Instant) -> int:
    """Adults of a household who confirmed, refused, or let the time pass."""
    over = (households.c.expires_at <= before,)
    keys = (households.c.household, households.c.number)
    oldest = (await tx.execute(select(*keys).where(*over).order_by(households.c.expires_at).limit(BATCH))).all()
    taken = 0
    for row in oldest:
        same = (households.c.household == row.household, households.c.number == row.number)
        taken += (await tx.execute(delete(households).where(*same))).rowcount
    return taken


async def _messages(tx: Transaction, before: Instant) -> int:
    """What was told, or given up; what still waits is younger than that (`message_days`)."""
    return await _gone(tx, messages, messages.c.id, messages.c.at, before)


async def _channels(tx: Transaction, before: Instant) -> int:
    """Channels that the citizen ended, whose messages are gone, too."""
    mine = (channels.c.ended_at <= before, ~exists().where(messages.c.channel == channels.c.id))
    oldest = select(channels.c.id).where(*mine).order_by(channels.c.ended_at).limit(BATCH)
    chosen = (await tx.execute(oldest)).scalars().all()
    return (await tx.execute(delete(channels).where(channels.c.id.in_(chosen)))).rowcount if chosen else 0


async def _citizen_sessions(tx: Transaction, before: Instant) -> int:
    """Sessions that are too old to open anything; one that nobody used meanwhile goes with its hours."""
    return await _gone(tx, citizen_sessions, citizen_sessions.c.id, citizen_sessions.c.expires_at, before)


async def _citizen_codes(tx: Transaction, before: Instant) -> int:
    """Codes that nobody used in time."""
    return await _gone(tx, citizen_codes, citizen_codes.c.locator, citizen_codes.c.expires_at, before)


async def _tallies(tx: Transaction, before: Instant) -> int:
    """Counts whose window has ended."""
    return await _gone(tx, tallies, tallies.c.key, tallies.c.until, before)


async def _drafts(tx: Transaction, before: Instant) -> int:
    """What nobody has written in for so long that it is over (`broker.citizens.drafts`)."""
    return await _gone(tx, citizen_drafts, citizen_drafts.c.id, citizen_drafts.c.expires_at, before)


async def _past(tx: Transaction, oldest: Select[int, int], before: Instant) -> list[int]:
    """The keys of the first rows up to the first that is too young: the order of the keys is that of the times."""
    found = []
    for key, at in (await tx.conn.execute(oldest)).all():
        if at > before:
            break
        found.append(key)
    return found


async def _gone(
    tx: Transaction, table: Table, key: ColumnElement[Any], over: ColumnElement[int | None], before: Instant
) -> int:
    """Delete a batch of rows that were over at `before`, the oldest first."""
    chosen = (await tx.execute(select(key).where(over <= before).order_by(over).limit(BATCH))).scalars().all()
    return (await tx.execute(delete(table).where(key.in_(chosen), over <= before))).rowcount if chosen else 0


def _due_in_log(before: Instant) -> Select[Any]:
    newest = log_record.alias("newest")
    last = select(func.max(newest.c.offset)).where(
        newest.c.topic == log_record.c.topic, newest.c.partition == log_record.c.partition
    )
    read = (consumed.c.topic == log_record.c.topic) & (consumed.c.partition == log_record.c.partition)
    over = (log_record.c.offset < consumed.c.next_offset, log_record.c.at <= before)
    return (
        select(func.count())
        .select_from(log_record.join(consumed, read))
        .where(*over, log_record.c.offset < last.scalar_subquery())
    )


def _count(table: Table, *due: ColumnElement[bool]) -> Select[Any]:
    return select(func.count()).select_from(table).where(*due)


_NEWEST: Final = select(func.max(ledger_checkpoints.c.size)).scalar_subquery()
_DUE: Final[Mapping[str, Callable[[Instant], Select[Any]]]] = {
    "log_record": _due_in_log,
    "deliveries": lambda before: _count(deliveries, deliveries.c.done_at <= before, LOCKED),
    "dead_letters": lambda before: _count(dead_letters, dead_letters.c.replayed_at <= before),
    "declarations": forgotten.due,
    "submissions": forgotten.due_unrouted,
    "api_tokens": lambda before: _count(api_tokens, api_tokens.c.expires_at <= before),
    "kept_answers": lambda before: _count(kept_answers, kept_answers.c.at <= before),
    "ledger_openings": openings.due,
    "households": lambda before: _count(households, households.c.expires_at <= before),
    "messages": lambda before: _count(messages, messages.c.at <= before),
    "citizen_drafts": lambda before: _count(citizen_drafts, citizen_drafts.c.expires_at <= before),
    "channels": lambda before: _count(
        channels, channels.c.ended_at <= before, ~exists().where(messages.c.channel == channels.c.id)
    ),
    "citizen_sessions": lambda before: _count(citizen_sessions, citizen_sessions.c.expires_at <= before),
    "citizen_codes": lambda before: _count(citizen_codes, citizen_codes.c.expires_at <= before),
    "tallies": lambda before: _count(tallies, tallies.c.until <= before),
    "ledger_checkpoints": lambda before: _count(
        ledger_checkpoints, ledger_checkpoints.c.at <= before, ledger_checkpoints.c.size < _NEWEST
    ),
}
