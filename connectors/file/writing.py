"""Writing: the rows of a run into numbered files, each row once for ever, whatever crashes.

    write  a row is judged and waits in the file of this run; `rows` of them, and the next file begins
    flush  1  each file, hidden, durable at its place
           2  the journal: batch, name, SHA-256 and every delivery, in one transaction for each file
           3  the final name, then the marker, where one is wanted
           4  the journal: published

A crash before 2 leaves a hidden file that nobody knows: it is removed, and the deliveries come again. A crash after 2
is finished by steps 3 and 4 of the next open or flush: they are the same code, and each may be repeated. Where neither
name is left at step 3, the rename had happened and the agency has taken the file.

Refuses: what the layout refuses, row by row.
Keeps: a file never grows, is never half visible, and no row is ever written twice.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from connectors.contract import Applied, Ground, Outcome, Partly, Reject, Retry, Row
from connectors.file.answering import Answers
from connectors.file.handed import Handed
from connectors.file.layout import About, Layout, respelled
from connectors.file.place import Place, to_its_end
from connectors.file.settings import FormatSettings
from connectors.journal import Batch, Entry, Journal
from schemas.delivery import VerifiedDelivery
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId

LOG: Final = logging.getLogger("unefois.file")


@dataclass(slots=True)
class _File:
    """One file on its way."""

    about: About
    name: str
    entries: list[Entry] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)


class FileWriter:
    """The six methods of a connector, but `open`; over one place. One process has the journal."""

    def __init__(
        self,
        settings: FormatSettings,
        targets: Sequence[str],
        ground: Ground,
        *,
        layout: Layout,
        journal: Journal,
        place: Place,
    ) -> None:
        self._format = settings
        self._targets = tuple(targets)
        self._ground = ground
        self._layout = layout
        self._journal = journal
        self._place = place
        self._answers = Answers(Handed(journal.connection), place, settings, ground)
        self._files: list[_File] = []
        self._entries: dict[DeliveryId, Entry] = {}
        self._respelled = 0
        self._turn = asyncio.Lock()

    @classmethod
    def expects(cls, settings: Mapping[str, Any]) -> bool:
        """Where acknowledgement files are agreed on."""
        return settings.get("acknowledgement") is not None

    async def find(self, delivery_id: DeliveryId) -> Applied | Partly | None:
        """From the journal: the file and line, even when the file is gone; where answers are waited for, the answer."""
        reference = await to_its_end(self._journal.published, delivery_id)
        if reference is None:
            return None
        line = await to_its_end(self._answers.handed.of, delivery_id)
        if line is None:
            return Applied(reference)
        return Applied(line.outcome.reference or reference) if isinstance(line.outcome, Applied) else None

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """As `write_rows`, of one row."""
        return await self.write_rows(delivery, (row,))

    async def write_rows(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str | None:
        """Take the rows into this run's file, one below the other. Returns `<file>:<line>` of the first.

        Raises Reject with the column as pointer, or "file.too-many-rows"; where answers are waited for, Otherwise until
        the day when it is late, and then what the answer says.
        """
        async with self._turn:
            # One look by a key, in a file on this disk: a thread for each would cost more than all the rest.
            known = self._journal.entry(delivery.delivery_id)
            said = None if known is None else await self._answers.said(delivery.delivery_id, known)
            if said is not None:
                return said
            reference = await self._taken(delivery, rows)
            if self._format.acknowledgement is None:
                return reference
            raise self._answers.awaiting()

    async def _taken(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str:
        taken = self._entries.get(delivery.delivery_id)
        if taken is not None:
            return taken.reference
        lines = [self._layout.line(self._targets, row) for row in rows]
        most = self._format.rows
        if most is not None and len(lines) > most:
            raise Reject("file.too-many-rows", rows=len(lines), limit=most)
        if not self._files or (most is not None and len(self._files[-1].lines) + len(lines) > most):
            self._files.append(await self._next())
        file = self._files[-1]
        entry = Entry.of(delivery, f"{file.name}:{len(file.lines) + self._layout.first}")
        file.entries.append(entry)
        file.lines += lines
        self._entries[delivery.delivery_id] = entry
        if self._format.lacking == "transliterate":
            self._respelled += sum(respelled(row, self._format.encoding) for row in rows)
        return entry.reference

    async def flush(self) -> None:
        """Publish the files of this run, if there are rows. Raises Retry; then every delivery comes again."""
        async with self._turn:
            await self._flush()

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """From the journal and from the rows of this run."""
        for entry in self._entries.values():
            if (entry.source, entry.declaration_id) == (source, declaration_id):
                return entry.manifest_digest
        return await to_its_end(self._journal.seen, source, declaration_id)

    async def close(self) -> None:
        """Let go of place and journal; rows that were not flushed are dropped and come again."""
        self._drop()
        await self._place.close()
        await asyncio.to_thread(self._journal.close)

    async def answers(self) -> Mapping[DeliveryId, Outcome]:
        """What the agency's program has written back. Raises Retry."""
        if self._format.acknowledgement is None:
            return {}
        try:
            async with self._turn:
                return await self._answers.take()
        except (OSError, sqlite3.Error) as error:
            number = getattr(error, "errno", None) or 0
        raise Retry("file.read", errno=number)

    async def heard(self, ids: Sequence[DeliveryId]) -> None:
        """Told no more; one that comes again is written anew."""
        await to_its_end(self._answers.handed.heard, ids)

    async def recover(self) -> None:
        """Finish what an earlier run left unfinished. Raises Retry, Corrupt."""
        known = await to_its_end(self._journal.unpublished)
        await self._place.forget([batch.name for batch in known])
        await self._flush()

    async def _next(self) -> _File:
        """The next number whose name is free; names that the agency's own files use are skipped."""
        day = datetime.fromtimestamp(self._ground.clock() / 1000, UTC).strftime("%Y%m%d")
        number = await to_its_end(self._journal.next_number)
        number = max(number, self._files[-1].about.number + 1 if self._files else 0)
        while await self._place.is_taken(name_of(self._format.name, number, day)):
            number += 1
        return _File(About(number, day), name_of(self._format.name, number, day))

    def _drop(self) -> list[_File]:
        files, self._files, self._entries = self._files, [], {}
        return files

    async def _flush(self) -> None:
        files, lacked, self._respelled = self._drop(), self._respelled, 0
        try:
            for file in files:
                content = self._layout.whole(self._targets, file.lines, file.about)
                await self._place.hide(file.name, content)
                # Crash here: nobody knows the hidden file; `recover` removes it and the deliveries come again.
                batch = Batch(file.about.number, file.name, sha256(content).digest())
                until = None if self._format.acknowledgement is None else self._answers.until
                await to_its_end(self._journal.record, batch, file.entries, self._ground.clock(), until)
                # Crash here: the journal names the file, and the next `_publish` shows it.
            await self._publish()
        except (OSError, sqlite3.Error) as error:
            number = getattr(error, "errno", None) or 0
        else:
            if lacked:  # how many, and never which: the row is the citizen's
                LOG.warning("file.respelled characters=%d files=%d", lacked, len(files))
            return
        raise Retry("file.write", errno=number)

    async def _publish(self) -> None:
        """Show every recorded file: the end of a flush, and the recovery after a crash."""
        for batch in await to_its_end(self._journal.unpublished):
            await self._place.show(batch)
            # Crash here: the file is there or taken already, and the next `_publish` only notes it.
            await to_its_end(self._journal.publish, batch)


def name_of(name: str, number: int, day: str) -> str:
    """The name of a file: `unefois-20261102-000001.csv`."""
    return name.replace("{number}", f"{number:06d}").replace("{date}", day)
