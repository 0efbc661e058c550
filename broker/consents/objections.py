"""Objections: a citizen objects to a rule by law, or withdraws that; and what ends with a rule.

Refuses: an objection to a rule whose text provides for none, and says which article that is; a second one.
Keeps: when an objection returns, the grant that the citizen had under the rule has ended with its key, what was on its
way stays closed, and no router makes another one. Withdrawn, it counts for what comes; what was decided stays so. Both
are in the journal of endings before they are committed, and have their entries in the ledger.
Source: GDPR, article 21; docs/architecture.md, "Transactions that matter".
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import select, update

from broker.access import acts
from broker.consents.consents import Consents, Recorded
from broker.directory.lookup import Lookup
from broker.ended import Ending
from broker.flow import objected
from broker.flow.deliveries import citizen_lock
from broker.flow.objected import Objecting
from broker.ledger.recorder import Recorder
from broker.messages.news import News
from broker.messages.outbox import Outbox
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from broker.store.tables import objections
from consent.grant import GIVEN_BY, Status
from consent.registry import CHUNK
from consent.rules import Rule, RuleStatus
from consent.tables import grants
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import GrantId, LeafHash, RuleId, SubjectRef

_REASON: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Objected:
    """An objection as it is now, its entry, and the grant that ended with it, if the citizen had one."""

    objection: Objecting
    entry: LeafHash
    ended: Recorded | None


class Objections:
    """The only writer of the objections."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        macs: RowMacs,
        consents: Consents,
        recorder: Recorder,
        outbox: Outbox,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._macs = macs
        self._consents = consents
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock

    async def object(self, subject: SubjectRef, rule_id: RuleId, *, reason: str, given_by: str) -> Objected:
        """From now on nothing goes out under this rule. `reason`: a word in lower case, such as `personal-situation`.

        Raises Refused: `rules.unknown`, `rules.ended`, `objections.not-provided`, `objections.stands`,
        `objections.reason`, `grant.given-by`.
        """
        if not _REASON.fullmatch(reason):
            raise Refused("objections.reason", "/reason")
        if not GIVEN_BY.fullmatch(given_by):
            raise Refused("grant.given-by", "/given_by")
        async with self._store.begin() as tx:
            rule = await self._rule(tx, rule_id)
            if not rule.objection:
                raise Refused("objections.not-provided", "/rule", article=rule.article)
            if any(one.withdrawn_at is None for one in await self._locked(tx, subject, rule_id)):
                raise Refused("objections.stands", "/rule")
            made = Objecting(subject=subject, rule=rule_id, objected_at=self._clock(), reason=reason, given_by=given_by)
            done = await self._write(tx, rule, made)
            await acts.keep(tx, done)
        return done

    async def withdraw(self, subject: SubjectRef, rule_id: RuleId, *, given_by: str) -> Objected:
        """The rule counts again, for what comes. Raises Refused: `rules.unknown`, `rules.ended`, `objections.none`,
        `grant.given-by`.
        """
        if not GIVEN_BY.fullmatch(given_by):
            raise Refused("grant.given-by", "/given_by")
        async with self._store.begin() as tx:
            rule = await self._rule(tx, rule_id)
            standing = [one for one in await self._locked(tx, subject, rule_id) if one.withdrawn_at is None]
            if not standing:
                raise Refused("objections.none", "/rule")
            for before in standing:  # of linked references each may have its own
                at = max(self._clock(), before.objected_at)
                done = await self._write(tx, rule, replace(before, withdrawn_at=at, given_by=given_by))
            await acts.keep(tx, done)
        return done

    async def of(self, subject: SubjectRef) -> list[Objecting]:
        """Every objection of one citizen, withdrawn ones too, by rule; also one whose row is gone, as the journal of
        endings tells it.
        """
        async with self._store.read() as tx:
            kin = (await self._lookup.kin(tx, [subject], self._clock())).of(subject)
            ended = await tx.endings()
            rows = await tx.execute(select(objections).where(objections.c.subject.in_(kin)))
            there = [objected.of_row(row) for row in self._macs.valid(objections.name, rows)]
            written = {(one.rule, one.subject): one for one in there}
            known = {rule for rule, _ in written} | set(await self._lookup.rules(tx))
        asked = sorted((rule, one) for rule in known for one in kin)
        told = (objected.obeyed(written.get((rule, one)), one + rule, ended) for rule, one in asked)
        return [one for one in told if one is not None]

    async def complete(self, ending: Ending) -> bool:
        """Do what the journal of endings says of an objection, and the tables do not. Whether there was anything to
        do.
        """
        told = objected.of_ending(ending)
        async with self._store.begin() as tx:
            await tx.lock_exclusive([citizen_lock(told.subject)])
            if await self._row(tx, told.subject, told.rule) == told:
                return False
            rule = (await self._lookup.rules(tx)).get(told.rule)
            if rule is None:
                return False
            await self._write(tx, rule, told)
        return True

    async def end_with_rules(self) -> int:
        """End up to CHUNK grants whose rule has ended; nothing has gone out under them since. Returns how many."""
        async with self._store.read() as tx:
            over = [one.id for one in (await self._lookup.rules(tx)).values() if one.status is RuleStatus.ENDED]
            living = (grants.c.rule.in_(over), grants.c.status == Status.ACTIVE.value)
            found = await tx.execute(select(grants.c.id).where(*living).order_by(grants.c.id).limit(CHUNK))
            due: Sequence[GrantId] = [GrantId(row.id) for row in found] if over else []
        return sum([await self._consents.leave_rule(grant) is not None for grant in due])

    async def narrow_with_rules(self) -> int:
        """Narrow up to CHUNK grants whose rule was narrowed, and end those whose rule was given an earlier end that has
        come; nothing has gone out beyond the rule since. Returns how many.
        """
        at, changed = self._clock(), 0
        async with self._store.read() as tx:
            found = (await self._lookup.rules(tx)).values()
            narrowed = [one for one in found if one.narrowed_at is not None and one.status is RuleStatus.APPROVED]
            due: list[tuple[GrantId, Rule]] = []
            for rule in narrowed:
                living = [grants.c.rule == rule.id, grants.c.status == Status.ACTIVE.value]
                if rule.ends_at is None or at < rule.ends_at:
                    living.append(grants.c.fields != json.dumps(sorted(rule.fields)))
                rows = await tx.execute(select(grants.c.id).where(*living).order_by(grants.c.id).limit(CHUNK))
                due += [(GrantId(row.id), rule) for row in rows]
        for grant, rule in due[:CHUNK]:
            over = rule.ends_at is not None and at >= rule.ends_at
            narrow = self._consents.narrow_with_rule
            done = await (self._consents.expire_with_rule(grant) if over else narrow(grant, rule.fields))
            changed += done is not None
        return changed

    async def _rule(self, tx: Transaction, rule_id: RuleId) -> Rule:
        rule = (await self._lookup.rules(tx)).get(rule_id)
        if rule is None or rule.status is RuleStatus.ASKED:
            raise Refused("rules.unknown", "/rule")
        if rule.status is RuleStatus.ENDED:
            raise Refused("rules.ended", "/rule")
        return rule

    async def _row(self, tx: Transaction, subject: SubjectRef, rule: RuleId) -> Objecting | None:
        same = (objections.c.subject == subject, objections.c.rule == rule)
        rows = self._macs.valid(objections.name, await tx.execute(select(objections).where(*same)))
        return objected.of_row(rows[0]) if rows else None

    async def _locked(self, tx: Transaction, subject: SubjectRef, rule: RuleId) -> list[Objecting]:
        """What a citizen has said of a rule, under the locks of all their references."""
        kin = (await self._lookup.kin(tx, [subject], self._clock())).of(subject)
        await tx.lock_exclusive([citizen_lock(one) for one in kin])
        told = [await self._there(tx, one, rule) for one in kin]
        return [one for one in told if one is not None]

    async def _there(self, tx: Transaction, subject: SubjectRef, rule: RuleId) -> Objecting | None:
        return objected.obeyed(await self._row(tx, subject, rule), subject + rule, await tx.endings())

    async def _write(self, tx: Transaction, rule: Rule, one: Objecting) -> Objected:
        at = self._clock()
        tx.end(one.ending(at))
        row = self._macs.made(objections.name, one.row())
        if not await tx.insert_new(objections, row):
            same = (objections.c.subject == one.subject, objections.c.rule == one.rule)
            await tx.execute(update(objections).where(*same).values(row))
        stands = one.withdrawn_at is None
        ended = await self._consents.object_to(tx, one.subject, one.rule) if stands else None
        entry = self._recorder.record(
            tx,
            FactKind.OBJECTED if stands else FactKind.OBJECTION_WITHDRAWN,
            at,
            about=one.subject,
            recipient=rule.recipient,
            event_type=rule.event_type,
            purpose=rule.purpose,
            detail=row_digest(objections.name, one.row()),
        )
        key = one.rule + (one.withdrawn_at or one.objected_at).to_bytes(8, "big")
        await self._outbox.tell(tx, News.CONSENT_CHANGED, one.subject, key=key, declaration=None, at=at)
        mark("consents.objected")
        # Crash here: nothing has changed, and the citizen asks again; or, if the journal of endings has it, the next
        # start completes it.
        return Objected(one, entry, ended)
