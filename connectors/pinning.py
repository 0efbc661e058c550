"""Pinning: an agency's memory of the directory: whose ledger it is, which document it believed last, what follows.

    pin = Pin(Path("directory.pin"), ledger)     # the ledger's key, from its operator; without: trust on first use
    directory = broker.pinned_directory(pin)     # and `broker.flow.deliveries(..., pin=pin)` keeps up by itself

    first use   `ledger` given     the directory is believed for that key's signature
                none               the key is asked of the broker, once, and kept: look at it
    from then   one note after the other, each naming the document before it; the newest document last

Refuses: whatever `schemas.directory_note` refuses; another ledger's key than the kept one; a broker that does not know
the pinned document any more.
Keeps: the file is whole or not there, and durable before the directory is used: after a crash the agency believes
nothing older than before it. Where nothing changed, one small answer says so, and it names what is pinned.

Not proven: that a new key is its owner's. The broker's operator lists keys; the chain makes what was listed
undeniable, in one history for all readers. Nor that there is nothing newer: a broker may be silent. Who wants somebody
to look at each key first gives `keys` (`connectors.pins`).
Source: docs/adr/0025-the-directory-is-a-chain.md; docs/verify.md.
"""

import os
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from connectors import calls
from connectors.calls import Call
from connectors.pins import Pins
from schemas import directory_note, law
from schemas.directory import Directory
from schemas.directory_note import Pinned
from schemas.errors import Refused, Unavailable
from schemas.law import Law
from schemas.note import Note, VerifierKey


class Pin:
    """The directory of one broker, by the key of its ledger, remembered in a file; None: in memory, for tests.

    `ledger`: that key's text, as the operator gives it. `keys`: which signing keys are believed; None for all that the
    directory lists. Its methods may be called concurrently. Raises Refused `note.*`, `signing.*` for what is no key.
    """

    def __init__(self, file: Path | None, ledger: str = "", keys: Pins | None = None) -> None:
        self._file = file
        self._ledger = VerifierKey.parse(ledger.strip()) if ledger else None
        self._keys = keys
        self._in_memory = ""
        self._taken: tuple[Pinned, Directory] | None = None
        self._law: Pinned | None = None
        self._lock = Lock()

    @property
    def ledger(self) -> VerifierKey | None:
        """Whose signature is believed; None before first use, where none was given. Raises as `take` does."""
        return self._kept()[0]

    def trust(self, text: str) -> None:
        """First use: believe this key of the ledger. It is kept with the first directory.

        Raises Refused `directory.other-ledger` where another one is known, `note.*`, `signing.*`.
        """
        told, known = VerifierKey.parse(text.strip()), self.ledger
        if known not in (None, told):
            raise Refused("directory.other-ledger")
        self._ledger = told

    @property
    def version(self) -> int | None:
        """Of the directory that was believed last; None before the first. Raises as `take` does."""
        pinned = self._kept()[1]
        return None if pinned is None else pinned.version

    @property
    def current(self) -> Directory | None:
        """The directory itself, if this process has it and nothing newer was heard of."""
        pinned = self._kept()[1]
        return self._taken[1] if self._taken is not None and self._taken[0] == pinned else None

    @property
    def directory(self) -> Directory:
        """`current`, after it was asked for. Raises Unavailable where another process was ahead of this one."""
        found = self.current
        if found is None:
            raise Unavailable("directory.cannot-pin", error="changed")
        return found

    def take(self, content: str, signed: str) -> Directory:
        """Believe a directory and its note, as `GET /v1/directory:signed` gives them.

        Raises Refused: `directory.*`, `note.*`, `pins.*`. Raises Unavailable `directory.cannot-pin`.
        """
        with self._lock:
            log, pinned = self._kept()
            if log is None:
                raise Refused("pins.no-ledger")
            directory, now = directory_note.verify(content, Note.parse(signed.encode()), log, pinned)
            believed = directory if self._keys is None else self._keys.trusted(directory)
            if now != pinned:
                self._keep(log, now)
            self._taken = now, believed
            return believed

    def follow(self, notes: Iterable[str]) -> None:
        """Take one link after the other, as `GET /v1/directory/notes` gives them, each from the one before.

        What was followed stays: the next directory has to go on from there. Raises Refused: `directory.*`, `note.*`.
        """
        with self._lock:
            log, pinned = self._kept()
            if log is None or pinned is None:
                return
            for signed in notes:
                now = directory_note.follow(Note.parse(signed.encode()), log, pinned)
                if now != pinned:
                    self._keep(log, now)
                pinned = now

    def take_law(self, content: str, signed: str) -> Law:
        """Believe the rules by law and the purposes, as `GET /v1/law:signed` gives them: for the same key's signature,
        and not of a version before that of the pinned directory, nor before one that this pin has seen.

        Raises Refused: `directory.*`, `law.*`, `note.*`, `pins.no-ledger`.
        """
        with self._lock:
            log, pinned = self._kept()
            if log is None:
                raise Refused("pins.no-ledger")
            found, now = law.verify(content, Note.parse(signed.encode()), log, None)
            for seen in (pinned, self._law):
                if seen is not None and now.version < seen.version:
                    raise Refused("directory.rolled-back", seen=seen.version, version=now.version)
            if self._law is not None and now.version == self._law.version and now.digest != self._law.digest:
                raise Refused("directory.forked", version=now.version)
            self._law = now
            return found

    def doubt(self) -> None:
        """The broker does not know the pinned document: only the newest one, whole, can say what it means."""
        self._taken = None

    def _kept(self) -> tuple[VerifierKey | None, Pinned | None]:
        text = self._text()
        if not text:
            return self._ledger, None
        key, _, rest = text.partition("\n")
        try:
            log = VerifierKey.parse(key)
        except Refused:
            raise Refused("directory.pin") from None
        if self._ledger not in (None, log):
            raise Refused("directory.other-ledger")
        return log, Pinned.parse(rest)

    def _text(self) -> str:
        if self._file is None:
            return self._in_memory
        try:
            text = self._file.read_text("ascii", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Unavailable("directory.cannot-pin", error=type(error).__name__) from None
        if not text:
            raise Refused("directory.pin")  # what was remembered is lost: that is not a first use
        return text

    def _keep(self, log: VerifierKey, now: Pinned) -> None:
        text = f"{log.text}\n{now.encode()}"
        if self._file is None:
            self._in_memory = text
            return
        unfinished = self._file.with_name(f"{self._file.name}.unfinished")
        try:
            with unfinished.open("w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # Crash here: the pin before is kept; the same directory is taken again.
            unfinished.replace(self._file)
            _sync(self._file.parent)
        except OSError as error:
            raise Unavailable("directory.cannot-pin", error=type(error).__name__) from None


Steps = Generator[Call[Any], Any, None]


def newest(pin: Pin) -> Steps:
    """The calls after which `pin.directory` is the newest one, which follows from the pinned one; a Call is answered
    with what it gives, or with the Fault that it raises.

    Raises Refused: `directory.*`, `note.*`, `pins.*`, `client.*`. Raises Unavailable.
    """
    if pin.ledger is None:
        pin.trust((yield calls.ledger_key()))
    yield from _links(pin)
    while pin.current is None:
        version = pin.version
        try:
            pin.take(*(yield calls.signed_directory()))
        except Refused as fault:
            if fault.code != "directory.chain":
                raise
            chain = fault
        else:
            return
        # It changed twice between the two answers; or it is another history, and no link leads there.
        yield from _links(pin)
        if pin.version == version:
            raise chain


def _links(pin: Pin) -> Steps:
    """Every link from the pinned document on. The first one asked for is the pinned document's own: a broker that does
    not have it any more was rolled back, or shows this reader something else.
    """
    while (version := pin.version) is not None:
        notes = yield calls.directory_notes(max(version - 1, 0))
        if not notes:
            pin.doubt()
        pin.follow(notes)
        if pin.version == version:
            return


def _sync(folder: Path) -> None:
    """The new name is on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no fsync of a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
