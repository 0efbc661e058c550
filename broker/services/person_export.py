"""Person export: everything that this broker holds about one person, as one document, with what is left out and why.

    the person's entries in the ledger ──► handed over, under way, withheld, declared, consents, acting, looks; all
    the person's rows (`person_rows`)  ──► held: consents, objections, declarations, deliveries, channels, messages ...
    what they have begun to type       ──► drafts, to the person alone
    the directory                      ──► parties, and the rules by law that apply to everybody

Refuses: a person whom the six facts do not tell from others; somebody else's, which is as unknown as one that never
was.
Keeps: one snapshot; the look is written down in the transaction that reads. Values that were declared are not in it:
the broker cannot read them. Where a person is told (an address, a number) stands in it whole: it is theirs, and this is
the one place where it leaves. The form is that of `schemas/person-export.v1.schema.json`.
Source: Regulation (EU) 2016/679 (GDPR), articles 15 and 20; docs/adr/0054-a-persons-rights.md.
"""

from typing import Any, Final

from broker.services.person_kept import kept
from broker.services.person_report import report_in
from broker.services.person_rows import HELD, Section, left_out
from broker.services.person_shape import entry_shape, parties_shape, report_shape
from broker.setup.wiring import Home
from broker.shapes import Json, time_of
from broker.shapes import rule as rule_shape
from broker.store.engine import Transaction
from consent.rules import RuleStatus
from schemas.errors import Corrupt, Refused
from schemas.names import SubjectRef

FORMAT: Final = "unefois-person-export/1"
VIEWS: Final = ("handed_over", "under_way", "withheld", "declared", "consents", "acting", "looks")
"""Lists of entries, each entry also in `entries`."""


async def person_export(home: Home, subject: SubjectRef, *, whose: SubjectRef | None = None) -> Json:
    """Everything. `whose`: the citizen who asks; None: an operator, for whom the look is recorded just so.

    Raises Refused `rights.unknown-person` for somebody else's; Corrupt `openings.damaged`; Unavailable.
    """
    if whose is not None and whose != subject:
        raise Refused("rights.unknown-person", "/person")
    async with home.store.begin() as tx:
        theirs = (await home.lookup.kin(tx, [subject], home.clock())).of(subject)
        held = {
            name: [row for one in theirs for row in await _rows(home, tx, name, section, one)]
            for name, section in HELD.items()
        }
        rules = [one for one in (await home.lookup.rules(tx)).values() if one.status is RuleStatus.APPROVED]
        found = await report_in(home, tx, subject)
        drafts = [one for each in theirs for one in await _drafts(home, tx, each, own=whose is not None)]
    told = report_shape(found)
    named = {*told["parties"], *(one.recipient for one in rules), *_named(held)}
    return {
        "format": FORMAT,
        "person": {"held": any(held.values()) or bool(found.told)},
        **told,
        "entries": [entry_shape(found, one) for one in found.told],
        "held": held,
        "drafts": drafts,
        "kept": kept(
            {**{name: len(rows) for name, rows in held.items()}, "entries": len(found.told), "drafts": len(drafts)},
            home.settings,
        ),
        "rules": [rule_shape(one) for one in rules],
        "parties": parties_shape(found, named),
        "left_out": left_out(),
    }


async def _drafts(home: Home, tx: Transaction, subject: SubjectRef, *, own: bool) -> list[Json]:
    """What was typed is shown to the person, and to no operator; that a code alone opens, to nobody."""
    return [
        {
            "form": one.form if own else None,
            "content": dict(one.content) if own else None,
            "written_at": time_of(one.written_at),
            "expires_at": time_of(one.expires_at),
        }
        for one in await home.drafts.in_(tx, subject)
    ]


async def _rows(home: Home, tx: Transaction, name: str, section: Section, subject: SubjectRef) -> list[Json]:
    rows = (await tx.execute(section.question(subject))).all()
    if name != "channels":
        return [section.shown(row) for row in rows]
    addresses = {one.id: _address(home, one) for one in await home.channels.of(tx, [subject])}
    return [{**section.shown(row), "address": addresses.get(row.id)} for row in rows]


def _address(home: Home, channel: Any) -> str | None:
    """None where it does not open any more."""
    try:
        return home.channels.address(channel)
    except (Corrupt, Refused):
        return None


def _named(held: Json) -> set[str]:
    """Every party that a row names."""
    columns = ("recipient", "source")
    return {row[name] for rows in held.values() for row in rows for name in columns if row.get(name) is not None}
