"""Retracting: a declaration is taken back, or stopped while it is held; in the caller's transaction.

    cancelled, recalled   by the notice that its source hands in (`broker.flow.intake`), or by two operators
    stopped               by its citizen (`broker.flow.holds`)

Refuses: what was taken back already, for another reason or by another notice.
Keeps: when the transaction is committed, nothing of the declaration is released any more, of its corrections neither:
no router plans it (it holds the citizen's lock shared), no gate opens it (it holds the mailbox's). It is in the journal
of endings before it is committed, and has its entry in the ledger. Who had it hears by the notice, which the router
sends. What was only paused stays closed when the pause ends.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import or_, select, update

from broker.ended import Ending
from broker.flow import retracted
from broker.flow.deliveries import ACTIVE, citizen_lock, in_states, load, mailbox_lock, withhold
from broker.flow.retracted import Kind, Retraction
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations, deliveries, retractions
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, Instant, LeafHash, ManifestDigest, PartyId, SubjectRef
from schemas.retractions import RETRACTIONS


class Retracting:
    """The only writer of retractions."""

    def __init__(self, *, store: Store, macs: RowMacs, recorder: Recorder, clock: Clock) -> None:
        self._store = store
        self._macs = macs
        self._recorder = recorder
        self._clock = clock

    async def root_of(self, tx: Transaction, declaration: DeclarationId) -> DeclarationId:
        """The first of the chain of corrections that a declaration stands in; of what is not routed yet, itself."""
        rows = await tx.execute(select(declarations).where(declarations.c.declaration_id == declaration))
        for row in self._macs.valid(declarations.name, rows):
            return declaration if row.root is None else DeclarationId(row.root)
        return declaration

    async def check(self, tx: Transaction, wanted: Retraction) -> bool:
        """Whether there is anything to do: False where just this stands already. For who holds the citizen's lock.

        Raises Refused `retractions.cancelled`, `retractions.recalled`, `retractions.stopped`: it was taken back before;
        `retractions.let-stand`: its citizen has stopped its recall.
        """
        before = retracted.told(await tx.endings(), wanted.declaration)
        if before is None:
            return True
        if (before.kind, before.notice, before.stands) == (wanted.kind, wanted.notice, True):
            return False
        if before.stands and before.kind is Kind.CANCELLED:
            raise Refused("retractions.cancelled", "/declaration")
        if before.stands and before.kind is Kind.RECALLED:
            raise Refused("retractions.recalled", "/declaration")
        if before.stands:
            raise Refused("retractions.stopped", "/declaration")
        if before.kind is wanted.kind:
            raise Refused("retractions.let-stand", "/declaration")
        return True

    async def take_back(self, tx: Transaction, one: Retraction, at: Instant) -> LeafHash:
        """From the commit on nothing of it goes out. For who holds the citizen's lock alone, and has asked `check`."""
        return await self._write(tx, one, await self._chain(tx, one.declaration), at)

    async def lift(self, tx: Transaction, one: Retraction, at: Instant) -> LeafHash:
        """It counts no more, by its citizen's word. What it closed is the caller's to plan again."""
        return await self._write(tx, replace(one, lifted_at=at), (), at)

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of a retraction, and the tables do not. Whether there was anything to do.

        What a lifted one had closed stays closed until somebody plans it: that is the safe side.
        """
        told = retracted.of_ending(ending)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(told.subject)])
            same = retractions.c.declaration == told.declaration
            rows = self._macs.valid(retractions.name, await tx.execute(select(retractions).where(same)))
            if rows and retracted.of_row(rows[0]) == told:
                return False
            chain = await self._chain(tx, told.declaration) if told.stands else ()
            await self._write(tx, told, chain, self._clock())
        return True

    async def _chain(self, tx: Transaction, declaration: DeclarationId) -> Sequence[int]:
        """The numbers of a declaration and its corrections, as far as they are routed; not of what takes it back."""
        chain = or_(declarations.c.declaration_id == declaration, declarations.c.root == declaration)
        notice = declarations.c.event_type.in_(sorted(RETRACTIONS))
        named = declarations.c.declaration_id == declaration
        rows = await tx.execute(select(declarations.c.seq).where(chain, or_(named, ~notice)))
        return [row.seq for row in rows]

    async def _write(self, tx: Transaction, one: Retraction, chain: Sequence[int], at: Instant) -> LeafHash:
        theirs = select(deliveries.c.recipient).where(deliveries.c.declaration.in_(chain)).distinct()
        recipients = [PartyId(row.recipient) for row in await tx.execute(theirs)] if chain else []
        await tx.lock_exclusive([mailbox_lock(each) for each in sorted(recipients)])
        tx.end(one.ending(at))
        row = self._macs.made(retractions.name, one.row())
        if not await tx.insert_new(retractions, row):
            same = retractions.c.declaration == one.declaration
            await tx.execute(update(retractions).where(same).values(row))
        if chain:
            closed = await load(tx, deliveries.c.declaration.in_(chain), in_states(ACTIVE))
            await withhold(tx, self._recorder, closed, one.kind.reason, at)
        entry = self._recorder.record(
            tx,
            FactKind.RETRACTED if one.stands else FactKind.RETRACTION_LIFTED,
            at,
            about=one.subject,
            declaration=await self._digest(tx, one.declaration),
            reason=one.kind.reason,
            detail=row_digest(retractions.name, one.row()),
        )
        mark("retracting.written")
        # Crash here: nothing has changed, and whoever took it back does so again; or, if the journal of endings has it,
        # it is obeyed at once, and the next start completes it.
        return entry

    async def _digest(self, tx: Transaction, declaration: DeclarationId) -> ManifestDigest | None:
        asked = select(declarations.c.manifest_digest).where(declarations.c.declaration_id == declaration)
        row = (await tx.execute(asked)).first()
        return None if row is None else ManifestDigest(row.manifest_digest)


def retraction(
    kind: Kind, declaration: DeclarationId, subject: SubjectRef, *, by: str, at: Instant, notice: DeclarationId | None
) -> Retraction:
    """A new one."""
    return Retraction(declaration=declaration, subject=subject, kind=kind, given_by=by, retracted_at=at, notice=notice)
