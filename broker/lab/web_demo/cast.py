"""Cast: the administrations that the pages' visitor meets: what each hears of, on which ground, how it works.

Refuses: nothing; it is data, and all of it is invented.
Keeps: there is one of each kind: told by law, told by law unless somebody objects, told where the person chooses, told
where they consent; one is slow, and one does not find the person at first.
The articles are those of the demo's cast; each is to be confirmed by counsel.
"""

from dataclasses import dataclass
from typing import Final

from schemas.names import EventType, PartyId, Purpose

MOVE: Final = EventType("fr.unefois.address.changed.v1")
CONTACT: Final = EventType("fr.unefois.contact.changed.v1")
ACCOUNT: Final = EventType("fr.unefois.bank-account.changed.v1")
NUMBER: Final = EventType("fr.unefois.person.reference.v1")
BROKER: Final = PartyId("urn:unefois:broker")
PORTAL: Final = PartyId("urn:unefois:portal")
LEGAL: Final = "CRPA, art. L114-8"
_WHO: Final = ("subject", "effective_date")


@dataclass(frozen=True, slots=True)
class Hears:
    """One thing that an administration hears of. `article`: of a rule for everybody; None: where the person allows it.
    `objection`: whether that article's text lets somebody object. `commune`: only of moves from or to there.
    """

    event_type: EventType
    purpose: Purpose
    fields: tuple[str, ...]
    article: str | None = None
    objection: bool = False
    commune: str | None = None


@dataclass(frozen=True, slots=True)
class Office:
    """One administration. `every`: seconds from one look into its mailbox to the next; `strangers`: whether it finds
    nobody before it was given their number.
    """

    party: PartyId
    name: str
    sector: str
    hears: tuple[Hears, ...]
    every: float = 1
    strangers: bool = False


OFFICES: Final = (
    Office(
        PartyId("urn:unefois:impots"),
        "Service des impôts (fictif)",
        "tax",
        (
            Hears(
                MOVE, Purpose("income-tax"), (*_WHO, "old_commune", "new_commune", "new_address"), "CGI, art. 10 et 11"
            ),
        ),
    ),
    Office(
        PartyId("urn:unefois:energie"),
        "Chèque énergie (fictif)",
        "energy",
        (
            Hears(
                MOVE,
                Purpose("housing-support"),
                ("subject", "new_commune", "effective_date"),
                "C. énergie, art. L124-1",
                objection=True,
            ),
        ),
    ),
    Office(
        PartyId("urn:unefois:famille"),
        "Allocations familiales (fictives)",
        "family",
        (
            Hears(MOVE, Purpose("family-benefits"), (*_WHO, "new_address", "household", "occupants")),
            Hears(ACCOUNT, Purpose("benefit-payment"), (*_WHO, "iban", "bic", "holder")),
        ),
    ),
    Office(
        PartyId("urn:unefois:sante"),
        "Assurance maladie (fictive)",
        "health",
        (
            Hears(MOVE, Purpose("health-insurance"), (*_WHO, "new_address", "phone", "email")),
            Hears(CONTACT, Purpose("health-insurance"), (*_WHO, "email", "mobile_phone", "preferred")),
            Hears(NUMBER, Purpose("health-insurance"), ("subject", "number_kind", "number", "repairs")),
        ),
        strangers=True,
    ),
    Office(
        PartyId("urn:unefois:rennes"),
        "Ville de Rennes (fictive)",
        "commune-35238",
        (
            Hears(
                MOVE,
                Purpose("local-services"),
                (*_WHO, "old_commune", "new_commune", "new_address", "occupants", "email"),
                commune="35238",
            ),
        ),
        every=15,
    ),
)
