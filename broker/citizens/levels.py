"""Levels: how surely a citizen has to be known, for each thing that they may do here.

    declare             as the catalogue says of the type (`schemas.catalogue.LEAST`), else low
    give a consent      low: it lets out what they will declare, and they are told on their own channels
    end, pause, object  low: whoever could not take back what they gave would be held by it
    export, erase       substantial: everything at once, or for ever
    change where told   substantial: news of everything else goes there
    link a name         substantial: it joins two histories

Refuses: an act above the session's level, with what to do.
Keeps: nobody asks a citizen for more than this list does; a code from a counter, used at home, is low.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from broker.citizens.citizen import Citizen
from schemas.assurance import Assurance
from schemas.catalogue import LEAST as LEAST_OF_TYPE
from schemas.errors import Refused
from schemas.names import EventType


class Act(Enum):
    """What a citizen does."""

    LOOK = "look"
    CONSENT = "consent"
    END_CONSENT = "end-consent"
    OBJECT = "object"
    TAKE_BACK = "take-back"
    REPAIR = "repair"
    CHANNEL = "channel"
    EXPORT = "export"
    ERASE = "erase"
    LINK = "link"


LEAST: Final[Mapping[Act, Assurance]] = MappingProxyType(
    {
        Act.LOOK: Assurance.LOW,
        Act.CONSENT: Assurance.LOW,
        Act.END_CONSENT: Assurance.LOW,
        Act.OBJECT: Assurance.LOW,
        Act.TAKE_BACK: Assurance.LOW,
        Act.REPAIR: Assurance.LOW,
        Act.CHANNEL: Assurance.SUBSTANTIAL,
        Act.EXPORT: Assurance.SUBSTANTIAL,
        Act.ERASE: Assurance.SUBSTANTIAL,
        Act.LINK: Assurance.SUBSTANTIAL,
    }
)


def least_for(act: Act | EventType) -> Assurance:
    """The lowest level at which this may be done; of an event type: declared."""
    if isinstance(act, Act):
        return LEAST[act]
    told = LEAST_OF_TYPE.get(act)
    return Assurance.LOW if told is None else told.assurance


def check(citizen: Citizen, act: Act | EventType) -> None:
    """Raises Refused `citizens.level-too-low`: they sign in again, with `begin(least=least_for(act))`."""
    needed = least_for(act)
    if citizen.assurance.rank < needed.rank:
        raise Refused("citizens.level-too-low", needed=needed.value, has=citizen.assurance.value)
