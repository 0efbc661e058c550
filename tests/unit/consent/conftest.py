"""Builders for the tests of `consent`: a plausible grant, subscription and declaration, changed by the test."""

from collections.abc import Callable
from typing import Any

import pytest

from consent.basis import CONSENT
from consent.grant import Grant, Scope, Status
from consent.policy import DeclarationFacts, Subscription, SubscriptionStatus
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    PartyId,
    Purpose,
    SchemaId,
    SubjectRef,
)

CAF = PartyId("urn:fr:siret:18750001000015")
ADDRESS = EventType("fr.unefois.address.changed.v1")
NOW = Instant(1_795_521_493_000)


@pytest.fixture
def grant_of() -> Callable[..., Grant]:
    def build(number: int = 1, **changes: Any) -> Grant:
        plain: dict[str, Any] = {
            "id": GrantId(number.to_bytes(16, "big")),
            "version": 1,
            "subject": SubjectRef(b"s" * 32),
            "recipient": CAF,
            "event_type": ADDRESS,
            "schema": SchemaId(b"a" * 32),
            "fields": frozenset({"new_address", "household"}),
            "purpose": Purpose("family-benefits"),
            "basis": CONSENT,
            "granted_at": Instant(NOW - 1000),
            "starts_at": Instant(NOW - 1000),
            "expires_at": Instant(NOW + 1000),
            "scope": Scope.STANDING,
            "once_for": None,
            "status": Status.ACTIVE,
            "given_by": "self",
            "capacity": Capacity.SELF,
            "channel": Channel.ONLINE,
            "language": "fr",
            "text_hash": b"t" * 32,
            "changed_at": Instant(NOW - 1000),
        }
        return Grant(**plain | changes)

    return build


@pytest.fixture
def subscription_of() -> Callable[..., Subscription]:
    def build(**changes: Any) -> Subscription:
        plain: dict[str, Any] = {
            "id": b"u" * 16,
            "recipient": CAF,
            "event_type": ADDRESS,
            "purpose": Purpose("family-benefits"),
            "fields": frozenset({"new_address", "household", "effective_date"}),
            "territories": None,
            "status": SubscriptionStatus.APPROVED,
            "approved_at": Instant(NOW - 5000),
            "ended_at": None,
            "legal_reference": "CSS, art. L114-14",
        }
        return Subscription(**plain | changes)

    return build


@pytest.fixture
def facts_of() -> Callable[..., DeclarationFacts]:
    def build(**changes: Any) -> DeclarationFacts:
        plain: dict[str, Any] = {
            "declaration_id": DeclarationId(b"d" * 16),
            "source": PartyId("urn:unefois:portail"),
            "event_type": ADDRESS,
            "schema": SchemaId(b"a" * 32),
            "field_names": ("subject", "new_address", "household", "effective_date"),
            "territories": ("44109", "35238"),
            "uses_territories": True,
            "corrects": None,
        }
        return DeclarationFacts(**plain | changes)

    return build
