"""Erased: what was sealed of a declaration goes on its citizen's word; who got what of it stays, for its time.

    declarations.envelope, deliveries.locked ──► empty, for ever │ rows, states, instants ──► until they are pruned

Refuses: while anything about the citizen is on its way.
Keeps: a row that was emptied has the machine's MAC, its entry in the ledger, and its record in the journal of endings:
nobody who writes rows empties one unseen, and whoever puts the sealed bytes back, or a whole backup, has nothing
planned from them: the next start empties the row again.
Source: Regulation (EU) 2016/679 (GDPR), article 17; docs/adr/0054-a-persons-rights.md.
"""

from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, Select, delete, exists, func, select, update

from broker.ended import Ended, Ending
from broker.flow.deliveries import citizen_lock
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.citizen_tables import told_already
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import LOCKED, dead_letters, declarations, deliveries, submissions
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, ManifestDigest, SubjectRef

BATCH: Final = 100
"""Declarations of one transaction."""
PAGE: Final = 20
"""Letters that are looked at together: each holds up to a megabyte."""
EMPTY: Final = b""
_HELD: Final = func.length(declarations.c.envelope) > 0


def is_erased(row: Row[Any], ended: Ended) -> bool:
    """Whether a declaration's row was emptied, or was put back after that."""
    return row.envelope == EMPTY or ended.newest(declarations.name, row.declaration_id) is not None


async def erased_of(tx: Transaction, seq: int) -> bool:
    """Whether the row of this number was emptied."""
    row = (await tx.execute(select(declarations).where(declarations.c.seq == seq))).one_or_none()
    return row is not None and is_erased(row, await tx.endings())


async def under_way(tx: Transaction, subject: SubjectRef) -> int:
    """How much about a citizen is on its way: deliveries that have not ended, and what was handed in and not routed."""
    open_ = (deliveries.c.declaration.in_(_declared(subject)), deliveries.c.done_at.is_(None))
    planned: int = (await tx.execute(select(func.count()).select_from(deliveries).where(*open_))).scalar_one()
    routed = exists().where(declarations.c.declaration_id == submissions.c.declaration_id)
    waits = select(func.count()).select_from(submissions).where(submissions.c.subject == subject, ~routed)
    return planned + int((await tx.execute(waits)).scalar_one())


def _declared(subject: SubjectRef) -> Select[Any]:
    """By these there is an index of what is about a citizen."""
    return select(declarations.c.seq).where(declarations.c.subject == subject)


class Erased:
    """The only one that empties the rows of declarations."""

    def __init__(self, *, store: Store, macs: RowMacs, recorder: Recorder, clock: Clock) -> None:
        self._store = store
        self._macs = macs
        self._recorder = recorder
        self._clock = clock

    async def due(self, tx: Transaction, subject: SubjectRef) -> dict[str, int]:
        """How many rows of each table `erase` would empty, or take away."""
        mine = declarations.c.subject == subject
        counted = {
            "declarations": select(func.count()).select_from(declarations).where(mine, _HELD),
            "deliveries": select(func.count())
            .select_from(deliveries)
            .where(deliveries.c.declaration.in_(_declared(subject)), LOCKED),
        }
        told = {name: int((await tx.execute(one)).scalar_one()) for name, one in counted.items()}
        return told | {"dead_letters": len(await self._letters(tx, subject))}

    async def erase(self, subject: SubjectRef) -> int:
        """Empty a batch of what is held of a citizen. Returns how many declarations; 0: nothing is left.

        Raises Refused `rights.under-way`; Unavailable.
        """
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(subject)])  # nobody plans by this citizen's consents meanwhile
            waiting = await under_way(tx, subject)
            if waiting:
                raise Refused("rights.under-way", "/person", count=waiting)
            letters = await self._letters(tx, subject)
            if letters:
                await tx.execute(delete(dead_letters).where(dead_letters.c.id.in_(letters)))
            asked = select(declarations).where(declarations.c.subject == subject, _HELD).order_by(declarations.c.seq)
            rows = self._macs.valid(declarations.name, (await tx.execute(asked.limit(BATCH))).all())
            at = self._clock()
            for row in rows:
                tx.end(Ending.of(declarations.name, row.declaration_id, at=at))
                self._record(tx, row, at)
                await self._empty(tx, row, at)
            mark("erased.emptied")
            # Crash here: all of the batch is as it was; or, where the journal of endings has it, the next start empties
            # it. Whoever erases does so again.
        return len(rows)

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of a declaration, and its row does not. Whether there was anything."""
        async with self._store.begin() as tx:
            asked = select(declarations).where(declarations.c.declaration_id == ending.key, _HELD)
            rows = self._macs.valid(declarations.name, (await tx.execute(asked)).all())
            for row in rows:
                await tx.lock_exclusive([citizen_lock(SubjectRef(row.subject))])
                self._record(tx, row, self._clock())
                await self._empty(tx, row, self._clock())
        return bool(rows)

    async def _empty(self, tx: Transaction, row: Row[Any], at: Instant) -> None:
        values = self._macs.made(declarations.name, {**row._mapping, "envelope": EMPTY})
        await tx.execute(update(declarations).where(declarations.c.seq == row.seq).values(values))
        ended = (deliveries.c.declaration == row.seq, deliveries.c.done_at.is_not(None), LOCKED)
        await tx.execute(update(deliveries).where(*ended).values(locked=EMPTY))
        await tx.execute(delete(told_already).where(told_already.c.declaration == row.declaration_id))
        theirs = select(deliveries.c.id).where(deliveries.c.declaration == row.seq)
        waits = (dead_letters.c.delivery.in_(theirs), dead_letters.c.replayed_at.is_(None))
        await tx.execute(update(dead_letters).where(*waits).values(replayed_at=at))  # there is nothing to try again

    def _record(self, tx: Transaction, row: Row[Any], at: Instant) -> None:
        of, about = ManifestDigest(row.manifest_digest), SubjectRef(row.subject)
        self._recorder.record(tx, FactKind.DECLARATION_ERASED, at, declaration=of, about=about)

    async def _letters(self, tx: Transaction, subject: SubjectRef) -> list[int]:
        """Letters of the router that hold the sealed bytes of what a citizen declared, and that somebody replayed."""
        mine = select(submissions.c.envelope_digest).where(submissions.c.subject == subject)
        digests = {bytes(one) for one in (await tx.execute(mine)).scalars()}
        found: list[int] = []
        if digests:
            async with aclosing(tx.pages(_REPLAYED, PAGE)) as pages:
                async for rows in pages:
                    found += [row.id for row in rows if sha256(row.record).digest() in digests]
        return found


_REPLAYED: Final = (
    select(dead_letters.c.id, dead_letters.c.record)
    .where(dead_letters.c.record.is_not(None), dead_letters.c.replayed_at.is_not(None))
    .order_by(dead_letters.c.id)
)
