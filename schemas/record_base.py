"""The ground of typed records: a partial date, a part of a record, and the record of an event type.

Refuses: a text that is no date, whole or partial.
Keeps: what is not known of a date is not invented; no value of a citizen is in a repr.
Source: docs/protocol.md, section 2.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from schemas.errors import Refused
from schemas.names import EventType

_PARTIAL: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True, repr=False)
class PartialDate:
    """A date as far as a register knows it: `1962`, `1962-08`, `1962-08-24`. What is not known is 0, never a guess."""

    year: int
    month: int = 0
    day: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text. Raises Refused `records.date`."""
        found = _PARTIAL.fullmatch(text)
        if found is None:
            raise Refused("records.date")
        year, month, day = (None if part is None else int(part) for part in found.groups())
        try:
            date(year or 0, 1 if month is None else month, 1 if day is None else day)
        except ValueError:
            raise Refused("records.date") from None
        return cls(year or 0, month or 0, day or 0)

    def __str__(self) -> str:
        parts = [f"{self.year:04}", *(f"{part:02}" for part in (self.month, self.day) if part)]
        return "-".join(parts)

    def __repr__(self) -> str:
        return "PartialDate(...)"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Part:
    """A record, whole or inside another one. `more`: fields of a newer schema, under their names."""

    more: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Event(Part):
    """The record of one event type. Each of its fields may be WITHHELD."""

    event_type: ClassVar[EventType]

    # A dataclass with slots makes its class anew and looks for the first one in `super()`; hence without it.
    __repr__ = Part.__repr__
