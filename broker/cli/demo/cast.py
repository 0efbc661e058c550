"""The cast: six administrations, a portal, a family, some neighbours. All are invented, and so is every value.

Refuses: nothing; it is data.
Keeps: what each administration asks for and what Maëlle grants stand side by side.

The articles are real: CRPA L114-8 lets administrations exchange what a citizen's declaration needs, CGI 10 and 11 tie
the income tax to the residence, CGCT L2121-29 leaves the affairs of a commune to its council.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.messages import Language
from schemas.names import EventType, PartyId, Purpose

ADDRESS: Final = EventType("fr.unefois.address.changed.v1")
BANK: Final = EventType("fr.unefois.bank-account.changed.v1")
BIRTH: Final = EventType("fr.unefois.person.born.v1")
DEATH: Final = EventType("fr.unefois.person.died.v1")
NUMBER: Final = EventType("fr.unefois.person.reference.v1")
"""A person's number at one administration, which has not found them."""
NANTES: Final = "44109"
RENNES: Final = "35238"
PORTAL: Final = PartyId("urn:unefois:portal")
BROKER: Final = PartyId("urn:unefois:broker")
SIGNED_TWICE: Final = 4
"""The portal's signature policy: Ed25519 and ML-DSA-44, both needed."""

Text = Mapping[Language, str]


def _text(fr: str, en: str) -> Text:
    return {"fr": fr, "en": en}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an administration asks to receive, and what it is granted of that: by Maëlle, or by an article of law."""

    event_type: EventType
    purpose: Purpose
    asks: tuple[str, ...]
    granted: tuple[str, ...]
    legal_reference: str
    territory: str | None = None
    article: str | None = None


@dataclass(frozen=True, slots=True)
class Administration:
    """One administration. `key` names its folder, `short` its column, `sector` decides its pseudonyms."""

    key: str
    name: Text
    short: Text
    sector: str
    wants: tuple[Wanted, ...]

    @property
    def party(self) -> PartyId:
        """Its identifier in the directory."""
        return PartyId(f"urn:unefois:{self.key}")

    def wanted(self, event_type: EventType) -> Wanted | None:
        """What it asks for of one event type."""
        return next((each for each in self.wants if each.event_type == event_type), None)


_EXCHANGE = "CRPA, art. L114-8"
_COUNCIL = "CGCT, art. L2121-29"
_TAX = "CRPA, art. L114-8 ; CGI, art. 10 et 11"

_WHO_AND_WHEN = ("subject", "effective_date")
_FAMILY = (*_WHO_AND_WHEN, "new_address", "household", "occupants", "usual_name")
_RESIDENCE = (*_WHO_AND_WHEN, "old_commune", "new_commune", "new_country", "new_address")
_ACCOUNT = (*_WHO_AND_WHEN, "iban", "bic", "holder", "uses", "replaces_ending")

ADMINISTRATIONS: Final = (
    Administration(
        "nantes",
        _text("Commune de Nantes", "Commune of Nantes"),
        _text("Nantes", "Nantes"),
        "commune-44109",
        (
            Wanted(
                ADDRESS,
                Purpose("local-services"),
                asks=(*_WHO_AND_WHEN, "new_commune", "new_country", "new_address"),
                granted=(*_WHO_AND_WHEN, "new_commune", "new_country"),
                legal_reference=_COUNCIL,
                territory=NANTES,
            ),
        ),
    ),
    Administration(
        "rennes",
        _text("Commune de Rennes", "Commune of Rennes"),
        _text("Rennes", "Rennes"),
        "commune-35238",
        (
            Wanted(
                ADDRESS,
                Purpose("local-services"),
                asks=(*_WHO_AND_WHEN, "old_commune", "new_commune", "new_address", "occupants", "phone", "email"),
                granted=(*_WHO_AND_WHEN, "old_commune", "new_commune", "new_address", "occupants", "email"),
                legal_reference=_COUNCIL,
                territory=RENNES,
            ),
        ),
    ),
    Administration(
        "family",
        _text("Allocations familiales", "Family-benefits fund"),
        _text("Famille", "Family"),
        "family",
        (
            Wanted(ADDRESS, Purpose("family-benefits"), _FAMILY, _FAMILY, _EXCHANGE),
            Wanted(BANK, Purpose("benefit-payment"), _ACCOUNT, _ACCOUNT, _EXCHANGE),
        ),
    ),
    Administration(
        "health",
        _text("Assurance maladie", "Health-insurance fund"),
        _text("Santé", "Health"),
        "health",
        (
            Wanted(
                ADDRESS,
                Purpose("health-insurance"),
                asks=(*_WHO_AND_WHEN, "new_address", "phone"),
                granted=(*_WHO_AND_WHEN, "new_address", "phone"),
                legal_reference=_EXCHANGE,
            ),
            Wanted(
                BANK,
                Purpose("benefit-payment"),
                asks=(*_WHO_AND_WHEN, "iban", "holder"),
                granted=(*_WHO_AND_WHEN, "iban", "holder"),
                legal_reference=_EXCHANGE,
            ),
        ),
    ),
    Administration(
        "tax",
        _text("Service des impôts", "Tax office"),
        _text("Impôts", "Tax"),
        "tax",
        (Wanted(ADDRESS, Purpose("income-tax"), _RESIDENCE, _RESIDENCE, _TAX, article=_EXCHANGE),),
    ),
    Administration(
        "energy",
        _text("Agence de l'énergie", "Energy agency"),
        _text("Énergie", "Energy"),
        "energy",
        (
            Wanted(
                ADDRESS,
                Purpose("energy-support"),
                asks=("subject", "new_address", "occupants", "occupancy"),
                granted=(),
                legal_reference=_EXCHANGE,
            ),
        ),
    ),
)


_NUMBER = ("subject", "number_kind", "number", "repairs")
_BORN = ("subject", "birthdate", "act", "parents", "born_together", "residence_commune")
_DIED = ("subject", "death_date", "last_commune")
_HEIRS = (*_DIED, "estate_contact")
ASKED_FOR: Final = ("health", Wanted(NUMBER, Purpose("health-insurance"), _NUMBER, _NUMBER, _EXCHANGE))
"""The health fund may hear of a person's number there; only a person who was not found gives one."""
REGISTRAR: Final = "nantes"
"""Who declares births and deaths: the civil registrar of the commune."""
CIVIL: Final = (
    ("family", Wanted(BIRTH, Purpose("family-benefits"), _BORN, _BORN, _EXCHANGE, article=_EXCHANGE)),
    ("health", Wanted(BIRTH, Purpose("health-insurance"), _BORN[:3], _BORN[:3], _EXCHANGE, article=_EXCHANGE)),
    ("health", Wanted(DEATH, Purpose("health-insurance"), _DIED, _DIED, _EXCHANGE, article=_EXCHANGE)),
    ("tax", Wanted(DEATH, Purpose("income-tax"), _HEIRS, _HEIRS, _TAX, article=_EXCHANGE)),
)
"""What administrations hear of everybody, by a rule: a newborn and a dead person consent to nothing."""
ENERGY: Final = Wanted(
    ADDRESS,
    Purpose("energy-support"),
    asks=("subject", "new_address"),
    granted=("subject", "new_address"),
    legal_reference=_EXCHANGE,
    article="Code de l'énergie, art. L124-1",
)
"""By this rule the energy agency hears of moves, later in the story; a citizen may object to it."""


def by_key(key: str) -> Administration:
    """The administration with this key."""
    return next(each for each in ADMINISTRATIONS if each.key == key)


def _person(family: str, given: list[str], born: str, gender: str, place: str) -> dict[str, Any]:
    return {
        "family_name": family,
        "given_names": given,
        "birthdate": born,
        "gender": gender,
        "birthplace": place,
        "birthcountry": "99100",
    }


def _home(number: str, street: str, postcode: str, city: str, commune: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("dwelling", "building", "repetition", "locality", "po_box", "ban_key"))
    told = {"housenumber": number, "street": street, "postcode": postcode, "city": city, "commune": commune}
    return {**nothing, **told, "country": "99100", "lines": []}


MAELLE: Final = _person("Korrigal", ["Maëlle", "Rose"], "1988-03-17", "female", "29019")
_THEO = _person("Ardoisier", ["Théophile"], "1986-11-02", "male", NANTES)
_LINA = _person("Ardoisier", ["Capucine"], "2016-05-21", "female", NANTES)
_NOE = _person("Ardoisier", ["Barnabé"], "2020-09-08", "male", NANTES)
_NEWBORN = _person("Tanguy-Lescop", ["Aziliz"], "2026-11-19", "female", NANTES)
_DECEASED = _person("Quéméneur", ["Ronan", "Hervé"], "1937-06-04", "male", "29019")
_NEIGHBOUR = _person("Marzin", ["Gwénolé"], "1971-02-28", "male", RENNES)
STRANGER: Final = _person("Lagadec-Prat", ["Soizic"], "1990-10-12", "female", RENNES)
"""Whom the health fund knows under another spelling: it does not find her."""
SHELTERED: Final = _person("Tréguen-Abgrall", ["Énora"], "1992-04-09", "female", "29019")
"""Who flees, and who was left."""
LEFT: Final = _person("Kerbrat", ["Briec"], "1989-07-30", "male", NANTES)
HER_STREET: Final = "passage des Hirondelles-Bleues"
HOUSEHOLD: Final = (
    _person("Trévidic", ["Nolwenn"], "1990-06-11", "female", RENNES),
    _person("Morvézen", ["Ewen"], "1989-01-30", "male", RENNES),
    _person("Morvézen", ["Azenor"], "2015-09-02", "female", RENNES),
    _person("Morvézen", ["Malo"], "2019-04-19", "male", RENNES),
)
"""Four people who move together: two adults, two children."""
RENAMED: Final = {
    "old": _person("Le Guellec", ["Nolwenn"], "1983-05-09", "female", NANTES),
    "new": _person("Bothorel-Sauvage", ["Nolwenn"], "1983-05-09", "female", NANTES),
}
"""Who she was, and who she is since the decree."""
SISTER: Final = _person("Le Guellec", ["Gwendoline"], "1983-05-09", "female", NANTES)
"""Her twin, who is somebody else."""
THIEF: Final = "FR1420041010050500013M02606"
"""An account that is not hers: another example of banks."""
THEIR_NUMBER: Final = "2 90 10 35 238 117 42"
STREET: Final = "rue du Phare-Blanc"
PHONE: Final = "+33639980142"
"""Of the range that the regulator keeps free for fiction."""
IBAN: Final = "FR7630006000011234567890189"
"""The example that banks print; its check digits are right."""


def move(number: str = "7") -> dict[str, Any]:
    """The declaration of the move; `number` is that of the new house, which she mistypes at first."""
    household = [("partner", _THEO), ("child", _LINA), ("child", _NOE)]
    return {
        "subject": MAELLE,
        "declarant": None,
        "capacity": "self",
        "effective_date": "2026-12-01",
        "old_address": _home("14", "quai des Embruns", "44000", "Nantes", NANTES),
        "new_address": _home(number, STREET, "35000", "Rennes", RENNES),
        "old_commune": NANTES,
        "new_commune": RENNES,
        "old_country": "99100",
        "new_country": "99100",
        "household": [{"identity": person, "relation": relation} for relation, person in household],
        "occupants": 1 + len(household),
        "occupancy": "tenant",
        "usual_name": "Ardoisier",
        "phone": PHONE,
        "email": "maelle.korrigal@example.org",
        "vehicles": ["GZ-042-KM"],
    }


def account(iban: str = IBAN) -> dict[str, Any]:
    """The declaration of the family's new bank account."""
    return {
        "subject": MAELLE,
        "declarant": None,
        "capacity": "self",
        "effective_date": "2026-12-01",
        "iban": iban,
        "bic": "AGRIFRPP",
        "holder": "MME KORRIGAL OU M ARDOISIER",
        "joint": True,
        "bank": "Banque des Embruns",
        "uses": ["payments"],
        "replaces_ending": None,
    }


def birth() -> dict[str, Any]:
    """The declaration of a birth, by the registrar."""
    mother = _person("Tanguy-Lescop", ["Bleuenn"], "1994-08-30", "female", NANTES)
    return {
        "subject": _NEWBORN,
        "declarant": None,
        "capacity": "agent",
        "birthdate": _NEWBORN["birthdate"],
        "act": {"commune": NANTES, "country": "99100", "number": "3117", "drawn_up_on": "2026-11-20"},
        "parents": [{"identity": mother, "role": "mother", "usual_name": None}],
        "born_together": 1,
        "residence": _home("3", "venelle des Ajoncs", "44000", "Nantes", NANTES),
        "residence_commune": NANTES,
        "phone": None,
        "email": None,
    }


def death() -> dict[str, Any]:
    """The declaration of a death, by the registrar; the cause is never part of it."""
    return {
        "subject": _DECEASED,
        "declarant": None,
        "capacity": "agent",
        "death_date": "2026-11-21",
        "death_place": NANTES,
        "death_country": "99100",
        "act": {"commune": NANTES, "country": "99100", "number": "2208", "drawn_up_on": "2026-11-22"},
        "usual_name": None,
        "last_address": _home("9", "place du Vieux-Lavoir", "44000", "Nantes", NANTES),
        "last_commune": NANTES,
        "surviving_partner": None,
        "estate_contact": {
            "name": "Étude Kergoat",
            "is_notary": True,
            "phone": None,
            "email": None,
            "address": None,
        },
    }


def neighbours_move() -> dict[str, Any]:
    """The move of somebody who has allowed nobody anything."""
    alone = {"household": [], "occupants": 1, "usual_name": None, "phone": None, "email": None, "vehicles": []}
    return {**move("2"), **alone, "subject": _NEIGHBOUR}


def renamed(name: str) -> dict[str, Any]:
    """The new account of somebody whose name changes; `old` or `new`."""
    person = RENAMED[name]
    holder = f"{person['given_names'][0]} {person['family_name']}".upper()
    return {**account(), "subject": person, "holder": holder, "joint": False}


def strangers_move() -> dict[str, Any]:
    """The move of somebody whom the health fund does not find."""
    return {**neighbours_move(), "subject": STRANGER}


def sheltered_move() -> dict[str, Any]:
    """The move of somebody who flees."""
    return {
        **neighbours_move(),
        "subject": SHELTERED,
        "new_address": _home("5", HER_STREET, "35000", "Rennes", RENNES),
    }


def lefts_move() -> dict[str, Any]:
    """What the one who was left declares: he moves, and names her in his household."""
    household = [{"identity": SHELTERED, "relation": "partner"}]
    return {**neighbours_move(), "subject": LEFT, "household": household, "occupants": 2}


def their_move(person: dict[str, Any], parent: dict[str, Any] | None = None) -> dict[str, Any]:
    """The move of one of a household; a child's is declared by a parent."""
    acting = {"declarant": parent, "capacity": "self" if parent is None else "parent"}
    return {**neighbours_move(), "subject": person, **acting, "occupants": len(HOUSEHOLD)}


SECRETS: Final = (
    "Korrigal",
    "Maëlle",
    "Ardoisier",
    "Théophile",
    "Capucine",
    "Barnabé",
    "1988-03-17",
    "2016-05-21",
    "quai des Embruns",
    STREET,
    PHONE,
    "maelle.korrigal@example.org",
    "GZ-042-KM",
    IBAN,
    "MME KORRIGAL OU M ARDOISIER",
    "Tanguy-Lescop",
    "Aziliz",
    "venelle des Ajoncs",
    "Quéméneur",
    "place du Vieux-Lavoir",
    "Étude Kergoat",
    "Gwénolé",
    "Lagadec-Prat",
    "Tréguen-Abgrall",
    HER_STREET,
    "Trévidic",
    "Morvézen",
    THEIR_NUMBER,
)
"""What must never be readable at the broker: long enough not to occur by chance."""
