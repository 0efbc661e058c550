"""Ledgers: how this home's ledger stands, which ledgers it follows, what witnesses have signed; and a copy as files.

Refuses: nothing of its own.
Keeps: nothing here writes to the database but `export`, which orders what waits first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.ledger import highwater, predecessors
from broker.ledger.sequencer import newest_checkpoint
from broker.setup.wiring import Home
from broker.transparency.export import Exported
from broker.transparency.export import export as write
from schemas.errors import Fault, Refused
from schemas.following import Predecessor
from schemas.names import Instant
from schemas.note import VerifierKey
from schemas.witnessing import Known


@dataclass(frozen=True, slots=True)
class Standing:
    """The ledger's key; entries that the newest checkpoint here covers, and that were ever signed; what it follows;
    and why it stands still, if it does.
    """

    key: VerifierKey
    size: int
    signed: int
    follows: Sequence[Predecessor]
    stands_still: Fault | None


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Entries of the newest checkpoint, and of the newest that `quorum` witnesses cosigned; what each of the `known`
    ones has signed: entries, and when.
    """

    size: int
    witnessed: int
    quorum: int
    known: Sequence[Known]
    seen: Mapping[str, tuple[int, Instant]]


async def standing(home: Home) -> Standing:
    """How the ledger stands. Raises Unavailable."""
    key, marked = home.ledger.verifier_key, await home.endings.marked()
    fault = await highwater.look(home.store)
    async with home.store.read() as tx:
        size = await highwater.newest_size(tx)
    return Standing(key, size, size if marked is None else marked.size, await followed(home), fault)


async def followed(home: Home) -> Sequence[Predecessor]:
    """The ledgers that this one follows, the newest first; none where what the database says of them is not believed,
    as fsck says.
    """
    async with home.store.read() as tx:
        try:
            return await tx.conn.run_sync(predecessors.chain_of, home.ledger.verifier_key)
        except Refused:
            return ()


async def witnessed(home: Home) -> Witnessed:
    """What the witnesses of the settings have signed. Raises Refused `ledger.no-checkpoint`."""
    async with home.store.read() as tx:
        seen = await home.cosigning.seen(tx)
        size, _ = await newest_checkpoint(tx)
        try:
            count, _ = await home.cosigning.witnessed(tx)
        except Refused:  # none yet
            count = 0
    known = [Known.parse(each) for each in home.settings.witnesses]
    return Witnessed(size, count, home.settings.witness_quorum, known, seen)


async def export(home: Home, folder: Path) -> tuple[Exported, VerifierKey]:
    """Write the whole ledger as files, ordered up to now. Raises Refused, Unavailable as `transparency.export`."""
    await home.ledger.sequence_unfinished()
    return await write(home.store, home.ledger.verifier_key, folder), home.ledger.verifier_key
