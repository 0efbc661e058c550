"""The DPO hears, once a day at most, that there is something to look at about protected persons, and no word more."""

from typing import Any

import pytest

from broker.consents.protecting import Wanted
from broker.maintenance.dpo_letters import LOOK_MS, DpoLetters
from broker.services import viewing
from schemas.errors import Unavailable
from schemas.names import Instant
from tests.endpoints import Letters
from tests.world import DAY, ELISE, YANN, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

DPO = "dpo@ville.example"


def letters_of(here: World, mail: Letters, to: str | None = DPO) -> DpoLetters:
    """Who writes to the DPO, as a process of its own would."""
    home = here.home
    return DpoLetters(
        store=home.store, openings=home.openings, mail=mail, to=to, name="Unefois", language="fr", clock=home.clock
    )


async def protect(here: World, **more: Any) -> None:
    """Élise is protected."""
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=frozenset({"35238"}), **more))


async def heard(here: World, writer: DpoLetters, mail: Letters) -> int:
    """How many letters the next look brings."""
    before = len(mail.taken)
    here.clock.pass_(LOOK_MS)
    assert None is await writer.step()
    return len(mail.taken) - before


async def test_a_look_at_a_protected_person_is_told_once_a_day_and_one_at_anybody_else_is_not(here: World) -> None:
    mail = Letters()
    writer = letters_of(here, mail)
    await protect(here)
    await viewing.grants_of(here.home, here.subject(YANN))
    assert 0 == await heard(here, writer, mail)

    for _ in range(2):
        await viewing.grants_of(here.home, here.subject(ELISE))
    assert [1, 0] == [await heard(here, writer, mail) for _ in range(2)]
    here.clock.pass_(2 * DAY)
    await viewing.grants_of(here.home, here.subject(ELISE))
    assert 1 == await heard(here, writer, mail)

    assert {DPO} == {one.to for one in mail.taken}
    assert 2 == len({one.about for one in mail.taken})
    assert not [word for word in ("Martin", "Élise", "35238") for one in mail.taken if word in one.subject + one.text]


async def test_an_end_that_is_asked_for_or_near_is_told(here: World) -> None:
    mail = Letters()
    writer = letters_of(here, mail)
    await protect(here, until=Instant(here.clock() + 20 * DAY))
    assert 0 == await heard(here, writer, mail)
    here.clock.pass_(14 * DAY)
    assert 1 == await heard(here, writer, mail)
    await protect(here)  # without an end
    here.clock.pass_(DAY)
    assert 0 == await heard(here, writer, mail)
    await here.home.protecting.lift(here.subject(), given_by="self")
    assert 1 == await heard(here, writer, mail)


async def test_what_was_not_taken_is_written_again_and_another_process_writes_the_same_letter(here: World) -> None:
    mail = Letters(Unavailable("mail.away"))
    writer = letters_of(here, mail)
    await protect(here)
    await viewing.grants_of(here.home, here.subject(ELISE))
    assert "mail.away" == await writer.step()
    assert 1 == await heard(here, writer, mail)
    assert 1 == await heard(here, letters_of(here, mail), mail)

    assert 1 == len({one.about for one in mail.taken})


async def test_without_an_address_nobody_is_told(here: World) -> None:
    mail = Letters()
    await protect(here)
    await viewing.grants_of(here.home, here.subject(ELISE))

    assert 0 == await heard(here, letters_of(here, mail, None), mail)
