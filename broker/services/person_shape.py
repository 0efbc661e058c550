"""Person shape: what is told of one person, as the plain document that the command line prints and an export holds.

Refuses: a value; there is none in it.
Keeps: identifiers of 16 bytes are UUIDs, instants RFC 3339; labels are those of the catalogue, in both languages.
"""

from collections.abc import Mapping
from typing import Any

from broker.services.person_report import PersonReport, Told
from broker.shapes import Json, time_of, uuid_of
from consent import purposes


def report_shape(found: PersonReport) -> Json:
    """A whole report."""
    told: Json = {
        "at": time_of(found.at),
        "broker": found.broker,
        "entry": None if found.look is None else found.look.hex(),
        "handed_over": [
            {
                **entry_shape(found, one.released),
                "outcome": None if one.outcome is None else one.outcome.facts.kind.value,
                "outcome_at": None if one.outcome is None else time_of(one.outcome.facts.at),
                "outcome_reason": None if one.outcome is None else _value(one.outcome.facts.reason),
            }
            for one in found.handed_over
        ],
        "under_way": [entry_shape(found, one) for one in found.under_way],
        "withheld": [entry_shape(found, one) for one in found.withheld],
        "declared": [entry_shape(found, one) for one in found.declared],
        "consents": [entry_shape(found, one) for one in found.consents],
        "acting": [entry_shape(found, one) for one in found.acting],
        "looks": [entry_shape(found, one) for one in found.looks],
        "closed_entries": found.closed,
    }
    named = {one for part in told.values() if isinstance(part, list) for each in part for one in _named(each)}
    return told | {"parties": parties_shape(found, named | {found.broker})}


def entry_shape(found: PersonReport, one: Told) -> Json:
    """An entry of the ledger; with the labels of its type and fields."""
    facts = one.facts
    event = None if facts.event_type is None else found.events.get(facts.event_type)
    labels = {} if event is None else {each.name: dict(each.label) for each in event.fields}
    return {
        "kind": facts.kind.value,
        "at": time_of(facts.at),
        "actor": facts.actor,
        "recipient": facts.recipient,
        "event_type": facts.event_type,
        "event_label": None if event is None else dict(event.label),
        "purpose": facts.purpose,
        "purpose_label": None if facts.purpose is None else dict(purposes.named(facts.purpose, found.purposes).label),
        "fields": list(one.fields),
        "field_labels": {name: labels[name] for name in one.fields if name in labels},
        "basis": facts.basis,
        "grant": uuid_of(facts.grant),
        "grant_version": facts.grant_version,
        "delivery": uuid_of(facts.delivery),
        "declaration": uuid_of(one.declaration),
        "manifest": None if facts.declaration is None else facts.declaration.hex(),
        "reason": _value(facts.reason),
        "entry": one.entry.hex(),
    }


def parties_shape(found: PersonReport, named: set[str]) -> Json:
    """Each by its id; None of what the directory does not know (any more)."""
    known = {str(one.id): one for one in found.parties.values()}
    parts = ("name", "address", "contact", "retention")
    return {
        one: {part: None if one not in known else getattr(known[one], part) for part in parts} for one in sorted(named)
    }


def _named(told: Mapping[str, Any]) -> set[str]:
    return {told[name] for name in ("actor", "recipient") if told[name] is not None}


def _value(member: Any) -> Any:
    return None if member is None else member.value
