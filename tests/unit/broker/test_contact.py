"""Whoever has records under a reference of before is found under it, however the name is written now."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update

from broker.flow.desk import pivot_of
from broker.services.viewing import grants_of, subject_of
from broker.store.tables import reference_links
from schemas.facts import FactKind
from schemas.names import SubjectRef
from tests.world import CAF, ELISE, FAMILY, MOVED, YANN, World

pytestmark = pytest.mark.asyncio
DOUBLE = ELISE | {"family_name": "Le Goff"}
JOINED = ELISE | {"family_name": "LEGOFF"}
FIELDS = ("subject", "new_address")


def first(here: World, person: dict[str, object]) -> SubjectRef:
    """The reference of version 1."""
    found = here.home.identity.first_reference(pivot_of(person))
    assert found is not None
    return found


async def lives(here: World, subject: SubjectRef) -> None:
    """A consent under a reference."""
    from broker.consents.consents import GrantRequest
    from consent.basis import CONSENT
    from tests.world import VOICE

    await here.home.consents.give(
        GrantRequest(
            subject=subject,
            recipient=CAF,
            event_type=MOVED,
            purpose=FAMILY,
            fields=frozenset(FIELDS),
            basis=CONSENT,
            voice=VOICE,
        )
    )


async def links(here: World) -> int:
    """How many rows there are."""
    async with here.home.store.read() as tx:
        return len((await tx.execute(select(reference_links))).all())


async def test_of_somebody_whom_nobody_knows_nothing_is_written(here: World) -> None:
    assert here.subject(ELISE) == await subject_of(here.home, ELISE)
    assert 0 == await links(here)


async def test_who_has_records_under_version_1_stays_there_however_they_are_written(here: World) -> None:
    old = first(here, DOUBLE)
    await lives(here, old)

    assert [old] * 3 == [await subject_of(here.home, each) for each in (DOUBLE, JOINED, DOUBLE)]
    assert 1 == await links(here)
    assert [FactKind.REFERENCE_RENEWED] * 2 == [facts.kind for facts in await here.entries(FactKind.REFERENCE_RENEWED)]
    await here.step()


async def test_two_spellings_of_version_1_are_one_citizen_whose_consents_are_all_found(here: World) -> None:
    for person in (DOUBLE, JOINED):
        await lives(here, first(here, person))
    found = [await subject_of(here.home, each) for each in (DOUBLE, JOINED)]

    assert [first(here, DOUBLE)] * 2 == found
    assert 2 == len(await grants_of(here.home, found[0]))
    assert 2 == await links(here)
    await here.declare(MOVED, here.moved(JOINED))
    assert 1 == len(await here.take(CAF))
    await here.step()


async def test_who_began_under_version_2_takes_what_is_found_later(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS, person=JOINED)
    await lives(here, first(here, DOUBLE))

    assert here.subject(JOINED) == await subject_of(here.home, DOUBLE)
    assert 2 == len(await grants_of(here.home, here.subject(JOINED)))


async def test_a_token_of_before_finds_the_consents_of_now(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS, person=JOINED)
    await lives(here, first(here, DOUBLE))
    await subject_of(here.home, DOUBLE)

    async with here.home.store.read() as tx:
        kin = await here.home.lookup.kin(tx, [first(here, DOUBLE)], here.clock())

    assert here.subject(JOINED) == kin.first(first(here, DOUBLE))


async def test_another_person_is_not_touched(here: World) -> None:
    await lives(here, first(here, DOUBLE))
    await subject_of(here.home, DOUBLE)

    assert here.subject(YANN) == await subject_of(here.home, YANN)


async def test_a_row_that_somebody_edits_makes_nobody_somebody_else(here: World) -> None:
    await lives(here, first(here, DOUBLE))
    await subject_of(here.home, DOUBLE)
    async with here.home.store.begin() as tx:
        before = (await tx.execute(select(reference_links))).one()
        await tx.execute(update(reference_links).values(alias=here.subject(YANN)))

    assert here.subject(YANN) == await subject_of(here.home, YANN)
    async with here.home.store.begin() as tx:
        await tx.execute(update(reference_links).values(**before._mapping))


async def test_it_costs_one_question_and_a_batch_one_more(here: World) -> None:
    people = [ELISE | {"birthdate": f"19{50 + number}-01-01"} for number in range(20)]
    with counted("") as asked:
        await subject_of(here.home, people[0])
    assert 1 == len([one for one in asked if "SELECT" in one])

    for person in people:
        await here.declare(MOVED, here.moved(person), route=False)
    with counted("reference_links") as told:
        await here.home.router.route()
    assert 1 == len(told)


@contextmanager
def counted(table: str) -> Iterator[list[str]]:
    """Every statement meanwhile that names a table, as often as it is run."""
    told: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if table in statement:
            told.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(Engine, "before_cursor_execute", note)
