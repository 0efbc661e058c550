"""A protected person's news goes to nobody else: not to an address that is somebody else's, too. A lift is told."""

from typing import Any

import pytest
from sqlalchemy import select

from broker.consents.protecting import Wanted
from broker.messages.news import News, Sender, text_of
from broker.store.message_tables import messages
from tests.told import EMAIL, RECEIVED, Taken, by_mail, held, sentence_of, tell
from tests.world import ELISE, MOVED, YANN, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

SHARED, OWN = "la-maison@example.fr", "elise.seule@example.fr"
CHILD = ELISE | {"given_names": ["Lou"], "birthdate": "2019-02-03"}
PLACES = frozenset({"44109"})


async def protect(here: World, **more: Any) -> None:
    """Élise is protected."""
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=PLACES, **more))


async def declared(here: World, home: Any, way: Taken, person: dict[str, Any] = ELISE) -> list[tuple[str, str]]:
    """What is heard, and where, of a declaration."""
    await tell(here, home)
    way.taken.clear()
    await here.declare(MOVED, here.moved(person))
    await tell(here, home)
    return sorted(way.heard)


async def test_an_address_that_two_persons_share_hears_nothing_of_the_one_who_is_protected(here: World) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home, SHARED)
    await held(here, home, OWN)
    await held(here, home, SHARED, person=YANN)
    assert [(SHARED, RECEIVED), (OWN, RECEIVED)][::-1] == await declared(here, home, way)

    await protect(here)

    assert [(OWN, RECEIVED)] == await declared(here, home, way)
    assert [(SHARED, RECEIVED)] == await declared(here, home, way, YANN)
    await here.step()


async def test_the_rows_of_what_was_kept_back_say_what_the_rows_of_all_others_say(here: World) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home, SHARED)
    await held(here, home, SHARED, person=YANN)
    await protect(here)
    await declared(here, home, way)

    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(messages))).all()

    assert {(1, None, None)} == {(row.attempts, row.next_at, row.code) for row in rows}
    assert None not in {row.sent_at for row in rows}


async def test_somebody_who_adds_the_persons_address_later_silences_it_and_who_takes_it_back_does_not(
    here: World,
) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home, SHARED)
    await protect(here)
    assert [(SHARED, RECEIVED)] == await declared(here, home, way)

    theirs = await held(here, home, SHARED, person=YANN)
    assert [] == await declared(here, home, way)
    await home.channels.end(here.subject(YANN), theirs.id)

    assert [(SHARED, RECEIVED)] == await declared(here, home, way)


async def test_the_address_of_the_person_serves_the_children_that_are_protected_with_it(here: World) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home, OWN)
    await held(here, home, OWN, person=CHILD)
    await protect(here, children=frozenset({here.subject(CHILD)}))

    assert [(OWN, RECEIVED)] == await declared(here, home, way, CHILD)
    assert [(OWN, RECEIVED)] == await declared(here, home, way)


async def test_that_a_protection_is_to_be_lifted_is_told_at_the_addresses_held_before(here: World) -> None:
    way = Taken()
    home = by_mail(here, way)
    await held(here, home, OWN)
    await protect(here)
    await tell(here, home)
    way.taken.clear()

    await home.protecting.lift(here.subject(), given_by="self")
    here.clock.pass_(1)
    await held(here, home, "nouvelle@example.fr")
    await tell(here, home)

    check = sentence_of(text_of(News.CHECK, None, EMAIL, "fr", Sender("Unefois", "c@example.fr")).body)
    assert [(OWN, check)] == [one for one in way.heard if one[1] == check]
    assert "protég" not in "".join(one.subject + one.text for one in way.taken)
