"""Fingerprints: the same declaration of the same person is known again, by nobody without the secret."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from broker.citizens.fingerprints import content_of
from broker.store.citizen_tables import told_already
from schemas.names import DeclarationId, EventType
from tests.world import BANK, ELISE, MOVED, YANN, World, world

pytestmark = pytest.mark.asyncio

FIRST, SECOND = DeclarationId(bytes(15) + b"\x01"), DeclarationId(bytes(15) + b"\x02")


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker."""
    async with world(tmp_path, **home_settings) as made:
        yield made


async def keep(here: World, record: Mapping[str, Any], of: DeclarationId = FIRST) -> None:
    async with here.home.store.begin() as tx:
        await here.home.fingerprints.keep(tx, here.subject(), MOVED, record, of=of, at=here.clock())


async def found(
    here: World, record: Mapping[str, Any], person: dict[str, Any] = ELISE, of: EventType = MOVED
) -> list[DeclarationId]:
    async with here.home.store.read() as tx:
        return [one.declaration for one in await here.home.fingerprints.find(tx, here.subject(person), of, record)]


async def test_the_same_content_is_known_again_on_another_day_and_in_another_spelling(here: World) -> None:
    record = here.moved()
    await keep(here, record)
    here.clock.pass_(1)
    await keep(here, record, SECOND)
    await keep(here, record, SECOND)
    street = record["new_address"]["street"]
    again = record | {
        "effective_date": "2031-01-01",
        "new_address": record["new_address"] | {"street": f"  {street.upper()} "},
    }

    assert [SECOND, FIRST] == await found(here, again)


async def test_another_content_another_person_and_another_type_are_not(here: World) -> None:
    record = here.moved()
    await keep(here, record)

    assert [] == await found(here, record | {"new_address": record["new_address"] | {"street": "13 rue d'Ailleurs"}})
    assert [] == await found(here, record, YANN)
    assert [] == await found(here, record, of=BANK)


async def test_a_row_that_nobody_here_wrote_says_nothing(here: World) -> None:
    await keep(here, here.moved())
    async with here.home.store.begin() as tx:
        await tx.execute(update(told_already).values(at=told_already.c.at - 1))

    assert [] == await found(here, here.moved())


async def test_no_value_and_no_reference_is_in_a_row(here: World) -> None:
    await keep(here, here.moved())
    async with here.home.store.read() as tx:
        (row,) = (await tx.execute(select(told_already))).all()

    assert (32, 32) == (len(row.fingerprint), len(row.mac))
    assert here.subject() not in (row.fingerprint, row.mac)
    assert content_of(here.moved()) not in row.fingerprint


async def test_it_goes_with_its_declaration(here: World) -> None:
    declared = await here.declare(MOVED, here.moved())
    await keep(here, here.moved(), declared.declaration_id)
    await here.step()
    await here.home.erased.erase(here.subject())

    assert [] == await found(here, here.moved())
    await here.step()
