"""Rules by law as the tables hold them: their rows, read and written down.

Refuses: a row that nobody here could have written (`directory.unreadable`).
Keeps: a rule that has ended by the journal of endings counts as ended, whatever its row says; one without the broker's
seal counts for nothing. `broker.flow.ruling` alone writes.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from broker.ended import Ended
from broker.observability.observe import logger
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest, row_text
from broker.store.rows.seals import RowReader
from broker.store.tables import rules
from consent.rules import Rule, RuleStatus
from schemas.errors import Corrupt, Refused
from schemas.names import EventType, Instant, PartyId, Purpose, RuleId, instant_of


async def every(tx: Transaction, rows: RowReader, ended: Ended | None = None) -> tuple[Rule, ...]:
    """Every rule, ended ones too, the oldest first; one that has ended by the journal counts as ended. `ended`: what
    counts so, if that is not all that the journal says by now. Raises Corrupt `directory.unreadable`.
    """
    ended = await tx.endings() if ended is None else ended
    found = rows.valid(rules.name, await tx.execute(select(rules).order_by(rules.c.id)))
    try:
        return tuple(_obeyed(rule_of(row), ended) for row in found)
    except (Refused, ValueError, TypeError) as fault:
        raise Corrupt("directory.unreadable", wrong=getattr(fault, "code", type(fault).__name__)) from None


def _obeyed(rule: Rule, ended: Ended) -> Rule:
    told = ended.newest(rules.name, rule.id)
    if told is None or rule.status is RuleStatus.ENDED:
        return rule
    logger().error("endings.row-contradicts", recipient=rule.recipient, event_type=rule.event_type)
    return replace(rule, status=RuleStatus.ENDED, ended_at=told.at)


def rule_of(row: Row[Any]) -> Rule:
    """The rule of a row."""
    names = json.loads(row.fields)
    if not isinstance(names, list):
        raise TypeError("fields is a list of names")
    return Rule(
        id=RuleId(row.id),
        recipient=PartyId(row.recipient),
        event_type=EventType(row.event_type),
        purpose=Purpose(row.purpose),
        fields=frozenset(names),
        article=row.article,
        objection=bool(row.objection),
        status=RuleStatus(row.status),
        asked_at=Instant(row.asked_at),
        begins_at=instant_of(row.begins_at),
        ends_at=instant_of(row.ends_at),
        approved_at=instant_of(row.approved_at),
        acts_from=instant_of(row.acts_from),
        ended_at=instant_of(row.ended_at),
    )


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
    }


def rule_digest(rule: Rule) -> bytes:
    """SHA-256 of the rule's row, 32 bytes: what its entry commits to and `fsck` compares."""
    row: Mapping[str, Any] = row_of(rule)
    return row_digest("rules", row)


def rule_text(rule: Rule) -> str:
    """The JSON that `rule_digest` is of, for who checks it without us."""
    row: Mapping[str, Any] = row_of(rule)
    return row_text("rules", row)
