"""Acknowledging: the paper that a citizen keeps of a declaration: number, content, recipients, date, contact.

Refuses: a declaration that is not `whose`, as unknown as one that never was; one that is not routed yet, for nobody
knows who hears of it; one that was erased; values of somebody else's record.
Keeps: content is told by the labels of its fields. Values are on it only where whoever holds them gives the record, and
then the paper says that they are as stated: nobody here can compare them. The broker's signed receipt proves number,
source, instant and type (`schemas.acknowledgement`). Values are written down nowhere else. An operator's look is
recorded.
Source: decree 2005-469, article 7 (docs/legal/texts.md).
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row, select

from broker.directory.reading import Party
from broker.flow.erased import is_erased
from broker.flow.tracking import Progress, Step
from broker.services.viewing import record_look, subject_of
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.store.tables import declarations, submissions
from consent import purposes, registry
from consent.explain import explain_reason
from schemas.acknowledgement import FORMAT
from schemas.catalogue import EventSchema
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.names import DeclarationId, GrantId, Instant, PartyId, SchemaId, SubjectRef

_NOT: Final = frozenset({Progress.WITHHELD})


async def acknowledgement(
    home: Home,
    declaration: DeclarationId,
    *,
    record: Mapping[str, Any] | None = None,
    whose: SubjectRef | None = None,
) -> Json:
    """The paper. `record`: what was declared, from whoever holds it. `whose`: the citizen who asks; None: an operator.

    Raises Refused: `tracking.unknown`, `acknowledgement.not-routed`, `acknowledgement.erased`,
    `acknowledgement.other-person`, `identity.*`, `desk.no-subject`, `catalogue.unknown-field`.
    """
    found = await home.tracking.track(declaration, whose)
    person = None if record is None else await subject_of(home, record)
    if found.routed_at is None:
        raise Refused("acknowledgement.not-routed", "/id")
    async with home.store.begin() as tx:
        asked = select(declarations, submissions.c.receipt).join(
            submissions,
            (submissions.c.source == declarations.c.source)
            & (submissions.c.declaration_id == declarations.c.declaration_id),
        )
        row = (await tx.execute(asked.where(declarations.c.declaration_id == declaration))).one()
        if is_erased(row, await tx.endings()):
            raise Refused("acknowledgement.erased", "/id")
        if person is not None and row.subject not in (await home.lookup.kin(tx, [person], home.clock())).of(person):
            raise Refused("acknowledgement.other-person", "/subject")
        event = home.catalogue.by_id(SchemaId(row.schema_id))
        content = _content(event, record)
        parties = {one.id: one for one in await home.lookup.parties(tx)}
        named = await home.lookup.purposes(tx)
        grants = [step.grant for step in found.steps if step.grant is not None]
        bases = {one: grant.basis.text for one, grant in (await registry.current(tx.conn, grants)).items()}
        if whose is None:
            record_look(home, tx, SubjectRef(row.subject))
    return {
        "format": FORMAT,
        "number": uuid_of(declaration),
        "made_at": time_of(home.clock()),
        "received_at": time_of(Instant(row.received_at)),
        "event_type": row.event_type,
        "event_label": dict(event.label),
        "content": content,
        "values": "none" if record is None else "as-stated",
        "recipients": [_recipient(one, parties, bases, named) for one in found.steps if one.progress not in _NOT],
        "not_told": [_not_told(one, parties) for one in found.steps if one.progress in _NOT],
        "source": _party(parties, PartyId(row.source)),
        "contact": _party(parties, home.party),
        "manifest": _manifest(row),
        "receipt": json.loads(row.receipt),
    }


def _content(event: EventSchema, record: Mapping[str, Any] | None) -> list[Json]:
    """The fields by their labels; with a record those that it has, and what it says of them."""
    if record is None:
        return [{"name": each.name, "label": dict(each.label), "value": None} for each in event.fields]
    for name in record:
        event.field(name)
    said = ((each, record.get(each.name)) for each in event.fields)
    return [
        {"name": each.name, "label": dict(each.label), "value": _text(value)}
        for each, value in said
        if value not in (None, [], "")
    ]


def _text(value: Any) -> str:
    """A value as it is read: parts of a record one after the other, without what is empty."""
    if isinstance(value, Mapping):
        return ", ".join(_text(one) for one in value.values() if one not in (None, [], ""))
    if isinstance(value, list | tuple):
        return " ; ".join(map(_text, value))
    return str(value)


def _recipient(
    step: Step, parties: Mapping[PartyId, Party], bases: Mapping[GrantId, str], named: purposes.Catalogue
) -> Json:
    grant = None if step.grant is None else bases.get(step.grant)
    return {
        **_party(parties, step.recipient),
        "purpose": step.purpose,
        "purpose_label": dict(purposes.named(step.purpose, named).label),
        "fields": list(step.fields),
        "basis": grant,
        "progress": step.progress.value,
        "since": time_of(step.since),
    }


def _not_told(step: Step, parties: Mapping[PartyId, Party]) -> Json:
    why = None
    if step.reason is not None:
        why = {"fr": explain_reason(step.reason, "fr"), "en": explain_reason(step.reason, "en")}
    return {**_party(parties, step.recipient), "purpose": step.purpose, "why": why}


def _party(parties: Mapping[PartyId, Party], party: PartyId) -> Json:
    known = parties.get(party)
    told = {part: None if known is None else getattr(known, part) for part in ("name", "address", "contact")}
    return {"party": party, **told}


def _manifest(row: Row[Any]) -> str:
    return b64encode(SignedDeclaration.decode(row.envelope).payload).decode()
