"""Shapes: what the command line and the API tell in the same words.

Refuses: to show a value of a citizen; nothing here has one.
Keeps: identifiers of 16 bytes are written as UUIDs, instants in RFC 3339; what does not apply is null, not absent.
"""

from datetime import date
from typing import Any, overload

from consent.policy import Subscription
from consent.representation import Representation
from consent.rules import Rule
from schemas.messages import Language
from schemas.names import Instant, rfc3339, uuid_text

Json = dict[str, Any]


@overload
def uuid_of(raw: bytes) -> str: ...


@overload
def uuid_of(raw: bytes | None) -> str | None: ...


def uuid_of(raw: bytes | None) -> str | None:
    """16 bytes as a UUID."""
    return None if raw is None else uuid_text(raw)


def day_in_words(day: date, language: Language) -> str:
    """A day as people there write it: 1er décembre 2026, 1 December 2026."""
    from babel.dates import format_date  # a command that tells no day need not load it

    told = format_date(day, "long", locale={"fr": "fr_FR", "en": "en_GB"}[language])
    return f"1er {told[2:]}" if language == "fr" and told.startswith("1 ") else told


def time_of(at: Instant | None) -> str | None:
    """An instant in RFC 3339."""
    return None if at is None else rfc3339(at)


def subscription(one: Subscription) -> Json:
    """What an administration asks to receive."""
    return {
        "id": uuid_of(one.id),
        "recipient": one.recipient,
        "event_type": one.event_type,
        "purpose": one.purpose,
        "fields": sorted(one.fields),
        "territories": None if one.territories is None else sorted(one.territories),
        "status": one.status.value,
        "legal_reference": one.legal_reference or None,
        "approved_at": time_of(one.approved_at),
        "ended_at": time_of(one.ended_at),
        "least_assurance": one.least.assurance.value,
        "least_quality": one.least.quality.value,
    }


def rule(one: Rule) -> Json:
    """A rule by law, under which an administration hears of everybody."""
    return {
        "id": uuid_of(one.id),
        "recipient": one.recipient,
        "event_type": one.event_type,
        "purpose": one.purpose,
        "fields": sorted(one.fields),
        "article": one.article,
        "objection": one.objection,
        "status": one.status.value,
        "asked_at": time_of(one.asked_at),
        "begins_at": time_of(one.begins_at),
        "ends_at": time_of(one.ends_at),
        "territories": None if one.territories is None else sorted(one.territories),
        "least_assurance": one.least.assurance.value,
        "least_quality": one.least.quality.value,
        "approved_at": time_of(one.approved_at),
        "acts_from": time_of(one.acts_from),
        "narrowed_at": time_of(one.narrowed_at),
        "ended_at": time_of(one.ended_at),
    }


def representation(one: Representation) -> Json:
    """That one person may act for another; neither is named."""
    return {
        "id": uuid_of(one.id),
        "measure": one.measure.value,
        "proof": one.proof,
        "capacity": one.measure.capacity.value,
        "event_types": None if one.event_types is None else sorted(one.event_types),
        "purposes": None if one.purposes is None else sorted(one.purposes),
        "begins_at": time_of(one.begins_at),
        "ends_at": time_of(one.ends_at),
        "given_by": one.given_by,
        "recorded_at": time_of(one.recorded_at),
        "ended_at": time_of(one.ended_at),
    }
