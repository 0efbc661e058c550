"""You told us already: the same again is known to be the same, and who has recorded it since."""

from typing import Any

import pytest

from broker.services.citizens import following, forms
from broker.services.citizens.forms import Form
from schemas.names import DeclarationId
from tests.unit.broker.citizens.people import citizen, move
from tests.world import CAF, DAY, FAMILY, MOVED, YANN, World

pytestmark = pytest.mark.asyncio


async def told(here: World, form: Form) -> dict[str, Any]:
    """A declaration by its citizen."""
    return await forms.declare(here.home, citizen(here), form, forms.begin(here.home))


async def test_nothing_was_told_until_it_was(here: World) -> None:
    assert await forms.earlier(here.home, citizen(here), move(here)) is None


async def test_the_same_again_is_told_with_who_has_recorded_it(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    first = await told(here, move(here))
    at = first["received_at"]

    again = await forms.earlier(here.home, citizen(here), move(here, effective_date="2026-12-24"))
    assert again == {"declaration": first["declaration"], "at": at, "applied": 0}
    await here.home.router.route()
    await here.take(CAF)
    here.clock.pass_(DAY)
    again = await forms.earlier(here.home, citizen(here), move(here))
    assert again == {"declaration": first["declaration"], "at": at, "applied": 1}
    await here.step()


async def test_another_address_and_another_person_are_news(here: World) -> None:
    await told(here, move(here))

    assert await forms.earlier(here.home, citizen(here), move(here, old_commune="35238")) is None
    assert await forms.earlier(here.home, citizen(here, YANN), move(here)) is None


async def test_what_was_taken_back_was_not_told(here: World) -> None:
    first = await told(here, move(here))
    await here.step()
    of = DeclarationId.parse(first["declaration"])
    await following.cancel(here.home, citizen(here), of, "mistake")

    assert await forms.earlier(here.home, citizen(here), move(here)) is None
    second = await told(here, move(here))
    found = await forms.earlier(here.home, citizen(here), move(here))
    assert found is not None
    assert second["declaration"] == found["declaration"]
    await here.step()


async def test_handing_in_the_same_form_twice_is_told_once(here: World) -> None:
    of = forms.begin(here.home)
    for _ in range(2):
        await forms.declare(here.home, citizen(here), move(here), of)
    found = await forms.earlier(here.home, citizen(here), move(here))

    assert found is not None
    assert bytes(of) == bytes(DeclarationId.parse(found["declaration"]))
    await here.step()
