"""The parts of records, and the symbols of their enumerations, as Python classes.

Refuses: nothing; `records` reads and refuses.
Keeps: it says what the schemas in `events/` say. `python -m tests.typed.write` writes it; change the schemas, not this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from schemas.record_base import Part, PartialDate


class Gender(StrEnum):
    """As in the civil status register."""

    FEMALE = "female"
    MALE = "male"
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identity(Part):
    """Pivot identity as FranceConnect defines it: what is needed, and no more, to tell one person from another."""

    family_name: str
    given_names: tuple[str, ...] = ()
    birthdate: PartialDate
    gender: Gender | str
    birthplace: str | None = None
    birthcountry: str


class Capacity(StrEnum):
    """In which capacity somebody declares."""

    SELF = "self"
    PARENT = "parent"
    GUARDIAN = "guardian"
    NEXT_OF_KIN = "next_of_kin"
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address(Part):
    """A postal address, in the parts of the Base Adresse Nationale and of standard NF Z10-011; abroad, the lines as
    that country writes them.
    """

    dwelling: str | None = None
    building: str | None = None
    housenumber: str | None = None
    repetition: str | None = None
    street: str | None = None
    locality: str | None = None
    po_box: str | None = None
    postcode: str | None = None
    city: str
    commune: str | None = None
    country: str
    lines: tuple[str, ...] = ()
    ban_key: str | None = None


class Relation(StrEnum):
    """What a member of the household is to the person concerned."""

    SPOUSE = "spouse"
    PARTNER = "partner"
    CHILD = "child"
    PARENT = "parent"
    SIBLING = "sibling"
    OTHER_RELATIVE = "other_relative"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HouseholdMember(Part):
    """Somebody who lives with the person concerned."""

    identity: Identity
    relation: Relation | str


class Occupancy(StrEnum):
    """On what ground somebody lives somewhere."""

    OWNER = "owner"
    TENANT = "tenant"
    SUBTENANT = "subtenant"
    HOSTED = "hosted"
    COLLECTIVE = "collective"
    OTHER = "other"


class Housing(StrEnum):
    """What somebody lives in, as far as an address does not say it."""

    HOME = "home"
    DOMICILIATION = "domiciliation"
    BOAT = "boat"
    TRAVELLING = "travelling"
    MILITARY = "military"
    INSTITUTION = "institution"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Domiciliation(Part):
    """The body at which somebody without a stable home receives mail and has rights (CASF, art. L264-1)."""

    organisation: str
    siret: str | None = None
    until: date | None = None


class ContactKind(StrEnum):
    """A way to reach somebody."""

    EMAIL = "email"
    MOBILE_PHONE = "mobile_phone"
    LANDLINE_PHONE = "landline_phone"
    POST = "post"


class NameChange(StrEnum):
    """Why a name changes."""

    USUAL_NAME_TAKEN = "usual_name_taken"
    USUAL_NAME_GIVEN_UP = "usual_name_given_up"
    FAMILY_NAME = "family_name"
    GIVEN_NAMES = "given_names"
    GENDER = "gender"
    ADOPTION = "adoption"
    RECOGNITION = "recognition"
    CORRECTION = "correction"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CivilAct(Part):
    """Reference of a civil status record, so that it can be asked for and need not be sent."""

    commune: str | None = None
    country: str
    number: str | None = None
    drawn_up_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Decision(Part):
    """Decision of a court or authority, or a deed kept by a notary."""

    authority: str
    date: date
    reference: str | None = None


class ParentalRole(StrEnum):
    """What a parent is in the record of birth."""

    MOTHER = "mother"
    FATHER = "father"
    PARENT = "parent"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Parent(Part):
    """A parent named in the record of birth."""

    identity: Identity
    role: ParentalRole | str
    usual_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EstateContact(Part):
    """Who answers for the deceased."""

    name: str
    is_notary: bool
    phone: str | None = None
    email: str | None = None
    address: Address | None = None


class UnionKind(StrEnum):
    """A union known to French law."""

    MARRIAGE = "marriage"
    PACS = "pacs"


class PropertyRegime(StrEnum):
    """What belongs to whom in a union."""

    COMMUNITY_OF_ACQUISITIONS = "community_of_acquisitions"
    UNIVERSAL_COMMUNITY = "universal_community"
    SEPARATION = "separation"
    PARTICIPATION = "participation"
    UNDIVIDED = "undivided"
    OTHER = "other"


class Dissolution(StrEnum):
    """How a union ends."""

    DIVORCE_BY_JUDGE = "divorce_by_judge"
    DIVORCE_BY_DEED = "divorce_by_deed"
    ANNULMENT = "annulment"
    SEPARATION = "separation"
    PACS_JOINT = "pacs_joint"
    PACS_ONE_SIDED = "pacs_one_sided"
    PACS_MARRIAGE = "pacs_marriage"
    DEATH = "death"
    OTHER = "other"


class Custody(StrEnum):
    """Where a child lives afterwards."""

    SUBJECT = "subject"
    PARTNER = "partner"
    ALTERNATING = "alternating"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChildAfterUnion(Part):
    """A child and where it lives afterwards."""

    identity: Identity
    custody: Custody | str


class Payer(StrEnum):
    """Who pays."""

    SUBJECT = "subject"
    PARTNER = "partner"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChildSupport(Part):
    """Support for the children, as decided or agreed."""

    monthly_amount: Decimal
    payer: Payer | str
    from_date: date


class AccountUse(StrEnum):
    """What an account is for."""

    PAYMENTS = "payments"
    DEBITS = "debits"


class CancelledBecause(StrEnum):
    """Why the person takes it back."""

    CHANGED_MIND = "changed_mind"
    MISTAKE = "mistake"
    NOT_MINE = "not_mine"
    OTHER = "other"


class RecalledBecause(StrEnum):
    """Why the source recalls it."""

    WRONG_PERSON = "wrong_person"
    WRONG_CONTENT = "wrong_content"
    FRAUD = "fraud"
    DUPLICATE = "duplicate"
    OTHER = "other"


class ChildResidence(StrEnum):
    """With whom a child lives."""

    ONE_PARENT = "one_parent"
    ALTERNATING = "alternating"
    THIRD_PARTY = "third_party"
    INSTITUTION = "institution"
    OTHER = "other"


class RepresentationMeasure(StrEnum):
    """On which ground somebody acts for another person."""

    GUARDIANSHIP = "guardianship"
    CURATORSHIP = "curatorship"
    JUDICIAL_SAFEGUARD = "judicial_safeguard"
    FAMILY_AUTHORISATION = "family_authorisation"
    FUTURE_PROTECTION_MANDATE = "future_protection_mandate"
    PARENTAL_AUTHORITY = "parental_authority"
    ASSISTANCE_MANDATE = "assistance_mandate"
    POWER_OF_ATTORNEY = "power_of_attorney"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Representative(Part):
    """Who acts for another person: a person by identity, an organisation by name and number."""

    identity: Identity | None = None
    organisation: str | None = None
    siret: str | None = None


class RepresentationScope(StrEnum):
    """What the representative may do."""

    PROPERTY = "property"
    PERSON = "person"
    PROCEDURES = "procedures"
    HEALTH = "health"
    OTHER = "other"


class RepresentationEnd(StrEnum):
    """Why a representation ends."""

    TERM = "term"
    RELEASED = "released"
    REVOKED = "revoked"
    REPLACED = "replaced"
    MAJORITY = "majority"
    DEATH = "death"
    OTHER = "other"


class IdentityCorrection(StrEnum):
    """Why an identity is put right."""

    CLERICAL = "clerical"
    COMPLETED = "completed"
    FOREIGN_ACT = "foreign_act"
    JUDGMENT = "judgment"
    OTHER = "other"


PARTS: Final[Mapping[str, type[Part] | type[StrEnum]]] = MappingProxyType(
    {
        "fr.unefois.Gender": Gender,
        "fr.unefois.Identity": Identity,
        "fr.unefois.Capacity": Capacity,
        "fr.unefois.Address": Address,
        "fr.unefois.Relation": Relation,
        "fr.unefois.HouseholdMember": HouseholdMember,
        "fr.unefois.Occupancy": Occupancy,
        "fr.unefois.Housing": Housing,
        "fr.unefois.Domiciliation": Domiciliation,
        "fr.unefois.ContactKind": ContactKind,
        "fr.unefois.NameChange": NameChange,
        "fr.unefois.CivilAct": CivilAct,
        "fr.unefois.Decision": Decision,
        "fr.unefois.ParentalRole": ParentalRole,
        "fr.unefois.Parent": Parent,
        "fr.unefois.EstateContact": EstateContact,
        "fr.unefois.UnionKind": UnionKind,
        "fr.unefois.PropertyRegime": PropertyRegime,
        "fr.unefois.Dissolution": Dissolution,
        "fr.unefois.Custody": Custody,
        "fr.unefois.ChildAfterUnion": ChildAfterUnion,
        "fr.unefois.Payer": Payer,
        "fr.unefois.ChildSupport": ChildSupport,
        "fr.unefois.AccountUse": AccountUse,
        "fr.unefois.CancelledBecause": CancelledBecause,
        "fr.unefois.RecalledBecause": RecalledBecause,
        "fr.unefois.ChildResidence": ChildResidence,
        "fr.unefois.RepresentationMeasure": RepresentationMeasure,
        "fr.unefois.Representative": Representative,
        "fr.unefois.RepresentationScope": RepresentationScope,
        "fr.unefois.RepresentationEnd": RepresentationEnd,
        "fr.unefois.IdentityCorrection": IdentityCorrection,
    }
)
