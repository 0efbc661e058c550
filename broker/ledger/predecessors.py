"""Predecessors: how the ledgers ended that this home's follows: the last checkpoint of each, as it was signed.

    meta   followed.<n>       a signed note; the ledger with the highest number ended last
           first-checkpoint   of the ledger of the first format, in a home that has no other

Refuses: nothing; whoever reads them verifies them against the ledger's own first entries (`schemas.following`).
Keeps: the newest is the first. What is told here is a copy: the key store has the notes that count
(`broker.ledger.origins`).
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from broker.ledger.first_ledger import NOTE
from broker.store.engine import Transaction
from broker.store.tables import ledger_entries, meta
from schemas import following
from schemas.following import Predecessor
from schemas.note import VerifierKey

FOLLOWED: Final = "followed."


def notes_of(conn: Connection) -> list[str]:
    """The notes, the newest first; empty for a ledger that follows none."""
    rows = conn.execute(select(meta).where(meta.c.name.startswith(FOLLOWED, autoescape=True) | (meta.c.name == NOTE)))
    told = {row.name: row.value for row in rows}
    first = told.pop(NOTE, None)
    numbers = {int(number): note for name, note in told.items() if (number := name.removeprefix(FOLLOWED)).isdecimal()}
    if numbers:
        return [numbers[number] for number in sorted(numbers, reverse=True)]
    return [] if first is None else [first]


def file_of(conn: Connection, path: str) -> bytes:
    """The file `follows/<n>`. Raises LookupError where there is none."""
    for index, note in enumerate(notes_of(conn)):
        if path == following.path(index):
            return note.encode()
    raise LookupError(path)


def chain_of(conn: Connection, key: VerifierKey) -> list[Predecessor]:
    """The ledgers that this one says it follows, the newest first, each with its signed end. `key`: the ledger's.

    Raises Refused `following.*`, `checkpoint.*`, `note.*`.
    """
    place = ledger_entries.c.position
    rows = conn.execute(select(ledger_entries.c.entry).where(place >= 0, place < following.MOST).order_by(place))
    named = following.named_in([bytes(one) for one in rows.scalars()])
    return following.read_all(named, key, lambda path: file_of(conn, path))


async def write(tx: Transaction, notes: Mapping[int, str]) -> None:
    """Tell these, by number, and no others. Crash here: the caller's transaction is gone."""
    await tx.execute(delete(meta).where(meta.c.name.startswith(FOLLOWED, autoescape=True)))
    for number, note in notes.items():
        await tx.execute(insert(meta).values(name=f"{FOLLOWED}{number}", value=note))
