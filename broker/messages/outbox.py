"""Outbox: which news waits for which channel; the ledger is what it is made from.

    ledger entries that have their place ──plan──► one row for each piece of news and channel ──► `sending`
    whoever knows of news that no entry tells ──tell, in the transaction that makes it true──► the same rows

Refuses: news that the broker did not record, and a declaration's number from a row that does not count.
Keeps: a fact is in the ledger in the transaction of its effect, so news is neither lost nor told of what was rolled
back; planning moves its place in the ledger in the transaction of its rows, and a row's id follows from what it tells
and to which channel: planned again, by whomever and how often, it is the same row. For citizens without a channel
nothing is written, and no declaration waits for any of this.
Source: docs/adr/0049-citizens-are-told.md.
"""

import hmac
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, bindparam, func, select, update

from broker.directory.kin import Kin
from broker.directory.lookup import Lookup
from broker.ledger.openings import Opened, Openings
from broker.messages.channels import Channel, Channels
from broker.messages.news import KINDS, News, news_of
from broker.observability.crashpoints import mark
from broker.observability.observe import RowName, logger
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.message_tables import channels, messages
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, ledger_entries, ledger_openings, meta
from consent.asking import one_of
from schemas.entry import Entry
from schemas.errors import Corrupt, Refused
from schemas.facts import Facts
from schemas.names import ChannelId, DeclarationId, Instant, ManifestDigest, SubjectRef

ID_BYTES: Final = 16
PLACES: Final = 5_000
"""Entries of the ledger that one transaction looks at."""
PASSAGES: Final = 100
"""Transactions of one step: what is left, the next one takes."""
PLANNED: Final = "messages-planned"
"""The row of `meta` that says up to which place of the ledger news was planned."""
LOCK: Final = b"messages"
_DAY_MS: Final = 86_400_000
_WRITTEN: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
_LABEL: Final = b"unefois/message/v1\x00"
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class _Told:
    """One piece of news about one citizen. `key`: by which the same news is known again."""

    news: News
    subject: SubjectRef
    at: Instant
    key: bytes
    manifest: ManifestDigest | None = None
    declaration: DeclarationId | None = None


@dataclass(frozen=True, slots=True)
class _Theirs:
    """The channels of some citizens, those who have one, and under which references each stands."""

    channels: Mapping[SubjectRef, Sequence[Channel]]
    kin: Kin


class Outbox:
    """Writes the rows. `plan` may be called by many processes at once."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        openings: Openings,
        channels: Channels,
        macs: RowMacs,
        days: int,
        clock: Clock,
    ) -> None:
        """`days`: how long news is worth being told."""
        self._store = store
        self._lookup = lookup
        self._openings = openings
        self._channels = channels
        self._macs = macs
        self._late_ms = days * _DAY_MS
        self._clock = clock

    async def tell(
        self,
        tx: Transaction,
        news: News,
        subject: SubjectRef,
        *,
        key: bytes,
        declaration: DeclarationId | None,
        at: Instant,
    ) -> int:
        """News that no entry of the ledger tells (`news_of`), in the transaction that makes it true, for every channel
        that was held at `at`. `key`: what the news is of, such as a delivery's id: the same news with the same key is
        told once. Returns how many messages are new. Where no way is set nothing is asked and nothing written;
        where one is, it costs one question, and a row for each channel.
        """
        if not self._channels.reach_anybody:
            return 0
        told = _Told(news, subject, at, b"%s\x00%s" % (news.value.encode(), key), declaration=declaration)
        return await self._write(tx, [told], await self._theirs(tx, {subject}))

    async def plan(self) -> int:
        """Write down what the ledger tells since the last time. Returns how many messages. Raises Unavailable."""
        written = 0
        for _ in range(PASSAGES):
            async with self._store.read() as tx:
                if not await self._waits(tx):
                    break
            async with self._store.begin() as tx:
                await tx.lock_exclusive([LOCK])  # whoever plans at the same time finds our place when we are done
                known = await self._place(tx)
                until = min(await _size(tx), known + PLACES)
                written += await self._plan(tx, known, until)
                await self._move(tx, until)
                mark("messages.planned")
                # Crash here: nothing was written; the next process that looks finds the same.
        return written

    async def planned_until(self, tx: Transaction) -> int:
        """Up to which place of the ledger news was planned; what stands there was looked at, but for the last one."""
        return await self._place(tx)

    async def _waits(self, tx: Transaction) -> bool:
        """Whether somebody has a channel, and the ledger has grown: one look at an index where neither is so."""
        if (await tx.execute(_ANY)).one_or_none() is None:
            return False
        return await self._place(tx) < await _size(tx)

    async def _plan(self, tx: Transaction, start: int, until: int) -> int:
        """First whose entries these are, then who of them has a channel, then what those say: three questions for
        thousands of entries, each answered by an index.
        """
        placed = (await tx.execute(_PLACED, {"start": start, "until": until})).all()
        whose = {bytes(row.subject) for row in placed if isinstance(row.subject, bytes)}
        theirs = await self._theirs(tx, {SubjectRef(one) for one in whose if len(one) == SubjectRef.size})
        wanted = [row.leaf for row in placed if row.subject in theirs.channels]
        found = []
        for first in range(0, len(wanted), _CHUNK):
            for row in (await tx.execute(_SEALED, {"leaves": wanted[first : first + _CHUNK]})).all():
                opened = self._opened(row)
                news = None if opened is None else news_of(opened.facts)
                if opened is not None and news is not None:
                    facts, told = opened.facts, SubjectRef(row.subject)
                    found.append(_Told(news, told, facts.at, key_of(news, facts), facts.declaration))
        return await self._write(tx, found, theirs)

    def _opened(self, row: Row[Any]) -> Opened | None:
        """None for what nobody can open any more, and for what somebody has edited, which fsck tells of."""
        try:
            return self._openings.open(row.leaf, Entry.decode(row.entry), row)
        except (Corrupt, Refused) as fault:
            name = RowName.of(ledger_openings.name, row.leaf)
            logger().error("messages.not-opened", row=name, code=fault.code)
            return None

    async def _theirs(self, tx: Transaction, subjects: Collection[SubjectRef]) -> _Theirs:
        """The channels of those citizens who have one; a citizen's own are those of every linked reference."""
        kin = await self._lookup.kin(tx, subjects, self._clock())
        own: dict[SubjectRef, list[Channel]] = {}
        for one in await self._channels.of(tx, kin.all() | set(subjects)):
            own.setdefault(one.subject, []).append(one)
        found = {each: [one for of in kin.of(each) for one in own.get(of, ())] for each in subjects} if own else {}
        return _Theirs({each: channels for each, channels in found.items() if channels}, kin)

    async def _write(self, tx: Transaction, found: Sequence[_Told], theirs: _Theirs) -> int:
        numbers = await self._numbers(tx, (told.manifest for told in found if told.manifest is not None))
        now, rows = self._clock(), []
        for told in found:
            named = told.declaration
            if told.manifest is not None:
                source = numbers.get(told.manifest)
                if source is None or source[1] not in theirs.kin.of(told.subject):
                    continue
                named = source[0]
            reached = theirs.channels.get(told.subject, ())
            rows += [self._row(told, named, one, now) for one in reached if one.held_at(told.at)]
        rows.sort(key=lambda row: bytes(row["id"]))
        return len(await tx.insert_all_new(messages, rows, messages.c.id))

    def _row(self, told: _Told, declaration: DeclarationId | None, to: Channel, now: Instant) -> dict[str, Any]:
        """One message; what is known only now and was worth telling long ago is never sent, and says so."""
        late = now - told.at > self._late_ms
        row = {
            "id": id_of(to.id, told.key),
            "channel": to.id,
            "news": told.news.value,
            "declaration": declaration,
            "at": told.at,
            "attempts": 0,
            "next_at": None if late else now,
            "sent_at": None,
            "code": "messages.too-late" if late else None,
        }
        return self._macs.made(messages.name, row)

    async def _numbers(
        self, tx: Transaction, manifests: Iterable[ManifestDigest]
    ) -> Mapping[ManifestDigest, tuple[DeclarationId, SubjectRef]]:
        """The declarations' numbers, and whose each is."""
        found: dict[ManifestDigest, tuple[DeclarationId, SubjectRef]] = {}
        ordered = sorted(set(manifests))
        for first in range(0, len(ordered), _CHUNK):
            rows = await tx.execute(_DECLARED, {"digests": ordered[first : first + _CHUNK]})
            for row in self._macs.valid(declarations.name, rows):
                found[ManifestDigest(row.manifest_digest)] = DeclarationId(row.declaration_id), SubjectRef(row.subject)
        return found

    # ── the place in the ledger ─────────────────────────────────────────────────────────────────────────────────────

    async def _place(self, tx: Transaction) -> int:
        """From where on nothing was planned. A place that somebody else wrote is none: everything is looked at again,
        and the same rows come of it. So is one beyond the ledger, which another one follows.
        """
        told = (await tx.execute(_PLACE)).scalar()
        if told is None:
            return 0
        found = _WRITTEN.fullmatch(str(told))
        if found is None or not hmac.compare_digest(found[2], self._mac(int(found[1]))):
            logger().error("rows.unsigned", row=RowName.of(meta.name, PLANNED.encode()))
            return 0
        return int(found[1]) if int(found[1]) <= await _size(tx) else 0

    async def _move(self, tx: Transaction, until: int) -> None:
        value = f"{until}:{self._mac(until)}"
        if not await tx.insert_new(meta, {"name": PLANNED, "value": value}):
            await tx.execute(update(meta).where(meta.c.name == PLANNED).values(value=value))

    def _mac(self, place: int) -> str:
        """By which nobody who writes rows has news passed over."""
        return self._macs.asked([PLANNED, str(place)]).hex()


async def _size(tx: Transaction) -> int:
    found: int | None = (await tx.execute(_LAST)).scalar()
    return 0 if found is None or found < 0 else found + 1


def id_of(channel: ChannelId, key: bytes) -> bytes:
    """The id of the message that tells a channel of this, 16 bytes."""
    return sha256(_LABEL + channel + key).digest()[:ID_BYTES]


def key_of(news: News, facts: Facts) -> bytes:
    """By which the same fact is known again, in whatever ledger it stands. Recipients that are all kept waiting at the
    same instant for a word of the citizen's are one message: it reads the same for each of them.
    """
    parts = (facts.declaration, facts.delivery, facts.detail)
    return b"\x00".join((news.value.encode(), str(facts.at).encode(), *(part or b"" for part in parts)))


_ANY: Final = select(channels.c.id).where(channels.c.id > b"").limit(1)
_LAST: Final = select(func.max(ledger_entries.c.position))
_PLACE: Final = select(meta.c.value).where(meta.c.name == PLANNED)
_DECLARED: Final = select(declarations).where(one_of(declarations.c.manifest_digest, "digests"))
_SAME: Final = ledger_entries.c.leaf == ledger_openings.c.leaf
_PLACED: Final = (
    select(ledger_entries.c.leaf, ledger_openings.c.subject)
    .join(ledger_openings, _SAME)
    .where(
        ledger_entries.c.position >= bindparam("start"),
        ledger_entries.c.position < bindparam("until"),
        ledger_openings.c.kind.in_(KINDS),
    )
    .order_by(ledger_entries.c.position)
)
"""What may be news, and whose."""
_SEALED: Final = (
    select(ledger_openings, ledger_entries.c.entry)
    .join(ledger_entries, _SAME)
    .where(one_of(ledger_openings.c.leaf, "leaves"))
)
