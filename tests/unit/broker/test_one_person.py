"""One person under two names: what protects them, who acts for them, and their rights hold under both."""

from collections.abc import Mapping
from typing import Any

import pytest

from broker.consents.protecting import Wanted
from broker.services import identities, person_erase, person_export, representations, retractions
from schemas.errors import Refused
from tests.world import BREST_ADDRESS, CAF, DAY, ELISE, FAMILY, MOVED, RENNES, TOWN, VOICE, YANN, World

pytestmark = pytest.mark.asyncio
RENAMED: Mapping[str, Any] = {**ELISE, "family_name": "Moreau"}
LEFT = frozenset({"35238"})


async def linked(here: World) -> None:
    """Two operators have seen the act; three days later it acts."""
    asked = await identities.link(here.home, old=ELISE, new=dict(RENAMED), evidence="TJ Rennes 26/1")
    await identities.confirm(here.home, asked.id)
    here.clock.pass_(3 * DAY + 1)


def leaving(here: World, person: Mapping[str, Any] = RENAMED, **changes: Any) -> dict[str, Any]:
    """A move out of Rennes."""
    told = {"old_commune": "35238", "new_commune": "29019", "new_address": BREST_ADDRESS}
    return here.moved(dict(person), **{**told, **changes})


async def hears(here: World) -> bool:
    """Whether Rennes gets anything now."""
    return bool(await here.take(RENNES))


@pytest.mark.parametrize("first", [True, False], ids=["protected, then linked", "linked, then protected"])
async def test_who_is_protected_is_so_under_every_name(here: World, first: bool) -> None:
    await here.give(RENNES, MOVED, TOWN, ("subject", "new_address"), person=dict(RENAMED))
    await here.declare(MOVED, leaving(here))
    assert await hears(here)

    if not first:
        await linked(here)
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=LEFT))
    if first:
        await linked(here)
    await here.declare(MOVED, leaving(here))
    await here.give(RENNES, MOVED, TOWN, ("subject", "new_address"), person=dict(RENAMED))
    await here.declare(MOVED, leaving(here))

    assert not await hears(here)
    assert await here.home.protecting.of(here.subject(dict(RENAMED)))
    await here.home.protecting.lift(here.subject(dict(RENAMED)), given_by="self")
    here.clock.pass_(3 * DAY + 1)
    await here.declare(MOVED, leaving(here))
    assert await hears(here)


async def test_nobody_is_protected_because_somebody_else_is_linked(here: World) -> None:
    await linked(here)

    assert await here.home.protecting.of(here.subject(dict(RENAMED))) is None


async def test_a_guardian_acts_under_the_new_name_and_no_longer_once_it_has_ended(here: World) -> None:
    record = {"declarant": YANN, "capacity": "guardian"}
    held = await representations.start(
        here.home, representative=YANN, subject=ELISE, measure="guardianship", proof="TJ Rennes 25/01234"
    )
    with pytest.raises(Refused, match=r"representations\.none"):
        await here.declare(MOVED, leaving(here, **record))
    await linked(here)
    await here.declare(MOVED, leaving(here, **record))

    await representations.end(here.home, held.representation.id)

    with pytest.raises(Refused, match=r"representations\.ended"):
        await here.declare(MOVED, leaving(here, **record))


async def test_an_export_and_an_erasure_are_of_the_person_and_not_of_a_name(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await linked(here)
    await here.declare(MOVED, leaving(here))
    await here.take(CAF)
    new = here.subject(dict(RENAMED))

    told = await person_export.person_export(here.home, new)
    assert (1, 2) == (len(told["held"]["consents"]), len(told["held"]["declarations"]))
    done = await person_erase.erase(here.home, new, VOICE)

    assert (1, 2) == (done.gone["consents"], done.gone["declarations"])
    assert (await person_erase.look(here.home, here.subject())).nothing


async def test_a_notice_that_waits_for_the_former_town_is_opened_by_nobody(here: World) -> None:
    await here.give(RENNES, MOVED, TOWN, ("subject", "new_address"))
    said = await here.declare(MOVED, leaving(here, ELISE))
    assert await hears(here)
    await retractions.cancel(here.home, said.declaration_id, reason="mistake")
    await here.home.router.route()

    await here.home.protecting.protect(Wanted(subject=here.subject(), places=LEFT))

    assert not await hears(here)


async def test_who_has_lived_with_somebody_protected_names_nobody_under_a_new_name_either(here: World) -> None:
    new = {**YANN, "family_name": "Moreau"}
    await here.give(CAF, MOVED, FAMILY, ("subject", "household"), person=new)
    await here.home.protecting.protect(
        Wanted(subject=here.subject(), places=LEFT, housemates=frozenset({here.subject(YANN)}))
    )
    asked = await identities.link(here.home, old=YANN, new=new, evidence="TJ Rennes 26/2")
    await here.declare(MOVED, here.moved(new))
    await identities.confirm(here.home, asked.id)

    (waiting,) = await here.take(CAF)

    assert ("subject",) == waiting.disclosed
