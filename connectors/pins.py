"""Pins: whose signatures an agency believes, whatever a broker says later.

    first = await client.directory()            # compare its key ids with what the sources told you, by another way
    pins = Pins.of(first)                       # keep `pins.to_json()`
    later = pins.trusted(await client.directory())

Refuses: a directory of another broker.
Keeps: a signing key that is not pinned is not in what `trusted` returns, so nothing that it signed is believed; rights,
ends and revocations of pinned keys are those of the newest directory. With `gates` the broker's sealing keys are held
to those, too; without, a source seals to whichever the directory names, for they change with every epoch.
Source: docs/protocol.md, section 7, step 2; docs/trust.md.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from schemas.directory import Directory, SealingKeyEntry, SigningKeyEntry
from schemas.errors import Refused
from schemas.names import Kid, PartyId
from schemas.note import VerifierKey


@dataclass(frozen=True, slots=True)
class Pins:
    """Key ids of signing keys; of the gate's, or None for any; the ledger's verifier key, or "" for none."""

    broker: PartyId
    signing: frozenset[Kid]
    gates: frozenset[Kid] | None = None
    ledger: str = ""

    @classmethod
    def of(cls, directory: Directory, *, ledger: str = "", gates: bool = False) -> Self:
        """Everybody in this directory. Raises Refused `note.*` for a ledger key that is none."""
        if ledger:
            VerifierKey.parse(ledger)
        mine = frozenset(one.kid for one in directory.sealing if one.party == directory.broker)
        signing = frozenset(one.kid for one in directory.signing)
        return cls(directory.broker, signing, mine if gates else None, ledger)

    def unknown(self, directory: Directory) -> tuple[SigningKeyEntry | SealingKeyEntry, ...]:
        """The keys in a directory that are held back. Look at each, ask its owner, then `accept`."""
        signers = tuple(one for one in directory.signing if one.kid not in self.signing)
        return (*signers, *(one for one in directory.sealing if not self._seals(one)))

    def accept(self, kids: Iterable[Kid]) -> Self:
        """These keys too."""
        told = frozenset(kids)
        return replace(self, signing=self.signing | told, gates=None if self.gates is None else self.gates | told)

    def trusted(self, directory: Directory) -> Directory:
        """The directory without the keys that are not pinned. Raises Refused `pins.other-broker`."""
        if directory.broker != self.broker:
            raise Refused("pins.other-broker", "/broker")
        return Directory.of(
            [one for one in directory.signing if one.kid in self.signing],
            [one for one in directory.sealing if self._seals(one)],
            directory.rights,
            directory.policies,
            directory.broker,
        )

    def ledger_key(self) -> VerifierKey:
        """The key of the ledger, for `schemas.receipt.check`. Raises Refused `pins.no-ledger`, `note.*`."""
        if not self.ledger:
            raise Refused("pins.no-ledger")
        return VerifierKey.parse(self.ledger)

    def to_json(self) -> str:
        """A text to keep."""
        gates = None if self.gates is None else _written(self.gates)
        told = {"broker": self.broker, "signing": _written(self.signing), "gates": gates, "ledger": self.ledger}
        return json.dumps(told, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote. Raises Refused `pins.malformed`."""
        try:
            told = json.loads(text)
            gates = None if told["gates"] is None else frozenset(Kid.parse(each) for each in told["gates"])
            signing = frozenset(Kid.parse(each) for each in told["signing"])
            return cls(PartyId(told["broker"]), signing, gates, str(told["ledger"]))
        except (ValueError, KeyError, TypeError, AttributeError, Refused):
            raise Refused("pins.malformed") from None

    def _seals(self, one: SealingKeyEntry) -> bool:
        return self.gates is None or one.party != self.broker or one.kid in self.gates


def _written(kids: Iterable[Kid]) -> list[str]:
    return sorted(kid.hex() for kid in kids)
