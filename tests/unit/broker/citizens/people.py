"""Citizens by hand, in words for tests: who has signed in, and what they fill in."""

from typing import Any

from broker.citizens.citizen import Citizen, Helper
from broker.flow.desk import pivot_of
from broker.services.citizens.forms import Form
from schemas.assurance import Assurance
from schemas.messages import Language
from schemas.names import Channel, EventType, Instant, PartyId
from tests.world import ELISE, MOVED, World


def citizen(
    here: World,
    person: dict[str, Any] = ELISE,
    *,
    assurance: Assurance = Assurance.SUBSTANTIAL,
    language: Language = "fr",
    portal: PartyId | None = None,
    helper: Helper | None = None,
) -> Citizen:
    """A person in a session of their own, without the session."""
    return Citizen(
        session=bytes(16),
        subject=here.subject(person),
        identity=pivot_of(person),
        assurance=assurance,
        channel=Channel.ONLINE,
        language=language,
        signed_in_at=here.clock(),
        expires_at=Instant(here.clock() + 3_600_000),
        portal=portal,
        helper=helper,
    )


def move(here: World, **changes: Any) -> Form:
    """A move as a form has it: without whom it is about."""
    record = {name: value for name, value in here.moved(**changes).items() if value not in (None, [])}
    return form_of(MOVED, record)


def form_of(event_type: EventType, record: dict[str, Any]) -> Form:
    """A form from a whole record."""
    return Form(event_type, {name: value for name, value in record.items() if name not in OWN})


OWN = ("subject", "declarant", "capacity")
