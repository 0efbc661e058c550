"""Agreements: what one field of a record and another place of it have to do with each other.

Refuses: the same fact told twice and differently, a count that is none, a correction that changes nothing, a military
postal sector that is not the address's, a field that goes with another's symbol and is told without it, or is missing.
Keeps: only what is sound by itself is compared; what is wrong by itself was told already, by `values`.
Source: the properties in the event schemas: `equals`, `counts`, `differs`, `sectorOf`, `onlyWith`, `streetlessWith`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from schemas import areas
from schemas.catalogue import EventSchema
from schemas.errors import Refused
from schemas.names import EventType


class Findings(Protocol):
    """What was found in a record so far (`values`)."""

    faults: list[Refused]

    def fits(self, pointer: str) -> bool:
        """Whether a value is there and of its type."""

    def sound(self, pointer: str) -> bool:
        """Whether nothing was found at a place or inside."""


def _at(record: Mapping[str, Any], pointer: str) -> tuple[bool, Any]:
    """Whether the place exists in this record, and what stands there; inside a null it does not exist."""
    value: Any = record
    for name in pointer.strip("/").split("/"):
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def _check_equal(record: Mapping[str, Any], name: str, other: str, found: Findings) -> None:
    """The same fact told twice, so that some may get it without the rest, has to be the same."""
    exists, value = _at(record, other)
    if exists and found.sound(f"/{name}") and found.sound(other) and record[name] != value:
        found.faults.append(Refused("values.disagree", f"/{name}", other=other))


def _check_count(record: Mapping[str, Any], name: str, other: str, found: Findings) -> None:
    exists, items = _at(record, other)
    if exists and found.sound(f"/{name}") and found.fits(other) and record[name] != len(items):
        found.faults.append(Refused("values.count", f"/{name}", other=other))


def _check_different(record: Mapping[str, Any], name: str, other: str, found: Findings) -> None:
    exists, value = _at(record, other)
    if exists and found.sound(f"/{name}") and found.sound(other) and record[name] == value:
        found.faults.append(Refused("values.no-change", f"/{name}", other=other))


def _check_sector(record: Mapping[str, Any], name: str, postcode: str, found: Findings) -> None:
    """The military postal sector of an address, told apart, so that some may hear of it without the address."""
    exists, value = _at(record, postcode)
    if not exists or not found.sound(f"/{name}") or not found.sound(postcode):
        return
    sector = value if isinstance(value, str) and areas.is_military_sector(value) else None
    if record[name] != sector:
        found.faults.append(Refused("values.disagree", f"/{name}", other=postcode))


def _holds(record: Mapping[str, Any], condition: str) -> bool:
    """`/housing=boat,travelling`: whether the field has one of these symbols."""
    place, _, symbols = condition.partition("=")
    return record.get(place.removeprefix("/")) in symbols.split(",")


def _check_only_with(record: Mapping[str, Any], name: str, condition: str, found: Findings) -> None:
    """There exactly where another field says so."""
    place = condition.partition("=")[0]
    if not found.sound(f"/{name}") or not found.sound(place):
        return
    told, holds = record[name] is not None, _holds(record, condition)
    if told and not holds:
        found.faults.append(Refused("values.not-with", f"/{name}", other=condition))
    if holds and not told:
        found.faults.append(Refused("values.needed-with", f"/{name}", other=condition))


def streetless(event: EventSchema, record: Any) -> frozenset[str]:
    """Pointers of the addresses that need no street, for the record says why."""
    if not isinstance(record, Mapping):
        return frozenset()
    told = ((each.name, each.properties.get("streetlessWith")) for each in event.schema.fields)
    return frozenset(f"/{name}" for name, condition in told if condition is not None and _holds(record, condition))


AGREEMENTS: Mapping[str, Callable[[Mapping[str, Any], str, str, Findings], None]] = {
    "equals": _check_equal,
    "counts": _check_count,
    "differs": _check_different,
    "sectorOf": _check_sector,
    "onlyWith": _check_only_with,
}
"""What a field and another place of the record have to do with each other, by the property that says so."""

_NEW_NAMES = ("new_family_name", "new_given_names", "new_usual_name", "new_gender")
_NEW_NAME_OF = {
    "usual_name_taken": "new_usual_name",
    "family_name": "new_family_name",
    "given_names": "new_given_names",
    "gender": "new_gender",
}


def _check_new_name(record: Mapping[str, Any], found: Findings) -> None:
    """A change of name tells the new name; who gives up a usual name has none to tell."""
    if (
        not all(found.sound(f"/{name}") for name in ("nature", *_NEW_NAMES))
        or record["nature"] == "usual_name_given_up"
    ):
        return
    needed = _NEW_NAME_OF.get(record["nature"])
    if all(not record[name] for name in _NEW_NAMES if needed in (None, name)):
        found.faults.append(Refused("values.no-new-name", f"/{needed or _NEW_NAMES[0]}"))


OF_TYPE: Mapping[EventType, Callable[[Mapping[str, Any], Findings], None]] = {
    EventType("fr.unefois.name.changed.v1"): _check_new_name,
}
"""What the registered schema of a type cannot say, for its bytes never change."""
