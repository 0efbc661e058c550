"""Subscribing: an administration asks for an event type, an operator approves it with the law's name, either ends it.

Refuses: fields, purposes and territories that do not exist; an approval without a legal reference, or for an
administration without a key to seal to; a second subscription for the same purpose while one runs.
Keeps: nothing is received before the approval, and nothing is handed out while its recipient pauses it. Approval and
end have their ledger entries; `detail` is SHA-256 of the subscription's row, so that nobody widens one afterwards
unseen.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, and_, delete, or_, select, update

from broker.directory import purposes as purpose_rows
from broker.directory import reading
from broker.directory.reading import row_of, subscription_of
from broker.directory.registrar import LOCK, changing
from broker.ended import Ending
from broker.flow.deliveries import OPEN, DeliveryState, in_states, load, mailbox_lock, withhold
from broker.flow.untold import untell
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from broker.store.tables import declarations, deliveries, paused_subscriptions, subscriptions, withholdings
from consent import purposes
from consent.policy import Subscription, SubscriptionStatus
from schemas import areas
from schemas.assurance import ANY, Least
from schemas.catalogue import LEAST, Catalogue
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import EventType, Instant, ManifestDigest, PartyId, Purpose, Reason, SubjectRef
from schemas.retractions import RETRACTIONS


class Subscribing:
    """The only writer of the subscriptions."""

    def __init__(self, recorder: Recorder, catalogue: Catalogue, signer: RowSigner) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier
        self._catalogue = catalogue

    async def ask(
        self,
        tx: Transaction,
        subscription_id: bytes,
        *,
        recipient: PartyId,
        event_type: EventType,
        purpose: Purpose,
        fields: frozenset[str],
        territories: frozenset[str] | None,
        least: Least = ANY,
    ) -> Subscription:
        """Write down what an administration wants; it receives nothing until the approval.

        `least`: how sure its declarations have to be; a type may demand more. `subscription_id` is 16 bytes, made by
        the caller; after an end, the old subscription is asked for anew under its old id. Raises Refused:
        `catalogue.unknown-type`, `subscribing.by-itself`, `purposes.unknown`, `policy.subscription-*`, `areas.*`,
        `directory.unknown-party`, `subscribing.unknown-field`, `subscribing.no-territories`, `subscribing.running`.
        """
        event = self._catalogue.by_type(event_type)
        if event_type in RETRACTIONS:
            raise Refused("subscribing.by-itself", "/event_type", event_type=event_type)
        for name in sorted(fields - set(event.names)):
            raise Refused("subscribing.unknown-field", "/fields", field=name, event_type=event_type)
        if territories is not None and not event.uses_territories:
            raise Refused("subscribing.no-territories", "/territories", event_type=event_type)
        _check_areas(territories)
        asked = Subscription(
            id=subscription_id,
            recipient=recipient,
            event_type=event_type,
            purpose=purpose,
            fields=fields,
            territories=territories,
            status=SubscriptionStatus.ASKED,
            approved_at=None,
            ended_at=None,
            legal_reference="",
            least=least.and_(LEAST.get(event_type, ANY)),
        )
        await changing(tx)
        purposes.by_id(purpose, await purpose_rows.every(tx, self._rows))
        await reading.party(tx, self._rows, recipient)
        if await self._signer.insert(tx, subscriptions, row_of(asked)):
            mark("subscribing.asked")
            # Crash here: the transaction is gone; the administration asks again. So too for every change below.
            return asked
        table = subscriptions
        same = (table.c.recipient == recipient) & (table.c.event_type == event_type) & (table.c.purpose == purpose)
        row = (await tx.execute(select(table).where(same))).one_or_none()
        if row is None:
            raise Refused("subscribing.id-taken", "/id")
        again = replace(asked, id=bytes(row.id))
        if self._rows.one(table.name, row) is None:  # slipped in, or edited: it stops nobody, and nothing of it stays
            await self._signer.renew(tx, table, row, row_of(again))
            return again
        before = subscription_of(row)
        if before.status is not SubscriptionStatus.ENDED:
            raise Refused("subscribing.running", "/purpose", purpose=purpose, status=before.status.value)
        await self._write(tx, again)
        return again

    async def approve(self, tx: Transaction, subscription_id: bytes, legal_reference: str, at: Instant) -> Subscription:
        """Let an administration receive from now on, on the ground that `legal_reference` names.

        Raises Refused: `subscribing.unknown`, `subscribing.not-asked`, `policy.subscription-legal-reference`,
        `areas.*`, `directory.no-sealing-key`.
        """
        await changing(tx)
        before = await self._one(tx, subscription_id)
        if before.status is not SubscriptionStatus.ASKED:
            raise Refused("subscribing.not-asked", "/status", status=before.status.value)
        _check_areas(before.territories)  # it may have been asked for before codes were checked
        (await reading.snapshot(tx, self._rows)).current_sealing_key(before.recipient, at)
        # Later than the approval that ended, by a clock that was set back, too: that one never comes again.
        since = Instant(max(at, (await tx.endings()).least(subscriptions.name, subscription_id)))
        approved = replace(
            before, status=SubscriptionStatus.APPROVED, approved_at=since, legal_reference=legal_reference.strip()
        )
        await self._write(tx, approved)
        self._record(tx, FactKind.SUBSCRIPTION_APPROVED, approved, at)
        return approved

    async def end(self, tx: Transaction, subscription_id: bytes, at: Instant) -> Subscription:
        """No more deliveries from now on; what was not released stays closed. Raises Refused `subscribing.unknown`,
        `subscribing.ended`.
        """
        await changing(tx)
        before = await self._one(tx, subscription_id)
        if before.status is SubscriptionStatus.ENDED:
            raise Refused("subscribing.ended", "/status")
        ended = replace(before, status=SubscriptionStatus.ENDED, ended_at=at)
        least = max((await tx.endings()).least(subscriptions.name, before.id), reading.approved_since(before) + 1)
        tx.end(Ending.of(subscriptions.name, before.id, at=at, least=least, ended_at=at))
        await self._write(tx, ended)
        self._record(tx, FactKind.SUBSCRIPTION_ENDED, ended, at)
        await self._close(tx, subscription_id, ended.recipient, at)
        return ended

    async def claim(self, tx: Transaction, recipient: PartyId, subscription_id: bytes) -> Subscription:
        """A recipient's own, which nobody else changes before the caller has. Raises Refused `subscribing.unknown`:
        another's is as unknown as one that never was.
        """
        await tx.lock_exclusive([LOCK])
        found = await self._one(tx, subscription_id)
        if found.recipient != recipient:
            raise Refused("subscribing.unknown", "/subscription")
        return found

    async def pause(self, tx: Transaction, subscription_id: bytes, at: Instant) -> None:
        """Hand out nothing of it until `resume`; deliveries are planned, and wait. Once more changes nothing.

        Raises Refused: `subscribing.unknown`, `subscribing.ended`.
        """
        await tx.lock_exclusive([LOCK])
        found = await self._one(tx, subscription_id)
        if found.status is SubscriptionStatus.ENDED:
            raise Refused("subscribing.ended", "/status")
        await tx.lock_exclusive([mailbox_lock(found.recipient)])
        if await tx.insert_new(paused_subscriptions, {"subscription": subscription_id, "paused_at": at}):
            tx.end(Ending.of(paused_subscriptions.name, subscription_id, at=at, paused_at=at))
            mark("subscribing.paused")
            # Crash here: the transaction is gone, and deliveries go on; the administration pauses again.
            logger().info("subscribing.paused", party=found.recipient, event_type=found.event_type)

    async def resume(self, tx: Transaction, subscription_id: bytes) -> None:
        """Hand out what waited, and what comes. Once more changes nothing. Raises Refused `subscribing.unknown`."""
        await tx.lock_exclusive([LOCK])
        found = await self._one(tx, subscription_id)
        if (await self.paused(tx, [found])).get(found.id) is None:
            return
        since = (await self.paused(tx, [found]))[found.id]
        tx.end(Ending.of(paused_subscriptions.name, subscription_id, at=since, least=0))
        await tx.execute(delete(paused_subscriptions).where(paused_subscriptions.c.subscription == subscription_id))
        await untell(tx, found.recipient, subscription_id)
        mark("subscribing.resumed")
        # Crash here: the transaction is gone, and nothing was handed out; the administration resumes again.
        logger().info("subscribing.resumed", party=found.recipient, event_type=found.event_type)

    async def paused(self, tx: Transaction, among: Sequence[Subscription]) -> dict[bytes, Instant]:
        """Since when those of these are paused that are, by their ids."""
        table = paused_subscriptions
        rows = await tx.execute(select(table).where(table.c.subscription.in_([one.id for one in among])))
        return {bytes(row.subscription): Instant(row.paused_at) for row in rows}

    async def complete(self, tx: Transaction, ending: Ending, at: Instant) -> bool:
        """Do what the journal of endings says of a subscription, or of its pause, and the tables do not. Whether there
        was anything to do.
        """
        await tx.lock_exclusive([LOCK])
        row = (await tx.execute(select(subscriptions).where(subscriptions.c.id == ending.key))).one_or_none()
        if row is None:
            return False
        here = subscription_of(row)
        if ending.table == subscriptions.name:
            over = here.status is not SubscriptionStatus.APPROVED or reading.approved_since(here) >= ending.least
            if not over:
                await self.end(tx, here.id, at)
            return not over
        paused = (await self.paused(tx, [here])).get(here.id)
        if here.status is SubscriptionStatus.ENDED or (paused is not None) is (ending.least > 0):
            return False
        if paused is None:
            await self.pause(tx, here.id, Instant(ending.told["paused_at"]))
        else:
            await self.resume(tx, here.id)
        return True

    async def _close(self, tx: Transaction, subscription_id: bytes, recipient: PartyId, at: Instant) -> None:
        """What was not applied, and what a pause holds back, the citizen's or the agency's own, does not wait for
        another approval.
        """
        await tx.lock_exclusive([mailbox_lock(recipient)])
        if (await tx.endings()).ended(paused_subscriptions.name, subscription_id):
            tx.end(Ending.of(paused_subscriptions.name, subscription_id, at=at, least=0))
        await tx.execute(delete(paused_subscriptions).where(paused_subscriptions.c.subscription == subscription_id))
        held_back = and_(deliveries.c.state == DeliveryState.WITHHELD.value, deliveries.c.reason == Reason.PAUSED.value)
        mine = (deliveries.c.subscription == subscription_id, or_(in_states(OPEN), held_back))
        await withhold(tx, self._recorder, await load(tx, *mine), Reason.ENDED, at)
        paused = (withholdings.c.subscription == subscription_id, withholdings.c.reason == Reason.PAUSED.value)
        rows = await tx.execute(
            select(withholdings, declarations.c.subject, declarations.c.event_type, declarations.c.manifest_digest)
            .join(declarations, declarations.c.seq == withholdings.c.declaration)
            .where(*paused)
        )
        for row in rows.all():
            self._recorder.record(
                tx,
                FactKind.WITHHELD,
                at,
                about=SubjectRef(row.subject),
                recipient=PartyId(row.recipient),
                event_type=EventType(row.event_type),
                purpose=Purpose(row.purpose),
                declaration=ManifestDigest(row.manifest_digest),
                reason=Reason.ENDED,
            )
        await tx.execute(update(withholdings).where(*paused).values(reason=Reason.ENDED.value, at=at))

    async def _one(self, tx: Transaction, subscription_id: bytes) -> Subscription:
        return subscription_of(await self._row(tx, subscription_id))

    async def _row(self, tx: Transaction, subscription_id: bytes) -> Row[Any]:
        there = (await tx.execute(select(subscriptions).where(subscriptions.c.id == subscription_id))).one_or_none()
        row = self._rows.one(subscriptions.name, there)
        if row is None:
            raise Refused("subscribing.unknown", "/subscription")
        return row

    async def _write(self, tx: Transaction, subscription: Subscription) -> None:
        before = await self._row(tx, subscription.id)
        await self._signer.change(tx, subscriptions, before, row_of(subscription))
        mark("subscribing.changed")

    def _record(self, tx: Transaction, kind: FactKind, subscription: Subscription, at: Instant) -> None:
        self._recorder.record(
            tx,
            kind,
            at,
            recipient=subscription.recipient,
            event_type=subscription.event_type,
            purpose=subscription.purpose,
            detail=subscription_digest(subscription),
        )


def _check_areas(territories: frozenset[str] | None) -> None:
    """A code that no area has would be heard of by nobody, and nobody would be told."""
    for code in sorted(territories or ()):
        try:
            areas.subscribable(code)
        except Refused as fault:
            raise fault.under("/territories") from None  # the sentence names the code


def subscription_digest(subscription: Subscription) -> bytes:
    """SHA-256 of the subscription's row, 32 bytes: what its entry commits to and `fsck` compares."""
    return row_digest("subscriptions", row_of(subscription))
