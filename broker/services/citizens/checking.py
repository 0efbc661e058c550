"""Checking: what a receipt is checked with, by whoever holds it: the ledger's key, and the directory that it signs.

Refuses: nothing; both are public.
Keeps: nothing of a citizen is asked for, so the page that checks may be opened by anybody, and knows nobody.
"""

from dataclasses import dataclass

from broker.services import parties
from broker.setup.wiring import Home


@dataclass(frozen=True, slots=True)
class Means:
    """The ledger's verifier key; the directory's exact JSON, and the note by which the ledger's key signs it."""

    key: str
    directory: str
    note: str


async def means(home: Home) -> Means:
    """As of now. Raises Unavailable."""
    newest = await parties.directory(home)
    return Means(home.ledger.verifier_key.text, newest.content, newest.note)
