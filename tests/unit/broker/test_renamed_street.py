"""A street gets another name: one act, and everybody who lives there is told of by law, and asked for nothing."""

import pytest

from broker.services import parties, rules
from schemas import samples
from schemas.names import EventType
from tests.world import CAF, DAY, ELISE, FAMILY, PORTAL, YANN, World

RENAMED = EventType("fr.unefois.address.renamed.v1")
FIELDS = ("subject", "new_address")


@pytest.mark.asyncio
async def test_one_act_reaches_who_writes_to_the_people_of_the_street_without_a_consent_of_theirs(here: World) -> None:
    await parties.allow(here.home, PORTAL, RENAMED)
    await here.subscribe(CAF, RENAMED, FAMILY, FIELDS)
    asked = {"recipient": CAF, "event_type": RENAMED, "purpose": FAMILY, "fields": FIELDS}
    rule = await rules.ask(here.home, **asked, article="CGCT, art. L2121-30", objection=False)
    await rules.approve(here.home, rule.id)
    here.clock.pass_(3 * DAY)

    act = samples.sample(RENAMED)
    envelopes = [await here.home.desk.envelope(PORTAL, RENAMED, act | {"subject": one}) for one in (ELISE, YANN)]
    await here.home.intake.accept_all(envelopes, PORTAL)
    await here.home.router.route()
    told = await here.take(CAF)

    assert {f"law:{rule.article}"} == {one.basis for one in told}
    assert ["Yann", "Élise"] == sorted(one.record["subject"]["given_names"][0] for one in told)
    assert 1 == len({str(one.record["new_address"]) for one in told})
    for person in (ELISE, YANN):
        (grant,) = await here.home.consents.of(here.subject(person))
        assert grant.by_law
    await here.step()
