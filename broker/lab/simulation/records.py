"""Records: what the people of the country declare, field by field.

Refuses: nothing; what a type does not take, the intake refuses, and the simulation with it.
Keeps: every field of a type is there; values are those of people who do not exist.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from broker.lab.simulation.country import COMMUNES, FRANCE, Person

Record = dict[str, Any]
_ADDRESS: Final = ("dwelling", "building", "repetition", "locality", "po_box", "ban_key")


def _said(person: Person, capacity_: str, **told: Any) -> Record:
    return {"subject": person.pivot(), "declarant": None, "capacity": capacity_, **told}


def _home(street: str, commune: str) -> Record:
    number, _, name = street.partition(" ")
    postcode, city = COMMUNES[commune]
    told = {"housenumber": number, "street": name, "postcode": postcode, "city": city, "commune": commune}
    return {**dict.fromkeys(_ADDRESS), **told, "country": FRANCE, "lines": []}


def _act(number: int, commune: str, drawn_up_on: date) -> Record:
    return {"commune": commune, "country": FRANCE, "number": str(number), "drawn_up_on": drawn_up_on.isoformat()}


def move(
    person: Person,
    old: tuple[str, str],
    household: Sequence[tuple[Person, str]],
    on: date,
    parent: Person | None = None,
) -> Record:
    """A move from (street, commune) to where the person lives now. `household`: who moves along, and as what;
    `parent`: who declares it for a child.
    """
    acting = {} if parent is None else {"declarant": parent.pivot(), "capacity": "parent"}
    return _said(
        person,
        "self",
        **acting,
        effective_date=on.isoformat(),
        old_address=_home(*old),
        new_address=_home(person.street, person.commune),
        old_commune=old[1],
        new_commune=person.commune,
        old_country=FRANCE,
        new_country=FRANCE,
        household=[{"identity": one.pivot(), "relation": relation} for one, relation in household],
        occupants=len(household) + 1,
        occupancy="tenant",
        usual_name=None,
        phone="+33612345678",
        email=f"personne{person.number}@exemple.fr",
        vehicles=[],
    )


def contact(person: Person, on: date) -> Record:
    """Another e-mail address."""
    return _said(
        person,
        "self",
        effective_date=on.isoformat(),
        usual_name=None,
        email=f"p{person.number}.{on:%j}@exemple.fr",
        mobile_phone=None,
        landline_phone=None,
        withdrawn=[],
        preferred="email",
        language="fr",
        paperless=True,
    )


def account(person: Person, on: date) -> Record:
    """Another bank account, in the person's own name."""
    bank, clerk = 30006000010000000000000 + person.number * 997 + on.toordinal() % 991, 0
    iban = f"FR00{bank:023d}"
    digits = "".join(str(int(each, 36)) for each in iban[4:] + iban[:4])
    iban = f"FR{98 - int(digits) % 97:02d}{iban[4:]}"
    return _said(
        person,
        "self",
        effective_date=on.isoformat(),
        iban=iban,
        bic=None,
        holder=f"{person.given_names[clerk]} {person.family_name}",
        joint=False,
        bank=None,
        uses=["payments"],
        replaces_ending=None,
    )


def birth(child: Person, parents: Sequence[Person], number: int, on: date) -> Record:
    """By the registrar."""
    roles = {"female": "mother", "male": "father"}
    return _said(
        child,
        "agent",
        birthdate=child.birthdate.isoformat(),
        birth_commune=child.birthplace,
        act=_act(number, child.birthplace, on),
        parents=[{"identity": one.pivot(), "role": roles[one.gender], "usual_name": None} for one in parents],
        born_together=1,
        residence=_home(child.street, child.commune),
        residence_commune=child.commune,
        phone=None,
        email=None,
    )


def death(person: Person, partner: Person | None, number: int, on: date) -> Record:
    """By the registrar."""
    return _said(
        person,
        "agent",
        death_date=on.isoformat(),
        death_place=person.commune,
        death_country=FRANCE,
        act=_act(number, person.commune, on),
        usual_name=None,
        last_address=_home(person.street, person.commune),
        last_commune=person.commune,
        surviving_partner=None if partner is None else partner.pivot(),
        estate_contact=None,
    )


def union(person: Person, partner: Person, number: int, on: date) -> Record:
    """By the registrar, once for each of the two."""
    return _said(
        person,
        "agent",
        partner=partner.pivot(),
        union="marriage",
        date=on.isoformat(),
        act=_act(number, person.commune, on),
        notary=None,
        property_regime="separation",
        usual_name=None,
        partner_usual_name=None,
        common_address=None,
    )


def name(before: Record, family: str, number: int, commune: str, on: date) -> Record:
    """A new family name, by the registrar; `before`: the pivot identity under the old one."""
    return {
        "subject": before,
        "declarant": None,
        "capacity": "agent",
        "effective_date": on.isoformat(),
        "nature": "family_name",
        "new_family_name": family,
        "new_given_names": None,
        "new_usual_name": None,
        "new_gender": None,
        "act": _act(number, commune, on),
        "decision": None,
    }
