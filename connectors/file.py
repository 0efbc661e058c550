"""The file connector: files (CSV, JSON lines, fixed width) in a folder from which an agency's own program takes them.

One file for each run, numbered without gaps, complete from the moment its name is visible; a program may take it, move
it or delete it at any time. A delivery is written in one file for ever: the journal remembers it when the file is gone.

    flush  1  the file under a hidden temporary name, on the disk with its folder entry
           2  the journal: batch, name, SHA-256 and every delivery, in one transaction
           3  the final name, by rename; the folder on the disk; then the marker, where one is wanted
           4  the journal: published

A crash before 2 leaves a temporary file that nobody knows: it is deleted, and the deliveries come again. A crash after
2 is finished by step 3 and 4 of the next open or flush: they are the same code, and each may be repeated. Where neither
name is left at step 3, the rename had happened and the agency has taken the file.

Refuses: a second process on the same folder, to replace a file of the same name, and what `lines` refuses.
Keeps: a file never grows, is never half visible, and no row is ever written twice.
"""

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, ParamSpec, Self, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from connectors.contract import Applied, Ground, Retry, Row, Settings, checked
from connectors.csv_line import Encoding, Style
from connectors.description import Case, Description
from connectors.journal import Batch, Entry, Journal
from connectors.lines import Format, Layout
from schemas.delivery import VerifiedDelivery
from schemas.errors import Corrupt, Fault, Refused
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId

P = ParamSpec("P")
T = TypeVar("T")


def _name_pattern(name: str) -> str:
    if name.count("{number}") != 1 or name.count("{date}") > 1:
        raise ValueError("a name has {number} once, and {date} at most once")
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name.replace("{number}", "1").replace("{date}", "1")) is None:
        raise ValueError("letters, digits, dots, dashes and underscores only")
    return name


class FileSettings(Settings):
    """Settings of a `file` connector."""

    folder: Path
    """Where the files go; it must exist, on one file system with itself (no network drive without rename)."""
    name: Annotated[str, AfterValidator(_name_pattern)] = "unefois-{date}-{number}.csv"
    """`{number}` is the sequence, six digits; `{date}` the day in UTC, yyyymmdd."""
    format: Format = "csv"
    """`csv`; `jsonl`, a JSON object on each line; `fixed`, columns of a fixed width. `name` has the ending."""
    widths: Mapping[str, int] = Field(default_factory=dict)
    """Characters of each column, where the format is `fixed`: `{NOM: 80, SEXE: 1}`, in the order of the mapping."""
    encoding: Encoding = "utf-8"
    lacking: Literal["refuse", "transliterate"] = "refuse"
    """What happens to a character that the encoding lacks: œ, € and ’ in Latin-1."""
    delimiter: Literal[";", ",", "\t", "|"] = ";"
    line_end: Literal["crlf", "lf"] = "crlf"
    quote: Literal["needed", "all"] = "needed"
    header: bool = True
    decimal: Literal["point", "comma"] = "point"
    """How a decimal number is written: `12.50` or `12,50`. Texts stay as they are."""
    marker: Annotated[str, StringConstraints(pattern=r"^\.[a-z]{1,8}$")] | None = None
    """The ending of an empty file that is made last, beside each file: `.ok`. Its taker removes it after the file."""
    guard: bool = True
    """An apostrophe before cells that a spreadsheet would take for a formula."""
    permissions: Annotated[str, StringConstraints(pattern=r"^0[46][0-7]{2}$")] = "0640"
    journal: Path | None = None
    """Where the journal is; by default hidden in the folder. Move it where the agency's program clears the folder."""


class FileConnector:
    """One folder, one kind of file. Made by `open`."""

    about: ClassVar = Description(
        settings=FileSettings,
        guarantee={
            "en": "A delivery is a line of one file for ever, and a file is whole from the moment its name is visible.",
            "fr": "Une livraison est une ligne d'un seul fichier, à jamais ; il est entier dès qu'il est visible.",
        },
        other_side={
            "en": "Who takes the files takes each name once, may then move or delete it, and leaves the journal.",
            "fr": "Qui prend les fichiers prend chaque nom une fois, peut ensuite l'effacer, et laisse le journal.",
        },
        spared={
            Case.SLOW_PEER: {
                "en": "A disk that hangs cannot be broken off; the call ends when the disk answers.",
                "fr": "Un disque figé ne peut être interrompu ; l'appel finit quand il répond.",
            },
            Case.TOO_MANY: {
                "en": "A folder does not ask to come back later.",
                "fr": "Un dossier ne demande pas de revenir.",
            },
            Case.WRONG_CREDENTIALS: {
                "en": "A folder has no password; one that may not be written is refused at the start.",
                "fr": "Un dossier n'a pas de mot de passe ; sans droit d'écriture, il est refusé dès l'ouverture.",
            },
            Case.TRUNCATED_ANSWER: {"en": "A folder answers nothing.", "fr": "Un dossier ne répond rien."},
            Case.UNKNOWN_PERSON: {
                "en": "Who takes the files finds the person.",
                "fr": "C'est à qui prend les fichiers de trouver la personne.",
            },
            Case.SEVERAL_PERSONS: {
                "en": "Who takes the files finds the person.",
                "fr": "C'est à qui prend les fichiers de trouver la personne.",
            },
        },
    )

    def __init__(self, settings: FileSettings, targets: Sequence[str], ground: Ground, journal: Journal) -> None:
        self._settings = settings
        self._targets = tuple(targets)
        self._ground = ground
        self._journal = journal
        self._layout = _layout(settings)
        self._header = self._layout.header(targets) if settings.header else b""
        self._batch: tuple[int, str] | None = None
        self._rows: dict[DeliveryId, tuple[Entry, bytes]] = {}
        self._lines = 0
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Open the folder and its journal, and finish what an earlier run left unfinished.

        Raises Refused("connector.settings", "file.folder"), Unavailable("journal.in-use"), Retry("file.write").
        """
        chosen = checked(FileSettings, settings)
        for wrong in _layout(chosen).wrong(targets):
            raise wrong
        if not await asyncio.to_thread(_is_writable, chosen.folder):
            raise Refused("file.folder", "/folder")
        path = chosen.journal or chosen.folder / ".unefois-journal.sqlite"
        journal = await asyncio.to_thread(Journal.open, path)
        connector = cls(chosen, targets, ground, journal)
        try:
            await asyncio.to_thread(connector._recover)
        except BaseException:
            await connector.close()  # whatever went wrong, the lock must not outlive us
            raise
        return connector

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Looks at the folders; writes nothing, and takes no lock."""
        try:
            chosen = checked(FileSettings, settings)
        except Refused as fault:
            return (fault,)
        folders = {"/folder": chosen.folder} | ({} if chosen.journal is None else {"/journal": chosen.journal.parent})
        usable = {place: await asyncio.to_thread(_is_writable, folder) for place, folder in folders.items()}
        away = (Refused("file.folder", place) for place, good in usable.items() if not good)
        return (*away, *_layout(chosen).wrong(targets))

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        """From the journal: the file and line, even when the file is gone."""
        reference = await asyncio.to_thread(self._journal.published, delivery_id)
        return None if reference is None else Applied(reference)

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """Take the row into this run's file. Returns `<file>:<line>`. Raises Reject with the column as pointer."""
        return await self.write_rows(delivery, (row,))

    async def write_rows(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str | None:
        """As `write`: all of them in the same file, one below the other. The reference is the first line's."""
        return await self._alone(self._take, delivery, rows)

    async def flush(self) -> None:
        """Publish this run's file, if it has a row. Raises Retry("file.write"); then every delivery comes again."""
        await self._alone(self._flush)

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """From the journal and from the rows of this run."""
        for entry, _ in self._rows.values():
            if (entry.source, entry.declaration_id) == (source, declaration_id):
                return entry.manifest_digest
        return await asyncio.to_thread(self._journal.seen, source, declaration_id)

    async def close(self) -> None:
        """Let go of the folder; rows that were not flushed are dropped and come again."""
        self._rows.clear()
        await asyncio.to_thread(self._journal.close)

    async def _alone(self, work: Callable[P, T], *told: P.args, **named: P.kwargs) -> T:
        """One after the other, in a thread. A thread cannot be broken off: who stops waiting waits for its end."""
        async with self._turn:
            running = asyncio.ensure_future(asyncio.to_thread(work, *told, **named))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                raise

    def _take(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str:
        known = self._journal.entry(delivery.delivery_id)
        if known is not None:
            return known
        taken = self._rows.get(delivery.delivery_id)
        if taken is not None:
            return taken[0].reference
        lines = [self._layout.line(self._targets, row) for row in rows]
        if self._batch is None:
            self._batch = self._next()
        position = self._lines + (2 if self._header else 1)
        entry = Entry.of(delivery, f"{self._batch[1]}:{position}")
        self._rows[delivery.delivery_id] = (entry, b"".join(lines))
        self._lines += len(lines)
        return entry.reference

    def _next(self) -> tuple[int, str]:
        """The next number whose name is free; names that the agency's own files use are skipped."""
        day = datetime.fromtimestamp(self._ground.clock() / 1000, UTC).strftime("%Y%m%d")
        number = self._journal.next_number()
        while any(path.exists() for path in self._places(self._name(number, day))):
            number += 1
        return number, self._name(number, day)

    def _name(self, number: int, day: str) -> str:
        return self._settings.name.replace("{number}", f"{number:06d}").replace("{date}", day)

    def _flush(self) -> None:
        rows, batch, self._rows, self._batch = list(self._rows.values()), self._batch, {}, None
        self._lines = 0
        try:
            if batch is not None:
                content = self._layout.style.mark + self._header + b"".join(line for _, line in rows)
                self._write_temporary(batch[1], content)
                # Crash here: nobody knows the temporary file; `_recover` deletes it and the deliveries come again.
                found = Batch(*batch, sha256(content).digest())
                self._journal.record(found, (entry for entry, _ in rows), self._ground.clock())
                # Crash here: the journal names the file, and the next `_publish` gives it its name.
            self._publish()
        except (OSError, sqlite3.Error) as error:
            number = getattr(error, "errno", None) or 0
        else:
            return
        raise Retry("file.write", errno=number)

    def _write_temporary(self, name: str, content: bytes) -> None:
        path = self._temporary(name)
        path.unlink(missing_ok=True)
        mode = int(self._settings.permissions, 8)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        self._sync_folder()

    def _publish(self) -> None:
        """Give every recorded batch its name: the end of a flush, and the recovery after a crash."""
        for batch in self._journal.unpublished():
            temporary, final = self._temporary(batch.name), self._settings.folder / batch.name
            if temporary.exists():
                if sha256(temporary.read_bytes()).digest() != batch.digest:
                    raise Corrupt("file.temporary-changed", number=batch.number)
                if final.exists():
                    raise Retry("file.name-taken", number=batch.number)
                temporary.rename(final)
            # Crash here: the name is there or taken already, and the next `_publish` only notes it.
            self._sync_folder()
            self._mark(final)
            self._journal.publish(batch)

    def _mark(self, final: Path) -> None:
        """The marker of a file that is there. One that was taken already had its marker, or needs none any more.

        Crash after it: it is there, and the next `_publish` makes none.
        """
        *_, marker = self._places(final.name)
        if marker != final and final.exists():
            with suppress(FileExistsError):
                mode = int(self._settings.permissions, 8)
                os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
                marker.chmod(mode)  # whatever the umask is
            self._sync_folder()

    def _places(self, name: str) -> tuple[Path, ...]:
        """The file of this name, and its marker where there is one."""
        final, ending = self._settings.folder / name, self._settings.marker
        return (final,) if ending is None else (final, final.with_name(name + ending))

    def _recover(self) -> None:
        known = {self._temporary(batch.name) for batch in self._journal.unpublished()}
        for path in self._settings.folder.glob(".*.tmp"):
            if path not in known and self._is_ours(path.name):
                path.unlink(missing_ok=True)
        self._flush()

    def _is_ours(self, name: str) -> bool:
        pattern = re.escape(f".{self._settings.name}.tmp")
        pattern = pattern.replace(r"\{number\}", "[0-9]{6,}").replace(r"\{date\}", "[0-9]{8}")
        return re.fullmatch(pattern, name) is not None

    def _temporary(self, name: str) -> Path:
        return self._settings.folder / f".{name}.tmp"

    def _sync_folder(self) -> None:
        descriptor = os.open(self._settings.folder, os.O_RDONLY)
        try:
            # Some network file systems know no fsync of a folder; their rename is as durable as they make it.
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _layout(settings: FileSettings) -> Layout:
    style = Style(
        encoding=settings.encoding,
        lacking=settings.lacking,
        delimiter=settings.delimiter,
        line_end="\r\n" if settings.line_end == "crlf" else "\n",
        quote=settings.quote,
        guard=settings.guard,
    )
    return Layout(settings.format, style, settings.decimal, settings.widths)


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
