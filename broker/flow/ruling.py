"""Ruling: an administration asks for a rule by law, two operators approve it, one narrows or ends it.

Refuses: a rule for a field that the type does not have, for a party that nobody knows, or that has a field and a moment
in common with another; an approval without an approved subscription that it could act through; a change by which a rule
would reach further.
Keeps: a rule acts `delay_ms` after its approval at the soonest. Approval, narrowing and end have their open ledger
entries, whose `detail` is SHA-256 of the row, so that everybody sees which rules there are, and nobody widens one
afterwards unseen. A narrowing and an end are in the journal of endings before they are committed; when one returns,
nothing more is released under the rule than it allows.
"""

from typing import Any

from sqlalchemy import Row, select

from broker.directory import purposes as purpose_rows
from broker.directory import reading
from broker.directory import rules as rule_rows
from broker.directory.registrar import LOCK, changing
from broker.ended import FOREVER, Ending
from broker.flow.deliveries import mailbox_lock
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.store.engine import Transaction
from broker.store.rows.seals import RowSigner
from broker.store.tables import rules
from consent.policy import ADDRESSED, SubscriptionStatus
from consent.purposes import by_id
from consent.rules import Rule, RuleStatus, check_purpose, check_territories, overlaps
from schemas import areas
from schemas.catalogue import Catalogue, EventSchema
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, RuleId


class Ruling:
    """The only writer of the rules."""

    def __init__(self, recorder: Recorder, catalogue: Catalogue, signer: RowSigner, delay_ms: int) -> None:
        """`delay_ms`: from an approval to its effect."""
        self._recorder = recorder
        self._catalogue = catalogue
        self._signer = signer
        self._rows = signer.verifier
        self._delay_ms = delay_ms

    async def ask(self, tx: Transaction, asked: Rule) -> Rule:
        """Write down what an administration asks for; it allows nothing until the approval.

        Raises Refused: `catalogue.unknown-type`, `directory.unknown-party`, `rules.unknown-field`, `rules.overlap`,
        `rules.addressed`, `rules.no-territories`, `areas.*`, `purposes.*`.
        """
        if asked.event_type in ADDRESSED:
            raise Refused("rules.addressed", "/event_type", event_type=asked.event_type)
        event = self._catalogue.by_type(asked.event_type)
        for name in sorted(asked.fields - set(event.names)):
            raise Refused("rules.unknown-field", "/fields", field=name, event_type=asked.event_type)
        _check_areas(event, asked.territories)
        await changing(tx)
        check_purpose(by_id(asked.purpose, await purpose_rows.every(tx, self._rows)))
        await reading.party(tx, self._rows, asked.recipient)
        if overlaps(asked, await rule_rows.every(tx, self._rows)):
            raise Refused("rules.overlap", "/fields", recipient=asked.recipient, purpose=asked.purpose)
        await self._signer.insert(tx, rules, rule_rows.row_of(asked))
        mark("rules.asked")
        # Crash here: the transaction is gone; the administration asks again. So too for every change below.
        return asked

    async def approve(self, tx: Transaction, rule_id: RuleId, at: Instant) -> Rule:
        """Let it act, `delay_ms` from now. Raises Refused: `rules.unknown`, `rules.not-asked`, `rules.overlap`,
        `rules.no-subscription`, `rules.ends-before-it-begins`.
        """
        await changing(tx)
        row, before = await self._one(tx, rule_id)
        approved = before.approve(at, self._delay_ms)
        if overlaps(approved, await rule_rows.every(tx, self._rows)):
            raise Refused("rules.overlap", "/fields", recipient=before.recipient, purpose=before.purpose)
        if not await self._can_act(tx, before):
            raise Refused("rules.no-subscription", "/recipient", event_type=before.event_type, purpose=before.purpose)
        await self._write(tx, row, approved)
        self._record(tx, FactKind.RULE_APPROVED, approved, at)
        return approved

    async def narrow(
        self,
        tx: Transaction,
        rule_id: RuleId,
        at: Instant,
        *,
        fields: frozenset[str] | None = None,
        territories: frozenset[str] | None = None,
        ends_at: Instant | None = None,
    ) -> Rule:
        """It allows less, of everybody, for ever. From this commit on no gate releases more: none holds the recipient's
        mailbox meanwhile, and the next one reads the rules anew.

        Raises Refused `rules.unknown`, `rules.no-territories`, `areas.*`, and what `Rule.narrow` raises.
        """
        await changing(tx)
        row, there = await self._one(tx, rule_id)
        before = rule_rows.obeyed(there, await tx.endings())  # a row that was put back is narrowed from what counts
        _check_areas(self._catalogue.by_type(before.event_type), territories)
        narrowed = before.narrow(at, fields=fields, territories=territories, ends_at=ends_at)
        await self._narrow(tx, row, narrowed, at)
        return narrowed

    async def _narrow(self, tx: Transaction, row: Row[Any], narrowed: Rule, at: Instant) -> None:
        await tx.lock_exclusive([mailbox_lock(narrowed.recipient)])
        tx.end(rule_rows.narrowing_of(narrowed, at))
        await self._write(tx, row, narrowed)
        self._record(tx, FactKind.RULE_NARROWED, narrowed, at)

    async def end(self, tx: Transaction, rule_id: RuleId, at: Instant) -> Rule:
        """It allows nothing more, of nobody. What was planned under it stays closed from this commit on: no gate holds
        the recipient's mailbox meanwhile, and the next one reads the rules anew. Raises Refused `rules.unknown`,
        `rules.ended`.
        """
        await changing(tx)
        row, before = await self._one(tx, rule_id)
        ended = before.end(at)
        await tx.lock_exclusive([mailbox_lock(before.recipient)])
        tx.end(Ending.of(rules.name, rule_id, at=at, ended_at=at))
        await self._write(tx, row, ended)
        if before.status is RuleStatus.APPROVED:  # what was never approved has no entry, and ends with none
            self._record(tx, FactKind.RULE_ENDED, ended, at)
        return ended

    async def complete(self, tx: Transaction, ending: Ending, at: Instant) -> bool:
        """Do what the journal of endings says of a rule, and its row does not. Whether there was anything to do."""
        await tx.lock_exclusive([LOCK])
        there = (await tx.execute(select(rules).where(rules.c.id == ending.key))).one_or_none()
        if there is None or RuleStatus(there.status) is RuleStatus.ENDED:
            return False
        if ending.least == FOREVER:
            await self.end(tx, RuleId(ending.key), at)
            return True
        row, before = await self._one(tx, RuleId(ending.key))
        if before.since >= ending.least:
            return False
        await changing(tx)
        await self._narrow(tx, row, rule_rows.narrowed_as(before, ending), at)
        return True

    async def _can_act(self, tx: Transaction, rule: Rule) -> bool:
        """Whether its recipient has an approved subscription for the same type, purpose and fields, and for a territory
        in common.
        """
        return any(
            one.status is SubscriptionStatus.APPROVED
            and (one.recipient, one.event_type, one.purpose) == (rule.recipient, rule.event_type, rule.purpose)
            and rule.fields <= one.fields
            and _meet(rule.territories, one.territories)
            for one in await reading.subscriptions(tx, self._rows)
        )

    async def _one(self, tx: Transaction, rule_id: RuleId) -> tuple[Row[Any], Rule]:
        there = (await tx.execute(select(rules).where(rules.c.id == rule_id))).one_or_none()
        row = self._rows.one(rules.name, there)
        if row is None:
            raise Refused("rules.unknown", "/rule")
        return row, rule_rows.rule_of(row)

    async def _write(self, tx: Transaction, before: Row[Any], rule: Rule) -> None:
        await self._signer.change(tx, rules, before, rule_rows.row_of(rule))
        mark("rules.changed")

    def _record(self, tx: Transaction, kind: FactKind, rule: Rule, at: Instant) -> None:
        self._recorder.record(
            tx,
            kind,
            at,
            recipient=rule.recipient,
            event_type=rule.event_type,
            purpose=rule.purpose,
            basis=rule.basis.text,
            detail=rule_rows.rule_digest(rule),
        )


def _meet(some: frozenset[str] | None, others: frozenset[str] | None) -> bool:
    """Whether these territories have one in common; None: everywhere."""
    if some is None or others is None:
        return True
    return any(areas.within(code, others) for code in some) or any(areas.within(code, some) for code in others)


def _check_areas(event: EventSchema, territories: frozenset[str] | None) -> None:
    """A code that no area has would be heard of by nobody; where a type names no place, a territory bounds nothing."""
    if territories is None:
        return
    if not event.uses_territories:
        raise Refused("rules.no-territories", "/territories", event_type=event.event_type)
    check_territories(territories)
    for code in sorted(territories):
        try:
            areas.subscribable(code)
        except Refused as fault:
            raise fault.under("/territories") from None
