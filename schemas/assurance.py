"""Assurance: how sure a declaration is: how its person was known, what its fact rests on, by which channel it came.

A source states it, signed, in the manifest; a subscription states the least that it accepts.

Refuses: a word that is not listed.
Keeps: a declaration that states nothing is the least sure one: `none`, `declared`. More is never taken for less.
Source: docs/protocol.md, section 4; Regulation (EU) 910/2014 (eIDAS), article 8, for low, substantial and high.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from schemas.errors import Refused
from schemas.names import Channel

Word = TypeVar("Word", bound=Enum)


class Assurance(Enum):
    """How the source knew the person. At a counter, with a document that an agent has seen, ranks with substantial."""

    NONE = "none"
    LOW = "low"
    COUNTER = "counter"
    SUBSTANTIAL = "substantial"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Larger is surer."""
        return _RANKS[self]


_RANKS: Final = {
    Assurance.NONE: 0,
    Assurance.LOW: 1,
    Assurance.COUNTER: 2,
    Assurance.SUBSTANTIAL: 2,
    Assurance.HIGH: 3,
}


class Quality(Enum):
    """What the fact rests on: somebody's word, an act whose reference is told, the register that has authority."""

    DECLARED = "declared"
    CERTIFIED = "certified"
    AUTHENTIC = "authentic"

    @property
    def rank(self) -> int:
        """Larger is surer."""
        return list(Quality).index(self)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a source states of one declaration."""

    assurance: Assurance
    quality: Quality
    channel: Channel

    @classmethod
    def read(cls, assurance: str, quality: str, channel: str) -> "Provenance":
        """From its words. Raises Refused `assurance.unknown` with the pointer of the member."""
        return cls(assurance_of(assurance), quality_of(quality), _one(Channel, channel, "/channel"))


@dataclass(frozen=True, slots=True)
class Least:
    """The least that somebody accepts."""

    assurance: Assurance = Assurance.NONE
    quality: Quality = Quality.DECLARED

    def met_by(self, stated: Provenance | None) -> bool:
        """Whether this is enough; None: nothing was stated."""
        assurance = Assurance.NONE if stated is None else stated.assurance
        quality = Quality.DECLARED if stated is None else stated.quality
        return assurance.rank >= self.assurance.rank and quality.rank >= self.quality.rank

    def and_(self, other: "Least") -> "Least":
        """What meets both."""
        return Least(
            max(self.assurance, other.assurance, key=lambda one: one.rank),
            max(self.quality, other.quality, key=lambda one: one.rank),
        )


SURE: Final = Provenance(Assurance.HIGH, Quality.AUTHENTIC, Channel.ONLINE)
"""As sure as can be: what a register with authority states, of somebody whom it knows for certain."""
ANY: Final = Least()
"""Everything is accepted."""


def least_of(assurance: str, quality: str) -> Least:
    """From its words. Raises Refused `assurance.unknown` with the pointer of the member, as a subscription has it."""
    try:
        return Least(assurance_of(assurance), quality_of(quality))
    except Refused as fault:
        raise Refused(
            "assurance.unknown", f"/least_{fault.pointer.removeprefix('/')}", known=fault.details["known"]
        ) from None


def assurance_of(word: str) -> Assurance:
    """Raises Refused `assurance.unknown`."""
    return _one(Assurance, word, "/assurance")


def quality_of(word: str) -> Quality:
    """Raises Refused `assurance.unknown`."""
    return _one(Quality, word, "/quality")


def _one(kind: type[Word], word: str, pointer: str) -> Word:
    try:
        return kind(word)
    except ValueError:
        raise Refused("assurance.unknown", pointer, known=", ".join(one.value for one in kind)) from None
