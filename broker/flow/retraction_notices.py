"""Retraction notices: who got a declaration is told that it was taken back, by the router, in its transaction.

Refuses: nothing; who never got the declaration hears nothing of it.
Keeps: each recipient gets one notice for each subscription through which it got something of the chain, under a grant
of its own that the law gives (`consent.retractions`), so that gate, ledger, audit and fsck have no case of their own.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import or_, select

from broker.directory.lookup import Lookup
from broker.ended import Ended
from broker.epochs import epochs
from broker.flow import retracted
from broker.flow.planner import Known, Planner, standing_of
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Entropy
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowReader
from broker.store.tables import declarations, deliveries
from consent import keyring as wrapping
from consent import registry
from consent.policy import Subscription
from consent.retractions import grant_for, heard_by
from consent.rows import digest_of
from schemas.catalogue import Catalogue
from schemas.facts import FactKind
from schemas.names import DeclarationId, EventType, GrantId, Instant, uuid7
from schemas.retractions import RETRACTIONS


class RetractionNotices:
    """Plans them. Asked by the router in place of the subscriptions of a type."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        lookup: Lookup,
        keyring: Keyring,
        planner: Planner,
        recorder: Recorder,
        rows: RowReader,
        macs: RowMacs,
        entropy: Entropy,
    ) -> None:
        self._catalogue = catalogue
        self._lookup = lookup
        self._keyring = keyring
        self._planner = planner
        self._recorder = recorder
        self._rows = rows
        self._macs = macs
        self._entropy = entropy

    async def plan(self, tx: Transaction, event_type: EventType, waiting: Sequence[Known], at: Instant) -> None:
        """Plan these declarations, which take others back. Grants are made, so the citizens' locks are taken alone."""
        await tx.lock_shared([epochs.LOCK])
        keys = self._keyring.consent_epochs()
        subjects = {known.subject for known in waiting}
        standing = await standing_of(
            tx, subjects, event_type, keys, self._macs, lookup=self._lookup, rules=(), at=at, alone=True
        )
        await tx.flush()  # what they take back may stand in this very batch
        epoch, epoch_key = await epochs.newest_consent(tx, self._rows, keys)
        event = self._catalogue.by_type(event_type)
        for known in waiting:
            notice = known.verified.manifest.declaration_id
            theirs = await self._subscriptions(tx, known, standing.ended)
            told = replace(known, original_recipients=frozenset(one.recipient for one in theirs), reach=None)
            for subscription in theirs:
                heard = heard_by(subscription, event)
                if await self._planner.hidden(tx, known, heard, standing.ended, at):
                    continue  # that something was taken back is news of somebody who is protected, too
                grant_id = GrantId(uuid7(at, self._entropy(10)))
                grant = grant_for(heard, event, known.subject, notice, grant_id=grant_id, at=at)
                key, digest = self._entropy(wrapping.KEY_BYTES), digest_of(grant)
                bound, kept = wrapping.Bound(grant.id, digest, epoch), wrapping.Kept(key, grant.expires_at)
                wrapped = wrapping.wrap(kept, bound, epoch_key, self._entropy(wrapping.NONCE_BYTES))
                await registry.add_all(tx.conn, [(grant, digest, wrapped)], epoch)
                self._recorder.grant(tx, FactKind.GRANTED, grant, at, digest=digest)
                standing.add(grant, key)
                await self._planner.plan(tx, told, heard, standing, at)
                mark("retraction-notices.planned")
                # Crash here: the batch is gone, and with it the grants; the next router makes others.

    async def _subscriptions(self, tx: Transaction, known: Known, ended: Ended) -> list[Subscription]:
        """Through which anything of what is taken back was released, by recipient and purpose."""
        taken = self._taken(ended, known)
        if taken is None:
            return []
        chain = or_(declarations.c.declaration_id == taken, declarations.c.root == taken)
        asked = (
            select(deliveries.c.subscription)
            .join(declarations, declarations.c.seq == deliveries.c.declaration)
            .where(chain, declarations.c.event_type.not_in(sorted(RETRACTIONS)), deliveries.c.released_at.is_not(None))
            .distinct()
        )
        there = await self._lookup.subscriptions_by_id(tx)
        found = [there[row.subscription] for row in await tx.execute(asked) if row.subscription in there]
        return sorted(found, key=lambda one: (one.recipient, one.purpose))

    def _taken(self, ended: Ended, known: Known) -> DeclarationId | None:
        """What a notice takes back: what the journal says that it tells of. None where the journal knows it not."""
        manifest = known.verified.manifest
        for one in (known.corrects, manifest.corrects):
            told = retracted.told(ended, one)
            if told is not None and told.stands and told.notice == manifest.declaration_id:
                return told.declaration
        return None
