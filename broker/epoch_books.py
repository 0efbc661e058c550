"""Epoch books: which epoch keys the database knows: living, ended, begun; and which are in the key store beside them.

Refuses: nothing.
Keeps: that a key is begun is a row of `meta`, committed before the key is made and taken away in the transaction that
writes its epoch: a crash in between leaves a key of which the books know that nothing was sealed to it. A key that
stands in none of the three is unknown: its books are elsewhere.
"""

from collections.abc import Mapping, Set
from typing import Final

from sqlalchemy import delete, select

from broker.crashpoints import mark
from broker.ports import KeyKind, KeyStore
from broker.rows.seals import RowReader
from broker.store.engine import Transaction
from broker.store.tables import consent_epochs, gate_epochs, meta
from schemas.names import Instant, Kid

KINDS: Final = (KeyKind.GATE, KeyKind.CONSENT_EPOCH)
BEGUN: Final = "begun/"
"""Before kind and name, in the name of a row of `meta`."""

Key = tuple[KeyKind, str]
"""Kind and name in the key store."""


async def begin(tx: Transaction, kind: KeyKind, name: str, at: Instant) -> None:
    """Write down that this key is about to be made; or to be ended, of one that has no epoch."""
    await tx.insert_new(meta, {"name": _row((kind, name)), "value": str(at)})
    mark("epochs.begun")
    # Crash here: nothing, for the transaction is gone; once it is not, a name that `finish` takes away.


async def end_begun(tx: Transaction, kind: KeyKind, name: str) -> bool:
    """It is about to have its epoch. False when it is not begun any more: another has opened it, or tidied up."""
    ended = await tx.execute(delete(meta).where(meta.c.name == _row((kind, name))))
    return ended.rowcount == 1


async def sort(tx: Transaction, keys: KeyStore, rows: RowReader) -> tuple[list[Key], list[Key]]:
    """The keys without a living epoch: those that were destroyed by the books or never opened, and the unknown."""
    living, ended = await _epochs(tx, rows)
    known = ended | await begun(tx)
    bare = [(kind, name) for kind in KINDS for name in keys.names(kind) if (kind, name) not in living]
    return [key for key in bare if key in known], [key for key in bare if key not in known]


async def begun(tx: Transaction) -> set[Key]:
    """The keys that are begun."""
    rows = await tx.execute(select(meta.c.name).where(meta.c.name.startswith(BEGUN, autoescape=True)))
    named = (row.name.removeprefix(BEGUN).partition("/") for row in rows)
    kinds: Mapping[str, KeyKind] = {kind.value: kind for kind in KINDS}
    return {(kinds[kind], name) for kind, _, name in named if kind in kinds}


async def tidy(tx: Transaction, keys: KeyStore) -> None:
    """Take away what is begun and has no key: it was never made, or is destroyed by now."""
    held: Set[Key] = {(kind, name) for kind in KINDS for name in keys.names(kind)}
    for key in await begun(tx) - held:
        await tx.execute(delete(meta).where(meta.c.name == _row(key)))
    mark("epochs.tidied")
    # Crash here: names of keys that are not there; the next call takes them away.


def _row(key: Key) -> str:
    return f"{BEGUN}{key[0].value}/{key[1]}"


async def _epochs(tx: Transaction, rows: RowReader) -> tuple[set[Key], set[Key]]:
    """Those that live, and those that are destroyed by the books. What an edited row says is no book: its key stays."""
    named = {
        **{(KeyKind.GATE, Kid(row.kid).hex()): row for row in await tx.execute(select(gate_epochs))},
        **{(KeyKind.CONSENT_EPOCH, str(row.epoch)): row for row in await tx.execute(select(consent_epochs))},
    }
    tables = {KeyKind.GATE: gate_epochs.name, KeyKind.CONSENT_EPOCH: consent_epochs.name}
    ended = {
        key for key, row in named.items() if row.destroyed_at is not None and rows.one(tables[key[0]], row) is not None
    }
    return set(named) - ended, ended
