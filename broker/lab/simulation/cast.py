"""Cast: the administrations of the country: what each hears of, on which ground, how often it looks.

Refuses: nothing; it is data.
Keeps: an administration has one ground for one type: a rule by law for everybody, or what each person says.
The articles are those of the demo's cast; each is to be confirmed by counsel.
"""

from dataclasses import dataclass
from typing import Final

from broker.lab.simulation.country import COMMUNES
from consent.basis import CONSENT, Basis, choice
from schemas.names import EventType, PartyId, Purpose

MOVE: Final = EventType("fr.unefois.address.changed.v1")
CONTACT: Final = EventType("fr.unefois.contact.changed.v1")
NAME: Final = EventType("fr.unefois.name.changed.v1")
BIRTH: Final = EventType("fr.unefois.person.born.v2")
DEATH: Final = EventType("fr.unefois.person.died.v2")
UNION: Final = EventType("fr.unefois.union.registered.v1")
ACCOUNT: Final = EventType("fr.unefois.bank-account.changed.v1")
NUMBER: Final = EventType("fr.unefois.person.reference.v1")
PORTAL: Final = PartyId("urn:unefois:portal")
BY_CITIZENS: Final = (MOVE, CONTACT, ACCOUNT)
BY_REGISTRARS: Final = (BIRTH, DEATH, UNION, NAME)

_WHO: Final = ("subject", "effective_date")
_CHOICE: Final = choice("Ordonnance n° 2005-395, art. 1")
_EXCHANGE: Final = "CRPA, art. L114-8"


@dataclass(frozen=True, slots=True)
class Wish:
    """What an administration hears of. `law`: the article of a rule for everybody; without one, `basis` is what a
    person says. `objection`: whether its text lets a person object. `local`: only of its own commune.
    """

    event_type: EventType
    purpose: Purpose
    fields: tuple[str, ...]
    law: str | None = None
    objection: bool = False
    basis: Basis = CONSENT
    local: bool = False


@dataclass(frozen=True, slots=True)
class Office:
    """One administration. `every`: it looks into its mailbox each so many days. `away`: from which day to which it does
    not look at all. `strangers`: of a thousand people, how many it does not find at first.
    """

    party: PartyId
    sector: str
    wishes: tuple[Wish, ...]
    every: int = 1
    away: tuple[int, int] = (0, 0)
    strangers: int = 0
    commune: str | None = None

    def wish(self, event_type: EventType) -> Wish | None:
        """What it hears of one type."""
        return next((each for each in self.wishes if each.event_type == event_type), None)

    def looks(self, day: int) -> bool:
        """Whether somebody looks into the mailbox on this day of the simulation."""
        return day % self.every == 0 and not self.away[0] <= day < self.away[1]


def _national() -> tuple[Office, ...]:
    family, health, tax = Purpose("family-benefits"), Purpose("health-insurance"), Purpose("income-tax")
    pension, pay = Purpose("retirement-pension"), Purpose("benefit-payment")
    number = ("subject", "number_kind", "number", "repairs")
    return (
        Office(
            PartyId("urn:unefois:family"),
            "family",
            (
                Wish(MOVE, family, (*_WHO, "new_address", "household", "occupants")),
                Wish(BIRTH, family, ("subject", "birthdate", "parents", "born_together"), law=_EXCHANGE),
                Wish(ACCOUNT, pay, (*_WHO, "iban", "bic", "holder")),
                Wish(UNION, family, ("subject", "partner", "union", "date"), law=_EXCHANGE, objection=True),
                Wish(NUMBER, family, number),
            ),
            strangers=20,
        ),
        Office(
            PartyId("urn:unefois:health"),
            "health",
            (
                Wish(MOVE, health, (*_WHO, "new_address", "phone", "email"), basis=_CHOICE),
                Wish(BIRTH, health, ("subject", "birthdate", "act"), law="CSS, art. L161-1"),
                Wish(DEATH, health, ("subject", "death_date"), law=_EXCHANGE),
                Wish(CONTACT, health, (*_WHO, "email", "mobile_phone", "preferred")),
                Wish(ACCOUNT, pay, (*_WHO, "iban", "bic", "holder")),
                Wish(NUMBER, health, number),
            ),
            every=2,
            strangers=10,
        ),
        Office(
            PartyId("urn:unefois:tax"),
            "tax",
            (
                Wish(MOVE, tax, (*_WHO, "old_commune", "new_commune", "new_address"), law="CGI, art. 10 et 11"),
                Wish(DEATH, tax, ("subject", "death_date", "surviving_partner", "estate_contact"), law="CGI, art. 204"),
                Wish(UNION, tax, ("subject", "partner", "date", "property_regime"), law="CGI, art. 6"),
            ),
            every=7,
        ),
        Office(
            PartyId("urn:unefois:pension"),
            "pension",
            (
                Wish(DEATH, pension, ("subject", "death_date", "death_place"), law=_EXCHANGE),
                Wish(CONTACT, pension, (*_WHO, "email", "mobile_phone")),
                Wish(NAME, pension, (*_WHO, "nature", "new_family_name", "new_usual_name"), law=_EXCHANGE),
            ),
            every=3,
            away=(60, 90),
        ),
        Office(
            PartyId("urn:unefois:energy"),
            "energy",
            (
                Wish(
                    MOVE,
                    Purpose("housing-support"),
                    ("subject", "new_commune", "effective_date"),
                    law="C. énergie, art. L124-1",
                    objection=True,
                ),
            ),
            every=5,
        ),
    )


def _town(code: str) -> Office:
    fields = (*_WHO, "old_commune", "new_commune", "new_address", "occupants")
    wish = Wish(MOVE, Purpose("local-services"), fields, basis=_CHOICE, local=True)
    return Office(PartyId(f"urn:unefois:town-{code}"), f"commune-{code}", (wish,), every=2, commune=code)


TOWNS: Final = {code: _town(code) for code in COMMUNES}
OFFICES: Final = (*_national(), *TOWNS.values())
BY_PARTY: Final = {office.party: office for office in OFFICES}
