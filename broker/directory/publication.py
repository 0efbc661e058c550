"""Publication: the directory as it was shown, one signed note after the other, each naming the document before it.

Refuses: nothing; whoever asks gets the newest.
Keeps: every document that anybody was shown under a signature is a link of one chain, in every process: a broker that
shows two readers two directories cannot bring them together again. A version that nobody asked for has no link, but
where the ledger is a process of its own: it signs each, for those that answer have no key.
Source: `schemas/directory_note.py`; docs/adr/0025-the-directory-is-a-chain.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from broker.directory import reading
from broker.directory.lookup import Lookup
from broker.directory.registrar import LOCK
from broker.ledger.sequencer import Ledger
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.tables import directory_notes
from schemas.directory_note import FIRST, digest_of, text_of
from schemas.errors import Unavailable

MOST: Final = 200
"""Notes in one answer."""


@dataclass(frozen=True, slots=True)
class Published:
    """One document: the directory's exact JSON, and the note that was signed for it."""

    content: str
    note: str


class Publication:
    """The only writer of the notes."""

    def __init__(self, *, store: Store, lookup: Lookup, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._lookup = lookup
        self._ledger = ledger
        self._clock = clock

    async def newest(self) -> Published:
        """The directory of now with its note, which is made where it changed since anybody asked.

        Raises Unavailable `directory.not-signed-yet` in a process without the key, until one that has it has signed.
        """
        async with self._store.read() as tx:
            found = await self._found(tx)
        if found is not None:
            return found
        if not self._ledger.attests:
            raise Unavailable("directory.not-signed-yet")
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])  # nobody changes it meanwhile, and another who asks finds this note
            return await self._found(tx) or await self._sign(tx)

    async def since(self, version: int, limit: int = MOST) -> Sequence[tuple[int, str]]:
        """The version and note of each link after this version, the oldest first."""
        later = select(directory_notes.c.version, directory_notes.c.note).where(directory_notes.c.version > version)
        async with self._store.read() as tx:
            rows = await tx.execute(later.order_by(directory_notes.c.version).limit(limit))
            return [(row.version, row.note) for row in rows]

    async def _found(self, tx: Transaction) -> Published | None:
        mine = directory_notes.c.version == await reading.version(tx)
        note = (await tx.execute(select(directory_notes.c.note).where(mine))).scalar_one_or_none()
        return None if note is None else Published((await self._lookup.directory(tx)).to_json(), note)

    async def _sign(self, tx: Transaction) -> Published:
        version, content = await reading.version(tx), (await self._lookup.directory(tx)).to_json()
        newest = select(directory_notes.c.digest).order_by(directory_notes.c.version.desc()).limit(1)
        previous = (await tx.execute(newest)).scalar_one_or_none()
        text = text_of(self._ledger.attestation_key.name, version, content, FIRST if previous is None else previous)
        note = self._ledger.attest(text).encode().decode()
        row = {"version": version, "digest": digest_of(content), "note": note, "at": self._clock()}
        await tx.insert_new(directory_notes, row)
        mark("publication.noted")
        # Crash here: nobody was shown this document; the next who asks has it signed.
        return Published(content, note)
