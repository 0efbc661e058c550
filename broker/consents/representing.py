"""Representing: that one person acts for another is written down, and ended.

Refuses: a second record of the same ground that still stands; an end of what is unknown, or has ended.
Keeps: the record is signed; its end is in the journal of endings before it is committed. When an end returns, no intake
takes a declaration by it, and no gate opens anything under a consent that rests on it: both ask the journal, after
locks that the end took alone. Those consents are closed afterwards, with their keys, by whoever has the keys.
Source: docs/adr/0052-who-acts-for-another-is-a-record.md.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from broker.consents.consents import Consents, Recorded
from broker.directory.lookup import Lookup
from broker.ended import Ending
from broker.flow import represented
from broker.flow.deliveries import citizen_lock
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.seals import RowSigner
from broker.store.tables import representations
from consent.grant import Status
from consent.registry import CHUNK
from consent.representation import Representation
from consent.tables import grants
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import GrantId, LeafHash, PartyId, RepresentationId

TABLE: Final = representations.name
CLOSED_MS: Final = 366 * 86_400_000
"""Upkeep has closed what rested on a representation long before that."""
_LIVING: Final = grants.c.status.in_((Status.ACTIVE.value, Status.PAUSED.value))
_RESTING: Final = select(grants.c.id, grants.c.given_by).where(_LIVING).order_by(grants.c.id)


@dataclass(frozen=True, slots=True)
class Changed:
    """A record as it is now, and its entry."""

    representation: Representation
    entry: LeafHash


class Representing:
    """The only writer of the representations."""

    def __init__(
        self, *, store: Store, signer: RowSigner, lookup: Lookup, consents: Consents, recorder: Recorder, clock: Clock
    ) -> None:
        self._store = store
        self._signer = signer
        self._rows = signer.verifier
        self._lookup = lookup
        self._consents = consents
        self._recorder = recorder
        self._clock = clock

    async def start(self, record: Representation) -> Changed:
        """Write down that somebody may act for another. Raises Refused `representations.stands`."""
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(record.subject)])
            for one in await represented.of_subjects(tx, self._rows, [record.subject]):
                same = (one.representative, one.measure) == (record.representative, record.measure)
                if same and not one.over(record.recorded_at):
                    raise Refused("representations.stands", "/measure")
            await self._signer.insert(tx, representations, represented.row_of(record))
            entry = self._record(tx, FactKind.REPRESENTATION_STARTED, record)
            mark("representing.started")
            # Crash here: the transaction is gone, and nobody acts for anybody; it is written down again.
        return Changed(record, entry)

    async def end(self, of: RepresentationId, by: PartyId | None = None) -> Changed:
        """It allows nothing more, from this commit on. `by`: the source that ends it, which ends its own alone.

        Raises Refused `representations.unknown`, `representations.ended`.
        """
        async with self._store.begin() as tx:
            return await self._end(tx, of, by)

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of a record, and its row does not. Whether there was anything to do."""
        of = RepresentationId(ending.key)
        async with self._store.begin() as tx:
            row = await represented.row(tx, self._rows, of)
            if row is None or row.ended_at is not None:
                return False
            await self._end(tx, of, None)
        return True

    async def close(self) -> list[Recorded]:
        """End up to CHUNK consents that rest on a representation which has ended; nothing has gone out under them
        since. Of those that ended longer ago than CLOSED_MS, nothing is left.
        """
        async with self._store.read() as tx:
            lately = representations.c.ended_at >= self._clock() - CLOSED_MS
            rows = self._rows.valid(TABLE, await tx.execute(select(representations).where(lately)))
            over = {one.voice: one for one in map(represented.of_row, rows)}
            people = {one.subject for one in over.values()}
            people = people.union((await self._lookup.kin(tx, people, self._clock())).all() if people else ())
            theirs = (grants.c.subject.in_(people), grants.c.given_by.in_(sorted(over)))
            found = await tx.execute(_RESTING.where(*theirs).limit(CHUNK)) if over else ()
            due = [(GrantId(row.id), over[row.given_by]) for row in found]
        closed = [await self._consents.leave_representation(grant, ended) for grant, ended in due]
        return [one for one in closed if one is not None]

    async def _end(self, tx: Transaction, of: RepresentationId, by: PartyId | None) -> Changed:
        found = await represented.one(tx, self._rows, of)
        if found is None or by not in (None, found.given_by):  # another's is as unknown as one that never was
            raise Refused("representations.unknown", "/id")
        await tx.lock_exclusive([citizen_lock(found.subject)])
        row = await represented.row(tx, self._rows, of)
        if row is None:
            raise Refused("representations.unknown", "/id")
        at = self._clock()
        record = represented.of_row(row).end(at)
        kin = (await self._lookup.kin(tx, [record.subject], at)).of(record.subject)
        theirs = (grants.c.subject.in_(kin), grants.c.given_by == record.voice)
        resting = await tx.execute(_RESTING.where(*theirs))
        await tx.lock_exclusive(sorted(GrantId(each.id) for each in resting))  # no gate holds them meanwhile
        tx.end(represented.ending_of(record, at))
        await self._signer.change(tx, representations, row, represented.row_of(record))
        entry = self._record(tx, FactKind.REPRESENTATION_ENDED, record)
        mark("representing.ended")
        # Crash here: it stands as before, and whoever ended it does so again; or, if the journal of endings has it, it
        # is obeyed at once, and the next start completes it.
        return Changed(record, entry)

    def _record(self, tx: Transaction, kind: FactKind, record: Representation) -> LeafHash:
        return self._recorder.record(tx, kind, self._clock(), about=record.subject, detail=represented.digest(record))
