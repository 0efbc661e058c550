"""Forms: what a citizen may declare, who would get it, and handing it in, for themselves or for whom they represent.

    begin ──► an id ──► explain (writes nothing) ──► declare, under that id: once, however often it is sent

Refuses: a type that others state (a birth, a judgment, a register's correction); a record that says itself whom it is
about, who declares or in which capacity: the session says that.
Keeps: `subject` is the citizen of the session, or somebody for whom a record says that they may act; nothing of another
person is told. What a form was sent with is told again for `idempotency.HOURS` under its id, never done twice.
Source: docs/adr/0057-the-citizens-api.md; docs/event-types.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.flow import represented
from broker.flow.arrived import Accepted
from broker.people.pivot import PivotIdentity
from broker.services import declarations
from broker.services.citizens import told_already
from broker.services.citizens.outlook import outlook
from broker.services.citizens.pointers import moved
from broker.services.citizens.sources import DECLARABLE, own_word, source_of
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from schemas.avro_types import Kind
from schemas.catalogue import LEAST, EventSchema
from schemas.completing import complete
from schemas.errors import Fault, Refused
from schemas.names import Capacity, DeclarationId, EventType, PartyId, SubjectRef, uuid7

HOUSEHOLDS: Final = (DECLARABLE[0],)
"""What several people of one household declare by one form."""
USUAL: Final = frozenset({"usual_name_taken", "usual_name_given_up"})
"""The changes of a name that a person states by themselves: of the name in use. The others are acts."""
OWN: Final = ("subject", "declarant", "capacity")
"""The fields that the session fills in."""


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in: the type's fields without `OWN`; those that may be null, and lists that are empty, can be
    left out.

    `person`: somebody whom the citizen represents, in this `capacity`; None: it is about the citizen.
    """

    event_type: EventType
    record: Mapping[str, Any] = field(repr=False)
    person: PivotIdentity | None = field(default=None, repr=False)
    capacity: Capacity = Capacity.SELF


def begin(home: Home) -> DeclarationId:
    """The id that a form carries from the start: what is sent under it is one declaration."""
    return DeclarationId(uuid7(home.clock(), home.entropy(10)))


def types(home: Home) -> list[Json]:
    """What can be declared, with the fields that are to be filled in: label, meaning, weight, whether they are needed.

    `[{event_type, schema, label, household, least_assurance, fields: [{name, label, doc, sensitivity, required}]}]`
    """
    return [_type(home.catalogue.by_type(one)) for one in DECLARABLE]


async def explain(home: Home, citizen: Citizen, form: Form) -> Json:
    """Who would get which fields, on which ground; who nothing, and why. Nothing is sent and nothing is written. For
    the citizen as they see it themselves; for somebody else as it is for a person whom nobody protects.

    Shape: `outlook.outlook`. Raises Refused: `citizens.not-declarable`, `citizens.filled-in`, `representations.none`,
    `publishers.*`, `identity.*`, `avro.*`, `values.*`.
    """
    record, subject = filled(home, citizen, form)
    source = await source_of(home, citizen.portal, form.event_type)
    try:
        if form.person is not None:
            await _check_represents(home, citizen, form, record)
        explained = await declarations.explain(
            home,
            form.event_type,
            record,
            source,
            citizen.provenance,
            own=form.person is None,
            subject=subject,
        )
    except Refused as fault:
        raise moved(fault) from None
    return await outlook(home, explained)


async def declare(home: Home, citizen: Citizen, form: Form, of: DeclarationId) -> Json:
    """Hand it in under the id that the form carries. Durable once it returns; sent again, it answers the same.

    `{declaration, event_type, received_at, repeated, manifest, receipt}`. Raises Refused as `explain`,
    `citizens.level-too-low`, `intake.id-reused` for other content under this id, and what the intake refuses;
    Unavailable: send it again.
    """
    filled(home, citizen, form)  # before anybody is sought who would sign it
    source = await source_of(home, citizen.portal, form.event_type)
    return await declare_as(home, citizen, form, of, source=source)


async def correct(home: Home, citizen: Citizen, declaration: DeclarationId, form: Form, of: DeclarationId) -> Json:
    """Put right what the citizen declared: the whole form once more, of the same type. It reaches all who had the first
    version. As `declare`; raises Refused, too: `tracking.unknown` for another's, `citizens.not-own-word`,
    `citizens.declared-elsewhere`, `intake.unknown-original` for one of another type.
    """
    source = await own_word(home, citizen, declaration)
    return await declare_as(home, citizen, form, of, source=source, corrects=declaration)


async def declare_as(
    home: Home,
    citizen: Citizen,
    form: Form,
    of: DeclarationId,
    *,
    source: PartyId,
    corrects: DeclarationId | None = None,
) -> Json:
    """As `declare`, in the name of this source."""
    levels.check(citizen, form.event_type)
    record, subject = filled(home, citizen, form)
    try:
        _, accepted = await declarations.declare(
            home,
            form.event_type,
            record,
            source,
            corrects=corrects,
            declaration_id=of,
            subject=subject,
            provenance=citizen.provenance,
        )
    except Refused as fault:
        raise moved(fault) from None
    if corrects is None:
        await told_already.remember(home, citizen, form.event_type, record, accepted.declaration_id)
    return kept(form.event_type, accepted)


async def earlier(home: Home, citizen: Citizen, form: Form) -> Json | None:
    """Whether the citizen has told this already. Shape: `told_already.earlier`; raises Refused as `explain`."""
    record, _ = filled(home, citizen, form)
    return await told_already.earlier(home, citizen, form.event_type, record)


def kept(event_type: EventType, one: Accepted) -> Json:
    """A declaration that is kept, with the intake's signed receipt (JSON text)."""
    return {
        "declaration": uuid_of(one.declaration_id),
        "event_type": event_type,
        "received_at": time_of(one.received_at),
        "repeated": one.repeated,
        "manifest": one.digest.hex(),
        "receipt": one.receipt.decode(),
    }


async def kin_of(home: Home, citizen: Citizen) -> tuple[SubjectRef, ...]:
    """Every reference of the citizen."""
    async with home.store.read() as tx:
        return (await home.lookup.kin(tx, [citizen.subject], home.clock())).of(citizen.subject)


def record_of(event: EventSchema, citizen: Citizen, form: Form) -> dict[str, Any]:
    """The whole record: what was filled in, and what the session says. Raises Refused `citizens.not-declarable`,
    `citizens.filled-in` with the pointer.
    """
    if form.event_type not in DECLARABLE:
        raise Refused("citizens.not-declarable", "/event_type", event_type=form.event_type)
    for name in OWN:
        if name in form.record:
            raise Refused("citizens.filled-in", f"/record/{name}")
    if "nature" in event.names and form.record.get("nature") not in USUAL:
        raise Refused("citizens.not-declarable", "/record/nature", event_type=form.event_type)
    me = person_of(citizen.identity)
    if form.person is None:
        told = {"subject": me, "declarant": None, "capacity": Capacity.SELF.value}
    else:
        told = {"subject": person_of(form.person), "declarant": me, "capacity": form.capacity.value}
    empty: dict[str, Any] = {each.name: [] for each in event.schema.fields if each.type.kind is Kind.ARRAY}
    return complete({**empty, **form.record, **told}, event)


def person_of(identity: PivotIdentity) -> dict[str, Any]:
    """The six facts as a record's `subject` has them."""
    return {
        "family_name": identity.family_name,
        "given_names": list(identity.given_names),
        "birthdate": identity.birthdate,
        "gender": identity.gender,
        "birthplace": identity.birthplace or None,
        "birthcountry": identity.birthcountry,
    }


def filled(home: Home, citizen: Citizen, form: Form) -> tuple[dict[str, Any], SubjectRef | None]:
    """The record, and whom it is about where the session says it."""
    record = record_of(home.catalogue.by_type(form.event_type), citizen, form)
    return record, citizen.subject if form.person is None else None


async def _check_represents(home: Home, citizen: Citizen, form: Form, record: Mapping[str, Any]) -> None:
    """That a record says that the citizen may act: nobody else learns who would hear of somebody, and under what.
    Raises Refused `representations.*`.
    """
    subject, at = await home.desk.subject(record), home.clock()
    async with home.store.read() as tx:
        kin = await home.lookup.kin(tx, [subject, citizen.subject], at)
        theirs = await represented.of_subjects(tx, home.rows, kin.of(subject))
    fault: Fault = Refused("representations.none", "/person", capacity=form.capacity.value)
    for one in theirs:
        if one.representative in kin.of(citizen.subject) and one.measure.capacity is form.capacity:
            try:
                one.check(form.event_type, at)
            except Refused as why:
                fault = why.under("/person")
            else:
                return
    raise fault


def _type(event: EventSchema) -> Json:
    least = LEAST.get(event.event_type)
    return {
        "event_type": event.event_type,
        "schema": event.schema.id.hex(),
        "label": dict(event.label),
        "household": event.event_type in HOUSEHOLDS,
        "least_assurance": None if least is None else least.assurance.value,
        "fields": [
            {
                "name": each.name,
                "label": dict(each.label),
                "doc": each.doc,
                "sensitivity": each.sensitivity.value,
                "required": not (schema.nullable or schema.type.kind is Kind.ARRAY),
            }
            for each, schema in zip(event.fields, event.schema.fields, strict=True)
            if each.name not in OWN
        ],
    }
