"""Pins: which signing keys a person has looked at, for an agency that believes no other, whatever a broker lists.

    pins = Pins.of(first)                       # compare each key id with what its owner told you, by another way
    pin = Pin(Path("directory.pin"), ledger, keys=pins)     # keep `pins.to_json()`; `accept` a new one, start again

Refuses: a directory of another broker.
Keeps: a signing key that is not pinned is not in what `trusted` returns, so nothing that it signed is believed; rights,
ends and revocations of pinned keys are those of the newest directory.

Why it is wanted beside the chain of the directory (`connectors.pinning`): the chain proves that everybody is shown one
history. Whose a listed key is, only its owner can say. Without pins the broker's operator is believed about that.
Source: docs/protocol.md, section 7, step 2; docs/trust.md.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from schemas.directory import Directory, SigningKeyEntry
from schemas.errors import Refused
from schemas.names import Kid, PartyId


@dataclass(frozen=True, slots=True)
class Pins:
    """Key ids of signing keys, the broker's own among them."""

    broker: PartyId
    signing: frozenset[Kid]

    @classmethod
    def of(cls, directory: Directory) -> Self:
        """Everybody in this directory."""
        return cls(directory.broker, frozenset(one.kid for one in directory.signing))

    def unknown(self, directory: Directory) -> tuple[SigningKeyEntry, ...]:
        """The keys in a directory that are held back. Look at each, ask its owner, then `accept`."""
        return tuple(one for one in directory.signing if one.kid not in self.signing)

    def accept(self, kids: Iterable[Kid]) -> Self:
        """These keys too."""
        return replace(self, signing=self.signing | frozenset(kids))

    def trusted(self, directory: Directory) -> Directory:
        """The directory without the keys that are not pinned. Raises Refused `pins.other-broker`."""
        if directory.broker != self.broker:
            raise Refused("pins.other-broker", "/broker")
        return Directory.of(
            [one for one in directory.signing if one.kid in self.signing],
            directory.sealing,
            directory.rights,
            directory.policies,
            directory.broker,
        )

    def to_json(self) -> str:
        """A text to keep."""
        told = {"broker": self.broker, "signing": sorted(kid.hex() for kid in self.signing)}
        return json.dumps(told, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote. Raises Refused `pins.malformed`."""
        try:
            told = json.loads(text)
            return cls(PartyId(told["broker"]), frozenset(Kid.parse(each) for each in told["signing"]))
        except (ValueError, KeyError, TypeError, AttributeError, Refused):
            raise Refused("pins.malformed") from None
