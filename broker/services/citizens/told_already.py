"""Told already: whether the citizen has declared the same before, when, and who has recorded it since.

Refuses: nothing; it is a hint, and the citizen may declare all the same.
Keeps: what was declared is known again by a keyed digest that holds no value (`broker.citizens.fingerprints`); the
citizen's own declarations alone are told, and none that was taken back.
"""

from collections.abc import Mapping
from typing import Any

from broker.citizens.citizen import Citizen
from broker.flow.retracted import told
from broker.flow.tracking import Progress
from broker.services import declarations
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType


async def remember(
    home: Home, citizen: Citizen, event_type: EventType, record: Mapping[str, Any], of: DeclarationId
) -> None:
    """That the citizen has declared this. Again, it changes nothing. Raises Unavailable."""
    async with home.store.begin() as tx:
        await home.fingerprints.keep(tx, citizen.subject, event_type, record, of=of, at=home.clock())
    # Crash before this: the declaration is in, and the same again is not known to be the same; nothing else is lost.


async def earlier(home: Home, citizen: Citizen, event_type: EventType, record: Mapping[str, Any]) -> Json | None:
    """The newest declaration of the same content that was not taken back, but for the date from which it counts.

    `{declaration, at, applied}`: `applied`, how many administrations have recorded it; None where there is none.
    """
    async with home.store.read() as tx:
        found = await home.fingerprints.find(tx, citizen.subject, event_type, record)
        ended = await tx.endings()
    standing = [one for one in found if (back := told(ended, one.declaration)) is None or not back.stands]
    for one in standing[:1]:
        try:
            track = await declarations.track(home, one.declaration, whose=citizen.subject)
        except Refused:  # about somebody whom the citizen represents, or gone meanwhile
            return {"declaration": uuid_of(one.declaration), "at": time_of(one.at), "applied": 0}
        applied = sum(1 for step in track.steps if step.progress is Progress.DONE)
        return {"declaration": uuid_of(one.declaration), "at": time_of(one.at), "applied": applied}
    return None
