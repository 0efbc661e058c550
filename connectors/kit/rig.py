"""A rig: a throwaway system that a connector writes into or tells, which can be made to behave badly.

    class RegisterRig(Rig):
        connector = RegisterConnector
        def settings(self) -> dict: ...
        def held(self) -> list[str]: ...

announced beside the connector, under the same name, as an entry point of the group `unefois.connectors.rigs`.

Refuses: to play a case that it does not know: then the connector's description, or the rig, says why it is spared.
Keeps: everything in one folder, on this machine.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import isclass
from pathlib import Path
from typing import Any, ClassVar, Self

from connectors import registry
from connectors.description import Case, Words
from connectors.mapping import Mapping as MappingFile
from connectors.mapping import load
from schemas.errors import Refused

MAPPING: MappingFile = load(
    b"name: kit\nversion: 1\nevent_type: fr.unefois.address.changed.v1\ndirection: out\n"
    b"fields: {name: record.subject.family_name, phone: keep_if_withheld(record.phone)}"
)
"""What the kit declares: a person's family name, which it looks for in the system, and a telephone number."""


class Rig:
    """Base of every rig. One is made for each case, in an empty folder, and entered before it is used."""

    connector: ClassVar[type[object]]
    mapping: ClassVar[MappingFile] = MAPPING
    """A mapping of `address.changed` whose `name` is the family name, where the system has other columns."""
    plays: ClassVar[frozenset[Case]] = frozenset()
    """The cases for which the system is made to behave badly by `inflicted`."""
    spared: ClassVar[Mapping[Case, Words]] = {}
    """Cases that this system cannot play, though another one of the same kind could."""
    deadline_s: ClassVar[float] = 5
    """The deadline of a call. For `slow-peer` the kit waits so long."""

    def __init__(self, place: Path) -> None:
        self.place = place

    async def __aenter__(self) -> Self:
        """Start the system."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""

    def settings(self) -> dict[str, Any]:
        """Settings with which the connector works."""
        raise NotImplementedError

    def held(self) -> Sequence[str]:
        """The family names that the system holds, in the order in which they came, looked at from outside. Of one that
        is told: an entry for each delivery that it heard of, however often.
        """
        raise NotImplementedError

    def wrong(self) -> Sequence[dict[str, Any]]:
        """Settings that `check` finds wrong."""
        return ({**self.settings(), "no_such_setting": 1},)

    def inflicted(self, case: Case) -> AbstractContextManager[None]:
        """In this block the system behaves as the case says."""
        raise NotImplementedError(case)


def rig(name: str) -> type[Rig]:
    """The rig of this kind of connector. Raises Refused."""
    found = registry.loaded(name, registry.RIGS)
    if not (isclass(found) and issubclass(found, Rig)):
        raise Refused("connector.not-a-rig", kind=name)
    return found
