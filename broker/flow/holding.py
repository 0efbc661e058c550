"""Holding: some types wait before anybody gets them, so that their citizen can stop them.

Refuses: nothing; mailbox and gate do.
Keeps: a hold ends so long after the declaration was received, as the machine's MAC on its row has it: who edits a
delivery, or plans it anew, makes it end no sooner.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas.names import EventType, Instant

Holds = Mapping[EventType, int]
"""How long each type that is held at all is held, in milliseconds."""
NO_HOLDS: Final[Holds] = MappingProxyType({})


def end_of(holds: Holds, event_type: EventType, received_at: Instant) -> Instant:
    """Before this instant nobody gets it."""
    return Instant(received_at + holds.get(event_type, 0))


def held_until(holds: Holds, event_type: EventType, received_at: Instant, at: Instant) -> Instant | None:
    """The end of its hold, if that is still to come."""
    end = end_of(holds, event_type, received_at)
    return end if end > at else None
