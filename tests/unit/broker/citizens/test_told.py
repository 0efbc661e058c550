"""Whatever changes in what somebody allows is told to them on their own channels, and to nobody else."""

import pytest

from broker.consents.protecting import Wanted
from broker.services import rules
from broker.services.citizens import choices, laws
from tests.services.mailserver import Desk
from tests.told import held, mailbox, tell
from tests.unit.broker.citizens.people import citizen
from tests.unit.broker.citizens.test_choices import given, id_of
from tests.world import CAF, DAY, FAMILY, MINUTE, MOVED, YANN, World

pytestmark = pytest.mark.asyncio
CHANGED = "Ce que vous autorisez à recevoir vos déclarations a changé. Si ce n'est pas vous, regardez, et arrêtez-le."


def letters(desk: Desk, address: str = "elise@example.fr") -> int:
    """How many say that what somebody allows has changed."""
    found = [one for one in desk.letters() if one["To"] == address]
    return sum(CHANGED in " ".join(one.get_content().split()) for one in found)


async def test_each_change_is_told_once_on_the_citizens_own_channels(here: World) -> None:
    desk = Desk()
    async with mailbox(here, desk) as home:
        here = World(home, here.clock, here.folder)
        await held(here, home)
        await held(here, home, "yann@example.fr", person=YANN)
        grant, me = id_of(await given(here)), citizen(here)
        steps = (
            lambda: choices.pause(home, me, grant, 1),
            lambda: choices.resume(home, me, grant, 2),
            lambda: choices.narrow(home, me, grant, 3, frozenset({"subject"})),
            lambda: choices.end(home, me, grant),
        )
        for step in steps:
            await tell(here, home)
            before = letters(desk)
            here.clock.pass_(MINUTE)
            await step()
            await tell(here, home)
            assert before + 1 == letters(desk)
        await given(here)  # the same minute: they have been told
        await tell(here, home)
        assert (5, 0) == (letters(desk), letters(desk, "yann@example.fr"))


async def test_an_objection_and_its_end_are_told(here: World) -> None:
    desk = Desk()
    async with mailbox(here, desk) as home:
        await held(here, home)
        asked = await rules.ask(
            home, recipient=CAF, event_type=MOVED, purpose=FAMILY, fields=("subject",), article="CSS, art. L583-3"
        )
        await rules.approve(home, asked.id)
        here.clock.pass_(4 * DAY)
        me = citizen(here)
        for work in (laws.object_to, laws.withdraw):
            for _ in range(2):
                here.clock.pass_(MINUTE)
                await work(home, me, asked.id)
        await tell(here, home)

    assert 2 == letters(desk)


async def test_what_a_law_gives_out_is_no_news_of_the_citizens(here: World) -> None:
    desk = Desk()
    async with mailbox(here, desk) as home:
        await held(here, home)
        asked = await rules.ask(
            home, recipient=CAF, event_type=MOVED, purpose=FAMILY, fields=("subject",), article="CSS, art. L583-3"
        )
        await rules.approve(home, asked.id)
        here.clock.pass_(4 * DAY)
        await here.declare(MOVED, here.moved())
        await rules.end(home, asked.id)
        await home.objections.end_with_rules()
        await tell(here, home)

    assert 0 == letters(desk)


@pytest.mark.parametrize("shared", [False, True])
async def test_what_ends_because_somebody_is_protected_is_told_as_any_end_is_but_not_where_another_reads(
    here: World, shared: bool
) -> None:
    """The rows are those of anybody who has changed their mind; an address that is somebody else's too is silent."""
    desk = Desk()
    async with mailbox(here, desk) as home:
        await held(here, home)
        if shared:
            await held(here, home, person=YANN)
        await here.give(CAF, MOVED, FAMILY, ("subject",))
        await tell(here, home)
        before = letters(desk)

        wanted = Wanted(subject=here.subject(), places=frozenset(), parties=frozenset({CAF}))
        await home.protecting.protect(wanted)
        await tell(here, home)

        assert ["revoked"] == [one["status"] for one in await choices.mine(home, citizen(here), ended=True)]
        assert before + (not shared) == letters(desk)
