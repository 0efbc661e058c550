"""What a connector says of itself: its settings, its guarantee, what the other side must do, what it cannot meet.

    class TableConnector:
        about: ClassVar = Description(settings=TableSettings, guarantee={...}, other_side={...}, at_once=4)

        @classmethod
        async def check(cls, settings, targets, ground) -> tuple[Fault, ...]: ...      # looks, and changes nothing

Refuses: nothing of its own. A connector of somebody else's may say nothing: then one call at a time, and no promises.
Keeps: the same words in the program, on its page and in the kit (`connectors.kit`); a case of the kit that does not
apply to a connector is named here with its reason, so that none is left out in silence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from connectors.contract import Ground, Settings, checked
from schemas.errors import Fault
from schemas.messages import Language

Words = Mapping[Language, str]
"""One sentence in French and English."""


class Case(StrEnum):
    """The cases of the kit. Their words stand in reports, on pages and in `Description.spared`."""

    REDELIVERY = "redelivery"
    CRASH_BEFORE_FLUSH = "crash-before-flush"
    CRASH_BEFORE_ACKNOWLEDGEMENT = "crash-before-acknowledgement"
    SLOW_PEER = "slow-peer"
    PEER_AWAY = "peer-away"
    TOO_MANY = "too-many"
    WRONG_CREDENTIALS = "wrong-credentials"
    TRUNCATED_ANSWER = "truncated-answer"
    ANSWER_LOST = "answer-lost"
    NEW_SCHEMA_VERSION = "new-schema-version"
    WITHHELD_FIELD = "withheld-field"
    ORDER = "order"
    BAD_VALUE = "bad-value"
    UNKNOWN_PERSON = "unknown-person"
    SEVERAL_PERSONS = "several-persons"
    CHECK = "check"


def _nothing() -> Mapping[Case, Words]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Weaker:
    """What holds instead of the guarantee under certain settings, which an administration chooses knowingly."""

    words: Words
    when: Callable[[Any], bool]
    """Of the settings, as their model."""


@dataclass(frozen=True, slots=True)
class Description:
    """One kind of connector, as it is told to people and to the runner."""

    settings: type[Settings]
    guarantee: Words
    """What holds after any crash, in one sentence."""
    other_side: Words
    """What the agency's system must do with the delivery's id for that to hold."""
    at_once: int = 1
    """How many calls it takes at once; order within a citizen is the runner's."""
    spared: Mapping[Case, Words] = field(default_factory=_nothing)
    """Cases of the kit that cannot happen to it, each with the reason."""
    weaker: Weaker | None = None
    """Where the guarantee depends on the settings: what holds when it does not."""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its settings (2020-12): what a form is made from."""
        return self.settings.model_json_schema()

    def weakened(self, settings: Mapping[str, Any]) -> Words | None:
        """What holds under these settings in place of the guarantee; None: it holds, or the settings are wrong."""
        try:
            chosen = checked(self.settings, settings)
        except Fault:
            return None
        return self.weaker.words if self.weaker is not None and self.weaker.when(chosen) else None


@runtime_checkable
class Checking(Protocol):
    """A connector that can be tried without an effect."""

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Everything that stands in the way of writing rows with these targets; none: it would work now.

        Nothing is written, created or sent. Where `targets` is empty only the system is looked at. Raises nothing of
        what it finds: each fault has its code, its pointer and what to do.
        """
        ...


def described(made: type[object]) -> Description | None:
    """What a connector's class says of itself; None for one that says nothing."""
    about = getattr(made, "about", None)
    return about if isinstance(about, Description) else None


async def check(
    made: type[object], settings: Mapping[str, Any], targets: Sequence[str], ground: Ground
) -> tuple[Fault, ...]:
    """What stands in the way, as `Checking.check`; of one that cannot be tried, its settings alone."""
    about = described(made)
    if about is not None:
        try:
            checked(about.settings, settings)
        except Fault as fault:
            return (fault,)
    return await made.check(settings, targets, ground) if issubclass(made, Checking) else ()
