"""Messages: a citizen who wants it hears of each step of a declaration once, and nobody hears what it says."""

import pytest

from connectors.contract import Applied, Rejected
from schemas.errors import Unavailable
from schemas.names import Reason
from tests.services.mailserver import Desk
from tests.told import Taken, by_mail, held, mailbox, tell
from tests.world import CAF, DAY, FAMILY, MOVED, YANN, World

pytestmark = pytest.mark.asyncio


async def moved(here: World) -> str:
    """A declaration that one administration may have; its number."""
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"))
    return (await here.declare(MOVED, here.moved())).declaration_id.uuid


@pytest.mark.databases
async def test_each_step_arrives_once_at_a_mail_server_in_the_citizens_language(here: World) -> None:
    desk = Desk()
    async with mailbox(here, desk) as home:
        await held(here, home)
        await tell(here, home)
        await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"))
        accepted = await here.declare(MOVED, here.moved())
        await tell(here, home)
        await tell(here, home)
        await here.take(CAF)
        await tell(here, home)
        await tell(here, home)

    letters = desk.letters()
    assert ["Unefois : vérifiez que c'est bien vous", *["Unefois : il y a du nouveau"] * 2] == [
        letter["Subject"] for letter in letters
    ]
    assert 3 == len({letter["Message-ID"] for letter in letters})
    assert {"elise@example.fr"} == {letter["To"] for letter in letters}
