"""Households: one form about a citizen and others: those whom they represent, and adults who confirm for themselves.

Refuses: what `broker.flow.households` refuses; another type than those of `HOUSEHOLDS`.
Keeps: all that goes at once goes together, or nothing of it. An adult confirms in a session of their own, by their
code; nobody learns what another has decided. Sent again under its id, a form is the same one.
Source: docs/adr/0052-who-acts-for-another-is-a-record.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.flow.desk import Prepared
from broker.flow.households import Awaited, Declared, Member, Opened
from broker.people.pivot import PivotIdentity
from broker.services.citizens import told_already
from broker.services.citizens.forms import HOUSEHOLDS, Form, filled, kept, kin_of, person_of
from broker.services.citizens.pointers import moved, of_member
from broker.services.citizens.sources import source_of
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from schemas.errors import Refused
from schemas.names import Capacity, DeclarationId, EventType, Instant, PartyId, uuid7

_MEMBER: Final = b"unefois/household-member/v1\x00"


@dataclass(frozen=True, slots=True)
class Person:
    """Another person of a household. `capacity`: in which the citizen declares for them; None: an adult, who confirms.

    `record`: what is different for them.
    """

    person: PivotIdentity = field(repr=False)
    capacity: Capacity | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


async def declare_household(
    home: Home, citizen: Citizen, form: Form, others: Sequence[Person], of: DeclarationId
) -> Json:
    """One form about the citizen and others: the citizen's own and those of whom they represent go at once, all of them
    or none; each other adult gets a code, to confirm in a session of their own. Sent again under its id, it answers the
    same.

    `{household, declarations: [as declare], waiting: [{member, code, expires_at}]}`; members count from 1, in the order
    of `others`. Raises Refused as `declare`, `citizens.no-household`, `households.*`, with a pointer into `/others`.
    """
    if form.event_type not in HOUSEHOLDS:
        raise Refused("citizens.no-household", "/event_type", event_type=form.event_type)
    levels.check(citizen, form.event_type)
    source = await source_of(home, citizen.portal, form.event_type)
    prepared: list[Prepared] = []
    try:
        members = await _members(home, citizen, form, others, of=of, source=source, prepared=prepared)
        opened = await home.households.open(source, members)
    except Refused as fault:
        for each in prepared:
            await home.desk.forget(each)
        raise of_member(fault) from None
    # Crash here: the household is in; sent again under its id, the same bytes get the same receipts and codes.
    record, _ = filled(home, citizen, form)
    await told_already.remember(home, citizen, form.event_type, record, of)
    return _household(form.event_type, opened)


async def confirm(
    home: Home, citizen: Citizen, household: DeclarationId, form: Form, *, code: str, of: DeclarationId
) -> Json:
    """An adult of somebody's household confirms, with what they declare themselves. As `declare`.

    Raises Refused, too: `households.unknown` (also for a code that is another's), `.expired`, `.decided`.
    """
    levels.check(citizen, form.event_type)
    record, subject = filled(home, citizen, form)
    source = await home.households.source_of(household, await kin_of(home, citizen))
    try:
        prepared = await home.desk.prepare(
            source, form.event_type, record, of=of, subject=subject, provenance=citizen.provenance
        )
    except Refused as fault:
        raise moved(fault) from None
    try:
        accepted = await home.households.confirm(source, household, code, prepared.envelope)
    except Refused:
        await home.desk.forget(prepared)
        raise
    return kept(form.event_type, accepted)


async def decline(home: Home, citizen: Citizen, household: DeclarationId, code: str) -> Json:
    """An adult refuses: nothing of theirs goes by this form. Again, it changes nothing. Raises as `confirm`."""
    theirs = await kin_of(home, citizen)
    source = await home.households.source_of(household, theirs)
    await home.households.refuse(source, household, code, whose=theirs)
    return {"household": uuid_of(household), "confirmed": False}


async def _members(
    home: Home,
    citizen: Citizen,
    form: Form,
    others: Sequence[Person],
    *,
    of: DeclarationId,
    source: PartyId,
    prepared: list[Prepared],
) -> list[Member]:
    """The citizen first. `prepared`: what was sealed so far, for who has to forget it."""
    made: list[Member] = []
    everybody = [form, *(_form_of(form, one) for one in others)]
    for number, one in enumerate(everybody):
        if one is None:
            made.append(await _awaited(home, source, others[number - 1].person, number))
            continue
        try:
            record, subject = filled(home, citizen, one)
            sealed = await home.desk.prepare(
                source, one.event_type, record, of=_id_of(of, number), subject=subject, provenance=citizen.provenance
            )
        except Refused as fault:
            raise fault.under(f"/members/{number}") from None
        prepared.append(sealed)
        made.append(Declared(sealed.envelope))
    return made


async def _awaited(home: Home, source: PartyId, person: PivotIdentity, number: int) -> Awaited:
    try:
        return Awaited((await home.desk.token(source, {"subject": person_of(person)}))[0])
    except Refused as fault:
        raise fault.under(f"/members/{number}") from None


def _form_of(form: Form, one: Person) -> Form | None:
    """What the citizen declares for one of the others; None for an adult, who does so themselves."""
    if one.capacity is None:
        return None
    return Form(form.event_type, {**form.record, **one.record}, one.person, one.capacity)


def _id_of(of: DeclarationId, number: int) -> DeclarationId:
    """The id of one member's declaration follows from the form's; the citizen's own is the form's."""
    if number == 0:
        return of
    drawn = sha256(_MEMBER + of + number.to_bytes(2, "big")).digest()[:10]
    return DeclarationId(uuid7(Instant(int.from_bytes(of[:6], "big")), drawn))


def _household(event_type: EventType, opened: Opened) -> Json:
    return {
        "household": uuid_of(opened.household),
        "declarations": [kept(event_type, one) for one in opened.accepted],
        "waiting": [
            {"member": one.number, "code": one.code, "expires_at": time_of(one.expires_at)} for one in opened.codes
        ],
    }
