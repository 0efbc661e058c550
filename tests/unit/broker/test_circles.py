"""What the collector of circles is left with: it stands still for as long as it takes to collect it."""

import gc
from collections.abc import Iterator

import pytest

from connectors.contract import Applied
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, World

MOST = 300
"""Objects in circles of one declaration, from its acceptance to its acknowledgement. It was 840 when each subquery was
made for each question.
"""


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.asyncio
@pytest.mark.usefixtures("uncollected")
async def test_a_declaration_leaves_few_circles_behind(here: World) -> None:
    left = []
    for day in ("02", "03"):  # the first one makes what stays
        person = ELISE | {"birthdate": f"1985-04-{day}"}
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
        envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved(person))
        gc.collect()
        await here.home.intake.accept(envelope)
        await here.home.router.route()
        pulled = await here.inbox(CAF).pull(10)
        await here.inbox(CAF).acknowledge_all({one.delivery_id: Applied() for one in pulled.locked})
        left.append(gc.collect())

    assert len(pulled.locked) == 1
    assert left[1] <= MOST
