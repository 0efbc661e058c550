"""Receipt content: what a consent receipt says, as data and as the JSON document of ISO/IEC TS 27560, both ways.

Refuses: a document in which a field is missing or is not what it should be (`consent-receipt.content`); empty terms.
Keeps: `content_of(document_of(content)) == content`; the document holds no name, no value, no reference of the citizen.
Source: ISO/IEC TS 27560:2023, clauses 6.3.3 to 6.3.7 and 6.4.5, for the names of the fields.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from consent.basis import Basis, BasisKind
from consent.grant import MAX_VERSION, Scope, Status
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    LeafHash,
    PartyId,
    Purpose,
    SchemaId,
)
from schemas.text import is_plain

SCHEMA_VERSION: Final = "urn:unefois:consent-receipt:v2"
FIRST_VERSION: Final = "urn:unefois:consent-receipt:v1"
"""Without `party_type`, which clause 6.3.6 demands. Nothing writes it any more; what it wrote is still checked."""
MAX_TERM: Final = 500
"""Bytes of one of the terms, or of a party's name, address or contact."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROLLER = "pii_controller"
_ISSUER = "receipt_issuer"
_TYPES = {_CONTROLLER: "administration", _ISSUER: "broker"}
"""`party_type` by role: what may receive under a grant is an administration, and who signs is the broker."""
_LANGUAGES: dict[str, Language] = {"fr": "fr", "en": "en"}
_EVENT_TYPE = {
    BasisKind.CONSENT: "explicit_consent",
    BasisKind.CHOICE: "explicit_choice",
    BasisKind.LAW: "legal_mandate",
}
_EVENT_STATE = {Status.ACTIVE: "given", Status.PAUSED: "paused", Status.REVOKED: "withdrawn", Status.EXPIRED: "expired"}


@dataclass(frozen=True, slots=True)
class Party:
    """An administration as a citizen can reach it: name, postal address, contact.

    Raises Refused `consent-receipt.term`.
    """

    party_id: PartyId
    name: str
    address: str
    contact: str

    def __post_init__(self) -> None:
        _check_term("/party_identification", self.name, self.address, self.contact)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a receipt tells besides the grant: who answers for it, where and how long values are kept, how to withdraw.

    `controller` is the recipient, `issuer` the broker; `jurisdiction` and `storage_locations` are country codes or
    names; `withdrawal_method` is None for a mandate by law, which nobody withdraws.
    Raises Refused `consent-receipt.term`.
    """

    controller: Party
    issuer: Party
    storage_locations: tuple[str, ...]
    retention_period: str
    withdrawal_method: str | None
    jurisdiction: str = "FR"

    def __post_init__(self) -> None:
        words = [self.retention_period, self.jurisdiction, *self.storage_locations]
        words += [] if self.withdrawal_method is None else [self.withdrawal_method]
        _check_term("/pii_processing", *words)
        if not self.storage_locations:
            raise Refused("consent-receipt.term", "/pii_processing", limit=MAX_TERM)


def _check_term(pointer: str, *terms: str) -> None:
    if not all(is_plain(term, MAX_TERM) for term in terms):
        raise Refused("consent-receipt.term", pointer, limit=MAX_TERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptContent:
    """One receipt's content. `event_time` is when this version of the grant was made; `fields` are sorted."""

    grant_id: GrantId
    version: int
    principal: str
    recipient: PartyId
    event_type: EventType
    schema: SchemaId
    fields: tuple[str, ...]
    purpose: Purpose
    purpose_label: str
    purpose_sentence: str
    basis: Basis
    gdpr_articles: tuple[str, ...]
    granted_at: Instant
    starts_at: Instant
    expires_at: Instant | None
    scope: Scope
    once_for: DeclarationId | None
    status: Status
    given_by: str
    capacity: Capacity
    channel: Channel
    language: Language
    text_hash: bytes
    event_time: Instant
    terms: Terms
    ledger_entry: LeafHash
    schema_version: str = SCHEMA_VERSION

    @property
    def receipt_id(self) -> str:
        """32 hexadecimal digits that follow from grant, version and ledger entry: a receipt asked for twice is one."""
        named = b"unefois/consent-receipt/v1\x00" + self.grant_id + self.version.to_bytes(4, "big") + self.ledger_entry
        return sha256(named).hexdigest()[:32]


def document_of(content: ReceiptContent) -> dict[str, Any]:
    """The JSON document, made of strings, integers, lists, null and objects only.

    Raises Refused `consent-receipt.instant`.
    """
    return {
        "schema_version": content.schema_version,
        "receipt_id": content.receipt_id,
        "record_id": str(uuid.UUID(bytes=content.grant_id)),
        "record_version": content.version,
        "record_created": _written(content.granted_at),
        "pii_principal_id": content.principal,
        "status": content.status.value,
        "ledger_entry": content.ledger_entry.hex(),
        "pii_processing": {
            "privacy_notice": {"sha256": content.text_hash.hex()},
            "language": content.language,
            "purposes": [_purpose(content)],
        },
        "party_identification": [
            _party(party, role, typed=content.schema_version != FIRST_VERSION)
            for party, role in ((content.terms.controller, _CONTROLLER), (content.terms.issuer, _ISSUER))
        ],
        "events": [_event(content)],
    }


def _purpose(content: ReceiptContent) -> dict[str, Any]:
    return {
        "purpose": {
            "id": content.purpose,
            "label": content.purpose_label,
            "description": content.purpose_sentence,
        },
        "lawful_basis": {
            "type": content.basis.kind.value,
            "article": content.basis.article,
            "gdpr": list(content.gdpr_articles),
        },
        "pii_information": [
            {"pii_type": name, "pii_attribute_id": f"{content.event_type}#{name}"} for name in content.fields
        ],
        "event_type": content.event_type,
        "schema": content.schema.hex(),
        "pii_controllers": [content.recipient],
        "recipient_third_parties": [content.recipient],
        "collection_method": content.channel.value,
        "storage_locations": list(content.terms.storage_locations),
        "retention_period": content.terms.retention_period,
        "jurisdiction": content.terms.jurisdiction,
        "withdrawal_method": content.terms.withdrawal_method,
    }


def _party(party: Party, role: str, *, typed: bool) -> dict[str, Any]:
    told = {
        "party_id": party.party_id,
        "party_name": party.name,
        "party_address": party.address,
        "party_contact": party.contact,
        "party_role": role,
    }
    return told | ({"party_type": _TYPES[role]} if typed else {})


def _event(content: ReceiptContent) -> dict[str, Any]:
    return {
        "event_time": _written(content.event_time),
        "event_type": _EVENT_TYPE[content.basis.kind],
        "event_state": _EVENT_STATE[content.status],
        "entity_id": content.given_by,
        "entity_capacity": content.capacity.value,
        "validity_duration": {
            "from": _written(content.starts_at),
            "until": None if content.expires_at is None else _written(content.expires_at),
            "scope": content.scope.value,
            "once_for": None if content.once_for is None else content.once_for.hex(),
        },
    }


def content_of(document: dict[str, Any]) -> ReceiptContent:
    """The content of a document. Raises Refused `consent-receipt.content`.

    What is derived, such as the receipt's id, is not read: the caller writes the document anew and compares.
    """
    try:
        return _content(document)
    except (KeyError, TypeError, ValueError, OverflowError, Refused):
        raise Refused("consent-receipt.content") from None


def _content(document: dict[str, Any]) -> ReceiptContent:
    processing = document["pii_processing"]
    (purpose,) = processing["purposes"]
    (event,) = document["events"]
    controller, issuer = document["party_identification"]
    lawful, validity = purpose["lawful_basis"], event["validity_duration"]
    until, once_for = validity["until"], validity["once_for"]
    (recipient,) = purpose["pii_controllers"]
    return ReceiptContent(
        grant_id=GrantId.parse(_text(document["record_id"])),
        version=_version(document["record_version"]),
        principal=_text(document["pii_principal_id"]),
        recipient=PartyId(recipient),
        event_type=EventType(purpose["event_type"]),
        schema=SchemaId.parse(_text(purpose["schema"])),
        fields=tuple(_text(each["pii_type"]) for each in purpose["pii_information"]),
        purpose=Purpose(purpose["purpose"]["id"]),
        purpose_label=_text(purpose["purpose"]["label"]),
        purpose_sentence=_text(purpose["purpose"]["description"]),
        basis=Basis(BasisKind(lawful["type"]), None if lawful["article"] is None else _text(lawful["article"])),
        gdpr_articles=tuple(map(_text, lawful["gdpr"])),
        granted_at=_read(document["record_created"]),
        starts_at=_read(validity["from"]),
        expires_at=None if until is None else _read(until),
        scope=Scope(validity["scope"]),
        once_for=None if once_for is None else DeclarationId.parse(_text(once_for)),
        status=Status(document["status"]),
        given_by=_text(event["entity_id"]),
        capacity=Capacity(event["entity_capacity"]),
        channel=Channel(purpose["collection_method"]),
        language=_LANGUAGES[processing["language"]],
        text_hash=bytes.fromhex(processing["privacy_notice"]["sha256"]),
        event_time=_read(event["event_time"]),
        terms=_terms(purpose, _party_of(controller), _party_of(issuer)),
        ledger_entry=LeafHash.parse(_text(document["ledger_entry"])),
        schema_version=document["schema_version"],
    )


def _terms(purpose: dict[str, Any], controller: Party, issuer: Party) -> Terms:
    withdrawal = purpose["withdrawal_method"]
    return Terms(
        controller=controller,
        issuer=issuer,
        storage_locations=tuple(map(_text, purpose["storage_locations"])),
        retention_period=_text(purpose["retention_period"]),
        withdrawal_method=None if withdrawal is None else _text(withdrawal),
        jurisdiction=_text(purpose["jurisdiction"]),
    )


def _party_of(party: dict[str, Any]) -> Party:
    words = (_text(party["party_name"]), _text(party["party_address"]), _text(party["party_contact"]))
    return Party(PartyId(party["party_id"]), *words)


def _written(at: Instant) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-24T12:59:31.000Z`."""
    try:
        return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        raise Refused("consent-receipt.instant", "/events") from None


def _read(text: str) -> Instant:
    return Instant((datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_plain(value, MAX_TERM):
        raise TypeError("not a text")
    return value


def _version(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_VERSION:  # True is an int to isinstance
        raise TypeError("not a version")
    return value
