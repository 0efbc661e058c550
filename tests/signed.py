"""Signed rows for tests: what somebody could do who holds the database and the key store, too.

The other checks have to see what a signature hides; a test of theirs signs what it has changed.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import select, update

from broker.keys.pair import Pair
from broker.ports import KeyKind, KeyStore
from broker.setup.wiring import Home
from broker.store.engine import Store, Transaction
from broker.store.rows import macs, seals
from broker.store.rows.adopting import Adopted, adopt
from broker.store.rows.layouts import LAYOUTS, covered
from broker.store.rows.seals import RowSigner, RowVerifier
from broker.store.tables import declarations, ledger_checkpoints, ledger_entries, submissions
from consent.tables import metadata
from schemas.entry import Entry
from schemas.signing import PrivateKey
from tests.memory import MemoryKeys

SEED = bytes(range(32))
MACS = macs.RowMacs(bytes(32))
"""Those of a ledger without a home."""


def ours(row: Mapping[str, Any], by: macs.RowMacs = MACS, nonce: bytes = b"") -> dict[str, Any]:
    """The row of an entry as the recorder writes it. `nonce`: of two that say the same, each has its own."""
    whole = {"chain": None, **row}
    return {**whole, "mac": by.of("ledger_entries", whole, nonce)}


def signer(seed: bytes = SEED) -> RowSigner:
    """A signer without a home, and its verifier."""
    return RowSigner(lambda: seed, RowVerifier(seals.public_of(seed)))


async def resign_in(tx: Transaction, by: RowSigner) -> None:
    """Sign every row that does not count, as it is."""
    for name in LAYOUTS:
        table = metadata.tables[name]
        for row in (await tx.execute(select(table))).all():
            over = name == "webhooks" and row.status == "ended"
            if not over and not by.verifier.holds(name, row._mapping):
                await by.renew(tx, table, row, covered(name, row._mapping))


async def resign(home: Home) -> None:
    """The same, with the key of a home; and a MAC for every submission, declaration and waiting entry that has none."""
    async with home.store.begin() as tx:
        await resign_in(tx, seals.signer_of(home.keys, home.rows))
        waiting = ledger_entries.c.position.is_(None)
        for statement in (select(submissions), select(declarations), select(ledger_entries).where(waiting)):
            table = statement.get_final_froms()[0]
            for row in (await tx.execute(statement)).all():
                if not home.macs.holds(table.name, row._mapping):
                    same = [column == row._mapping[column.name] for column in table.primary_key]
                    with suppress(ValueError):  # of values that no MAC is over
                        await tx.execute(update(table).where(*same).values(mac=home.macs.of(table.name, row._mapping)))


async def vouch(keys: KeyStore, store: Store) -> None:
    """Give every row that should have one a MAC of this home, as the row is."""
    macs.make_secret(keys, secrets.token_bytes)
    made = macs.macs_of(keys)
    async with store.begin() as tx:
        for table in (submissions, declarations, ledger_entries, ledger_checkpoints):
            for row in (await tx.execute(select(table))).all():
                same = [column == row._mapping[column.name] for column in table.primary_key]
                await tx.execute(update(table).where(*same).values(mac=made.of(table.name, row._mapping)))


async def sign_rows(keys: KeyStore, store: Store) -> Adopted:
    """Adopt the rows of a home as `upgrading` does, by what its ledger says in clear."""
    await vouch(keys, store)
    async with store.read() as tx:
        raws = (await tx.execute(select(ledger_entries.c.entry).order_by(ledger_entries.c.id))).scalars().all()
    entries = [opened for raw in raws if (opened := Entry.decode(raw).open) is not None]
    return await adopt(store, keys, entries)


def pair_of(key: PrivateKey) -> Pair:
    """A ledger's key as the ledger takes it."""
    keys = MemoryKeys()
    keys.write(KeyKind.LEDGER, "ledger", key.to_raw())
    return Pair.ledger(keys)
