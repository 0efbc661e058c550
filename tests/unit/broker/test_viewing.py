"""Viewing: who looks at a citizen's file is in the ledger before anything is shown."""

from typing import Any

import pytest

from broker.services.viewing import grants_of, subject_of
from schemas.errors import Refused
from schemas.facts import FactKind
from tests.world import CAF, ELISE, FAMILY, MOVED, RENNES, YANN, World

pytestmark = pytest.mark.asyncio


async def test_a_citizens_grants_are_shown_and_no_others(here: World) -> None:
    mine = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)

    assert (mine.grant,) == await grants_of(here.home, here.subject(ELISE))


async def test_each_look_has_its_entry_with_who_looked_and_without_the_citizen(here: World) -> None:
    await grants_of(here.home, here.subject(ELISE))
    await grants_of(here.home, here.subject(ELISE), here.home.party)
    with pytest.raises(Refused, match=r"^viewing\.another-party"):
        await grants_of(here.home, here.subject(ELISE), RENNES)

    first, second = await here.entries(FactKind.VIEWED)

    assert [here.home.party, here.home.party] == [first.actor, second.actor]
    assert first.subject is not None
    assert first.subject != second.subject


async def test_a_file_names_a_citizen_by_itself_or_as_the_subject_of_a_record(here: World) -> None:
    found = [await subject_of(here.home, each) for each in (ELISE, here.moved())]

    assert [here.subject(ELISE)] * 2 == found


@pytest.mark.parametrize(
    ("document", "code", "pointer"),
    [
        (["Élise"], "desk.no-subject", ""),
        ({"family_name": "Martin"}, "desk.no-subject", ""),
        (ELISE | {"birthdate": "yesterday"}, "identity.birthdate", "/birthdate"),
        ({"subject": ELISE | {"birthdate": "yesterday"}}, "identity.birthdate", "/subject/birthdate"),
    ],
)
async def test_a_file_that_names_nobody_is_refused_with_its_place(
    here: World, document: Any, code: str, pointer: str
) -> None:
    with pytest.raises(Refused) as refused:
        await subject_of(here.home, document)

    assert (code, pointer) == (refused.value.code, refused.value.pointer)
