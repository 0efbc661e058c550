"""Laws: the rules by law under which an administration hears of everybody, and a citizen's objections to them.

Refuses: an objection to a rule whose text provides for none, with its article.
Keeps: an objection counts from its answer on; the same said twice is one. Each answer says what it means next time.
Source: Regulation (EU) 2016/679 (GDPR), article 21.
"""

from typing import Final

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.citizens.levels import Act
from broker.flow.objected import Objecting
from broker.services import rules
from broker.services.citizens.granted import Book, book
from broker.services.citizens.outlook import ground, labelled, party, purpose_label
from broker.services.citizens.texts import digest
from broker.services.citizens.words import NEXT
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from consent.rules import Rule, RuleStatus
from schemas import areas
from schemas.errors import Refused
from schemas.names import EventType, RuleId

PAGE: Final = 50
"""Rules of one page, and the most that can be asked for."""
PERSONAL: Final = "personal-situation"
"""The reason of an objection, where none is told."""


async def by_law(
    home: Home,
    citizen: Citizen,
    *,
    event_type: EventType | None = None,
    territory: str | None = None,
    after: RuleId | None = None,
    limit: int = PAGE,
) -> Json:
    """The rules that are approved, with what the citizen has said of each. `territory`: a commune's code; with it, only
    those that reach it.

    `{rules: [{id, recipient, event_type, event_label, purpose, purpose_label, article, ground, acts_from, ends_at,
    territories, text, text_sha256, objection: {stands, objected_at, withdrawn_at, reason} | None}], next}`.
    """
    wanted = max(1, min(limit, PAGE))
    said = await _said(home, citizen)
    there, found = await book(home), []
    every = sorted(await rules.every(home), key=lambda one: one.id)
    ordered = [
        one
        for one in every
        if one.status is RuleStatus.APPROVED
        and event_type in (None, one.event_type)
        and (territory is None or one.territories is None or areas.within(territory, one.territories))
        and (after is None or one.id > after)
    ]
    for one in ordered[:wanted]:
        found.append(_rule(home, there, one, said.get(one.id), citizen))
    last = ordered[wanted - 1].id if len(ordered) > wanted else None
    return {"rules": found, "next": uuid_of(last)}


async def object_to(home: Home, citizen: Citizen, rule: RuleId, reason: str = PERSONAL) -> Json:
    """From now on nothing of the citizen goes out under this rule. Again, it changes nothing.

    `{rule, objection, repeated, next}`. Raises Refused: `rules.*`, `objections.not-provided`, `objections.reason`.
    """
    levels.check(citizen, Act.OBJECT)
    repeated = False
    try:
        await rules.object_to(home, citizen.subject, rule, reason=reason, given_by=_given_by(citizen))
    except Refused as fault:
        if fault.code != "objections.stands":
            raise
        repeated = True
    return await _answered(home, citizen, rule, "objected", repeated=repeated)


async def withdraw(home: Home, citizen: Citizen, rule: RuleId) -> Json:
    """The rule counts again, for what comes. Again, it changes nothing. As `object_to`; raises Refused `rules.*`,
    `objections.none`.
    """
    levels.check(citizen, Act.OBJECT)
    repeated = False
    try:
        await rules.withdraw_objection(home, citizen.subject, rule, given_by=_given_by(citizen))
    except Refused as fault:
        if fault.code != "objections.none" or rule not in await _said(home, citizen):
            raise
        repeated = True
    return await _answered(home, citizen, rule, "objection-withdrawn", repeated=repeated)


def _given_by(citizen: Citizen) -> str:
    return citizen.voice(bytes(32)).given_by


async def _said(home: Home, citizen: Citizen) -> dict[RuleId, Objecting]:
    """What the citizen has said of each rule: what stands, under whichever of their references, else the last word."""
    found: dict[RuleId, Objecting] = {}
    for one in await rules.objections(home, citizen.subject):
        before = found.get(one.rule)
        if before is None or _rank(one) > _rank(before):
            found[one.rule] = one
    return found


def _rank(one: Objecting) -> tuple[bool, int]:
    return one.withdrawn_at is None, one.withdrawn_at or 0


async def _answered(home: Home, citizen: Citizen, rule: RuleId, what: str, *, repeated: bool) -> Json:
    said = (await _said(home, citizen)).get(rule)
    return {"rule": uuid_of(rule), "objection": _objection(said), "repeated": repeated, "next": dict(NEXT[what])}


def _objection(one: Objecting | None) -> Json | None:
    if one is None:
        return None
    return {
        "stands": one.withdrawn_at is None,
        "objected_at": time_of(one.objected_at),
        "withdrawn_at": time_of(one.withdrawn_at),
        "reason": one.reason,
    }


def _rule(home: Home, there: Book, one: Rule, said: Objecting | None, citizen: Citizen) -> Json:
    event = home.catalogue.by_type(one.event_type)
    text = there.text(one, home.catalogue.by_type(one.event_type), citizen.language, until=one.ends_at)
    return {
        "id": uuid_of(one.id),
        "recipient": party(there.parties, one.recipient),
        "event_type": one.event_type,
        "event_label": dict(event.label),
        "purpose": one.purpose,
        "purpose_label": purpose_label(one.purpose, there.purposes),
        "fields": labelled(event, one.fields),
        "article": one.article,
        "ground": ground(one.basis, event, one.fields, one),
        "acts_from": time_of(one.acts_from),
        "ends_at": time_of(one.ends_at),
        "territories": None if one.territories is None else sorted(one.territories),
        "text": text,
        "text_sha256": None if text is None else digest(text),
        "objection": _objection(said),
    }
