"""The event types as Python classes, one each; every field may be WITHHELD, which is not None.

Refuses: nothing; `records` reads and refuses.
Keeps: it says what the schemas in `events/` say. `python -m tests.typed.write` writes it; change the schemas, not this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import ClassVar, Final

from schemas.delivery import Withheld
from schemas.names import EventType
from schemas.record_base import Event, PartialDate
from schemas.record_parts import (
    AccountUse,
    Address,
    CancelledBecause,
    Capacity,
    ChildAfterUnion,
    ChildResidence,
    ChildSupport,
    CivilAct,
    ContactKind,
    Decision,
    Dissolution,
    Domiciliation,
    EstateContact,
    Gender,
    HouseholdMember,
    Housing,
    Identity,
    IdentityCorrection,
    NameChange,
    Occupancy,
    Parent,
    PropertyRegime,
    RecalledBecause,
    RepresentationEnd,
    RepresentationMeasure,
    RepresentationScope,
    Representative,
    UnionKind,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AddressChanged(Event):
    """A person, alone or with the household, moves to another main residence."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.address.changed.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    old_address: Address | Withheld | None = None
    new_address: Address | Withheld
    old_commune: str | Withheld | None = None
    new_commune: str | Withheld | None = None
    old_country: str | Withheld | None = None
    new_country: str | Withheld
    household: tuple[HouseholdMember, ...] | Withheld = ()
    occupants: int | Withheld
    occupancy: Occupancy | str | Withheld | None = None
    usual_name: str | Withheld | None = None
    phone: str | Withheld | None = None
    email: str | Withheld | None = None
    vehicles: tuple[str, ...] | Withheld = ()
    old_postal_sector: str | Withheld | None = None
    new_postal_sector: str | Withheld | None = None
    old_ban_id: str | Withheld | None = None
    new_ban_id: str | Withheld | None = None
    new_care_of: str | Withheld | None = None
    new_housing: Housing | str | Withheld | None = None
    domiciliation: Domiciliation | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ContactChanged(Event):
    """A person can be reached in another way."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.contact.changed.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    usual_name: str | Withheld | None = None
    email: str | Withheld | None = None
    mobile_phone: str | Withheld | None = None
    landline_phone: str | Withheld | None = None
    withdrawn: tuple[ContactKind | str, ...] | Withheld = ()
    preferred: ContactKind | str | Withheld | None = None
    language: str | Withheld | None = None
    paperless: bool | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NameChanged(Event):
    """A person bears another name, or the register says another gender."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.name.changed.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    nature: NameChange | str | Withheld
    new_family_name: str | Withheld | None = None
    new_given_names: tuple[str, ...] | Withheld | None = None
    new_usual_name: str | Withheld | None = None
    new_gender: Gender | str | Withheld | None = None
    act: CivilAct | Withheld | None = None
    decision: Decision | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PersonBorn(Event):
    """A child is born and entered in the civil status register."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.person.born.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    birthdate: date | Withheld
    act: CivilAct | Withheld
    parents: tuple[Parent, ...] | Withheld = ()
    born_together: int | Withheld
    residence: Address | Withheld | None = None
    residence_commune: str | Withheld | None = None
    phone: str | Withheld | None = None
    email: str | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PersonDied(Event):
    """A person has died. The cause is never part of it."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.person.died.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    death_date: PartialDate | Withheld
    death_place: str | Withheld | None = None
    death_country: str | Withheld
    act: CivilAct | Withheld | None = None
    usual_name: str | Withheld | None = None
    last_address: Address | Withheld | None = None
    last_commune: str | Withheld | None = None
    surviving_partner: Identity | Withheld | None = None
    estate_contact: EstateContact | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UnionRegistered(Event):
    """Two people marry or conclude a civil solidarity pact."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.union.registered.v1")

    subject: Identity | Withheld
    partner: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    union: UnionKind | str | Withheld
    date: date | Withheld
    act: CivilAct | Withheld
    notary: Decision | Withheld | None = None
    property_regime: PropertyRegime | str | Withheld | None = None
    usual_name: str | Withheld | None = None
    partner_usual_name: str | Withheld | None = None
    common_address: Address | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UnionDissolved(Event):
    """A marriage or a civil solidarity pact ends."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.union.dissolved.v1")

    subject: Identity | Withheld
    partner: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    union: UnionKind | str | Withheld
    cause: Dissolution | str | Withheld
    date: date | Withheld
    decision: Decision | Withheld | None = None
    act: CivilAct | Withheld | None = None
    keeps_usual_name: bool | Withheld | None = None
    children: tuple[ChildAfterUnion, ...] | Withheld = ()
    children_count: int | Withheld
    child_support: ChildSupport | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BankAccountChanged(Event):
    """A person wants to be paid on, or to pay from, another bank account."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.bank-account.changed.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    iban: str | Withheld
    bic: str | Withheld | None = None
    holder: str | Withheld
    joint: bool | Withheld
    bank: str | Withheld | None = None
    uses: tuple[AccountUse | str, ...] | Withheld = ()
    replaces_ending: str | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PersonReference(Event):
    """A person tells one administration their number there, because it has not found them by their civil status. A
    number is a hint: family name and date of birth must agree with it.
    """

    event_type: ClassVar[EventType] = EventType("fr.unefois.person.reference.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    number_kind: str | Withheld
    number: str | Withheld
    repairs: str | Withheld


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DeclarationCancelled(Event):
    """A person takes a declaration back: it was made, and is not to have any effect any more."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.declaration.cancelled.v1")

    declaration: str | Withheld
    reason: CancelledBecause | str | Withheld


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DeclarationRecalled(Event):
    """A declaration should never have been sent: whoever received it is to undo what it did."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.declaration.recalled.v1")

    declaration: str | Withheld
    reason: RecalledBecause | str | Withheld


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CoupleFormed(Event):
    """Two people live together as a couple, without marriage or civil solidarity pact. No act is drawn up."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.couple.formed.v1")

    subject: Identity | Withheld
    partner: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    common_address: Address | Withheld | None = None
    common_commune: str | Withheld | None = None
    expecting: bool | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CoupleSeparated(Event):
    """Two people who lived together as a couple, without marriage or civil solidarity pact, live apart."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.couple.separated.v1")

    subject: Identity | Withheld
    partner: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    leaves_home: bool | Withheld
    children: tuple[ChildAfterUnion, ...] | Withheld = ()
    children_count: int | Withheld


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChildResidenceChanged(Event):
    """A child who is a minor lives with another parent or person, or with both by turns."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.child-residence.changed.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    residence: ChildResidence | str | Withheld
    parents: tuple[Parent, ...] | Withheld = ()
    main_address: Address | Withheld | None = None
    main_commune: str | Withheld | None = None
    other_address: Address | Withheld | None = None
    decision: Decision | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RepresentationStarted(Event):
    """Somebody begins to act for another person, on the ground of a judgment, an act or a mandate."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.representation.started.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    measure: RepresentationMeasure | str | Withheld
    representative: Representative | Withheld
    scope: tuple[RepresentationScope | str, ...] | Withheld = ()
    until: date | Withheld | None = None
    decision: Decision | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RepresentationEnded(Event):
    """Somebody does not act for another person any more."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.representation.ended.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    measure: RepresentationMeasure | str | Withheld
    representative: Representative | Withheld
    cause: RepresentationEnd | str | Withheld
    decision: Decision | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IdentityCorrected(Event):
    """A register puts the identity of a person right: the person is the same, and was written down wrongly."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.identity.corrected.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    corrected: Identity | Withheld
    cause: IdentityCorrection | str | Withheld
    act: CivilAct | Withheld | None = None
    decision: Decision | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AddressRenamed(Event):
    """A commune names a street anew, or numbers it: the person has not moved, and is written to otherwise."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.address.renamed.v1")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    effective_date: date | Withheld
    old_address: Address | Withheld
    new_address: Address | Withheld
    commune: str | Withheld
    new_ban_id: str | Withheld | None = None
    decision: Decision | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PersonBornV2(Event):
    """A child is born and entered in the civil status register."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.person.born.v2")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    birthdate: date | Withheld
    birth_commune: str | Withheld | None = None
    act: CivilAct | Withheld
    parents: tuple[Parent, ...] | Withheld = ()
    born_together: int | Withheld
    residence: Address | Withheld | None = None
    residence_commune: str | Withheld | None = None
    phone: str | Withheld | None = None
    email: str | Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PersonDiedV2(Event):
    """A person has died. The cause is never part of it."""

    event_type: ClassVar[EventType] = EventType("fr.unefois.person.died.v2")

    subject: Identity | Withheld
    declarant: Identity | Withheld | None = None
    capacity: Capacity | str | Withheld
    death_date: PartialDate | Withheld
    death_place: str | Withheld | None = None
    death_country: str | Withheld
    act: CivilAct | Withheld | None = None
    usual_name: str | Withheld | None = None
    last_address: Address | Withheld | None = None
    last_commune: str | Withheld | None = None
    surviving_partner: Identity | Withheld | None = None
    estate_contact: EstateContact | Withheld | None = None


TYPES: Final[Mapping[str, type[Event]]] = MappingProxyType(
    {
        "fr.unefois.address.changed.v1": AddressChanged,
        "fr.unefois.contact.changed.v1": ContactChanged,
        "fr.unefois.name.changed.v1": NameChanged,
        "fr.unefois.person.born.v1": PersonBorn,
        "fr.unefois.person.died.v1": PersonDied,
        "fr.unefois.union.registered.v1": UnionRegistered,
        "fr.unefois.union.dissolved.v1": UnionDissolved,
        "fr.unefois.bank_account.changed.v1": BankAccountChanged,
        "fr.unefois.person.reference.v1": PersonReference,
        "fr.unefois.declaration.cancelled.v1": DeclarationCancelled,
        "fr.unefois.declaration.recalled.v1": DeclarationRecalled,
        "fr.unefois.couple.formed.v1": CoupleFormed,
        "fr.unefois.couple.separated.v1": CoupleSeparated,
        "fr.unefois.child_residence.changed.v1": ChildResidenceChanged,
        "fr.unefois.representation.started.v1": RepresentationStarted,
        "fr.unefois.representation.ended.v1": RepresentationEnded,
        "fr.unefois.identity.corrected.v1": IdentityCorrected,
        "fr.unefois.address.renamed.v1": AddressRenamed,
        "fr.unefois.person.born.v2": PersonBornV2,
        "fr.unefois.person.died.v2": PersonDiedV2,
    }
)
