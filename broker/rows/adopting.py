"""Adopting: the rows of a home from before are compared with the ledger, each by itself; those that agree are signed.

Refuses: to sign a row that does not agree: it stays without a seal, is named, and counts for nothing.
Keeps: all of it is one transaction, done once in a home's life: when it is committed the public key is published
(`seals.publish`), and from then on nothing is ever signed because the ledger says so. Killed before, it is done again.
Whoever calls it has checked the ledger itself, and nobody else works on the home meanwhile.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from broker.crashpoints import mark
from broker.ports import KeyKind, KeyStore
from broker.rows.agreeing import agrees, told
from broker.rows.layouts import LAYOUTS, covered, written_key
from broker.rows.seals import NAME, RowSigner, RowVerifier, make_private, publish
from broker.store.engine import Store
from consent.tables import metadata
from schemas.errors import Refused
from schemas.facts import Facts


@dataclass(frozen=True, slots=True)
class Adopted:
    """How many rows were signed, and why each of the others was not; a fault's details name its `table` and `row`."""

    signed: int
    unsigned: tuple[Refused, ...]


NOTHING: Final = Adopted(0, ())
"""Of a home whose rows were signed before."""


def pending(keys: KeyStore) -> bool:
    """Whether a home's rows were never adopted, or a crash came between."""
    return NAME not in keys.names(KeyKind.ROWS_PUBLIC)


async def adopt(store: Store, keys: KeyStore, entries: Iterable[Facts]) -> Adopted:
    """Sign what agrees with these entries, all of the ledger's in their order. Nothing to do where it was done.

    Raises Unavailable; Refused, Corrupt `keys.*`.
    """
    if not pending(keys):
        return Adopted(0, ())
    signer = RowSigner(make_private(keys), RowVerifier(None))
    mark("rows.key-made")
    # Crash here: a key that nothing is signed with yet; the next call uses it.
    said = told(entries, keys.names(KeyKind.CONSENT_EPOCH))
    signed, unsigned = 0, []
    async with store.begin(patient=True) as tx:
        for name in LAYOUTS:
            table = metadata.tables[name]
            for row in (await tx.execute(select(table))).all():
                if name == "webhooks" and row.status == "ended":
                    continue  # it has no seal once it is over
                if agrees(name, row._mapping, said):
                    await signer.renew(tx, table, row, covered(name, row._mapping))
                    signed += 1
                else:
                    unsigned.append(Refused("rows.not-told", table=name, row=written_key(name, row._mapping)))
        mark("rows.adopted")
        # Crash here: the transaction is gone; the next call compares and signs again.
    mark("rows.committed")
    # Crash here: they are signed, and no row counts yet; the next call signs them again, and publishes.
    publish(keys)
    return Adopted(signed, tuple(unsigned))
