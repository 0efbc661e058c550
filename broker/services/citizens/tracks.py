"""Tracks: how far one declaration is with everybody, as its citizen reads it.

Refuses: nothing; whose it is was asked before.
Keeps: every step names the administration, what for, which fields, on which ground, how far it is, and for whom it
waits. Numbers of dead letters and of attempts are the operator's, and are not told.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from broker.directory.reading import Party
from broker.flow import retracted
from broker.flow.repairs import REPAIRABLE, under_way
from broker.flow.retracted import Retraction
from broker.flow.tracking import Step, Track
from broker.services.citizens.outlook import both, labelled, party, purpose_label
from broker.services.citizens.words import AWAITED, PROGRESS, Awaited, awaited
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from consent import purposes, registry
from consent.explain import explain_reason
from consent.grant import Grant
from schemas.catalogue import EventSchema
from schemas.errors import Refused
from schemas.names import DeliveryId, EventType, GrantId, PartyId


async def told(home: Home, found: Sequence[tuple[Track, EventType]], *, steps: bool = True) -> list[Json]:
    """Each as `following.track` has it; `steps`: with every administration's line. The type is told beside a track,
    which knows it only once it is routed.
    """
    grants = {step.grant for one, _ in found for step in one.steps if step.grant is not None}
    async with home.store.read() as tx:
        parties = {one.id: one for one in await home.lookup.parties(tx)}
        named = await home.lookup.purposes(tx)
        given = await registry.current(tx.conn, sorted(grants))
        ended = await tx.endings()
        answered = [step.delivery for one, _ in found for step in one.steps if step.reason in REPAIRABLE]
        mended = await under_way(tx, home.macs, [one for one in answered if one is not None], home.clock())
        roots = {one.declaration_id: await home.retracting.root_of(tx, one.declaration_id) for one, _ in found}
    lines = []
    for one, event_type in found:
        event = _event(home, event_type)
        line = _summary(one, event_type, event, parties, mended)
        line["taken_back"] = taken(
            retracted.told(ended, one.declaration_id) or retracted.told(ended, roots[one.declaration_id])
        )
        if steps:
            line["steps"] = [
                _step(each, event, parties, named, given, repairing=each.delivery in mended) for each in one.steps
            ]
        lines.append(line)
    return lines


def taken(one: Retraction | None) -> Json | None:
    """That it was taken back or stopped."""
    if one is None:
        return None
    return {
        "declaration": uuid_of(one.declaration),
        "kind": one.kind.value,
        "at": time_of(one.retracted_at),
        "stands": one.stands,
    }


def _event(home: Home, event_type: EventType) -> EventSchema | None:
    try:
        return home.catalogue.by_type(event_type)
    except Refused:  # a type of an older program
        return None


def _summary(
    one: Track,
    event_type: EventType,
    event: EventSchema | None,
    parties: Mapping[PartyId, Party],
    mended: Collection[DeliveryId],
) -> Json:
    counted = Counter(step.progress for step in one.steps)
    waits = max((step.held_until for step in one.steps if step.held_until is not None), default=None)
    return {
        "declaration": uuid_of(one.declaration_id),
        "event_type": event_type,
        "event_label": None if event is None else dict(event.label),
        "source": party(parties, one.source),
        "corrects": uuid_of(one.corrects),
        "received_at": time_of(one.received_at),
        "routed_at": time_of(one.routed_at),
        "held_until": time_of(waits),
        "progress": {each.value: counted[each] for each in PROGRESS},
        "your_turn": any(awaited(step) is Awaited.CITIZEN and step.delivery not in mended for step in one.steps),
    }


def _step(
    step: Step,
    event: EventSchema | None,
    parties: Mapping[PartyId, Party],
    named: purposes.Catalogue,
    given: Mapping[GrantId, Grant],
    *,
    repairing: bool,
) -> Json:
    waits = Awaited.ADMINISTRATION if repairing else awaited(step)
    grant = None if step.grant is None else given.get(step.grant)
    reason = step.reason
    return {
        "recipient": party(parties, step.recipient),
        "purpose": step.purpose,
        "purpose_label": purpose_label(step.purpose, named),
        "progress": step.progress.value,
        "word": dict(PROGRESS[step.progress]),
        "fields": _fields(event, step.fields),
        "taken": None if step.taken is None else _fields(event, step.taken),
        "since": time_of(step.since),
        "reason": None if reason is None else reason.value,
        "why": None if reason is None else both(lambda language: explain_reason(reason, language)),
        "awaited": waits.value,
        "awaited_words": dict(AWAITED[waits]),
        "until": step.until,
        "late": step.late,
        "held_until": time_of(step.held_until),
        "repairable": reason in REPAIRABLE and waits is Awaited.CITIZEN,
        "repairing": repairing,
        "basis": None if grant is None else grant.basis.kind.value,
        "article": None if grant is None else grant.basis.article,
        "grant": uuid_of(step.grant),
        "delivery": uuid_of(step.delivery),
    }


def _fields(event: EventSchema | None, names: Sequence[str]) -> list[Json]:
    """With their labels, where the type is known."""
    if event is None:
        return [{"name": name, "label": {"fr": name, "en": name}} for name in names]
    return labelled(event, names)
