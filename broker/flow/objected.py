"""Objected: to which rules by law a citizen objects, as rows and the journal of endings tell it.

Refuses: nothing; `broker.consents.objections` writes.
Keeps: the journal's last word counts over the row, so that whoever writes rows can neither take an objection away nor
bring one back; a row without the machine's MAC counts for nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Row, select

from broker.directory.kin import ALONE, Kin
from broker.ended import SUBJECT_BYTES, Ended, Ending
from broker.observability.observe import logger
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import objections
from consent.asking import one_of
from consent.grant import Grant
from consent.rules import Rule
from schemas.names import Instant, PartyId, Purpose, RuleId, SubjectRef, instant_of

_OF_SUBJECTS: Final = select(objections).where(one_of(objections.c.subject, "subjects"))
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Objecting:
    """What is written down of an objection: whose it is, to which rule, since when.

    `reason`: a word that the citizen's portal or the counter gives; `given_by`: who spoke, as in a consent;
    `withdrawn_at`: since when it does not stand any more.
    """

    subject: SubjectRef
    rule: RuleId
    objected_at: Instant
    reason: str
    given_by: str
    withdrawn_at: Instant | None = None

    @property
    def key(self) -> bytes:
        """What names it in the journal of endings."""
        return self.subject + self.rule

    def row(self) -> dict[str, Any]:
        """As the table has it, without its MAC."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def ending(self, at: Instant) -> Ending:
        """The record of it: while it stands nothing of the citizen goes out under the rule; 0 lifts that."""
        if self.withdrawn_at is None:
            return Ending.of(objections.name, self.key, at=at, actor=self.given_by, **self.row())
        return Ending.of(objections.name, self.key, at=at, least=0, actor=self.given_by, **self.row())


@dataclass(frozen=True, slots=True)
class Objection:
    """One citizen's, to a rule that has not ended: for whom and what the rule is, and since when it does not stand."""

    recipient: PartyId
    purpose: Purpose
    withdrawn_at: Instant | None

    @property
    def stands(self) -> bool:
        """Whether nothing goes out under the rule."""
        return self.withdrawn_at is None


Objected = Mapping[SubjectRef, Mapping[RuleId, Objection]]
"""The objections of some citizens, withdrawn ones too."""


async def barred(
    tx: Transaction, macs: RowMacs, subjects: Collection[SubjectRef], rules: Sequence[Rule], kin: Kin = ALONE
) -> Objected:
    """The objections of these citizens to these rules, as they count: what is said under one of a citizen's references
    is said under each of them, and one that stands counts over one that was withdrawn.
    """
    ordered, ended, by_id = sorted(set(subjects)), await tx.endings(), {rule.id: rule for rule in rules}
    written: dict[SubjectRef, dict[bytes, Objecting]] = {}
    for start in range(0, len(ordered), _CHUNK):
        rows = await tx.execute(_OF_SUBJECTS, {"subjects": ordered[start : start + _CHUNK]})
        for one in map(of_row, macs.valid(objections.name, rows)):
            written.setdefault(one.subject, {})[one.key] = one
    found: dict[SubjectRef, dict[RuleId, Objection]] = {}
    for subject in ordered:  # most citizens object to nothing, however many rules there are
        own = written.get(subject, {})
        for key in own.keys() | ended.objections(subject):
            rule = by_id.get(RuleId(key[SUBJECT_BYTES:]))
            if rule is not None and (counts := obeyed(own.get(key), key, ended)) is not None:
                there = Objection(rule.recipient, rule.purpose, counts.withdrawn_at)
                theirs = found.setdefault(kin.first(subject), {})
                theirs[rule.id] = _firmer(there, theirs.get(rule.id))
    return {subject: found[kin.first(subject)] for subject in ordered if kin.first(subject) in found}


def _firmer(one: Objection, other: Objection | None) -> Objection:
    """Of two of the same citizen to the same rule: what stands, else what was withdrawn last."""
    if other is None or one.withdrawn_at is None:
        return one
    return one if other.withdrawn_at is not None and other.withdrawn_at < one.withdrawn_at else other


def stands(barred: Objected, grant: Grant) -> bool:
    """Whether a citizen objects to the rule of a grant of theirs: it may have been made under another reference."""
    one = None if grant.rule is None else barred.get(grant.subject, {}).get(grant.rule)
    return one is not None and one.stands


def obeyed(row: Objecting | None, key: bytes, ended: Ended) -> Objecting | None:
    """An objection as it counts: as the journal tells it, where it tells of it."""
    told = ended.newest(objections.name, key)
    if told is None:
        return row
    journals = of_ending(told)
    if journals != row:
        logger().error("endings.row-contradicts", _ended_at=told.at, rule=journals.rule)
    return journals


def of_row(row: Row[Any]) -> Objecting:
    """The objection of a row."""
    return Objecting(
        subject=SubjectRef(row.subject),
        rule=RuleId(row.rule),
        objected_at=Instant(row.objected_at),
        reason=row.reason,
        given_by=row.given_by,
        withdrawn_at=instant_of(row.withdrawn_at),
    )


def of_ending(ending: Ending) -> Objecting:
    """What a record of the journal tells."""
    told = ending.told
    return Objecting(
        subject=SubjectRef.parse(told["subject"]),
        rule=RuleId.parse(told["rule"]),
        objected_at=Instant(told["objected_at"]),
        reason=told["reason"],
        given_by=told["given_by"],
        withdrawn_at=instant_of(told["withdrawn_at"]),
    )


def allowing(rules: Iterable[Rule], theirs: Mapping[RuleId, Objection]) -> list[Rule]:
    """Those of these rules to which no objection of one citizen stands; `theirs`: that citizen's, of `barred`."""
    return [rule for rule in rules if rule.id not in theirs or not theirs[rule.id].stands]
