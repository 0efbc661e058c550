"""What the law gives out about everybody, and a citizen's objection to it."""

from typing import Any

import pytest

from broker.services import rules
from broker.services.citizens import laws
from schemas.errors import Refused
from schemas.names import EventType, Purpose, RuleId
from tests.unit.broker.citizens.people import citizen
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, YANN, World

pytestmark = pytest.mark.asyncio
ARTICLE = "CSS, art. L161-32-1"


async def ruled(here: World, party: Any = CAF, purpose: Purpose = FAMILY, **more: Any) -> RuleId:
    """A rule that acts."""
    asked = await rules.ask(
        here.home,
        recipient=party,
        event_type=MOVED,
        purpose=purpose,
        fields=("subject", "new_address"),
        article=ARTICLE,
        **more,
    )
    await rules.approve(here.home, asked.id)
    here.clock.pass_(4 * DAY)
    return asked.id


async def refusal(work: Any) -> str:
    """The code of what it is refused with."""
    with pytest.raises(Refused) as fault:
        await work
    return fault.value.code


async def test_a_rule_is_told_with_its_article_and_what_can_be_done(here: World) -> None:
    await ruled(here)
    await ruled(here, CPAM, HEALTH, objection=False)

    found = (await laws.by_law(here.home, citizen(here)))["rules"]
    told = {one["recipient"]["party"]: one for one in found}

    assert (ARTICLE, True, None) == (told[CAF]["article"], told[CAF]["ground"]["objection"], told[CAF]["objection"])
    assert "vous y opposer" in told[CAF]["ground"]["remedy"]["fr"]
    assert not told[CPAM]["ground"]["objection"]
    assert ARTICLE in told[CAF]["text"]


async def test_an_objection_is_one_however_often_it_is_sent_and_can_be_withdrawn(here: World) -> None:
    rule, me = await ruled(here), citizen(here)

    first, again = await laws.object_to(here.home, me, rule), await laws.object_to(here.home, me, rule)
    assert (False, True, True) == (first["repeated"], again["repeated"], again["objection"]["stands"])
    assert [None] == [one["objection"] for one in (await laws.by_law(here.home, citizen(here, YANN)))["rules"]]
    await here.declare(MOVED, here.moved())
    assert [] == await here.take(CAF)

    first, again = await laws.withdraw(here.home, me, rule), await laws.withdraw(here.home, me, rule)
    assert (False, True, False) == (first["repeated"], again["repeated"], again["objection"]["stands"])
    await here.declare(MOVED, here.moved())
    assert 1 == len(await here.take(CAF))
    await here.step()


async def test_what_no_text_provides_for_cannot_be_objected_to(here: World) -> None:
    rule, me = await ruled(here, objection=False), citizen(here)

    assert "objections.not-provided" == await refusal(laws.object_to(here.home, me, rule))
    assert "objections.none" == await refusal(laws.withdraw(here.home, me, rule))
    assert "rules.unknown" == await refusal(laws.object_to(here.home, me, RuleId(bytes(16))))


async def test_rules_come_by_type_by_place_and_in_pages(here: World) -> None:
    one, two = await ruled(here), await ruled(here, CPAM, HEALTH, territories=["35238"])
    me = citizen(here)

    assert [] == (await laws.by_law(here.home, me, event_type=EventType("fr.unefois.contact.changed.v1")))["rules"]
    assert 1 == len((await laws.by_law(here.home, me, territory="29019"))["rules"])
    assert 2 == len((await laws.by_law(here.home, me, territory="35238"))["rules"])
    first = await laws.by_law(here.home, me, limit=1)
    rest = await laws.by_law(here.home, me, after=min(one, two), limit=1)
    assert None is rest["next"]
    assert {one, two} == {RuleId.parse(each["id"]) for page in (first, rest) for each in page["rules"]}
