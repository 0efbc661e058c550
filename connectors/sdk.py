"""The SDK by one import: what an agency's own program needs to receive, to publish and to test itself.

    from unefois_agency.connectors.sdk import AddressChanged, Agency, BlockingClient, Ends, PartyId, Pin, builtin

Refuses: nothing of its own.
Keeps: it only names what other modules make; docs/agency/sdk.md shows each of them at work.
"""

from connectors.access import KeyAccess
from connectors.blocking import BlockingClient, BlockingDelivery
from connectors.client import Client, Delivery
from connectors.contract import Agency, Answered, Applied, Partly, Rejected
from connectors.ends import Ends
from connectors.key_files import sealing_key, signing_key
from connectors.pinning import Pin
from connectors.pins import Pins
from connectors.testing import TestBroker
from schemas.catalogue import builtin
from schemas.declaration import Source, declare
from schemas.delivery import WITHHELD
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.names import DeclarationId, DeliveryId, EventType, PartyId, Reason, uuid7
from schemas.record_base import PartialDate
from schemas.record_parts import Address, Capacity, Gender, HouseholdMember, Identity
from schemas.record_types import (
    AddressChanged,
    AddressRenamed,
    BankAccountChanged,
    ChildResidenceChanged,
    ContactChanged,
    CoupleFormed,
    CoupleSeparated,
    DeclarationCancelled,
    DeclarationRecalled,
    IdentityCorrected,
    NameChanged,
    PersonBorn,
    PersonBornV2,
    PersonDied,
    PersonDiedV2,
    PersonReference,
    RepresentationEnded,
    RepresentationStarted,
    UnionDissolved,
    UnionRegistered,
)
from schemas.records import plain

__all__ = [
    "WITHHELD",
    "Address",
    "AddressChanged",
    "AddressRenamed",
    "Agency",
    "Answered",
    "Applied",
    "BankAccountChanged",
    "BlockingClient",
    "BlockingDelivery",
    "Capacity",
    "ChildResidenceChanged",
    "Client",
    "ContactChanged",
    "Corrupt",
    "CoupleFormed",
    "CoupleSeparated",
    "DeclarationCancelled",
    "DeclarationId",
    "DeclarationRecalled",
    "Delivery",
    "DeliveryId",
    "Ends",
    "EventType",
    "Fault",
    "Gender",
    "HouseholdMember",
    "Identity",
    "IdentityCorrected",
    "KeyAccess",
    "NameChanged",
    "PartialDate",
    "Partly",
    "PartyId",
    "PersonBorn",
    "PersonBornV2",
    "PersonDied",
    "PersonDiedV2",
    "PersonReference",
    "Pin",
    "Pins",
    "Reason",
    "Refused",
    "Rejected",
    "RepresentationEnded",
    "RepresentationStarted",
    "Source",
    "TestBroker",
    "Unavailable",
    "UnionDissolved",
    "UnionRegistered",
    "builtin",
    "declare",
    "plain",
    "sealing_key",
    "signing_key",
    "uuid7",
]
