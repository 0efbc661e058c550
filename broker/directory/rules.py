"""Rules by law as the tables hold them: their rows, read and written down.

Refuses: a row that nobody here could have written (`directory.unreadable`).
Keeps: a rule that has ended, or was narrowed, by the journal of endings counts so, whatever its row says; one without
the broker's seal counts for nothing. `broker.flow.ruling` alone writes.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from broker.ended import FOREVER, Ended, Ending
from broker.observability.observe import logger
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest, row_text
from broker.store.rows.seals import RowReader
from broker.store.tables import rules
from consent.rules import Rule, RuleStatus
from schemas.assurance import ANY, Least, assurance_of, quality_of
from schemas.errors import Corrupt, Refused
from schemas.names import EventType, Instant, PartyId, Purpose, RuleId, instant_of


async def every(tx: Transaction, rows: RowReader, ended: Ended | None = None) -> tuple[Rule, ...]:
    """Every rule, ended ones too, the oldest first; one that has ended by the journal counts as ended. `ended`: what
    counts so, if that is not all that the journal says by now. Raises Corrupt `directory.unreadable`.
    """
    ended = await tx.endings() if ended is None else ended
    found = rows.valid(rules.name, await tx.execute(select(rules).order_by(rules.c.id)))
    try:
        return tuple(obeyed(rule_of(row), ended) for row in found)
    except (Refused, ValueError, TypeError) as fault:
        raise Corrupt("directory.unreadable", wrong=getattr(fault, "code", type(fault).__name__)) from None


def obeyed(rule: Rule, ended: Ended) -> Rule:
    """The rule as it counts: ended, or narrowed, as the journal says, where its row does not."""
    told = ended.newest(rules.name, rule.id)
    if told is None or rule.status is RuleStatus.ENDED or rule.since >= told.least:
        return rule
    logger().error("endings.row-contradicts", _ended_at=told.at, recipient=rule.recipient, event_type=rule.event_type)
    if told.least == FOREVER:
        return replace(rule, status=RuleStatus.ENDED, ended_at=told.at)
    return narrowed_as(rule, told)


def narrowing_of(rule: Rule, at: Instant) -> Ending:
    """The record of a rule that was narrowed: no older state of it is acceptable from now on."""
    kept = row_of(rule)
    told = {name: kept[name] for name in ("fields", "territories", "ends_at")}
    return Ending.of(rules.name, rule.id, at=at, least=rule.since, **told)


def narrowed_as(rule: Rule, ending: Ending) -> Rule:
    """An older state of a rule, with what the journal says that it was narrowed to."""
    told = ending.told
    territories = told["territories"]
    return replace(
        rule,
        fields=_names(told["fields"]),
        territories=None if territories is None else _names(territories),
        ends_at=instant_of(told["ends_at"]),
        narrowed_at=Instant(ending.least),
    )


def rule_of(row: Row[Any]) -> Rule:
    """The rule of a row."""
    return Rule(
        id=RuleId(row.id),
        recipient=PartyId(row.recipient),
        event_type=EventType(row.event_type),
        purpose=Purpose(row.purpose),
        fields=_names(row.fields),
        article=row.article,
        objection=bool(row.objection),
        status=RuleStatus(row.status),
        asked_at=Instant(row.asked_at),
        begins_at=instant_of(row.begins_at),
        ends_at=instant_of(row.ends_at),
        approved_at=instant_of(row.approved_at),
        acts_from=instant_of(row.acts_from),
        ended_at=instant_of(row.ended_at),
        territories=None if row.territories is None else _names(row.territories),
        least=_least_of(row),
        narrowed_at=instant_of(row.narrowed_at),
    )


def _names(text: str) -> frozenset[str]:
    names = json.loads(text)
    if not isinstance(names, list):
        raise TypeError("a list of names")
    return frozenset(names)


def _least_of(row: Row[Any]) -> Least:
    if row.least_assurance is None:
        return ANY
    return Least(assurance_of(row.least_assurance), quality_of(row.least_quality))


def row_of(rule: Rule) -> dict[str, Any]:
    """The row of a rule; equal rules have equal rows."""
    return {
        "id": rule.id,
        "recipient": rule.recipient,
        "event_type": rule.event_type,
        "purpose": rule.purpose,
        "fields": json.dumps(sorted(rule.fields)),
        "article": rule.article,
        "objection": int(rule.objection),
        "status": rule.status.value,
        "asked_at": rule.asked_at,
        "begins_at": rule.begins_at,
        "ends_at": rule.ends_at,
        "approved_at": rule.approved_at,
        "acts_from": rule.acts_from,
        "ended_at": rule.ended_at,
        "territories": None if rule.territories is None else json.dumps(sorted(rule.territories)),
        "least_assurance": None if rule.least == ANY else rule.least.assurance.value,
        "least_quality": None if rule.least == ANY else rule.least.quality.value,
        "narrowed_at": rule.narrowed_at,
    }


def rule_digest(rule: Rule) -> bytes:
    """SHA-256 of the rule's row, 32 bytes: what its entry commits to and `fsck` compares."""
    row: Mapping[str, Any] = row_of(rule)
    return row_digest("rules", row)


def rule_text(rule: Rule) -> str:
    """The JSON that `rule_digest` is of, for who checks it without us."""
    row: Mapping[str, Any] = row_of(rule)
    return row_text("rules", row)
