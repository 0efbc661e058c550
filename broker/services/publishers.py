"""Publishers: on whose behalf a declaration is made where nobody says it.

Refuses: to choose between two.
Keeps: only a party that may publish the type now, and whose signing keys are here, is ever chosen.
"""

from broker.setup.wiring import Home
from schemas.directory import Directory, PublishingRight
from schemas.errors import Refused
from schemas.names import EventType, Instant, PartyId


async def publisher_of(home: Home, event_type: EventType, named: PartyId | None) -> PartyId:
    """The party named, or the only one hosted here that may publish this type.

    Raises Refused: `publishers.nobody`, `publishers.several`.
    """
    if named is not None:
        return named
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    at = home.clock()
    able = sorted(
        {
            right.party
            for right in directory.rights
            if right.event_type == event_type and _runs(right, at) and _signs_here(home, directory, right.party, at)
        }
    )
    if not able:
        raise Refused("publishers.nobody", "/source", event_type=event_type)
    if len(able) > 1:
        raise Refused("publishers.several", "/source", parties=", ".join(able))
    return able[0]


def _runs(right: PublishingRight, at: Instant) -> bool:
    return right.valid_from <= at and (right.valid_to is None or at <= right.valid_to)


def _signs_here(home: Home, directory: Directory, party: PartyId, at: Instant) -> bool:
    try:
        return bool(home.keyring.signers(directory, party, at))
    except Refused:
        return False
