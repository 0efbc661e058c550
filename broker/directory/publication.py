"""Publication: the directory as it was shown, one signed note after the other, each naming the document before it; and
beside it, version by version, the law: the rules and the purposes.

Refuses: nothing; whoever asks gets the newest.
Keeps: every document that anybody was shown under a signature is a link of one chain, in every process: a broker that
shows two readers two directories cannot bring them together again. A version that nobody asked for has no link, but
where the ledger is a process of its own: it signs each, for those that answer have no key.
Source: `schemas/directory_note.py`; docs/adr/0025-the-directory-is-a-chain.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, select, update

from broker.directory import reading
from broker.directory.lookup import Lookup
from broker.directory.registrar import LOCK
from broker.ledger.sequencer import Ledger
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.tables import directory_notes
from schemas import law as law_note
from schemas.directory_note import FIRST, digest_of, text_of
from schemas.errors import Unavailable

MOST: Final = 200
"""Notes in one answer."""


@dataclass(frozen=True, slots=True)
class Published:
    """One document: the exact JSON of the directory or of the law, and the note that was signed for it."""

    content: str
    note: str


class Publication:
    """The only writer of the notes: of the directory, and of the law beside it, which has the same versions."""

    def __init__(self, *, store: Store, lookup: Lookup, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._lookup = lookup
        self._ledger = ledger
        self._clock = clock

    async def newest(self) -> Published:
        """The directory of now with its note, which is made where it changed since anybody asked.

        Raises Unavailable `directory.not-signed-yet` in a process without the key, until one that has it has signed.
        """
        return await self._newest(law=False)

    async def newest_law(self) -> Published:
        """The rules by law and the purposes of now with their note (`schemas.law`). Raises as `newest`."""
        return await self._newest(law=True)

    async def since(self, version: int, limit: int = MOST, *, law: bool = False) -> Sequence[tuple[int, str]]:
        """The version and note of each link after this version, the oldest first; `law`: of the other chain."""
        table = directory_notes.c
        signed = table.law_note if law else table.note
        later = select(table.version, signed.label("note")).where(table.version > version, signed.is_not(None))
        async with self._store.read() as tx:
            rows = await tx.execute(later.order_by(table.version).limit(limit))
            return [(row.version, row.note) for row in rows]

    async def _newest(self, *, law: bool) -> Published:
        async with self._store.read() as tx:
            found = await self._found(tx, law=law)
        if found is not None:
            return found
        if not self._ledger.attests:
            raise Unavailable("directory.not-signed-yet")
        async with self._store.begin() as tx:
            await tx.lock_exclusive([LOCK])  # nobody changes it meanwhile, and another who asks finds this note
            there = await self._found(tx, law=law)
            if there is None:
                await self._sign(tx)
                there = await self._found(tx, law=law)
        if there is None:
            raise Unavailable("directory.not-signed-yet")
        return there

    async def _found(self, tx: Transaction, *, law: bool) -> Published | None:
        mine = directory_notes.c.version == await reading.version(tx)
        signed = directory_notes.c.law_note if law else directory_notes.c.note
        note = (await tx.execute(select(signed).where(mine))).scalar_one_or_none()
        if note is None:
            return None
        shown = (await self._lookup.law(tx)) if law else (await self._lookup.directory(tx))
        return Published(shown.to_json(), note)

    async def _sign(self, tx: Transaction) -> None:
        """Both notes of this version; only the law's where the directory's is there, from before there was one."""
        version, origin = await reading.version(tx), self._ledger.attestation_key.name
        content, law = (await self._lookup.directory(tx)).to_json(), (await self._lookup.law(tx)).to_json()
        table = directory_notes.c
        text = text_of(origin, version, content, await self._before(tx, table.digest, version))
        law_text = law_note.text_of(origin, version, law, await self._before(tx, table.law_digest, version))
        of_law = {"law_digest": digest_of(law), "law_note": self._attested(law_text)}
        row = {"version": version, "digest": digest_of(content), "note": self._attested(text), "at": self._clock()}
        if not await tx.insert_new(directory_notes, row | of_law):
            await tx.execute(update(directory_notes).where(table.version == version).values(of_law))
        mark("publication.noted")
        # Crash here: nobody was shown this document; the next who asks has it signed.

    async def _before(self, tx: Transaction, digest: Column[bytes], version: int) -> bytes:
        """The digest of the newest document of this chain before the version."""
        earlier = (directory_notes.c.version < version, digest.is_not(None))
        newest = select(digest).where(*earlier).order_by(directory_notes.c.version.desc()).limit(1)
        previous = (await tx.execute(newest)).scalar_one_or_none()
        return FIRST if previous is None else bytes(previous)

    def _attested(self, text: str) -> str:
        return self._ledger.attest(text).encode().decode()
