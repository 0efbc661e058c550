"""How surely a citizen has to be known: for each act one level, and no more is asked for than that."""

import pytest

from broker.citizens.levels import LEAST, Act, check, least_for
from broker.services.citizens import signing_in
from schemas import catalogue
from schemas.assurance import Assurance
from schemas.errors import Refused
from schemas.names import EventType
from tests.citizens import sign_in
from tests.franceconnect import doors
from tests.world import BANK, MOVED, World


def test_every_act_has_its_level() -> None:
    assert set(Act) == set(LEAST)


@pytest.mark.parametrize(
    ("level", "acts"),
    [
        (Assurance.LOW, [Act.LOOK, Act.CONSENT, Act.END_CONSENT, Act.OBJECT, Act.TAKE_BACK, Act.REPAIR, MOVED]),
        (Assurance.SUBSTANTIAL, [Act.CHANNEL, Act.EXPORT, Act.ERASE, Act.LINK, BANK]),
    ],
)
def test_the_level_of_each_act_is_this(level: Assurance, acts: list[Act | EventType]) -> None:
    assert {level} == {least_for(one) for one in acts}


def test_a_type_is_declared_at_the_level_that_its_subscribers_need() -> None:
    for event_type, least in catalogue.LEAST.items():
        assert least.assurance == least_for(event_type)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("has", "allowed"),
    [
        (Assurance.LOW, False),
        (Assurance.COUNTER, True),
        (Assurance.SUBSTANTIAL, True),
        (Assurance.HIGH, True),
    ],
)
async def test_a_level_below_is_refused_with_what_is_needed(here: World, has: Assurance, allowed: bool) -> None:
    _, citizen = await sign_in(here, assurance=has)
    acts: tuple[Act | EventType, ...] = (Act.EXPORT, BANK)
    for act in acts:
        if allowed:
            check(citizen, act)
            continue
        with pytest.raises(Refused) as caught:
            check(citizen, act)
        told = (caught.value.details["needed"], caught.value.details["has"])
        assert ("citizens.level-too-low", ("substantial", "low")) == (caught.value.code, told)
    check(citizen, Act.END_CONSENT)


@pytest.mark.asyncio
async def test_whoever_is_refused_steps_up_and_is_the_same_person(here: World) -> None:
    them = doors(here)
    low = await them.enter("maiwenn")
    with pytest.raises(Refused, match="level-too-low"):
        check(low.citizen, BANK)

    sure = await them.enter("maiwenn", least=least_for(BANK), replaces=low.token)

    check(sure.citizen, BANK)
    assert low.citizen.subject == (await signing_in.current(here.home, sure.token)).subject
