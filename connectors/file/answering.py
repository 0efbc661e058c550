"""Answering: acknowledgement files are found, read and moved aside; what they say waits until the mailbox has heard it.

    1 found    its name is that of a file of ours, within the template; others are not touched
    2 still    the same as at the look before: nobody writes into it any more
    3 read     the good lines into the journal, all at once
    4 aside    `.read`; or `.refused` with a `.report` beside it: each bad line's number, code and sentence

A crash after any step: the file is found and read again, and nothing in it is new.

Refuses: what `acknowledged` refuses, and a file that answers to none of ours.
Keeps: an answer is given once to the mailbox, however often it is written.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from connectors.contract import Answered, Applied, Ground, Otherwise, Outcome, Reject, Rejected
from connectors.file.acknowledged import BYTES_MOST, Read, read
from connectors.file.handed import ANSWERED, TOLD, WAITING, Handed, Line
from connectors.file.place import Place, to_its_end
from connectors.file.settings import FormatSettings, is_ours
from schemas.errors import Refused
from schemas.messages import explain
from schemas.names import DeliveryId, Reason

LOG: Final = logging.getLogger("unefois.file")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the files of one place."""

    handed: Handed
    place: Place
    settings: FormatSettings
    ground: Ground

    def day(self, after: int = 0) -> str:
        """A day in UTC, so many days from now: `2026-11-02`."""
        now = datetime.fromtimestamp(self.ground.clock() / 1000, UTC)
        return (now + timedelta(days=after)).strftime("%Y-%m-%d")

    @property
    def until(self) -> str:
        """The day until which an answer to what is written now is waited for."""
        told = self.settings.acknowledgement
        return self.day(0 if told is None else told.days)

    async def said(self, delivery_id: DeliveryId, reference: str) -> str | None:
        """What is said of a delivery that was written: the reference, where it was applied. None: it is to be written
        anew, for its answer was heard and it came again.

        Raises Otherwise while its answer is waited for, and where that is no end; Reject where it is refused.
        """
        line = await to_its_end(self.handed.of, delivery_id)
        if line is None:
            return reference  # written before anybody waited for answers
        if isinstance(line.outcome, Applied):
            return line.outcome.reference or reference
        if line.state == TOLD and not self._is_awaited(line):
            return None
        if isinstance(line.outcome, Rejected):
            raise Reject("file.ack-refused")
        if line.outcome is not None and not self._is_awaited(line):
            raise Otherwise(line.outcome)
        raise self.awaiting(line)

    def awaiting(self, line: Line | None = None) -> Otherwise:
        """An answer is waited for; until today, at least: no mailbox takes a day that is over."""
        told = self.until if line is None else line.until
        if line is not None and isinstance(line.outcome, Answered) and line.outcome.until is not None:
            told = line.outcome.until
        return Otherwise(Answered(Reason.AWAITING_HUMAN, max(told, self.day())))

    def _is_awaited(self, line: Line) -> bool:
        later = isinstance(line.outcome, Answered) and line.outcome.reason is Reason.AWAITING_HUMAN
        return line.state == WAITING or (line.state in {ANSWERED, TOLD} and later)

    async def take(self) -> Mapping[DeliveryId, Outcome]:
        """Read what lies there. Returns answers that the mailbox may not have heard. Raises Retry, OSError."""
        for name in await self.place.listed():
            ours = self._file_of(name)
            if ours is not None:
                await self._read(name, ours)
        late = await to_its_end(self.handed.overdue, self.day())
        if late:
            LOG.warning("file.unanswered lines=%d", late)
        return await to_its_end(self.handed.unheard)

    async def _read(self, name: str, ours: str) -> None:
        raw = await self.place.read(name, BYTES_MOST + 1)
        if not await to_its_end(self.handed.is_still, name, sha256(raw).digest()):
            return
        found = await to_its_end(self._of, raw, ours)
        await to_its_end(self.handed.answer, found.answers, self.ground.clock())
        # Crash here: it is read again, and nothing is new.
        report = "".join(
            f"{number};{fault.code};{explain(fault, 'fr').wrong} / {explain(fault, 'en').wrong}\r\n"
            for number, fault in found.wrong
        )
        await self.place.aside(name, report.encode())
        # Crash here: a digest is remembered of a file that is gone.
        await to_its_end(self.handed.forget, name)

    def _of(self, raw: bytes, ours: str) -> Read:
        lines = self.handed.lines(ours)
        if not lines:
            return Read({}, ((0, Refused("file.ack-foreign")),))
        if len(raw) > BYTES_MOST:
            return Read({}, ((0, Refused("file.ack-damaged")),))
        encoding = "utf-8" if self.settings.encoding == "utf-8-sig" else self.settings.encoding
        return read(raw, encoding, lines, self.day())

    def _file_of(self, name: str) -> str | None:
        """The name of our file that an acknowledgement is of; None for a name that is none."""
        told = self.settings.acknowledgement
        before, _, after = ("" if told is None else told.name).partition("{name}")
        if told is None or not (name.startswith(before) and name.endswith(after)):
            return None
        ours = name[len(before) : len(name) - len(after)]
        return ours if is_ours(ours, self.settings.name) else None
