"""Going on with a move by a code: for the same person alone, and not by trying."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.web.citizens import Browser, browser
from tests.world import YANN, World

pytestmark = pytest.mark.asyncio
START = "/espace/demenager"


@pytest_asyncio.fixture
async def elise(here: World) -> AsyncIterator[Browser]:
    """Élise, signed in, who has begun to move."""
    async with browser(here) as made:
        await made.sign_in()
        await made.send(f"{START}/commencer", {}, at=START)
        await made.send(f"{START}/date", {"date": "3 mars 2027"})
        yield made


async def code_of(elise: Browser) -> str:
    """The code that she is shown."""
    answer = await elise.send(f"{START}/code", {}, at=START)
    found = re.search(r"<code>([A-Z0-9-]+)</code>", answer.text)
    assert found is not None
    return found[1]


async def test_a_code_leads_back_to_what_was_typed(elise: Browser) -> None:
    code = await code_of(elise)
    await elise.sign_in()
    answer = await elise.send(f"{START}/reprendre", {"code": code.lower().replace("-", " ")}, at=START)

    assert (303, f"{START}/qui") == (answer.status_code, answer.headers["location"])
    assert 'value="3 mars 2027"' in (await elise.get(f"{START}/date")).text


async def test_it_opens_nothing_for_anybody_else(elise: Browser) -> None:
    code = await code_of(elise)
    await elise.sign_in(YANN)
    answer = await elise.send(f"{START}/reprendre", {"code": code}, at=START)

    assert 422 == answer.status_code
    assert "3 mars" not in (await elise.get(f"{START}/date")).text


@pytest.mark.parametrize("typed", ["", "x" * 1000, "🏠", "<script>alert(1)</script>", "AAAAAA-AAAAAA"])
async def test_one_that_is_none_is_told_beside_its_field(elise: Browser, typed: str) -> None:
    answer = await elise.send(f"{START}/reprendre", {"code": typed}, at=START)

    assert 422 == answer.status_code
    assert 'href="#code"' in answer.text
    assert "<script>alert" not in answer.text


async def test_after_some_that_were_wrong_the_right_one_has_to_wait(elise: Browser) -> None:
    code = await code_of(elise)
    for _ in range(5):
        await elise.send(f"{START}/reprendre", {"code": "AAAAAA-AAAAAA"}, at=START)

    assert 422 == (await elise.send(f"{START}/reprendre", {"code": code}, at=START)).status_code
    elise.here.clock.pass_(16 * 60_000)
    assert 303 == (await elise.send(f"{START}/reprendre", {"code": code}, at=START)).status_code
