"""The journal in a second database, under another login: for a broker whose processes run on several machines.

    journal  one row: the header (`frames`)     endings  a row for each frame     ledger_mark  one row: the sealed mark
    spent    a row for each thing that counts once, until it is over

Refuses: a database that holds no journal where the key store knows one.
Keeps: the port's promises. Writers take turns by a lock of that database; a look is one question. Who administers it
reads nothing, and changes nothing unseen: the frames are those of the file. It is not restored with the first one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from broker.ended import Ended, Ending, Endings, Mark, kept
from broker.endings import frames
from broker.endings.frames import Frames, Place
from broker.ports import Entropy, KeyKind, KeyStore
from broker.store.engine import Store, Transaction
from broker.store.postgres import USUAL, Waits
from schemas.errors import Corrupt, Unavailable
from schemas.names import Instant

LOCK: Final = b"endings"

metadata: Final = MetaData()
journal: Final = Table("journal", metadata, Column("header", LargeBinary, primary_key=True))
endings: Final = Table(
    "endings",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("frame", LargeBinary, nullable=False),
)
ledger_mark: Final = Table(
    "ledger_mark",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
)
spent: Final = Table(
    "spent",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("until", BigInteger, nullable=False, index=True),
)

_NEWEST: Final = select(func.max(endings.c.number)).scalar_subquery().label("newest")
_NEW: Final = (
    select(journal.c.header, _NEWEST, endings.c.number, endings.c.frame)
    .select_from(journal.outerjoin(endings, endings.c.number > bindparam("seen")))
    .order_by(endings.c.number)
)


class SqlEndings(Endings):
    """Made by `SqlEndings.open`; closed by `close`."""

    def __init__(self, store: Store, sealer: Frames, header: bytes) -> None:
        self._store = store
        self._frames = sealer
        self._header = b""
        self._place = Place(0, b"")
        self._ended = Ended()
        self._begin_again(header)

    @classmethod
    async def open(cls, url: str, keys: KeyStore, entropy: Entropy, waits: Waits = USUAL) -> "SqlEndings":
        """The journal in a database; begun where there never was one. Its login may make tables.

        Raises Corrupt: `endings.lost`, `endings.no-key`, `endings.damaged`; Unavailable `endings.away`.
        """
        store = Store.open(url, waits)
        async with _faults(), store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            await tx.conn.run_sync(metadata.create_all)
            key, header = frames.key_of(keys), (await tx.execute(select(journal.c.header))).scalar()
            begins = key is None
            if key is None:
                if (await tx.execute(select(_NEWEST))).scalar() is not None:
                    raise Corrupt("endings.no-key")
                key = entropy(32)
                header = Frames(key, entropy).header(entropy(frames.JOURNAL_BYTES))
                await tx.execute(delete(journal))
                await tx.execute(insert(journal).values(header=header))
            elif header is None:
                raise Corrupt("endings.lost")
        if begins:
            # Crash here: a journal without its key, and nothing in it; the next start begins it anew.
            keys.write(KeyKind.ENDINGS, frames.KEY, key)
        return cls(store, Frames(key, entropy), bytes(header))

    async def close(self) -> None:
        await self._store.dispose()

    async def look(self) -> Ended:
        async with _faults():
            while True:
                async with self._store.read_one() as tx:
                    if await self._read(tx):
                        return self._ended

    async def marked(self) -> Mark | None:
        async with _faults(), self._store.read_one() as tx:
            return (await self._read_mark(tx))[1]

    async def compact(self, before: Instant, over: Mapping[str, Instant]) -> int:
        async with self._alone() as tx:
            rows = (await tx.execute(select(endings).order_by(endings.c.number))).all()
            records = self._opened(row.frame for row in rows)
            stays = set(kept(records, before, over)) if records else set()
            if len(stays) == len(records):
                return 0
            ours = bytes.fromhex(self.journal)
            header = self._frames.header(ours)
            anew = self._sealed([(number, one.encode()) for number, one in records if number in stays], header)
            await tx.execute(delete(endings))
            await tx.execute(insert(endings), anew)
            await tx.execute(update(journal).values(header=header))
            # Crash here: the transaction is gone, and the journal as it was.
        return len(records) - len(stays)

    async def spend(self, digest: bytes, until: Instant, at: Instant) -> bool:
        async with _faults(), self._store.begin() as tx:
            await tx.execute(delete(spent).where(spent.c.until < at))
            return await tx.insert_new(spent, {"digest": digest, "until": until})

    async def _write(self, encoded: Sequence[bytes]) -> None:
        await asyncio.shield(self._append(encoded))  # whoever is cancelled does not break it off half way
        await self.look()  # from now on it is missed

    async def _append(self, encoded: Sequence[bytes]) -> None:
        async with self._alone() as tx:
            first = self._place.number + 1
            await tx.execute(insert(endings), self._sealed(list(enumerate(encoded, first)), None))
            # Crash here: none of them is there; the caller's transaction is gone, too.

    async def _mark(self, encoded: bytes, seen: Mark | None) -> None:
        async with self._alone() as tx:
            count, now = await self._read_mark(tx)
            if now != seen:
                raise Unavailable("endings.marked-meanwhile")
            sealed = self._frames.seal_mark(bytes.fromhex(self.journal), count + 1, encoded)
            await tx.execute(delete(ledger_mark))
            await tx.execute(insert(ledger_mark).values(id=1, sealed=sealed))
            # Crash here: the mark is as it was, and so is the ledger.

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Transaction]:
        """The only writer, who has read everything."""
        async with _faults(), self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])
            while not await self._read(tx):
                pass
            yield tx

    async def _read_mark(self, tx: Transaction) -> tuple[int, Mark | None]:
        sealed = (await tx.execute(select(ledger_mark.c.sealed))).scalar()
        return (0, None) if sealed is None else self._frames.open_mark(bytes.fromhex(self.journal), bytes(sealed))

    async def _read(self, tx: Transaction) -> bool:
        """Take in what is new; False when it has to be asked again, from where this object is now."""
        seen, header = self._place.number, self._header
        rows = (await tx.execute(_NEW, {"seen": seen})).all()
        return header == self._header and self._taken(rows, seen)

    def _taken(self, rows: Sequence[Row[Any]], seen: int) -> bool:
        """Take in what is new; False when the journal was written anew, and has to be read from its beginning.

        `seen`: the newest record when the question was put. Other tasks may have taken in more while it was answered.
        """
        if not rows:
            raise Corrupt("endings.lost")
        if bytes(rows[0].header) != self._header:
            self._begin_again(bytes(rows[0].header))
            return False
        if (rows[0].newest or 0) < seen:
            raise Corrupt("endings.cut", position=seen)
        for row in rows:
            if row.number is not None and row.number > self._place.number:  # another task may have been faster
                self._place, ending = self._frames.open(bytes.fromhex(self.journal), self._place, bytes(row.frame))
                self._ended.add(self._place.number, ending)
        return True

    def _begin_again(self, header: bytes) -> None:
        self._header = header
        ours, self._place = frames.start(header)
        self.journal = ours.hex()
        self._ended = Ended()

    def _opened(self, all_frames: Iterable[bytes]) -> list[tuple[int, Ending]]:
        ours, place = frames.start(self._header)
        found = []
        for frame in all_frames:
            place, ending = self._frames.open(ours, place, bytes(frame))
            found.append((place.number, ending))
        return found

    def _sealed(self, records: Sequence[tuple[int, bytes]], header: bytes | None) -> list[dict[str, Any]]:
        """The rows of these records, after all that there are, or after a new header."""
        ours = bytes.fromhex(self.journal)
        place: Place = self._place if header is None else frames.start(header)[1]
        made = []
        for number, record in records:
            frame = self._frames.seal(ours, number, place, record)
            place, _ = self._frames.open(ours, place, frame)
            made.append({"number": number, "frame": frame})
        return made


@asynccontextmanager
async def _faults() -> AsyncIterator[None]:
    try:
        yield
    except Unavailable as fault:
        if fault.code.startswith("store."):
            raise Unavailable("endings.away", error=fault.code) from None
        raise
