"""Representations: that one person acts for another is written down, shown and ended; by a source, or by operators.

Refuses: a source that is not entitled to `representation.started`, or `representation.ended`
(`directory.not-entitled`); what `broker.consents.representing` refuses.
Keeps: names go in and references alone are kept. The proof says where the act is found, and not what it says. The look
at somebody's records is written down before anything is shown.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from broker.consents.representing import Changed
from broker.flow import acting, represented
from broker.flow.acting import ActedFor
from broker.flow.desk import pivot_of
from broker.services.viewing import record_look
from broker.setup.wiring import Home
from consent.representation import Measure, Representation, of_age_at
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, Instant, PartyId, Purpose, RepresentationId, SubjectRef, uuid7

STARTED: Final = EventType("fr.unefois.representation.started.v1")
ENDED: Final = EventType("fr.unefois.representation.ended.v1")


async def start(
    home: Home,
    *,
    representative: Mapping[str, Any],
    subject: Mapping[str, Any],
    measure: str,
    proof: str,
    event_types: Iterable[str] | None = None,
    purposes: Iterable[str] | None = None,
    begins_at: Instant | None = None,
    ends_at: Instant | None = None,
    by: PartyId | None = None,
) -> Changed:
    """Write down that `representative` may act for `subject` (pivot identities). `by`: the source that says so; None:
    the broker, by two of its operators. Parental authority ends at the 18th birthday at the latest.

    Raises Refused `representations.*`, `identity.*`, `desk.no-subject`, `directory.not-entitled`, with a pointer.
    """
    at = home.clock()
    kind = _measure(measure)
    types = None if event_types is None else frozenset(map(EventType, event_types))
    for name in types or ():
        home.catalogue.by_type(name)
    if kind is Measure.PARENTAL_AUTHORITY:
        of_age = of_age_at(str(subject.get("birthdate", "")))
        if of_age <= at:
            raise Refused("representations.of-age", "/subject/birthdate")
        ends_at = of_age if ends_at is None else min(ends_at, of_age)
    await _check_entitled(home, by, STARTED, at)
    record = Representation(
        id=RepresentationId(uuid7(at, home.entropy(10))),
        representative=await _reference(home, representative, "/representative"),
        subject=await _reference(home, subject, "/subject"),
        measure=kind,
        proof=proof,
        event_types=types,
        purposes=None if purposes is None else frozenset(map(Purpose, purposes)),
        begins_at=at if begins_at is None else begins_at,
        ends_at=ends_at,
        given_by=by or home.party,
        recorded_at=at,
    )
    return await home.representing.start(record)


async def end(home: Home, of: RepresentationId, *, by: PartyId | None = None) -> Changed:
    """It allows nothing more. `by`: the source that ends it, its own alone. Raises Refused `representations.*`,
    `directory.not-entitled`.
    """
    await _check_entitled(home, by, ENDED, home.clock())
    ended = await home.representing.end(of, by)
    if by is None:  # a source's word comes over the API, whose process has no key of a consent: upkeep closes then
        await home.representing.close()
    return ended


async def of_person(home: Home, subject: SubjectRef) -> list[Representation]:
    """Who may act for somebody, or could; the oldest first. The look is recorded."""
    async with home.store.begin() as tx:
        record_look(home, tx, subject)
        return await represented.of_subjects(tx, home.rows, [subject])


async def show(home: Home, of: RepresentationId) -> Representation:
    """One record. The look is recorded. Raises Refused `representations.unknown`."""
    async with home.store.begin() as tx:
        found = await represented.one(tx, home.rows, of)
        if found is None:
            raise Refused("representations.unknown", "/id")
        record_look(home, tx, found.subject)
    return found


async def acted_for(home: Home, declaration: DeclarationId) -> ActedFor | None:
    """Who made a declaration for another, and how it was known that they may; None: nobody did."""
    async with home.store.read() as tx:
        return await acting.told(tx, home.macs, declaration)


async def _check_entitled(home: Home, by: PartyId | None, event_type: EventType, at: Instant) -> None:
    if by is None:
        return
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    theirs = (right for right in directory.rights if (right.party, right.event_type) == (by, event_type))
    if not any(right.valid_from <= at and (right.valid_to is None or at <= right.valid_to) for right in theirs):
        raise Refused("directory.not-entitled", "/measure", party=by, event_type=event_type)


def _measure(word: str) -> Measure:
    try:
        return Measure(word)
    except ValueError:
        known = ", ".join(one.value for one in Measure)
        raise Refused("representations.measure", "/measure", known=known) from None


async def _reference(home: Home, person: Mapping[str, Any], pointer: str) -> SubjectRef:
    try:
        return await home.contact.reference(pivot_of(person))
    except Refused as fault:
        raise fault.under(pointer) from None
