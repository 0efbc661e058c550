"""Retractions: how who got a declaration hears that it was taken back: without a subscription, and without a consent.

Pure: the subscription that it got the declaration through, and a grant for this one notice, with an article of law.

Refuses: nothing.
Keeps: the grant names the two fields of a notice, is bound to one notice when it is made, and ends by itself.
Source: GDPR, article 19 (to be confirmed by counsel).
"""

from dataclasses import replace
from hashlib import sha256
from typing import Final

from consent.basis import law
from consent.grant import Grant, Scope, Status
from consent.policy import Subscription, SubscriptionStatus
from schemas.catalogue import EventSchema
from schemas.names import Capacity, Channel, DeclarationId, EventType, GrantId, Instant, SubjectRef
from schemas.retractions import ARTICLE, RETRACTIONS

GRANT_MS: Final = 366 * 86_400_000
"""How long a recipient may take to fetch a notice."""

_TEXT: Final = b"unefois/retraction-text/v1\x00"


def heard_by(subscription: Subscription, event: EventSchema) -> Subscription:
    """A subscription as it counts for this type: of a retraction, that of what it takes back, whatever became of it."""
    if event.event_type not in RETRACTIONS or subscription.event_type == event.event_type:
        return subscription
    return replace(
        subscription,
        event_type=event.event_type,
        fields=frozenset(event.names),
        territories=None,
        status=SubscriptionStatus.APPROVED,
        approved_at=subscription.approved_at or Instant(0),
        ended_at=None,
        legal_reference=ARTICLE,
    )


def grant_for(
    subscription: Subscription,
    event: EventSchema,
    subject: SubjectRef,
    notice: DeclarationId,
    *,
    grant_id: GrantId,
    at: Instant,
) -> Grant:
    """The grant under which one recipient gets one notice; `subscription`: what `heard_by` made."""
    return Grant(
        id=grant_id,
        version=1,
        subject=subject,
        recipient=subscription.recipient,
        event_type=event.event_type,
        schema=event.schema.id,
        fields=frozenset(event.names),
        purpose=subscription.purpose,
        basis=law(ARTICLE),
        granted_at=at,
        starts_at=at,
        expires_at=Instant(at + GRANT_MS),
        scope=Scope.ONCE,
        once_for=notice,
        status=Status.ACTIVE,
        given_by="retraction",
        capacity=Capacity.SELF,
        channel=Channel.SYSTEM,
        language="fr",
        text_hash=text_hash(event.event_type),
        changed_at=at,
    )


def text_hash(event_type: EventType) -> bytes:
    """SHA-256 of what stands in place of a text that was shown, 32 bytes."""
    return sha256(_TEXT + f"{event_type}\n{ARTICLE}".encode()).digest()
