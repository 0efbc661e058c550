"""Drafts: what a citizen has begun to type and not declared; it is held for 72 hours and closed when it is declared.

    in a session   write ──► the person's own draft: one row, a version for each write
    save           a copy that only its code opens; the code is told once and kept nowhere
    resume         code ──► the person's own draft, the newest that was typed; from now on the code is theirs alone
    close          both go

Refuses: a write over a version that the writer has not seen (another tab was faster); another person's draft, and a
code that is wrong, over, closed or another person's, all in one word; more than MOST drafts, or 64 KiB in one.
Keeps: each call is one transaction: killed anywhere, what was confirmed is there, and saying it again does no harm. A
code never takes away the draft that it copies, so a code that nobody got to see loses nothing. A row without the
machine's MAC is as absent.
Source: docs/adr/0059-drafts-fingerprints-and-receipts-in-the-page.md.
"""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, delete, func, or_, select, update

from broker.citizens.draft_seals import ID_BYTES, DraftSeals, read_code, written_code
from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy
from broker.store.citizen_tables import citizen_drafts
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from schemas.errors import Refused
from schemas.names import Instant, SubjectRef

HOURS: Final = 72
"""How long a draft is held after it was last written, and a code works after it was told."""
MOST: Final = 10
"""Drafts of one person at the same time."""

_HELD_MS: Final = HOURS * 3_600_000
_AT_ONCE: Final = 2
"""Codes that are tried at the same time: each takes 32 MiB."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What was typed. `content`: as JSON has it; `form`: which form it is of; `version`: 1 for the first write."""

    id: bytes
    form: str
    content: Mapping[str, Any] = field(repr=False)
    version: int
    written_at: Instant
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Saved:
    """A code as it is shown, once; and until when it works."""

    code: str = field(repr=False)
    expires_at: Instant


class Drafts:
    """The only writer of the drafts."""

    def __init__(self, *, store: Store, seals: DraftSeals, macs: RowMacs, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._seals = seals
        self._macs = macs
        self._clock = clock
        self._entropy = entropy
        self._trying = asyncio.Semaphore(_AT_ONCE)

    async def of(self, subject: SubjectRef) -> list[Draft]:
        """A person's own drafts, the one written last first. Raises Corrupt `drafts.damaged`; Unavailable."""
        async with self._store.read() as tx:
            return await self.in_(tx, subject)

    async def in_(self, tx: Transaction, subject: SubjectRef) -> list[Draft]:
        """As `of`, in the caller's transaction."""
        rows = await self._own(tx, subject)
        return [self._opened(row, self._seals.own_key(row.id, subject)) for row in rows]

    async def read(self, subject: SubjectRef, draft: bytes) -> Draft:
        """One of a person's own. Raises Refused `drafts.unknown`; Corrupt `drafts.damaged`; Unavailable."""
        async with self._store.read() as tx:
            row = await self._mine(tx, subject, draft)
        return self._opened(row, self._seals.own_key(draft, subject))

    async def write(
        self, subject: SubjectRef, form: str, content: Mapping[str, Any], draft: bytes | None = None, seen: int = 0
    ) -> Draft:
        """Keep what was typed. `draft`: which one, None for a new one; `seen`: the version that the writer saw last.

        Raises Refused `drafts.changed` (somebody else wrote since: read it again), `drafts.unknown`,
        `drafts.too-large`, `drafts.too-many`; Unavailable.
        """
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_lock(self._seals.owner(subject))])
            if draft is None:
                if len(await self._own(tx, subject)) >= MOST:
                    raise Refused("drafts.too-many", limit=MOST)
                return await self._insert(tx, subject, self._entropy(ID_BYTES), form, content)
            row = await self._mine(tx, subject, draft)
            if row.version != seen:
                raise Refused("drafts.changed")
            made, values = self._next(row, subject, form, content)
            await tx.execute(update(citizen_drafts).where(citizen_drafts.c.id == draft).values(values))
            mark("drafts.written")
            # Crash here: what was confirmed before is there; what was typed now is in the browser, and is sent again.
        return made

    async def close(self, subject: SubjectRef, draft: bytes) -> None:
        """Take it away, with the copy that a code opens. Closed already, it changes nothing. Raises Unavailable."""
        async with self._store.begin() as tx:
            owner = self._seals.owner(subject)
            await tx.lock_exclusive([_lock(owner)])
            mine = or_(citizen_drafts.c.id == draft, citizen_drafts.c.origin == draft)
            await tx.execute(delete(citizen_drafts).where(mine, citizen_drafts.c.owner == owner))
            mark("drafts.closed")
            # Crash here: it is as it was; it ends when its 72 hours do, or is closed again.

    async def save_as_code(self, subject: SubjectRef, draft: bytes) -> Saved:
        """Copy a person's own draft to where only a code finds and opens it. An older code of it stops to work.

        Raises Refused `drafts.unknown`; Corrupt `drafts.damaged`; Unavailable.
        """
        kept = await self.read(subject, draft)
        code = self._seals.new_code()
        key = await self._key(code)
        async with self._store.begin() as tx:
            owner = self._seals.owner(subject)
            await tx.lock_exclusive([_lock(owner)])
            row = await self._mine(tx, subject, draft)
            if row.version != kept.version:  # another tab wrote meanwhile: the copy is of what it wrote
                kept = self._opened(row, self._seals.own_key(draft, subject))
            older = (citizen_drafts.c.origin == draft, citizen_drafts.c.owner == owner)
            await tx.execute(delete(citizen_drafts).where(*older))
            saved = self._insert_coded(tx, code, key, _told(kept.form, kept.content), owner=owner, origin=draft)
            longer = self._next(row, subject, kept.form, kept.content, version=row.version)[1]
            await tx.execute(update(citizen_drafts).where(citizen_drafts.c.id == draft).values(longer))
            mark("drafts.saved")
            # Crash here: no code was made, and the draft is as it was. Crash after the commit, before the code was
            # shown: a code that nobody knows; the draft is there, and a new code takes the place of that one.
        return saved

    async def begin_for_somebody(self, form: str, content: Mapping[str, Any]) -> Saved:
        """Keep what was typed at a counter, for whoever gets the code: the first who resumes it in a session of their
        own is the only one from then on. Raises Refused `drafts.too-large`; Unavailable.
        """
        code = self._seals.new_code()
        key = await self._key(code)
        async with self._store.begin() as tx:
            saved = self._insert_coded(tx, code, key, _told(form, content))
            mark("drafts.begun")
            # Crash here: nothing is kept, no code was told; it is typed again.
        return saved

    async def resume(self, subject: SubjectRef, code: str) -> Draft:
        """The person's own draft, by the code that they typed; again, the same draft, as it is by then.

        Raises Refused `drafts.code` (also for one that is over, closed, or another person's), `drafts.too-many`;
        Corrupt `drafts.damaged`; Unavailable.
        """
        read = read_code(code)
        coded, owner = self._seals.code_id(read), self._seals.owner(subject)
        async with self._store.read_one() as tx:
            self._for(owner, await self._rows(tx, citizen_drafts.c.id == coded))
        key = await self._key(read)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([_lock(coded)])
            row = self._for(owner, await self._rows(tx, citizen_drafts.c.id == coded))
            told = self._open(row, key)
            own = row.origin or self._seals.resumed_id(coded)
            await tx.lock_exclusive([_lock(owner)])
            there = {one.id: one for one in await self._own(tx, subject)}
            if row.owner is None:
                values = self._macs.made(
                    citizen_drafts.name, {**row._mapping, "owner": owner, "origin": own, "mac": None}
                )
                await tx.execute(update(citizen_drafts).where(citizen_drafts.c.id == coded).values(values))
            if own in there:
                return self._opened(there[own], self._seals.own_key(own, subject))
            if len(there) >= MOST:
                raise Refused("drafts.too-many", limit=MOST)
            made = await self._insert(tx, subject, own, told["form"], told["content"])
            mark("drafts.resumed")
            # Crash here: the code is as it was, and is typed again.
        return made

    async def forget(self, tx: Transaction, subject: SubjectRef) -> int:
        """Take away every draft of a person, also those that a code opens. In the caller's transaction."""
        owner = self._seals.owner(subject)
        await tx.lock_exclusive([_lock(owner)])
        return (await tx.execute(delete(citizen_drafts).where(citizen_drafts.c.owner == owner))).rowcount

    async def count(self, tx: Transaction, subject: SubjectRef) -> int:
        """How many rows `forget` would take away."""
        mine = citizen_drafts.c.owner == self._seals.owner(subject)
        return int((await tx.execute(select(func.count()).select_from(citizen_drafts).where(mine))).scalar_one())

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _rows(self, tx: Transaction, *where: Any) -> list[Row[Any]]:
        """Those that count and are not over, the one written last first."""
        newest = (citizen_drafts.c.written_at.desc(), citizen_drafts.c.id)
        asked = select(citizen_drafts).where(*where).order_by(*newest)
        rows = self._macs.valid(citizen_drafts.name, await tx.execute(asked))
        return [row for row in rows if row.expires_at > self._clock()]

    async def _own(self, tx: Transaction, subject: SubjectRef) -> list[Row[Any]]:
        """Own drafts have no origin: the copies of a code do, once they are somebody's."""
        mine = (citizen_drafts.c.owner == self._seals.owner(subject), citizen_drafts.c.origin.is_(None))
        return await self._rows(tx, *mine)

    async def _mine(self, tx: Transaction, subject: SubjectRef, draft: bytes) -> Row[Any]:
        for row in await self._own(tx, subject):
            if row.id == draft:
                return row
        raise Refused("drafts.unknown")

    def _for(self, owner: bytes, rows: Sequence[Row[Any]]) -> Row[Any]:
        """The row of a code, if it is nobody's yet or this person's; a person's own draft is none of a code."""
        for row in rows:
            nobodys = row.owner is None
            theirs = row.origin is not None and hmac.compare_digest(row.owner or b"", owner)
            if nobodys or theirs:
                return row
        raise Refused("drafts.code", "/code")

    async def _insert(
        self, tx: Transaction, subject: SubjectRef, draft: bytes, form: str, content: Mapping[str, Any]
    ) -> Draft:
        at = self._clock()
        made = Draft(draft, form, content, 1, at, Instant(at + _HELD_MS))
        row = self._row(made, self._seals.own_key(draft, subject), self._seals.owner(subject))
        if not await tx.insert_new(citizen_drafts, row):  # a row that nobody here wrote stands in its place
            raise Refused("drafts.unknown")
        mark("drafts.inserted")
        # Crash here: nothing is kept, and what was typed is in the browser, which sends it again.
        return made

    def _insert_coded(
        self,
        tx: Transaction,
        code: str,
        key: bytes,
        told: Mapping[str, Any],
        *,
        owner: bytes | None = None,
        origin: bytes | None = None,
    ) -> Saved:
        at, coded = self._clock(), self._seals.code_id(code)
        expires_at = Instant(at + _HELD_MS)
        row = {
            "id": coded,
            "owner": owner,
            "origin": origin,
            "version": 1,
            "written_at": at,
            "expires_at": expires_at,
            "sealed": self._seals.seal(key, coded, 1, expires_at, told),
        }
        tx.add(citizen_drafts, self._macs.made(citizen_drafts.name, row))
        return Saved(written_code(code), expires_at)

    def _next(
        self, row: Row[Any], subject: SubjectRef, form: str, content: Mapping[str, Any], version: int | None = None
    ) -> tuple[Draft, dict[str, Any]]:
        at = max(self._clock(), Instant(row.written_at))
        made = Draft(row.id, form, content, version or row.version + 1, at, Instant(at + _HELD_MS))
        return made, self._row(made, self._seals.own_key(row.id, subject), row.owner)

    def _row(self, one: Draft, key: bytes, owner: bytes) -> dict[str, Any]:
        """As the table has a person's own draft."""
        row = {
            "id": one.id,
            "owner": owner,
            "origin": None,
            "version": one.version,
            "written_at": one.written_at,
            "expires_at": one.expires_at,
            "sealed": self._seals.seal(key, one.id, one.version, one.expires_at, _told(one.form, one.content)),
        }
        return self._macs.made(citizen_drafts.name, row)

    def _opened(self, row: Row[Any], key: bytes) -> Draft:
        told = self._open(row, key)
        dates = Instant(row.written_at), Instant(row.expires_at)
        return Draft(row.id, told["form"], told["content"], row.version, *dates)

    def _open(self, row: Row[Any], key: bytes) -> dict[str, Any]:
        return self._seals.open(key, row.id, row.version, Instant(row.expires_at), row.sealed)

    async def _key(self, code: str) -> bytes:
        async with self._trying:
            return await asyncio.to_thread(self._seals.code_key, code)


def _told(form: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"form": form, "content": dict(content)}


def _lock(key: bytes) -> bytes:
    """Exclusive for whoever changes a person's drafts, or the one of a code. Whoever needs both takes the code's
    first.
    """
    return b"draft/" + key
