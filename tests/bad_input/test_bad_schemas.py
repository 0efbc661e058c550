"""What is said: a schema or a type that the verifier does not hold, at the intake, an agency, the command line."""

import pytest

from schemas.catalogue import Catalogue
from schemas.names import EventType, Reason
from tests.bad_input.agency import Fund
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.world import BANK, MOVED, PORTAL


@pytest.mark.asyncio
async def test_an_unknown_schema_is_refused_at_its_id(door: Door) -> None:
    raw = door.here.home.catalogue.by_type(MOVED).schema.raw
    (other,) = Catalogue.of([raw + b"\n"])  # one byte more is another schema

    await door.refuses(await door.envelope(event=other), "catalogue.unknown-schema", "/payload/schema")

    await door.arrives()


@pytest.mark.asyncio
async def test_a_schema_of_another_type_is_refused_at_its_id(door: Door) -> None:
    other = door.here.home.catalogue.by_type(BANK).schema.id
    envelope = await door.signed_again(await door.envelope(), await door.keys(PORTAL), schema=other)

    await door.refuses(envelope, "manifest.schema-of-another-type", "/payload/schema")

    await door.arrives()


@pytest.mark.asyncio
async def test_an_unknown_type_is_refused_before_anything_is_signed(door: Door) -> None:
    unknown = EventType("fr.unefois.address.vanished.v1")
    for call in (door.here.home.desk.declare, door.here.home.desk.explain):
        await door.fails(call(PORTAL, unknown, door.move()), "catalogue.unknown-type")

    await door.arrives()


@pytest.mark.asyncio
async def test_a_schema_that_an_agency_does_not_hold_yet_waits_among_the_dead_and_arrives_after(door: Door) -> None:
    here, fund = door.here, Fund(door.here)
    raw = here.home.catalogue.by_type(BANK).schema.raw
    await here.declare(MOVED, door.move())

    fund.catalogue = Catalogue.of([raw])
    report = await fund.run()

    ((_, rejected),) = report.rejected
    assert ("catalogue.unknown-schema", Reason.INVALID_DELIVERY) == (rejected.code, rejected.reason)
    assert {} == fund.shelf.rows
    (letter,) = await here.home.dead_letters.list()
    assert rejected.code == letter.code
    fund.catalogue = None
    assert await here.home.dead_letters.replay(letter.id) is None
    await fund.takes()


def test_a_person_who_names_a_type_that_does_not_exist_is_told_so(person: Person) -> None:
    for verb in ("declare", "explain"):
        words = (verb, person.file, "--type", "fr.unefois.address.vanished.v1")
        person.is_told(words, "catalogue.unknown-type", exit_code=3)
    person.is_told(("declare", person.file, "--type", "address"), "name.event-type", exit_code=3)
