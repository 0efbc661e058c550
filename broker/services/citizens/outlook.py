"""Outlook: what a dry run says, as a citizen reads it: who gets what, on which ground, what they can do about it.

Refuses: nothing.
Keeps: every line has its ground with the article, and what can be done; who gets nothing has the reason in a sentence.
"""

from collections.abc import Callable, Collection, Mapping

from broker.directory.reading import Party
from broker.services.citizens.words import NO_OBJECTION, OBJECT, REMEDY
from broker.services.declarations import Explained
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from consent import purposes, registry
from consent.basis import Basis, BasisKind
from consent.explain import Line, explain, explain_reason
from consent.policy import Deny, Permit, Share
from consent.rules import Rule
from schemas.catalogue import EventSchema
from schemas.messages import Language
from schemas.names import PartyId, Purpose


async def outlook(home: Home, found: Explained) -> Json:
    """`{event_type, event_label, held_until, elsewhere, lines: [{recipient: {party, name, contact}, purpose,
    purpose_label, permitted, fields: [{name, label}], grounds: [ground], reason, why, sentence}]}`.

    `ground`: `{basis, article, rule, objection, remedy, fields}`; `why`, `sentence`, `remedy` and labels in `fr` and
    `en`. `held_until`: nobody gets it before; `elsewhere`: how many more hear of this type in other places.
    """
    async with home.store.read() as tx:
        parties = {one.id: one for one in await home.lookup.parties(tx)}
        named = await home.lookup.purposes(tx)
        rules = await home.lookup.rules_for(tx, found.event.event_type)
        shares = [
            share for line in found.dry.lines if isinstance(line.decision, Permit) for share in line.decision.shares
        ]
        given = await registry.current(tx.conn, [share.grant_id for share in shares])
    ruled = {(one.recipient, one.purpose, one.article): one for one in rules}

    def rule_of(line: Line, share: Share) -> Rule | None:
        stored = given.get(share.grant_id)
        if stored is not None:
            return next((one for one in rules if one.id == stored.rule), None)
        return ruled.get((line.subscription.recipient, line.subscription.purpose, share.basis.article or ""))

    lines = []
    for line in found.dry.lines:
        shares_of = line.decision.shares if isinstance(line.decision, Permit) else ()
        grounds = [ground(one.basis, found.event, one.fields, rule_of(line, one)) for one in shares_of]
        lines.append(_line(found, line, parties, named) | {"grounds": grounds})
    return {
        "event_type": found.event.event_type,
        "event_label": dict(found.event.label),
        "held_until": time_of(found.dry.held_until),
        "elsewhere": found.dry.elsewhere,
        "lines": lines,
    }


def ground(basis: Basis, event: EventSchema, fields: Collection[str], rule: Rule | None) -> Json:
    """On what something goes out, and what its citizen can do about it."""
    remedy = REMEDY[basis.kind]
    if basis.kind is BasisKind.LAW:
        more = OBJECT if rule is not None and rule.objection else NO_OBJECTION
        remedy = {"fr": f"{remedy['fr']} {more['fr']}", "en": f"{remedy['en']} {more['en']}"}
    return {
        "basis": basis.kind.value,
        "article": basis.article,
        "rule": None if rule is None else uuid_of(rule.id),
        "objection": rule is not None and rule.objection,
        "remedy": dict(remedy),
        "fields": labelled(event, fields),
    }


def labelled(event: EventSchema, fields: Collection[str]) -> list[Json]:
    """Fields in the order of their schema, with their labels."""
    return [{"name": one.name, "label": dict(one.label)} for one in event.fields if one.name in fields]


def party(parties: Mapping[PartyId, Party], one: PartyId) -> Json:
    """An administration by its name, and whom to ask there."""
    known = parties.get(one)
    return {
        "party": one,
        "name": None if known is None else known.name,
        "contact": None if known is None else known.contact,
    }


def purpose_label(purpose: Purpose, named: purposes.Catalogue) -> Json:
    """What for, in both languages."""
    label = purposes.named(purpose, named).label
    return both(lambda language: label[language])


def _line(found: Explained, line: Line, parties: Mapping[PartyId, Party], named: purposes.Catalogue) -> Json:
    one, decision = line.subscription, line.decision
    reason = decision.reason if isinstance(decision, Deny) else None
    return {
        "recipient": party(parties, one.recipient),
        "purpose": one.purpose,
        "purpose_label": purpose_label(one.purpose, named),
        "permitted": isinstance(decision, Permit),
        "fields": labelled(found.event, decision.fields) if isinstance(decision, Permit) else [],
        "reason": None if reason is None else reason.value,
        "why": None if reason is None else both(lambda language: explain_reason(reason, language)),
        "sentence": both(lambda language: _sentence(found, line, named, language)),
    }


def _sentence(found: Explained, line: Line, named: purposes.Catalogue, language: Language) -> str:
    return explain(
        line.decision,
        found.dry.facts,
        line.subscription,
        language,
        recipient_name=found.names.get(line.subscription.recipient),
        field_labels={one.name: one.label[language] for one in found.event.fields},
        among=named,
    )


def both(said: Callable[[Language], str]) -> Json:
    """A sentence in both languages."""
    return {"fr": said("fr"), "en": said("en")}
