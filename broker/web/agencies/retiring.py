"""Retiring: an event type that is on its way out says so wherever somebody uses it.

Refuses: nothing: until it is gone, it works.
Keeps: the words are the standards'; the catalogue decides.
Source: RFC 9745 (`Deprecation`), RFC 8594 (`Sunset`), RFC 5829 (`successor-version`).
"""

from email.utils import formatdate

from broker.shapes import Json, time_of
from schemas.catalogue import Catalogue
from schemas.names import EventType


def headers(catalogue: Catalogue, event_type: EventType) -> dict[str, str]:
    """What an answer about this type says; nothing for one that stays."""
    found = catalogue.retirements.get(event_type)
    if found is None:
        return {}
    told = {"Deprecation": f"@{found.deprecated_at // 1000}"}
    if found.sunset_at is not None:
        told["Sunset"] = formatdate(found.sunset_at // 1000, usegmt=True)
    if found.successor is not None:
        schema = catalogue.by_type(found.successor).schema.id.hex()
        told["Link"] = f'</v1/schemas/{schema}>; rel="successor-version"'
    return told


def members(catalogue: Catalogue, event_type: EventType) -> Json:
    """The same as members of a list; null for one that stays."""
    found = catalogue.retirements.get(event_type)
    return {
        "deprecated_at": None if found is None else time_of(found.deprecated_at),
        "sunset_at": None if found is None else time_of(found.sunset_at),
        "successor": None if found is None else found.successor,
    }
