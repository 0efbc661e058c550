"""Stats: how a broker is doing, in numbers: for `unefois top`, for metrics, for whoever is woken at night.

Refuses: anything about one citizen; a figure counts or tells an age.
Keeps: every question is answered by an index, whatever the tables have grown to; what is counted is counted from the
ledger, where only what was committed stands.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Executable, Row, func, select

from broker.epochs import books
from broker.flow.deliveries import ACTIVE
from broker.flow.router import TOPIC
from broker.ledger.sequencer import size_of
from broker.maintenance.expiring import Expiring, expiring
from broker.maintenance.last import LastBackup, LastCheck, last_backup, last_check
from broker.runtime.disks import Usage, disks
from broker.runtime.membership import living
from broker.setup.wiring import Home
from broker.store.access_tables import webhooks
from broker.store.engine import Store, Transaction
from broker.store.message_tables import GIVEN_UP, messages
from broker.store.tables import (
    consumed,
    dead_letters,
    deliveries,
    ledger_checkpoints,
    ledger_entries,
    ledger_openings,
    parties,
)
from broker.webhooks.endpoints import Status
from schemas.entry import Entry
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, Reason

READ: Final = 200
READS: Final = 100
"""One call reads so many entries so many times at most: 20,000; what is left, the next call reads."""

_WAITING: Final = messages.c.next_at.is_not(None)
_DISABLED: Final = select(func.count()).select_from(webhooks).where(webhooks.c.status == Status.DISABLED.value)


@dataclass(frozen=True, slots=True)
class Stats:
    """One look. Ages in milliseconds; None where there is nothing that could have an age."""

    at: Instant
    lag: Mapping[int, int]
    """Records that are accepted and not routed yet, by partition; none where the log was not asked."""
    undelivered_age: int | None
    """Since the oldest delivery was planned that is still on its way."""
    letters: int
    """Dead letters that nobody replayed yet."""
    ledger_size: int
    ledger_age: int | None
    """Since the newest checkpoint was signed."""
    waiting: int
    """Entries that are committed and not in a checkpoint yet."""
    waiting_age: int | None
    """Since the oldest of them was written."""
    routers: int
    witnessed: int = 0
    """Entries that the newest checkpoint covers that a quorum of witnesses cosigned."""
    witnesses: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By name: entries of the newest checkpoint that it cosigned, and how long ago."""
    webhooks_disabled: int = 0
    """Endpoints that were given up and nobody has proven anew yet."""
    inlet_lag: int = 0
    """Records on sources' topics that were not taken yet."""
    webhooks: Mapping[str, int] = field(default_factory=dict)
    """How many there are, by status; those that ended are not counted."""
    webhook_age: int | None = None
    """Since the oldest message was made that no webhook has heard yet."""
    messages: Mapping[str, int] = field(default_factory=dict)
    """To citizens: `waiting` to be sent, and `given-up`, of those that are kept."""
    message_age: int | None = None
    """Since the oldest news that waits."""
    relay_age: int | None = None
    """Since the oldest delivery was planned that should lie on its agency's topic and does not."""
    unknown_keys: int | None = None
    """Epoch keys in the key store that no book knows; None in a process that does not get them."""
    clock_ahead: int = 0
    """How far this process's clock is ahead of the last instant that the database knows; below 0: behind."""
    clock_believed: bool = True
    check: LastCheck | None = None
    """The last `unefois fsck` on this machine."""
    backup: LastBackup | None = None
    """The last `unefois backup` on this machine."""
    disks: Mapping[str, Usage] = field(default_factory=dict)
    """Of this machine, by the setting that names a folder on it."""
    expiring: tuple[Expiring, ...] = ()
    """Keys and tokens that end soon, and nothing outlasts."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """A minute, in each process that answers, by what is counted; 0: no limit."""


async def log_ends(home: Home) -> list[int]:
    """Where each partition of the log ends. Raises Unavailable."""
    return [await home.log.end(TOPIC, each) for each in range(await home.log.partitions(TOPIC))]


async def take(home: Home, *, log: bool = True) -> Stats:
    """Look now. `log`: False for a look that goes without a log that is away: nothing is told of it. Raises
    Unavailable.
    """
    ends = await log_ends(home) if log else []
    handed_in = await home.inlet.lag() if log else 0
    at, relayed = home.clock(), await home.relay.waiting_since()
    standing = await home.timekeeping.look()
    unknown = len(await home.epochs.unknown()) if all(map(home.keys.gives, books.KINDS)) else None
    async with home.store.read() as tx:
        soon = expiring(await home.lookup.directory(tx), await home.credentials.list(tx), at)
        offsets = await _offsets(tx)
        planned = await _oldest_planned(tx)
        size = await size_of(tx)
        signed = await _scalar(tx, select(ledger_checkpoints.c.at).where(ledger_checkpoints.c.size == size))
        seen = await home.cosigning.seen(tx)
        unordered = ledger_entries.c.position.is_(None)
        return Stats(
            at=at,
            lag={partition: max(0, end - offsets.get(partition, 0)) for partition, end in enumerate(ends)},
            undelivered_age=_age(at, planned),
            letters=await _scalar(tx, select(func.count()).where(dead_letters.c.replayed_at.is_(None))) or 0,
            ledger_size=size,
            ledger_age=_age(at, signed),
            waiting=await _scalar(tx, select(func.count()).select_from(ledger_entries).where(unordered)) or 0,
            waiting_age=_age(at, await oldest_waiting(tx, home.settings.ledger_window_seconds)),
            routers=len(await living(tx, at)),
            witnessed=await _witnessed(home, tx),
            witnesses={name: (entries, max(0, at - when)) for name, (entries, when) in seen.items()},
            webhooks_disabled=await _scalar(tx, _DISABLED) or 0,
            inlet_lag=handed_in,
            webhooks=await _webhooks(tx),
            webhook_age=_age(at, await _scalar(tx, select(func.min(webhooks.c.message_at)))),
            messages=await _messages(tx),
            message_age=_age(at, await _scalar(tx, select(func.min(messages.c.at)).where(_WAITING))),
            relay_age=_age(at, relayed),
            unknown_keys=unknown,
            clock_ahead=standing.ahead_ms,
            clock_believed=standing.believed,
            check=last_check(home.settings.endings_folder),
            backup=last_backup(home.settings.endings_folder),
            disks=disks(home.settings),
            expiring=tuple(soon),
            quotas=_quotas(home),
        )


def _quotas(home: Home) -> dict[str, int]:
    """As the API names them in `RateLimit-Policy`."""
    chosen = home.settings
    return {
        "client": chosen.requests_per_minute,
        "address": chosen.address_requests_per_minute,
        "declarations": chosen.declarations_per_minute,
    }


async def _witnessed(home: Home, tx: Transaction) -> int:
    try:
        return (await home.cosigning.witnessed(tx))[0]
    except Refused:  # none yet
        return 0


async def _webhooks(tx: Transaction) -> dict[str, int]:
    """A row for each administration that has one: few, and all are read."""
    living = [Status.PROVING, Status.ACTIVE, Status.DISABLED]
    rows = await tx.execute(select(webhooks.c.status, func.count().label("total")).group_by(webhooks.c.status))
    found = {row.status: row.total for row in rows}
    return {status.value: found.get(status.value, 0) for status in living}


async def _messages(tx: Transaction) -> dict[str, int]:
    waiting = select(func.count()).select_from(messages).where(_WAITING)
    given_up = select(func.count()).select_from(messages).where(*GIVEN_UP)
    return {"waiting": await _scalar(tx, waiting) or 0, "given-up": await _scalar(tx, given_up) or 0}


async def oldest_waiting(tx: Transaction, window_seconds: int) -> int | None:
    """When the window of the oldest entry that no checkpoint covers was over, or will be: so long nobody orders it."""
    waiting = select(func.min(ledger_entries.c.window)).where(ledger_entries.c.position.is_(None))
    oldest: int | None = (await tx.execute(waiting)).scalar()
    return None if oldest is None else oldest + window_seconds * 1000


async def _scalar(tx: Transaction, question: Executable) -> int | None:
    found: int | None = (await tx.execute(question)).scalar()
    return found


async def _offsets(tx: Transaction) -> dict[int, int]:
    rows = await tx.execute(select(consumed.c.partition, consumed.c.next_offset).where(consumed.c.topic == TOPIC))
    return {row.partition: row.next_offset for row in rows}


async def _oldest_planned(tx: Transaction) -> int | None:
    """By way of each mailbox, for that is what the index knows."""
    found: list[int] = []
    for state in sorted(state.value for state in ACTIVE):
        first = (
            select(func.min(deliveries.c.seq))
            .where(deliveries.c.recipient == parties.c.id, deliveries.c.state == state)
            .scalar_subquery()
        )
        oldest = await _scalar(tx, select(func.min(select(first.label("seq")).subquery().c.seq)))
        if oldest is not None:
            found.append(oldest)
    if not found:
        return None
    return await _scalar(tx, select(deliveries.c.planned_at).where(deliveries.c.seq == min(found)))


def _age(at: Instant, since: int | None) -> int | None:
    return None if since is None else max(0, at - since)


class Tally:
    """Counts the ledger's entries by kind and reason, from where the ledger ends at the first call."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[FactKind, Reason | None]] = Counter()
        self._next: int | None = None

    async def follow(self, store: Store) -> None:
        """Count what was ordered since the last call. Raises Unavailable."""
        if self._next is None:
            async with store.read() as tx:
                self._next = await size_of(tx)
        for _ in range(READS):
            ordered = (
                select(ledger_entries.c.entry, ledger_openings.c.kind, ledger_openings.c.reason)
                .outerjoin(ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf)
                .where(ledger_entries.c.position >= self._next)
            )
            async with store.read() as tx:
                rows = (await tx.execute(ordered.order_by(ledger_entries.c.position).limit(READ))).all()
            for row in rows:
                self.counted[_kind(row)] += 1
            self._next += len(rows)
            if len(rows) < READ:
                return


def _kind(row: Row[Any]) -> tuple[FactKind, Reason | None]:
    """As its opening's row says, or the open entry; of what nothing opens any more, that it was erased."""
    if row.kind is not None:
        return FactKind(row.kind), None if row.reason is None else Reason(row.reason)
    opened = Entry.decode(row.entry).open
    return (FactKind.ERASED, None) if opened is None else (opened.kind, opened.reason)
