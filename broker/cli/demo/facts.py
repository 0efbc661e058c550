"""Facts: what the ledger says, read for the story's checks.

Refuses: nothing; an entry that cannot be read is a fault of the ledger and passes through.
Keeps: only reading; positions are those that the sequencer gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker.setup.wiring import Home
from schemas.facts import FactKind, Facts
from schemas.names import LeafHash


@dataclass(frozen=True, slots=True)
class Fact:
    """What one entry of the ledger says, with the entry's leaf hash."""

    leaf: LeafHash
    facts: Facts


async def facts_of(home: Home) -> list[Fact]:
    """What every entry says, in the order of writing. Raises Refused `entry.*`, Corrupt `openings.damaged`."""
    async with home.store.read() as tx:
        return [Fact(leaf, facts) for leaf, facts in await home.openings.all(tx)]


def of_kind(facts: Sequence[Fact], kind: FactKind) -> list[Fact]:
    """The facts of one kind, in their order."""
    return [fact for fact in facts if fact.facts.kind is kind]
