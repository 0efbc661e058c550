"""Epoch books: which epoch keys the database knows: living, ended, begun; and which are in the key store beside them.

Refuses: nothing.
Keeps: that a key is begun is a row of `meta`, committed before the key is made and taken away in the transaction that
writes its epoch: a crash in between leaves a key of which the books know that nothing was sealed to it. A key that
stands in none of the three is unknown: its books are elsewhere.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import delete, select

from broker.ended import Ended, Ending
from broker.observability.crashpoints import mark
from broker.observability.observe import RowName, logger
from broker.ports import KeyKind, KeyStore
from broker.store.engine import Transaction
from broker.store.tables import consent_epochs, gate_epochs, meta
from consent import registry
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


async def sort(tx: Transaction, keys: KeyStore) -> tuple[list[Key], list[Key]]:
    """The keys without a living epoch: those that the journal of endings calls destroyed or that were never opened, and
    the unknown.

    A consent epoch that still wraps something, as in a database that was put back, is not over: it is wrapped anew
    first (`broker.maintenance.completing`). What the journal was told of was opened to the end, whoever says that it is
    only begun.
    """
    ended, started, rows = await tx.endings(), await begun(tx), set(await _rows(tx))
    struck = await tx.execute(select(consent_epochs.c.epoch).where(consent_epochs.c.destroyed_at.is_not(None)))
    over = {(KeyKind.CONSENT_EPOCH, str(row.epoch)) for row in struck}
    used = {(KeyKind.CONSENT_EPOCH, str(epoch)) for epoch in await registry.epochs_used(tx.conn)}
    left, unknown = [], []
    for key in _held(keys):
        told = ended.newest(*named(*key))
        if key in used:
            if told is not None and (key not in rows or key in over) and not ended.ended(*named(*key)):
                logger().error("endings.row-contradicts", _ended_at=told.at, row=RowName.of(*named(*key)))
            continue
        if ended.ended(*named(*key)) or (key in started and told is None):
            left.append(key)
        elif key not in rows:
            unknown.append(key)
    return left, unknown


async def untold(tx: Transaction, keys: KeyStore) -> list[Ending]:
    """Living epochs that the journal of endings has not heard of yet, as it is to be told of them."""
    ended, rows = await tx.endings(), await _rows(tx)
    known = [(*named(*key), rows[key]) for key in _held(keys) if key in rows]
    return [
        Ending.of(table, of, at=opened, least=0, opened_at=opened)
        for table, of, opened in known
        if ended.newest(table, of) is None
    ]


def gates_opened(ended: Ended, keys: KeyStore) -> dict[Kid, int]:
    """When the gate keys of the key store were opened, oldest first, by the journal of endings; without the ended."""
    kids = [Kid(bytes.fromhex(name)) for name in keys.names(KeyKind.GATE)]
    told = {kid: ended.newest(gate_epochs.name, kid) for kid in kids}
    opened = {kid: one.told["opened_at"] for kid, one in told.items() if one is not None and one.least == 0}
    return {
        kid: opened[kid] for kid in sorted(opened, key=lambda kid: (opened[kid], ended.number(gate_epochs.name, kid)))
    }


def named(kind: KeyKind, name: str) -> tuple[str, bytes]:
    """Table and key of an epoch, by the name of its private key."""
    return (gate_epochs.name, bytes.fromhex(name)) if kind is KeyKind.GATE else (consent_epochs.name, name.encode())


async def begun(tx: Transaction) -> set[Key]:
    """The keys that are begun."""
    rows = await tx.execute(select(meta.c.name).where(meta.c.name.startswith(BEGUN, autoescape=True)))
    named = (row.name.removeprefix(BEGUN).partition("/") for row in rows)
    kinds: Mapping[str, KeyKind] = {kind.value: kind for kind in KINDS}
    return {(kinds[kind], name) for kind, _, name in named if kind in kinds}


async def tidy(tx: Transaction, keys: KeyStore) -> None:
    """Take away what is begun and has no key: it was never made, or is destroyed by now."""
    for key in await begun(tx) - set(_held(keys)):
        await tx.execute(delete(meta).where(meta.c.name == _row(key)))
    mark("epochs.tidied")
    # Crash here: names of keys that are not there; the next call takes them away.


def _row(key: Key) -> str:
    return f"{BEGUN}{key[0].value}/{key[1]}"


def _held(keys: KeyStore) -> list[Key]:
    return [(kind, name) for kind in KINDS for name in keys.names(kind)]


async def _rows(tx: Transaction) -> dict[Key, int]:
    """Every epoch that has a row, and when it was opened: also one that somebody has edited, for its key stays."""
    gates = await tx.execute(select(gate_epochs.c.kid, gate_epochs.c.opened_at))
    consents = await tx.execute(select(consent_epochs.c.epoch, consent_epochs.c.opened_at))
    return {
        **{(KeyKind.GATE, Kid(row.kid).hex()): row.opened_at for row in gates},
        **{(KeyKind.CONSENT_EPOCH, str(row.epoch)): row.opened_at for row in consents},
    }
