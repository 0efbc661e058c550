"""Each event type goes from who publishes it to who may have it, and only what was granted arrives."""

import pytest

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.acting import BIRTHS
from consent.policy import ADDRESSED
from consent.representation import Measure
from schemas.assurance import SURE
from schemas.catalogue import EventSchema, builtin
from schemas.delivery import WITHHELD
from schemas.hpke import Suite
from schemas.names import PartyId
from schemas.retractions import RETRACTIONS
from schemas.samples import sample
from tests.unit.broker.families import acts
from tests.world import CAF, HEALTH, World

REGISTER = PartyId("urn:unefois:every-register")
EVENTS = [one for one in builtin().newest if one.event_type not in RETRACTIONS | ADDRESSED]
"""But those that nobody subscribes to, or allows beforehand: `test_retractions`, `test_repairs`."""


@pytest.mark.asyncio
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event_type)
async def test_a_type_is_declared_and_received_without_what_was_not_granted(here: World, event: EventSchema) -> None:
    party = Party(
        id=REGISTER,
        name="register",
        sector="register",
        kind=PartyKind.ADMINISTRATION,
        address="1 place Beauvau",
        contact="contact@example.fr",
        retention="un an",
        created_at=here.clock(),
    )
    await here.home.parties.enrol(Enrolment(party, 1, Suite.X25519, (event.event_type,)))
    record, granted = sample(event.event_type), event.names[-1]
    await here.subscribe(CAF, event.event_type, HEALTH, event.names)
    await here.give(CAF, event.event_type, HEALTH, ("subject", granted), person=record["subject"])
    if record["declarant"] is not None and event.event_type not in BIRTHS:
        await acts(here, Measure.PARENTAL_AUTHORITY, by=record["declarant"], subject=record["subject"])
    await here.home.desk.declare(REGISTER, event.event_type, record, provenance=SURE)
    await here.home.router.route()

    (delivery,) = await here.take(CAF)

    assert {"subject": record["subject"], granted: record[granted]} == {
        name: told for name, told in delivery.record.items() if told is not WITHHELD
    }
    await here.step()
